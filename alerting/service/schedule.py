"""When the next poll is due, and which instant it counts for.

A poll counts for its beat: the instant at which it was due, whenever its answer came. Beats are
whole intervals apart, so how many polls meet a `for` is a matter of the rules file and not of the
network's or the machine's jitter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta

# How far from its beat a poll may start, in parts of the distance from the one before, ...
_SHARE = 10
# ... and at most: beats must not run away from the clock.
_FARTHEST = timedelta(seconds=6)
# A beat that nobody told: cron starts on whole minutes, a script pauses for round seconds.
_ROUND = (timedelta(minutes=1), timedelta(seconds=5), timedelta(seconds=1))


def next_due(due: float, interval: float, now: float) -> float:
    """The next turn after `now`: no drift, and after a stall no burst of missed ones."""
    missed = max(0, math.floor((now - due) / interval))
    return due + (missed + 1) * interval


def beat_of(due: datetime, last: datetime | None, *, interval: timedelta | None) -> datetime:
    """The beat of a poll that was due then: a whole number of intervals after the last snapshot's.

    `interval` None: whoever starts us has a beat of its own, a round one. Too far from every beat,
    `due` is the first of a new series.
    """
    if last is None or due <= last:
        return due
    distance = due - last
    for step in _ROUND if interval is None else (interval,):
        beat = last + max(1, round(distance / step)) * step
        tolerance = min((distance if interval is None else step) / _SHARE, _FARTHEST)
        if abs(due - beat) <= tolerance:
            return beat
    return due


def in_order(beat: datetime, others: Iterable[datetime], *, clock: datetime) -> datetime:
    """The beat, but not before the evaluations of its account's other feeds.

    Where one feed is slower than another, its answer would be judged by an instant that has passed
    for the other one: a step back, and a replay, which goes by the instants, would not take it.
    What lies further ahead of the clock than a beat may is of a clock that was set back.
    """
    latest = max(others, default=beat)
    return latest if beat < latest <= clock + _FARTHEST else beat
