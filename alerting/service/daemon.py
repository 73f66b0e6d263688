"""The daemon's loop: a thread per account, and one that looks after everything else."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from alerting.config.reload import brief
from alerting.config.settings import Config, PollSettings
from alerting.engine.snapshot import Poll
from alerting.errors import AlertingError, LoopError, StoreError
from alerting.loops import Duty, Loop, Loops, Run
from alerting.service.cycle import Cycle
from alerting.service.guard import MAIN
from alerting.service.polling import (
    Poller,
    broken_poll,
    log_failure,
    poll_safely,
    reading_name,
    reading_of,
)
from alerting.service.process import Systemd
from alerting.service.schedule import next_due

log = logging.getLogger("alerting")

# A look around lasts moments, and where the state file is locked, some times its patience.
_LOOK_PATIENCE = 60.0
#: what `on_state` is told of besides accounts: the alerts about the program itself
OWN_ALERTS = "the program's own alerts"


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
        on_state: Callable[[str, AlertingError | None], None] = lambda _what, _error: None,
        reload: Callable[[], Config | AlertingError | None] = lambda: None,
        loop: LoopSettings | None = None,
        loops: Loops | None = None,
    ) -> None:
        self._cycle = cycle
        self._pollers = pollers
        self._poll = poll
        self._systemd = systemd
        #: told after each try to judge an account: which, and the error or None
        self._on_state = on_state
        self._loop = loop or LoopSettings()
        #: asked at each look for a changed configuration
        self._reload = reload
        self._stop = threading.Event()
        self._loops = loops or Loops()
        #: account -> its loop
        self._accounts: dict[str, Loop] = {}
        self._main = self._loops.pulse(
            MAIN, duty=Duty.DELIVER, patience=_LOOK_PATIENCE + poll.timeout.total_seconds()
        )

    def stop(self) -> None:
        """Ask the loop to end; safe in a signal handler."""
        self._stop.set()

    def run(self) -> Config | None:
        """Run until `stop` (None) or until there is a new configuration to go on with.

        Sends under way get a bounded time to finish.
        """
        cycle = self._cycle
        self._main.begin()
        try:
            cycle.forget_removed()
        except StoreError as error:
            # it is tried again with the program's own alerts, and told if it lasts
            log.error("%s; trying again", error)  # noqa: TRY400 - a user's disk, not a bug
        cycle.dispatcher.wake()
        for name, poller in self._pollers.items():
            self._accounts[name] = self._loops.start(
                f"account {name}",
                functools.partial(self._account_loop, name, poller),
                duty=Duty.JUDGE,
                patience=self._poll.patience(reading_of(name)[1]).total_seconds(),
            )
        self._systemd.notify("READY=1")
        changed = self._watch()
        self._main.begin()
        self._end(changed)
        self._loops.forget(self._main)
        return changed

    def _end(self, changed: Config | None) -> None:
        cycle = self._cycle
        self._stop.set()
        for loop in self._accounts.values():
            loop.end()
        if changed is None:
            self._systemd.notify("STOPPING=1")
            for poller in self._pollers.values():
                poller.cancel()
        else:
            # the clients go on under the new rules: their polls end by themselves
            deadline = time.monotonic() + self._poll.timeout.total_seconds() + 1
            for loop in self._accounts.values():
                loop.join(max(0.0, deadline - time.monotonic()))
        cycle.dispatcher.stop()
        if changed is not None:
            # a slow receiver must not hold up the polls: its thread books its message by itself
            return
        if not cycle.dispatcher.drain(seconds=self._loop.drain):
            log.warning("a message was still being sent; it will be sent again, marked as repeat")

    def _watch(self) -> Config | None:
        prune_every = self._loop.prune_every.total_seconds()
        prune_due = time.monotonic() + prune_every
        program_due = 0.0
        self._main.done()
        while not self._stop.wait(self._loop.look_every):
            self._main.begin()
            try:
                changed = self._reload()
                if isinstance(changed, Config):
                    return changed
                if changed is not None:
                    self._cycle.config_error = brief(changed)
                    program_due = 0.0
                if time.monotonic() >= program_due:
                    program_due = time.monotonic() + self._loop.program_every
                    self._look_after_program()
                if time.monotonic() >= prune_due:
                    prune_due = time.monotonic() + prune_every
                    self._cycle.prune()
            except StoreError as error:
                log.error("%s; trying again", error)  # noqa: TRY400 - a user's disk, not a bug
            except BaseException:
                # whatever it is, the accounts must be read on and their loops looked after
                log.exception("looking after the program failed in an unforeseen way")
            self._main.done()
            if not self._loops.look():
                self._systemd.notify("WATCHDOG=1")
        return None

    def stalled(self) -> list[str]:
        """Loops that do not get on."""
        return [trouble.name for trouble in self._loops.look()]

    def _look_after_program(self) -> None:
        """Judge what has no poll of its own; where it cannot be, that is told as of an account."""
        error: AlertingError | None = None
        try:
            self._judge_for_stalled()
            self._cycle.housekeep()
        except StoreError as failure:
            log.error("%s; trying again", failure)  # noqa: TRY400 - a user's disk, not a bug
            error = failure
        except BaseException as failure:
            # the daemon must go on judging accounts, whatever is wrong with this
            log.exception("%s could not be judged", OWN_ALERTS)
            error = LoopError(f"judging {OWN_ALERTS} fails ({type(failure).__name__})")
        self._on_state(OWN_ALERTS, error)

    def _judge_for_stalled(self) -> None:
        """An account that nobody reads is judged blind all the same."""
        for name, loop in self._accounts.items():
            trouble = loop.look()
            if trouble is not None:
                text = f"its loop {trouble.text}"
                self._judge(broken_poll(name, text, at=self._cycle.clock()))

    def _account_loop(self, name: str, poller: Poller, run: Run) -> None:
        every = self._poll.every(reading_of(name)[1])
        interval = every.total_seconds()
        due = time.monotonic()
        failing, judged = False, True
        while run.wanted and not self._stop.is_set():
            if judged:
                run.begin()
            poll = poll_safely(name, poller, self._cycle.clock)
            if self._stop.is_set():
                return  # a poll that we cut ourselves is no failure
            failing = log_failure(poll, again=failing)
            beat = self._instant_of(due)
            judged = self._judge(replace(poll, due=beat, interval=every))
            if judged:
                run.done()
            due = next_due(due, interval, time.monotonic())
            self._stop.wait(due - time.monotonic())

    def _instant_of(self, due: float) -> datetime:
        """When a turn was due, by the clock: the time since then has passed on all clocks."""
        return self._cycle.clock() - timedelta(seconds=time.monotonic() - due)

    def _judge(self, poll: Poll) -> bool:
        """Judge it; False: not even a failed poll can be judged, and a restart may mend that."""
        name = reading_name(poll.account, poll.feed)
        try:
            self._cycle.judge_safely(poll)
        except StoreError as error:
            # with a full disk too the loop gets on: to be restarted would not mend that
            log.error("%s; this poll is not judged", error)  # noqa: TRY400
            self._on_state(name, error)
        except BaseException as error:
            log.exception("account %s: judging fails in an unforeseen way", name)
            text = f"judging account {name} fails ({type(error).__name__})"
            self._on_state(name, LoopError(text))
            return False
        else:
            self._on_state(name, None)
        return True
