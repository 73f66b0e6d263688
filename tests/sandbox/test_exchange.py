from __future__ import annotations

import http.client
import json
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.engine.integrity import flaws
from alerting.exchanges.coinswitch.answers import parse_wallet
from alerting.exchanges.coinswitch.keys import sign
from alerting.exchanges.coinswitch.pages import Endpoint
from alerting.exchanges.coinswitch.wire import utc_now
from alerting.sandbox.exchange import (
    DEMO_API_KEY,
    DEMO_SECRET_KEY,
    DOCUMENTED_WALLET,
    LoopbackExchange,
    Special,
    wallet_body,
)
from alerting.units import EXACT
from tests.support.faults import Fault

WALLET = Endpoint.WALLET_BALANCE.value
TIME = Endpoint.TIME.value


@pytest.fixture
def exchange():
    with LoopbackExchange() as running:
        yield running


def milliseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


def headers(*, path=WALLET, epoch=None, method="GET", api_key=DEMO_API_KEY, seed=DEMO_SECRET_KEY):
    epoch = milliseconds(utc_now()) if epoch is None else epoch
    return {
        "X-AUTH-APIKEY": api_key,
        "X-AUTH-EPOCH": str(epoch),
        "X-AUTH-SIGNATURE": sign(seed, method, path, epoch),
    }


def ask(exchange, path=WALLET, *, method="GET", sent=None):
    connection = http.client.HTTPConnection(exchange.base_url.removeprefix("http://"), timeout=5)
    try:
        connection.request(method, path, headers=headers(path=path) if sent is None else sent)
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"null")
    finally:
        connection.close()


def test_signed_request_gets_the_wallet(exchange):
    exchange.wallet = DOCUMENTED_WALLET
    assert ask(exchange) == (200, DOCUMENTED_WALLET)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param({}, id="no headers"),
        pytest.param(headers(seed="11" * 32), id="another key's signature"),
        pytest.param(headers(api_key="11" * 32), id="another API key"),
        pytest.param(headers(path=TIME), id="another path's signature"),
        pytest.param(headers(method="POST"), id="another method's signature"),
        pytest.param(headers() | {"X-AUTH-SIGNATURE": "zz"}, id="no hex"),
        pytest.param(headers() | {"X-AUTH-EPOCH": "1"}, id="another epoch's signature"),
        pytest.param(headers() | {"X-AUTH-EPOCH": "soon"}, id="no epoch"),
        pytest.param(headers() | {"X-AUTH-EPOCH": "9" * 4000}, id="endless epoch"),
        pytest.param(
            headers() | {"X-AUTH-SIGNATURE": sign(DEMO_SECRET_KEY, "GET", WALLET + "{}", 1)},
            id="legacy message",
        ),
    ],
)
def test_badly_signed_request_is_refused(exchange, sent):
    assert ask(exchange, sent=sent) == (401, {"message": "Invalid Access"})


@pytest.mark.parametrize(
    ("skew", "status"),
    [(-61, 401), (-59, 200), (59, 200), (61, 401)],
)
def test_clock_may_be_off_by_a_minute(exchange, skew, status):
    epoch = milliseconds(utc_now() + timedelta(seconds=skew))
    assert ask(exchange, sent=headers(epoch=epoch))[0] == status


def test_time_needs_no_key_and_follows_the_exchanges_clock(exchange):
    exchange.clock = lambda: datetime(2024, 7, 2, 7, 36, 17, 483000, UTC)
    assert ask(exchange, TIME, sent={}) == (200, {"serverTime": 1719905777483})


def test_other_paths_and_methods_are_refused(exchange):
    assert ask(exchange, "/trade/api/v2/futures/order")[0] == 404
    assert ask(exchange, method="POST")[0] == 405


def test_limit_is_per_path_and_only_when_asked_for():
    with LoopbackExchange() as lax:
        assert [ask(lax)[0] for _ in range(25)] == [200] * 25
    with LoopbackExchange(enforce_limit=True) as strict:
        assert [ask(strict)[0] for _ in range(22)] == [200] * 20 + [429] * 2
        assert ask(strict, TIME)[0] == 200


def test_requests_are_recorded_without_secrets(exchange):
    sent = headers()
    ask(exchange, sent=sent)
    [seen] = exchange.requests
    assert (seen.method, seen.path) == ("GET", WALLET)
    assert seen.headers["x-auth-epoch"] == sent["X-AUTH-EPOCH"]
    assert sent["X-AUTH-SIGNATURE"] not in repr(seen)
    assert DEMO_API_KEY not in repr(seen)


def test_script_as_series_is_for_wallet_requests_one_each(exchange):
    exchange.script = [Special(status=503, answer=b"{}"), None, Special(status=500, answer=b"{}")]
    assert exchange.left == 3
    assert ask(exchange, TIME, sent={})[0] == 200
    assert [ask(exchange)[0] for _ in range(4)] == [503, 200, 500, 200]
    assert exchange.left == 0


def test_script_as_callable_sees_every_path(exchange):
    exchange.script = lambda path: Special(status=418, answer=b"{}") if path == TIME else None
    assert ask(exchange)[0] == 200
    assert ask(exchange, TIME)[0] == 418
    exchange.script = None
    assert ask(exchange, TIME)[0] == 200


def test_leaving_ends_open_connections_and_threads():
    before = set(threading.enumerate())
    with LoopbackExchange() as exchange:
        exchange.script = [Special(answer=Fault.HANG)]
        hanging = http.client.HTTPConnection(exchange.base_url.removeprefix("http://"), timeout=5)
        hanging.request("GET", WALLET, headers=headers())
        idle = http.client.HTTPConnection(exchange.base_url.removeprefix("http://"), timeout=5)
        idle.connect()
        while exchange.left:
            pass
    with pytest.raises((http.client.HTTPException, OSError)):
        hanging.getresponse()
    hanging.close()
    idle.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(2)
        assert not thread.is_alive()


AMOUNTS = st.decimals(-(10**12), 10**12, places=18)


@given(
    total=AMOUNTS,
    available=st.none() | AMOUNTS,
    position_margin=st.none() | AMOUNTS,
    rows=st.dictionaries(st.sampled_from(["BTCUSDT", "ETHUSDT"]), st.tuples(AMOUNTS, AMOUNTS)),
)
def test_made_up_wallets_are_consistent_to_the_last_digit(total, available, position_margin, rows):
    body = wallet_body(total=total, available=available, position_margin=position_margin, rows=rows)
    raw = json.dumps(body).encode()
    snapshot = parse_wallet(raw, account="main", observed_at=utc_now())
    with localcontext(EXACT):
        found = flaws(snapshot, known_assets=frozenset({"USDT"}), tolerance=Decimal(0))
    assert found == []
    assert snapshot.wallets[0].fields["total_balance"] == total
    assert {row.symbol for row in snapshot.symbols} == set(rows)


def test_made_up_wallet_locks_what_its_rows_hold():
    body = wallet_body(total=2000, rows={"BTCUSDT": ("100.5", "-0.5"), "ETHUSDT": (50, 1)})
    assert body["data"]["base_asset_balances"][0]["balances"] == {
        "total_balance": "2000",
        "total_available_balance": "1849.0",
        "total_blocked_balance": "151.0",
        "total_position_margin": "150.5",
        "total_open_order_margin": "0.5",
    }


def test_an_exchange_that_runs_for_weeks_keeps_the_last_requests_only(monkeypatch):
    monkeypatch.setattr("alerting.sandbox.exchange._MOST_SEEN", 2)
    with LoopbackExchange() as exchange:
        for path in (TIME, WALLET, "/nothing"):
            ask(exchange, path)
        assert [seen.path for seen in exchange.requests] == [WALLET, "/nothing"]
