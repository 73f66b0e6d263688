from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.engine.feeds import SYMBOL_FIELDS, WALLET_FIELDS
from alerting.engine.model import FailureKind, Snapshot
from alerting.exchanges.coinswitch import answers
from alerting.exchanges.coinswitch.answers import (
    parse_server_time,
    parse_wallet,
    snapshot_from_object,
)
from alerting.exchanges.strict_json import AnswerError, loads
from alerting.sandbox.exchange import DOCUMENTED_WALLET
from tests.support.broken_answers import HEALTHY, NO_AMOUNTS, broken_answers, changed, with_source
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
def test_what_is_no_amount_is_refused(source):
    error = failure(with_source(TOTAL, source))
    assert len(str(error)) < 250


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


def test_models_know_the_fields_that_rules_may_name():
    assert set(answers._Balances.model_fields) == set(WALLET_FIELDS)
    assert set(answers._Symbol.model_fields) - {"symbol", "base_asset", "exchange"} == set(
        SYMBOL_FIELDS
    )


def test_recorded_line_takes_the_same_way():
    line = b'{"at": "2026-01-01T00:00:00Z", "account": "main", "body": ' + HEALTHY + b"}"
    record = loads(line.decode())
    assert isinstance(record, dict)
    assert snapshot_from_object(record["body"], account="main", observed_at=NOW) == parse(HEALTHY)


def test_floats_are_refused_for_they_have_lost_digits():
    body = json.loads(HEALTHY)
    body["data"]["base_asset_balances"][0]["balances"]["total_balance"] = 60960.82599588
    with pytest.raises(AnswerError):
        snapshot_from_object(body, account="main", observed_at=NOW)


# ── what is none ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        pytest.param(
            with_source(TOTAL, '"NaN"'),
            FailureKind.WRONG_SHAPE,
            'data.base_asset_balances[0].balances.total_balance: "NaN" is not a number',
            id="no number",
        ),
        pytest.param(
            with_source(TOTAL, "NaN"),
            FailureKind.NOT_JSON,
            "the answer is not JSON: it holds a bare NaN",
            id="bare NaN",
        ),
        pytest.param(
            with_source(TOTAL, "true"),
            FailureKind.WRONG_SHAPE,
            "data.base_asset_balances[0].balances.total_balance: true is not a number",
            id="boolean",
        ),
        pytest.param(
            with_source(TOTAL, "1e99"),
            FailureKind.WRONG_SHAPE,
            "data.base_asset_balances[0].balances.total_balance: 1e99 is out of range",
            id="exponent",
        ),
        pytest.param(
            with_source(TOTAL, f'"{"8" * 99}"'),
            FailureKind.WRONG_SHAPE,
            'data.base_asset_balances[0].balances.total_balance: "***" is not a number',
            id="what may be a key is masked",
        ),
        pytest.param(
            with_source(TOTAL, f'"{"7 " * 99}"'),
            FailureKind.WRONG_SHAPE,
            f'data.base_asset_balances[0].balances.total_balance: "{("7 " * 30)[:59]}…" is not a number',
            id="long values are shortened",
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
            "data.base_asset_balances[0].balances: no known balance in it",
            id="no balance",
        ),
        pytest.param(
            with_source(("data", "asset", 0), "7"),
            FailureKind.WRONG_SHAPE,
            "data.asset[0]: 7 is not an object",
            id="no object",
        ),
        pytest.param(
            with_source(("data", "asset", 0, "symbol"), "7"),
            FailureKind.WRONG_SHAPE,
            "data.asset[0].symbol: 7 is not a text",
            id="no text",
        ),
        pytest.param(
            with_source(("data", "asset", 0), '{"symbol": "A"}'),
            FailureKind.WRONG_SHAPE,
            "data.asset[0].base_asset: missing (and 1 more)",
            id="two missing",
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


def test_twins_are_named():
    twice = changed(lambda b: b["data"]["asset"].extend(b["data"]["asset"]))
    assert str(failure(twice)) == "data.asset: two rows of DOGEUSDT/USDT/EXCHANGE_2"
    wallets = changed(
        lambda b: b["data"]["base_asset_balances"].extend(b["data"]["base_asset_balances"])
    )
    assert str(failure(wallets)) == "data.base_asset_balances: two rows of USDT"


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
        assert dict(wallet.fields) == {
            name: Decimal(raw["balances"][name])
            for name in WALLET_FIELDS
            if name in raw["balances"]
        }


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
