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

from alerting import __version__
from alerting.config.settings import Config
from alerting.errors import StoreError, UsageError
from alerting.monitoring import overview as status
from alerting.monitoring import prometheus
from alerting.monitoring.heartbeat import CRON_JITTER, Follower, Heartbeat
from alerting.monitoring.web_server import Page, WebServer
from alerting.store.state import Store

log = logging.getLogger("alerting.monitoring")

# Longer than a ping may take: nothing interrupts a name server that does not answer.
_LAST_PING_SECONDS = 12.0
# The engine moves instants by less than this onto the beat.
_ALIGNMENT = timedelta(seconds=1)


class Monitoring:
    """Shows and tells how the program is; nothing of it delays a poll."""

    def __init__(
        self,
        config: Config,
        store: Store,
        *,
        clock: Callable[[], datetime],
        metrics_file: Path | None = None,
    ) -> None:
        if metrics_file is not None and not metrics_file.name:
            raise UsageError(f"--metrics-file {metrics_file} must name a file")
        self._config = config
        self._store = store
        self._clock = clock
        self._metrics_file = metrics_file
        self._write_failed = False
        #: what could not use the state file -> why
        self._troubles: dict[str, str] = {}
        self._stalled: Callable[[], Sequence[str]] = tuple
        self._followers: list[Follower] = []
        self._server: WebServer | None = None

    # ── cron ────────────────────────────────────────────────────────────────

    def after_cycle(self, *, began: datetime) -> bool:
        """Write the metrics and ping, once; False: the metrics could not be written."""
        written = self._write()
        if self._config.heartbeat is not None:
            pulse = Heartbeat(self._store, clock=self._clock, jitter=CRON_JITTER)
            thread = threading.Thread(
                target=_ping, args=(pulse, self._config, began - _ALIGNMENT), daemon=True
            )
            thread.start()
            thread.join(_LAST_PING_SECONDS)
        return written

    # ── the daemon ──────────────────────────────────────────────────────────

    def start(self, *, listen: str | None) -> None:
        """Serve, write and ping from now on; UsageError if nobody can listen there."""
        if listen is not None:
            pages = {"/healthz": self._health_page, "/metrics": self._metrics_page}
            self._server = WebServer(listen, pages)
            self._server.start()
            log.info("health and metrics on %s", self._server.address)
        if self._metrics_file is not None:
            self._followers.append(Follower(self._write, name="metrics-file"))
        pulse = Heartbeat(self._store, clock=self._clock)
        self._followers.append(Follower(lambda: self._ping(pulse), name="heartbeat"))

    def watch(self, config: Config, *, stalled: Callable[[], Sequence[str]]) -> None:
        """A daemon works by this rules file now; `stalled` names accounts that do not get on."""
        self._config, self._stalled = config, stalled
        self._troubles.clear()

    def report(self, what: str, error: StoreError | None) -> None:
        """A cycle used the state file, or could not; never waits."""
        if error is None:
            self._troubles.pop(what, None)
        else:
            self._troubles[what] = str(error)
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
        stalled = self._stalled()
        if stalled:
            return f"accounts whose loop does not get on: {', '.join(stalled)}"
        troubles = list(self._troubles.values())
        if troubles:
            return troubles[0]
        try:
            self._store.evaluations()
        except StoreError as error:
            return str(error)
        return None

    def metrics(self) -> str:
        """The metrics of this instant; StoreError if the state file cannot be read."""
        view = status.overview(self._config, self._store, now=self._clock())
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

    def _ping(self, pulse: Heartbeat) -> None:
        poll = self._config.poll
        recent = 3 * poll.interval + poll.timeout + timedelta(seconds=5)
        pulse.ping_if_due(self._config, since=self._clock() - recent)

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


def _ping(pulse: Heartbeat, config: Config, since: datetime) -> None:
    try:
        pulse.ping_if_due(config, since=since)
    except StoreError as error:
        log.warning("%s; no heartbeat", error)


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
