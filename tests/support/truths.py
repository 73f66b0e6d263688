"""A wallet as it truly is, poll by poll, and what the contract says of it.

Nothing here asks the engine: the values of the rules, and whether a threshold is breached, are
reckoned again from section 2 and 3 of the product contract.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

D = Decimal
ZERO = D(0)
STEP = 15  # seconds between two polls

RULES = """\
poll: {interval: 15s, timeout: 10s, blind_after: 1m}
accounts:
  main: {api_key: "${KEY}", secret_key: "${SECRET}", rate_limit: 5000/60s}
receivers:
  desk: {url: "${URL}"}
routes:
  - receivers: [desk]
builtin:
  suspect-data: {forget_after: 4m}
rules:
  - {name: floor, per: wallet, value: total_available_balance, below: {warning: 1000, critical: 250},
     clear: {warning: 1100, critical: 300}, for: 30s}
  - {name: ratio, per: wallet, value: margin_ratio, above: {warning: 50%, critical: 80%},
     keep_firing_for: 45s}
  - {name: unlisted, per: wallet, value: abs(unlisted_margin), above: 50}
  - {name: orders, per: wallet, value: total_open_order_margin, below: 0, severity: info, for: 15s}
  - {name: load, per: symbol, value: position_margin, above: {warning: 300, critical: 700},
     for: {warning: 30s, critical: 0s}}
  - {name: share, per: symbol, value: margin_ratio, above: 30%, clear: 25%, keep_firing_for: 30s}
  - {name: concentration, per: symbol, value: concentration, above: 90%,
     when: total_blocked_balance > 100}
"""

#: asset, symbol, exchange; symbol and exchange are empty for what is about a whole wallet
Key = tuple[str, str, str]
EXCHANGE = "EXCHANGE_2"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One threshold of one rule, as RULES has it."""

    at: Decimal
    clear: Decimal
    for_: int = 0
    keep: int = 0


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One rule of RULES, reckoned by ourselves."""

    above: bool
    value: Callable[[Asset, Row | None], Decimal | None]
    lines: Mapping[str, Line]
    per_symbol: bool = False
    #: every row of the asset counts in it
    of_rows: bool = False


@dataclass
class Row:
    """What one symbol holds."""

    position: Decimal
    orders: Decimal = ZERO

    def fields(self) -> dict[str, Decimal]:
        return {
            "blocked_balance": self.position + self.orders,
            "position_margin": self.position,
            "open_order_margin": self.orders,
        }


@dataclass
class Asset:
    """One settlement asset: its total, its rows, and what the totals hold beyond them."""

    total: Decimal
    rows: dict[str, Row] = field(default_factory=dict)
    unlisted: Decimal = ZERO

    def fields(self) -> dict[str, Decimal]:
        position = sum((row.position for row in self.rows.values()), self.unlisted)
        orders = sum((row.orders for row in self.rows.values()), D(0))
        return {
            "total_balance": self.total,
            "total_available_balance": self.total - position - orders,
            "total_blocked_balance": position + orders,
            "total_position_margin": position,
            "total_open_order_margin": orders,
        }


def _of(name: str) -> Callable[[Asset, Row | None], Decimal | None]:
    return lambda asset, _: asset.fields()[name]


def _ratio(part: str, whole: str, *, of_row: bool = False) -> Callable[..., Decimal | None]:
    def value(asset: Asset, row: Row | None) -> Decimal | None:
        fields = asset.fields()
        if of_row:
            fields |= row.fields()
        return fields[part] / fields[whole] if fields[whole] else None

    return value


def _concentration(asset: Asset, row: Row | None) -> Decimal | None:
    """Below every line where `when` is false."""
    blocked = asset.fields()["total_blocked_balance"]
    return row.fields()["blocked_balance"] / blocked if blocked > 100 else D(-1)


def _line(at: str, clear: str | None = None, *, for_: int = 0, keep: int = 0) -> Line:
    return Line(at=D(at), clear=D(clear or at), for_=for_, keep=keep)


JUDGED: Mapping[str, Judged] = {
    "floor": Judged(
        above=False,
        value=_of("total_available_balance"),
        lines={
            "warning": _line("1000", "1100", for_=30),
            "critical": _line("250", "300", for_=30),
        },
    ),
    "ratio": Judged(
        above=True,
        value=_ratio("total_blocked_balance", "total_balance"),
        lines={"warning": _line("0.5", keep=45), "critical": _line("0.8", keep=45)},
    ),
    "unlisted": Judged(
        above=True,
        value=lambda asset, _: abs(asset.unlisted),
        lines={"warning": _line("50")},
        of_rows=True,
    ),
    "orders": Judged(
        above=False, value=_of("total_open_order_margin"), lines={"info": _line("0", for_=15)}
    ),
    "load": Judged(
        above=True,
        value=lambda _, row: row.position,
        lines={"warning": _line("300", for_=30), "critical": _line("700")},
        per_symbol=True,
    ),
    "share": Judged(
        above=True,
        value=_ratio("blocked_balance", "total_balance", of_row=True),
        lines={"warning": _line("0.3", "0.25", keep=30)},
        per_symbol=True,
    ),
    "concentration": Judged(
        above=True,
        value=_concentration,
        lines={"warning": _line("0.9")},
        per_symbol=True,
    ),
}


@dataclass
class Truth:
    """The whole wallet at one poll."""

    assets: dict[str, Asset]

    def body(self) -> dict[str, Any]:
        """The exchange's answer."""
        wallets = [
            {"base_asset": name, "balances": _text(asset.fields())}
            for name, asset in self.assets.items()
        ]
        rows = [
            {
                "symbol": symbol,
                "base_asset": name,
                "exchange": EXCHANGE,
                **_text(row.fields()),
            }
            for name, asset in self.assets.items()
            for symbol, row in asset.rows.items()
        ]
        return {"data": {"base_asset_balances": wallets, "asset": rows}}

    def has(self, key: Key) -> bool:
        asset = self.assets.get(key[0])
        of_row = key[2] == EXCHANGE and asset is not None and key[1] in asset.rows
        return asset is not None and (not key[1] or of_row)

    def keys(self, rule: str) -> list[Key]:
        """What the rule is judged for."""
        if not JUDGED[rule].per_symbol:
            return [(name, "", "") for name in self.assets]
        return [
            (name, symbol, EXCHANGE) for name, asset in self.assets.items() for symbol in asset.rows
        ]

    def value(self, rule: str, key: Key) -> Decimal | None:
        asset = self.assets[key[0]]
        return JUDGED[rule].value(asset, asset.rows.get(key[1]))

    def breaches(self, rule: str, key: Key, severity: str) -> bool:
        """Strictly beyond the threshold."""
        return self._beyond(rule, key, JUDGED[rule].lines[severity].at)

    def is_clear(self, rule: str, key: Key, severity: str) -> bool:
        """At `clear` or on its safe side."""
        return not self._beyond(rule, key, JUDGED[rule].lines[severity].clear)

    def _beyond(self, rule: str, key: Key, line: Decimal) -> bool:
        value = self.value(rule, key)
        if value is None:
            return False
        return value > line if JUDGED[rule].above else value < line


def _text(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: f"{amount:f}" for name, amount in amounts.items()}


# ── how it moves ────────────────────────────────────────────────────────────

_SYMBOLS = {
    "USDT": ("BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT", "XRPUSDT"),
    "INR": ("BTCINR", "ETHINR", "SOLINR"),
}


class World:
    """A wallet that moves: calm, or with positions that open, grow, shrink and close."""

    def __init__(self, rng: random.Random) -> None:
        self.random = rng
        names = ["USDT"] if rng.random() < 0.6 else ["USDT", "INR"]
        self._assets = {name: Asset(total=D(0)) for name in names}
        # What the totals hold beyond the rows comes back to this. Were it to grow for good while a
        # row goes, the contract's own measure could not tell that row from one that is missing.
        self._unlisted = {name: self._amount(0, 4) for name in names}
        self.calm()

    def calm(self) -> None:
        """Everything well on the safe side of every line."""
        for name, asset in self._assets.items():
            symbols = self.random.sample(_SYMBOLS[name], 3)
            asset.total = self._amount(4000, 9000)
            asset.rows = {symbol: Row(self._amount(40, 120)) for symbol in symbols}
            asset.unlisted = self._unlisted[name]

    def crisis(self) -> None:
        """Some lines are crossed, and stay so until something else is asked for."""
        for asset in self._assets.values():
            symbol = self.random.choice(sorted(asset.rows))
            kind = self.random.randrange(6)
            if kind in {0, 1}:
                asset.rows[symbol] = Row(self._amount(320, 1200))
            if kind in {1, 2}:
                held = sum(row.position for row in asset.rows.values())
                asset.total = held + self._amount(20, 900)
            if kind == 3:
                asset.unlisted = self._amount(60, 400)
            if kind == 4:
                asset.rows[symbol].orders = -self._amount(1, 30)
            if kind == 5:
                asset.rows = {symbol: Row(self._amount(320, 1500))}
                asset.total = asset.rows[symbol].position * D("2.2")

    def move(self) -> None:
        """Positions open, grow, shrink and close."""
        for name, asset in self._assets.items():
            draw = self.random.random()
            if draw < 0.06:
                asset.rows[self.random.choice(_SYMBOLS[name])] = Row(self._amount(30, 900))
            elif draw < 0.12 and len(asset.rows) > 1:
                del asset.rows[self.random.choice(sorted(asset.rows))]
            elif draw < 0.3 and asset.rows:
                row = asset.rows[self.random.choice(sorted(asset.rows))]
                grown = row.position * self.random.randint(50, 180) / 100
                row.position = grown.quantize(D("1E-8"))
            elif draw < 0.34:
                self.crisis()

    def now(self) -> Truth:
        """The wallet at this poll: as it stands, with a little noise."""
        assets = {}
        for name, asset in self._assets.items():
            noise = D(self.random.randint(-(10**6), 10**6)).scaleb(-8)
            rows = {
                symbol: Row(row.position + abs(noise), row.orders)
                for symbol, row in asset.rows.items()
            }
            assets[name] = Asset(total=asset.total + noise, rows=rows, unlisted=asset.unlisted)
        return Truth(assets)

    def _amount(self, least: int, most: int) -> Decimal:
        return D(self.random.randint(least * 10**6, most * 10**6)).scaleb(-6)
