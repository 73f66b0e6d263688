"""`status`: what is true, as text and as JSON."""

from __future__ import annotations

import re

from tests.support.desk import TIGHTER, falling


def test_status_before_anything_ran(desk):
    document = desk.status()
    assert document["accounts"] == {
        "main": {
            "last_snapshot_at": None,
            "snapshot_age": None,
            "poll_failures": 0,
            "last_error": None,
            "wallets": {},
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
        "id", "rule", "labels", "state", "severity", "value", "threshold", "distance",
        "remedies", "active_at", "fired_at", "acked", "silenced",
    }  # fmt: skip
    assert (alert["state"], alert["severity"], alert["value"]) == ("firing", "critical", "200")
    assert (alert["threshold"], alert["distance"]) == ("250", "50")
    assert alert["remedies"] == [
        {"action": "deposit", "amount": "100.00", "unit": "USDT", "text": "deposit 100.00 USDT"}
    ]
    code, out, _ = desk.run("status")
    assert code == 0
    assert re.search(
        r"CRITICAL\s+\w{7}\s+available-balance-floor\s+main/USDT\s+200 < 250.*\n"
        r"    to clear: deposit 100.00 USDT\n",
        out,
    )


def test_status_shows_the_wallet_and_how_near_each_line_is_when_all_is_well(desk):
    desk.exchange.wallet = falling("1700")
    desk.once()
    document = desk.status()
    assert document["accounts"]["main"]["wallets"] == {
        "USDT": {
            "total_balance": "2000",
            "total_available_balance": "1700",
            "total_blocked_balance": "300",
            "total_position_margin": "300",
            "total_open_order_margin": "0",
        }
    }
    assert document["rules"] == [
        {
            "rule": "available-balance-floor",
            "rows": 1,
            "worst": {
                "labels": {"account": "main", "base_asset": "USDT"},
                "value": "1700",
                "threshold": "1000",
                "distance": "-700",
            },
        }
    ]
    out = desk.run("status")[1]
    assert "    main USDT  total 2000  available 1700  blocked 300\n" in out
    assert "RULES\n  available-balance-floor  main/USDT  1700  700 from < 1000 (warning)\n" in out


def test_status_shows_silences(desk):
    desk.once()
    desk.run("silence", "add", "rule=x*", "--for", "1h", "--reason", "moving funds")
    out = desk.run("status")[1]
    assert re.search(r"SILENCES\n  1  rule=x\*  \S+ left  moving funds  \[", out)


def test_watch_draws_again_until_it_is_interrupted(desk, monkeypatch):
    desk.once()
    drawn = []

    def pause(_):
        drawn.append(1)
        if len(drawn) == 2:
            (desk.folder / "alerting.db").write_bytes(b"this is no database " * 500)
        if len(drawn) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("alerting.cli.status.time.sleep", pause)
    monkeypatch.setattr("alerting.cli.status._on_a_terminal", lambda: True)
    code, out, _ = desk.run("status", "--watch")
    assert (code, out.count("\x1b[H\x1b[2J")) == (0, 3)
    assert out.count("RULES") == 2
    assert "not a database" in out


def test_watch_without_a_terminal_is_wrong_usage(desk):
    code, _, err = desk.run("status", "--watch")
    assert (code, "--watch draws on a terminal" in err) == (2, True)


def test_status_writes_numbers_as_messages_do(desk):
    more = TIGHTER.replace("total_available_balance", "margin_ratio").replace(
        "below: 1600", "above: 20%"
    )
    desk.write(more=more + "display: {grouping: thousands}\n")
    desk.exchange.wallet = falling("1500")
    desk.once()
    out = desk.run("status")[1]
    assert "total 2,000  available 1,500  blocked 500\n" in out
    assert "  tighter                  main/USDT  25%    5 points past > 20%\n" in out
    assert "25% > 20%" in out
