"""Our own limit on requests, kept before the exchange's is met."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta


class SlidingWindow:
    """At most `requests` in any stretch of length `window`; safe to share between threads."""

    def __init__(
        self,
        requests: int,
        window: timedelta,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._requests = requests
        self._window = window.total_seconds()
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._taken: deque[float] = deque()

    def try_acquire(self) -> bool:
        """Take one request if there is room for it now."""
        with self._lock:
            now = self._forget()
            if len(self._taken) >= self._requests:
                return False
            self._taken.append(now)
            return True

    def wait_time(self) -> float:
        """Seconds until `try_acquire` finds room; 0.0 where it has room now."""
        with self._lock:
            now = self._forget()
            if len(self._taken) < self._requests:
                return 0.0
            return self._taken[0] + self._window - now if self._taken else math.inf

    def _forget(self) -> float:
        now = self._monotonic()
        while self._taken and self._taken[0] + self._window <= now:
            self._taken.popleft()
        return now
