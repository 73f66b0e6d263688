"""Answers that are no reading of the wallet, and readings with flaws, made from a healthy one."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator

from alerting.engine.feeds import SYMBOL_FIELDS, WALLET_FIELDS
from alerting.sandbox.exchange import DOCUMENTED_WALLET, Special
from tests.support.faults import Fault

#: name, status, headers, body or what happens instead
BrokenAnswer = tuple[str, int, dict[str, str], bytes | Fault]

HEALTHY = json.dumps(DOCUMENTED_WALLET).encode()

# JSON source of values that are no amount
NO_AMOUNTS = [
    '"NaN"',
    '"Infinity"',
    '"-inf"',
    '"1_000"',
    '"１２３"',
    '"١٢٣"',
    '" 1"',
    '"1 "',
    '"1\\n"',
    '""',
    '"+1"',
    '"--1"',
    '"1,000"',
    '".5"',
    '"5."',
    '"0x10"',
    '"1e31"',
    '"1e-31"',
    '"1e999999"',
    '"1"  ""',
    "1e999",
    "NaN",
    "-Infinity",
    "01",
    "true",
    "false",
    "[]",
    '["1"]',
    "{}",
    '{"amount": "1"}',
    f'"{"9" * 31}"',
    f'"0.{"9" * 31}"',
    "9" * 5000,
    f'"{"9" * 100_000}"',
]
_NO_JSON = {'"1"  ""', "NaN", "-Infinity", "01"}
_FEW_NO_AMOUNTS = ['"NaN"', '"1_000"', '"１"', "true", "[]", "1e999"]

_HTML = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>"


def broken_answers() -> list[BrokenAnswer]:
    """At least 150 answers none of which may be taken for a snapshot.

    None of them makes the client wait before it asks again (no 429, no Retry-After); three are
    slow and last until the client's timeout: the ones named `fault ... hang` and `... drip ...`.
    """
    found = [
        *_cut(),
        *_amounts(),
        *_reshaped(),
        *_other_bodies(),
        *_statuses(),
        *_redirects(),
        *_faults(),
    ]
    assert len({name for name, *_ in found}) == len(found)
    return found


def flawed_answers() -> list[BrokenAnswer]:
    """Answers in which some rows cannot be read, or not be trusted, and the rest can."""
    found = [*_flawed_amounts(), *_flawed_rows()]
    assert len({name for name, *_ in found}) == len(found)
    return found


def as_script(broken: list[BrokenAnswer]) -> list[Special]:
    """The answers as LoopbackExchange.script takes them."""
    return [
        Special(status=status, headers=headers, answer=answer)
        for _, status, headers, answer in broken
    ]


def with_source(path: tuple[str | int, ...], source: str) -> bytes:
    """The healthy answer with one value replaced by JSON source, as it is."""
    marker = "@@marker@@"
    return changed(lambda body: _put(body, path, marker)).replace(
        f'"{marker}"'.encode(), source.encode()
    )


def changed(change: Callable[[dict], None]) -> bytes:
    """The healthy answer after a change."""
    body = copy.deepcopy(dict(DOCUMENTED_WALLET))
    change(body)
    return json.dumps(body).encode()


def _put(body, path, value) -> None:
    for step in path[:-1]:
        body = body[step]
    body[path[-1]] = value


def _pop(body, path) -> None:
    for step in path[:-1]:
        body = body[step]
    del body[path[-1]]


def _ok(name: str, body: bytes) -> BrokenAnswer:
    return name, 200, {"Content-Type": "application/json"}, body


def _cut() -> Iterator[BrokenAnswer]:
    for length in range(0, len(HEALTHY), len(HEALTHY) // 40):
        yield _ok(f"cut at {length}", HEALTHY[:length])
    yield _ok("cut by one", HEALTHY[:-1])


def _amounts() -> Iterator[BrokenAnswer]:
    """Where no balance at all can be read, nothing is known of the wallet."""
    wallet = ("data", "base_asset_balances", 0, "balances")
    for number, source in enumerate(NO_AMOUNTS):
        balances = ",".join(f'"{field}": {source}' for field in WALLET_FIELDS)
        yield _ok(f"balances {number}: {source[:20]}", with_source(wallet, f"{{{balances}}}"))
    # JSON has no such numbers
    for field in WALLET_FIELDS:
        for source in ("NaN", "-Infinity", "01", "+1", "1.", '"1"  ""'):
            yield _ok(f"{field} {source}", with_source((*wallet, field), source))
    for field in SYMBOL_FIELDS:
        for source in ("NaN", "Infinity", "0x1"):
            yield _ok(f"{field} {source}", with_source(("data", "asset", 0, field), source))


def _flawed_amounts() -> Iterator[BrokenAnswer]:
    wallet = ("data", "base_asset_balances", 0, "balances")
    for number, source in enumerate(NO_AMOUNTS):
        if source in _NO_JSON:
            continue
        yield _ok(f"total {number}: {source[:20]}", with_source((*wallet, "total_balance"), source))
    for field in WALLET_FIELDS[1:]:
        for source in _FEW_NO_AMOUNTS:
            yield _ok(f"{field} {source}", with_source((*wallet, field), source))
    for field in SYMBOL_FIELDS:
        for source in _FEW_NO_AMOUNTS:
            yield _ok(f"{field} {source}", with_source(("data", "asset", 0, field), source))


def _reshaped() -> Iterator[BrokenAnswer]:
    data, wallets = ("data",), ("data", "base_asset_balances")
    yield from _in_place_of(
        data, wallets, (*wallets, 0), (*wallets, 0, "balances"), (*wallets, 0, "base_asset")
    )
    yield _ok("balances empty", with_source((*wallets, 0, "balances"), "{}"))
    yield _ok("balances unknown", with_source((*wallets, 0, "balances"), '{"wallet_balance": "1"}'))
    yield _ok(
        "balances all null", with_source((*wallets, 0, "balances"), '{"total_balance": null}')
    )
    yield _ok("too many rows", with_source(wallets, f"[{','.join(['{}'] * 6000)}]"))


def _flawed_rows() -> Iterator[BrokenAnswer]:
    assets = ("data", "asset")
    row = (*assets, 0)
    yield from _in_place_of(row, (*row, "symbol"), (*row, "base_asset"), (*row, "exchange"))
    yield _ok("asset is an object", with_source(assets, "{}"))
    yield _ok("asset is a text", with_source(assets, '"none"'))
    yield _ok(
        "wallet twice",
        changed(
            lambda b: b["data"]["base_asset_balances"].extend(b["data"]["base_asset_balances"])
        ),
    )
    yield _ok("row twice", changed(lambda b: b["data"]["asset"].extend(b["data"]["asset"])))
    yield _ok(
        "duplicate total",
        HEALTHY.replace(b'"total_balance"', b'"total_balance": "1", "total_balance"'),
    )
    yield _ok("duplicate symbol", HEALTHY.replace(b'"symbol"', b'"symbol": "BTCUSDT", "symbol"'))


def _in_place_of(*places: tuple[str | int, ...]) -> Iterator[BrokenAnswer]:
    for place in places:
        where = ".".join(map(str, place))
        for source in ("null", "true", "5", "[[]]", '[{"a": 1}]'):
            yield _ok(f"{where} is {source}", with_source(place, source))
        if isinstance(place[-1], str):
            yield _ok(f"{where} is missing", changed(lambda body, at=place: _pop(body, at)))
        if place[-1] in {"base_asset", "symbol", "exchange"}:
            for source in ('""', '"  "', f'"{"x" * 65}"', '"a\\u0000b"', '"\\ud800"', "{}"):
                yield _ok(f"{where} is {source[:10]}", with_source(place, source))
        else:
            yield _ok(f"{where} is a text", with_source(place, '"text"'))


def _other_bodies() -> Iterator[BrokenAnswer]:
    bodies = {
        "blank": b"  \r\n",
        "html": _HTML,
        "null": b"null",
        "a list": b"[]",
        "a number": b"42",
        "a text": b'"ok"',
        "empty object": b"{}",
        "message only": b'{"message": "There are no open Positions"}',
        "data false": b'{"data": false}',
        "two documents": HEALTHY + HEALTHY,
        "trailing comma": HEALTHY[:-1] + b",}",
        "comment": b"/* */" + HEALTHY,
        "single quotes": HEALTHY.replace(b'"', b"'"),
        "duplicate data": b'{"data": {}, ' + HEALTHY[1:],
        "duplicate list": HEALTHY.replace(
            b'"base_asset_balances"', b'"base_asset_balances": [], "base_asset_balances"'
        ),
        "latin-1": HEALTHY.replace(b"DOGE", b"DOG\xc9"),
        "utf-16": HEALTHY.decode().encode("utf-16"),
        "byte order mark": b"\xef\xbb\xbf" + HEALTHY,
        "zero bytes": b"\0" * 100,
        "nested lists": b"[" * 100_000,
        "nested objects": b'{"data":' * 100_000,
        "nested and closed": b'{"data":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        "nested a little": b'{"data": {"base_asset_balances": ' + b"[" * 400 + b"]" * 400 + b"}}",
        "larger than allowed": HEALTHY[:-1] + b" " * (4 * 1024 * 1024) + b"}",
    }
    for name, body in bodies.items():
        yield _ok(name, body)
    yield "claims gzip", 200, {"Content-Encoding": "gzip"}, HEALTHY
    yield (
        "chunked without chunks",
        200,
        {"Transfer-Encoding": "chunked", "Connection": "close"},
        HEALTHY,
    )
    yield "longer than promised", 200, {"Content-Length": "50", "Connection": "close"}, HEALTHY


def _statuses() -> Iterator[BrokenAnswer]:
    for status in (
        201,
        202,
        203,
        206,
        300,
        304,
        400,
        401,
        402,
        403,
        404,
        405,
        408,
        409,
        410,
        418,
        422,
        451,
    ):
        # a good body does not make a good answer
        body = b"" if status == 304 else HEALTHY
        yield f"status {status}", status, {}, body
    for status in (400, 401, 403, 404, 500, 502, 503, 504, 520, 521, 522, 523, 524, 530):
        yield f"status {status} html", status, {"Content-Type": "text/html"}, _HTML
    for status in (400, 401, 403, 422, 500, 503):
        yield f"status {status} message", status, {}, b'{"message": "Input symbol is missing"}'
    yield "status 204", 204, {}, b""
    yield "status 599", 599, {}, HEALTHY
    yield "status 999", 999, {}, HEALTHY


def _redirects() -> Iterator[BrokenAnswer]:
    targets = {
        "elsewhere": "https://example.invalid/login?token=abc",
        "relative": "/login",
        "broken": "http://[::1",
        "no host": "http://",
        "script": "javascript:alert(1)",
        "itself": "/trade/api/v2/futures/wallet_balance",
    }
    for name, target in targets.items():
        for status in (301, 302, 307):
            yield f"redirect {status} {name}", status, {"Location": target}, HEALTHY


def _faults() -> Iterator[BrokenAnswer]:
    slow = {Fault.DRIP_ENDLESS}  # one drip of bodies is enough: each lasts a whole timeout
    for fault in Fault:
        if fault not in slow:
            yield f"fault {fault.value}", 200, {}, fault
