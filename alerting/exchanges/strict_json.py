"""An answer's body -> JSON values, nothing guessed: numbers keep every digit, keys are unique.

Recorded bodies take the same way.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NoReturn

from alerting.engine.snapshot import FailureKind
from alerting.errors import AlertingError
from alerting.redaction import clean

# [0-9], not \d: that would let other scripts' digits through, and Decimal would take them.
_NUMBER = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE]([-+]?[0-9]{1,2}))?")
_MAX_EXPONENT = 30

#: The pairs of one JSON object -> what stands for it.
Pairs = Callable[[list[tuple[str, Any]]], object]


class AnswerError(AlertingError):
    """A body that is no snapshot; `kind` is NOT_JSON or WRONG_SHAPE."""

    def __init__(self, kind: FailureKind, text: str) -> None:
        self.kind = kind
        super().__init__(text)


class JsonNumber(str):
    """A JSON number as it was written, every digit kept."""

    __slots__ = ()


class Members(list[tuple[str, Any]]):
    """A JSON object with every member as it was written, those of one name too."""

    __slots__ = ()


class Ambiguous(enum.Enum):
    """What stands for a value that cannot be known."""

    #: its key stands twice in one object
    TWICE = "something named twice"


def decode(body: bytes) -> str:
    """A body as text; AnswerError where it is not UTF-8."""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        text = f"the answer is not JSON: no UTF-8 at byte {error.start}"
        raise AnswerError(FailureKind.NOT_JSON, text) from None


def loads(text: str) -> object:
    """Strict JSON with numbers as `JsonNumber`; AnswerError for all else, duplicate keys too."""
    return _loads(text, _unique)


def loads_marked(text: str) -> object:
    """As `loads`, but a key that stands twice spoils only its own value, which is `TWICE`."""
    return _loads(text, marked)


def loads_whole(text: str) -> object:
    """As `loads`, with objects as `Members`: `dumps` writes them as they were."""
    return _loads(text, Members)


def dumps(value: object) -> str:
    """JSON of what `loads_whole` gives; every number has the digits that it came with.

    AnswerError where it is nested too deeply.
    """
    try:
        return _written(value)
    except RecursionError:
        raise AnswerError(FailureKind.WRONG_SHAPE, "the answer is nested too deeply") from None


def _written(value: object) -> str:
    if isinstance(value, JsonNumber):
        return str(value)
    if isinstance(value, Members):
        members = (f"{json.dumps(key)}:{_written(each)}" for key, each in value)
        return f"{{{','.join(members)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    return json.dumps(value)


def _loads(text: str, pairs: Pairs) -> object:
    try:
        return parse(text, pairs=pairs)
    except json.JSONDecodeError as error:
        raise AnswerError(FailureKind.NOT_JSON, _no_json(text, error)) from None
    except RecursionError:
        raise AnswerError(FailureKind.WRONG_SHAPE, "the answer is nested too deeply") from None


def parse(text: str, *, pairs: Pairs) -> object:
    """JSON with numbers as `JsonNumber`; raises as `json.loads`, and AnswerError for a bare NaN."""
    value: object = json.loads(
        text,
        parse_float=JsonNumber,
        parse_int=JsonNumber,
        parse_constant=_refuse_constant,
        object_pairs_hook=pairs,
    )
    return value


def amount(value: object) -> Decimal | None:
    """A JSON value as an exact number, null as None; ValueError where it is none."""
    if value is None:
        return None
    # A float has lost digits already and a bool is an int: only text, from `loads`, is exact.
    match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    if not isinstance(value, str) or match is None:
        raise ValueError(f"{shown(value)} is not a number")
    if abs(int(match[1] or 0)) > _MAX_EXPONENT:
        raise ValueError(f"{shown(value)} is out of range")
    number = Decimal(value)
    return number or number.copy_abs()


def shown(value: object) -> str:
    """A JSON value in an error: as it would be written, but short."""
    if isinstance(value, JsonNumber):
        return clean(value, 60)
    if isinstance(value, str):
        return f'"{clean(value, 60)}"'
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "a list"
    if isinstance(value, Ambiguous):
        return value.value
    return "an object" if isinstance(value, dict) else type(value).__name__


def _refuse_constant(name: str) -> NoReturn:
    raise AnswerError(FailureKind.NOT_JSON, f"the answer is not JSON: it holds a bare {name}")


def marked(pairs: list[tuple[str, Any]]) -> dict[str, object]:
    """A JSON object in which the value of a key that stands twice is `TWICE`."""
    known: dict[str, object] = dict(pairs)
    if len(known) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                known[key] = Ambiguous.TWICE
            seen.add(key)
    return known


def refuse_twice(found: Mapping[str, object]) -> None:
    """AnswerError if a key of this very object stands in it twice."""
    for key, value in found.items():
        if value is Ambiguous.TWICE:
            text = f"the answer names {shown(key)} twice in one object"
            raise AnswerError(FailureKind.WRONG_SHAPE, text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, object]:
    known = marked(pairs)
    refuse_twice(known)
    return known


def _no_json(text: str, error: json.JSONDecodeError) -> str:
    start = text[:200].strip()
    if not start:
        return "the answer is empty"
    if start.startswith("<"):
        return "the answer is an HTML page, not JSON"
    return f'the answer is not JSON ({error.msg} at character {error.pos}): "{clean(start, 40)}"'
