"""The two ways to run: one cycle for cron, and the daemon's loop. Both end in `judge`.

poll ──▶ snapshot or failure ──▶ evaluate inside store.evaluate ──▶ commit ──▶ dispatcher
"""

from __future__ import annotations

import functools
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from alerting.config.reload import brief
from alerting.config.settings import Config, PollSettings
from alerting.engine.builtin import ProgramFacts
from alerting.engine.evaluation import Evaluation, evaluate, evaluate_program
from alerting.engine.model import (
    PROGRAM,
    AccountState,
    FailureKind,
    Memory,
    PollFailure,
    PollOutcome,
    Snapshot,
)
from alerting.engine.rules import DELIVERY_FAILING, Ruleset
from alerting.errors import AlertingError, StoreError
from alerting.notify.dispatcher import Dispatcher, Result
from alerting.notify.receivers import SendOutcome
from alerting.redaction import REDACTOR
from alerting.service.process import Systemd
from alerting.store.history import Seen
from alerting.store.state import Store
from alerting.units import format_duration, plain

log = logging.getLogger("alerting")

# A cycle from cron must be over before the next one starts.
_ONCE_DELIVERY_SECONDS = 25.0
_SHUTDOWN_DELIVERY_SECONDS = 5.0
_MAIN_LOOP_SECONDS = 1.0
# How often the daemon looks at its own receivers.
_PROGRAM_EVERY = 5.0
_PRUNE_EVERY = timedelta(hours=6)
# The loops tick on whole seconds of each other up to this jitter of the machine.
_JITTER = timedelta(milliseconds=150)
_SHORTEST_ALIGNED = timedelta(seconds=5)


class Poller(Protocol):
    """Reads one account's wallet."""

    def poll(self) -> PollOutcome:
        """One reading; never raises for anything outside."""

    def cancel(self) -> None:
        """End a poll under way at once."""

    @property
    def last_body(self) -> str | None:
        """The text of the answer that the last poll got, if it got one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CycleResult:
    """What one cycle for cron came to."""

    #: account -> what the poll gave
    polls: Mapping[str, PollOutcome]
    deliveries: tuple[Result, ...]
    #: False: something due is still on its way
    drained: bool

    @property
    def ok(self) -> bool:
        """True if every account was read and every due message was accepted."""
        read = all(isinstance(outcome, Snapshot) for outcome in self.polls.values())
        told = all(result.attempt.outcome is SendOutcome.ACCEPTED for result in self.deliveries)
        return read and told and self.drained


def align_to_schedule(now: datetime, last: datetime | None) -> datetime:
    """`now`, moved onto a whole number of seconds after `last` where only jitter is between.

    Polls every 15 s come 14.99 or 15.01 s apart; without this `for: 30s` would be met by the
    third poll on one day and by the fourth on another.
    """
    if last is None or now - last < _SHORTEST_ALIGNED:
        return now
    aligned = last + timedelta(seconds=round((now - last).total_seconds()))
    return aligned if abs(now - aligned) <= _JITTER else now


@dataclass(kw_only=True)
class Cycle:
    """Judges outcomes and stores what follows; shared by cron and daemon."""

    ruleset: Ruleset
    store: Store
    dispatcher: Dispatcher
    clock: Callable[[], datetime]
    config_error: str | None = None
    #: how long polls are recorded for; zero: not at all
    keep_history: timedelta = timedelta(0)
    _program_open: bool = field(default=True)

    def judge(self, account: str, outcome: PollOutcome | None, body: str | None = None) -> None:
        """Evaluate one account, commit, log, and set delivery going; `body` is for the history."""

        def judge_now(memory: Memory) -> Evaluation:
            now = align_to_schedule(self.clock(), memory.account.last_snapshot_at)
            self._warn_if_polls_too_rare(memory.account, now)
            return evaluate(self.ruleset, memory, outcome, now=now)

        self._finish(self.store.evaluate(account, judge_now, seen=self._seen(outcome, body)))

    def _warn_if_polls_too_rare(self, account: AccountState, now: datetime) -> None:
        """Say so where polls are so rare that no `for` could ever pass."""
        last, longest = account.last_snapshot_at, self.ruleset.blind_after
        if last is not None and account.poll_failures == 0 and now - last > longest:
            log.warning(
                "account %s: the last snapshot is %s old, more than blind_after (%s), so the time "
                "between does not count towards `for`; poll more often or raise poll.blind_after",
                account.name,
                format_duration(timedelta(seconds=round((now - last).total_seconds()))),
                format_duration(longest),
            )

    def _seen(self, outcome: PollOutcome | None, body: str | None) -> Seen | None:
        if not self.keep_history:
            return None
        if isinstance(outcome, PollFailure):
            return Seen(body=None, error=str(outcome))
        return None if body is None else Seen(body=REDACTOR.redact(body), error=None)

    def judge_safely(self, account: str, outcome: PollOutcome, body: str | None = None) -> None:
        """As `judge`; a mistake of ours in judging counts as a failed poll, so that it is told."""
        try:
            self.judge(account, outcome, body)
        except StoreError:
            raise
        except Exception as error:
            log.exception("account %s: this snapshot could not be judged", account)
            text = f"internal error while judging: {type(error).__name__}"
            failure = PollFailure(account=account, kind=FailureKind.UNKNOWN, text=text)
            self.judge(account, failure)

    def judge_program(self) -> None:
        """Evaluate the program itself, where there is anything to say."""
        now = self.clock()
        overdue = self.ruleset.builtin[DELIVERY_FAILING].for_
        failing = self.store.failing_receivers(now=now, overdue=overdue)
        known = {name: why for name, why in failing.items() if name in self.ruleset.receivers}
        if not (known or self.config_error or self._program_open):
            return
        facts = ProgramFacts(failing_receivers=known, config_error=self.config_error)
        judge = functools.partial(evaluate_program, self.ruleset, facts=facts, now=now)
        evaluation = self.store.evaluate(PROGRAM, judge)
        self._program_open = bool(evaluation.memory.alerts)
        self._finish(evaluation)

    def housekeep(self) -> None:
        """What has no poll of its own: the program, accounts that are gone, threads asleep."""
        self.forget_removed_accounts()
        try:
            self.judge_program()
        except StoreError:
            raise
        except Exception:
            # the daemon must go on judging accounts, whatever is wrong with this
            log.exception("the program's own alerts could not be judged")
        self.dispatcher.wake()

    def forget_removed_accounts(self) -> None:
        """End the alerts of accounts that left the rules file."""
        for name in self.store.accounts():
            if name not in self.ruleset.accounts and self.store.memory(name).alerts:
                self.judge(name, None)

    def _finish(self, evaluation: Evaluation) -> None:
        for change in evaluation.transitions:
            log.info(
                "%s %s: %s -> %s (%s), value %s",
                change.rule,
                "/".join(change.labels.values()),
                change.source.value,
                change.target.value,
                change.reason.value,
                "none" if change.value is None else plain(change.value),
            )
        if evaluation.notifications:
            self.dispatcher.wake()


def run_once(cycle: Cycle, pollers: Mapping[str, Poller], deliveries: list[Result]) -> CycleResult:
    """Poll every account, judge, commit, deliver what is due; `deliveries` is being filled."""
    polls: dict[str, PollOutcome] = {}
    errors: list[StoreError] = []

    def read(name: str, poller: Poller) -> None:
        polls[name] = outcome = _poll(name, poller)
        _log_failure(name, outcome)
        try:
            cycle.judge_safely(name, outcome, poller.last_body)
        except StoreError as error:
            errors.append(error)

    cycle.store.recover()
    cycle.forget_removed_accounts()
    cycle.dispatcher.wake()
    threads = [
        threading.Thread(target=read, args=item, name=f"account-{item[0]}", daemon=True)
        for item in pollers.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        # what is committed goes out first; cut off, it would have to be marked as a repeat
        cycle.dispatcher.drain(seconds=_SHUTDOWN_DELIVERY_SECONDS)
        raise errors[0]
    cycle.judge_program()
    drained = cycle.dispatcher.drain(seconds=_ONCE_DELIVERY_SECONDS)
    # a message that was refused for good just now is to be told to the others just now
    cycle.judge_program()
    drained = cycle.dispatcher.drain(seconds=5.0) and drained
    cycle.store.prune(now=cycle.clock(), keep_history=cycle.keep_history)
    cycle.dispatcher.stop()
    return CycleResult(polls=polls, deliveries=tuple(deliveries), drained=drained)


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
    ) -> None:
        self._cycle = cycle
        self._pollers = pollers
        self._poll = poll
        self._systemd = systemd
        #: told after each use of the state file: what for, and the error or None
        self._on_state = on_state
        #: asked once a second for a changed configuration
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
        cycle.forget_removed_accounts()
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
        if not cycle.dispatcher.drain(seconds=_SHUTDOWN_DELIVERY_SECONDS):
            log.warning("a message was still being sent; it will be sent again, marked as repeat")

    def _watch(self) -> Config | None:
        pruned_at = self._cycle.clock()
        program_due = 0.0
        while not self._stop.wait(_MAIN_LOOP_SECONDS):
            changed = self._reload()
            if isinstance(changed, Config):
                return changed
            if changed is not None:
                self._cycle.config_error = brief(changed)
                program_due = 0.0
            try:
                if time.monotonic() >= program_due:
                    self._cycle.housekeep()
                    program_due = time.monotonic() + _PROGRAM_EVERY
                if self._cycle.clock() - pruned_at > _PRUNE_EVERY:
                    pruned_at = self._cycle.clock()
                    self._cycle.store.prune(now=pruned_at, keep_history=self._cycle.keep_history)
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
            outcome = _poll(name, poller)
            if self._stop.is_set():
                return  # a poll that we cut ourselves is no failure
            failing = _log_failure(name, outcome, again=failing)
            try:
                self._cycle.judge_safely(name, outcome, poller.last_body)
            except StoreError as error:
                log.error("%s; this poll is not judged", error)  # noqa: TRY400
                self._on_state(name, error)
            else:
                self._on_state(name, None)
            # with a full disk too: to be restarted by the watchdog would not mend that
            self._alive[name] = time.monotonic()
            due = next_due(due, interval, time.monotonic())
            self._stop.wait(due - time.monotonic())


def next_due(due: float, interval: float, now: float) -> float:
    """The next turn after `now`: no drift, and after a stall no burst of missed ones."""
    missed = max(0, math.floor((now - due) / interval))
    return due + (missed + 1) * interval


def _poll(name: str, poller: Poller) -> PollOutcome:
    """Read once; a mistake of ours is a failed poll, for a dead thread would tell nobody."""
    try:
        return poller.poll()
    except Exception as error:
        log.exception("account %s: polling failed in an unforeseen way", name)
        text = f"internal error while polling: {type(error).__name__}"
        return PollFailure(account=name, kind=FailureKind.UNKNOWN, text=text)


def _log_failure(name: str, outcome: PollOutcome, *, again: bool = False) -> bool:
    if isinstance(outcome, PollFailure):
        log.log(logging.DEBUG if again else logging.WARNING, "account %s: %s", name, outcome)
        return True
    if again:
        log.warning("account %s: readable again", name)
    return False
