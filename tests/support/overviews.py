"""An overview, made up: of all that it can hold, one or two."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from alerting.engine.model import AccountState, Alert, FeedState, Level, SeenRow, State
from alerting.monitoring.health import Health
from alerting.monitoring.overview import Overview
from alerting.store.outbox import ReceiverStatus
from tests.support.factories import CRITICAL, T0, WARNING, M, S, make_symbol, make_wallet


def make_shown(rule="floor", value="-6.778517", state=State.FIRING, severity=WARNING, **labels):
    return Alert(
        rule=rule,
        labels={"account": "main", "base_asset": "USDT"} | labels,
        levels=(Level(severity=severity, state=state),),
        value=None if value is None else Decimal(value),
    )


def make_health(**changes):
    full = Health(
        accounts={
            "main": AccountState(
                name="main",
                feeds={
                    "wallet": FeedState(last_snapshot_at=T0 + 45 * S, first_polled_at=T0),
                },
                wallets=(make_wallet("900"),),
                rows=(SeenRow(row=make_symbol()),),
            ),
            "new": AccountState(
                name="new", feeds={"wallet": FeedState(poll_failures=3, first_polled_at=T0)}
            ),
        },
        receivers={
            "desk": ReceiverStatus(
                name="desk",
                pending=2,
                dead=1,
                sent=5,
                oldest_pending_at=T0 + 30 * S,
                last_reason="bad token",
            ),
        },
        failing={"desk": "1 given up, the last with: bad token", "phone": None},
    )
    return replace(full, **changes)


def make_overview(**changes):
    full = Overview(
        now=T0 + M,
        health=make_health(),
        alerts=(
            make_shown(severity=CRITICAL),
            make_shown("ratio", "0.25", State.PENDING, symbol="BTCUSDT", exchange="EXCHANGE_2"),
            make_shown("blind", None, severity=CRITICAL),
        ),
        acked=frozenset(),
        silenced=frozenset(),
        evaluated={"main": T0 + 45.5 * S, "new": T0 + 46 * S, "removed": T0},
        severities={"floor": (WARNING, CRITICAL), "ratio": (WARNING,), "blind": (CRITICAL,)},
        sent_totals={"desk": 1234, "removed": 9},
    )
    return replace(full, **changes)
