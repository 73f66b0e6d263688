"""`run --once` from cron, and the daemon as its user runs it."""

from __future__ import annotations

import functools
import json
import re
import sqlite3
from datetime import datetime, timedelta

import pytest

from alerting.cli import context
from alerting.errors import StoreError
from alerting.sandbox.exchange import DOCUMENTED_WALLET, Special, wallet_body
from alerting.service.once import run_once
from alerting.store.outbox import Outbox
from tests.support.desk import falling, without_phone

NOBODY = "json://127.0.0.1:1/nobody"

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


# ── a receiver leaves the file, and comes back ──────────────────────────────


def cycles(desk, *steps, **environ):
    """Cycles from cron: what is left to trade with, and whether phone is in the file."""
    for available, present in steps:
        desk.write()
        if not present:
            without_phone(desk)
        desk.exchange.wallet = falling(available)
        desk.run("run", "--once", **environ)


def words(desk, box):
    return [re.split(r"[ :]", title)[0] for title in desk.titles(box)]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([("2000", False), ("2000", True)], [], id="over-by-then"),
        pytest.param([("2000", False)] * 3 + [("200", True)], ["CRITICAL"], id="anew-by-then"),
        pytest.param([("200", False), ("200", True)], ["CRITICAL"], id="still"),
        pytest.param([("200", False), ("200", True), ("200", True)], ["CRITICAL"], id="once"),
    ],
)
def test_what_waited_for_a_receiver_that_left_is_never_told_late(desk, steps, expected):
    cycles(desk, ("200", True), PHONE_URL=NOBODY)
    assert desk.status()["outbox"]["pending"] == 1
    cycles(desk, *steps)
    assert words(desk, "phone") == expected
    assert not any("possible repeat" in title for title in desk.titles("phone"))
    status = desk.status()
    assert (status["outbox"]["pending"], status["outbox"]["dead"]) == (0, 0)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([("2000", False), ("2000", True)], ["RESOLVED"], id="over-by-then"),
        pytest.param([("2000", False)] * 3 + [("2000", True)] * 2, ["RESOLVED"], id="later"),
        pytest.param([("200", False), ("200", True)], [], id="still"),
        pytest.param([("200", False), ("200", True), ("2000", True)], ["RESOLVED"], id="then"),
        pytest.param([("2000", False), ("200", False), ("200", True)], ["CRITICAL"], id="anew"),
    ],
)
def test_who_was_told_and_comes_back_is_told_the_end(desk, steps, expected):
    cycles(desk, ("200", True), *steps)
    assert words(desk, "phone") == ["CRITICAL", *expected]


def test_the_rows_of_a_receiver_that_left_are_counted_no_more(desk):
    cycles(desk, ("200", True), PHONE_URL=NOBODY)
    cycles(desk, ("200", False))
    status = desk.status()
    assert (status["outbox"], set(status["receivers"])) == (
        {"pending": 0, "dead": 0, "sent": 1},
        {"desk"},
    )


def test_a_receiver_with_a_new_name_is_a_new_receiver(desk):
    cycles(desk, ("200", True))
    text = desk.path.read_text(encoding="utf-8").replace("phone", "mobile")
    desk.path.write_text(text, encoding="utf-8")
    desk.once()
    desk.exchange.wallet = falling("2000")
    desk.once()
    assert words(desk, "phone") == ["CRITICAL", "CRITICAL", "RESOLVED"]


# ── what the exchange asked of one process binds the next ───────────────────


def test_a_pause_that_the_exchange_asks_for_is_kept_to_by_the_next_cycle(desk):
    desk.exchange.script = [Special(status=429, headers={"Retry-After": "120"}, answer=b"{}")]
    said = [desk.once()[2] for _ in range(3)]
    assert len(desk.exchange.requests) == 1
    assert desk.status()["accounts"]["main"]["poll_failures"] == 3
    (when,) = {re.search(r"not asked before \S+Z", text).group() for text in said}
    assert when in desk.status()["accounts"]["main"]["last_error"]


def test_cycles_together_keep_the_accounts_rate_limit(desk):
    desk.write(interval="60s", rate_limit="3/60s")
    codes = [desk.once()[0] for _ in range(4)]
    assert codes == [0, 0, 0, 1]
    assert len(desk.exchange.requests) == 3
    assert "own limit of 3 per 60s used up" in desk.status()["accounts"]["main"]["last_error"]


def test_a_pause_that_cannot_be_read_binds_nobody(desk):
    desk.once()
    connection = sqlite3.connect(desk.folder / "alerting.db")
    connection.execute("UPDATE meta SET value = '[]' WHERE key = 'pace.main'")
    connection.commit()
    connection.close()
    assert desk.once()[0] == 0


def test_senders_that_cannot_use_the_state_are_told_by_the_next_runs_of_cron(desk, monkeypatch):
    """The state can be judged by, and nothing goes out."""
    whole = Outbox.claim

    def fails(*_args, **_more):
        raise StoreError("state file x: database disk image is malformed")

    monkeypatch.setattr(Outbox, "claim", fails)
    hurried = functools.partial(run_once, patience=0.2, last_patience=0.1)
    monkeypatch.setattr("alerting.service.supervisor.run_once", hurried)
    desk.write(blind_after="50ms")
    desk.exchange.wallet = falling("200")
    codes = [desk.run("run", "--once")[0] for _ in range(2)]
    assert codes == [1, 1]
    told = [m for m in desk.inbox.received if "alerts are NOT delivered" in m.title]
    assert {m.box for m in told} == {"desk", "phone"}
    monkeypatch.setattr(Outbox, "claim", whole)
    assert desk.once()[0] == 0
    assert [m.title for m in desk.inbox.received if "works again" in m.message]


# ── --dry-run ───────────────────────────────────────────────────────────────


def files(desk):
    return {path.name: path.read_bytes() for path in desk.folder.iterdir() if path.is_file()}


def test_a_dry_run_shows_what_it_would_send_and_leaves_no_trace(desk):
    desk.exchange.wallet = falling("200")
    before = files(desk)
    code, out, _ = desk.run("run", "--once", "--dry-run")
    assert code == 0
    assert out.count("── to desk ──\nCRITICAL available-balance-floor") == 1
    assert out.count("── to phone ──") == 1
    assert out.endswith(
        "1 of 1 account read, 2 messages would be sent; nothing was stored or sent\n"
    )
    assert files(desk) == before
    assert not desk.inbox.received


def test_a_dry_run_shows_numbers_as_the_message_would(desk):
    desk.write(more="display: {grouping: thousands}\n")
    desk.exchange.wallet = wallet_body(total="2000000", available="200", rows={})
    desk.path.write_text(
        desk.path.read_text(encoding="utf-8").replace(
            "value: total_available_balance", "value: total_available_balance - 1000000"
        ),
        encoding="utf-8",
    )
    dry = desk.run("run", "--once", "--dry-run")[1]
    desk.once()
    assert "-999,800" in dry
    assert all(title in dry for title in desk.titles())


def test_a_dry_run_goes_by_what_was_told_before_and_changes_nothing_of_it(desk):
    desk.exchange.wallet = falling("900")
    desk.once()
    told = len(desk.inbox.received)
    assert "0 messages would be sent" in desk.run("run", "--once", "--dry-run")[1]
    desk.exchange.wallet = falling("200")
    for _ in range(2):
        assert "(escalated" in desk.run("run", "--once", "--dry-run")[1]
    assert len(desk.inbox.received) == told
    assert desk.status()["alerts"][0]["severity"] == "warning"
    assert desk.status()["outbox"] == {"pending": 0, "dead": 0, "sent": told}


def test_a_dry_run_that_cannot_read_an_account_fails_and_tells_no_lie(desk):
    desk.exchange.script = lambda _: Special(status=503)
    code, out, err = desk.run("run", "--once", "--dry-run")
    assert (code, out.startswith("0 of 1 account read")) == (1, True)
    assert "exchange down" in err


@pytest.mark.parametrize("args", [["--dry-run"], ["--once", "--dry-run", "--metrics-file", "m"]])
def test_a_dry_run_is_one_cycle_and_writes_nothing(desk, args):
    code, _, err = desk.run("run", *args)
    assert (code, "--dry-run is for --once alone" in err) == (2, True)
