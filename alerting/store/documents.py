"""The engine's memory and its notifications as JSON, and back, without losing a digit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from alerting.engine.model import (
    AccountState,
    Alert,
    ChangeReason,
    Direction,
    Item,
    Level,
    Notification,
    Severity,
    State,
)
from alerting.units import EXACT, parse_instant, plain, rfc3339

Document = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(instant: datetime) -> int:
    """Microseconds since 1970, exactly; what the state file stores."""
    return (instant - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The inverse of `to_micros`."""
    return _EPOCH + micros * _MICROSECOND


def dumps(document: Document) -> str:
    """Compact JSON with sorted keys; equal documents give equal text."""
    return json.dumps(document, separators=(",", ":"), sort_keys=True)


def encode_account(account: AccountState) -> Document:
    """An account's memory as a JSON document."""
    return {
        "first_polled_at": _instant(account.first_polled_at),
        "last_snapshot_at": _instant(account.last_snapshot_at),
        "poll_failures": account.poll_failures,
        "last_error": account.last_error,
        "assets": sorted(account.assets),
    }


def decode_account(name: str, document: Document) -> AccountState:
    """The inverse of `encode_account`."""
    return AccountState(
        name=name,
        first_polled_at=_parsed(document["first_polled_at"]),
        last_snapshot_at=_parsed(document["last_snapshot_at"]),
        poll_failures=document["poll_failures"],
        last_error=document["last_error"],
        assets=frozenset(document["assets"]),
    )


def encode_alert(alert: Alert) -> Document:
    """An alert's memory as a JSON document."""
    return {
        "rule": alert.rule,
        "labels": dict(alert.labels),
        "extra_labels": dict(alert.extra_labels),
        "annotations": dict(alert.annotations),
        "levels": [_encode_level(level) for level in alert.levels],
        "value": _number(alert.value),
        "values": _numbers(alert.values),
        "thresholds": {
            severity.value: [str(threshold), str(clear)]
            for severity, (threshold, clear) in alert.thresholds.items()
        },
        "direction": alert.direction.value,
        "expression": alert.expression,
        "detail": alert.detail,
        "judged_at": _instant(alert.judged_at),
        "missed": alert.missed,
        "episode": alert.episode,
        "active_at": _instant(alert.active_at),
        "fired_at": _instant(alert.fired_at),
        "resolved_at": _instant(alert.resolved_at),
        "resolved_why": alert.resolved_why.value if alert.resolved_why else None,
        "worst": alert.worst.value if alert.worst else None,
        "flips": [rfc3339(at) for at in alert.flips],
        "flapping": alert.flapping,
    }


def decode_alert(document: Document) -> Alert:
    """The inverse of `encode_alert`."""
    return Alert(
        rule=document["rule"],
        labels=document["labels"],
        extra_labels=document["extra_labels"],
        annotations=document["annotations"],
        levels=tuple(_decode_level(level) for level in document["levels"]),
        value=_decimal(document["value"]),
        values={name: Decimal(text) for name, text in document["values"].items()},
        thresholds={
            Severity(severity): (Decimal(threshold), Decimal(clear))
            for severity, (threshold, clear) in document["thresholds"].items()
        },
        direction=Direction(document["direction"]),
        expression=document["expression"],
        detail=document["detail"],
        judged_at=_parsed(document["judged_at"]),
        missed=document["missed"],
        episode=document["episode"],
        active_at=_parsed(document["active_at"]),
        fired_at=_parsed(document["fired_at"]),
        resolved_at=_parsed(document["resolved_at"]),
        resolved_why=ChangeReason(document["resolved_why"]) if document["resolved_why"] else None,
        worst=Severity(document["worst"]) if document["worst"] else None,
        flips=tuple(parse_instant(text) for text in document["flips"]),
        flapping=document["flapping"],
    )


def payload(notification: Notification) -> Document:
    """A notification as it waits in the outbox: everything that its text needs."""
    return {
        "receiver": notification.receiver,
        "account": notification.account,
        "reason": notification.reason.value,
        "severity": notification.severity.value,
        "observed_at": rfc3339(notification.observed_at),
        "alerts": [_encode_item(item) for item in notification.items],
    }


def _encode_item(item: Item) -> Document:
    alert = item.alert
    line = alert.thresholds.get(item.severity)
    threshold, clear = line if line and not alert.detail else (None, None)
    distance = None
    if alert.value is not None and threshold is not None:
        far, near = alert.value, threshold
        if alert.direction is Direction.BELOW:
            far, near = near, far
        distance = EXACT.subtract(far, near)
    previous = item.previous_severity
    return {
        "id": alert.id,
        "fingerprint": alert.fingerprint,
        "episode": alert.episode,
        "rule": alert.rule,
        "expression": alert.expression,
        "labels": alert.shown_labels,
        "state": item.state.value,
        "reason": item.reason.value,
        "severity": item.severity.value,
        "previous_severity": previous.value if previous else None,
        "value": _shown(alert.value),
        "threshold": _shown(threshold),
        "clear": _shown(clear),
        "direction": alert.direction.value,
        "distance": _shown(distance),
        "active_at": _instant(alert.active_at),
        "fired_at": _instant(alert.fired_at),
        "resolved_at": _instant(alert.resolved_at) if item.state is State.RESOLVED else None,
        "why": alert.resolved_why.value
        if item.state is State.RESOLVED and alert.resolved_why
        else None,
        "detail": alert.detail,
        "flapping": item.flapping,
        "annotations": dict(alert.annotations),
        "values": {name: plain(number) for name, number in alert.values.items()},
    }


def _encode_level(level: Level) -> Document:
    return {
        "severity": level.severity.value,
        "state": level.state.value,
        "active_at": _instant(level.active_at),
        "breached_for": level.breached_for // _MICROSECOND,
        "fired_at": _instant(level.fired_at),
        "clear_for": None if level.clear_for is None else level.clear_for // _MICROSECOND,
    }


def _decode_level(document: Document) -> Level:
    clear_for = document["clear_for"]
    return Level(
        severity=Severity(document["severity"]),
        state=State(document["state"]),
        active_at=_parsed(document["active_at"]),
        breached_for=document["breached_for"] * _MICROSECOND,
        fired_at=_parsed(document["fired_at"]),
        clear_for=None if clear_for is None else clear_for * _MICROSECOND,
    )


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else rfc3339(instant)


def _parsed(text: str | None) -> datetime | None:
    return None if text is None else parse_instant(text)


def _number(number: Decimal | None) -> str | None:
    return None if number is None else str(number)


def _shown(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _numbers(numbers: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: str(number) for name, number in numbers.items()}
