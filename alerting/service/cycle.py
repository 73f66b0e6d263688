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

from alerting.engine.builtin import ProgramFacts
from alerting.engine.evaluation import Evaluation, evaluate, evaluate_program
from alerting.engine.model import (
    PROGRAM,
    AccountState,
    Memory,
    Poll,
    State,
)
from alerting.engine.rules import Ruleset
from alerting.errors import StoreError
from alerting.monitoring.health import failing_receivers
from alerting.notify.dispatcher import Dispatcher
from alerting.redaction import REDACTOR
from alerting.service.polling import broken_poll
from alerting.service.schedule import align_to_schedule
from alerting.terminal import count
from alerting.units import format_duration, plain

log = logging.getLogger("alerting")


class CycleStore(Protocol):
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


@dataclass(kw_only=True)
class Cycle:
    """Judges outcomes and stores what follows; shared by cron and daemon."""

    ruleset: Ruleset
    store: CycleStore
    dispatcher: Dispatcher
    clock: Callable[[], datetime]
    config_error: str | None = None
    #: how long polls are recorded for; zero: not at all
    keep_history: timedelta = timedelta(0)
    #: what the next process must know of an account before it asks the exchange
    facts_of: Callable[[str], Mapping[str, str]] = field(default=lambda _: {})
    _program_open: bool = field(default=True)

    def judge(self, poll: Poll) -> None:
        """Evaluate one account, commit, log, and set delivery going."""
        self._judge(poll.account, poll)

    def _judge(self, account: str, poll: Poll | None) -> None:
        outcome = poll.outcome if poll is not None else None

        def judge_now(memory: Memory) -> Evaluation:
            now = align_to_schedule(self.clock(), memory.account.last_snapshot_at)
            self._warn_if_polls_too_rare(memory.account, now)
            return evaluate(self.ruleset, memory, outcome, now=now)

        facts = self.facts_of(account) if poll is not None else {}
        recorded = self._recorded(poll)
        self._finish(self.store.evaluate(account, judge_now, poll=recorded, facts=facts))

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

    def _recorded(self, poll: Poll | None) -> Poll | None:
        """What is kept of a poll for the history."""
        if poll is None or not self.keep_history:
            return None
        if poll.body is None:
            return poll
        return replace(poll, body=REDACTOR.redact_answer(poll.body))

    def judge_safely(self, poll: Poll) -> None:
        """As `judge`; a mistake of ours in judging counts as a failed poll, so that it is told."""
        try:
            self.judge(poll)
        except StoreError:
            raise
        except BaseException as error:
            log.exception("account %s: this snapshot could not be judged", poll.account)
            text = f"internal error while judging: {type(error).__name__}"
            self.judge(broken_poll(poll.account, text, at=poll.at))

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
                self._judge(name, None)

    def _unfinished(self, memory: Memory) -> bool:
        """Whether there is an alert that may change, or somebody present to be told of its end."""
        told = {fp for fp, receiver in memory.notified if receiver in self.ruleset.receivers}
        return any(
            alert.state is not State.INACTIVE or alert.flips or fp in told
            for fp, alert in memory.alerts.items()
        )

    def prune(self) -> None:
        """Forget what is too old to be kept."""
        present = self.ruleset.receivers
        self.store.prune(now=self.clock(), keep_history=self.keep_history, receivers=present)

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
