"""An answer of the positions page -> a snapshot, nothing guessed and nothing repaired.

The page's own figures lose signs and scale; they go on as they stand, for whoever compares them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from alerting.engine.feeds import POSITION_FIELDS, REPORTED, Scope
from alerting.engine.snapshot import PositionRow, Side, Snapshot
from alerting.exchanges.coinswitch.pages import EXCHANGE
from alerting.exchanges.coinswitch.rows import (
    RowReader,
    data_of,
    list_in,
    object_of,
    summary,
    wrong,
)
from alerting.exchanges.strict_json import (
    Members,
    decode,
    dumps,
    loads_marked,
    loads_whole,
    shown,
)
from alerting.redaction import clean

#: what the page says, with status 200, where other pages have an empty list
NO_POSITIONS = "There are no open Positions"
#: the settlement assets that a symbol can end with
SETTLEMENT_ASSETS = ("USDT", "USDC", "INR")

_SCOPE = Scope.POSITION
_NAMES = ("symbol", "exchange")
_FIELDS = (*POSITION_FIELDS, *REPORTED.values())
#: field -> the one value for which what is computed of a position is right, and what if not
_EXPECTED = {
    "status": ("OPEN", "so it may be closed"),
    "margin_type": ("ISOLATED", "so its margin may not be all that stands for it"),
}


def parse_positions(body: bytes, *, account: str, observed_at: datetime) -> Snapshot:
    """The body of an answer of the positions page as a snapshot; AnswerError where it is none."""
    answer = loads_marked(decode(body))
    return positions_from_object(answer, account=account, observed_at=observed_at)


def positions_from_object(obj: object, *, account: str, observed_at: datetime) -> Snapshot:
    """An answer as `loads_marked` gives it as a snapshot; AnswerError where it is none.

    What cannot be read in a row is a flaw of the row. There are no rows only where the answer says
    so: by its own text, or by a list that is empty and has nothing beside it.
    """
    found = _found(object_of(obj))
    reader = _Reader()
    rows = tuple(reader.positions(found))
    if found and not rows:
        raise wrong(f"data: nothing in it can be read: {summary(reader.flaws)}")
    return Snapshot(
        account=account,
        feed="positions",
        observed_at=observed_at,
        positions=rows,
        flaws=tuple(reader.flaws),
    )


def settlement_asset(symbol: str) -> str:
    """The asset in which a symbol's profits are paid: the page names none, so its ending counts.

    USDT where the ending is none of SETTLEMENT_ASSETS: the exchange documents no other one.
    """
    return next((asset for asset in SETTLEMENT_ASSETS if symbol.upper().endswith(asset)), "USDT")


# ── several answers as one ──────────────────────────────────────────────────


def rows_of(text: str) -> list[object]:
    """The rows of an answer, as they were written; AnswerError where it has none to give."""
    found = _found(object_of(loads_marked(text)))
    answer = loads_whole(text)
    whole = dict(answer) if isinstance(answer, Members) else {}
    return list(whole["data"]) if found else []


def refused_row(symbol: str, said: str) -> object:
    """What stands for a symbol of which the exchange told nothing: a row that cannot be read."""
    return Members([("exchange", EXCHANGE), ("symbol", symbol), ("message", said)])


def merged(rows: Iterable[object]) -> str:
    """One answer, in the page's own shape, with all these rows."""
    found = list(rows)
    if not found:
        return dumps(Members([("message", NO_POSITIONS)]))
    return dumps(Members([("data", found)]))


def _found(answer: Mapping[str, object]) -> list[object]:
    """The answer's rows; AnswerError where it has none and does not say so."""
    data, message = answer.get("data"), answer.get("message")
    if not data and (data is None or isinstance(data, list)) and _says_none(message):
        return []
    rows = list_in(data_of(answer), "data")
    if not rows and message is not None:
        said = clean(message) if isinstance(message, str) else shown(message)
        raise wrong(f'data: no rows, but the message "{said}"')
    return rows


def _says_none(message: object) -> bool:
    """Whether this is the page's text, whatever its case, blanks and full stop; no other text is.

    A longer one may say why nothing can be told.
    """
    if not isinstance(message, str):
        return False
    return " ".join(message.split()).removesuffix(".").lower() == NO_POSITIONS.lower()


# ── rows ────────────────────────────────────────────────────────────────────


class _Reader(RowReader):
    """Reads the page's one list."""

    def positions(self, found: list[object]) -> Iterator[PositionRow]:
        """The rows that have a full name, a side included."""
        for where, raw in self.objects(found, "data", _SCOPE):
            row = self._position(raw, where)
            if row is not None:
                yield row

    def _position(self, raw: Mapping[str, object], where: str) -> PositionRow | None:
        names = self.names(raw, _NAMES, where, _SCOPE)
        if names is None:
            return None
        side = self._side(raw, **names)
        if side is None:
            return None
        labels = _labels(side=side, **names)
        subject = f"{names['symbol']} {side.value}"
        for key, (expected, doubt) in _EXPECTED.items():
            found = raw.get(key)
            if found is not None and found != expected:
                self.flaw(
                    f"{subject}: {key}: {shown(found)} is not {expected}, {doubt}", _SCOPE, labels
                )
        return PositionRow(
            **names,
            base_asset=labels["base_asset"],
            side=side,
            fields=self.amounts(raw, _FIELDS, subject, _SCOPE, labels),
        )

    def _side(self, raw: Mapping[str, object], symbol: str, exchange: str) -> Side | None:
        found = raw.get("position_side")
        side = next((each for each in Side if each.value == found), None)
        if side is None:
            message = raw.get("message")
            if found is None and isinstance(message, str):
                problem = clean(message)
            elif "position_side" not in raw:
                problem = "position_side: missing"
            else:
                problem = f"position_side: {shown(found)} is not LONG or SHORT"
            self.flaw(f"{symbol}: {problem}", _SCOPE, _labels(symbol, exchange))
        return side


def _labels(symbol: str, exchange: str, side: Side | None = None) -> dict[str, str]:
    labels = {
        "base_asset": settlement_asset(symbol),
        "symbol": symbol,
        "exchange": exchange,
    }
    return labels if side is None else {**labels, "side": side.value}
