"""One cycle: what a poll gave is judged, committed and handed to the receivers.

poll ──▶ snapshot or failure ──▶ evaluate inside store.evaluate ──▶ commit ──▶ dispatcher
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from alerting.display import PLAIN, Display
from alerting.engine.builtin import ProgramFacts
from alerting.engine.evaluation import Evaluation, evaluate, evaluate_program
from alerting.engine.model import PROGRAM, AccountState, FeedState, Memory, State, Transition
from alerting.engine.rules import Ruleset
from alerting.engine.snapshot import Poll
from alerting.errors import StoreError
from alerting.monitoring.health import failing_receivers
from alerting.redaction import REDACTOR
from alerting.service.polling import broken_poll, reading_name
from alerting.service.pruning import prune_if_sure
from alerting.service.schedule import beat_of, in_order
from alerting.store.facts import FactStore
from alerting.terminal import count
from alerting.units import format_duration

log = logging.getLogger("alerting")


class CycleStore(FactStore, Protocol):
    """What is asked of the state; each method raises StoreError where it cannot be used."""

    def evaluate(
        self,
        account: str,
        judge: Callable[[Memory], Evaluation],
        *,
        poll: Poll | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> Evaluation:
        """Load a memory, judge it, store what follows and what was seen: all or nothing."""

    def accounts(self) -> Mapping[str, AccountState]:
        """Every account that was ever evaluated."""

    def memory(self, account: str) -> Memory:
        """What is remembered of an account."""

    def failing_receivers(self, *, now: datetime, overdue: timedelta) -> Mapping[str, str]:
        """Receivers that do not get their messages -> why."""

    def give_up_removed(self, *, present: Collection[str], now: datetime) -> int:
        """End what waits for receivers that are not present; how many messages."""

    def recover(self) -> int:
        """Take back what was being sent when a process ended; how many messages."""

    def prune(
        self, *, now: datetime, keep_history: timedelta, receivers: Collection[str] | None = None
    ) -> None:
        """Forget what is too old."""


class Delivery(Protocol):
    """Who sends what is committed."""

    def wake(self) -> object:
        """There may be something to send."""

    def drain(self, *, seconds: float) -> bool:
        """Wait until nothing is due or being sent; False: it took too long."""

    def stop(self) -> object:
        """Send nothing more."""


@dataclass(kw_only=True)
class Cycle:
    """Judges outcomes and stores what follows; shared by cron and daemon."""

    ruleset: Ruleset
    store: CycleStore
    dispatcher: Delivery
    clock: Callable[[], datetime]
    config_error: str | None = None
    #: how logs write numbers
    display: Display = PLAIN
    #: how long polls are recorded for; zero: not at all
    keep_history: timedelta = timedelta(0)
    #: what the next process must know of a reading before it asks the exchange
    facts_of: Callable[[str], Mapping[str, str]] = field(default=lambda _: {})
    _program_open: bool = field(default=True)

    def judge(self, poll: Poll) -> None:
        """Evaluate one account as of the poll's beat, commit, log, and set delivery going."""

        def judge_now(memory: Memory) -> Evaluation:
            state = memory.account.feed(poll.feed)
            clock = self.clock()
            beat = beat_of(poll.due or clock, state.last_snapshot_at, interval=poll.interval)
            others = [
                other.seen_at
                for feed, other in memory.account.feeds.items()
                if feed != poll.feed and other.seen_at is not None
            ]
            now = in_order(beat, others, clock=clock)
            self._warn_if_polls_too_rare(poll.account, state, now)
            return evaluate(self.ruleset, _begun(memory, now), poll.outcome, now=now)

        facts = self.facts_of(reading_name(poll.account, poll.feed))
        recorded = self._recorded(poll)
        self._finish(self.store.evaluate(poll.account, judge_now, poll=recorded, facts=facts))

    def _warn_if_polls_too_rare(self, account: str, state: FeedState, now: datetime) -> None:
        """Say so where polls are so rare that no `for` could ever pass."""
        last, longest = state.last_snapshot_at, self.ruleset.blind_after
        if last is not None and state.poll_failures == 0 and now - last > longest:
            log.warning(
                "account %s: the last snapshot is %s old, more than blind_after (%s), so the time "
                "between does not count towards `for`; poll more often or raise poll.blind_after",
                account,
                format_duration(timedelta(seconds=round((now - last).total_seconds()))),
                format_duration(longest),
            )

    def _recorded(self, poll: Poll) -> Poll | None:
        """What is kept of a poll for the history."""
        if not self.keep_history:
            return None
        redact = REDACTOR.redact_answer
        beside = {
            feed: redact(each) if isinstance(each, str) else each
            for feed, each in poll.beside.items()
        }
        return replace(poll, body=None if poll.body is None else redact(poll.body), beside=beside)

    def judge_safely(self, poll: Poll) -> None:
        """As `judge`; a mistake of ours in judging counts as a failed poll, so that it is told."""
        try:
            self.judge(poll)
        except StoreError:
            raise
        except BaseException as error:
            log.exception("account %s: this snapshot could not be judged", poll.account)
            text = f"internal error while judging: {type(error).__name__}"
            broken = broken_poll(reading_name(poll.account, poll.feed), text, at=poll.at)
            known = replace(broken, due=poll.due, interval=poll.interval, beside=poll.beside)
            self.judge(known)

    def judge_program(self) -> None:
        """Evaluate the program itself, where there is anything to say."""
        now = self.clock()
        failing = failing_receivers(self.ruleset, self.store, now=now)
        if not (failing or self.config_error or self._program_open):
            return
        facts = ProgramFacts(failing_receivers=failing, config_error=self.config_error)
        judge = functools.partial(evaluate_program, self.ruleset, facts=facts, now=now)
        evaluation = self.store.evaluate(PROGRAM, judge)
        self._program_open = self._unfinished(evaluation.memory)
        self._finish(evaluation)

    def housekeep(self) -> None:
        """What has no poll of its own: the program, accounts that are gone, threads asleep."""
        try:
            # first: what is wrong with who left the file must not keep it from being judged
            self.judge_program()
            self.forget_removed()
        finally:
            self.dispatcher.wake()

    def forget_removed(self) -> None:
        """End what belongs to accounts and receivers that left the rules file."""
        present = self.ruleset.receivers
        given_up = self.store.give_up_removed(present=present, now=self.clock())
        if given_up:
            log.warning("%s given up: no receiver in the rules file", count(given_up, "message"))
        for name, account in self.store.accounts().items():
            if name in self.ruleset.accounts:
                continue
            forgotten = account == AccountState(name=name)
            if not forgotten or self._unfinished(self.store.memory(name)):
                judge = functools.partial(evaluate, self.ruleset, outcome=None, now=self.clock())
                self._finish(self.store.evaluate(name, judge))

    def _unfinished(self, memory: Memory) -> bool:
        """Whether there is an alert that may change, or somebody present to be told of its end."""
        told = {fp for fp, receiver in memory.notified if receiver in self.ruleset.receivers}
        return any(
            alert.state is not State.INACTIVE or alert.flips or fp in told
            for fp, alert in memory.alerts.items()
        )

    def prune(self) -> None:
        """Forget what is too old to be kept."""
        now, present = self.clock(), self.ruleset.receivers
        forget = functools.partial(
            self.store.prune, now=now, keep_history=self.keep_history, receivers=present
        )
        prune_if_sure(self.store, forget, now=now)

    def _finish(self, evaluation: Evaluation) -> None:
        for change in evaluation.transitions:
            log.info(
                "%s %s: %s %s -> %s (%s), value %s",
                change.rule,
                "/".join(change.labels.values()),
                change.severity.value,
                change.source.value,
                change.target.value,
                change.reason.value,
                self._number(change),
            )
        if evaluation.notifications:
            self.dispatcher.wake()

    def _number(self, change: Transition) -> str:
        """The value as messages write it."""
        if change.value is None:
            return "none"
        rule = next((rule for rule in self.ruleset.rules if rule.name == change.rule), None)
        if rule is None:
            return self.display.money(change.value)
        line = next((t.line for t in rule.thresholds if t.severity is change.severity), None)
        return self.display.number(change.value, percent=rule.percent, apart_from=line)


def _begun(memory: Memory, now: datetime) -> Memory:
    """What people asked for holds at once, though the poll was due before they did."""
    silences = tuple(replace(each, starts_at=min(each.starts_at, now)) for each in memory.silences)
    return replace(memory, silences=silences)
