from __future__ import annotations

import math
import threading
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.exchanges.rate_limit import SlidingWindow


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
