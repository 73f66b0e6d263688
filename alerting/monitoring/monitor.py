"""Watching the watcher, put together: /healthz and /metrics, the metrics file, the heartbeat."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from alerting import __version__
from alerting.config.settings import Config
from alerting.errors import AlertingError, StoreError, UsageError
from alerting.loops import Duty, Loop, Loops, Run
from alerting.monitoring import prometheus
from alerting.monitoring.health import Health
from alerting.monitoring.heartbeat import (
    CRON_JITTER,
    DAEMON_JITTER,
    PATIENCE,
    Heartbeat,
    HeartbeatStore,
)
from alerting.monitoring.overview import OverviewStore, overview
from alerting.monitoring.web_server import Limits, Page, WebServer

log = logging.getLogger("alerting.monitoring")

# Beyond what a ping may take: nothing interrupts a name server that does not answer.
_LAST_PING_EXTRA = timedelta(seconds=2)
# The cycle moves instants by less than this onto its beat.
_ALIGNMENT = timedelta(seconds=7)
# A follower's work lasts as long as a ping and some waits for the state file; seconds.
_TURN = 120.0


class MonitoringStore(OverviewStore, HeartbeatStore, Protocol):
    """What is asked of the state file; each method raises StoreError if it cannot be used."""


class Monitoring:
    """Shows and tells how the program is; nothing of it delays a poll.

    `patience` is the heartbeat's, `limits` are those of /healthz and /metrics.
    """

    def __init__(
        self,
        config: Config,
        store: MonitoringStore,
        *,
        clock: Callable[[], datetime],
        metrics_file: Path | None = None,
        patience: timedelta = PATIENCE,
        limits: Limits | None = None,
    ) -> None:
        if metrics_file is not None and not metrics_file.name:
            raise UsageError(f"--metrics-file {metrics_file} must name a file")
        self._config = config
        self._store = store
        self._clock = clock
        self._metrics_file = metrics_file
        self._patience = patience
        self._limits = limits or Limits()
        self._write_failed = False
        #: what could not use the state file -> why
        self._errors: dict[str, str] = {}
        self._stalled: Callable[[], Sequence[str]] = tuple
        self._followers: list[Follower] = []
        self._server: WebServer | None = None

    # ── cron ────────────────────────────────────────────────────────────────

    def after_cycle(self, *, began: datetime) -> bool:
        """Write the metrics and ping, once; False: the metrics could not be written."""
        written = self._write()
        if self._config.heartbeat is not None:
            heartbeat = self._heartbeat(CRON_JITTER)
            thread = threading.Thread(
                target=_ping_or_warn,
                args=(heartbeat, self._config, began - _ALIGNMENT),
                daemon=True,
            )
            thread.start()
            thread.join((self._patience + _LAST_PING_EXTRA).total_seconds())
        return written

    # ── the daemon ──────────────────────────────────────────────────────────

    def start(self, *, listen: str | None, loops: Loops | None = None) -> None:
        """Serve, write and ping from now on; UsageError if nobody can listen there.

        Its threads are among the `loops`.
        """
        loops = loops or Loops()
        if listen is not None:
            pages = {"/healthz": self._health_page, "/metrics": self._metrics_page}
            self._server = WebServer(listen, pages, limits=self._limits)
            self._server.start(loops)
            log.info("health and metrics on %s", self._server.address)
        if self._metrics_file is not None:
            self._followers.append(Follower(self._write, name="the metrics file", loops=loops))
        heartbeat = self._heartbeat(DAEMON_JITTER)
        self._followers.append(
            Follower(lambda: self._ping_if_due(heartbeat), name="the heartbeat", loops=loops)
        )

    def watch(self, config: Config, *, stalled: Callable[[], Sequence[str]]) -> None:
        """A daemon works by this rules file now; `stalled` names loops that do not get on."""
        self._config, self._stalled = config, stalled
        self._errors.clear()

    def report(self, what: str, error: AlertingError | None) -> None:
        """An account or a receiver could do its work with the state file, or not; never waits."""
        if error is None:
            self._errors.pop(what, None)
        else:
            self._errors[what] = str(error)

    def nudge(self) -> None:
        """A cycle is over: write and ping, if all is well; never waits."""
        for follower in self._followers:
            follower.nudge()

    def stop(self) -> None:
        """Free the port and begin nothing more."""
        for follower in self._followers:
            follower.stop()
        if self._server is not None:
            self._server.close()

    def trouble(self) -> str | None:
        """Why the daemon does not do its work; None if it does."""
        stalled, errors = self._stalled(), list(self._errors.values())
        if not (stalled or errors):
            # only then: whoever stalls may hold the file
            try:
                self._store.evaluations()
            except StoreError as error:
                errors = [str(error)]
        return next(map(str, Health(stalled=stalled, errors=errors).of_program()), None)

    def metrics(self) -> str:
        """The metrics of this instant; StoreError if the state file cannot be read."""
        view = overview(self._config, self._store, now=self._clock())
        return prometheus.render(view, version=__version__)

    def _health_page(self) -> Page:
        wrong = self.trouble()
        if wrong is None:
            return Page(text="ok\n")
        return Page(status=HTTPStatus.SERVICE_UNAVAILABLE, text=f"{wrong}\n")

    def _metrics_page(self) -> Page:
        try:
            return Page(text=self.metrics(), content_type=prometheus.CONTENT_TYPE)
        except StoreError as error:
            return Page(status=HTTPStatus.SERVICE_UNAVAILABLE, text=f"{error}\n")

    def _heartbeat(self, jitter: timedelta) -> Heartbeat:
        return Heartbeat(self._store, clock=self._clock, jitter=jitter, patience=self._patience)

    def _ping_if_due(self, heartbeat: Heartbeat) -> None:
        wrong = self.trouble()
        if wrong is not None:
            log.debug("no heartbeat: %s", wrong)
            return
        heartbeat.ping_if_due(
            self._config, since=self._clock() - self._config.poll.longest_patience
        )

    def _write(self) -> bool:
        if self._metrics_file is None:
            return True
        try:
            write_file(self._metrics_file, self.metrics())
        except OSError as error:
            level = logging.DEBUG if self._write_failed else logging.WARNING
            why = error.strerror or "cannot be written"
            log.log(level, "metrics file %s: %s", self._metrics_file, why)
            self._write_failed = True
            return False
        self._write_failed = False
        return True


def _ping_or_warn(heartbeat: Heartbeat, config: Config, since: datetime) -> None:
    try:
        heartbeat.ping_if_due(config, since=since)
    except StoreError as error:
        log.warning("%s; no heartbeat", error)


class Follower:
    """Does its work after each cycle in a thread of its own; cycles that end meanwhile are one."""

    def __init__(
        self, work: Callable[[], object], *, name: str, loops: Loops | None = None
    ) -> None:
        self._work = work
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._loop: Loop = (loops or Loops()).start(
            name, self._run, duty=Duty.SHOW, patience=_TURN, replace=True
        )

    def nudge(self) -> None:
        """A cycle is over; never waits."""
        self._wanted.set()

    def stop(self) -> None:
        """Begin nothing more; what is under way ends with the process."""
        self._stopping.set()
        self._loop.end()
        self._wanted.set()

    def _run(self, run: Run) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._stopping.is_set() or not run.wanted:
                return
            run.begin()
            try:
                self._work()
            except StoreError as error:
                if not self._stopping.is_set():
                    log.error("%s; trying again", error)  # noqa: TRY400 - a user's disk, not a bug
            run.done()


def write_file(path: Path, text: str) -> None:
    """Replace a file in one step; a reader sees the old text or the new one. Raises OSError."""
    draft = path.with_name(f".{path.name}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(draft, flags, 0o644)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o644)
            file.write(text.encode("utf-8", "replace"))
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
