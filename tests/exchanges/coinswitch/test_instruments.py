from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.engine.snapshot import FailureKind, PositionRow, Side
from alerting.exchanges.coinswitch.instruments import (
    Instrument,
    dump_instruments,
    instruments_from_object,
    load_instruments,
    parse_instruments,
    with_instruments,
)
from alerting.exchanges.coinswitch.pages import Endpoint
from alerting.exchanges.coinswitch.position_answers import parse_positions
from alerting.exchanges.strict_json import AnswerError, loads_marked
from alerting.sandbox.market import Market
from tests.support.broken_answers import NO_AMOUNTS
from tests.support.mutated_answers import Source, encode
from tests.support.position_answers import HEALTHY, fit_to_show, mutate, written

D = Decimal
#: as the documentation prints it
BTC = {
    "symbol": "btc",
    "base_asset": "btc",
    "quote_asset": "usdt",
    "status": "TRADING",
    "leverage_step": 1,
    "maint_margin_rate": "0.56",
    "taker_fee_rate": "0.00065",
    "liq_fee_rate": "0.0075",
    "quote_asset_precision": 1,
}
DOGE = {"maint_margin_rate": 1.5, "liq_fee_rate": 0.0075}
PAGE = {"data": {"BTCUSDT": BTC, "DOGEUSDT": DOGE}}
KNOWN = {
    "BTCUSDT": Instrument(symbol="BTCUSDT", maint_margin_rate=D("0.56"), liq_fee_rate=D("0.0075")),
    "DOGEUSDT": Instrument(symbol="DOGEUSDT", maint_margin_rate=D("1.5"), liq_fee_rate=D("0.0075")),
}


def parse(page):
    return parse_instruments(encode(page).encode())


def test_the_page_is_keyed_by_the_pair_whatever_its_entries_call_themselves():
    assert parse(PAGE) == KNOWN
    assert instruments_from_object(loads_marked(json.dumps(PAGE))) == KNOWN


ODD_ENTRIES = [
    pytest.param(Source("null"), id="null"),
    pytest.param([], id="list"),
    pytest.param("x", id="text"),
    pytest.param({}, id="empty"),
    pytest.param({**BTC, "liq_fee_rate": None}, id="no fee"),
    pytest.param({"liq_fee_rate": "0.0075"}, id="no rate"),
    *(
        pytest.param({**BTC, name: Source(source)}, id=f"{name} {source[:20]}")
        for name in ("maint_margin_rate", "liq_fee_rate")
        for source in [*NO_AMOUNTS, '"-0.5"']
        if source not in {'"1"  ""', "NaN", "-Infinity", "01"}
    ),
    pytest.param({**BTC, "maint_margin_rate": "0"}, id="a rate of nothing"),
    pytest.param({**BTC, "maint_margin_rate": "100.1"}, id="more than all"),
    pytest.param({**BTC, "liq_fee_rate": "1"}, id="a fee of all"),
]


@pytest.mark.parametrize("entry", ODD_ENTRIES)
def test_an_odd_entry_is_left_out_and_harms_no_other(entry):
    assert parse({"data": {"BTCUSDT": entry, "DOGEUSDT": DOGE}}) == {"DOGEUSDT": KNOWN["DOGEUSDT"]}


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\nb"])
def test_an_odd_name_is_left_out(name):
    assert parse({"data": {name: BTC, "DOGEUSDT": DOGE}}) == {"DOGEUSDT": KNOWN["DOGEUSDT"]}


def test_a_symbol_that_stands_twice_is_left_out():
    both = f'"BTCUSDT": {json.dumps(BTC)}, "BTCUSDT": {json.dumps(DOGE)}'
    text = f'{{"data": {{{both}, "DOGEUSDT": {json.dumps(DOGE)}}}}}'
    assert parse_instruments(text.encode()) == {"DOGEUSDT": KNOWN["DOGEUSDT"]}


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ("{}", FailureKind.WRONG_SHAPE, "the answer has no data"),
        ('{"data": null}', FailureKind.WRONG_SHAPE, "the answer has no data"),
        ('{"data": []}', FailureKind.WRONG_SHAPE, "data: a list is not an object"),
        ('{"data": {}}', FailureKind.WRONG_SHAPE, "data: no instrument in it can be read"),
        ('{"data": {"X": 1}}', FailureKind.WRONG_SHAPE, "data: no instrument in it can be read"),
        ("<html>", FailureKind.NOT_JSON, "the answer is an HTML page, not JSON"),
        (
            json.dumps({"data": {f"X{n}": 1 for n in range(6000)}}),
            FailureKind.WRONG_SHAPE,
            "data: 6000 rows are more than 5000",
        ),
    ],
)
def test_what_holds_no_instrument_is_no_answer(body, kind, text):
    with pytest.raises(AnswerError) as caught:
        parse_instruments(body.encode())
    assert (caught.value.kind, str(caught.value)) == (kind, text)


# ── the stored copy ─────────────────────────────────────────────────────────

RATES = st.decimals(D("0.000000000001"), 100, places=12)
FEES = st.decimals(0, D("0.999"), places=9)


@given(st.dictionaries(st.text("ABCUSDT0", min_size=1, max_size=9), st.tuples(RATES, FEES)))
def test_the_stored_copy_keeps_every_digit(rates):
    instruments = {
        symbol: Instrument(symbol=symbol, maint_margin_rate=rate, liq_fee_rate=fee)
        for symbol, (rate, fee) in rates.items()
    }
    text = dump_instruments(instruments)
    assert load_instruments(text) == instruments
    if instruments:
        # it has the page's own shape: a recorded one is read as the page is
        assert parse_instruments(text.encode()) == instruments


def test_the_stored_copy_is_a_fraction_of_the_page():
    assert json.loads(dump_instruments(KNOWN)) == {
        "data": {
            "BTCUSDT": {"maint_margin_rate": "0.56", "liq_fee_rate": "0.0075"},
            "DOGEUSDT": {"maint_margin_rate": "1.5", "liq_fee_rate": "0.0075"},
        }
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the answer is empty"),
        ("[]", "the answer is a list, not an object"),
        ("{}", "the answer has no data"),
        ('{"data": []}', "data: a list is not an object"),
        ('{"data": {"BTCUSDT": 5}}', "data: BTCUSDT: no object"),
        (
            '{"data": {"BTCUSDT": {"maint_margin_rate": "0.56"}}}',
            "data: BTCUSDT: liq_fee_rate: missing",
        ),
        (
            '{"data": {"B": {"maint_margin_rate": "0", "liq_fee_rate": "0.1"}}}',
            "data: maint_margin_rate: 0 is not 0 to 100 percent",
        ),
        (
            '{"data": {"B": {"maint_margin_rate": "1", "liq_fee_rate": "0.1"}, "B": 1}}',
            'the answer names "B" twice in one object',
        ),
    ],
)
def test_a_stored_copy_that_is_odd_anywhere_is_refused(text, said):
    with pytest.raises(AnswerError) as caught:
        load_instruments(text)
    assert str(caught.value) == said


# ── into the positions ──────────────────────────────────────────────────────


def test_rates_join_the_rows_of_their_symbols():
    [row] = parse_positions(
        HEALTHY, account="main", observed_at=datetime(2026, 1, 1, tzinfo=UTC)
    ).positions
    other = PositionRow(
        symbol="XUSDT", base_asset="USDT", exchange="EXCHANGE_2", side=Side.SHORT, fields={}
    )
    joined, same = with_instruments((row, other), KNOWN)
    rates = {"maint_margin_rate": D("1.5"), "liq_fee_rate": D("0.0075")}
    assert joined == replace(row, fields={**row.fields, **rates})
    assert same == other
    assert "maint_margin_rate" not in row.fields


def test_the_loopback_exchange_writes_the_page_as_documented():
    market = Market()
    market.instruments = {"BTCUSDT": {"maint_margin_rate": "0.56", "liq_fee_rate": "0.0075"}}
    _, page = market.answer(Endpoint.INSTRUMENT_INFO, {})
    entry = page["data"]["BTCUSDT"]
    assert {key: entry[key] for key in BTC} == {**BTC, "symbol": "btc"}


# ── whatever comes ──────────────────────────────────────────────────────────


@settings(max_examples=600, deadline=None)
@given(st.integers(0, 2**32))
def test_spoilt_pages_give_no_wrong_rate(seed):
    body = mutate(PAGE, seed)
    try:
        found = parse_instruments(body)
    except AnswerError as error:
        assert fit_to_show(str(error))
        return
    assert found
    entries = written(body)["data"]
    named = dict(entries.get("twice", entries.items()))
    for symbol, each in found.items():
        assert each.symbol == symbol
        raw = named[symbol]
        raw = dict(raw["twice"]) if "twice" in raw else raw
        assert D(raw["maint_margin_rate"]) == each.maint_margin_rate
        assert D(raw["liq_fee_rate"]) == each.liq_fee_rate
    assert load_instruments(dump_instruments(found)) == found
