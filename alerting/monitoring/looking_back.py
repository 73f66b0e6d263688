"""What a rule that looks back saw at some instant, and the lines that say so."""

from __future__ import annotations

import decimal
import functools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from alerting.engine.lifecycle import Trust
from alerting.engine.model import Memory
from alerting.engine.over_time import Lookout
from alerting.engine.rules import Rule, Ruleset
from alerting.engine.samples import Sample
from alerting.engine.series import Past
from alerting.engine.simulation import Simulation
from alerting.engine.snapshot import FailureKind, PollFailure, PollOutcome
from alerting.exchanges.coinswitch.recorded import RecordedAccount
from alerting.exchanges.strict_json import AnswerError, loads_marked
from alerting.store.history import RecordedPoll
from alerting.units import EXACT, plain, rfc3339

_MICROSECOND = timedelta(microseconds=1)


class RecordedPolls(Protocol):
    """What is asked of the state file; StoreError if it cannot be read."""

    def history(
        self, *, since: datetime | None, until: datetime | None, account: str | None
    ) -> Iterator[RecordedPoll]:
        """Recorded polls in the order of time; `until` is exclusive."""


def past_of(
    ruleset: Ruleset, rule: Rule, store: RecordedPolls, memory: Memory, *, at: datetime | None
) -> Past:
    """The samples that a rule looks back on; of an earlier instant, from the recorded polls.

    `at` None: of the last evaluation.
    """
    if at is None or not rule.looks_back:
        return memory.past
    name = memory.account.name
    windows = [call.window for call in rule.looks_back]
    simulation = Simulation(replace(ruleset, rules=(rule,)))
    since = at - max(windows) - ruleset.blind_after
    account = RecordedAccount(name)
    for poll in store.history(since=since, until=at + _MICROSECOND, account=name):
        outcome = _outcome(poll, account)
        if outcome is not None:
            simulation.feed(outcome, at=poll.at)
    return simulation.memory(name).past


def _outcome(poll: RecordedPoll, account: RecordedAccount) -> PollOutcome | None:
    """None: it is no poll of its own."""
    failed = functools.partial(PollFailure, account=poll.account, feed=poll.feed)
    if poll.body is None:
        text = poll.error or "nothing is recorded"
        return account.failure(failed(kind=FailureKind.UNKNOWN, text=text))
    try:
        return account.answer(poll.feed, loads_marked(poll.body), at=poll.at)
    except AnswerError as error:
        return account.failure(failed(kind=error.kind, text=str(error)))


class SeenBack:
    """A row with what the functions of a rule gave."""

    def __init__(
        self, ruleset: Ruleset, rule: Rule, past: Past, sample: Sample, *, at: datetime
    ) -> None:
        self._rule = rule
        self._lookout = Lookout(past, now=at, patience=ruleset.blind_after)
        with decimal.localcontext(EXACT):
            self.sample, _ = self._lookout.judged(rule, [sample], Trust.GOOD)

    def lines(self) -> Iterator[str]:
        """Each function that looks back, what it gave, and since when there are samples."""
        for call in self._rule.looks_back:
            value = self.sample.values.get(call.key)
            since = self._lookout.watched_since(call, self.sample.labels)
            begin = datetime.fromtimestamp(since // 1_000_000, tz=UTC)
            shown = "no value" if value is None else plain(value)
            gap = f"samples without a gap since {rfc3339(begin)}"
            yield f"  over time  {call.key} = {shown}   ({gap})"
