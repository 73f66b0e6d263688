"""Compares what a test expects with what is there, and says what was found instead."""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from alerting.engine import samples
from alerting.engine.feeds import FEED_OF
from alerting.engine.model import Notification, State
from alerting.engine.rules import Rule, Ruleset
from alerting.engine.snapshot import Snapshot
from alerting.ruletest.case import (
    Case,
    Expectation,
    NotifiedExpected,
    NotNotifiedExpected,
    StateExpected,
)
from alerting.ruletest.outcome import AlertState, Difference, EvaluatedStep
from alerting.ruletest.words import notified_text, state_text
from alerting.units import EXACT, format_duration

_RANKS = {State.INACTIVE: 0, State.PENDING: 1, State.FIRING: 2}
# A quotient without end has about 100 digits; amounts have at most 30 places.
_MOST_PLACES = 30
_MOST_INSTANTS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparer:
    """Compares what is expected with what is there."""

    case: Case
    ruleset: Ruleset
    steps: Sequence[EvaluatedStep]

    def difference(self, expected: Expectation) -> Difference | None:
        """None if the expectation holds."""
        if isinstance(expected, StateExpected):
            return self._state(expected)
        if isinstance(expected, NotifiedExpected):
            return self._notified(expected)
        if isinstance(expected, NotNotifiedExpected):
            return self._not_notified(expected)
        raise TypeError(expected)

    def quiet(self, index: int, *, about: Iterable[Expectation]) -> list[AlertState]:
        """The alerts that expectations name as if inactive, with the values that they have."""
        feeds = self.ruleset.feeds_of(self.case.account)
        outcomes = {feed: self.case.outcome(index, feed) for feed in feeds}
        found: list[AlertState] = []
        for rule in self.ruleset.rules:
            # account rules have no feed
            snapshot = outcomes.get(FEED_OF.get(rule.scope, ""))
            if isinstance(snapshot, Snapshot):
                found += _inactive(rule, snapshot, self.steps[index])
        return [each for each in found if any(_is_about(e, each.rule, each.labels) for e in about)]

    def _state(self, expected: StateExpected) -> Difference | None:
        step = min(expected.at // self.case.interval, len(self.steps) - 1)
        alerts = [
            each for each in self.steps[step].alerts if _is_about(expected, each.rule, each.labels)
        ]
        worst = max((_rank(each) for each in alerts), default=None)
        alerts = [each for each in alerts if _rank(each) == worst]
        if any(_holds(expected, each) for each in alerts):
            return None
        if not alerts and expected.state is State.INACTIVE:
            return None
        alerts = alerts or self.quiet(step, about=[expected])
        text = "; ".join(state_text(each) for each in alerts) or "inactive"
        return Difference(expectation=expected, found=text, step=step)

    def _notified(self, expected: NotifiedExpected) -> Difference | None:
        step = expected.at // self.case.interval
        if step >= len(self.steps):
            last = format_duration(self.steps[-1].at)
            found = f"nothing is polled after {last}, so nothing is sent"
            return Difference(expectation=expected, found=found, step=len(self.steps))
        if any(_is_notified(expected, each) for each in self.steps[step].sent):
            return None
        found = self._instead(expected.receiver, self.steps[step])
        return Difference(expectation=expected, found=found, step=step)

    def _instead(self, receiver: str, then: EvaluatedStep) -> str:
        """What the receiver is told then, or else when it is told anything."""
        messages = [each for each in then.sent if each.receiver == receiver]
        if messages:
            return "; ".join(notified_text(each) for each in messages)
        instants = [
            format_duration(step.at)
            for step in self.steps
            if any(each.receiver == receiver for each in step.sent)
        ]
        if not instants:
            return f"{receiver} is told nothing in this test"
        left = len(instants) - _MOST_INSTANTS
        more = f" and {left} more" if left > 0 else ""
        known = ", ".join(instants[:_MOST_INSTANTS])
        return f"{receiver} is told nothing then; it is told at {known}{more}"

    def _not_notified(self, expected: NotNotifiedExpected) -> Difference | None:
        last = expected.at // self.case.interval
        first = last
        if expected.since is not None:
            # rounded up: the first step at `since` or after it
            first = -(-expected.since // self.case.interval)
        for step in range(first, min(last + 1, len(self.steps))):
            for each in self.steps[step].sent:
                if _is_notified(expected, each):
                    at = format_duration(self.steps[step].at)
                    found = f"at {at} {notified_text(each)}"
                    return Difference(expectation=expected, found=found, step=step)
        return None


def _is_about(expected: Expectation, rule: str, labels: Mapping[str, str]) -> bool:
    return rule == expected.alert and expected.labels.items() <= labels.items()


def _rank(alert: AlertState) -> tuple[int, int]:
    return _RANKS[alert.state], alert.severity.rank if alert.severity else 0


def _holds(expected: StateExpected, alert: AlertState) -> bool:
    return (
        alert.state is expected.state
        and expected.severity in {None, alert.severity}
        and (expected.value is None or _is_value(expected.value, alert.value))
    )


def _is_value(expected: Decimal, found: Decimal | None) -> bool:
    """Equal; a quotient without end need only agree in the digits that are written."""
    if found is None or _places(found) <= _MOST_PLACES:
        return expected == found
    return expected == found.quantize(Decimal(1).scaleb(-_places(expected)), context=EXACT)


def _places(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _is_notified(expected: NotifiedExpected | NotNotifiedExpected, message: Notification) -> bool:
    if message.receiver != expected.receiver:
        return False
    if expected.alert is None:
        reasons, severities = {None, message.reason}, {None, message.severity}
        return expected.reason in reasons and expected.severity in severities
    return any(
        _is_about(expected, item.alert.rule, item.alert.labels)
        and expected.reason in {None, item.reason}
        and expected.severity in {None, item.severity}
        for item in message.items
    )


def _inactive(rule: Rule, snapshot: Snapshot, step: EvaluatedStep) -> Iterator[AlertState]:
    with decimal.localcontext(EXACT):
        for sample in samples.samples(snapshot, rule.scope, step.totals):
            if not rule.applies_to(sample.labels):
                continue
            found = step.over_time.get((rule.name, frozenset(sample.labels.items())), {})
            values = {**sample.values, **found}
            value = rule.value.evaluate(values)
            yield AlertState(
                rule=rule.name,
                labels=sample.labels,
                state=State.INACTIVE,
                value=value if isinstance(value, Decimal) else None,
                excused=rule.when is not None and rule.when.evaluate(values) is False,
            )
