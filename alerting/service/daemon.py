"""The daemon's loop: a thread per account, and one that looks after everything else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from alerting.config.reload import brief
from alerting.config.settings import Config, PollSettings
from alerting.errors import AlertingError, StoreError
from alerting.service.cycle import Cycle
from alerting.service.polling import Poller, log_failure, poll_safely
from alerting.service.process import Systemd
from alerting.service.schedule import next_due

log = logging.getLogger("alerting")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopSettings:
    """How often the daemon looks after what is no account, in seconds where no type says more."""

    #: for a changed rules file, and the watchdog
    look_every: float = 1.0
    #: at its own receivers
    program_every: float = 5.0
    #: for what is too old to be kept
    prune_every: timedelta = timedelta(hours=6)
    #: what is being sent gets so long when the daemon ends
    drain: float = 5.0


class Daemon:
    """A thread per account on a steady schedule; the main thread watches and feeds the watchdog."""

    def __init__(
        self,
        cycle: Cycle,
        pollers: Mapping[str, Poller],
        *,
        poll: PollSettings,
        systemd: Systemd,
        on_state: Callable[[str, StoreError | None], None] = lambda _what, _error: None,
        reload: Callable[[], Config | AlertingError | None] = lambda: None,
        loop: LoopSettings | None = None,
    ) -> None:
        self._cycle = cycle
        self._pollers = pollers
        self._poll = poll
        self._systemd = systemd
        #: told after each use of the state file: what for, and the error or None
        self._on_state = on_state
        self._loop = loop or LoopSettings()
        #: asked at each look for a changed configuration
        self._reload = reload
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        #: account -> monotonic instant of its last finished cycle
        self._alive: dict[str, float] = {}

    def stop(self) -> None:
        """Ask the loop to end; safe in a signal handler."""
        self._stop.set()

    def run(self) -> Config | None:
        """Run until `stop` (None) or until there is a new configuration to go on with.

        Sends under way get a bounded time to finish.
        """
        cycle = self._cycle
        cycle.forget_removed()
        cycle.dispatcher.wake()
        for name, poller in self._pollers.items():
            self._alive[name] = time.monotonic()
            thread = threading.Thread(
                target=self._account_loop, args=(name, poller), name=f"account-{name}", daemon=True
            )
            self._threads.append(thread)
            thread.start()
        self._systemd.notify("READY=1")
        changed = self._watch()
        self._end(changed)
        return changed

    def _end(self, changed: Config | None) -> None:
        cycle = self._cycle
        self._stop.set()
        if changed is None:
            self._systemd.notify("STOPPING=1")
            for poller in self._pollers.values():
                poller.cancel()
        else:
            # the clients go on under the new rules: their polls end by themselves
            deadline = time.monotonic() + self._poll.timeout.total_seconds() + 1
            for thread in self._threads:
                thread.join(max(0.0, deadline - time.monotonic()))
        cycle.dispatcher.stop()
        if changed is not None:
            # a slow receiver must not hold up the polls: its thread books its message by itself
            return
        if not cycle.dispatcher.drain(seconds=self._loop.drain):
            log.warning("a message was still being sent; it will be sent again, marked as repeat")

    def _watch(self) -> Config | None:
        pruned_at = self._cycle.clock()
        program_due = 0.0
        while not self._stop.wait(self._loop.look_every):
            changed = self._reload()
            if isinstance(changed, Config):
                return changed
            if changed is not None:
                self._cycle.config_error = brief(changed)
                program_due = 0.0
            try:
                if time.monotonic() >= program_due:
                    self._cycle.housekeep()
                    program_due = time.monotonic() + self._loop.program_every
                if self._cycle.clock() - pruned_at > self._loop.prune_every:
                    pruned_at = self._cycle.clock()
                    self._cycle.prune()
            except StoreError as error:
                log.error("%s; trying again", error)  # noqa: TRY400 - a user's disk, not a bug
            if not self.stalled():
                self._systemd.notify("WATCHDOG=1")
        return None

    def stalled(self) -> list[str]:
        """Accounts whose loop does not get on."""
        allowed = (3 * self._poll.interval + self._poll.timeout).total_seconds() + 5
        now = time.monotonic()
        return [name for name, at in list(self._alive.items()) if now - at >= allowed]

    def _account_loop(self, name: str, poller: Poller) -> None:
        interval = self._poll.interval.total_seconds()
        due = time.monotonic()
        failing = False
        while not self._stop.is_set():
            poll = poll_safely(name, poller, self._cycle.clock)
            if self._stop.is_set():
                return  # a poll that we cut ourselves is no failure
            failing = log_failure(poll, again=failing)
            try:
                self._cycle.judge_safely(poll)
            except StoreError as error:
                log.error("%s; this poll is not judged", error)  # noqa: TRY400
                self._on_state(name, error)
            else:
                self._on_state(name, None)
            # with a full disk too: to be restarted by the watchdog would not mend that
            self._alive[name] = time.monotonic()
            due = next_due(due, interval, time.monotonic())
            self._stop.wait(due - time.monotonic())
