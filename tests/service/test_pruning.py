"""Forgetting what is old, by a clock that may be wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerting.service.pruning import prune_if_sure
from tests.support.factories import T0

HOUR, DAY, YEAR = timedelta(hours=1), timedelta(days=1), timedelta(days=365)


class Facts:
    """Meta facts, and when something was pruned."""

    def __init__(self):
        self.facts, self.pruned, self.writes = {}, [], 0

    def meta(self, key):
        return self.facts.get(key)

    def set_meta(self, key, value):
        self.writes += 1
        self.facts[key] = value

    def forget(self, at):
        prune_if_sure(self, lambda: self.pruned.append(at), now=T0 + at)


def run(*instants):
    store = Facts()
    for instant in instants:
        store.forget(instant)
    return store


def hours(first, last, step=1):
    return [number * HOUR for number in range(first, last, step)]


def test_at_first_the_clock_must_stand_for_a_day():
    assert run(*hours(0, 30)).pruned == hours(24, 30)


def test_once_an_hour_is_enough():
    minutes = [timedelta(minutes=number) for number in range(1440, 1560)]
    assert run(timedelta(0), *minutes).pruned == [DAY, DAY + HOUR]


@pytest.mark.parametrize("ahead", [2 * DAY, YEAR, 30 * YEAR], ids=str)
@pytest.mark.parametrize("cycles", [1, 20])
def test_a_clock_that_jumped_deletes_nothing(ahead, cycles):
    store = run(*hours(0, 30), *(ahead + at for at in hours(30, 30 + cycles)), *hours(50, 52))
    assert store.pruned == [*hours(24, 30), *hours(50, 52)]


def test_a_clock_that_jumps_on_is_not_confirmed_by_it():
    assert run(*hours(0, 30), *(number * YEAR for number in range(1, 9))).pruned == hours(24, 30)


def test_a_clock_that_stands_for_a_day_is_believed():
    store = run(*hours(0, 30), *(YEAR + at for at in hours(0, 26)))
    assert store.pruned[6:] == [YEAR + DAY, YEAR + DAY + HOUR]


def test_a_clock_set_back_is_believed():
    assert run(*hours(0, 30), -YEAR).pruned[-1] == -YEAR


@pytest.mark.parametrize("every", [25, 30])
def test_whoever_comes_once_a_day_is_not_left_out(every):
    assert len(run(*hours(0, 24 * 40, every)).pruned) >= 15


@pytest.mark.parametrize("text", ["", "[]", "{", '{"other": 1}'])
def test_what_cannot_be_read_is_not_known(text):
    store = Facts()
    store.facts["pruned"] = text
    store.forget(timedelta(0))
    assert store.pruned == []


def test_doubt_is_not_written_down_each_minute():
    minutes = [timedelta(minutes=number) for number in range(600)]
    assert run(*minutes).writes == 10
