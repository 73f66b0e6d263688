"""The program's clock: what it makes of a wall clock that somebody sets."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerting.errors import StoreError
from alerting.service import clock as clocks
from alerting.service.clock import STOOD, TOLERANCE, SteadyClock, Uptime, keep_safely, uptime
from alerting.store.state import Store
from tests.support.factories import T0, M, S
from tests.support.stores import see
from tests.support.time_machine import Machine

DAY = timedelta(days=1)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "state.db")
    yield store
    store.close()


@pytest.fixture
def machine():
    machine = Machine()
    machine.sleep(1000)
    return machine


def clock_of(machine):
    clock = SteadyClock(machine.wall, machine.uptime)
    clock()
    return clock


def real(machine):
    return T0 + machine.passed


def test_the_machines_own_uptime_grows_and_names_the_boot():
    first, second = uptime(), uptime()
    assert first.boot == second.boot
    assert timedelta(0) < first.since <= second.since


def test_a_system_that_names_no_boot_is_no_error(monkeypatch, tmp_path):
    monkeypatch.setattr(clocks, "Path", lambda _: tmp_path / "none")
    clocks._boot.cache_clear()
    assert uptime().boot == ""
    clocks._boot.cache_clear()


def test_small_corrections_are_followed_however_many(machine):
    clock = clock_of(machine)
    for _ in range(100):
        machine.off += TOLERANCE
        machine.sleep(10)
        assert clock() == machine.wall()


@pytest.mark.parametrize("off", [3 * S, -3 * S, 2 * DAY, -2 * DAY], ids=str)
def test_a_jump_is_not_followed_until_it_has_stood(machine, store, off):
    clock = clock_of(machine)
    machine.off = off
    for _ in range(STOOD // (10 * S)):
        assert clock() == real(machine)
        clock.keep(store)
        machine.sleep(10)
    assert clock() == real(machine)
    clock.keep(store)
    assert clock() == machine.wall()


def test_a_jump_that_is_taken_back_was_never_there(machine, store, caplog):
    clock = clock_of(machine)
    for _ in range(50):
        machine.off = 2 * DAY
        machine.sleep(60)
        assert clock() == real(machine)
        machine.off = timedelta(0)
        machine.sleep(1)
        assert clock() == machine.wall()
        clock.keep(store)
    assert caplog.text.count("jumped by +2d") == 50


def test_each_further_jump_must_stand_for_itself(machine, store):
    clock = clock_of(machine)
    for number in range(1, 50):
        machine.off = number * DAY
        machine.sleep(60)
        clock.keep(store)
        assert clock() == real(machine)


def test_the_next_process_of_a_boot_goes_on_from_what_this_one_knew(machine, store):
    clock_of(machine).resume(store)
    machine.sleep(60)
    machine.off = 365 * DAY
    for _ in range(5):
        clock = clock_of(machine)
        clock.resume(store)
        assert clock() == real(machine)
        machine.sleep(60)
    clock = clock_of(machine)
    clock.resume(store)
    assert clock() == machine.wall()


def test_a_long_stop_is_no_jump(machine, store):
    clock_of(machine).resume(store)
    machine.sleep(40 * 24 * 3600)
    clock = clock_of(machine)
    clock.resume(store)
    assert clock() == machine.wall()


def test_after_a_boot_a_clock_that_is_ahead_is_believed(machine, store):
    see(store, "900", machine.wall())
    clock_of(machine).resume(store)
    machine.reboot()
    machine.off = 2 * DAY
    clock = clock_of(machine)
    clock.resume(store)
    assert clock() == machine.wall()


def test_after_a_boot_a_clock_that_is_behind_takes_what_waits_with_it(machine, store):
    now = machine.wall()
    see(store, "900", now)
    row = store.claim("desk", now=now)
    store.mark_retry(row, reason="429", next_at=now + 20 * S, maybe_sent=False)
    store.hold_receiver("desk", until=now + 20 * S)
    machine.reboot()
    machine.off = -60 * M
    clock_of(machine).resume(store)
    assert store.claim("desk", now=machine.wall() + 19 * S) is None
    assert store.claim("desk", now=machine.wall() + 20 * S) is not None


@pytest.mark.parametrize("text", ["", "{}", "[]", "{", '{"boot": "boot 1", "started": 9e99}'])
def test_what_cannot_be_read_is_not_known(machine, store, text):
    store.set_meta("clock", text)
    clock = clock_of(machine)
    clock.resume(store)
    assert clock() == machine.wall()


def test_processes_without_a_boot_to_compare_believe_the_clock(machine, store):
    def nameless():
        return Uptime(boot="", since=machine.uptime().since)

    SteadyClock(machine.wall, nameless).resume(store)
    machine.off = 2 * DAY
    clock = SteadyClock(machine.wall, nameless)
    clock.resume(store)
    assert clock() == machine.wall()


def test_nothing_is_written_while_nothing_changes(machine):
    class Counting:
        writes = 0

        def set_meta(self, key, value):
            self.writes += 1

    store, clock = Counting(), clock_of(machine)
    for number in range(100):
        machine.off = number % 3 * timedelta(milliseconds=1)
        machine.sleep(5)
        clock.keep(store)
    assert store.writes == 1


def test_a_state_file_that_fails_leaves_the_jump_in_doubt(machine, caplog):
    class Full:
        def clock_moved(self, by, *, now):
            raise StoreError("disk full")

        def set_meta(self, key, value):
            raise StoreError("disk full")

    clock = clock_of(machine)
    machine.off = DAY
    keep_safely(clock, Full())
    machine.sleep(2 * STOOD.total_seconds())
    keep_safely(clock, Full())
    assert "disk full" in caplog.text
    assert clock() == real(machine)


# ── what waits and what ages moves with a clock that is corrected ───────────


def test_what_waits_moves_with_the_clock(machine, store):
    now = machine.wall()
    see(store, "900", now)
    row = store.claim("desk", now=now)
    store.mark_retry(row, reason="down", next_at=now + 5 * S, maybe_sent=False)
    store.hold_receiver("desk", until=now + 20 * S)
    before = store.memory("main")
    store.clock_moved(-DAY, now=now - DAY)
    assert store.next_due("desk", now=now - DAY) == now - DAY + 20 * S
    again = store.claim("desk", now=now - DAY + 20 * S)
    assert (again.created_at, again.expires_at) == (row.created_at - DAY, row.expires_at - DAY)
    after = store.memory("main")
    assert after.account.feed("wallet").last_snapshot_at == now - DAY
    (old,), (new,) = before.alerts.values(), after.alerts.values()
    assert (new.fired_at, new.judged_at, new.episode) == (now - DAY, now - DAY, old.episode)
    (told,) = after.notified.values()
    assert told.at == now - DAY


def test_a_silence_made_by_a_clock_that_was_ahead_is_as_long_as_was_asked(machine, store):
    from alerting.engine.model import Silence

    now = machine.wall()
    for start in (now + DAY, now - 10 * M):
        store.add_silence(
            Silence(
                id=0,
                matchers={"rule": "*"},
                starts_at=start,
                ends_at=start + 60 * M,
                author="me",
                reason="x",
            )
        )
    clock = clock_of(machine)
    machine.off = DAY
    clock()
    machine.off = timedelta(0)
    clock.keep(store)
    assert [each.ends_at for each in store.silences(now=now)] == [now + 60 * M, now + 50 * M]
