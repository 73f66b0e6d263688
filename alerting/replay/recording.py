"""Recorded polls as JSON Lines: what `history export` writes, and `replay` and `test` read.

{"at": "2026-01-01T00:00:00Z", "account": "main", "body": {...the API's answer...}}
{"at": "2026-01-01T00:00:15Z", "account": "main", "error": "network: connection refused"}
{"at": "2026-01-01T00:00:15Z", "account": "main", "feed": "positions", "body": {...}}

A line without a feed is of the wallet. What was asked for a snapshot of the positions stands before
it, under its instant: the instruments (they count until the next ones), and of positions that are
missing the transactions (they count for this snapshot alone).
"""

from __future__ import annotations

import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NoReturn

from alerting.engine.feeds import WALLET
from alerting.engine.snapshot import FailureKind, Poll, PollFailure, PollOutcome
from alerting.errors import AlertingError
from alerting.exchanges.coinswitch.recorded import RECORDED_FEEDS, RecordedAccount
from alerting.exchanges.strict_json import (
    Ambiguous,
    AnswerError,
    JsonNumber,
    loads,
    marked,
    parse,
)
from alerting.files import MissingFileError, NoFileError, UnreadableError, open_file, why_unread
from alerting.redaction import clean
from alerting.units import parse_instant, rfc3339

#: The name of the file that stands for standard input.
STDIN = "-"
_KEYS = ("at", "account", "feed", "body", "error")
# An answer has at most 4 MiB; a line without end must not fill the memory.
_LONGEST_LINE = 8 * 1024 * 1024
_LONGEST_NAME = 64
# fromisoformat would take week dates and drop digits beyond the microsecond.
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
    r"(?:Z|[-+][0-9]{2}:[0-9]{2})?"
)
_FIRST_YEAR, _LAST_YEAR = 1970, 9998
_GZIP = b"\x1f\x8b"


class RecordingError(AlertingError):
    """A recording cannot be read; the text starts with FILE:LINE and says what is allowed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenRecording:
    """A recording that is being read."""

    #: each with its newline
    lines: Iterator[str]
    #: how many bytes of the file were read by now
    position: Callable[[], int]
    #: in bytes; None: nobody knows
    size: int | None


# ── writing ─────────────────────────────────────────────────────────────────


def write_record(
    *,
    at: datetime,
    account: str,
    feed: str = WALLET,
    body: str | None = None,
    error: str | None = None,
) -> str:
    """One line without its newline; `body` is the answer's JSON text and stays as it is."""
    start = f'{{"at":"{rfc3339(at)}","account":{json.dumps(account)}'
    if feed != WALLET:
        start += f',"feed":{json.dumps(feed)}'
    if body is None:
        return f'{start},"error":{json.dumps(error)}}}'
    # within a JSON text a line break is never more than white space
    flat = body.replace("\r", " ").replace("\n", " ")
    return f'{start},"body":{flat}}}'


# ── reading ─────────────────────────────────────────────────────────────────


def read_records(lines: Iterable[str], *, file: str) -> Iterator[Poll]:
    """The polls of a recording in their order; blank lines are skipped."""
    before: datetime | None = None
    accounts: dict[str, RecordedAccount] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        record = _record(line, where)
        at = record.at
        if before is not None and at < before:
            _fail(
                where,
                f"at: {rfc3339(at)} is before {rfc3339(before)} of the line before; "
                "records must stand in the order of time",
            )
        before = at
        account = accounts.setdefault(record.account, RecordedAccount(record.account))
        outcome = record.read_by(account)
        if outcome is not None:
            yield Poll(at=at, account=record.account, feed=record.feed, outcome=outcome)


@contextmanager
def open_recording(file: str) -> Iterator[OpenRecording]:
    """The lines of a file, plain or gzip; `-` is standard input."""
    try:
        raw = sys.stdin.buffer if file == STDIN else open_file(Path(file))
    except MissingFileError:
        raise RecordingError(f"{file}: there is no such file") from None
    except NoFileError as error:
        raise RecordingError(f"{file}: {error}; {STDIN} reads standard input") from None
    except UnreadableError as error:
        raise RecordingError(f"{file}: {error}") from None
    try:
        size = None if file == STDIN else Path(file).stat().st_size
        yield OpenRecording(lines=_lines(raw, file), position=_position(raw, size), size=size)
    finally:
        if file != STDIN:
            raw.close()


def _position(raw: BinaryIO, size: int | None) -> Callable[[], int]:
    return raw.tell if size is not None and raw.seekable() else lambda: 0


def _lines(raw: BinaryIO, file: str) -> Iterator[str]:
    number = 0
    try:
        source = _unpacked(raw)
        while line := source.readline(_LONGEST_LINE + 1):
            number += 1
            if len(line) > _LONGEST_LINE:
                _fail(f"{file}:{number}", f"the line is longer than {_LONGEST_LINE} bytes")
            yield line.decode("utf-8")
    except UnicodeDecodeError as error:
        _fail(f"{file}:{number}", f"the line is not UTF-8 at byte {error.start}")
    except (EOFError, zlib.error, gzip.BadGzipFile):
        _fail(f"{file}:{number + 1}", "the gzip file is damaged or cut off")
    except OSError as error:
        raise _unreadable(f"{file}:{number + 1}", error) from None


def _unpacked(raw: BinaryIO) -> io.BufferedIOBase | BinaryIO:
    start = raw.peek(2)[:2] if isinstance(raw, io.BufferedReader) else b""
    return gzip.GzipFile(fileobj=raw) if start == _GZIP else raw


def _unreadable(where: str, error: OSError) -> RecordingError:
    return RecordingError(f"{where}: cannot be read: {why_unread(error)}")


# ── one line ────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class _Record:
    """What a line says."""

    at: datetime
    account: str
    feed: str
    #: the answer, or why there is none
    gave: object | PollFailure

    def read_by(self, account: RecordedAccount) -> PollOutcome | None:
        """What it was for the engine; None: nothing of its own."""
        if isinstance(self.gave, PollFailure):
            return account.failure(self.gave)
        return account.answer(self.feed, self.gave, at=self.at)


def _record(line: str, where: str) -> _Record:
    document = _document(line, where)
    for key in document:
        if key not in _KEYS:
            _fail(where, f'"{clean(key, 60)}" is no key here; allowed are {", ".join(_KEYS)}')
    at = _instant(document, where)
    account = _account(document, where)
    feed = _feed(document, where)
    if ("body" in document) is ("error" in document):
        both = "both" if "body" in document else "neither"
        _fail(where, f'a record has either "body" or "error"; this one has {both}')
    gave = document["body"] if "body" in document else _failure(document, account, feed, where)
    return _Record(at=at, account=account, feed=feed, gave=gave)


def _document(line: str, where: str) -> dict[str, object]:
    try:
        document = parse(line, pairs=marked)
    except json.JSONDecodeError as error:
        _fail(where, f"not JSON: {error.msg} at character {error.pos + 1}; one record per line")
    except AnswerError:
        _fail(where, "not JSON: NaN and Infinity are no numbers")
    except RecursionError:
        _fail(where, "nested too deeply")
    if not isinstance(document, dict):
        _fail(where, 'a record is an object such as {"at": ..., "account": ..., "body": ...}')
    for name, value in document.items():
        # the exchange's own answer may name a key twice; a record may not
        if value is Ambiguous.TWICE:
            _fail(where, f'"{clean(name, 60)}" stands twice')
    if "body" not in document:
        _refuse_twins(line, where)
    return document


def _refuse_twins(line: str, where: str) -> None:
    try:
        loads(line)
    except AnswerError:
        _fail(where, "a key stands twice in one object")


def _instant(document: dict[str, object], where: str) -> datetime:
    text = _text(document, "at", where, "a time such as 2026-01-01T00:00:00Z")
    allowed = "write 2026-01-01T00:00:00Z, or with an offset as +05:30"
    if not _INSTANT.fullmatch(text):
        _fail(where, f'at: "{clean(text, 60)}" is not a time; {allowed}')
    try:
        at = parse_instant(text)
    except (ValueError, OverflowError):
        naive = text[-1] != "Z" and text[-6] not in "+-"
        what = "has no time zone" if naive else "is not a time"
        _fail(where, f'at: "{text}" {what}; {allowed}')
    if not _FIRST_YEAR <= at.year <= _LAST_YEAR:
        _fail(where, f'at: "{text}" is out of range; allowed are {_FIRST_YEAR} to {_LAST_YEAR}')
    return at


def _account(document: dict[str, object], where: str) -> str:
    allowed = f"a name of 1 to {_LONGEST_NAME} printable characters"
    name = _text(document, "account", where, allowed)
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        _fail(where, f'account: "{clean(name, 60)}" is not {allowed}')
    return name


def _feed(document: dict[str, object], where: str) -> str:
    if "feed" not in document:
        return WALLET
    allowed = f"one of {', '.join(RECORDED_FEEDS)}"
    name = _text(document, "feed", where, allowed)
    if name not in RECORDED_FEEDS:
        _fail(where, f'feed: "{clean(name, 60)}" is not {allowed}')
    return name


def _text(document: dict[str, object], key: str, where: str, allowed: str) -> str:
    if key not in document:
        _fail(where, f'"{key}" is missing; it is {allowed}')
    value = document[key]
    if not isinstance(value, str) or isinstance(value, JsonNumber):
        shown = clean(json.dumps(value), 60)
        _fail(where, f"{key}: {shown} is not a text; it is {allowed}")
    return value


def _failure(document: dict[str, object], account: str, feed: str, where: str) -> PollFailure:
    text = _text(document, "error", where, "why the poll failed, in words")
    kind, separator, rest = text.partition(": ")
    kinds = {known.value: known for known in FailureKind}
    if separator and kind in kinds:
        return PollFailure(account=account, feed=feed, kind=kinds[kind], text=rest)
    return PollFailure(account=account, feed=feed, kind=FailureKind.UNKNOWN, text=text)


def _fail(where: str, message: str) -> NoReturn:
    raise RecordingError(f"{where}: {message}") from None
