"""Positions for tests, and what is true of them: Fractions, by the contract's own formulas."""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction

from alerting.engine import risk
from alerting.engine.feeds import WALLET_FIELDS
from alerting.engine.samples import Sample
from alerting.engine.snapshot import PositionRow, Side, WalletRow
from alerting.units import EXACT
from tests.support.factories import D

#: the exchange's own example (Get Positions), with the rates that reproduce its figures
DOGE = {
    "leverage": "25",
    "position_size": "65",
    "position_value": "25.09455",
    "position_margin": "34.052117186199",
    "maint_margin": "37.641825",
    "avg_entry_price": "0.38607",
    "mark_price": "0.38231",
    "last_price": "0.38135",
    "unrealised_pnl": "0.3068",
    "liquidation_price": "0.129122150942",
    "maint_margin_rate": "1.5",
    "liq_fee_rate": "0.0075",
}


def make_position(side=Side.LONG, symbol="DOGEUSDT", **override):
    """The documents' position, with other numbers where they are given; None: without the field."""
    fields = {**DOGE, **override}
    return PositionRow(
        symbol=symbol,
        base_asset="USDT",
        exchange="EXCHANGE_2",
        side=side,
        fields={name: D(text) for name, text in fields.items() if text is not None},
    )


def rounded(exact: Fraction) -> Decimal:
    """An exact number as a Decimal of units.EXACT, by whole-number arithmetic alone."""
    if exact == 0:
        return D(0)
    sign, exact = (1, exact) if exact > 0 else (-1, -exact)
    exponent = len(str(exact.numerator)) - len(str(exact.denominator)) - EXACT.prec
    if exact >= Fraction(10) ** (exponent + EXACT.prec):
        exponent += 1
    # Fraction rounds halves to even, as the context does
    digits = round(exact / Fraction(10) ** exponent)
    return D((0 if sign > 0 else 1, tuple(map(int, str(digits))), exponent))


def truths(row: PositionRow) -> dict[str, Fraction | None]:
    """The computed names as the contract writes them; None: no liquidation price."""
    f = {name: Fraction(number) for name, number in row.fields.items()}
    s, size, mark = row.side.sign, f["position_size"], f["mark_price"]
    pnl = s * (mark - f["avg_entry_price"]) * size
    equity = f["position_margin"] + pnl
    needed = f["position_value"] * (f["maint_margin_rate"] / 100 + f["liq_fee_rate"])
    price = f["avg_entry_price"] - s * (f["position_margin"] - needed) / size
    return {
        "unrealised_pnl": pnl,
        "equity": equity,
        "maintenance_margin": needed,
        "maintenance_margin_ratio": needed / equity if equity > 0 else None,
        "liquidation_price": price if price > 0 else None,
        "liquidation_distance": min(Fraction(1), s * (mark - price) / mark),
        "effective_leverage": size * mark / equity if equity > 0 else None,
        "margin_loss": -pnl / f["position_margin"],
    }


def random_position(dice: random.Random) -> PositionRow:
    """As they come: 1x to 125x, near their entry or far gone, with margin added or not."""

    def number(low: float, high: float, places: int) -> Decimal:
        return D(max(1, round(dice.uniform(low, high) * 10**places))).scaleb(-places)

    scale = 10 ** dice.uniform(-4, 5)
    entry = number(scale, 2 * scale, dice.randint(0, 12))
    size = number(0.001, 10 ** dice.uniform(-2, 5), dice.randint(0, 6))
    leverage = round(125 ** dice.random())
    margin = size * entry / leverage * number(0.2, 3, 4)
    return make_position(
        dice.choice(list(Side)),
        leverage=str(leverage),
        position_size=str(size),
        position_value=str(size * entry),
        position_margin=f"{max(margin, D('1E-12')):.12f}",
        avg_entry_price=str(entry),
        mark_price=str(entry * number(0.6, 1.4, 6)),
        maint_margin_rate=str(number(0.1, 5, 2)),
        liq_fee_rate=str(number(0.0001, 0.02, 5)),
    )


def position_sample(row: PositionRow, wallet: WalletRow) -> Sample:
    """As the engine makes it of a position and its asset's totals."""
    labels = {
        "account": "main",
        "base_asset": row.base_asset,
        "symbol": row.symbol,
        "exchange": row.exchange,
        "side": row.side.value,
    }
    figures = risk.figures(row)
    known = {name: number for name, number in figures.items() if number is not None}
    values = {**dict.fromkeys(WALLET_FIELDS), **wallet.fields, **figures}
    return Sample(labels=labels, values=values, fields={**wallet.fields, **known})
