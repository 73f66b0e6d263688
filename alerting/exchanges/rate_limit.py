"""When the next request may go: our own limit, kept before the exchange's is met, and its pauses.

Both belong to the account and not to a process: `Pace.text` is what the next one is given, so that
cron every minute, or a restart, asks no sooner and no more often than a daemon would.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from alerting.engine.snapshot import FailureKind
from alerting.units import ZERO, rfc3339

#: No pause lasts longer, whoever asks for it and whatever a clock says.
LONGEST_PAUSE = timedelta(seconds=300)
# So many instants of requests are told one by one; of more, the latest of each few.
_MOST_TOLD = 64
_MOST_AT_ONCE = 10_000


class SlidingWindow:
    """At most `requests` in any stretch of length `window`; safe to share between threads."""

    def __init__(
        self,
        requests: int,
        window: timedelta,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        ages: Iterable[float] = (),
    ) -> None:
        """`ages` are those of requests that were made before, in seconds."""
        self._requests = requests
        self._window = window.total_seconds()
        self._monotonic = monotonic
        self._lock = threading.Lock()
        now = monotonic()
        self._taken = deque(now - age for age in sorted(ages, reverse=True))

    def try_acquire(self) -> bool:
        """Take one request if there is room for it now."""
        with self._lock:
            now = self._forget()
            if len(self._taken) >= self._requests:
                return False
            self._taken.append(now)
            return True

    def room(self) -> int:
        """How many requests `try_acquire` would take now."""
        with self._lock:
            self._forget()
            return max(0, self._requests - len(self._taken))

    def wait_time(self) -> float:
        """Seconds until `try_acquire` finds room; 0.0 where it has room now."""
        with self._lock:
            now = self._forget()
            if len(self._taken) < self._requests:
                return 0.0
            if not self._requests:
                return math.inf
            return self._taken[len(self._taken) - self._requests] + self._window - now

    def ages(self) -> list[float]:
        """How long ago each request was made that still counts, the longest first."""
        with self._lock:
            now = self._forget()
            return [now - at for at in self._taken]

    def _forget(self) -> float:
        now = self._monotonic()
        while self._taken and self._taken[0] + self._window <= now:
            self._taken.popleft()
        return now


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """The exchange wants to be left alone."""

    kind: FailureKind
    #: what it said, redacted
    said: str
    ends_at: datetime
    #: from now
    left: timedelta

    @property
    def text(self) -> str:
        """What a poll that is not made meanwhile fails with."""
        until = (self.ends_at + timedelta(seconds=1)).replace(microsecond=0)
        return f"{self.said}; not asked before {rfc3339(until)}"


class Pace:
    """One account's own limit, and the pause that its exchange asked for.

    `host` is whose pace it is: another one's does not bind. `remembered` is an earlier `text`; what
    cannot be read in it is as good as nothing.
    """

    def __init__(
        self,
        requests: int,
        window: timedelta,
        *,
        host: str,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        remembered: str | None = None,
    ) -> None:
        #: at most so many requests in any window of this length
        self.requests = requests
        self.length = window
        self._host = host
        self._clock = clock
        self._monotonic = monotonic
        #: its end by the monotonic clock, and what it is
        self._pause: tuple[float, Pause] | None = None
        ages: list[float] = []
        if known := _read(remembered, host):
            now = clock()
            ages = _ages(known.get("requests"), now, window)
            if pause := _pause(known.get("pause"), now):
                self._begin(pause)
        self.window = SlidingWindow(requests, window, monotonic, ages=ages)

    def pause(self, kind: FailureKind, said: str, wait: timedelta) -> Pause:
        """The exchange asks to be left alone from now on; `said` is redacted."""
        wait = min(wait, LONGEST_PAUSE)
        pause = Pause(kind=kind, said=said, ends_at=self._clock() + wait, left=wait)
        self._begin(pause)
        return pause

    def paused(self) -> Pause | None:
        """The pause that is not over yet."""
        if self._pause is None:
            return None
        ends, pause = self._pause
        left = ends - self._monotonic()
        if left <= 0:
            self._pause = None
            return None
        return replace(pause, left=timedelta(seconds=left))

    def text(self) -> str:
        """For the next process, as JSON."""
        now, pause, ages = self._clock(), self.paused(), self.window.ages()
        each = math.ceil(len(ages) / _MOST_TOLD)
        groups = [ages[start : start + each] for start in range(0, len(ages), each or 1)]
        told = [[(now - timedelta(seconds=group[-1])).isoformat(), len(group)] for group in groups]
        document: dict[str, object] = {"host": self._host, "requests": told}
        if pause is not None:
            document["pause"] = {
                "kind": pause.kind.value,
                "said": pause.said,
                "ends_at": pause.ends_at.isoformat(),
            }
        return json.dumps(document, separators=(",", ":"))

    def _begin(self, pause: Pause) -> None:
        self._pause = (self._monotonic() + pause.left.total_seconds(), pause)


def _read(text: str | None, host: str) -> dict[str, object]:
    try:
        known = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) and known.get("host") == host else {}


def _ages(told: object, now: datetime, window: timedelta) -> list[float]:
    """How long ago each request was made; what seems to lie ahead was made now."""
    found: list[float] = []
    for each in told[:_MOST_TOLD] if isinstance(told, list) else ():
        match each:
            case [str(at), int(count)] if (instant := _instant(at)) and 0 < count <= _MOST_AT_ONCE:
                age = max(ZERO, now - instant)
                found += [age.total_seconds()] * count if age < window else []
    return found


def _pause(told: object, now: datetime) -> Pause | None:
    """A pause that is not over; where the clock was set back, it lasts from now at the longest."""
    match told:
        case {"kind": str(kind), "said": str(said), "ends_at": str(at)} if kind in _KINDS:
            ends_at = _instant(at)
            if ends_at is None or ends_at <= now:
                return None
            left = min(ends_at - now, LONGEST_PAUSE)
            return Pause(kind=_KINDS[kind], said=said, ends_at=now + left, left=left)
    return None


_KINDS = {kind.value: kind for kind in FailureKind}


def _instant(text: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo else None
