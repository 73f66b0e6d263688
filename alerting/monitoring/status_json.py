"""`status --json`: the overview as a document; its form is in docs/commands.md."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from alerting.engine.feeds import POSITIONS, WALLET
from alerting.engine.model import AccountState, Alert, FeedState, State
from alerting.engine.remedy import Remedy
from alerting.engine.risk import figures as figures_of
from alerting.engine.snapshot import PositionRow
from alerting.messages import phrases
from alerting.monitoring.nearest import Reach
from alerting.monitoring.overview import Overview, distance_of, threshold_of
from alerting.units import plain, rfc3339


def as_json(view: Overview) -> dict[str, Any]:
    """The document of `status --json`."""
    health = view.health
    counts = {
        key: sum(getattr(receiver, key) for receiver in health.receivers.values())
        for key in ("pending", "dead", "sent")
    }
    return {
        "now": rfc3339(view.now),
        "accounts": {
            name: _account(state, health.feeds.get(name, ()), view.now)
            for name, state in health.accounts.items()
        },
        "alerts": [_alert(alert, view) for alert in view.alerts],
        "rules": [_rule(reach) for reach in view.reaches],
        "outbox": counts,
        "receivers": {
            name: {
                "pending": receiver.pending,
                "dead": receiver.dead,
                "sent": receiver.sent,
                "last_failure": receiver.last_reason,
            }
            for name, receiver in health.receivers.items()
        },
    }


def _account(state: AccountState, feeds: Iterable[str], now: datetime) -> dict[str, Any]:
    """The wallet's feed as the account's own; others, with their rows, where they are read."""
    wallets = {
        wallet.base_asset: {name: plain(amount) for name, amount in wallet.fields.items()}
        for wallet in state.wallets
    }
    document = {**_feed(state.feed(WALLET), now), "wallets": wallets}
    others = {name: _feed(state.feed(name), now) for name in feeds if name != WALLET}
    if POSITIONS in others:
        document["positions"] = [_position(each.row) for each in state.positions]
    return document | ({"feeds": others} if others else {})


def _feed(feed: FeedState, now: datetime) -> dict[str, Any]:
    last = feed.last_snapshot_at
    return {
        "last_snapshot_at": rfc3339(last) if last else None,
        "snapshot_age": max(0.0, round((now - last).total_seconds(), 3)) if last else None,
        "poll_failures": feed.poll_failures,
        "last_error": feed.last_error,
    }


def _position(row: PositionRow) -> dict[str, Any]:
    figures = {
        name: None if value is None else plain(value) for name, value in figures_of(row).items()
    }
    return {**row.labels, **figures}


def _rule(reach: Reach) -> dict[str, Any]:
    worst = reach.worst
    return {
        "rule": reach.rule.name,
        "rows": reach.rows,
        "worst": worst
        and {
            "labels": dict(worst.labels),
            "value": plain(worst.value),
            "threshold": plain(worst.threshold),
            "distance": plain(worst.distance),
        },
    }


def _remedy(offer: Remedy) -> dict[str, Any]:
    words = phrases.remedy(offer)
    return words | {"amount": plain(offer.amount)}


def _alert(alert: Alert, view: Overview) -> dict[str, Any]:
    fired_at = alert.fired_at if alert.state is State.FIRING else None
    return {
        "id": alert.id,
        "rule": alert.rule,
        "labels": alert.shown_labels,
        "state": alert.state.value,
        "severity": alert.severity.value if alert.severity else None,
        "value": None if alert.value is None else plain(alert.value),
        "threshold": threshold_of(alert),
        "distance": distance_of(alert),
        # what would clear it
        "remedies": [_remedy(each) for each in alert.remedies],
        "active_at": rfc3339(alert.active_at) if alert.active_at else None,
        "fired_at": rfc3339(fired_at) if fired_at else None,
        "acked": alert.fingerprint in view.acked,
        "silenced": alert.fingerprint in view.silenced,
    }
