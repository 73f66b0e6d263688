"""For conditions, never for time."""

from __future__ import annotations

import time


def wait_until(reached, *, seconds=5):
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)
