from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.exchanges.coinswitch.transactions import parse_transactions
from alerting.exchanges.strict_json import AnswerError
from tests.support.position_answers import fit_to_show, mutate, written


def row(kind, symbol="BTCUSDT", **more):
    return {
        "exchange": "EXCHANGE_2",
        "transaction_id": "1",
        "symbol": symbol,
        "type": kind,
        "quote_asset": "USDT",
        "amount": "-1.5",
        **more,
    }


def parse(*rows):
    return parse_transactions(json.dumps({"data": rows}).encode(), symbol="BTCUSDT")


@pytest.mark.parametrize("kind", ["LIQUIDATION_FEE", "liquidation fee", "Liquidation_Fee"])
def test_a_liquidations_fee_is_the_evidence_however_it_is_spelt(kind):
    assert parse(row("COMMISSION"), row(kind)) == (True, 2)


@pytest.mark.parametrize(
    "kind", ["FUNDING_FEE", "COMMISSION", "P&L", "ADD_MARGIN", "LIQUIDATION", "NO_LIQUIDATION_FEE"]
)
def test_nothing_else_is(kind):
    assert parse(row(kind)) == (False, 1)


def test_another_symbols_fee_is_none_and_case_is_no_matter():
    assert parse(row("LIQUIDATION_FEE", "ETHUSDT"))[0] is False
    assert parse(row("LIQUIDATION_FEE", "btcusdt"))[0] is True
    assert parse() == (False, 0)


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (7, "data[0]: 7 is not an object"),
        (row(None), "data[0]: null is not a text"),
        (row("LIQUIDATION_FEE", symbol=None), "data[0]: null is not a text"),
        ({}, "data[0]: null is not a text"),
    ],
)
def test_what_cannot_be_read_is_no_verdict_unless_the_evidence_stands_elsewhere(odd, said):
    with pytest.raises(AnswerError) as caught:
        parse(odd, row("COMMISSION"))
    assert str(caught.value) == said
    assert parse(odd, row("LIQUIDATION_FEE")) == (True, 2)


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        '{"data": null}',
        '{"data": {}}',
        '{"message": "There are no transactions"}',
        "[]",
        "",
        "<html>",
    ],
)
def test_what_is_no_list_is_no_verdict(body):
    with pytest.raises(AnswerError):
        parse_transactions(body.encode(), symbol="BTCUSDT")


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 2**32))
def test_spoilt_answers_never_make_a_liquidation_and_never_hide_one(seed):
    harmless = [row("COMMISSION"), row("FUNDING_FEE")]
    try:
        assert parse_transactions(mutate({"data": harmless}, seed), symbol="BTCUSDT")[0] is False
    except AnswerError as error:
        assert fit_to_show(str(error))
    body = mutate({"data": [*harmless, row("LIQUIDATION_FEE")]}, seed)
    try:
        found, _ = parse_transactions(body, symbol="BTCUSDT")
    except AnswerError:
        return
    # else its row is no fee of this symbol any more
    assert found or not any(is_the_fee(raw) for raw in written(body)["data"])


def is_the_fee(raw: object) -> bool:
    names = raw if isinstance(raw, dict) else {}
    return (names.get("type"), names.get("symbol")) == ("LIQUIDATION_FEE", "BTCUSDT")
