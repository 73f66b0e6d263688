"""An answer of the transactions page -> whose position the exchange took away.

A row has no time and its id is not its own; a row of a liquidation's fee is the one evidence.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from alerting.exchanges.coinswitch.rows import (
    data_of,
    list_in,
    name_of,
    object_of,
    wrong,
)
from alerting.exchanges.strict_json import AnswerError, decode, loads_marked, shown

#: a row's type. The same in a request is spelt as FEE_FILTER
FEE = "LIQUIDATION_FEE"
FEE_FILTER = "liquidation fee"


def parse_transactions(body: bytes, *, symbol: str) -> tuple[bool, int]:
    """Whether a symbol was liquidated by what these rows say, and how many rows there are.

    AnswerError where the answer is none, or where a row cannot be read and none is the evidence.
    """
    rows = list_in(data_of(object_of(loads_marked(decode(body)))), "data")
    problem: AnswerError | None = None
    for number, raw in enumerate(rows):
        try:
            if _is_fee_of(raw, symbol):
                return True, len(rows)
        except ValueError as error:
            problem = problem or wrong(f"data[{number}]: {error}")
    if problem is not None:
        raise problem
    return False, len(rows)


def as_answer(liquidated: Collection[str]) -> str:
    """Which symbols were liquidated, in the page's own shape, for a recording."""
    return json.dumps({"data": [{"symbol": symbol, "type": FEE} for symbol in sorted(liquidated)]})


def liquidated_in(obj: object) -> frozenset[str]:
    """The symbols that were liquidated by a recorded answer; AnswerError where it is none."""
    found = set()
    for number, raw in enumerate(list_in(data_of(object_of(obj)), "data")):
        try:
            kind, symbol = _read(raw)
        except ValueError as error:
            raise wrong(f"data[{number}]: {error}") from None
        if kind == FEE:
            found.add(symbol)
    return frozenset(found)


def _is_fee_of(raw: object, symbol: str) -> bool:
    kind, name = _read(raw)
    return kind == FEE and name.upper() == symbol.upper()


def _read(raw: object) -> tuple[str, str]:
    """A row's type, as FEE is spelt, and its symbol."""
    if not isinstance(raw, dict):
        raise ValueError(f"{shown(raw)} is not an object")  # noqa: TRY004 - as name_of() says it
    kind, name = (name_of(raw.get(key)) for key in ("type", "symbol"))
    return kind.upper().replace(" ", "_"), name
