"""Forgets what is too old, but not on the word of a clock that may have jumped.

What is forgotten does not come back, and nothing is lost by waiting: a clock that is far ahead of
the last time must have stood for a day before anything is deleted by it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from alerting.store.documents import to_micros
from alerting.store.facts import FactStore

_KEY = "pruned"
_MICROSECOND = timedelta(microseconds=1)
_HOUR = timedelta(hours=1) // _MICROSECOND
_DAY = timedelta(days=1) // _MICROSECOND


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruned:
    """How far the clock is believed in this; instants are microseconds since 1970."""

    #: the last time; None: never
    done: int | None = None
    #: since when a clock far ahead of that stands
    doubted: int | None = None
    #: when it was last looked at
    asked: int = 0

    def is_sure(self, now: int) -> bool:
        """Whether something may be deleted now."""
        if self.done is not None and now - self.done <= _DAY:
            return True
        return self.doubted is not None and self._goes_on(now) and now - self.doubted >= _DAY

    def unsure(self, now: int) -> Pruned:
        """The same after a look at which nothing was deleted."""
        doubted = self.doubted if self._goes_on(now) and self.doubted is not None else now
        return replace(self, doubted=doubted, asked=now)

    def _goes_on(self, now: int) -> bool:
        """The clock that is doubted has not jumped again; cron may come once a day."""
        return 0 <= now - self.asked <= 2 * _DAY


def prune_if_sure(store: FactStore, forget: Callable[[], None], *, now: datetime) -> None:
    """Let `forget` what is too old by now, once an hour at most."""
    at, known = to_micros(now), _read(store.meta(_KEY))
    if known.done is not None and 0 <= at - known.done < _HOUR:
        return
    if known.is_sure(at):
        forget()
        after = Pruned(done=at, asked=at)
    else:
        after = known.unsure(at)
        if known.doubted == after.doubted and at - known.asked < _HOUR:
            return
    store.set_meta(_KEY, json.dumps(asdict(after)))


def _read(text: str | None) -> Pruned:
    try:
        return Pruned(**json.loads(text)) if text else Pruned()
    except (TypeError, ValueError):
        return Pruned()
