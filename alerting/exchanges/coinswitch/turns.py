"""Whose turn it is, where a page answers for one symbol at a time and there is a budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alerting.exchanges.rate_limit import Pace

# An answer counts for so many windows of the budget: with more symbols than a window has requests
# each is asked in every second one.
_WINDOWS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What was answered for one symbol."""

    rows: tuple[object, ...]
    #: the exchange answered that it does not; `rows` stand for that
    refused: bool
    #: it counts for the present poll alone
    unsure: bool
    #: by the monotonic clock
    at: float


class Turns:
    """The last answer for each symbol; those that wait longest are asked next."""

    def __init__(self, pace: Pace, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._pace = pace
        self._monotonic = monotonic
        self._told: dict[str, Told] = {}
        #: those whose last answer had no rows
        self._empty: set[str] = set()
        self._before: float | None = None

    def due(self, symbols: Sequence[str]) -> list[str]:
        """Those to ask now, the most urgent first; all others of earlier polls are forgotten.

        Whoever has no answer that counts is asked as far as there is room. Beyond that a poll takes
        its share of the budget, by the time since the last one, and leaves some for the next.
        """
        now, room = self._monotonic(), self._pace.window.room()
        counts = now - _WINDOWS * self._pace.length.total_seconds()
        wanted = set(symbols)
        self._told = {
            symbol: told
            for symbol, told in self._told.items()
            if symbol in wanted and told.at > counts and not told.unsure
        }
        unknown = [symbol for symbol in symbols if symbol not in self._told]
        known = sorted(self._told, key=lambda symbol: self._told[symbol].at)
        part = self._part(now)
        share = min(round(self._pace.requests * part), max(room // 2, int(room * part)))
        # where there is no room at all, asking says so
        most = max(1, min(room, max(len(unknown), share)))
        return [*unknown, *known][:most]

    def keep(self, symbol: str, rows: Sequence[object], *, refused: bool = False) -> None:
        """What was answered for a symbol just now.

        That it has no rows has to be answered twice before it counts for other polls too: one odd
        answer must not look like two without the position.
        """
        unsure = not rows and symbol not in self._empty
        self._empty = self._empty - {symbol} if rows else self._empty | {symbol}
        self._told[symbol] = Told(
            rows=tuple(rows), refused=refused, unsure=unsure, at=self._monotonic()
        )

    def told(self, symbols: Sequence[str]) -> list[Told]:
        """The answers that count, in the order of the symbols; shorter where some have none."""
        return [self._told[symbol] for symbol in symbols if symbol in self._told]

    def _part(self, now: float) -> float:
        """The part of a window that has passed since the last poll, 1 at most."""
        before, self._before = self._before, now
        since = math.inf if before is None else now - before
        return min(1.0, since / self._pace.length.total_seconds())
