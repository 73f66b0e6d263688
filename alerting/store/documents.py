"""The engine's memory and its notifications as JSON, and back, without losing a digit.

The dataclasses of engine/model.py are the format: a document written before a field existed is
read with the field's default, and a key that only a newer version knows is passed over. Decimals
and instants are strings, durations ISO 8601. pydantic is imported at the first document, so that
commands which read none do not pay for it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from alerting.engine.model import AccountState, Ack, Alert, Notification, Notified, Silence
from alerting.errors import StoreError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

#: What is stored as a document.
Kind = TypeVar("Kind", AccountState, Alert, Notification)
#: What is stored, as a document or in columns.
Kept = TypeVar("Kept", AccountState, Alert, Notification, Notified, Silence, Ack)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Far beyond all that is ever stored, and far enough from the ends of the calendar to reckon with.
_EARLIEST, _LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
_LONGEST = timedelta(days=200_000)
_MOST_DIGITS = 1000


def to_micros(instant: datetime) -> int:
    """Microseconds since 1970, exactly; what the state file stores."""
    return (instant - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The inverse of `to_micros`."""
    return _EPOCH + micros * _MICROSECOND


def dumps(document: Mapping[str, Any]) -> str:
    """Compact JSON with sorted keys; ASCII, so that half a surrogate pair comes through too."""
    return json.dumps(document, separators=(",", ":"), sort_keys=True)


def dump(value: AccountState | Alert | Notification) -> str:
    """A value as the text of its document."""
    return dumps(_adapter(type(value).__name__).dump_python(value, mode="json"))


def load(kind: type[Kind], text: str) -> Kind:
    """The inverse of `dump`; StoreError if the text is no plausible document of this kind."""
    try:
        value: Kind | None = _adapter(kind.__name__).validate_python(json.loads(text))
        if value is None:
            raise ValueError("null is no document")
        return plausible(value)
    except _UNREADABLE as error:
        raise StoreError(f"{kind.__name__}: {_reason(error)}") from error


# Whatever content that is not as it was written may raise.
_UNREADABLE = (
    ArithmeticError,  # instants and numbers beyond all bounds
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,  # JSON, text, enums, and what pydantic finds
    zlib.error,
)


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Make one kind of error, StoreError, of all that unreadable content can raise."""
    try:
        yield
    except (StoreError, *_UNREADABLE) as error:
        raise StoreError(f"{what} cannot be read ({error})") from error


def plausible(value: Kept) -> Kept:
    """The value itself; ValueError where something in it was never written by this program.

    What passes can be reckoned with: no sum of its instants and durations leaves the calendar.
    """
    _check(value, type(value).__name__)
    return value


def _check(value: object, where: str) -> None:
    if not _bounded(value):
        raise ValueError(f"{where}: {value} was never written by this program")
    parts: Iterable[tuple[str, object]] = ()
    if isinstance(value, tuple):
        parts = (("", each) for each in value)
    elif isinstance(value, Mapping):
        parts = (("", each) for each in value.values())
    elif is_dataclass(value):
        parts = ((f".{each.name}", getattr(value, each.name)) for each in fields(value))
    for name, part in parts:
        _check(part, where + name)


def _bounded(value: object) -> bool:
    if isinstance(value, datetime):
        return _EARLIEST <= value <= _LATEST
    if isinstance(value, timedelta):
        return abs(value) <= _LONGEST
    if isinstance(value, Decimal):
        # infinity is a value: that of a ratio to equity that is used up
        return not value.is_nan() and abs(value.adjusted()) <= _MOST_DIGITS
    return True


def whole(number: object, *, most: int = 1 << 53) -> int:
    """A number of a column; ValueError where something else stands there."""
    if not isinstance(number, int) or abs(number) > most:
        raise ValueError(f"{str(number)[:20]!r} is no whole number")
    return number


def globs(text: str) -> dict[str, str]:
    """A silence's matchers; ValueError if the text is something else."""
    found = json.loads(text)
    if not isinstance(found, dict) or not all(isinstance(glob, str) for glob in found.values()):
        raise ValueError("its matchers are no mapping of labels to globs")
    return found


def _reason(error: Exception) -> str:
    """In one line, without the content."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


@functools.cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter

    kinds: dict[str, Any] = {each.__name__: each for each in (AccountState, Alert, Notification)}
    # "or None", as a dataclass alone takes no settings from outside of it
    return TypeAdapter(kinds[kind] | None, config=ConfigDict(allow_inf_nan=True))
