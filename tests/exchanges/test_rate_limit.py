from __future__ import annotations

import math
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.engine.snapshot import FailureKind
from alerting.exchanges.rate_limit import LONGEST_PAUSE, Pace, SlidingWindow
from alerting.units import rfc3339


@given(
    limit=st.integers(1, 5),
    steps=st.lists(st.floats(0, 40, allow_nan=False), max_size=80),
)
def test_no_window_holds_more_than_the_limit(limit, steps):
    now = 0.0
    window = SlidingWindow(limit, timedelta(seconds=60), lambda: now)
    taken = []
    for step in steps:
        now += step
        wait = window.wait_time()
        acquired = window.try_acquire()
        assert acquired == (wait == 0.0)
        if acquired:
            taken.append(now)
        else:
            assert 0 < wait <= 60.001
            oldest = taken[-limit]
            assert wait == pytest.approx(oldest + 60 - now)
    for start in taken:
        assert sum(start <= at < start + 60 for at in taken) <= limit


def test_window_has_room_again_when_it_said_so():
    now = 0.0
    window = SlidingWindow(2, timedelta(seconds=60), lambda: now)
    assert [window.try_acquire() for _ in range(3)] == [True, True, False]
    now = math.nextafter(60.0, 0)
    assert not window.try_acquire()
    now = 60.0
    assert window.wait_time() == 0.0
    assert window.try_acquire()


def test_window_is_shared_between_threads():
    window = SlidingWindow(50, timedelta(seconds=60))
    taken = []
    threads = [
        threading.Thread(target=lambda: taken.extend(window.try_acquire() for _ in range(25)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken.count(True) == 50


# ── from process to process ─────────────────────────────────────────────────

T0 = datetime(2026, 1, 1, tzinfo=UTC)
S = timedelta(seconds=1)
WINDOW = 60 * S


class Machine:
    """One wall clock, and a monotonic one for each process that is started."""

    def __init__(self):
        self.now = T0
        self.up = 0.0

    def sleep(self, seconds):
        self.now += seconds * S
        self.up += seconds

    def start(self, remembered=None, *, requests=3, host="https://exchange"):
        born = self.up - 1000
        return Pace(
            requests,
            WINDOW,
            host=host,
            clock=lambda: self.now,
            monotonic=lambda: self.up - born,
            remembered=remembered,
        )


@pytest.fixture
def machine():
    return Machine()


@given(
    limit=st.integers(1, 5),
    steps=st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=60),
)
def test_processes_together_keep_the_limit_of_one(limit, steps):
    machine = Machine()
    one, pace = machine.start(requests=limit), machine.start(requests=limit)
    for step, restarted in steps:
        machine.sleep(step)
        if restarted:
            pace = machine.start(pace.text(), requests=limit)
        assert pace.window.wait_time() == pytest.approx(one.window.wait_time(), abs=1e-3)
        assert pace.window.try_acquire() == one.window.try_acquire()


def test_a_pause_is_kept_to_by_the_next_process_and_told_in_the_same_words(machine):
    first = machine.start()
    pause = first.pause(FailureKind.RATE_LIMIT, "too many requests (429)", 100.5 * S)
    assert pause.text == "too many requests (429); not asked before 2026-01-01T00:01:41Z"
    for _ in range(3):
        machine.sleep(30)
        first = machine.start(first.text())
        assert first.paused().text == pause.text
    assert first.paused().left == 10.5 * S
    machine.sleep(10.5)
    assert first.paused() is None
    assert machine.start(first.text()).paused() is None


@pytest.mark.parametrize("back", [3600, 86_400 * 400])
def test_a_clock_that_is_set_back_holds_nobody_for_longer_than_a_pause_lasts(machine, back):
    pace = machine.start(requests=1)
    pace.window.try_acquire()
    pace.pause(FailureKind.RATE_LIMIT, "429", 300 * S)
    text = pace.text()
    machine.now -= back * S
    pace = machine.start(text, requests=1)
    assert pace.paused().left == 300 * S
    assert pace.paused().text.endswith(rfc3339(machine.now + 301 * S))
    assert pace.window.wait_time() == 60
    for _ in range(5):  # cron every minute
        machine.sleep(60)
        pace = machine.start(pace.text(), requests=1)
    assert pace.paused() is None
    assert pace.window.wait_time() == 0


def test_a_clock_that_runs_ahead_ends_the_pause(machine):
    pace = machine.start()
    pace.pause(FailureKind.RATE_LIMIT, "429", 300 * S)
    text = pace.text()
    machine.now += 3600 * S
    assert machine.start(text).paused() is None


def test_no_pause_is_longer_than_the_longest(machine):
    assert machine.start().pause(FailureKind.RATE_LIMIT, "429", 9999 * S).left == LONGEST_PAUSE


def test_another_hosts_pace_does_not_bind(machine):
    pace = machine.start(requests=1)
    pace.window.try_acquire()
    pace.pause(FailureKind.RATE_LIMIT, "429", 300 * S)
    other = machine.start(pace.text(), requests=1, host="https://other")
    assert (other.paused(), other.window.wait_time()) == (None, 0.0)


def test_a_smaller_limit_waits_for_the_requests_of_the_larger_one(machine):
    pace = machine.start()
    for _ in range(3):
        pace.window.try_acquire()
        machine.sleep(10)
    assert machine.start(pace.text(), requests=1).window.wait_time() == 50


def test_of_many_requests_a_few_instants_are_told_and_none_too_early(machine):
    pace = machine.start(requests=5000)
    for _ in range(1000):
        pace.window.try_acquire()
        machine.sleep(0.01)
    again = machine.start(pace.text(), requests=1000)
    assert len(pace.text()) < 5000
    assert len(again.window.ages()) == 1000
    assert 0 <= again.window.wait_time() - (60 - pace.window.ages()[0]) < 0.2


@pytest.mark.parametrize(
    "remembered",
    [
        "",
        "null",
        "[]",
        "{",
        "[" * 100_000,
        '{"host": "https://exchange"}',
        '{"host": "https://exchange", "requests": 5, "pause": []}',
        '{"host": "https://exchange", "requests": [5, [], ["x", 1], [null, 1], ["2026-01-01", 1]]}',
        '{"host": "https://exchange", "requests": [["2026-01-01T00:00:00+00:00", 1e9]]}',
        '{"host": "https://exchange", "requests": [["2026-01-01T00:00:00+00:00", -1]]}',
        '{"host": "https://exchange", "requests": [["0001-01-01T00:00:00+23:59", 1]]}',
        '{"host": "https://exchange", "pause": {"kind": "tea", "said": "x", "ends_at": "y"}}',
        '{"host": "https://exchange", "pause": {"kind": "network", "said": "x", "ends_at": "y"}}',
        '{"host": "https://exchange", "pause": {"kind": "network", "said": 5, "ends_at": 9e18}}',
    ],
)
def test_what_cannot_be_read_binds_nobody(machine, remembered):
    pace = machine.start(remembered, requests=1)
    assert (pace.paused(), pace.window.wait_time()) == (None, 0.0)


def test_no_room_at_all_waits_for_ever():
    assert SlidingWindow(0, WINDOW).wait_time() == math.inf


def test_room_is_what_can_be_taken_now():
    now = 0.0
    window = SlidingWindow(3, timedelta(seconds=60), lambda: now)
    assert window.room() == 3
    assert [window.try_acquire() for _ in range(window.room() + 1)] == [True] * 3 + [False]
    assert window.room() == 0
    now = 60.0
    assert window.room() == 3
