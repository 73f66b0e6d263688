"""When the next poll is due, and which instant it counts for."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerting.service.schedule import align_to_schedule, next_due
from tests.support.factories import T0, S


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
    ("seconds", "expected"),
    [
        pytest.param(15.02, 15, id="a-little-late"),
        pytest.param(14.97, 15, id="a-little-early"),
        pytest.param(15.4, 15.4, id="more-than-jitter"),
        pytest.param(0.49, 0.49, id="short-intervals-are-left-alone"),
        pytest.param(59.98, 60, id="cron"),
    ],
)
def test_jitter_does_not_decide_which_poll_meets_for(seconds, expected):
    assert align_to_schedule(T0 + timedelta(seconds=seconds), T0) == T0 + timedelta(
        seconds=expected
    )


def test_the_first_instant_is_as_it_is():
    assert align_to_schedule(T0 + 0.123 * S, None) == T0 + 0.123 * S
