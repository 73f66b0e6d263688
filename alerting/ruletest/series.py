"""A field over the steps of a test, as people write it; and what is not given, derived.

A wallet is completed so that the accounting identities hold, a position by its own numbers.
"""

from __future__ import annotations

import decimal
import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from alerting.config.values import BadValueError, show
from alerting.engine.feeds import REPORTED, SYMBOL_FIELDS, WALLET_FIELDS
from alerting.engine.snapshot import Side
from alerting.ruletest.schema import amount_of
from alerting.units import EXACT

MAX_STEPS = 50_000
_COUNTED = re.compile(r"(.+?)(?:x([0-9]{1,9}))?")


class Gap(enum.Enum):
    """What a step of a series may have in place of a number."""

    #: the poll of this step failed
    FAILED = "_"
    #: the answer has no such row
    ABSENT = "-"


#: A step of a series.
Cell = Decimal | Gap


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """One field over the steps."""

    cells: tuple[Cell, ...]
    #: what holds after the last cell
    rest: Cell
    #: the same in every step, which says nothing about how many there are
    constant: bool = False

    def at(self, step: int) -> Cell:
        """What the field is in a step, counted from 0."""
        return self.cells[step] if step < len(self.cells) else self.rest


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One symbol's row over the steps."""

    base_asset: str
    tracks: Mapping[str, Track]


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """One symbol's position over the steps."""

    base_asset: str
    side: Side
    tracks: Mapping[str, Track]
    #: where it is absent, the exchange took a liquidation fee for it
    liquidated: bool = False


def cells_of(token: str, gaps: tuple[Gap, ...]) -> list[Cell]:
    """The steps that one token of a series stands for."""
    match = _COUNTED.fullmatch(token)
    body, count = (match[1], int(match[2] or 1)) if match else (token, 1)
    if count == 0:
        raise BadValueError(f"{show(token)} is no step at all; the count starts at 1")
    return [_cell(body, token, gaps)] * min(count, MAX_STEPS + 1)


def _cell(body: str, token: str, gaps: tuple[Gap, ...]) -> Cell:
    for gap in Gap:
        if body == gap.value and gap in gaps:
            return gap
        if body == gap.value:
            raise BadValueError(f"{show(token)} is for symbols and positions: it takes a row away")
    amount = amount_of(body)
    if amount is None:
        choices = "1200, 1200x4 (four times), _ (a failed poll)"
        choices += " or - (no row)" if Gap.ABSENT in gaps else ""
        raise BadValueError(f"{show(token)} is no step of a series; write {choices}")
    return Decimal(amount)


# ── what is not given ───────────────────────────────────────────────────────


def whole_row(given: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """A row's three fields; those not given follow from the identity, order margin being 0."""
    blocked, position, orders = (given.get(name) for name in SYMBOL_FIELDS)
    with decimal.localcontext(EXACT):
        parts = _split(blocked, position, orders, usual_orders=Decimal(0))
    return dict(zip(SYMBOL_FIELDS, parts, strict=True))


def whole_wallet(
    given: Mapping[str, Decimal], rows: Iterable[Mapping[str, Decimal]]
) -> dict[str, Decimal]:
    """A wallet's five fields; what the identities leave open comes from its rows.

    Where neither total nor available is given, nothing is available.
    """
    with decimal.localcontext(EXACT):
        parts = _complete([given.get(name) for name in WALLET_FIELDS], _sums(rows))
    return dict(zip(WALLET_FIELDS, parts, strict=True))


def whole_position(given: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """A position's fields by the page's names, from those that rules use.

    Its value is that of its entry, and the last price is the mark price, unless they are given.
    """
    fields = {REPORTED.get(name, name): number for name, number in given.items()}
    if "position_size" in given and "avg_entry_price" in given:
        value = EXACT.multiply(given["position_size"], given["avg_entry_price"])
        fields.setdefault("position_value", value)
    if "mark_price" in given:
        fields.setdefault("last_price", given["mark_price"])
    return fields


def _complete(
    given: Sequence[Decimal | None], listed: tuple[Decimal, ...]
) -> tuple[Decimal, Decimal, Decimal, Decimal, Decimal]:
    """A wallet's fields in the order of WALLET_FIELDS; `listed` is the sum of its rows."""
    total, available, blocked, position, orders = given
    listed_blocked, listed_position, listed_orders = listed
    if blocked is None and total is not None and available is not None:
        blocked = total - available
    elif blocked is None and position is None and orders is None:
        blocked = listed_blocked
    elif blocked is None and position is None:
        position = listed_position
    blocked, position, orders = _split(blocked, position, orders, usual_orders=listed_orders)
    if total is None:
        total = (available or Decimal(0)) + blocked
    if available is None:
        available = total - blocked
    return total, available, blocked, position, orders


def _sums(rows: Iterable[Mapping[str, Decimal]]) -> tuple[Decimal, ...]:
    listed = list(rows)
    return tuple(sum((row[name] for row in listed), Decimal(0)) for name in SYMBOL_FIELDS)


def _split(
    whole: Decimal | None,
    position: Decimal | None,
    orders: Decimal | None,
    *,
    usual_orders: Decimal,
) -> tuple[Decimal, Decimal, Decimal]:
    """Makes whole = position + orders; values that contradict each other are left as they are."""
    if whole is not None and position is not None:
        return whole, position, whole - position if orders is None else orders
    orders = usual_orders if orders is None else orders
    if whole is not None:
        return whole, whole - orders, orders
    position = Decimal(0) if position is None else position
    return position + orders, position, orders
