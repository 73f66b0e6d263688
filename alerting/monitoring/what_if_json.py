"""`what-if --json`: a document; its form is in docs/commands.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from alerting.engine.feeds import FEEDS
from alerting.monitoring.what_if import MovedAlert, MovedPosition, Moves, Outlook
from alerting.units import plain, rfc3339


def as_json(outlooks: Iterable[Outlook], moves: Moves, *, now: datetime) -> dict[str, Any]:
    """The document of `what-if --json`; moves are shares: -0.08 is down by 8 %."""
    shares = {**moves.named, "ALL": moves.others}
    return {
        "now": rfc3339(now),
        "moves": {symbol: plain(share) for symbol, share in shares.items()},
        "accounts": {each.account.name: _account(each) for each in outlooks},
    }


def _account(outlook: Outlook) -> dict[str, Any]:
    feeds = {name: outlook.account.feed(name).last_snapshot_at for name in FEEDS}
    return {
        "last_snapshot_at": {name: at and rfc3339(at) for name, at in feeds.items()},
        "positions": [_position(each) for each in outlook.positions],
        "alerts": [_alert(each) for each in outlook.alerts],
    }


def _position(moved: MovedPosition) -> dict[str, Any]:
    return {
        **moved.row.labels,
        "move": plain(moved.move),
        "liquidated": moved.liquidated,
        "before": _figures(moved.before),
        "after": _figures(moved.after),
    }


def _figures(figures: Mapping[str, Decimal | None]) -> dict[str, str | None]:
    return {name: _plain(value) for name, value in figures.items()}


def _alert(moved: MovedAlert) -> dict[str, Any]:
    return {
        "rule": moved.rule.name,
        "labels": dict(moved.labels),
        "now": {
            "state": moved.state.value,
            "severity": moved.severity and moved.severity.value,
            "value": _plain(moved.before),
        },
        "then": {
            "severity": moved.then and moved.then.value,
            "value": _plain(moved.after),
            "threshold": _plain(moved.line),
        },
    }


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)
