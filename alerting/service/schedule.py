"""When the next poll is due, and which instant it counts for."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

# The loops tick on whole seconds of each other up to this jitter of the machine.
_JITTER = timedelta(milliseconds=150)
_SHORTEST_ALIGNED = timedelta(seconds=5)


def next_due(due: float, interval: float, now: float) -> float:
    """The next turn after `now`: no drift, and after a stall no burst of missed ones."""
    missed = max(0, math.floor((now - due) / interval))
    return due + (missed + 1) * interval


def align_to_schedule(now: datetime, last: datetime | None) -> datetime:
    """`now`, moved onto a whole number of seconds after `last` where only jitter is between.

    Polls every 15 s come 14.99 or 15.01 s apart; without this `for: 30s` would be met by the
    third poll on one day and by the fourth on another.
    """
    if last is None or now - last < _SHORTEST_ALIGNED:
        return now
    aligned = last + timedelta(seconds=round((now - last).total_seconds()))
    return aligned if abs(now - aligned) <= _JITTER else now
