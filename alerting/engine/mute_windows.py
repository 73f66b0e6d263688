"""Time windows by the clock on somebody's wall: when a route is muted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_PER_DAY = 24 * 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """From one wall-clock time to another, on some days of the week.

    A window whose end is not after its start goes on past midnight and belongs to the day on which
    it starts. Wall-clock time is what counts: where a clock is set forward over the start, the
    window starts with the first instant after the gap; an hour that comes twice is in it twice.
    """

    #: 0 is Monday
    days: frozenset[int]
    #: minutes since midnight, 0 to 1439
    start: int
    #: minutes since midnight, 1 to 1440; exclusive
    end: int
    zone: tzinfo

    def covers(self, instant: datetime) -> bool:
        """True if the aware instant lies in the window."""
        local = instant.astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        today = local.weekday()
        if self.start < self.end:
            return today in self.days and self.start <= minute < self.end
        yesterday = (local.date() - timedelta(days=1)).weekday()
        late = today in self.days and minute >= self.start
        return late or (yesterday in self.days and minute < self.end)
