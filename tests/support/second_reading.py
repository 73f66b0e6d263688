"""A second reading of an answer, written from the contract, to hold the program's own against it.

It says of each asset and row whether the answer is flawed there, by section 3's table, or whether
it tells a consistent lie: numbers that can all be read, that agree with each other, and that are
not the true ones. Nobody could tell a lie from the truth, so what follows from one is no fault.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.support.mutated_answers import ROW_FIELDS, WALLET_FIELDS
from tests.support.truths import EXCHANGE, JUDGED, Asset, Key, Truth

TOLERANCE = Decimal("0.000001")
_AMOUNT = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_SUMS = {
    WALLET_FIELDS: (WALLET_FIELDS[:3], WALLET_FIELDS[2:]),
    ROW_FIELDS: (ROW_FIELDS,),
}

Fields = dict[str, Decimal]


class _Number(str):
    __slots__ = ()


class _Unknown:
    """What a key has that stands twice."""


@dataclass
class Reading:
    """What an answer says; a value of None: it is there, and flawed."""

    totals: dict[str, Fields | None] = field(default_factory=dict)
    rows: dict[Key, Fields | None] = field(default_factory=dict)
    #: something in it belongs to nobody that can be named
    nameless: bool = False

    # ── against the truth ───────────────────────────────────────────────────

    def lying_totals(self, asset: str, truth: Asset) -> bool:
        found = self.totals.get(asset)
        return found is not None and found != truth.fields()

    def lying_rows(self, asset: str, truth: Asset) -> bool:
        """Rows that nobody can doubt are there though they are not so, or not at all."""
        return any(
            fields is not None and (key[2] != EXCHANGE or fields != _true_fields(truth, key[1]))
            for key, fields in self.rows.items()
            if key[0] == asset
        )

    def lies_about(self, rule: str, key: Key, truth: Truth) -> bool:
        """A value of the rule that follows from this answer may be another one, unnoticed."""
        asset = truth.assets[key[0]]
        if self.lying_totals(key[0], asset):
            return True
        if JUDGED[rule].per_symbol:
            found = self.rows.get(key)
            return found is not None and found != asset.rows[key[1]].fields()
        return JUDGED[rule].of_rows and self.lying_rows(key[0], asset)

    def may_hide(self, key: Key, truth: Truth) -> bool:
        """The row may seem closed: its margin is not in the totals, or stands under another name."""
        asset = truth.assets[key[0]]
        strange = any(
            found[0] == key[0] and (found[2] != EXCHANGE or found[1] not in asset.rows)
            for found in self.rows
        )
        return strange or self.lying_totals(key[0], asset) or self.lying_rows(key[0], asset)

    def flawed(self, truth: Truth, before: Truth | None) -> str | None:
        """What must be told as suspect; `before` is the truth of an answer just before, unspoilt."""
        if self.nameless:
            return "something in it has no name"
        for key, fields in self.rows.items():
            if fields is None:
                return f"{key[1]}: cannot be read, or does not agree"
        for asset, there in truth.assets.items():
            if self.totals.get(asset) is None:
                return f"{asset}: no totals, or none that agree"
            if not self.may_hide((asset, "", ""), truth) and before is not None:
                for symbol in there.rows:
                    was = before.assets[asset].rows.get(symbol)
                    absent = (asset, symbol, EXCHANGE) not in self.rows
                    if absent and was is not None and was.fields() != {}:
                        return f"{symbol}: missing, its margin is in the totals"
        return next((f"{name}: its totals" for name, f in self.totals.items() if f is None), None)


def _true_fields(truth: Asset, symbol: str) -> Fields | None:
    return truth.rows[symbol].fields() if symbol in truth.rows else None


def read(body: bytes) -> Reading | None:
    """The answer; None: it is no reading of the wallet at all."""
    try:
        answer = json.loads(
            body.decode("utf-8"),
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_refuse,
            object_pairs_hook=_pairs,
        )
    except (ValueError, RecursionError):
        return None
    data = answer.get("data") if isinstance(answer, dict) else None
    wallets = data.get("base_asset_balances") if isinstance(data, dict) else None
    if not isinstance(wallets, list):
        return None
    reading = Reading()
    for each in wallets:
        _take_wallet(reading, each)
    rows = data.get("asset")
    for each in rows if isinstance(rows, list) else []:
        _take_row(reading, each)
    reading.nameless |= rows is not None and not isinstance(rows, list)
    return reading


def _take_wallet(reading: Reading, raw: Any) -> None:
    names = _names(raw, ("base_asset",))
    if names is None:
        reading.nameless = True
        return
    again = names[0] in reading.totals
    fields = _fields(raw.get("balances"), WALLET_FIELDS)
    reading.totals[names[0]] = None if again else fields


def _take_row(reading: Reading, raw: Any) -> None:
    names = _names(raw, ("base_asset", "symbol", "exchange"))
    if names is None:
        reading.nameless = True
        return
    reading.rows[names] = None if names in reading.rows else _fields(raw, ROW_FIELDS)


def _names(raw: Any, wanted: tuple[str, ...]) -> tuple[str, ...] | None:
    if not isinstance(raw, dict):
        return None
    names = tuple(raw.get(name) for name in wanted)
    good = all(type(n) is str and n.strip() and len(n) <= 64 and n.isprintable() for n in names)
    return names if good else None


def _fields(raw: Any, wanted: tuple[str, ...]) -> Fields | None:
    if not isinstance(raw, dict):
        return None
    found = {}
    for name in wanted:
        value = raw.get(name)
        if not isinstance(value, str) or len(value) > 70 or not _AMOUNT.fullmatch(value):
            return None
        found[name] = Decimal(value)
        if found[name] and abs(found[name].adjusted()) > 31:
            return None
    for whole, first, second in _SUMS[wanted]:
        if abs(found[whole] - found[first] - found[second]) > TOLERANCE:
            return None
    return found


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    names = [name for name, _ in pairs]
    for name in found:
        if names.count(name) > 1:
            found[name] = _Unknown()
    return found


def _refuse(name: str) -> None:
    raise ValueError(name)
