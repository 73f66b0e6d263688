"""The program as its user runs it: real processes, a loopback exchange, a loopback inbox."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alerting.sandbox.exchange import DOCUMENTED_WALLET, LoopbackExchange, Special, wallet_body
from alerting.sandbox.inbox import Inbox
from tests.support.broken_answers import broken_answers

ROOT = Path(__file__).resolve().parents[2]

RULES = """\
poll: {{interval: {interval}, timeout: {timeout}, blind_after: {blind_after}}}
accounts:
  main:
    api_key: ${{API_KEY}}
    secret_key: ${{SECRET_KEY}}
    base_url: {base_url}
    rate_limit: 5000/60s
receivers:
  desk:  {{url: "${{DESK_URL}}"}}
  phone: {{url: "${{PHONE_URL}}"}}
routes:
  - match: {{severity: critical}}
    receivers: [desk, phone]
    repeat_interval: 15m
  - receivers: [desk]
    repeat_interval: 4h
rules:
  - name: available-balance-floor
    per: wallet
    value: total_available_balance
    below: {{warning: 1000, critical: 250}}
    clear: {{warning: 1100, critical: 300}}
"""

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


TIGHTER = """\
  - name: tighter
    per: wallet
    value: total_available_balance
    below: 1600
"""


class Desk:
    """A rules file, its exchange and its inbox, and the program run on them."""

    def __init__(self, folder, exchange, inbox):
        self.folder, self.exchange, self.inbox = folder, exchange, inbox
        self.path = folder / "rules.yaml"
        self.write()

    def write(self, more="", **settings):
        settings = {"interval": "50ms", "timeout": "2s", "blind_after": "1h"} | settings
        text = RULES.format(base_url=self.exchange.base_url, **settings) + more
        self.path.write_text(text, encoding="utf-8")

    def environ(self, **more):
        return {
            **{k: v for k, v in os.environ.items() if "proxy" not in k.lower()},
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.folder),
            "API_KEY": self.exchange.api_key,
            "SECRET_KEY": self.exchange.secret_key,
            "DESK_URL": self.inbox.url("desk"),
            "PHONE_URL": self.inbox.url("phone"),
            **more,
        }

    def start(self, *args, **environ):
        return subprocess.Popen(
            [sys.executable, "-m", "alerting", "-c", str(self.path), *args],
            cwd=self.folder,
            env=self.environ(**environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *args, **environ):
        process = self.start(*args, **environ)
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in out + err, out + err
        return process.returncode, out, err

    def once(self):
        return self.run("run", "--once")

    def status(self):
        code, out, _ = self.run("status", "--json")
        assert code == 0
        return json.loads(out)

    def titles(self, box="desk"):
        return [m.title for m in self.inbox.received if m.box == box]


@pytest.fixture
def desk(tmp_path):
    with LoopbackExchange() as exchange, Inbox() as inbox:
        yield Desk(tmp_path, exchange, inbox)


def falling(available):
    return wallet_body(total="2000", available=available, rows={})


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


# ── run --once ──────────────────────────────────────────────────────────────


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
    assert [re.split(r"[ :]", t)[0] for t in desk.titles()] == ["WARNING", "CRITICAL", "RESOLVED"]
    assert len(desk.titles("phone")) == 2


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
    import sqlite3

    connection = sqlite3.connect(desk.folder / "alerting.db")
    connection.execute("UPDATE outbox SET next_at = 0")
    connection.commit()
    connection.close()
    assert desk.once()[0] == 0
    assert desk.status()["outbox"] == {"pending": 0, "dead": 0, "sent": 1}
    assert "possible repeat" in desk.titles()[0]


def test_a_second_run_on_the_same_state_exits_0_and_says_so(desk):
    first = desk.start("run")
    try:
        wait_until(lambda: desk.exchange.requests)
        code, _, err = desk.once()
        assert (code, "another alerting process" in err) == (0, True)
    finally:
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=20)


def test_nothing_to_send_imports_neither_apprise_nor_jinja(desk):
    code = (
        "import sys; from alerting.cli.main import main; code = main(sys.argv[1:]);"
        "print(sorted({'apprise', 'jinja2', 'smtplib'} & set(sys.modules)), code)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, "-c", str(desk.path), "run", "--once"],
        cwd=desk.folder,
        env=desk.environ(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert out.splitlines()[-1] == "[] 0"


# ── run ─────────────────────────────────────────────────────────────────────


def test_the_daemon_tells_and_ends_with_exit_0(desk):
    desk.exchange.wallet = falling("2000")
    daemon = desk.start("run")
    wait_until(lambda: desk.exchange.requests)
    for available, count in (("900", 1), ("200", 2), ("2000", 3)):
        desk.exchange.wallet = falling(available)
        wait_until(lambda count=count: len(desk.titles()) == count)
    daemon.send_signal(signal.SIGTERM)
    out, err = daemon.communicate(timeout=20)
    assert daemon.returncode == 0
    assert "Traceback" not in out + err
    assert "inactive -> firing" in err


@pytest.mark.parametrize("how", ["changed-file", "sighup"])
def test_a_changed_rules_file_is_taken_over(desk, how):
    desk.exchange.wallet = falling("1500")
    old = desk.path.stat()
    daemon = desk.start("run")
    wait_until(lambda: desk.exchange.requests)
    desk.write(more=TIGHTER)
    if how == "sighup":
        os.utime(desk.path, ns=(old.st_atime_ns, old.st_mtime_ns))
        daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: any("tighter" in title for title in desk.titles()))
    daemon.send_signal(signal.SIGTERM)
    _, err = daemon.communicate(timeout=20)
    assert daemon.returncode == 0
    assert "rule tighter: added" in err


def test_an_invalid_rules_file_keeps_the_old_one_and_is_told(desk):
    desk.exchange.wallet = falling("1500")
    daemon = desk.start("run")
    wait_until(lambda: desk.exchange.requests)
    desk.write(more="    severty: info\n")
    wait_until(lambda: any("config-invalid" in title for title in desk.titles()))
    desk.exchange.wallet = falling("900")
    wait_until(lambda: any("available-balance-floor" in title for title in desk.titles()))
    desk.write(more=TIGHTER)
    wait_until(lambda: any("RESOLVED" in t and "config-invalid" in t for t in desk.titles()))
    daemon.send_signal(signal.SIGTERM)
    _, err = daemon.communicate(timeout=20)
    assert daemon.returncode == 0
    assert "rules.0.severty" in err


def test_150_broken_answers_resolve_nothing_and_crash_nothing(desk):
    """While an alert fires, nothing but a good answer may end it."""
    answers = broken_answers()
    assert len(answers) >= 150
    desk.write(timeout="300ms", interval="15ms")
    desk.exchange.wallet = falling("900")
    daemon = desk.start("run", "--log-level", "error")
    wait_until(lambda: len(desk.titles()) == 1)
    desk.exchange.wallet = falling("2000")
    desk.exchange.script = [
        Special(status=status, headers=headers, answer=answer)
        for _, status, headers, answer in answers
    ]
    wait_until(lambda: desk.exchange.left == 0 or daemon.poll() is not None, seconds=90)
    firing = [t for t in desk.titles() if "RESOLVED" in t and "available" in t]
    wait_until(lambda: any("RESOLVED" in title for title in desk.titles()))
    daemon.send_signal(signal.SIGTERM)
    _, err = daemon.communicate(timeout=20)
    assert (daemon.returncode, firing) == (0, [])
    assert "Traceback" not in err


# ── other commands ──────────────────────────────────────────────────────────


def test_check_counts(desk):
    assert desk.run("check") == (0, "1 rule, 2 receivers, 2 routes\n", "")


def test_check_prints_all_errors_on_stdout_and_exits_1(desk):
    desk.write(more="    thresold: 3\n    per: walet\n")
    code, out, _ = desk.run("check")
    assert code == 1
    assert len(out.splitlines()) >= 2
    assert all(re.match(r".*rules\.yaml:\d+:\d+: rules\.0", line) for line in out.splitlines())


@pytest.mark.parametrize("command", [["run", "--once"], ["status"], ["send-test"]])
def test_an_invalid_rules_file_is_exit_2_for_every_other_command(desk, command):
    desk.write(more="    severty: info\n")
    code, out, err = desk.run(*command)
    assert (code, out) == (2, "")
    assert "severity" in err


def test_check_finds_a_bad_annotation_and_a_bad_receiver(desk):
    desk.write(more="    annotations: {summary: '{{ valeu }}'}\n")
    code, out, _ = desk.run("check", PHONE_URL="nosuch://token123456")
    assert code == 1
    assert re.search(r"rules\.yaml:23:28: rules\.0\.annotations\.summary: .*valeu", out)
    assert re.search(r"rules\.yaml:10:16: receivers\.phone\.url: ", out)
    assert "token123456" not in out


def test_check_warns_if_the_keys_do_not_belong_together(desk):
    code, _, err = desk.run("check", SECRET_KEY="ab" * 32)
    assert code == 0
    assert "accounts.main" in err
    assert "warning" in err


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


def test_send_test_prints_a_verdict_per_receiver(desk):
    code, out, _ = desk.run("send-test", PHONE_URL="json://127.0.0.1:1/")
    assert code == 1
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["desk"].startswith("accepted")
    assert lines["phone"].startswith("transient")
    assert len(desk.titles()) == 1


def test_send_test_of_an_unknown_receiver_is_wrong_usage(desk):
    code, _, err = desk.run("send-test", "des")
    assert code == 2
    assert "desk, phone" in err


def test_schema_is_json_schema(desk):
    code, out, _ = desk.run("schema")
    assert code == 0
    assert "json-schema.org" in json.loads(out)["$schema"]


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["nosuch"],
        ["run", "--twice"],
        ["--log-level", "loud", "run"],
        ["exchange", "--port", "99999"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_2(desk, args):
    assert desk.run(*args)[0] == 2


def test_options_stand_before_or_after_the_command(desk):
    state = desk.folder / "elsewhere.db"
    assert desk.run("run", "--once", "--state", str(state))[0] == 0
    assert desk.run("--state", str(state), "status")[0] == 0
    assert state.exists()
    assert not (desk.folder / "alerting.db").exists()


def test_the_environment_names_file_and_state(desk):
    state = desk.folder / "elsewhere.db"
    process = subprocess.run(
        [sys.executable, "-m", "alerting", "run", "--once"],
        cwd="/",
        env=desk.environ(ALERTING_CONFIG=str(desk.path), ALERTING_STATE=str(state)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (process.returncode, state.exists()) == (0, True)


def test_a_state_that_cannot_be_written_is_a_sentence(desk):
    code, _, err = desk.run("run", "--once", "--state", "/nosuch/folder/alerting.db")
    assert code == 1
    assert "/nosuch/folder/alerting.db" in err


def test_the_exchange_serves_a_wallet_file(desk):
    wallet = desk.folder / "wallet.json"
    wallet.write_text(json.dumps(falling("900")), encoding="utf-8")
    process = desk.start("exchange", "--port", "0", "--wallet", str(wallet))
    try:
        first = process.stdout.readline()
        base_url = re.search(r"http://127\.0\.0\.1:\d+", first).group()
        text = desk.path.read_text(encoding="utf-8")
        desk.path.write_text(text.replace(desk.exchange.base_url, base_url), encoding="utf-8")
        wait_until(lambda: "900" in process.stdout.readline())
        assert desk.once()[0] == 0
        assert len(desk.titles()) == 1
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_silence_ack_and_explain(desk):
    desk.exchange.wallet = falling("900")
    desk.once()
    (alert,) = desk.status()["alerts"]
    code, out, _ = desk.run("explain", "available-balance-floor")
    assert code == 0
    assert "available-balance-floor  main/USDT" in out
    assert "warning    < 1000, clear at 1100: in breach; firing since" in out
    assert "route      as warning: number 2, to desk" in out
    assert "firing to desk: sent" in out
    assert desk.run("ack", alert["id"])[0] == 0
    code, out, _ = desk.run("silence", "add", "rule=avail*", "--for", "2h", "--reason", "test")
    assert (code, "rule=avail*" in out) == (0, True)
    (alert,) = desk.status()["alerts"]
    assert (alert["acked"], alert["silenced"]) == (True, True)
    out = desk.run("explain", "available-balance-floor")[1]
    assert "acked" in out
    assert "silenced" in out
    desk.exchange.wallet = falling("200")
    desk.once()
    assert len(desk.titles()) == 1
    assert desk.run("silence", "list")[1].startswith("1  rule=avail*")
    assert desk.run("silence", "remove", "1")[0] == 0
    desk.once()
    assert "escalated" in desk.titles()[1]


def test_the_history_is_recorded_and_exported(desk):
    for available in ("1500", "900"):
        desk.exchange.wallet = falling(available)
        desk.once()
    desk.exchange.script = lambda _: Special(status=503)
    desk.once()
    code, out, _ = desk.run("history", "export")
    assert code == 0
    records = [json.loads(line) for line in out.splitlines()]
    assert [sorted(record) for record in records] == [["account", "at", "body"]] * 2 + [
        ["account", "at", "error"]
    ]
    balances = records[1]["body"]["data"]["base_asset_balances"][0]["balances"]
    assert balances["total_available_balance"] == "900"
    later = desk.run("history", "export", "--from", records[1]["at"], "--to", records[2]["at"])[1]
    assert [json.loads(line)["at"] for line in later.splitlines()] == [records[1]["at"]]


@pytest.mark.parametrize(
    "args",
    [
        ["silence", "add", "rul=x", "--for", "2h", "--reason", "x"],
        ["history", "export", "--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z"],
        ["explain", "nosuch"],
        ["explain", "available-balance-floor", "--symbol", "BTCUSDT"],
        ["explain", "available-balance-floor", "--at", "yesterday"],
        ["history", "export", "--from", "2026-01-01"],
    ],
    ids=" ".join,
)
def test_what_does_not_exist_is_wrong_usage(desk, args):
    desk.once()
    code, out, err = desk.run(*args)
    assert (code, out) == (2, "")
    assert err.startswith("alerting: ")


@pytest.mark.parametrize("args", [["ack", "zzzz"], ["silence", "remove", "7"]], ids=" ".join)
def test_what_is_not_there_any_more_is_exit_1(desk, args):
    desk.once()
    code, out, err = desk.run(*args)
    assert (code, out) == (1, "")
    assert err.startswith("alerting: ")


def test_no_log_level_shows_a_secret(desk):
    desk.exchange.wallet = falling("200")
    token = "S3CRETTOKEN12345"
    _code, out, err = desk.run(
        "run", "--once", "--log-level", "debug", PHONE_URL=f"json://127.0.0.1:1/{token}"
    )
    stored = (desk.folder / "alerting.db").read_bytes()
    for secret in (token, desk.exchange.secret_key, desk.exchange.api_key):
        assert secret not in out + err
        assert secret.encode() not in stored
