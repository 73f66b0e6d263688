"""Who is asked next, by a clock of its own; no request is made."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from alerting.exchanges.coinswitch.turns import Turns
from alerting.exchanges.coinswitch.wire import utc_now
from alerting.exchanges.rate_limit import Pace


class Asking:
    """Turns that are taken, one request for each symbol that is due."""

    def __init__(self, requests=20):
        self.now = 0.0
        window = timedelta(seconds=60)
        self.pace = Pace(requests, window, host="x", clock=utc_now, monotonic=lambda: self.now)
        self.turns = Turns(self.pace, lambda: self.now)

    def poll(self, symbols):
        due = self.turns.due(symbols)
        for symbol in due:
            if self.pace.window.try_acquire():
                self.turns.keep(symbol, [symbol, self.now])
        return due


def test_all_are_asked_first_and_then_those_that_wait_longest():
    asking = Asking()
    assert asking.poll(list("abcdef")) == list("abcdef")
    asking.now += 6
    assert asking.poll(list("abcdef")) == ["a", "b"]
    asking.now += 6
    assert asking.poll(list("abcdef")) == ["c", "d"]
    asking.now += 60
    assert asking.poll(list("abcdef")) == ["e", "f", "a", "b", "c", "d"]


def test_whoever_was_never_asked_comes_before_all_others():
    asking = Asking()
    asking.poll(["b", "c"])
    asking.now += 3
    assert asking.poll(["a", "b", "c"]) == ["a"]


def test_where_there_is_no_room_one_is_due_and_the_asking_says_so():
    asking = Asking(requests=2)
    asking.poll(["a", "b"])
    assert asking.poll(["a", "b"]) == ["a"]
    assert asking.pace.window.room() == 0


def test_an_answer_without_rows_counts_for_others_once_the_next_one_says_so_too():
    asking = Asking()
    symbols = ["a", "b", "c", "d"]
    asking.poll(symbols)
    for expected in (["a", "b"], ["b", "c"], ["d", "a"]):
        asking.now += 6
        due = asking.turns.due(symbols)
        assert due == expected
        for symbol in due:
            asking.turns.keep(symbol, [] if symbol == "b" else [symbol])
        assert len(asking.turns.told(symbols)) == 4


def test_an_answer_counts_for_two_windows():
    asking = Asking()
    asking.poll(["a"])
    for now, count in ((119.0, 1), (120.0, 0)):
        asking.now = now
        asking.turns.due(["a"])
        assert len(asking.turns.told(["a"])) == count


@given(
    count=st.integers(1, 45),
    waits=st.lists(st.floats(0.1, 200), min_size=1, max_size=60),
    requests=st.integers(1, 30),
)
def test_no_answer_that_counts_is_too_old_and_no_window_is_exceeded(count, waits, requests):
    asking = Asking(requests)
    symbols = [f"s{number}" for number in range(count)]
    for wait in waits:
        asking.now += wait
        due = asking.poll(symbols)
        assert 1 <= len(due) == len(set(due)) <= max(1, requests)
        told = asking.turns.told(symbols)
        assert all(asking.now - each.at < 120 for each in told)
        assert [each.rows[0] for each in told] == sorted(
            (each.rows[0] for each in told), key=symbols.index
        )


def test_rows_that_came_back_have_to_be_missed_twice_again():
    asking = Asking()
    found = ([], [], ["b"], [])
    for rows in found:
        asking.now += 60
        assert asking.turns.due(["b"]) == ["b"]
        asking.turns.keep("b", rows)
    # the last answer without rows is the first of its kind again
    asking.now += 1
    asking.turns.due(["b"])
    assert asking.turns.told(["b"]) == []


def test_polls_a_window_apart_have_all_of_the_budget():
    asking = Asking()
    symbols = [f"s{number:02}" for number in range(18)]
    for _ in range(3):
        assert asking.poll(symbols) == symbols
        asking.now += 60
