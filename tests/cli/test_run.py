"""`run --once` from cron, and the daemon as its user runs it."""

from __future__ import annotations

import json
import re
import sqlite3
from datetime import datetime, timedelta

import pytest

from alerting.cli import context
from alerting.sandbox.exchange import DOCUMENTED_WALLET, Special
from tests.support.desk import falling

DOCUMENTED_RULES = """\
  - name: negative-open-order-margin
    per: wallet
    value: total_open_order_margin
    below: 0
    severity: info
  - name: exact-floor
    per: wallet
    value: total_available_balance
    below: 60910.77418715
  - name: one-digit-more
    per: wallet
    value: total_available_balance
    below: 60910.774187150000000001
"""


def test_the_documented_wallet(desk):
    """The exchange's own example fires exactly what it should, once, to the last digit."""
    desk.exchange.wallet = DOCUMENTED_WALLET
    desk.write(more=DOCUMENTED_RULES)
    for _ in range(4):
        assert desk.once()[0] == 0
    (message,) = desk.inbox.received
    assert "-6.778517" in message.message
    assert "one-digit-more" in message.message
    assert "exact-floor" not in message.title + message.message
    alerts = {a["rule"]: a for a in desk.status()["alerts"]}
    assert set(alerts) == {"negative-open-order-margin", "one-digit-more"}
    negative = alerts["negative-open-order-margin"]
    assert (negative["value"], negative["threshold"], negative["severity"]) == (
        "-6.778517",
        "0",
        "info",
    )
    assert negative["labels"] == {"account": "main", "base_asset": "USDT"}


def test_a_falling_and_recovering_wallet(desk):
    for available in ("1500", "900", "200", "900", "1500"):
        desk.exchange.wallet = falling(available)
        code, out, _ = desk.once()
        assert code == 0, out
    assert [re.split(r"[ :]", t)[0] for t in desk.titles()] == [
        "WARNING",
        "CRITICAL",
        "WARNING",
        "RESOLVED",
    ]
    assert "(eased from critical)" in desk.titles()[2]
    assert len(desk.titles("phone")) == 3


def test_a_failed_poll_is_exit_1_and_says_why(desk):
    desk.exchange.script = lambda _: Special(status=503, answer=b"<html>maintenance</html>")
    code, _, err = desk.once()
    assert code == 1
    assert "exchange down" in err


def test_a_wrong_secret_is_named_credentials_and_not_shown(desk):
    secret = "ab" * 32
    code, out, err = desk.run("run", "--once", SECRET_KEY=secret)
    assert code == 1
    assert "credentials" in err
    assert secret not in out + err


def test_a_receiver_that_is_down_is_exit_1_and_is_told_later(desk):
    desk.exchange.wallet = falling("900")
    desk.inbox.status = 503
    assert desk.once()[0] == 1
    assert desk.status()["outbox"] == {"pending": 1, "dead": 0, "sent": 0}
    desk.inbox.status = 200

    connection = sqlite3.connect(desk.folder / "alerting.db")
    connection.execute("UPDATE outbox SET next_at = 0")
    connection.commit()
    connection.close()
    assert desk.once()[0] == 0
    assert desk.status()["outbox"] == {"pending": 0, "dead": 0, "sent": 1}
    assert "possible repeat" in desk.titles()[0]


@pytest.mark.parametrize("off", [timedelta(days=365), timedelta(days=2), -timedelta(hours=1)])
def test_a_cycle_by_a_clock_that_jumped_keeps_what_there_is(desk, monkeypatch, off):
    """One cycle from cron a year ahead must not forget the history, nor tell of another year."""
    desk.exchange.wallet = falling("1500")
    desk.once()
    true_now = context.now
    monkeypatch.setattr(context, "now", lambda: true_now() + off)
    desk.exchange.wallet = falling("900")
    desk.once()
    monkeypatch.setattr(context, "now", true_now)
    desk.once()
    records = [json.loads(line) for line in desk.run("history", "export")[1].splitlines()]
    assert len(records) == 3
    instants = [datetime.fromisoformat(record["at"]) for record in records]
    assert instants == sorted(instants)
    assert instants[-1] - instants[0] < timedelta(minutes=1)
    assert len(desk.titles()) == 1
