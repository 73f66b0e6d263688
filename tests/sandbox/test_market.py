"""The other pages of the loopback exchange: the real one's figures, quirks and refusals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.exchanges.coinswitch.pages import INSTRUMENTS, POSITIONS, TRANSACTIONS, Endpoint
from alerting.sandbox.exchange import LoopbackExchange, Special, demo_position, demo_wallet
from alerting.sandbox.market import DOCUMENTED_POSITION, Market, Transaction
from alerting.units import EXACT
from tests.sandbox.test_exchange import TIME, WALLET, ask, headers
from tests.support.position_answers import DOCUMENTED

SIMPLE = {
    "side": "LONG",
    "position_size": 0.1,
    "avg_entry_price": 100000,
    "position_margin": 400,
    "maint_margin_rate": 0.56,
    "liq_fee_rate": 0.0075,
    "mark_price": 98000,
}
NONE = (200, {"message": "There are no open Positions"})


def of(endpoint, market, **query):
    return market.answer(endpoint, {"exchange": "EXCHANGE_2", **query})


def row(**fields):
    market = Market()
    market.positions = {"BTCUSDT": {**SIMPLE, **fields}}
    status, body = of(Endpoint.POSITIONS, market)
    assert status == 200
    [found] = body["data"]
    return found


# ── figures ─────────────────────────────────────────────────────────────────


def test_the_documented_position_comes_out_as_documented():
    market = Market()
    market.positions = {"DOGEUSDT": DOCUMENTED_POSITION}
    [found] = of(Endpoint.POSITIONS, market)[1]["data"]
    documented = DOCUMENTED["data"][0]
    assert list(found) == list(documented)
    assert {**found, "position_id": ""} == {**documented, "position_id": ""}


def test_figures_of_a_long_position():
    found = row()
    assert found["position_value"] == "10000"
    assert found["leverage"] == "25"
    assert found["last_price"] == "98000"
    # it loses 200, and says +200
    assert found["unrealised_pnl"] == "200"
    assert found["maint_margin"] == "5600"
    # 100000 - (400 - 131) / 0.1
    assert found["liquidation_price"] == "97310"


def test_figures_of_a_short_position():
    found = row(side="SHORT", last_price="97000")
    # it gains 300 by the last price, and says -300
    assert found["unrealised_pnl"] == "-300"
    assert found["liquidation_price"] == "102690"


def test_a_liquidation_price_loses_its_sign():
    assert row(position_margin=12131)["liquidation_price"] == "20000"


@given(
    side=st.sampled_from(["LONG", "SHORT"]),
    size=st.decimals("0.001", 1000, places=3),
    entry=st.decimals("0.01", 200_000, places=2),
    margin=st.decimals(0, 100_000, places=6),
    mark=st.decimals("0.01", 200_000, places=2),
)
def test_figures_follow_from_the_simple_fields(side, size, entry, margin, mark):
    found = row(
        side=side,
        position_size=size,
        avg_entry_price=entry,
        position_margin=margin,
        mark_price=mark,
    )
    sign = 1 if side == "LONG" else -1
    with localcontext(EXACT):
        value = size * entry
        kept = margin - value * (Decimal("0.56") / 100 + Decimal("0.0075"))
        assert Decimal(found["position_value"]) == value
        assert Decimal(found["unrealised_pnl"]) == -sign * (mark - entry) * size
        off = Decimal(found["liquidation_price"]) - abs(entry - sign * kept / size)
        assert abs(off) < Decimal("1e-12")


def test_instruments_are_those_of_the_positions_and_those_given():
    market = Market()
    market.positions = {"BTCUSDT": SIMPLE, "ETHUSDT": {**SIMPLE, "maint_margin_rate": None}}
    market.instruments = {
        "SOLUSDT": {"maint_margin_rate": "1", "liq_fee_rate": "0.01"},
        "BTCUSDT": {"maint_margin_rate": "9", "liq_fee_rate": "0.9"},
    }
    _, body = market.answer(Endpoint.INSTRUMENT_INFO, {})
    rates = {s: (e["maint_margin_rate"], e["liq_fee_rate"]) for s, e in body["data"].items()}
    assert rates == {"BTCUSDT": ("0.56", "0.0075"), "SOLUSDT": ("1", "0.01")}


def test_rates_that_are_not_said_are_the_exchanges_secret():
    market = Market()
    fields = {key: value for key, value in SIMPLE.items() if "rate" not in key}
    market.positions = {"BTCUSDT": fields}
    assert of(Endpoint.POSITIONS, market)[1]["data"][0]["liquidation_price"] == "97310"
    market.instruments = {"BTCUSDT": {"maint_margin_rate": "1.25", "liq_fee_rate": "0.0075"}}
    assert of(Endpoint.POSITIONS, market)[1]["data"][0]["liquidation_price"] == "98000"


def test_the_demos_position_holds_the_demo_wallets_margin():
    body = demo_wallet("300")
    market = Market()
    market.positions = {"BTCUSDT": demo_position("300")}
    [found] = of(Endpoint.POSITIONS, market)[1]["data"]
    listed = body["data"]["asset"][0]["position_margin"]
    assert Decimal(found["position_margin"]) == Decimal(listed)
    assert found["leverage"] == "5"


# ── what is asked ───────────────────────────────────────────────────────────


def test_positions_page_answers_for_all_or_for_one():
    market = Market()
    assert of(Endpoint.POSITIONS, market) == NONE
    market.positions = {"BTCUSDT": SIMPLE, "ETHUSDT": SIMPLE}
    assert len(of(Endpoint.POSITIONS, market)[1]["data"]) == 2
    assert len(of(Endpoint.POSITIONS, market, symbol="ethusdt")[1]["data"]) == 1
    assert of(Endpoint.POSITIONS, market, symbol="SOLUSDT") == NONE
    market.wants_symbol = True
    assert of(Endpoint.POSITIONS, market) == (422, {"message": "Input symbol is missing"})
    assert len(of(Endpoint.POSITIONS, market, symbol="BTCUSDT")[1]["data"]) == 1


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "Input exchange is missing"),
        ({"exchange": "EXCHANGE_1"}, "Input exchange is not valid"),
    ],
)
@pytest.mark.parametrize("endpoint", [Endpoint.POSITIONS, Endpoint.TRANSACTIONS])
def test_the_exchange_is_a_parameter_that_is_needed(endpoint, query, message):
    assert Market().answer(endpoint, query) == (422, {"message": message})
    assert Market().answer(endpoint, {"exchange": "exchange_2"})[0] == 200


AT = datetime(2026, 1, 1, tzinfo=UTC)


def test_transactions_are_filtered_as_they_are_asked_for():
    market = Market()
    market.transactions = [
        Transaction(symbol="BTCUSDT", type="COMMISSION", at=AT, amount="-1"),
        Transaction(symbol="BTCUSDT", type="LIQUIDATION_FEE", at=AT + timedelta(seconds=1)),
        Transaction(symbol="ETHUSDT", type="P&L", at=AT + timedelta(seconds=2)),
    ]

    def kinds(**query):
        return [each["type"] for each in of(Endpoint.TRANSACTIONS, market, **query)[1]["data"]]

    # the newest first
    assert kinds() == ["P&L", "LIQUIDATION_FEE", "COMMISSION"]
    assert kinds(limit="1") == ["P&L"]
    assert kinds(symbol="btcusdt") == ["LIQUIDATION_FEE", "COMMISSION"]
    assert kinds(type="liquidation fee") == ["LIQUIDATION_FEE"]
    # as the rows have it, a request has not
    assert kinds(type="LIQUIDATION_FEE") == []
    assert kinds(from_time=str(int(AT.timestamp() * 1000) + 1)) == ["P&L", "LIQUIDATION_FEE"]
    assert len(kinds(from_time=str(int(AT.timestamp() * 1000)))) == 3
    assert "at" not in of(Endpoint.TRANSACTIONS, market)[1]["data"][0]


def test_a_liquidation_takes_the_position_and_leaves_a_fee():
    market = Market()
    market.positions = {"BTCUSDT": SIMPLE}
    market.liquidate("BTCUSDT", at=AT)
    assert of(Endpoint.POSITIONS, market) == NONE
    [fee] = of(Endpoint.TRANSACTIONS, market)[1]["data"]
    assert (fee["symbol"], fee["type"], fee["amount"]) == ("BTCUSDT", "LIQUIDATION_FEE", "-75")


@pytest.mark.parametrize(
    ("positions", "said"),
    [
        (5, "positions: 5 is not a mapping"),
        ({"B": []}, r"positions.B: \[\] is not a mapping"),
        ({"B": {}}, "positions.B.side: None is not LONG or SHORT"),
        ({"B": {**SIMPLE, "side": "long"}}, "positions.B.side: 'long' is not LONG or SHORT"),
        ({"B": {"side": "LONG"}}, "positions.B.position_size: is missing; needed are side, pos"),
        ({"B": {**SIMPLE, "mark_price": "x"}}, 'positions.B.mark_price: "x" is not a number'),
        ({"B": {**SIMPLE, "mark_price": True}}, "positions.B.mark_price: true is not a number"),
        ({"B": {**SIMPLE, "size": 1}}, "positions.B.size: is no field here; allowed are avg_"),
        ({1: SIMPLE}, "positions: 1 is not a text"),
    ],
)
def test_positions_that_cannot_be_are_refused(positions, said):
    with pytest.raises(ValueError, match=said):
        Market().positions = positions


@pytest.mark.parametrize(
    ("instruments", "said"),
    [
        ({"B": {}}, "instruments.B: has nothing; needed are liq_fee_rate, maint_margin_rate"),
        ({"B": {"liq_fee_rate": 1}}, "instruments.B: has liq_fee_rate; needed"),
        (
            {"B": {"liq_fee_rate": 1, "maint_margin_rate": None}},
            "instruments.B: null is not a number",
        ),
        (
            {"B": {"liq_fee_rate": 1, "maint_margin_rate": "1%"}},
            'instruments.B.maint_margin_rate: "1%" is not a number',
        ),
    ],
)
def test_instruments_that_cannot_be_are_refused(instruments, said):
    with pytest.raises(ValueError, match=said):
        Market().instruments = instruments


# ── over the wire ───────────────────────────────────────────────────────────


@pytest.fixture
def exchange():
    with LoopbackExchange() as running:
        running.market.positions = {"BTCUSDT": SIMPLE}
        yield running


def test_the_query_is_signed_too(exchange):
    target = POSITIONS.target(symbol="BTCUSDT")
    assert ask(exchange, target)[0] == 200
    other = headers(path=POSITIONS.target(symbol="ETHUSDT"))
    assert ask(exchange, target, sent=other) == (401, {"message": "Invalid Access"})
    assert ask(exchange, target, sent=headers(path=Endpoint.POSITIONS.value))[0] == 401


def test_a_query_is_signed_decoded(exchange):
    target = TRANSACTIONS.target(type="liquidation fee")
    assert "type=liquidation+fee" in target
    assert ask(exchange, target) == (200, {"data": []})
    assert ask(exchange, target.replace("+", "%20"), sent=headers(path=target))[0] == 200


def test_each_page_has_a_budget_of_its_own():
    with LoopbackExchange(enforce_limit=True) as strict:
        for page, most in ((POSITIONS, 20), (TRANSACTIONS, 20), (INSTRUMENTS, 100)):
            statuses = [ask(strict, page.target())[0] for _ in range(most + 1)]
            assert statuses == [200] * most + [429]
        assert ask(strict)[0] == 200
        assert ask(strict, TIME)[0] == 200


def test_one_page_alone_can_fail(exchange):
    exchange.script_page(Endpoint.POSITIONS, [Special(status=503, answer=b"{}"), None])
    assert exchange.left == 2
    assert ask(exchange, WALLET)[0] == 200
    assert ask(exchange, INSTRUMENTS.target())[0] == 200
    assert [ask(exchange, POSITIONS.target())[0] for _ in range(3)] == [503, 200, 200]
    assert exchange.left == 0


def test_one_page_alone_can_fail_for_as_long_as_a_script_says(exchange):
    def down(path):
        return Special(status=503, answer=b"{}") if "/positions" in path else None

    exchange.script = down
    assert [ask(exchange, POSITIONS.target())[0] for _ in range(2)] == [503, 503]
    assert ask(exchange)[0] == 200


@pytest.mark.parametrize(("locked", "distance"), [("300", "0.16"), ("1780", "0.01")])
def test_the_more_the_demo_locks_the_nearer_is_its_liquidation(locked, distance):
    market = Market()
    market.positions = {"BTCUSDT": demo_position(locked)}
    [found] = of(Endpoint.POSITIONS, market)[1]["data"]
    mark, liquidation = (Decimal(found[name]) for name in ("mark_price", "liquidation_price"))
    assert round((mark - liquidation) / mark, 2) == Decimal(distance)
