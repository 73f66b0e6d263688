"""The daemon over reloads, on a real exchange, inbox and state file; only the signals are called."""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
from datetime import timedelta

import pytest

from alerting.cli import context
from alerting.errors import StateBusyError, StoreError, UsageError
from alerting.notify.last_resort import Emergency
from alerting.sandbox.exchange import LoopbackExchange
from alerting.sandbox.inbox import Inbox
from alerting.service.lock import StateLock
from alerting.store.outbox import Outbox
from tests.support.broken_answers import as_script, broken_answers
from tests.support.desk import TIGHTER, falling, wait_until, without_phone
from tests.support.running import NOBODY, FakeSignals, Running


@pytest.fixture
def desk(tmp_path, caplog):
    caplog.set_level("INFO", logger="alerting")
    with LoopbackExchange() as exchange, Inbox() as inbox:
        work = Running(tmp_path, exchange, inbox)
        work.caplog = caplog
        yield work
        if work.thread is not None and work.thread.is_alive():
            work.end()


@pytest.mark.parametrize("how", ["changed-file", "asked"])
def test_a_changed_rules_file_is_taken_over(desk, caplog, how):
    desk.exchange.wallet = falling("1500")
    old = desk.path.stat()
    desk.begin()
    desk.write(more=TIGHTER)
    if how == "asked":
        os.utime(desk.path, ns=(old.st_atime_ns, old.st_mtime_ns))
        desk.signals.hang_up()
    desk.told("tighter")
    desk.end()
    assert "rule tighter: added" in caplog.text


def test_an_invalid_rules_file_keeps_the_old_one_and_is_told(desk, caplog):
    desk.exchange.wallet = falling("1500")
    desk.begin()
    desk.write(more="    severty: info\n")
    desk.told("config-invalid")
    desk.exchange.wallet = falling("900")
    desk.told("available-balance-floor")
    desk.write(more=TIGHTER)
    desk.told("RESOLVED", "config-invalid")
    desk.end()
    assert "rules.0.severty" in caplog.text


def test_a_file_that_is_edited_during_the_start_is_taken_over(desk):
    desk.exchange.wallet = falling("1500")
    desk.begin(edit=lambda: desk.write(more=TIGHTER))
    desk.told("tighter")
    desk.end()


# ── signals that come between ───────────────────────────────────────────────


@pytest.mark.parametrize("how", ["taken-over", "refused"])
def test_a_stop_during_a_reload_is_not_lost(desk, monkeypatch, how):
    desk.begin()
    read = desk.load

    def load():
        desk.signals.terminate()
        if how == "refused":
            raise UsageError("there is no such file")
        return read()

    monkeypatch.setattr(desk, "load", load)
    desk.signals.hang_up()
    desk.ended()


@pytest.mark.parametrize("when", ["at-once", "while-it-opens-the-state"])
def test_a_stop_during_the_start_is_not_lost(desk, monkeypatch, when):
    def clock():
        desk.signals.terminate()
        return context.now()

    if when == "at-once":
        monkeypatch.setattr(FakeSignals, "on_end", lambda _, stop: stop())
        desk.begin(wait=False)
    else:
        desk.begin(clock=clock, wait=False)
    desk.ended()


def test_a_daemon_under_which_a_second_one_came_to_the_same_state_ends_and_says_so(desk):
    """Its folder was renamed, a backup put in its place, and a second process started on that."""
    desk.begin()
    other = desk.folder / "backup.db"
    other.write_bytes((desk.folder / "alerting.db").read_bytes())
    with StateLock(other, now=context.now()):
        other.replace(desk.folder / "alerting.db")
        desk.thread.join(20)
    assert isinstance(desk.error, StateBusyError)
    assert "another alerting process works on this state by now" in str(desk.error)


# ── receivers that leave and come back ──────────────────────────────────────


def test_a_receiver_that_comes_back_is_told_what_is_true_by_then(desk):
    desk.exchange.wallet = falling("200")
    desk.begin()
    desk.told("CRITICAL", box="phone")
    desk.take_over(lambda: without_phone(desk))
    desk.exchange.wallet = falling("2000")
    desk.told("RESOLVED")
    desk.take_over()
    desk.told("RESOLVED", box="phone")
    desk.end()
    assert len(desk.titles("phone")) == 2


@pytest.mark.parametrize("meanwhile", ["200", "2000"])
def test_what_waited_for_a_receiver_that_left_is_not_told_late(desk, caplog, meanwhile):
    desk.exchange.wallet = falling("200")
    desk.more = NOBODY
    desk.begin()
    wait_until(lambda: "not reached" in caplog.text)
    desk.more = {}
    desk.take_over(lambda: without_phone(desk))
    wait_until(lambda: "1 message given up" in caplog.text)
    desk.exchange.wallet = falling(meanwhile)
    if meanwhile == "2000":
        desk.told("RESOLVED")
    desk.take_over()
    desk.exchange.wallet = falling("200")
    desk.told("CRITICAL", box="phone")
    desk.end()
    (title,) = desk.titles("phone")
    assert "possible repeat" not in title


def test_150_broken_answers_resolve_nothing_and_crash_nothing(desk, caplog):
    """While an alert fires, nothing but a good answer may end it."""
    answers = as_script(broken_answers())
    assert len(answers) >= 150
    desk.write(timeout="300ms", interval="2ms", rate_limit="50000/60s")
    desk.exchange.wallet = falling("900")
    desk.begin()
    wait_until(lambda: len(desk.titles()) == 1)
    # the last one over and over, so that what it leads to is seen before a good one follows
    desk.exchange.script = answers + [answers[-1]] * 100_000
    # only now, so that the last answer before the script is no good one
    begun = desk.exchange.left
    wait_until(lambda: desk.exchange.left < begun)
    desk.exchange.wallet = falling("2000")
    wait_until(lambda: desk.exchange.left < 100_000 - 2 or not desk.thread.is_alive(), seconds=90)
    firing = [t for t in desk.titles() if "RESOLVED" in t and "available" in t]
    desk.exchange.script = None
    desk.told("RESOLVED")
    desk.end()
    assert firing == []
    ours = [record for record in caplog.records if record.name.startswith("alerting")]
    assert [record for record in ours if record.exc_info] == []


def damage(desk, account):
    connection = sqlite3.connect(desk.folder / "alerting.db", timeout=20)
    with connection:
        connection.execute(
            "INSERT OR REPLACE INTO accounts (name, document, evaluated_at) VALUES (?, '{', 0)",
            (account,),
        )
    connection.close()


@pytest.mark.parametrize("damaged", ["", "old"], ids=["the-programs-own", "an-account-that-left"])
def test_damage_in_what_no_poll_reads_is_told_and_keeps_no_other_alert_back(desk, damaged):
    """Judging accounts works, so nobody else would notice."""
    desk.write(blind_after="500ms")
    desk.exchange.wallet = falling("2000")
    desk.begin()
    damage(desk, damaged)
    desk.path.write_text("nonsense: 1\n", encoding="utf-8")
    desk.told("state file unusable")
    if damaged:
        desk.told("config-invalid")
    desk.end()


def test_an_account_that_left_and_is_damaged_keeps_no_daemon_from_its_start(desk):
    desk.write(blind_after="500ms")
    desk.exchange.wallet = falling("2000")
    desk.begin()
    desk.end()
    damage(desk, "old")
    desk.begin(wait=False)
    desk.exchange.wallet = falling("900")
    desk.told("available-balance-floor")
    desk.told("state file unusable")
    desk.end()


class Manager:
    """systemd's end of the notify socket."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(20)

    def said(self, word):
        while word not in (text := self.socket.recv(1000).decode()):
            pass
        return text


def test_a_daemon_that_ends_while_it_tells_asks_its_manager_for_the_time(desk, monkeypatch):
    manager, gate = Manager(desk.folder), threading.Event()
    monkeypatch.setattr(Running, "environment", {"NOTIFY_SOCKET": manager.path})

    def fails(*_args, **_more):
        raise StoreError("state file x: disk I/O error")

    def slow(_emergency, *_args, **_more):
        gate.wait(20)

    desk.begin()
    monkeypatch.setattr("alerting.service.supervisor.build_clients", fails)
    monkeypatch.setattr(Emergency, "_send_one", slow)
    desk.signals.hang_up()
    text = manager.said("EXTEND_TIMEOUT_USEC=65000000")
    gate.set()
    desk.thread.join(20)
    manager.socket.close()
    assert text.startswith("WATCHDOG=1\n")


@pytest.fixture
def broken(desk, caplog):
    """A daemon whose state file is garbage; `mended()` puts the good one back."""
    desk.write(blind_after="500ms")
    desk.exchange.wallet = falling("1500")
    desk.begin()
    state, good = desk.folder / "alerting.db", desk.folder / "good.db"
    good.write_bytes(state.read_bytes())
    garbage = desk.folder / "garbage"
    garbage.write_bytes(b"this is no database " * 500)
    garbage.replace(state)
    wait_until(lambda: "this poll is not judged" in caplog.text)
    desk.mended = lambda: good.replace(state)
    return desk


def test_a_reload_waits_until_the_state_can_be_used_and_the_old_rules_go_on(broken, caplog):
    broken.write(more=TIGHTER, blind_after="500ms")
    wait_until(lambda: "the changed rules file waits for that" in caplog.text)
    broken.told("state file unusable")
    asked = broken.exchange.requests
    wait_until(lambda: broken.exchange.requests > asked)
    assert broken.reloads() == 0
    broken.mended()
    broken.told("WARNING", "tighter")
    broken.told("RESOLVED", "state file unusable")
    broken.end()
    assert broken.reloads() == 1


def test_what_became_of_a_file_that_waits_counts(broken, caplog):
    broken.write(more=TIGHTER)
    wait_until(lambda: "the changed rules file waits for that" in caplog.text)
    broken.write(more="    severty: info\n")
    wait_until(lambda: "the rules file is not taken over" in caplog.text)
    broken.mended()
    broken.told("config-invalid")
    broken.end()
    assert broken.reloads() == 0


def test_a_stop_while_a_changed_file_waits_is_heard(broken, caplog):
    broken.signals.hang_up()
    wait_until(lambda: "the changed rules file waits for that" in caplog.text)
    broken.end()


def test_a_state_that_fails_in_the_midst_of_a_reload_is_told_before_the_daemon_ends(
    desk, monkeypatch
):
    """Maybe nobody starts it again."""
    desk.begin()

    def fails(*_args, **_more):
        raise StoreError("state file x: disk I/O error")

    monkeypatch.setattr("alerting.service.supervisor.build_clients", fails)
    desk.signals.hang_up()
    desk.thread.join(20)
    assert isinstance(desk.error, StoreError)
    desk.told("state file unusable")


def test_a_sigterm_between_two_daemons_of_a_reload_is_heard(desk, monkeypatch):
    """The old one has ended, the new one does not run yet."""
    desk.exchange.wallet = falling("1500")
    desk.begin()
    take_over = Emergency.take_over

    def terminated_meanwhile(emergency, *args, **more):
        desk.signals.terminate()
        take_over(emergency, *args, **more)

    monkeypatch.setattr(Emergency, "take_over", terminated_meanwhile)
    desk.write(more=TIGHTER)
    desk.thread.join(20)
    assert (desk.thread.is_alive(), desk.error) == (False, None)


def test_senders_whose_claims_fail_are_told_past_the_outbox(desk, monkeypatch):
    """The state can be judged by, and nothing goes out."""

    def fails(*_args, **_more):
        raise StoreError("state file x: disk I/O error")

    monkeypatch.setattr(Outbox, "claim", fails)
    monkeypatch.setattr("alerting.notify.last_resort.TELL_AFTER", timedelta(seconds=0.3))
    desk.exchange.wallet = falling("900")
    desk.begin()
    desk.told("CRITICAL", "alerts are NOT delivered")
    desk.end()


def test_the_daemon_believes_a_clock_that_jumped_once_it_has_stood(desk, caplog, monkeypatch):
    """Meanwhile, as after, its requests bear the machine's time."""
    monkeypatch.setattr("alerting.service.clock.STOOD", timedelta(seconds=0.5))
    off = [timedelta(0)]

    def wall():
        return context.now() + off[0]

    desk.exchange.clock = wall
    desk.exchange.wallet = falling("900")
    desk.begin(clock=wall)
    desk.told("available-balance-floor")
    off[0] = timedelta(days=2)
    wait_until(lambda: "it is believed now" in caplog.text)
    desk.exchange.wallet = falling("1500")
    desk.told("RESOLVED")
    desk.end()
    assert "the clock jumped by +2d" in caplog.text
    assert "behind the exchange" not in caplog.text
    assert "ahead of the exchange" not in caplog.text
