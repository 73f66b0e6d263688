"""The loopback exchange's positions, instruments and transactions, with the real one's quirks.

Positions are given by simple fields; what the exchange computes of them is computed here as the
exchange does it, wrong signs and scale included.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any, Final

from alerting.engine.snapshot import Side
from alerting.exchanges.coinswitch.pages import EXCHANGE, Endpoint
from alerting.exchanges.coinswitch.position_answers import NO_POSITIONS
from alerting.exchanges.coinswitch.transactions import FEE
from alerting.exchanges.strict_json import amount
from alerting.units import EXACT

#: The position of the exchange's documentation, by its simple fields.
DOCUMENTED_POSITION: Final[Mapping[str, Any]] = {
    "side": "LONG",
    "leverage": "25",
    "position_size": "65",
    "position_margin": "34.052117186199",
    "avg_entry_price": "0.38607",
    "mark_price": "0.38231",
    "last_price": "0.38135",
    "maint_margin_rate": "1.5",
    "liq_fee_rate": "0.0075",
}

_NEEDED = ("position_size", "avg_entry_price", "position_margin", "mark_price")
_RATES = ("maint_margin_rate", "liq_fee_rate")
_OPTIONAL = ("leverage", "last_price", *_RATES)
#: what the exchange takes where it is not said, and then keeps to itself
_HIDDEN_RATES = (Decimal("0.56"), Decimal("0.0075"))
#: how a request spells the type of a row
_FILTERS = {
    "commission": "COMMISSION",
    "P&L": "P&L",
    "funding fee": "FUNDING_FEE",
    "liquidation fee": FEE,
}
_MOST_TRANSACTIONS = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Position:
    symbol: str
    side: Side
    fields: Mapping[str, Decimal]

    @property
    def rates(self) -> tuple[Decimal, Decimal] | None:
        """The instrument's, where the position says them."""
        found = tuple(self.fields[name] for name in _RATES if name in self.fields)
        return (found[0], found[1]) if len(found) == 2 else None

    def row(self, rates: tuple[Decimal, Decimal]) -> dict[str, Any]:
        """The page's entry."""
        size, entry, margin, mark = (self.fields[name] for name in _NEEDED)
        maintenance, fee = rates
        with localcontext(EXACT):
            last = self.fields.get("last_price", mark)
            value = size * entry
            leverage = self.fields.get("leverage") or _leverage(value, margin)
            kept = margin - value * (maintenance / 100 + fee)
            liquidation = abs(entry - self.side.sign * kept / size) if size else Decimal(0)
            return {
                "exchange": EXCHANGE,
                "position_id": str(uuid.uuid5(uuid.NAMESPACE_OID, self.symbol)),
                "symbol": self.symbol,
                "position_side": self.side.value,
                "leverage": f"{leverage:f}",
                "position_size": f"{size:f}",
                "position_value": _short(value),
                "position_margin": f"{margin:f}",
                # in percent, as if it were an amount
                "maint_margin": _short(value * maintenance),
                "avg_entry_price": f"{entry:f}",
                "mark_price": f"{mark:f}",
                "last_price": f"{last:f}",
                # by the last price, and with its sign turned round
                "unrealised_pnl": _short(self.side.sign * (entry - last) * size),
                # without its sign
                "liquidation_price": _short(round(liquidation, 12)),
                "client_txn_id": str(uuid.UUID(int=0)),
                "margin_type": "ISOLATED",
                "status": "OPEN",
                "created_at": 1732617093684,
                "updated_at": 1732636761825,
            }


@dataclass(frozen=True, kw_only=True, slots=True)
class Transaction:
    """One row of the transactions page, and when it happened, which the page does not say."""

    symbol: str
    type: str
    amount: str = "0"
    at: datetime


class Market:
    """What three pages answer; each attribute can be set any time.

    `positions` is a mapping from symbol to simple fields, `instruments` one from symbol to its two
    rates; a position that says its own rates needs no entry there. ValueError says what is wrong.
    """

    def __init__(self) -> None:
        #: the positions page wants a symbol, as it is documented
        self.wants_symbol = False
        self.transactions: Sequence[Transaction] = ()
        self._positions: Mapping[str, _Position] = {}
        self._rates: Mapping[str, tuple[Decimal, Decimal]] = {}

    @property
    def positions(self) -> Mapping[str, Mapping[str, Any]]:
        """The open positions, by their simple fields."""
        return {
            symbol: {"side": each.side.value, **each.fields}
            for symbol, each in self._positions.items()
        }

    @positions.setter
    def positions(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        self._positions = {
            symbol.upper(): _position(symbol.upper(), fields)
            for symbol, fields in _mapping(found, "positions").items()
        }

    @property
    def instruments(self) -> Mapping[str, Mapping[str, Any]]:
        """The rates of each symbol, those of the positions left aside."""
        return {
            symbol: dict(zip(_RATES, each, strict=True)) for symbol, each in self._rates.items()
        }

    @instruments.setter
    def instruments(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        self._rates = {
            symbol.upper(): _rates(symbol, fields)
            for symbol, fields in _mapping(found, "instruments").items()
        }

    def liquidate(self, symbol: str, *, at: datetime) -> None:
        """The exchange takes a position away, and a fee for it."""
        taken = self._positions[symbol]
        self._positions = {name: p for name, p in self._positions.items() if name != symbol}
        fee = (taken.rates or _HIDDEN_RATES)[1]
        with localcontext(EXACT):
            paid = -taken.fields["position_size"] * taken.fields["avg_entry_price"] * fee
        row = Transaction(symbol=symbol, type=FEE, amount=_short(paid), at=at)
        self.transactions = [*self.transactions, row]

    def answer(self, endpoint: Endpoint, query: Mapping[str, str]) -> tuple[int, object]:
        """Status and body of one of the three pages."""
        if endpoint is Endpoint.INSTRUMENT_INFO:
            return 200, {"data": self._instrument_info()}
        exchange = query.get("exchange")
        if exchange is None or exchange.upper() != EXCHANGE:
            problem = "is missing" if exchange is None else "is not valid"
            return 422, {"message": f"Input exchange {problem}"}
        if endpoint is Endpoint.TRANSACTIONS:
            return 200, {"data": self._transaction_rows(query)}
        symbol = query.get("symbol", "").upper()
        if self.wants_symbol and not symbol:
            return 422, {"message": "Input symbol is missing"}
        rows = [
            each.row(each.rates or self._rates.get(name) or _HIDDEN_RATES)
            for name, each in self._positions.items()
            if symbol in {"", name}
        ]
        return 200, {"data": rows} if rows else {"message": NO_POSITIONS}

    def _instrument_info(self) -> dict[str, Any]:
        of_positions = {name: each.rates for name, each in self._positions.items() if each.rates}
        return {
            symbol: _instrument(symbol, *rates)
            for symbol, rates in sorted({**self._rates, **of_positions}.items())
        }

    def _transaction_rows(self, query: Mapping[str, str]) -> list[dict[str, str]]:
        symbol, kind = query.get("symbol", "").upper(), query.get("type")
        first = _EPOCH + timedelta(milliseconds=_whole(query.get("from_time"), 0))
        found = [
            _transaction_row(each)
            for each in self.transactions
            if symbol in {"", each.symbol}
            and each.at >= first
            and (kind is None or _FILTERS.get(kind) == each.type)
        ]
        return found[::-1][: _whole(query.get("limit"), _MOST_TRANSACTIONS)]


def _position(symbol: str, fields: object) -> _Position:
    where = f"positions.{symbol}"
    given = _mapping(fields, where)
    known = {"side", *_NEEDED, *_OPTIONAL}
    for key in given:
        if key not in known:
            raise ValueError(f"{where}.{key}: is no field here; allowed are {_listed(known)}")
    side = next((each for each in Side if each.value == given.get("side")), None)
    if side is None:
        raise ValueError(f"{where}.side: {given.get('side')!r} is not LONG or SHORT")
    numbers = {}
    for key in (*_NEEDED, *_OPTIONAL):
        number = _number(given.get(key), f"{where}.{key}")
        if number is not None:
            numbers[key] = number
        elif key in _NEEDED:
            raise ValueError(f"{where}.{key}: is missing; needed are side, {', '.join(_NEEDED)}")
    return _Position(symbol=symbol, side=side, fields=numbers)


def _rates(symbol: str, fields: object) -> tuple[Decimal, Decimal]:
    where = f"instruments.{symbol}"
    given = _mapping(fields, where)
    if set(given) != set(_RATES):
        raise ValueError(
            f"{where}: has {_listed(given) or 'nothing'}; needed are {_listed(_RATES)}"
        )
    first, second = (_number(given[key], f"{where}.{key}") for key in _RATES)
    if first is None or second is None:
        raise ValueError(f"{where}: null is not a number")
    return first, second


def _number(value: object, where: str) -> Decimal | None:
    plain = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    try:
        return amount(str(value) if plain else value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _leverage(value: Decimal, margin: Decimal) -> Decimal:
    """What was chosen when the position was opened, as far as one can tell."""
    return Decimal(max(1, round(value / margin))) if margin else Decimal(1)


def _mapping(found: object, where: str) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise ValueError(f"{where}: {found!r} is not a mapping")  # noqa: TRY004 - as all else
    for key in found:
        if not isinstance(key, str):
            raise ValueError(f"{where}: {key!r} is not a text")  # noqa: TRY004 - as all else
    return found


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _short(number: Decimal) -> str:
    """Without the zeros at the end that a product has."""
    return f"{number.normalize(EXACT):f}"


def _whole(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 14 else default


def _transaction_row(each: Transaction) -> dict[str, str]:
    return {
        "exchange": EXCHANGE,
        "transaction_id": str(uuid.uuid5(uuid.NAMESPACE_OID, repr(each))),
        "symbol": each.symbol,
        "type": each.type,
        "quote_asset": "USDT",
        "amount": each.amount,
    }


def _instrument(symbol: str, maint_margin_rate: Decimal, liq_fee_rate: Decimal) -> dict[str, Any]:
    """As the documentation prints BTCUSDT's, the odd types of its numbers included."""
    base = symbol.removesuffix("USDT").lower()
    return {
        # the base asset, not the pair
        "symbol": base,
        "base_asset": base,
        "quote_asset": "usdt",
        "status": "TRADING",
        "type": "PERPETUAL_FUTURES",
        "min_leverage": "1",
        "max_leverage": "25",
        "leverage_step": 1,
        "min_base_quantity": "0.001",
        "base_quantity_step_size": "0.001",
        "lot_size": "0.001",
        "quantity_precision": 3,
        "price_precision": 2,
        "tick_size": 1,
        "max_market_base_quantity": "119",
        "max_base_quantity": "952",
        "risk_limit": "1000000",
        "maint_margin_rate": f"{maint_margin_rate:f}",
        "taker_fee_rate": "0.00065",
        "maker_fee_rate": "0.00024",
        "liq_fee_rate": f"{liq_fee_rate:f}",
        "quote_asset_precision": 1,
    }
