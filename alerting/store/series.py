"""The samples that rules look back on: a row for each series, and for each of its chunks two.

What a poll adds is appended to the last chunk's samples; only its sums are written anew. Sums are
read for the series that an evaluation asks for, samples only of the chunk that a window begins in.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from alerting.engine.series import Chunk, Past, Point, Series, SeriesKey, Sums
from alerting.store.database import Connection, Database
from alerting.store.documents import whole

# Beyond every instant, and every sum of squares of a week's microseconds.
_MOST = 10**60


class StoredSeries(Mapping[SeriesKey, Series]):
    """The series of one account; each is read when it is first asked for."""

    def __init__(self, database: Database, connection: Connection, account: str) -> None:
        self._database = database
        self._account = account
        rows = connection.execute(
            "SELECT id, expression, labels, since FROM series WHERE account = ?", (account,)
        )
        self._heads = {_key(row[1], row[2]): (whole(row[0]), whole(row[3])) for row in rows}
        self._read: dict[SeriesKey, Series] = {}

    def __getitem__(self, key: SeriesKey) -> Series:
        if key not in self._read:
            self._read[key] = self._series(*self._heads[key])
        return self._read[key]

    def __iter__(self) -> Iterator[SeriesKey]:
        return iter(self._heads)

    def __len__(self) -> int:
        return len(self._heads)

    def id_of(self, key: SeriesKey) -> int | None:
        """The number of a series; None: it is not stored."""
        return self._heads[key][0] if key in self._heads else None

    def _series(self, series: int, since: int) -> Series:
        kept: tuple[list[Chunk], list[Chunk]] = ([], [])
        with self._database.reading(self._about()) as connection:
            rows = connection.execute(
                "SELECT number, suspect, first_at, last_at, sums FROM chunks WHERE series = ? "
                "ORDER BY number",
                (series,),
            )
            for number, suspect, first, last, sums in rows:
                read = functools.partial(self._points, series, number)
                chunk = Chunk(
                    number=whole(number),
                    first=whole(first),
                    last=whole(last),
                    sums=_sums(sums),
                    stored=read,
                )
                kept[bool(suspect)].append(chunk)
        return Series(good=tuple(kept[0]), suspect=tuple(kept[1]), since=since)

    def _points(self, series: int, number: int) -> Sequence[Point]:
        with self._database.reading(self._about()) as connection:
            row = connection.execute(
                "SELECT c.first_at, s.samples FROM chunks c JOIN samples s "
                "ON s.series = c.series AND s.number = c.number "
                "WHERE c.series = ? AND c.number = ?",
                (series, number),
            ).fetchone()
            return _unpack(whole(row[0]), row[1])

    def _about(self) -> str:
        return f"the samples that it holds of account {self._account!r}"


def save(connection: Connection, account: str, past: Past) -> None:
    """Store what differs from what is stored."""
    stored = past.stored if isinstance(past.stored, StoredSeries) else None
    for key in past.dropped:
        if stored is not None and (known := stored.id_of(key)) is not None:
            _drop(connection, known)
    for key, series in past.changed.items():
        before = past.stored.get(key, Series())
        number = stored.id_of(key) if stored is not None else None
        if number is None:
            number = _begin(connection, account, key, series.since)
        elif before.since != series.since:
            connection.execute("UPDATE series SET since = ? WHERE id = ?", (series.since, number))
        _save_chunks(connection, number, before, series)


def move(connection: Connection, by: int) -> None:
    """The clock was corrected by so many microseconds: what is looked back on moves with it."""
    connection.execute("UPDATE series SET since = since + ?", (by,))
    connection.execute("UPDATE chunks SET first_at = first_at + ?, last_at = last_at + ?", (by, by))


def _begin(connection: Connection, account: str, key: SeriesKey, since: int) -> int:
    labels = json.dumps(dict(sorted(key.labels)), separators=(",", ":"))
    cursor = connection.execute(
        "INSERT INTO series (account, expression, labels, since) VALUES (?, ?, ?, ?)",
        (account, key.expression, labels, since),
    )
    return int(cursor.lastrowid or 0)


def _drop(connection: Connection, series: int) -> None:
    connection.execute("DELETE FROM samples WHERE series = ?", (series,))
    connection.execute("DELETE FROM chunks WHERE series = ?", (series,))
    connection.execute("DELETE FROM series WHERE id = ?", (series,))


def _save_chunks(connection: Connection, series: int, before: Series, after: Series) -> None:
    known = {each.number: each for each in before.chunks}
    left = {each.number: each for each in after.chunks}
    for number in known.keys() - left.keys():
        connection.execute("DELETE FROM samples WHERE series = ? AND number = ?", (series, number))
        connection.execute("DELETE FROM chunks WHERE series = ? AND number = ?", (series, number))
    suspect = {each.number for each in after.suspect}
    for number, chunk in left.items():
        if chunk is not known.get(number):
            _save_chunk(connection, series, chunk, suspect=number in suspect)


def _save_chunk(connection: Connection, series: int, chunk: Chunk, *, suspect: bool) -> None:
    sums = " ".join(map(str, chunk.sums))
    connection.execute(
        "INSERT INTO chunks (series, number, suspect, first_at, last_at, sums) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (series, number) DO UPDATE SET "
        "suspect = excluded.suspect, first_at = excluded.first_at, "
        "last_at = excluded.last_at, sums = excluded.sums",
        (series, chunk.number, int(suspect), chunk.first, chunk.last, sums),
    )
    samples = _pack(chunk.first, chunk.added)
    # what is stored already stays: the samples of now are appended
    written = "excluded.samples" if chunk.stored is None else "samples.samples || excluded.samples"
    connection.execute(
        "INSERT INTO samples (series, number, samples) VALUES (?, ?, ?) "
        f"ON CONFLICT (series, number) DO UPDATE SET samples = {written}",
        (series, chunk.number, samples),
    )


# ── as text ─────────────────────────────────────────────────────────────────


def _pack(first: int, points: Sequence[Point]) -> str:
    return "".join(f"{each.at - first} {each.value} " for each in points)


def _unpack(first: int, text: str) -> list[Point]:
    words = text.split()
    if not words or len(words) % 2:
        raise ValueError("a sample breaks off")
    numbers = iter(words)
    return [
        Point(first + _whole(at), _decimal(value))
        for at, value in zip(numbers, numbers, strict=True)
    ]


def _sums(text: str) -> Sums:
    size, seen, least, most, values, times, squares, products = text.split()
    return Sums(
        _whole(size),
        _whole(seen),
        _decimal(least),
        _decimal(most),
        _decimal(values),
        _whole(times),
        _whole(squares),
        _decimal(products),
    )


def _whole(text: str) -> int:
    number = int(text)
    if not 0 <= number <= _MOST:
        raise ValueError(f"{text[:20]!r} is no count of microseconds")
    return number


def _decimal(text: str) -> Decimal:
    number = Decimal(text)
    if number.is_nan():
        raise ValueError(f"{text[:20]!r} is no number")
    return number


def _key(expression: str, labels: str) -> SeriesKey:
    found = json.loads(labels)
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise ValueError("a series' labels are no mapping of labels to texts")
    return SeriesKey(expression, frozenset(found.items()))
