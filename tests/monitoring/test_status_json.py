"""The document of `status --json`: exact money, whole states."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

from alerting.monitoring.status_json import as_json
from tests.support.factories import CRITICAL, T0, D
from tests.support.overviews import make_overview, make_shown


def test_all_of_it():
    view = make_overview()
    floor, ratio, _ = view.alerts

    document = json.loads(json.dumps(as_json(view)))

    assert document["now"] == "2026-01-01T00:01:00Z"
    assert document["accounts"] == {
        "main": {
            "last_snapshot_at": "2026-01-01T00:00:45Z",
            "snapshot_age": 15.0,
            "poll_failures": 0,
            "last_error": None,
            "wallets": {
                "USDT": {
                    "total_balance": "1000",
                    "total_available_balance": "900",
                    "total_blocked_balance": "100",
                    "total_position_margin": "100",
                    "total_open_order_margin": "0",
                }
            },
        },
        "new": {
            "last_snapshot_at": None,
            "snapshot_age": None,
            "poll_failures": 3,
            "last_error": None,
            "wallets": {},
        },
    }
    assert [alert["id"] for alert in document["alerts"][:2]] == [floor.id, ratio.id]
    assert document["alerts"][0]["value"] == "-6.778517"
    assert document["outbox"] == {"pending": 2, "dead": 1, "sent": 5}
    assert document["receivers"]["desk"] == {
        "pending": 2,
        "dead": 1,
        "sent": 5,
        "last_failure": "bad token",
    }


def test_a_ratio_to_equity_that_is_used_up_is_a_number_that_programs_can_read():
    shown = replace(
        make_shown("risk", "Infinity", severity=CRITICAL),
        thresholds={CRITICAL: (D("0.8"), D("0.7"))},
    )
    (alert,) = json.loads(json.dumps(as_json(make_overview(alerts=(shown,)))))["alerts"]
    assert (alert["value"], alert["distance"]) == ("Infinity", "Infinity")
    assert float(alert["value"]) == D(alert["value"]) == D("Infinity")


def test_a_clock_that_was_set_back_gives_no_negative_age():
    document = as_json(make_overview(now=T0 - timedelta(hours=1)))

    assert document["accounts"]["main"]["snapshot_age"] == 0.0
