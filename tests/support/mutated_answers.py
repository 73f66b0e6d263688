"""Ways to spoil an answer: its keys and rows, its numbers, its bytes.

A mutation is a function of a random generator and the answer; given the same seed it spoils two
answers in the same way, so that it can last for several polls.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

D = Decimal
WALLET_FIELDS = (
    "total_balance",
    "total_available_balance",
    "total_blocked_balance",
    "total_position_margin",
    "total_open_order_margin",
)
ROW_FIELDS = ("blocked_balance", "position_margin", "open_order_margin")


class Source(str):
    """JSON source that is written as it is."""

    __slots__ = ()


class Twice:
    """An object with keys that stand twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


def encode(value: Any) -> str:
    """JSON, with what only a broken writer writes."""
    if isinstance(value, Source):
        return str(value)
    if isinstance(value, Twice):
        pairs = value.pairs
    elif isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        return f"[{','.join(map(encode, value))}]"
    else:
        return json.dumps(value)
    return "{" + ",".join(f"{json.dumps(key)}:{encode(each)}" for key, each in pairs) + "}"


# ── places in an answer ─────────────────────────────────────────────────────

#: the object or list, and the key or index in it
Place = tuple[Any, Any]


def _places(value: Any) -> Iterator[Place]:
    if isinstance(value, (dict, list)):
        inside = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in inside:
            yield value, key
            yield from _places(each)


def _place(rng: random.Random, body: Any) -> Place:
    """Any place; near the top as often as deep down, where nearly all of them are."""
    if rng.random() < 0.3:
        data = body["data"]
        return rng.choice([(body, "data"), (data, "asset"), (data, "base_asset_balances")])
    return rng.choice(list(_places(body)))


def _key(rng: random.Random, body: Any) -> Place:
    return rng.choice([place for place in _places(body) if isinstance(place[0], dict)])


def _number(rng: random.Random, body: Any) -> Place:
    known = {*WALLET_FIELDS, *ROW_FIELDS}
    return rng.choice([place for place in _places(body) if place[1] in known])


def _rows(rng: random.Random, body: Any) -> list[Any]:
    data = body["data"]
    return data["asset"] if rng.random() < 0.65 and data["asset"] else data["base_asset_balances"]


def _name(rng: random.Random, body: Any) -> Place:
    known = {"symbol", "base_asset", "exchange"}
    return rng.choice([place for place in _places(body) if place[1] in known])


# ── what may stand in a place ───────────────────────────────────────────────

_OTHER_TYPES = ("null", "true", "false", "[]", "{}", '""', '"abc"', "0", "-1", "[[]]", '{"a":1}')
_ODD_NUMBERS = (
    "NaN",
    "Infinity",
    "-Infinity",
    '"NaN"',
    '"-Infinity"',
    '"1e400"',
    "1e400",
    "1e30",
    '"1e-30"',
    '"１２３"',
    '"١٢٣"',
    '"1_000"',
    '"1,000.00"',
    '" 5"',
    '"5 "',
    '"0x10"',
    "01",
    "+1",
    ".5",
    '"-0"',
    '"0.0000000001"',
    f'"{"9" * 30}"',
    f'"{"9" * 31}"',
    f'"0.{"1" * 30}"',
    "9" * 6000,
    f'"{"9" * 100_000}"',
    "1" + "0" * 29,
    '"--5"',
    '"5\\u0000"',
    '"\\ud800"',
)
_ODD_NAMES = (
    "",
    " ",
    "btcusdt",
    "BTC\u202eUSDT",
    "ВТСUSDT",  # Cyrillic
    "BTCUSDT ",
    "x" * 64,
    "x" * 65,
    "x" * 100_000,
    "<b>BTC</b>",
    "@everyone",
    "{{ 7*7 }}",
    "a\nb",
    "\u0000",
    "\ud800",
    "🚀",
    "*",
    "USDT",
    "INR",
    "BTCUSDT",
)


def _as_decimal(value: Any) -> Decimal:
    try:
        return D(str(value))
    except InvalidOperation:
        return D(1)


# ── structure ───────────────────────────────────────────────────────────────


def _drop(rng: random.Random, body: Any) -> None:
    held, key = _place(rng, body)
    del held[key]


def _retype(rng: random.Random, body: Any) -> None:
    held, key = _place(rng, body)
    held[key] = Source(rng.choice(_OTHER_TYPES))


def _wrap(rng: random.Random, body: Any) -> None:
    held, key = _place(rng, body)
    held[key] = rng.choice([[held[key]], {"value": held[key]}, json.dumps(held[key])])


def _unwrap(rng: random.Random, body: Any) -> None:
    """What is deeper comes in place of what holds it."""
    held, key = _place(rng, body)
    if isinstance(held[key], (dict, list)) and held[key]:
        inside = held[key].values() if isinstance(held[key], dict) else held[key]
        held[key] = rng.choice(list(inside))


def _twice(rng: random.Random, body: Any) -> None:
    parents = [(held, key) for held, key in _places(body) if isinstance(held[key], dict)]
    held, key = rng.choice(parents)
    pairs = list(held[key].items())
    name, value = rng.choice(pairs)
    other = rng.choice([value, "1", None, {}, []])
    pairs.insert(rng.randrange(len(pairs) + 1), (name, other))
    held[key] = Twice(pairs)


def _empty(rng: random.Random, body: Any) -> None:
    """A list or object without anything in it, or as the other kind."""
    held, key = rng.choice([p for p in _places(body) if isinstance(p[0][p[1]], (dict, list))])
    held[key] = rng.choice([[], {}, None, ""])


def _as_object(rng: random.Random, body: Any) -> None:
    """A list as an object by number, an object as a list of its values."""
    held, key = rng.choice([p for p in _places(body) if isinstance(p[0][p[1]], (dict, list))])
    found = held[key]
    if isinstance(found, dict):
        held[key] = rng.choice([list(found.values()), [list(pair) for pair in found.items()]])
    else:
        held[key] = {str(number): each for number, each in enumerate(found)}


def _deep(rng: random.Random, body: Any) -> None:
    held, key = _place(rng, body)
    depth = rng.choice([50, 5_000, 100_000])
    held[key] = Source("[" * depth + "]" * depth)


def _many(rng: random.Random, body: Any) -> None:
    """Thousands of rows, empty, alike, or each of its own name."""
    rows, count = _rows(rng, body), rng.choice([200, 2_000, 4_000, 6_000])
    name = "symbol" if "symbol" in rows[0] else "base_asset"
    kind = rng.choice([{}, None, rows[0], "named"])
    if kind == "named":
        rows += [{**rows[0], name: f"{rows[0][name]}{number}"} for number in range(count)]
    else:
        rows += [copy.deepcopy(kind)] * count


def _more_keys(rng: random.Random, body: Any) -> None:
    held, _ = _key(rng, body)
    for number in range(rng.choice([1, 30])):
        held[f"{rng.choice(_ODD_NAMES[:9])}{number}"] = rng.choice([None, "1", [], {"a": "b"}])


# ── rows ────────────────────────────────────────────────────────────────────


def _drop_row(rng: random.Random, body: Any) -> None:
    rows = _rows(rng, body)
    del rows[rng.randrange(len(rows))]


def _drop_rows(rng: random.Random, body: Any) -> None:
    rows = _rows(rng, body)
    rows[:] = [row for row in rows if rng.random() < 0.4]


def _same_row(rng: random.Random, body: Any) -> None:
    """A row twice, the second perhaps with another number."""
    rows = _rows(rng, body)
    again = copy.deepcopy(rng.choice(rows))
    if rng.random() < 0.6:
        held, key = _number(rng, again)
        held[key] = rng.choice(["0", "1", held[key] + "1"])
    rows.insert(rng.randrange(len(rows) + 1), again)


def _shuffle(rng: random.Random, body: Any) -> None:
    rng.shuffle(_rows(rng, body))


def _strange_row(rng: random.Random, body: Any) -> None:
    """A row of a symbol that is not there, of a known asset or of none."""
    held, orders = D(rng.choice([0, 5, 80, 400, 5000])), D(rng.choice([0, 0, -3]))
    body["data"]["asset"].append(
        {
            "symbol": rng.choice(["NEWUSDT", "PEPEUSDT", "BTCUSDT", *_ODD_NAMES[:9]]),
            "base_asset": rng.choice(["USDT", "USDT", "INR", "EUR"]),
            "exchange": rng.choice(["EXCHANGE_2", "EXCHANGE_2", "EXCHANGE_3"]),
            "blocked_balance": str(held + orders),
            "position_margin": str(held),
            "open_order_margin": str(orders),
        }
    )


def _strange_asset(rng: random.Random, body: Any) -> None:
    """A settlement asset that appears, INR as a rule, whole or not."""
    total, held = D(rng.choice([0, 100, 50_000])), D(rng.choice([0, 30, 400]))
    balances = dict(zip(WALLET_FIELDS, map(str, (total, total - held, held, held, 0)), strict=True))
    if rng.random() < 0.3:
        balances[rng.choice(WALLET_FIELDS)] = "7"
    asset = rng.choice(["INR", "INR", "EUR", "usdt", "USDC"])
    body["data"]["base_asset_balances"].append({"base_asset": asset, "balances": balances})
    if rng.random() < 0.3:
        row = dict(zip(ROW_FIELDS, map(str, (held, held, 0)), strict=True))
        names = {"symbol": f"BTC{asset}", "base_asset": asset, "exchange": "EXCHANGE_2"}
        body["data"]["asset"].append({**names, **row})


def _rename(rng: random.Random, body: Any) -> None:
    held, key = _name(rng, body)
    held[key] = rng.choice(_ODD_NAMES)


def _rename_asset(rng: random.Random, body: Any) -> None:
    """An asset under another name, in its totals, in its rows, or in both."""
    places = [place for place in _places(body) if place[1] == "base_asset"]
    old = rng.choice(places)[0]["base_asset"]
    new, where = rng.choice(["USDC", "INR", "usdt", "USDT"]), rng.randrange(3)
    for held, key in places:
        in_totals = "balances" in held
        if held[key] == old and (where == 2 or in_totals == (where == 0)):
            held[key] = new


# ── numbers ─────────────────────────────────────────────────────────────────


def _odd_number(rng: random.Random, body: Any) -> None:
    held, key = _number(rng, body)
    held[key] = Source(rng.choice(_ODD_NUMBERS))


def _other_number(rng: random.Random, body: Any) -> None:
    """One number alone: a total, a part, a row's."""
    held, key = _number(rng, body)
    number = _as_decimal(held[key])
    factor = rng.choice(["0", "-1", "0.5", "1.001", "2", "1000", "0.000001"])
    held[key] = str(number * D(factor))


def _few_numbers(rng: random.Random, body: Any) -> None:
    for _ in range(rng.randint(2, 6)):
        _other_number(rng, body)


def _written_otherwise(rng: random.Random, body: Any) -> None:
    """The same number as a JSON number, with an exponent or with more zeros."""
    held, key = _number(rng, body)
    number = _as_decimal(held[key])
    text = rng.choice([f"{number:f}", f"{number:E}", f"{number:f}0" if "." in str(number) else "0"])
    held[key] = rng.choice([text, Source(text)])


def _exchange_numbers(rng: random.Random, body: Any) -> None:
    (held, key), (other, name) = _number(rng, body), _number(rng, body)
    held[key], other[name] = other[name], held[key]


def _without_numbers(rng: random.Random, body: Any) -> None:
    """A whole row of nulls or zeros."""
    row = rng.choice(_rows(rng, body))
    value = rng.choice([None, "0", "0", ""])
    for held, key in list(_places(row)):
        if key in {*WALLET_FIELDS, *ROW_FIELDS}:
            held[key] = value


def _totals_of_nothing(rng: random.Random, body: Any) -> None:
    """Totals as if nothing were locked, with the rows as they are."""
    balances = rng.choice(body["data"]["base_asset_balances"])["balances"]
    total = balances["total_balance"]
    balances.update(dict(zip(WALLET_FIELDS, (total, total, "0", "0", "0"), strict=True)))


# ── bytes ───────────────────────────────────────────────────────────────────


def _cut(rng: random.Random, text: bytes) -> bytes:
    return text[: rng.randrange(len(text))]


def _flip(rng: random.Random, text: bytes) -> bytes:
    spoilt = bytearray(text)
    for _ in range(rng.choice([1, 1, 1, 5])):
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def _digit(rng: random.Random, text: bytes) -> bytes:
    spoilt = bytearray(text)
    digits = [number for number, each in enumerate(text) if chr(each).isdigit()] or [0]
    spoilt[rng.choice(digits)] = rng.choice(b"0123456789.eE-+xO")
    return bytes(spoilt)


def _pushed_in(rng: random.Random, text: bytes) -> bytes:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice([b"\x00", b"\xff\xfe", b",", b"}", b'"', b"\n\n"]) + text[at:]


def _chunk_twice(rng: random.Random, text: bytes) -> bytes:
    first, last = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    return text[:last] + text[first:last] + text[last:]


def _chunk_lost(rng: random.Random, text: bytes) -> bytes:
    first = rng.randrange(len(text))
    return text[:first] + text[first + rng.randint(1, 80) :]


def _encoding(rng: random.Random, text: bytes) -> bytes:
    plain = text.decode("utf-8", "replace")
    encoding = rng.choice(["utf-16", "utf-32", "utf-8-sig", "utf-16-le", "cp037", "utf-7"])
    return plain.encode(encoding, "replace")


def _other_body(rng: random.Random, text: bytes) -> bytes:
    return rng.choice(
        [
            b"",
            b"null",
            b"[]",
            b"{}",
            b'"ok"',
            b"<html><title>Just a moment...</title></html>",
            b'{"message": "There are no open Positions"}',
            b'{"data": null, "message": "maintenance"}',
            b'{"data": {}}',
            text + text,
            text + b" {}",
            b"\n" * 20 + text + b"\r\n\t ",
            b")]}'\n" + text,
            text.replace(b":", b"="),
            text.replace(b'"', b"'"),
            text.upper(),
        ]
    )


#: of the object that an answer is
Change = Callable[[random.Random, Any], None]
STRUCTURAL: tuple[Change, ...] = (
    _drop,
    _drop,
    _retype,
    _retype,
    _wrap,
    _unwrap,
    _twice,
    _twice,
    _empty,
    _as_object,
    _deep,
    _many,
    _more_keys,
    _drop_row,
    _drop_row,
    _drop_row,
    _drop_rows,
    _same_row,
    _same_row,
    _shuffle,
    _strange_row,
    _strange_row,
    _strange_asset,
    _strange_asset,
    _rename,
    _rename,
    _rename_asset,
    _odd_number,
    _odd_number,
    _odd_number,
    _other_number,
    _other_number,
    _other_number,
    _few_numbers,
    _written_otherwise,
    _exchange_numbers,
    _without_numbers,
    _totals_of_nothing,
)
#: of its bytes
TEXTUAL: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _cut,
    _flip,
    _flip,
    _digit,
    _digit,
    _pushed_in,
    _chunk_twice,
    _chunk_lost,
    _encoding,
    _other_body,
)
# Of an answer that was spoilt once these find nothing to spoil.
_NOTHING_THERE = (KeyError, IndexError, TypeError, AttributeError, ValueError, InvalidOperation)


def mutate(body: Mapping[str, Any], seed: int) -> tuple[bytes, str]:
    """An answer, spoilt in one or a few ways, and what was done."""
    rng = random.Random(seed)
    spoilt = copy.deepcopy(dict(body))
    names = []
    for _ in range(rng.choice([0, 1, 1, 1, 1, 2, 3])):
        change = rng.choice(STRUCTURAL)
        try:
            change(rng, spoilt)
        except _NOTHING_THERE:
            continue
        names.append(change.__name__.strip("_"))
    text = encode(spoilt).encode("utf-8", "surrogatepass")
    if not names or rng.random() < 0.1:
        spoil = rng.choice(TEXTUAL)
        text = spoil(rng, text or b"{}")
        names.append(spoil.__name__.strip("_"))
    return text, "+".join(names)
