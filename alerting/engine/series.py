"""What an expression was, sample by sample: what the functions over time look back on.

A series is kept in chunks of about the square root of its samples, each with sums of its own: a
question about a week of them reads some hundred sums, and the samples of one chunk. All of it is
exact: instants are whole microseconds, sums are wide enough for every digit, and one division at
the end rounds as all arithmetic does.
"""

from __future__ import annotations

import bisect
import decimal
import math
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from alerting.units import EXACT

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Sums and products of samples of at most 100 digits come nowhere near; none of them is rounded.
_WIDE = decimal.Context(prec=1_000_000, traps=[decimal.InvalidOperation])
# A chunk has no fewer, so that a short series is one row or two of the state file.
_FEWEST = 16


class Point(NamedTuple):
    """One sample; the instant in microseconds since 1970."""

    at: int
    value: Decimal


class Sums(NamedTuple):
    """What can be said of some samples without them; instants count from the chunk's first."""

    size: int
    #: of the time before its samples, what was seen: no more than `patience` before each
    seen: int
    #: they tell of infinite samples too: a ratio to equity that is used up is one
    least: Decimal
    most: Decimal
    #: of the finite values; of the instants, their squares, and of instant × finite value
    values: Decimal
    times: int
    squares: int
    products: Decimal

    def with_one(self, at: int, value: Decimal, seen: int) -> Sums:
        """These and one more sample."""
        finite = value if value.is_finite() else Decimal(0)
        return Sums(
            self.size + 1,
            self.seen + seen,
            min(self.least, value),
            max(self.most, value),
            _WIDE.add(self.values, finite),
            self.times + at,
            self.squares + at * at,
            _WIDE.add(self.products, _WIDE.multiply(finite, Decimal(at))),
        )


_NO_SUMS = Sums(0, 0, Decimal("Infinity"), Decimal("-Infinity"), Decimal(0), 0, 0, Decimal(0))


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """Some samples that follow each other, at least one."""

    #: of the series, in the order in which they were begun
    number: int
    first: int
    last: int
    sums: Sums
    #: reads the samples that are stored; None: nothing is
    stored: Callable[[], Sequence[Point]] | None = field(default=None, compare=False)
    #: the samples that are not stored yet
    added: tuple[Point, ...] = ()

    def points(self) -> Sequence[Point]:
        """All its samples, oldest first."""
        return self.added if self.stored is None else (*self.stored(), *self.added)

    def with_one(self, point: Point, *, seen: int) -> Chunk:
        """The chunk and the sample after its last."""
        sums = self.sums.with_one(point.at - self.first, point.value, seen)
        return replace(self, last=point.at, sums=sums, added=(*self.added, point))

    def after(self, at: int) -> Chunk | None:
        """Only what is later than `at`; None: nothing is."""
        points = self.points()
        later = points[bisect.bisect_right(points, at, key=_AT) :]
        return _chunk(self.number, later) if later else None

    def not_after(self, at: int) -> Chunk:
        """The same with what lies ahead of `at` moved there."""
        moved = _chunk(self.number, [Point(min(each.at, at), each.value) for each in self.points()])
        return replace(moved, sums=moved.sums._replace(seen=self.sums.seen))


_AT = operator.itemgetter(0)


def _chunk(number: int, points: Sequence[Point]) -> Chunk:
    """A chunk of at least one sample."""
    chunk = chunk_of(number, points[0])
    for point in points[1:]:
        chunk = chunk.with_one(point, seen=0)
    return chunk


def chunk_of(number: int, point: Point, *, seen: int = 0) -> Chunk:
    """A chunk of one sample."""
    sums = _NO_SUMS.with_one(0, point.value, seen)
    return Chunk(number=number, first=point.at, last=point.at, sums=sums, added=(point,))


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """What one expression was for one row; instants never go back."""

    good: tuple[Chunk, ...] = ()
    #: samples of data that could not be trusted
    suspect: tuple[Chunk, ...] = ()
    #: since when samples follow each other without a gap
    since: int = 0

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """All of them, in no order of time."""
        return (*self.good, *self.suspect)

    @property
    def last(self) -> int | None:
        """The newest sample's instant; None: there is none."""
        return max((each[-1].last for each in (self.good, self.suspect) if each), default=None)

    def not_ahead(self, now: int) -> Series:
        """The clock was set back: what seems to lie ahead counts as now."""
        if self.last is None or self.last <= now:
            return self
        return Series(
            good=_not_after(self.good, now),
            suspect=_not_after(self.suspect, now),
            since=min(self.since, now),
        )

    def since_with(self, now: int, patience: int) -> int:
        """Since when there is no gap of more than `patience`, if one is added now."""
        return self.since if self.last is not None and now - self.last <= patience else now

    def with_one(self, point: Point, *, good: bool, patience: int) -> Series:
        """The series and one sample that is not older than its last."""
        last = point.at if self.last is None else self.last
        since = self.since_with(point.at, patience)
        seen = min(point.at - last, patience)
        chunks = self.good if good else self.suspect
        most = max(_FEWEST, math.isqrt(sum(each.sums.size for each in chunks)))
        if chunks and chunks[-1].sums.size < most:
            chunks = (*chunks[:-1], chunks[-1].with_one(point, seen=seen))
        else:
            number = max((each.number for each in self.chunks), default=0) + 1
            chunks = (*chunks, chunk_of(number, point, seen=seen))
        if good:
            return replace(self, good=chunks, since=since)
        return replace(self, suspect=chunks, since=since)

    def trimmed(self, now: int, keep: int) -> Series:
        """Without what is older than `keep`, by the clock and by the time that was seen since.

        So a clock that jumps ahead makes nothing old, and what is kept is bounded all the same.
        """
        good, suspect = self._young(self.good, now, keep), self._young(self.suspect, now, keep)
        if len(good) + len(suspect) == len(self.chunks):
            return self
        return replace(self, good=good, suspect=suspect)

    def _young(self, chunks: tuple[Chunk, ...], now: int, keep: int) -> tuple[Chunk, ...]:
        while chunks and chunks[0].last < now - keep and self._seen_since(chunks[0].last) >= keep:
            chunks = chunks[1:]
        return chunks

    def _seen_since(self, at: int) -> int:
        return sum(each.sums.seen for each in self.chunks if each.first > at)


def _not_after(chunks: tuple[Chunk, ...], now: int) -> tuple[Chunk, ...]:
    return tuple(each.not_after(now) if each.last > now else each for each in chunks)


# ── what functions over time are of some chunks ─────────────────────────────


def newest(chunks: Sequence[Chunk], at: int) -> Point | None:
    """The newest sample that is not later than `at`."""
    for chunk in reversed(chunks):
        if chunk.first <= at:
            points = chunk.points()
            return points[bisect.bisect_right(points, at, key=_AT) - 1]
    return None


def within(chunks: Iterable[Chunk], after: int) -> Iterator[Chunk]:
    """What is later than `after`."""
    for chunk in chunks:
        if chunk.first > after:
            yield chunk
        elif chunk.last > after and (part := chunk.after(after)) is not None:
            yield part


def average(chunks: Sequence[Chunk]) -> Decimal | None:
    """The mean of the values; None: there are none."""
    count = sum(each.sums.size for each in chunks)
    if not count:
        return None
    if _is_endless(chunks):
        return _endless(chunks)
    total = Decimal(0)
    for each in chunks:
        total = _WIDE.add(total, each.sums.values)
    return EXACT.divide(total, Decimal(count))


def _is_endless(chunks: Iterable[Chunk]) -> bool:
    return any(each.sums.least.is_infinite() or each.sums.most.is_infinite() for each in chunks)


def _endless(chunks: Iterable[Chunk]) -> Decimal | None:
    """What a sum is with infinite samples: infinite; None where they contradict each other."""
    ends = {end for each in chunks for end in (each.sums.least, each.sums.most)}
    infinite = {end for end in ends if end.is_infinite()}
    return infinite.pop() if len(infinite) == 1 else None


def predicted(chunks: Sequence[Chunk], *, now: int, ahead: int) -> Decimal | None:
    """Where the line of least squares is at now + ahead; None: there is no such line."""
    count = times = squares = 0
    values = products = Decimal(0)
    with decimal.localcontext(_WIDE):
        for each in chunks:
            sums, by = each.sums, each.first - now
            count += sums.size
            times += sums.times + by * sums.size
            squares += sums.squares + 2 * by * sums.times + by * by * sums.size
            values += sums.values
            products += sums.products + by * sums.values
        # slope = rise / spread and the line goes through the means: one fraction, divided once
        spread = count * squares - times * times
        if spread == 0:
            return None
        if _is_endless(chunks):
            return _endless(chunks)
        rise = count * products - times * values
        line = values * spread + rise * (count * ahead - times)
        return EXACT.divide(line, Decimal(count * spread))


# ── all series of an account ────────────────────────────────────────────────


class SeriesKey(NamedTuple):
    """Which series: of which expression, for which row."""

    expression: str
    labels: frozenset[tuple[str, str]]


_NOTHING = Series()


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """The samples that are remembered of an account; what is stored is read when asked for."""

    stored: Mapping[SeriesKey, Series] = field(default_factory=dict)
    #: what differs from what is stored
    changed: Mapping[SeriesKey, Series] = field(default_factory=dict)
    dropped: frozenset[SeriesKey] = frozenset()

    def series(self, key: SeriesKey) -> Series:
        """One series; nothing is in it where none is remembered."""
        if key in self.changed:
            return self.changed[key]
        return _NOTHING if key in self.dropped else self.stored.get(key, _NOTHING)

    def keys(self) -> set[SeriesKey]:
        """Every series that is remembered."""
        return {*self.stored.keys() - self.dropped, *self.changed}

    def after(self, changed: Mapping[SeriesKey, Series], dropped: Collection[SeriesKey]) -> Past:
        """The same after one more evaluation."""
        kept = {key: each for key, each in self.changed.items() if key not in dropped}
        gone = (self.dropped | set(dropped)) & self.stored.keys() - changed.keys()
        return replace(self, changed={**kept, **changed}, dropped=gone)


def micros(instant: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (instant - _EPOCH) // _MICROSECOND


def length(duration: timedelta) -> int:
    """A duration in microseconds."""
    return duration // _MICROSECOND
