"""What the exchange says of its instruments: by which rates it takes a position away.

The mapping's text has the page's own shape, reduced to what is used of it: the same function reads
the page, a recorded line and the stored copy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from alerting.engine.feeds import INSTRUMENT_FIELDS
from alerting.engine.snapshot import PositionRow
from alerting.exchanges.coinswitch.rows import (
    data_of,
    name_of,
    object_in,
    object_of,
    refuse_many,
    wrong,
)
from alerting.exchanges.strict_json import amount, decode, loads, loads_marked, shown

_MOST_PERCENT = Decimal(100)


@dataclass(frozen=True, kw_only=True, slots=True)
class Instrument:
    """The rates of one symbol."""

    symbol: str
    #: of the position's value, in percent: above 0, at most 100
    maint_margin_rate: Decimal
    #: of the position's value, a fraction: 0 or more, less than 1
    liq_fee_rate: Decimal

    def __post_init__(self) -> None:
        """ValueError for rates that no instrument has: a wrong one would look like safety."""
        if not 0 < self.maint_margin_rate <= _MOST_PERCENT:
            raise ValueError(f"maint_margin_rate: {self.maint_margin_rate} is not 0 to 100 percent")
        if not 0 <= self.liq_fee_rate < 1:
            raise ValueError(f"liq_fee_rate: {self.liq_fee_rate} is not a fraction of 1")


#: symbol, as positions have it -> what is known of it
Instruments = Mapping[str, Instrument]


def parse_instruments(body: bytes) -> Instruments:
    """The body of an answer of the instruments page; AnswerError where it holds not one.

    An entry that is odd in any way is left out.
    """
    return instruments_from_object(loads_marked(decode(body)))


def instruments_from_object(obj: object) -> Instruments:
    """As `parse_instruments`, of an answer as `loads_marked` gives it."""
    data = data_of(object_of(obj))
    if not isinstance(data, dict):
        raise wrong(f"data: {shown(data)} is not an object")
    refuse_many("data", data)
    # a symbol that stands twice is one odd entry, and spoils no other
    found = {}
    for symbol, raw in data.items():
        try:
            found[symbol] = _instrument(symbol, raw)
        except ValueError:
            continue
    if not found:
        raise wrong("data: no instrument in it can be read")
    return found


def dump_instruments(instruments: Instruments) -> str:
    """The mapping as JSON in the page's shape, every digit kept."""
    data = {
        symbol: {name: f"{getattr(each, name):f}" for name in INSTRUMENT_FIELDS}
        for symbol, each in sorted(instruments.items())
    }
    return json.dumps({"data": data}, separators=(",", ":"))


def load_instruments(text: str) -> Instruments:
    """What `dump_instruments` wrote; AnswerError where anything at all in it is odd."""
    data = object_in(data_of(object_of(loads(text))), "data")
    refuse_many("data", data)
    try:
        return {symbol: _instrument(symbol, raw) for symbol, raw in data.items()}
    except ValueError as error:
        raise wrong(f"data: {error}") from None


def with_instruments(
    rows: Iterable[PositionRow], instruments: Instruments
) -> tuple[PositionRow, ...]:
    """The rows with the two rates of their symbols; those of a symbol unknown are as they were."""
    return tuple(_with_rates(row, instruments.get(row.symbol)) for row in rows)


def _with_rates(row: PositionRow, instrument: Instrument | None) -> PositionRow:
    if instrument is None:
        return row
    rates = {name: getattr(instrument, name) for name in INSTRUMENT_FIELDS}
    return replace(row, fields={**row.fields, **rates})


def _instrument(symbol: str, raw: object) -> Instrument:
    """One entry; ValueError for an odd one. Its own `symbol` is not the pair's: the key is."""
    name_of(symbol)
    if not isinstance(raw, dict):
        raise ValueError(f"{symbol}: no object")  # noqa: TRY004 - odd like all else
    rates = {}
    for name in INSTRUMENT_FIELDS:
        number = amount(raw.get(name))
        if number is None:
            raise ValueError(f"{symbol}: {name}: missing")
        rates[name] = number
    return Instrument(symbol=symbol, **rates)
