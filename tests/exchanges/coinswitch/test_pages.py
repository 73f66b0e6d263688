"""Which requests there can be, to the last character of their query."""

from __future__ import annotations

from contextlib import closing

import pytest

from alerting.exchanges.coinswitch.pages import (
    INSTRUMENTS,
    PAGES,
    POSITIONS,
    TRANSACTIONS,
    WALLET,
    Endpoint,
)
from alerting.exchanges.coinswitch.session import ForbiddenRequestError, ReadOnlySession
from alerting.net.deadline import Deadline
from alerting.sandbox.exchange import LoopbackExchange

FUTURES = "/trade/api/v2/futures"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (WALLET.target(), f"{FUTURES}/wallet_balance"),
        (POSITIONS.target(), f"{FUTURES}/positions?exchange=EXCHANGE_2"),
        (
            POSITIONS.target(symbol="BTCUSDT"),
            f"{FUTURES}/positions?exchange=EXCHANGE_2&symbol=BTCUSDT",
        ),
        (INSTRUMENTS.target(), f"{FUTURES}/instrument_info?exchange=EXCHANGE_2"),
        (
            TRANSACTIONS.target(symbol="BTCUSDT", type="liquidation fee", from_time="17"),
            f"{FUTURES}/transactions?exchange=EXCHANGE_2&symbol=BTCUSDT&type=liquidation+fee&from_time=17",
        ),
    ],
)
def test_targets_are_as_the_exchange_has_them(target, expected):
    assert target == expected


def test_each_page_has_the_exchanges_own_budget():
    budgets = {page.endpoint: (page.requests, page.window.total_seconds()) for page in PAGES}
    assert budgets == {
        Endpoint.WALLET_BALANCE: (20, 60),
        Endpoint.POSITIONS: (20, 60),
        Endpoint.INSTRUMENT_INFO: (100, 60),
        Endpoint.TRANSACTIONS: (20, 60),
        Endpoint.TIME: (20, 60),
    }


@pytest.fixture(scope="module")
def exchange():
    with LoopbackExchange() as running:
        yield running


@pytest.mark.parametrize(
    "target",
    [
        WALLET.target(),
        POSITIONS.target(),
        POSITIONS.target(symbol="1000PEPEUSDT"),
        INSTRUMENTS.target(),
        TRANSACTIONS.target(symbol="BTCUSDT", limit="50", from_time="1700000000000"),
        TRANSACTIONS.target(type="liquidation fee"),
    ],
)
def test_a_known_request_goes_out_as_it_is_signed(exchange, target):
    with closing(ReadOnlySession(exchange.base_url, Deadline())) as session:
        session.get(exchange.base_url + target, timeout=5)
    assert exchange.requests[-1].path == target


@pytest.mark.parametrize(
    ("method", "target"),
    [
        pytest.param("POST", POSITIONS.target(), id="post"),
        pytest.param("POST", f"{FUTURES}/orders/open", id="another page"),
        pytest.param("GET", f"{FUTURES}/positions", id="no query"),
        pytest.param("GET", f"{FUTURES}/positions?", id="empty query"),
        pytest.param("GET", f"{FUTURES}/positions?exchange=EXCHANGE_3", id="another exchange"),
        pytest.param("GET", f"{FUTURES}/positions?symbol=BTCUSDT", id="without the fixed one"),
        pytest.param("GET", POSITIONS.target() + "&leverage=3", id="another parameter"),
        pytest.param("GET", POSITIONS.target() + "&symbol=", id="no value"),
        pytest.param("GET", POSITIONS.target(symbol="BTC/USDT"), id="slash"),
        pytest.param("GET", POSITIONS.target(symbol="BTC&x=1"), id="ampersand"),
        pytest.param("GET", POSITIONS.target(symbol="ВТС"), id="other letters"),
        pytest.param("GET", POSITIONS.target(symbol="B" * 65), id="long"),
        pytest.param("GET", POSITIONS.target() + "&symbol=BTCUSDT#x", id="fragment"),
        pytest.param("GET", INSTRUMENTS.target() + "&symbol=BTCUSDT", id="not of this page"),
        pytest.param("GET", TRANSACTIONS.target(type="P&L"), id="unsafe type"),
        pytest.param("GET", Endpoint.TIME.value + "?exchange=EXCHANGE_2", id="time"),
    ],
)
def test_any_other_request_is_refused_before_a_byte_is_sent(exchange, method, target):
    deadline, before = Deadline(), len(exchange.requests)
    with closing(ReadOnlySession(exchange.base_url, deadline)) as session:
        with pytest.raises(ForbiddenRequestError):
            session.request(method, exchange.base_url + target)
    assert deadline.opened == 0
    assert len(exchange.requests) == before
