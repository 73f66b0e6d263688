"""Several things that wait for others, at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


def side_by_side(tasks: Mapping[str, Callable[[], T]], *, seconds: float) -> dict[str, T]:
    """What each gave within that time, all in all; what hangs is left behind, and is not in it."""
    found: dict[str, T] = {}

    def run(name: str, task: Callable[[], T]) -> None:
        found[name] = task()

    threads = [threading.Thread(target=run, args=each, daemon=True) for each in tasks.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(found)
