"""Strict YAML with positions: plain data, where everything stands, and everything that is wrong.

Only what reads the same in every YAML version is taken: no anchors, tags, merge keys, dates,
`on`, `010`, `12:30` or `1e3`. Numbers are Decimals that remember how they were written.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self, cast

import yaml

from alerting.errors import ConfigError, Problem
from alerting.files import MissingFileError, NoFileError, UnreadableError, read_whole
from alerting.redaction import without_tokens

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 20

#: where in the data: keys and list indexes from the top
Path = tuple[str | int, ...]


class Number(Decimal):
    """A plain number of the file; `text` is how it was written."""

    text: str

    def __new__(cls, text: str) -> Self:
        """Exactly the number that `text` spells; underscores may group its digits."""
        self = super().__new__(cls, text.replace("_", ""))
        self.text = text
        return self


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in the file, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A file's content; None where nothing could be read, as in an empty file."""

    file: str
    #: dict, list, str, Number, bool and None
    data: Any
    problems: tuple[Problem, ...]
    #: the values that are not to be relied on
    unreadable: frozenset[Path]
    _text: str
    _keys: Mapping[Path, Spot]
    _values: Mapping[Path, yaml.Event]

    def key(self, path: Path) -> Spot:
        """Where the key stands; for a list's item and for the whole file, the value."""
        return self._keys.get(path) or self.value(path)

    def value(self, path: Path) -> Spot:
        """Where the value stands; the nearest mapping around it if the file has no such key."""
        while path not in self._values and path:
            path = path[:-1]
        event = self._values.get(path)
        return _spot(event.start_mark) if event else Spot(1, 1)

    def character(self, path: Path, offset: int) -> Spot:
        """Where the character at `offset` of a text stands; the whole value's place if unsure."""
        event = self._values.get(path)
        if isinstance(event, yaml.ScalarEvent):
            index = _index(self._text, event, offset)
            if index is not None:
                return _spot_of_index(self._text, event.start_mark, index)
        return self.value(path)


def nothing(path: Path) -> bool:
    """No path is secret."""
    del path
    return False


def read_file(
    path: pathlib.Path, *, kind: str, example: str, secret: Callable[[Path], bool] = nothing
) -> Document:
    """As `read_yaml`, from a file; ConfigError where there is nothing to read.

    `kind` is what the file is to be ("the rules file"), `example` a file that shows how.
    """
    try:
        raw = read_whole(path, most=MAX_BYTES)
    except MissingFileError:
        message = "there is no such file"
    except NoFileError as error:
        message = f"{error}; {kind} is needed"
    except UnreadableError as error:
        message = str(error)
    else:
        document = read_bytes(raw, file=str(path), secret=secret)
        if document.data is not None or document.problems:
            return document
        message = f"is empty; see {example}"
    raise ConfigError([Problem(file=str(path), line=1, column=1, path="", message=message)])


def read_bytes(raw: bytes, *, file: str, secret: Callable[[Path], bool] = nothing) -> Document:
    """As `read_yaml`, from a file's bytes."""
    if len(raw) > MAX_BYTES:
        return _unread(file, f"is {len(raw)} bytes long; at most {MAX_BYTES} are read")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        return _unread(file, "is not UTF-8; save it as UTF-8", Spot(line, column))
    return read_yaml(text, file=file, secret=secret)


def read_yaml(text: str, *, file: str, secret: Callable[[Path], bool] = nothing) -> Document:
    """The text's content and all problems; values at `secret` paths are never quoted."""
    if len(text) > MAX_BYTES:
        return _unread(file, f"is {len(text)} characters long; at most {MAX_BYTES} are read")
    text = text.removeprefix("\ufeff")
    reader = _Reader(file, secret)
    try:
        data = reader.read(text)
    except yaml.MarkedYAMLError as error:
        at_end = any(word in str(error.problem) for word in ("end of stream", "<stream end>"))
        # where a quote or bracket that is never closed was opened says more than the file's end
        mark = (error.context_mark if at_end else None) or error.problem_mark
        return _unread(file, _syntax(error, text), _spot(mark) if mark else None)
    except yaml.reader.ReaderError as error:
        spot = _spot_of_index(text, None, error.position)
        return _unread(file, f"the character {chr(error.character)!r} is not allowed", spot)
    except (ValueError, OverflowError):
        # PyYAML lets these out for escapes such as "\UFFFFFFFF"
        return _unread(file, "an escape in a quoted text is no character")
    except _TooDeepError as error:
        return _unread(file, f"is nested more than {MAX_DEPTH} deep", error.spot)
    return Document(
        file=file,
        data=data,
        problems=tuple(reader.problems),
        unreadable=frozenset(reader.unreadable),
        _text=text,
        _keys=reader.keys,
        _values=reader.values,
    )


def _unread(file: str, message: str, spot: Spot | None = None) -> Document:
    spot = spot or Spot(1, 1)
    problem = Problem(file=file, line=spot.line, column=spot.column, path="", message=message)
    return Document(
        file=file,
        data=None,
        problems=(problem,),
        unreadable=frozenset({()}),
        _text="",
        _keys={},
        _values={},
    )


class _TooDeepError(Exception):
    def __init__(self, spot: Spot) -> None:
        super().__init__()
        self.spot = spot


# ── from events to data ─────────────────────────────────────────────────────


class _Reader:
    """Builds the data from the parser's events, which come as they are read: no alias, no bomb."""

    def __init__(self, file: str, secret: Callable[[Path], bool]) -> None:
        self.file = file
        self.secret = secret
        self.problems: list[Problem] = []
        self.unreadable: set[Path] = set()
        self.keys: dict[Path, Spot] = {}
        self.values: dict[Path, yaml.Event] = {}

    def read(self, text: str) -> Any:
        events = yaml.parse(text, Loader=yaml.SafeLoader)
        data = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._problem((), event, "holds several documents (`---`); write one")
                    break
                data = self._node(next(events), events, ())
        return data

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> Any:
        if len(path) > MAX_DEPTH:
            raise _TooDeepError(_spot(event.start_mark))
        self.values[path] = event
        self._check_features(event, path)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(events, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, path)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        return None

    def _check_features(self, event: yaml.Event, path: Path) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._bad(path, event, "aliases (*) are not supported; for a text, put it in quotes")
        elif getattr(event, "anchor", None) is not None:
            self._bad(path, event, "anchors (&) are not supported; for a text, put it in quotes")
        elif getattr(event, "tag", None) is not None:
            self._bad(path, event, "tags (!) are not supported; for a text, put it in quotes")

    def _sequence(self, events: Iterator[yaml.Event], path: Path) -> list[Any]:
        items: list[Any] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, events, (*path, len(items))))
        return items

    def _mapping(self, events: Iterator[yaml.Event], path: Path) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event, events, path)
            if key is None or key in entries:
                if key is not None:
                    first = self.keys[(*path, key)]
                    message = f"is set twice; first at line {first.line}, column {first.column}"
                    self._problem((*path, key), event, message)
                self._skip(events, path)
                continue
            self.keys[(*path, key)] = _spot(event.start_mark)
            entries[key] = self._node(next(events), events, (*path, key))
        return entries

    def _key(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> str | None:
        """The key, or None after a problem."""
        if not isinstance(event, yaml.ScalarEvent):
            self._discard(event, events, path)
            self._problem(path, event, "a key must be a plain name, with nothing but text in it")
            return None
        if event.anchor is not None or event.tag is not None:
            self._problem(path, event, "anchors (&) and tags (!) are not supported")
            return None
        if event.implicit[0] and event.value == "<<":
            self._problem(path, event, "merge keys (<<) are not supported; write the keys out")
            return None
        shown = self._shown(event, path)
        if event.implicit[0] and (
            complaint(event.value) or not isinstance(plain(event.value), str)
        ):
            self._problem(path, event, f"{shown} is no name for a key; put it in quotes")
            return None
        return self._clean(event, path)

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> Any:
        if not event.implicit[0]:
            return self._clean(event, path)
        wrong = complaint(event.value)
        if wrong:
            self._bad(path, event, f"{self._shown(event, path)} {wrong}")
            return event.value
        return plain(event.value)

    def _clean(self, event: yaml.ScalarEvent, path: Path) -> str:
        text: str = event.value
        if any("\ud800" <= character <= "\udfff" for character in text):
            self._bad(path, event, "an escape in it is half a character (a surrogate)")
            return ""
        return text

    def _skip(self, events: Iterator[yaml.Event], path: Path) -> None:
        self._discard(next(events), events, path)

    def _discard(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> None:
        """Read over one node, so that the events after it fit again."""
        depth = 0
        while True:
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if len(path) + depth > MAX_DEPTH:
                    raise _TooDeepError(_spot(event.start_mark))
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth == 0:
                return
            event = next(events)

    def _shown(self, event: yaml.ScalarEvent, path: Path) -> str:
        return "this" if self.secret(path) else quoted(event.value)

    def _bad(self, path: Path, event: yaml.Event, message: str) -> None:
        self.unreadable.add(path)
        self._problem(path, event, message)

    def _problem(self, path: Path, event: yaml.Event, message: str) -> None:
        spot = _spot(event.start_mark)
        self.problems.append(
            Problem(
                file=self.file,
                line=spot.line,
                column=spot.column,
                path=dotted(path),
                message=message,
            )
        )


def dotted(path: Path) -> str:
    """`rules.1.above`: keys and indexes from 0."""
    return ".".join(quoted(part)[1:-1] if isinstance(part, str) else str(part) for part in path)


def quoted(text: str) -> str:
    """`text` as an error shows it: on one line, not endless, no URL's tail and no token."""
    scheme, separator, _ = text.partition("://")
    text = f"{scheme}://..." if separator else without_tokens(text)
    return repr(text if len(text) <= 60 else text[:57] + "...")


# ── plain scalars ───────────────────────────────────────────────────────────

_NUMBER = re.compile(r"[-+]?(?:0|[1-9](?:_?[0-9])*)(?:\.[0-9]+)?")
_MAX_DIGITS = re.compile(r"[-+]?[0-9_]{1,28}(?:\.[0-9]{1,30})?")

_TIME = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9].*)?")
# each digit can be matched in one way only: two ways take for ever with a million of them
_FLOAT = r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9_]+)"
_SURPRISES = (
    (re.compile(r"(?i)true|false"), "must be written in lower case, or in quotes if it is a text"),
    (re.compile(r"(?i)null"), "must be written in lower case, or in quotes if it is a text"),
    (re.compile(r"(?i)on|yes|y"), "is ambiguous; write true, or put it in quotes"),
    (re.compile(r"(?i)off|no|n"), "is ambiguous; write false, or put it in quotes"),
    (re.compile(r"(?i)[-+]?\.inf|\.nan"), "is not a number that can be used here"),
    (re.compile(r"(?i)[-+]?0[xob][0-9a-f_]+"), "is ambiguous; write it as a decimal number"),
    (_TIME, "is ambiguous (YAML 1.1 reads base 60); put it in quotes"),
    (_DATE, "is ambiguous (YAML 1.1 reads a date); put it in quotes"),
    (re.compile(r"[-+]?0[0-9_]+(?:\.[0-9_]*)?"), "is ambiguous; write it without leading zeros"),
    (
        re.compile(rf"(?i){_FLOAT}e[-+]?[0-9]+"),
        "is ambiguous; write the number out, without an exponent",
    ),
    (
        re.compile(_FLOAT),
        "is not a number; write 0.5 or 10_000",
    ),
    (re.compile(r"=|<<"), "has a meaning of its own in YAML; put it in quotes"),
)


def complaint(text: str) -> str | None:
    """What is wrong with a plain scalar that YAML versions read differently."""
    if _NUMBER.fullmatch(text):
        return None if _MAX_DIGITS.fullmatch(text) else "has too many digits"
    if text in {"true", "false", "null"}:
        return None
    for pattern, message in _SURPRISES:
        if pattern.fullmatch(text):
            return message
    return None


def plain(text: str) -> Number | bool | str | None:
    """What a plain scalar without `complaint` stands for."""
    if text in {"", "~", "null"}:
        return None
    if text in {"true", "false"}:
        return text == "true"
    return Number(text) if _NUMBER.fullmatch(text) else text


# ── places and syntax errors ────────────────────────────────────────────────


def _spot(mark: Any) -> Spot:
    return Spot(mark.line + 1, mark.column + 1)


def _spot_of_index(text: str, start: Any, index: int) -> Spot:
    """The place of a character, counted on from a mark before it."""
    first, line, column = (start.index, start.line, start.column) if start else (0, 0, 0)
    between = text[first:index].replace("\r\n", "\n").replace("\r", "\n")
    breaks = between.count("\n")
    if breaks:
        return Spot(line + breaks + 1, len(between) - between.rfind("\n"))
    return Spot(line + 1, column + len(between) + 1)


def _index(text: str, event: yaml.ScalarEvent, offset: int) -> int | None:
    """Where in the file the character at `offset` of a scalar stands; None if it has escapes."""
    start, stop = cast("yaml.Mark", event.start_mark), cast("yaml.Mark", event.end_mark)
    index, end = start.index, stop.index
    if event.style in {"|", ">"}:
        # the indicator's own line
        index = text.find("\n", index) + 1
    elif event.style:
        index, end = index + 1, end - 1
    if event.style in {"'", '"'} and ("\\" in text[index:end] or "''" in text[index:end]):
        return None
    # Folding changes white space only, so the other characters come in the same order.
    wanted = sum(not character.isspace() for character in event.value[:offset])
    at_end = not event.value[offset:].strip()
    for position in range(index, end):
        if text[position].isspace():
            continue
        if wanted == 0:
            return position
        wanted -= 1
        if wanted == 0 and at_end:
            return position + 1
    return end


_ADVICE = (
    ("cannot start any token", "'\\t'", "a tab cannot be used to indent; use spaces"),
    ("cannot start any token", "", "this character cannot start a text; put the text in quotes"),
    ("mapping values are not allowed", "", "a key cannot stand here; check the indentation"),
    ("could not find expected ':'", "", "this is no `key: value`; a colon and a space are missing"),
    ("expected <block end>", "", "this does not fit what is around it; check the indentation"),
    ("unexpected end of stream", "", "the quote or bracket is never closed"),
    ("<stream end>", "", "the quote or bracket is never closed"),
    ("expected ',' or", "", "a comma or the closing bracket is missing"),
    ("tag", "", "tags (!) are not supported; for a text, put it in quotes"),
    ("unknown escape", "", "unknown escape; use single quotes for a text with a backslash"),
)


def _syntax(error: yaml.MarkedYAMLError, text: str) -> str:
    """Plain words for the parser's; its own quote the file, which may be a secret."""
    problem = str(error.problem)
    index = error.problem_mark.index if error.problem_mark else 0
    if text[max(index - 1, 0) : index + 1] == "${":
        return "is not YAML: inside { } or [ ] a text with ${...} must be put in quotes"
    for part, other, advice in _ADVICE:
        if part in problem and other in problem:
            return f"is not YAML: {advice}"
    return "is not YAML here; check the indentation, the quotes and the brackets"
