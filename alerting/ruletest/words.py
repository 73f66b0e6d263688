"""Alerts, messages and expectations of a test in words."""

from __future__ import annotations

from collections.abc import Mapping

from alerting.display import exactly
from alerting.engine.model import ChangeReason, Item, Notification, Reason
from alerting.replay.report import subject
from alerting.ruletest.case import Expectation, NotifiedExpected, NotNotifiedExpected, StateExpected
from alerting.ruletest.outcome import AlertState
from alerting.units import format_duration, plain


def state_text(alert: AlertState) -> str:
    """`floor USDT is firing, warning, value 900`."""
    severity = f", {alert.severity.value}" if alert.severity else ""
    value = "" if alert.value is None else f", value {exactly(alert.value)}"
    excused = ", `when` is false" if alert.excused else ""
    name = _alert_name(alert.rule, alert.labels)
    return f"{name} is {alert.state.value}{severity}{value}{excused}"


def notified_text(message: Notification) -> str:
    """`desk is told: firing, floor USDT, warning`."""
    items = "; ".join(_item_text(each) for each in message.items)
    return f"{message.receiver} is told: {items}"


def _item_text(item: Item) -> str:
    flapping = ", flapping" if item.flapping else ""
    name = _alert_name(item.alert.rule, item.alert.labels)
    reason = item.reason.value
    if item.reason is Reason.RESOLVED and item.alert.resolved_why is ChangeReason.LIQUIDATED:
        reason += " (liquidated)"
    return f"{reason}, {name}, {item.severity.value}{flapping}"


def _alert_name(rule: str, labels: Mapping[str, str]) -> str:
    """The rule, and what tells its alerts of one account apart."""
    own = subject(labels)[1:]
    return " ".join((rule, *own[-2 if "side" in labels else -1 :]))


def expected_text(expected: Expectation) -> str:
    """The expectation, in the words of the file."""
    words: dict[str, object] = {"at": format_duration(expected.at)}
    if isinstance(expected, NotifiedExpected):
        words["notified"] = expected.receiver
    if isinstance(expected, NotNotifiedExpected):
        words["not_notified"] = expected.receiver
        words["since"] = None if expected.since is None else format_duration(expected.since)
    if isinstance(expected, NotifiedExpected | NotNotifiedExpected):
        words["reason"] = expected.reason and expected.reason.value
    words["alert"] = expected.alert
    words |= expected.labels
    if isinstance(expected, StateExpected):
        words["state"] = expected.state.value
        words["value"] = None if expected.value is None else plain(expected.value)
    words["severity"] = expected.severity and expected.severity.value
    return ", ".join(f"{name}: {word}" for name, word in words.items() if word is not None)
