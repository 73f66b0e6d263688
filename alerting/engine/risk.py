"""How far a position is from its liquidation: what its own numbers come to.

The page's figures lose their signs and their scale, so nothing is taken from them. All is reckoned
with every digit that the exchange gave, and each name divides at most once: what comes out is the
exact number, rounded one time, to the digits of units.EXACT. (So `liquidation_distance` is not made
of the quotient `liquidation_price`: it is (equity - maintenance_margin) / (position_size x
mark_price), which is the same.)

None is *no data*: a field is absent, there is no instrument data, or a size or price is 0 or
negative, which none can be. What each name means is in docs/risk.md.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal

from alerting.engine.feeds import POSITION_FIELDS, POSITION_FIGURES, REPORTED
from alerting.engine.snapshot import PositionRow
from alerting.units import EXACT, plain

#: beyond every `above` line: of a position whose equity is used up, whatever its maintenance margin
BEYOND = Decimal("Infinity")

#: every name that `figures` has
NAMES = (*POSITION_FIELDS, *REPORTED, *POSITION_FIGURES)

#: sizes, prices and margins of the page; none of them can be 0 or negative
_POSITIVE = tuple(name for name in POSITION_FIELDS if name != "leverage")
#: computed and reported liquidation price may differ by so much of the mark price
_AGREEMENT = Decimal("0.01")
_ONE = Decimal(1)
# A number of the wire spans at most some 120 digits, so no product of three of them is rounded.
_WIDE = decimal.Context(prec=1000, traps=EXACT.traps)


def figures(row: PositionRow) -> Mapping[str, Decimal | None]:
    """Every name of a position but its asset's totals; None: it has no value.

    The page's own fields, the `reported_*` names as the page says them, and what is computed.
    """
    fields = row.fields
    page = {name: fields.get(name) for name in POSITION_FIELDS}
    reported = {name: fields.get(field) for name, field in REPORTED.items()}
    with decimal.localcontext(_WIDE):
        computed = _computed(row)
    # without zeros at the end, which say nothing of what is computed
    rounded = {name: _given(EXACT.normalize, number) for name, number in computed.items()}
    return {**page, **reported, **rounded}


def doubts(row: PositionRow) -> tuple[str, ...]:
    """What makes a position suspect by itself: one text each, with the bad numbers in it."""
    with decimal.localcontext(_WIDE):
        return (*_not_positive(row), *_disagreement(row))


def _computed(row: PositionRow) -> dict[str, Decimal | None]:
    sign = row.side.sign
    size, mark = _positive(row, "position_size"), _positive(row, "mark_price")
    margin, entry = row.fields.get("position_margin"), _positive(row, "avg_entry_price")
    pnl = _given(lambda mark, entry, size: sign * (mark - entry) * size, mark, entry, size)
    equity = _given(lambda margin, pnl: margin + pnl, margin, pnl)
    maintenance = _maintenance(row)
    notional = _given(lambda size, mark: size * mark, size, mark)
    left = _given(lambda equity, needed: equity - needed, equity, maintenance)
    price = _given(EXACT.divide, _price_times_size(row), size)
    used_up = equity is not None and equity <= 0
    return {
        "unrealised_pnl": pnl,
        "equity": equity,
        "maintenance_margin": maintenance,
        "maintenance_margin_ratio": BEYOND
        if used_up
        else _given(EXACT.divide, maintenance, equity),
        "liquidation_price": price if price is None or price > 0 else None,
        # of a LONG that no price can close it would be above 1. That a SHORT has no price above 0
        # means the opposite, that every price closes it; the quotient is negative then
        "liquidation_distance": _given(
            lambda left, notional: min(_ONE, EXACT.divide(left, notional)), left, notional
        ),
        "effective_leverage": None if used_up else _given(EXACT.divide, notional, equity),
        "margin_loss": _given(
            lambda pnl, margin: EXACT.divide(-pnl, margin), pnl, _positive(row, "position_margin")
        ),
    }


def _maintenance(row: PositionRow) -> Decimal | None:
    """On the value at entry; the instrument's rate is in percent, its fee is not."""
    rate, fee = row.fields.get("maint_margin_rate"), row.fields.get("liq_fee_rate")
    value = _positive(row, "position_value")
    if rate is None or fee is None or value is None or rate < 0 or fee < 0:
        return None
    return value * (rate.scaleb(-2) + fee)


def _price_times_size(row: PositionRow) -> Decimal | None:
    """The price that would close it, 0 or less where none can, times its size: not rounded."""
    sign = row.side.sign
    return _given(
        lambda entry, size, margin, needed: entry * size - sign * (margin - needed),
        _positive(row, "avg_entry_price"),
        _positive(row, "position_size"),
        row.fields.get("position_margin"),
        _maintenance(row),
    )


def _not_positive(row: PositionRow) -> Iterator[str]:
    for name in _POSITIVE:
        number = row.fields.get(name)
        if number is not None and number <= 0:
            yield f"{_subject(row)}: {name} is {plain(number)}, which is not above 0"


def _disagreement(row: PositionRow) -> Iterator[str]:
    """In magnitude, as the page loses the sign of a price below 0."""
    total, reported = _price_times_size(row), row.fields.get("liquidation_price")
    size, mark = _positive(row, "position_size"), _positive(row, "mark_price")
    if total is None or reported is None or size is None or mark is None:
        return
    if _positive(row, "position_margin") is None:
        return  # which is said already, and explains it
    if abs(abs(total) - abs(reported) * size) <= _AGREEMENT * mark * size:
        return
    price = EXACT.divide(total, size)
    off = abs(abs(price) - abs(reported))
    yield (
        f"{_subject(row)}: the liquidation price is {_short(price)} by its margin and "
        f"{plain(reported)} by the page, {_short(off)} apart; more than 1% of the mark price "
        f"{plain(mark)}"
    )


def _short(number: Decimal) -> str:
    """A quotient as people read it: to twelve significant digits."""
    return plain(number.normalize(decimal.Context(prec=12)))


def _subject(row: PositionRow) -> str:
    return f"{row.symbol} {row.side.value}"


def _positive(row: PositionRow, name: str) -> Decimal | None:
    number = row.fields.get(name)
    return number if number is not None and number > 0 else None


def _given(compute: Callable[..., Decimal], *parts: Decimal | None) -> Decimal | None:
    """What comes of the parts; None where one of them has no value."""
    return None if None in parts else compute(*parts)
