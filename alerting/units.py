"""Numbers and durations as people write them, and the one decimal context for all arithmetic."""

from __future__ import annotations

import decimal
import itertools
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

# Wire numbers have at most 30 digits on each side of the point, so sums of rows stay exact
# far below this; Python's default of 28 would silently round 12 + 18 digits. Contexts are per
# thread: enter this one with `decimal.localcontext(EXACT)`, never rely on the thread's own.
EXACT = decimal.Context(
    prec=100,
    rounding=decimal.ROUND_HALF_EVEN,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_NUMBER = re.compile(r"[-+]?[0-9]{1,3}(?:_?[0-9]){0,27}(?:\.[0-9]{1,30})?")
_MAX_DURATION = timedelta(days=3650)

ZERO = timedelta(0)


def parse_duration(text: str) -> timedelta:
    """`500ms`, `30s`, `1h30m` as a timedelta; each unit at most once, largest first."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration; write 500ms, 30s, 5m, 2h, 1d or 1h30m")
    parts = _DURATION_PART.findall(text)
    sizes = [_UNITS[unit] for _, unit in parts]
    if any(later >= earlier for earlier, later in itertools.pairwise(sizes)):
        raise ValueError(f"{text!r} is not a duration; each unit once, the largest first, as 1h30m")
    milliseconds = sum(int(count) * _UNITS[unit] for count, unit in parts)
    duration = timedelta(milliseconds=milliseconds)
    if duration > _MAX_DURATION:
        raise ValueError(f"{text!r} is longer than ten years")
    return duration


def format_duration(duration: timedelta) -> str:
    """A timedelta as `1h30m`; the inverse of `parse_duration`, to the millisecond."""
    milliseconds = round(duration / timedelta(milliseconds=1))
    sign, milliseconds = ("-" if milliseconds < 0 else ""), abs(milliseconds)
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, milliseconds = divmod(milliseconds, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return sign + ("".join(parts) or "0s")


def parse_number(text: str) -> Decimal:
    """`1000`, `10_000`, `-0.5` or `20%` as a Decimal, digit for digit."""
    body, percent = (text[:-1], True) if text.endswith("%") else (text, False)
    if not _NUMBER.fullmatch(body):
        raise ValueError(f"{text!r} is not a number; write 1000, 10_000, 0.25 or 25%")
    number = Decimal(body.replace("_", ""))
    return number.scaleb(-2, EXACT) if percent else number


def plain(number: Decimal) -> str:
    """A Decimal without exponent, as given; a quotient's endless tail is cut to 18 places."""
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -30:
        number = number.quantize(Decimal(1).scaleb(-18), context=EXACT).normalize(EXACT)
    return f"{number:f}"


def rfc3339(instant: datetime) -> str:
    """An aware instant in UTC as `2026-01-01T00:00:00Z`, with a fraction only where it has one."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_instant(text: str) -> datetime:
    """The inverse of `rfc3339`; a naive time is refused."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write 2026-01-01T00:00:00Z")
    return instant.astimezone(UTC)
