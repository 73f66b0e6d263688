"""When the next poll is due, and which instant it counts for."""

from __future__ import annotations

import itertools
import random
from datetime import timedelta

import pytest

from alerting.service.schedule import beat_of, in_order, next_due
from tests.support.factories import T0, S

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("due", "now", "expected"),
    [
        pytest.param(100.0, 100.4, 115.0, id="on-time"),
        pytest.param(100.0, 109.9, 115.0, id="a-slow-poll-does-not-drift"),
        pytest.param(100.0, 115.2, 130.0, id="a-missed-turn-is-left-out"),
        pytest.param(100.0, 1000.1, 1015.0, id="no-burst-after-a-stall"),
        pytest.param(100.0, 99.9, 115.0, id="a-hair-early"),
    ],
)
def test_the_next_turn(due, now, expected):
    assert next_due(due, 15.0, now) == expected


@pytest.mark.parametrize(
    ("interval", "seconds", "expected"),
    [
        pytest.param(15, 15.02, 15, id="a-little-late"),
        pytest.param(15, 14.97, 15, id="a-little-early"),
        pytest.param(15, 16.4, 15, id="a-tenth-of-the-interval"),
        pytest.param(15, 17, 17, id="another-series"),
        pytest.param(15, 45.3, 45, id="after-missed-turns"),
        pytest.param(7, 14.1, 14, id="any-interval"),
        pytest.param(0.5, 0.52, 0.5, id="a-short-one"),
        pytest.param(0.5, 0.6, 0.6, id="a-short-one-missed"),
        pytest.param(3600, 3607, 3607, id="never-far-from-the-clock"),
        pytest.param(None, 59.98, 60, id="cron"),
        pytest.param(None, 64.5, 60, id="cron-some-seconds-late"),
        pytest.param(None, 55, 60, id="cron-some-seconds-early"),
        pytest.param(None, 298, 300, id="cron-each-five-minutes"),
        pytest.param(None, 20.9, 20, id="a-script-that-pauses"),
        pytest.param(None, 7.2, 7, id="another"),
        pytest.param(None, 0.4, 0.4, id="too-quick-for-round-beats"),
        pytest.param(15, -3, -3, id="the-clock-was-set-back"),
        pytest.param(15, 0, 0, id="at-once"),
    ],
)
def test_the_beat_of_a_poll(interval, seconds, expected):
    step = None if interval is None else interval * S
    found = beat_of(T0 + seconds * S, T0, interval=step)
    assert found == T0 + timedelta(seconds=expected)


def test_the_first_beat_is_when_it_was_due():
    assert beat_of(T0 + 0.123 * S, None, interval=15 * S) == T0 + 0.123 * S


@pytest.mark.parametrize("period", [59.0, 60.0, 60.7, 61.5, 63.0])
def test_beats_do_not_run_away_from_the_clock(period):
    """Whatever the real period is: no beat is far from its poll, and in sum no time is invented."""
    rng = random.Random(period)
    last, farthest = None, timedelta(0)
    for number in range(2000):
        due = T0 + timedelta(seconds=number * period + rng.uniform(0, 2))
        last = beat_of(due, last, interval=None)
        farthest = max(farthest, abs(due - last))
    assert farthest <= 6 * S


@pytest.mark.parametrize("seed", range(20))
def test_cron_with_seconds_of_jitter_keeps_whole_minutes(seed):
    rng = random.Random(seed)
    beats = []
    for number in range(200):
        due = T0 + number * MINUTE + timedelta(seconds=rng.uniform(0, 5))
        beats.append(beat_of(due, beats[-1] if beats else None, interval=None))
    assert {after - before for before, after in itertools.pairwise(beats)} == {MINUTE}


@pytest.mark.parametrize(
    ("beat", "others", "expected"),
    [
        pytest.param(15, [], 15, id="alone"),
        pytest.param(15, [0], 15, id="after-the-other"),
        pytest.param(15, [15], 15, id="with-the-other"),
        pytest.param(15, [20], 20, id="too-late"),
        pytest.param(15, [5, 20, 17], 20, id="not-before-any"),
        pytest.param(15, [28], 28, id="another-beat-that-is-ahead-of-the-clock"),
        pytest.param(15, [30], 15, id="the-clock-was-set-back"),
    ],
)
def test_the_feeds_of_an_account_are_judged_in_the_order_of_time(beat, others, expected):
    instants = [T0 + each * S for each in others]
    assert in_order(T0 + beat * S, instants, clock=T0 + 23 * S) == T0 + expected * S
