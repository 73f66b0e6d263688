"""What a single value of the file must look like: numbers, durations, days, names, patterns ...

Each kind is an annotated type for the sections in schema.py, with its JSON Schema; what values mean
together stands in load.py, rules.py and routes.py.
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from alerting import units
from alerting.config.yaml_reader import Number, quoted
from alerting.display import Grouping
from alerting.engine.feeds import Scope
from alerting.engine.model import Severity
from alerting.engine.mute_windows import DAYS, MINUTES_PER_DAY

#: marks the parts of pydantic's error locations that are no keys of the file
TAG = "\0"

_Closed = TypeVar("_Closed", bound=enum.Enum)


class BadValueError(ValueError):
    """A value that cannot stand where it does; pydantic takes it for one of its own."""


def show(value: object) -> str:
    """A value as an error quotes it."""
    if isinstance(value, Number):
        return value.text
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quoted(value)
    if value is None:
        return "nothing"
    return "a list" if isinstance(value, list) else "a mapping"


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or all that is known if nothing is near."""
    # a URL that stands where a name belongs is a secret
    choices = sorted(name for name in known if "://" not in name)
    near = difflib.get_close_matches(name, choices, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(choices)}" if choices else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> Callable[[], str]:
    """Says that there is no `kind` of this name, and which are near; many names take a while."""
    return lambda: f"unknown {kind} {show(name)}{nearest(name, known)}"


# ── single values ───────────────────────────────────────────────────────────


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise BadValueError(f"{show(value)} is not a text; put it in quotes")
    if not value.strip():
        raise BadValueError("is empty")
    return value


def _secret_text(value: object) -> str:
    # never quotes the value
    if not isinstance(value, str):
        raise BadValueError("is not a text; put it in quotes")
    if not value.strip():
        raise BadValueError("is empty")
    return value


def _expression(value: object) -> str:
    return value.text if isinstance(value, Number) else _text(value)


def _number(value: object) -> Decimal:
    if isinstance(value, Number):
        return Decimal(value)
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise BadValueError(f"{show(value)} is not a number; write 1000, 10_000, 0.25 or 25%")
    return units.parse_number(value)


def _not_negative(number: Decimal) -> Decimal:
    if number < 0:
        raise BadValueError(f"{number:f} is negative; 0 or more is allowed")
    return number


def _duration(value: object) -> timedelta:
    if isinstance(value, Number):
        raise BadValueError(
            f"{value.text} has no unit; write {value.text.lstrip('-')}s, 5m, 2h or 1d"
        )
    # a URL that stands where a duration belongs is a secret
    if not isinstance(value, str) or "://" in value or len(value) > _LONGEST:
        raise BadValueError(
            f"{show(value)} is not a duration; write 500ms, 30s, 5m, 2h, 1d or 1h30m"
        )
    return units.parse_duration(value)


def _positive(duration: timedelta) -> timedelta:
    if duration <= units.ZERO:
        raise BadValueError("0s is not allowed; it must be longer than that")
    return duration


def _factor(value: object) -> Decimal:
    number = _number(value)
    # more than this would soon be later than any calendar goes
    if not 1 <= number <= MAX_FACTOR:
        raise BadValueError(f"{number:f} is out of range; 1 to {MAX_FACTOR} is allowed")
    return number


def _changes(value: object) -> int:
    number = _number(value)
    if number != number.to_integral_value() or not 2 <= number <= MAX_CHANGES:
        raise BadValueError(f"{show(value)} is not a whole number from 2 to {MAX_CHANGES}")
    return int(number)


def _minutes(value: object) -> int:
    match = _TIME_OF_DAY.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise BadValueError(
            f'{show(value)} is not a time of day; write hours and minutes in quotes, as "07:30"'
        )
    return int(match[1]) * 60 + int(match[2])


def _start(value: object) -> int:
    if value == "24:00":
        raise BadValueError("'24:00' can only stand at the end, in to; write \"00:00\"")
    return _minutes(value)


def _end(value: object) -> int:
    return MINUTES_PER_DAY if value == "24:00" else _minutes(value)


def _day_range(value: object) -> tuple[int, ...]:
    """`tue`, or all days of `sat-mon`; 0 is Monday."""
    text = value if isinstance(value, str) else ""
    if text in DAYS:
        return (DAYS.index(text),)
    first, _, last = text.partition("-")
    if first in DAYS and first == last:
        raise BadValueError(f"{show(value)} starts and ends on one day; write {first}")
    if first in DAYS and last in DAYS:
        start, end = DAYS.index(first), DAYS.index(last)
        length = (end - start) % len(DAYS) + 1
        return tuple((start + number) % len(DAYS) for number in range(length))
    meant = "-".join(part.strip()[:3] for part in text.lower().split("-"))
    hint = f"; did you mean {meant!r}?" if re.fullmatch(_DAYS_TEXT, meant) else ""
    raise BadValueError(
        f"{show(value)} is not a day; write {', '.join(DAYS)} or a range such as mon-fri{hint}"
    )


def _rate(value: object) -> tuple[int, timedelta]:
    text = value if isinstance(value, str) else ""
    match = re.fullmatch(r"([1-9][0-9]{0,5})/(\w+)", text, re.ASCII)
    if match is None:
        raise BadValueError(f"{show(value)} is not a rate; write requests/duration, as 20/60s")
    return int(match[1]), _positive(units.parse_duration(match[2]))


def _patterns(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, str):
            raise BadValueError(
                f"{show(item)} is not a name; write a name, a glob such as BTC*, or a list"
            )
        if not item.removeprefix("!").strip() or not item.isprintable():
            raise BadValueError(f"{show(item)} is not a name; write a name or a glob such as BTC*")
    if not items:
        raise BadValueError("is empty; remove the key to match everything")
    return tuple(items)


def exact_names(patterns: Iterable[str]) -> Iterator[tuple[int, str]]:
    """The patterns that are plain names, without their `!`, and their indexes."""
    for index, pattern in enumerate(patterns):
        name = pattern.removeprefix("!")
        if not _GLOB & set(name):
            yield index, name


def one_of(kind: type[_Closed]) -> Callable[[object], _Closed]:
    """Reads a member by its value; anything else is refused with the nearest one."""
    allowed = [str(member.value) for member in kind]

    def read(value: object) -> _Closed:
        text = value if isinstance(value, str) else ""
        if text in allowed:
            return kind(text)
        near = difflib.get_close_matches(text, allowed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise BadValueError(f"{show(value)} is not one of {', '.join(allowed)}{hint}")

    return read


def _named(pattern: str, *, limit: int = 64) -> Callable[[object], str]:
    shape = re.compile(pattern)

    def read(value: object) -> str:
        text = _text(value)
        if len(text) > limit:
            raise BadValueError(f"{show(text)} is longer than {limit} characters")
        if not shape.fullmatch(text):
            raise BadValueError(f"{show(text)} is not a name; it must match {pattern}")
        return text

    return read


# no number and no duration is longer; what is would be quoted whole
_LONGEST = 100
MAX_FACTOR = 100
MAX_CHANGES = 1000
_GLOB = frozenset("*?[")
_TIME_OF_DAY = re.compile("([01][0-9]|2[0-3]):([0-5][0-9])")
_DAY = f"({'|'.join(DAYS)})"
_DAYS_TEXT = f"{_DAY}(-{_DAY})?"
NAME = "[A-Za-z0-9][A-Za-z0-9_.-]*"
RULE_NAME = "[A-Za-z][A-Za-z0-9_.-]*"
LABEL_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_NUMBER_TEXT = "^[-+]?[0-9][0-9_]*(\\.[0-9]+)?%?$"
_DURATION_TEXT = "^([0-9]+(ms|s|m|h|d))+$"

_DURATION_SCHEMA = {"type": "string", "pattern": _DURATION_TEXT, "examples": ["30s", "5m", "1h30m"]}
_NUMBER_SCHEMA = {
    "anyOf": [{"type": "number"}, {"type": "string", "pattern": _NUMBER_TEXT}],
    "examples": [1000, "20%"],
}
_PATTERNS_SCHEMA = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
    ]
}


def _enumerated(kind: type[enum.Enum]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": [member.value for member in kind]})


def _matching(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", "maxLength": 64})


_ANY_TEXT = WithJsonSchema({"type": "string", "minLength": 1})

Text = Annotated[str, BeforeValidator(_text), _ANY_TEXT]
SecretText = Annotated[str, BeforeValidator(_secret_text), _ANY_TEXT]
ExpressionText = Annotated[
    str,
    BeforeValidator(_expression),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "number"}]}),
]
Amount = Annotated[Decimal, BeforeValidator(_number), WithJsonSchema(_NUMBER_SCHEMA)]
Tolerance = Annotated[
    Decimal, BeforeValidator(lambda v: _not_negative(_number(v))), WithJsonSchema(_NUMBER_SCHEMA)
]
Duration = Annotated[timedelta, BeforeValidator(_duration), WithJsonSchema(_DURATION_SCHEMA)]
PositiveDuration = Annotated[
    timedelta, BeforeValidator(lambda v: _positive(_duration(v))), WithJsonSchema(_DURATION_SCHEMA)
]
Factor = Annotated[
    Decimal,
    BeforeValidator(_factor),
    WithJsonSchema({"type": "number", "minimum": 1, "maximum": MAX_FACTOR}),
]
Changes = Annotated[
    int,
    BeforeValidator(_changes),
    WithJsonSchema({"type": "integer", "minimum": 2, "maximum": MAX_CHANGES}),
]
StartTime = Annotated[
    int,
    BeforeValidator(_start),
    WithJsonSchema({"type": "string", "pattern": f"^{_TIME_OF_DAY.pattern}$"}),
]
EndTime = Annotated[
    int,
    BeforeValidator(_end),
    WithJsonSchema({"type": "string", "pattern": f"^({_TIME_OF_DAY.pattern}|24:00)$"}),
]
DayRange = Annotated[
    tuple[int, ...],
    BeforeValidator(_day_range),
    WithJsonSchema({"type": "string", "pattern": f"^{_DAYS_TEXT}$"}),
]
Rate = Annotated[
    tuple[int, timedelta],
    BeforeValidator(_rate),
    WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]*/[0-9]+(ms|s|m|h|d)$"}),
]
Patterns = Annotated[tuple[str, ...], BeforeValidator(_patterns), WithJsonSchema(_PATTERNS_SCHEMA)]
SeverityName = Annotated[Severity, BeforeValidator(one_of(Severity)), _enumerated(Severity)]
ScopeName = Annotated[Scope, BeforeValidator(one_of(Scope)), _enumerated(Scope)]
GroupingName = Annotated[Grouping, BeforeValidator(one_of(Grouping)), _enumerated(Grouping)]
Name = Annotated[str, BeforeValidator(_named(NAME)), _matching(NAME)]
RuleName = Annotated[str, BeforeValidator(_named(RULE_NAME)), _matching(RULE_NAME)]
LabelName = Annotated[str, BeforeValidator(_named(LABEL_NAME)), _matching(LABEL_NAME)]


def one_or_each(value: object) -> str:
    """Which of two shapes a value is to be read as: the tag of `ONE` or of `EACH`."""
    return f"{TAG}each" if isinstance(value, dict | list) else f"{TAG}one"


ONE, EACH = Tag(f"{TAG}one"), Tag(f"{TAG}each")
_Ladder = Annotated[dict[SeverityName, Amount], Field(min_length=1)]
_Delays = Annotated[dict[SeverityName, Duration], Field(min_length=1)]
#: one number, or one per severity
Threshold = Annotated[Annotated[Amount, ONE] | Annotated[_Ladder, EACH], Discriminator(one_or_each)]
#: one duration, or one per severity
Delay = Annotated[Annotated[Duration, ONE] | Annotated[_Delays, EACH], Discriminator(one_or_each)]

#: one day or range of days, or a list of them
Days = Annotated[
    Annotated[DayRange, ONE] | Annotated[list[DayRange], Field(min_length=1), EACH],
    Discriminator(one_or_each),
]

# None is a key that is absent or cannot be read; to pydantic, a written `null` is an error.
if TYPE_CHECKING:
    from typing import Optional as Maybe
else:

    class Maybe:
        """`Maybe[X]` is X to pydantic."""

        def __class_getitem__(cls, item: object) -> object:
            return item
