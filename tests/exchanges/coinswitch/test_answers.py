from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.engine.feeds import SYMBOL_FIELDS, WALLET_FIELDS, Scope
from alerting.engine.integrity import flaws
from alerting.engine.snapshot import FailureKind, Snapshot
from alerting.exchanges.coinswitch.answers import (
    parse_server_time,
    parse_wallet,
    snapshot_from_object,
)
from alerting.exchanges.strict_json import AnswerError, loads_marked
from alerting.sandbox.exchange import DOCUMENTED_WALLET
from tests.support.broken_answers import (
    HEALTHY,
    NO_AMOUNTS,
    broken_answers,
    changed,
    flawed_answers,
    with_source,
)
from tests.support.faults import Fault

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOTAL = ("data", "base_asset_balances", 0, "balances", "total_balance")


def parse(body: bytes) -> Snapshot:
    return parse_wallet(body, account="main", observed_at=NOW)


def failure(body: bytes) -> AnswerError:
    with pytest.raises(AnswerError) as caught:
        parse(body)
    return caught.value


# ── what is a snapshot ──────────────────────────────────────────────────────


def test_documented_answer_keeps_every_digit():
    snapshot = parse(HEALTHY)
    assert snapshot.account == "main"
    assert snapshot.observed_at == NOW
    [wallet], [row] = snapshot.wallets, snapshot.symbols
    assert wallet.base_asset == "USDT"
    assert {name: str(value) for name, value in wallet.fields.items()} == {
        "total_balance": "60960.82599588",
        "total_available_balance": "60910.77418715",
        "total_blocked_balance": "50.05180873",
        "total_position_margin": "56.83032573",
        "total_open_order_margin": "-6.778517",
    }
    assert (row.symbol, row.base_asset, row.exchange) == ("DOGEUSDT", "USDT", "EXCHANGE_2")
    assert {name: f"{value:f}" for name, value in row.fields.items()} == {
        "blocked_balance": "50.04968529",
        "position_margin": "50.04959675",
        "open_order_margin": "0.00008854",
    }


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param('"0"', "0", id="zero"),
        pytest.param('"-0.00"', "0.00", id="negative zero is zero"),
        pytest.param('"0E-8"', "0E-8", id="zero with an exponent"),
        pytest.param('"100.6873"', "100.6873", id="few digits"),
        pytest.param(
            "60960.82599588000001234567890123",
            "60960.82599588000001234567890123",
            id="a JSON number with more digits than a float",
        ),
        pytest.param(
            "12345678901234567890123456789",
            "12345678901234567890123456789",
            id="a JSON integer beyond 64 bits",
        ),
        pytest.param("-6.778517", "-6.778517", id="a negative JSON number"),
        pytest.param("1.5e-7", "1.5E-7", id="a JSON number with an exponent"),
        pytest.param('"1E+30"', "1E+30", id="the largest exponent"),
        pytest.param(f'"{"9" * 30}.{"9" * 30}"', f"{'9' * 30}.{'9' * 30}", id="the longest number"),
    ],
)
def test_amounts_are_exact(source, expected):
    [wallet] = parse(with_source(TOTAL, source)).wallets
    assert str(wallet.fields["total_balance"]) == expected


@pytest.mark.parametrize("source", NO_AMOUNTS, ids=lambda source: source[:30])
def test_what_is_no_amount_is_no_field_or_no_json(source):
    body = with_source(TOTAL, source)
    try:
        snapshot = parse(body)
    except AnswerError as error:
        assert error.kind is FailureKind.NOT_JSON
        return
    assert set(snapshot.wallets[0].fields) == set(WALLET_FIELDS) - {"total_balance"}
    [flaw] = snapshot.flaws
    assert flaw.text.startswith("USDT: total_balance: ")
    assert len(flaw.text) < 250


@pytest.mark.parametrize("field", WALLET_FIELDS)
@pytest.mark.parametrize("how", ["missing", "null"])
def test_absent_balance_is_no_field(field, how):
    def drop(body):
        balances = body["data"]["base_asset_balances"][0]["balances"]
        balances[field] = None
        if how == "missing":
            del balances[field]

    [wallet] = parse(changed(drop)).wallets
    assert set(wallet.fields) == set(WALLET_FIELDS) - {field}


@pytest.mark.parametrize("field", SYMBOL_FIELDS)
@pytest.mark.parametrize("how", ["missing", "null"])
def test_absent_symbol_amount_is_no_field(field, how):
    def drop(body):
        row = body["data"]["asset"][0]
        row[field] = None
        if how == "missing":
            del row[field]

    [row] = parse(changed(drop)).symbols
    assert set(row.fields) == set(SYMBOL_FIELDS) - {field}


@pytest.mark.parametrize("how", ["missing", "null", "empty"])
def test_absent_asset_is_no_rows(how):
    def drop(body):
        body["data"]["asset"] = [] if how == "empty" else None
        if how == "missing":
            del body["data"]["asset"]

    snapshot = parse(changed(drop))
    assert snapshot.symbols == ()
    assert len(snapshot.wallets) == 1


def test_empty_list_of_wallets_is_a_snapshot_without_wallets():
    snapshot = parse(changed(lambda body: body["data"].update(base_asset_balances=[])))
    assert snapshot.wallets == ()


def test_several_settlement_assets_and_unknown_keys_are_read():
    def add(body):
        body["data"]["base_asset_balances"].append(
            {"base_asset": "INR", "balances": {"total_balance": "5", "new": [1]}, "new": {}}
        )
        body["data"]["asset"].append(
            {"symbol": "DOGEUSDT", "base_asset": "INR", "exchange": "EXCHANGE_2", "new": "x"}
        )
        body["new"] = float(1)

    snapshot = parse(changed(add))
    assert [wallet.base_asset for wallet in snapshot.wallets] == ["USDT", "INR"]
    assert [(row.symbol, row.base_asset, dict(row.fields)) for row in snapshot.symbols][1] == (
        "DOGEUSDT",
        "INR",
        {},
    )


def test_recorded_line_takes_the_same_way():
    line = b'{"at": "2026-01-01T00:00:00Z", "account": "main", "body": ' + HEALTHY + b"}"
    record = loads_marked(line.decode())
    assert isinstance(record, dict)
    assert snapshot_from_object(record["body"], account="main", observed_at=NOW) == parse(HEALTHY)


def test_floats_are_refused_for_they_have_lost_digits():
    body = json.loads(HEALTHY)
    body["data"]["base_asset_balances"][0]["balances"]["total_balance"] = 60960.82599588
    snapshot = snapshot_from_object(body, account="main", observed_at=NOW)
    assert "total_balance" not in snapshot.wallets[0].fields
    assert [flaw.text for flaw in snapshot.flaws] == ["USDT: total_balance: float is not a number"]


# ── what is none ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        pytest.param(
            with_source(TOTAL, "NaN"),
            FailureKind.NOT_JSON,
            "the answer is not JSON: it holds a bare NaN",
            id="bare NaN",
        ),
        pytest.param(
            with_source(("data", "base_asset_balances"), "{}"),
            FailureKind.WRONG_SHAPE,
            "data.base_asset_balances: an object is not a list",
            id="no list",
        ),
        pytest.param(
            b'{"data": {}}',
            FailureKind.WRONG_SHAPE,
            "data.base_asset_balances: missing",
            id="missing",
        ),
        pytest.param(
            with_source(("data", "base_asset_balances", 0, "balances"), "{}"),
            FailureKind.WRONG_SHAPE,
            "data.base_asset_balances: nothing in it can be read: "
            "USDT: balances: no known balance in it",
            id="no balance",
        ),
        pytest.param(
            with_source(("data", "base_asset_balances"), "[7, [], {}]"),
            FailureKind.WRONG_SHAPE,
            "data.base_asset_balances: nothing in it can be read: "
            "data.base_asset_balances[0]: 7 is not an object (and 2 more)",
            id="no row",
        ),
        pytest.param(
            b'{"data": {"x": 1, "x": 1, "base_asset_balances": []}}',
            FailureKind.WRONG_SHAPE,
            'the answer names "x" twice in one object',
            id="duplicate key of the data",
        ),
        pytest.param(
            b'{"data": 5}', FailureKind.WRONG_SHAPE, "data: 5 is not an object", id="data"
        ),
        pytest.param(
            b'{"data": 1, "data": 2}',
            FailureKind.WRONG_SHAPE,
            'the answer names "data" twice in one object',
            id="duplicate key",
        ),
        pytest.param(
            b'{"message": "There are\\u0007 no \\u202eopen Positions"}',
            FailureKind.WRONG_SHAPE,
            'the answer has no data: "There are no open Positions"',
            id="message",
        ),
        pytest.param(
            json.dumps({"message": "ab " * 100}).encode(),
            FailureKind.WRONG_SHAPE,
            f'the answer has no data: "{("ab " * 40)[:119]}…"',
            id="long message",
        ),
        pytest.param(
            with_source(("data", "asset"), f"[{','.join(['{}'] * 6000)}]"),
            FailureKind.WRONG_SHAPE,
            "data.asset: 6000 rows are more than 5000",
            id="too many symbol rows",
        ),
        pytest.param(
            with_source(("data", "base_asset_balances"), f"[{','.join(['{}'] * 6000)}]"),
            FailureKind.WRONG_SHAPE,
            "data.base_asset_balances: 6000 rows are more than 5000",
            id="too many wallets",
        ),
        pytest.param(
            b"[1]", FailureKind.WRONG_SHAPE, "the answer is a list, not an object", id="list"
        ),
        pytest.param(
            b"[" * 100_000, FailureKind.WRONG_SHAPE, "the answer is nested too deeply", id="nested"
        ),
        pytest.param(
            b" <!DOCTYPE html>",
            FailureKind.NOT_JSON,
            "the answer is an HTML page, not JSON",
            id="html",
        ),
        pytest.param(b"", FailureKind.NOT_JSON, "the answer is empty", id="empty"),
        pytest.param(
            b"\xff",
            FailureKind.NOT_JSON,
            "the answer is not JSON: no UTF-8 at byte 0",
            id="no text at all",
        ),
        pytest.param(
            b"Bad\x07 gateway",
            FailureKind.NOT_JSON,
            'the answer is not JSON (Expecting value at character 0): "Bad gateway"',
            id="plain text",
        ),
    ],
)
def test_errors_say_where_and_what(body, kind, text):
    error = failure(body)
    assert (error.kind, str(error)) == (kind, text)


ROW = {"base_asset": "USDT", "symbol": "DOGEUSDT", "exchange": "EXCHANGE_2"}


@pytest.mark.parametrize(
    ("path", "source", "text", "labels"),
    [
        pytest.param((), "7", "data.asset[0]: 7 is not an object", None, id="no-object"),
        pytest.param(("symbol",), "7", "data.asset[0].symbol: 7 is not a text", None, id="no-text"),
        pytest.param(
            ("symbol",),
            f'"{"x " * 33}"',
            f'data.asset[0].symbol: "{("x " * 30)[:59]}…" is not a name of 1 to 64 characters',
            None,
            id="long-name",
        ),
        pytest.param(
            (),
            '{"symbol": "DOGEUSDT"}',
            "data.asset[0].base_asset: missing; data.asset[0].exchange: missing",
            {"symbol": "DOGEUSDT"},
            id="half-a-name",
        ),
        pytest.param(
            ("exchange",),
            '""',
            'data.asset[0].exchange: "" is not a name of 1 to 64 characters',
            {"symbol": "DOGEUSDT", "base_asset": "USDT"},
            id="no-exchange",
        ),
    ],
)
def test_a_row_without_a_full_name_is_a_flaw_and_no_row(path, source, text, labels):
    snapshot = parse(with_source(("data", "asset", 0, *path), source))
    assert (len(snapshot.wallets), snapshot.symbols) == (1, ())
    [flaw] = snapshot.flaws
    assert (flaw.text, flaw.scope, flaw.labels) == (text, Scope.SYMBOL, labels)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        pytest.param('"NaN"', '"NaN" is not a number', id="no-number"),
        pytest.param('""', '"" is not a number', id="empty"),
        pytest.param("true", "true is not a number", id="boolean"),
        pytest.param("1e99", "1e99 is out of range", id="exponent"),
        pytest.param(f'"{"8" * 99}"', '"***" is not a number', id="what-may-be-a-key-is-masked"),
        pytest.param(
            f'"{"7 " * 99}"',
            f'"{("7 " * 30)[:59]}…" is not a number',
            id="long-values-are-shortened",
        ),
        pytest.param(
            '"1","blocked_balance":"1"', "something named twice is not a number", id="twice"
        ),
    ],
)
def test_a_number_that_cannot_be_read_is_a_flaw_of_its_row(source, text):
    snapshot = parse(with_source(("data", "asset", 0, "blocked_balance"), source))
    [row], [flaw] = snapshot.symbols, snapshot.flaws
    assert set(row.fields) == {"position_margin", "open_order_margin"}
    assert (flaw.text, flaw.scope) == (f"DOGEUSDT: blocked_balance: {text}", Scope.SYMBOL)
    assert flaw.labels == ROW


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        pytest.param('{"base_asset": "INR"}', ["INR: balances: missing"], id="no-balances"),
        pytest.param(
            '{"base_asset": "INR", "balances": 5}',
            ["INR: balances: 5 is not an object"],
            id="no-object",
        ),
        pytest.param(
            '{"base_asset": "INR", "balances": {"x": 1}}',
            ["INR: balances: no known balance in it"],
            id="no-balance",
        ),
        pytest.param("[]", ["data.base_asset_balances[1]: a list is not an object"], id="list"),
        pytest.param(
            '{"balances": {}}', ["data.base_asset_balances[1].base_asset: missing"], id="no-name"
        ),
    ],
)
def test_a_bad_settlement_row_leaves_the_others_alone(source, texts):
    body = with_source(("data", "base_asset_balances"), f"[@, {source}]")
    good = json.dumps(DOCUMENTED_WALLET["data"]["base_asset_balances"][0])
    snapshot = parse(body.replace(b"@", good.encode()))
    assert snapshot.wallets[0] == parse(HEALTHY).wallets[0]
    assert all(row.fields == {} for row in snapshot.wallets[1:])
    assert snapshot.symbols == parse(HEALTHY).symbols
    assert [flaw.text for flaw in snapshot.flaws] == texts


def test_a_list_of_rows_that_is_none_is_a_flaw_of_all_symbols():
    snapshot = parse(with_source(("data", "asset"), '"none"'))
    [flaw] = snapshot.flaws
    assert (flaw.text, flaw.labels) == ('data.asset: "none" is not a list', {})


def test_every_row_of_a_name_is_read():
    twice = parse(changed(lambda b: b["data"]["asset"].extend(b["data"]["asset"])))
    assert len(twice.symbols) == 2
    assert twice.flaws == ()  # the engine sees for itself


def test_answer_cut_at_any_length_is_none():
    for length in range(len(HEALTHY)):
        failure(HEALTHY[:length])


BROKEN_BODIES = [
    pytest.param(body, id=name)
    for name, status, headers, body in broken_answers()
    if status == 200
    and not isinstance(body, Fault)
    and headers == {"Content-Type": "application/json"}
    and name != "larger than allowed"  # its size is the client's business
]


@pytest.mark.parametrize("body", BROKEN_BODIES)
def test_broken_body_is_an_error_with_a_short_text(body):
    error = failure(body)
    assert error.kind in {FailureKind.NOT_JSON, FailureKind.WRONG_SHAPE}
    assert 0 < len(str(error)) < 300
    assert str(error).isprintable()


FLAWED_BODIES = [pytest.param(body, id=name) for name, _, _, body in flawed_answers()]


@pytest.mark.parametrize("body", FLAWED_BODIES)
def test_a_flawed_body_is_a_snapshot_with_a_short_text_for_each_flaw(body):
    snapshot = parse(body)
    found = flaws(snapshot, known_assets=frozenset(), tolerance=Decimal("0.000001"))
    # unknown keys of a row may stand in it twice, and texts may be any: those are no flaws
    assert found
    assert all(0 < len(flaw.text) < 400 and flaw.text.isprintable() for flaw in found)


def test_list_of_broken_answers_is_long_enough():
    assert len(broken_answers()) >= 150
    assert len(BROKEN_BODIES) >= 60


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_crash(body):
    failure(body)


@settings(max_examples=300)
@given(st.data())
def test_one_changed_byte_gives_no_wrong_number(data):
    at = data.draw(st.integers(0, len(HEALTHY) - 1))
    body = bytearray(HEALTHY)
    body[at] = data.draw(st.integers(0, 255))
    try:
        snapshot = parse(bytes(body))
    except AnswerError:
        return
    # then it is valid JSON, and each number is the very text that stands in it
    written = json.loads(bytes(body), parse_float=str, parse_int=str)["data"]
    for wallet, raw in zip(snapshot.wallets, written["base_asset_balances"], strict=True):
        balances = raw["balances"]
        assert {name: str(value) for name, value in wallet.fields.items()} == {
            name: str(Decimal(balances[name])) for name in wallet.fields
        }
        unread = [name for name in WALLET_FIELDS if name in balances and name not in wallet.fields]
        assert len([flaw for flaw in snapshot.flaws if flaw.scope is Scope.WALLET]) == len(unread)


# ── the rest ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            b'{"serverTime": 1719905777483}',
            datetime(2024, 7, 2, 7, 36, 17, 483000, UTC),
            id="number",
        ),
        pytest.param(
            b'{"serverTime": "1719905777483"}',
            datetime(2024, 7, 2, 7, 36, 17, 483000, UTC),
            id="text",
        ),
        pytest.param(b'{"serverTime": true}', None, id="boolean"),
        pytest.param(b'{"serverTime": 17199057774830000}', None, id="too long"),
        pytest.param(b'{"serverTime": -719905777483}', None, id="negative"),
        pytest.param(b'{"serverTime": 1.7e12}', None, id="exponent"),
        pytest.param(b'{"message": "x"}', None, id="absent"),
        pytest.param(b"[1719905777483]", None, id="list"),
        pytest.param(b"<html>", None, id="html"),
        pytest.param(b"\xff", None, id="no text"),
    ],
)
def test_server_time(body, expected):
    assert parse_server_time(body) == expected


def test_documented_wallet_is_what_the_documentation_prints():
    assert json.loads(HEALTHY) == DOCUMENTED_WALLET
