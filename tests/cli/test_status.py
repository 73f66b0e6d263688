"""`status`: what is true, as text and as JSON."""

from __future__ import annotations

import re

from tests.support.desk import falling


def test_status_before_anything_ran(desk):
    document = desk.status()
    assert document["accounts"] == {
        "main": {
            "last_snapshot_at": None,
            "snapshot_age": None,
            "poll_failures": 0,
            "last_error": None,
        }
    }
    assert (document["alerts"], document["outbox"]) == ([], {"pending": 0, "dead": 0, "sent": 0})
    assert not (desk.folder / "alerting.db").exists()


def test_status_shows_what_is_true(desk):
    desk.exchange.wallet = falling("200")
    desk.once()
    document = desk.status()
    (alert,) = document["alerts"]
    assert set(alert) == {
        "id", "rule", "labels", "state", "severity", "value", "threshold", "active_at",
        "fired_at", "acked", "silenced",
    }  # fmt: skip
    assert (alert["state"], alert["severity"], alert["value"]) == ("firing", "critical", "200")
    code, out, _ = desk.run("status")
    assert code == 0
    assert re.search(r"CRITICAL\s+available-balance-floor\s+main/USDT\s+200 < 250", out)
