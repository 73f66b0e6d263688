"""The documented answer of the positions page, and ways to spoil it and its sisters."""

from __future__ import annotations

import copy
import json
import random
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from tests.support import mutated_answers as odd

#: The example of the exchange's documentation, to the last digit.
DOCUMENTED: Mapping[str, Any] = {
    "data": [
        {
            "exchange": "EXCHANGE_2",
            "position_id": "0193a6e0-5f5e-7a0c-b9b1-2f0d9c5c1d11",
            "symbol": "DOGEUSDT",
            "position_side": "LONG",
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
            "client_txn_id": "00000000-0000-0000-0000-000000000000",
            "margin_type": "ISOLATED",
            "status": "OPEN",
            "created_at": 1732617093684,
            "updated_at": 1732636761825,
        }
    ]
}
#: The same position after 16 USDT more margin, in the documentation of that request.
WITH_MARGIN_ADDED: Mapping[str, Any] = {
    "data": [
        {
            **{
                key: value
                for key, value in DOCUMENTED["data"][0].items()
                if key not in {"client_txn_id", "margin_type"}
            },
            "position_margin": "50.052117186199",
            "mark_price": "0.38694",
            "last_price": "0.38677",
            "unrealised_pnl": "-0.0455",
            "liquidation_price": "-0.3752759970953692",
        }
    ]
}
HEALTHY = json.dumps(DOCUMENTED).encode()


def changed(change: Callable[[dict[str, Any]], object], body: Mapping[str, Any] = DOCUMENTED):
    """The documented answer after a change of its first row."""
    spoilt = copy.deepcopy(dict(body))
    change(spoilt["data"][0])
    return odd.encode(spoilt).encode("utf-8", "surrogatepass")


def with_source(key: str, source: str) -> bytes:
    """The documented answer with one value of its row replaced by JSON source, as it is."""
    return changed(lambda row: row.update({key: odd.Source(source)}))


# ── any page, spoilt ────────────────────────────────────────────────────────


def _drop(rng, held, key):
    del held[key]


def _other(rng, held, key):
    held[key] = odd.Source(rng.choice(odd._OTHER_TYPES))


def _number(rng, held, key):
    held[key] = odd.Source(rng.choice(odd._ODD_NUMBERS))


def _name(rng, held, key):
    held[key] = rng.choice(odd._ODD_NAMES)


def _wrap(rng, held, key):
    held[key] = rng.choice([[held[key]], {"value": held[key]}, odd.encode(held[key])])


def _twice(rng, held, key):
    if isinstance(held[key], dict) and held[key]:
        pairs = list(held[key].items())
        name, value = rng.choice(pairs)
        pairs.insert(rng.randrange(len(pairs) + 1), (name, rng.choice([value, "1", None, {}])))
        held[key] = odd.Twice(pairs)


def _again(rng, held, key):
    if isinstance(held, list):
        held.append(copy.deepcopy(held[key]))


def _deep(rng, held, key):
    depth = rng.choice([50, 100_000])
    held[key] = odd.Source("[" * depth + "]" * depth)


_CHANGES = (_drop, _drop, _other, _other, _number, _number, _name, _wrap, _twice, _again, _deep)


def mutate(body: Mapping[str, Any], seed: int) -> bytes:
    """An answer of any page, spoilt in one or a few ways."""
    rng = random.Random(seed)
    spoilt = copy.deepcopy(dict(body))
    changes = rng.choice([0, 1, 1, 1, 2, 3])
    for _ in range(changes):
        places = [place for place in odd._places(spoilt) if isinstance(place[0], (dict, list))]
        if places:
            held, key = rng.choice(places)
            rng.choice(_CHANGES)(rng, held, key)
    text = odd.encode(spoilt).encode("utf-8", "surrogatepass")
    if not changes or rng.random() < 0.1:
        text = rng.choice(odd.TEXTUAL)(rng, text or b"{}")
    return text


# ── an independent reading ──────────────────────────────────────────────────


def fit_to_show(text: str) -> bool:
    """Short, and without a character that a terminal would obey."""
    return 0 < len(text) < 500 and all(unicodedata.category(each)[0] != "C" for each in text)


def _strict(text):
    raise ValueError(text)


def written(body: bytes) -> Any:
    """Numbers as their texts, an object that names a key twice as pairs."""
    return json.loads(
        body, parse_int=str, parse_float=str, parse_constant=_strict, object_pairs_hook=_pairs
    )


def _pairs(found):
    known = dict(found)
    return known if len(known) == len(found) else {"twice": found}
