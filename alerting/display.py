"""How numbers and instants are shown to people, everywhere the same: `display:` of the rules file.

What programs read (JSON, metrics, recordings, logs in JSON) is never written by it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal

from alerting.units import EXACT, plain

UNKNOWN = "n/a"
#: a share of equity that is used up: beyond every number
OVER = "over 100 %"
#: how far that is from any line
FAR = "far"
_MAX_PLACES = 18


class Grouping(enum.Enum):
    """Where the digits before the point are parted by commas."""

    NONE = "none"
    #: 1,234,567.89
    THOUSANDS = "thousands"
    #: 12,34,567.89: lakh and crore
    INDIAN = "indian"


@dataclass(frozen=True, kw_only=True, slots=True)
class Display:
    """How numbers and instants are shown; its methods fail for no value."""

    zone: tzinfo = UTC
    grouping: Grouping = Grouping.NONE

    def money(self, value: object) -> str:
        """Write a number digit for digit, without an exponent; "n/a" for none.

        Infinite is a ratio to equity that is used up, wherever it comes.
        """
        number = _number(value)
        if number is None:
            return UNKNOWN
        return self._grouped(plain(number)) if number.is_finite() else _endless(number)

    def rounded(self, value: Decimal) -> str:
        """An amount to two places, where a picture needs no more."""
        return self._grouped(f"{value:.2f}")

    def percent(self, value: object, places: int = 2, *, apart_from: Decimal | None = None) -> str:
        """0.3821 as `38.21%`, rounded to `places`; "n/a" for none.

        But with so many that a difference, from zero and from `apart_from`, is not rounded away.
        """
        number = _number(value)
        if number is None:
            return UNKNOWN
        if not number.is_finite():
            return _endless(number)
        least, text = max(0, min(int(places), _MAX_PLACES)), ""
        for digits in range(least, _MAX_PLACES + 1):
            text = _hundredfold(number, digits)
            if number != 0 and Decimal(text) == 0:
                continue
            if apart_from is None or number == apart_from:
                break
            if text != _hundredfold(apart_from, digits):
                break
        return f"{self._grouped(text)}%"

    def number(self, value: object, *, percent: bool, apart_from: Decimal | None = None) -> str:
        """A value, a threshold or a `clear`, in the way in which its rule is written."""
        return self.percent(value, apart_from=apart_from) if percent else self.money(value)

    def difference(self, value: Decimal, *, percent: bool) -> str:
        """How far two numbers are apart, without a sign; between percentages these are points."""
        if not value.is_finite():
            return FAR
        return f"{self.percent(abs(value))[:-1]} points" if percent else self.money(abs(value))

    def instant(self, value: object) -> str:
        """Write an instant as `2026-01-01 00:00:30 UTC`, to the second; "n/a" for none."""
        if not isinstance(value, datetime):
            return UNKNOWN
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        try:
            there = aware.astimezone(self.zone)
        except OverflowError:  # at an end of the calendar
            there = aware
        return f"{there:%Y-%m-%d %H:%M:%S %Z}".rstrip()

    def _grouped(self, text: str) -> str:
        """Part the digits before the point of a number without exponent."""
        if self.grouping is Grouping.NONE:
            return text
        sign = "-" if text.startswith("-") else ""
        whole, point, places = text.removeprefix("-").partition(".")
        return sign + ",".join(_groups(whole, self.grouping)) + point + places


#: digit for digit, in UTC
PLAIN = Display()


def _groups(digits: str, grouping: Grouping) -> Iterable[str]:
    """The last three digits, and before them groups of two or three."""
    size = 2 if grouping is Grouping.INDIAN else 3
    head, last = digits[:-3], digits[-3:]
    first = len(head) % size
    groups = [head[:first], *(head[at : at + size] for at in range(first, len(head), size)), last]
    return filter(None, groups)


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (Decimal, int, float, str)):
        return None
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        return None
    return None if number.is_nan() else number


def exactly(number: Decimal) -> str:
    """A value digit for digit, where nobody knows how its rule shows it."""
    return plain(number) if number.is_finite() else _endless(number)


def _endless(number: Decimal) -> str:
    return OVER if number > 0 else "-∞"


def _hundredfold(number: Decimal, places: int) -> str:
    hundredfold = number.scaleb(2, EXACT)
    text = f"{hundredfold.quantize(Decimal(1).scaleb(-places), context=EXACT):f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"-0", ""} else text
