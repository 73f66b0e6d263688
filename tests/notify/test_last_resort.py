"""The last resort, on a clock that is moved by hand: whom it tells, how often, and when it stops."""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from alerting.errors import LoopError, StoreError
from alerting.loops import Duty
from alerting.messages.formats import Format
from alerting.notify.attempts import broken
from alerting.notify.last_resort import Emergency
from alerting.notify.receivers import build_notifier
from alerting.notify.settings import ReceiverSettings
from alerting.redaction import Secret
from alerting.sandbox.inbox import Inbox
from tests.support.factories import T0
from tests.support.fakes import FakeClock, FakeMonotonic

FULL = StoreError("state file /x/alerting.db: database or disk is full")


class Bell:
    """An Emergency on a clock that is moved by hand."""

    def __init__(self, tmp_path, inbox, monkeypatch):
        monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "tmp"))
        (tmp_path / "tmp").mkdir(exist_ok=True)
        self.clock, self.inbox = FakeClock(), inbox
        self.state = tmp_path / "state" / "alerting.db"
        self.state.parent.mkdir()
        self.start()

    def start(self):
        """Another process."""
        desk = ReceiverSettings(name="desk", url=Secret(self.inbox.url("desk")))
        dead = ReceiverSettings(name="dead", url=Secret("nosuch://x"))
        self.emergency = Emergency(
            {"dead": dead, "desk": desk}, self.state, after=timedelta(minutes=2), clock=self.clock
        )

    def at(self, minutes):
        self.clock.now = T0 + timedelta(minutes=minutes)
        return self.emergency

    def heard(self):
        self.emergency.wait()
        return [message.title.split()[0] for message in self.inbox.received]


@pytest.fixture
def bell(tmp_path, monkeypatch):
    with Inbox() as inbox:
        yield Bell(tmp_path, inbox, monkeypatch)


def test_the_daemon_tells_after_blind_after_hourly_and_when_it_is_over(bell):
    expected = {0: 0, 1: 0, 2: 1, 3: 1, 61: 1, 62: 2, 121: 2, 122: 3}
    for minute, count in expected.items():
        bell.at(minute).report("main", FULL)
        assert (minute, len(bell.heard())) == (minute, count)
    bell.at(130).report("main", None)
    assert bell.heard() == ["CRITICAL"] * 3 + ["RESOLVED"]
    bell.at(131).report("main", None)
    bell.at(132).report("main", FULL)
    assert len(bell.heard()) == 4
    assert list(bell.state.parent.iterdir()) == []


def test_an_account_that_works_does_not_hide_one_that_fails(bell):
    for minute in range(3):
        bell.at(minute).report("main", None)
        bell.at(minute).report("other", FULL)
    assert bell.heard() == ["CRITICAL"]
    bell.at(3).report("main", None)
    assert bell.heard() == ["CRITICAL"]
    bell.at(3).report("other", None)
    assert bell.heard() == ["CRITICAL", "RESOLVED"]


def test_a_changed_rules_file_changes_who_is_told_and_what_is_watched(bell):
    bell.at(0).report("main", FULL)
    bell.at(2).report("main", FULL)
    assert bell.heard() == ["CRITICAL"]
    with Inbox() as other:
        phone = ReceiverSettings(name="phone", url=Secret(other.url("phone")))
        after = timedelta(minutes=1)
        bell.emergency.take_over({"phone": phone}, after=after, watched={"side"})
        bell.at(3).report("side", None)
        bell.emergency.wait()
        assert [message.title.split()[0] for message in other.received] == ["RESOLVED"]
    assert bell.heard() == ["CRITICAL"]


def test_cron_tells_after_blind_after_hourly_and_when_it_is_over(bell):
    for minute in range(130):
        bell.start()
        bell.at(minute).give_up(FULL)
        bell.emergency.wait()
    assert bell.heard() == ["CRITICAL"] * 3
    bell.start()
    bell.at(130).report("cycle", None)
    assert bell.heard() == ["CRITICAL"] * 3 + ["RESOLVED"]
    assert list(bell.state.parent.iterdir()) == []


def test_a_single_failure_of_cron_tells_nobody(bell):
    bell.at(0).give_up(FULL)
    bell.start()
    bell.at(1).report("cycle", None)
    bell.start()
    bell.at(3).give_up(FULL)
    assert bell.heard() == []


def test_where_no_stamp_can_be_made_each_failing_start_tells(bell, monkeypatch):
    monkeypatch.setattr(
        "alerting.notify.last_resort.os.open", lambda *_: (_ for _ in ()).throw(OSError())
    )
    for minute in range(2):
        bell.start()
        bell.at(minute).give_up(FULL)
        bell.emergency.wait()
    assert bell.heard() == ["CRITICAL"] * 2


def test_a_clock_that_was_set_back_silences_nothing(bell):
    bell.at(600).give_up(FULL)
    bell.start()
    bell.at(0).give_up(FULL)
    assert bell.heard() == ["CRITICAL"]


def test_somebody_elses_stamp_does_not_count(bell, monkeypatch):
    bell.at(0).give_up(FULL)
    bell.start()
    bell.at(2).give_up(FULL)
    assert bell.heard() == ["CRITICAL"]
    stranger = os.geteuid() + 1
    monkeypatch.setattr("alerting.notify.last_resort.os.geteuid", lambda: stranger)
    bell.start()
    bell.at(3).give_up(FULL)
    bell.start()
    assert bell.emergency._told.at() is None


def test_the_message_names_file_reason_and_since(bell):
    bell.at(0).report("main", FULL)
    bell.at(5).report("main", FULL)
    bell.heard()
    (message,) = bell.inbox.received
    for part in (
        "/x/alerting.db",
        "disk is full",
        "alerts are NOT being judged",
        f"{T0:%H:%M:%S} UTC",
    ):
        assert part in message.title + message.message


def test_a_receiver_that_cannot_be_told_is_told_of_after_5_minutes(bell):
    failing = LoopError("receiver desk died (MemoryError)")
    for minute in range(6):
        bell.at(minute).report("receiver desk", failing, duty=Duty.DELIVER)
        assert len(bell.heard()) == (minute == 5)
    assert "alerts are NOT delivered" in bell.inbox.received[0].title
    assert "died (MemoryError)" in bell.inbox.received[0].message


def test_what_lasts_already_is_told_at_once(bell):
    bell.at(0).report("main", FULL, lasting=timedelta(minutes=2))
    assert bell.heard() == ["CRITICAL"]


# ── with nothing that can have failed ───────────────────────────────────────


def no_temp():
    raise FileNotFoundError(2, "No usable temporary directory found in [...]")


@pytest.mark.parametrize("way", ["daemon", "cron"])
def test_without_a_folder_for_temporary_files_and_on_a_full_disk_it_is_told(bell, monkeypatch, way):
    monkeypatch.setattr("tempfile.gettempdir", no_temp)
    monkeypatch.setattr(
        "alerting.notify.last_resort.os.open", lambda *_: (_ for _ in ()).throw(OSError())
    )
    bell.start()
    if way == "cron":
        bell.at(0).give_up(FULL)
    else:
        for minute in range(3):
            bell.at(minute).report("main", FULL)
    assert bell.heard() == ["CRITICAL"]


def test_in_a_deleted_folder_it_is_told(bell, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    bell.state = Path("alerting.db")
    bell.start()
    bell.at(0).give_up(FULL)
    bell.at(2).give_up(FULL)
    assert bell.heard() == ["CRITICAL"]


def test_where_no_thread_is_to_be_had_it_is_sent_without_one(bell, monkeypatch):
    start = threading.Thread.start

    def refuse(thread):
        if thread.name.startswith(("emergency", "alerting")):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    bell.at(0).report("main", FULL)
    bell.at(2).report("main", FULL)
    assert [message.title.split()[0] for message in bell.inbox.received] == ["CRITICAL"]


# ── in the time that each service has ────────────────────────────────────────

MAIL_URL = "mailto://127.0.0.1:1/?from=a@example.org&to=b@example.org"


class Slow:
    """A thread that tells somebody, for so many seconds of the machine's clock."""

    def __init__(self, machine, seconds, waited):
        self.machine, self.seconds, self.waited = machine, seconds, waited

    def join(self, most):
        self.waited.append(most)
        self.machine.now += min(self.seconds, most)


@pytest.mark.parametrize(
    ("lasting", "expected"),
    [
        pytest.param((12, 12), [60, 48], id="a-mail-server-that-greets-late"),
        pytest.param((999, 999, 1), [60, 0, 0], id="who-hangs-for-good"),
    ],
)
def test_a_process_that_ends_gives_its_last_message_the_time_of_the_slowest_service(
    bell, monkeypatch, lasting, expected
):
    machine, waited = FakeMonotonic(), []
    monkeypatch.setattr("alerting.notify.last_resort.time", SimpleNamespace(monotonic=machine))
    bell.emergency._threads = [Slow(machine, seconds, waited) for seconds in lasting]
    bell.emergency.wait()
    assert waited == expected


def limits(bell, monkeypatch, urls):
    """Seconds that each of these receivers is given at most, and all together if each hangs."""
    found, machine = {}, FakeMonotonic()

    class Hanging:
        format, room = Format.CHAT, None

        def __init__(self, seconds):
            self.seconds = seconds

        def send(self, _message):
            machine.now += self.seconds
            return broken(TimeoutError())

    def build(receiver, **more):
        notifier = build_notifier(receiver, **more)
        total = notifier._total if receiver.name == "mail" else notifier._timing.total
        found[receiver.name] = round(total.total_seconds(), 3)
        return Hanging(found[receiver.name])

    monkeypatch.setattr("alerting.notify.last_resort.build_notifier", build)
    monkeypatch.setattr("alerting.notify.last_resort.time", SimpleNamespace(monotonic=machine))
    settings = {name: ReceiverSettings(name=name, url=Secret(url)) for name, url in urls.items()}
    bell.emergency.take_over(settings, after=timedelta(minutes=2), watched=())
    began = machine.now
    bell.at(0).report("main", FULL, lasting=timedelta(minutes=2))
    for thread in bell.emergency._threads:
        thread.join()
    return found, machine.now - began


def test_a_direct_message_has_the_time_that_its_service_ordinarily_has(bell, monkeypatch):
    urls = {"mail": MAIL_URL, "desk": bell.inbox.url("desk")}
    assert limits(bell, monkeypatch, urls)[0] == {"mail": 60, "desk": 30}


def test_without_threads_all_together_have_a_minute(bell, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    urls = {"mail": MAIL_URL, **{f"desk{n}": bell.inbox.url("desk") for n in range(5)}}
    found, lasted = limits(bell, monkeypatch, urls)
    assert found == dict.fromkeys(urls, 10)
    assert round(lasted) == 60


def test_whatever_one_receiver_raises_the_others_are_told(bell, monkeypatch):
    def build(receiver, **more):
        if receiver.name == "dead":
            raise SystemExit
        return build_notifier(receiver, **more)

    monkeypatch.setattr("alerting.notify.last_resort.build_notifier", build)
    bell.at(0).report("main", FULL, lasting=timedelta(minutes=2))
    assert bell.heard() == ["CRITICAL"]


def test_what_nobody_took_is_told_again_after_a_minute(bell, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(
            "alerting.notify.last_resort.build_notifier",
            lambda *_, **__: (_ for _ in ()).throw(OSError()),
        )
        bell.at(2).report("main", FULL, lasting=timedelta(minutes=2))
        assert bell.heard() == []
    bell.at(2.5).report("main", FULL)
    assert bell.heard() == []
    bell.at(3).report("main", FULL)
    bell.at(4).report("main", FULL)
    assert bell.heard() == ["CRITICAL"]
