from __future__ import annotations

import itertools
import json
import os
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alerting.engine.snapshot import FailureKind, PollFailure, Snapshot
from alerting.exchanges.coinswitch.instruments import Instrument
from alerting.exchanges.coinswitch.keys import sign
from alerting.exchanges.coinswitch.pages import Endpoint
from alerting.exchanges.coinswitch.position_answers import parse_positions
from alerting.exchanges.coinswitch.positions import PositionsClient
from alerting.exchanges.coinswitch.wire import utc_now
from alerting.redaction import Secret
from alerting.sandbox.exchange import DEMO_SECRET_KEY, LoopbackExchange, Special
from alerting.sandbox.market import DOCUMENTED_POSITION, Transaction
from tests.exchanges.coinswitch.test_client import FAILURES, LIMIT, SLACK, SLOW, said
from tests.support.faults import Fault
from tests.support.position_answers import DOCUMENTED, HEALTHY

FUTURES = "/trade/api/v2/futures"
POSITIONS = f"{FUTURES}/positions?exchange=EXCHANGE_2"
WANTS_SYMBOL = said(422, "Input symbol is missing")


@pytest.fixture
def exchange():
    with LoopbackExchange() as running:
        running.market.positions = {"DOGEUSDT": DOCUMENTED_POSITION}
        yield running


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


class Clock:
    """A monotonic clock, and a wall clock beside it, that go on when they are told to."""

    def __init__(self):
        self.seconds, self.start = 1000.0, utc_now()

    def __call__(self):
        return self.seconds

    def wall(self):
        return self.start + timedelta(seconds=self.seconds - 1000)


@contextmanager
def client_of(exchange, *, timeout=timedelta(seconds=5), clock=None, remembered=None, **changes):
    more = {} if clock is None else {"monotonic": clock, "clock": clock.wall}
    if clock is not None:
        exchange.clock = clock.wall
    client = PositionsClient(
        replace(exchange.account(), **changes), timeout=timeout, remembered=remembered, **more
    )
    with closing(client):
        yield client


def paths(exchange):
    return [seen.path.removeprefix(FUTURES) for seen in exchange.requests]


def symbols_asked(exchange):
    mark = "/positions?exchange=EXCHANGE_2&symbol="
    return [path.removeprefix(mark) for path in paths(exchange) if path.startswith(mark)]


# ── good answers ────────────────────────────────────────────────────────────


def test_poll_reads_all_positions_with_one_request(exchange):
    before = utc_now()
    with client_of(exchange) as client:
        poll = client.poll()
    snapshot = poll.outcome
    assert (poll.feed, snapshot.feed, poll.account) == ("positions", "positions", "main")
    assert before <= poll.at == snapshot.observed_at <= utc_now()
    assert parse_positions(poll.body.encode(), account="main", observed_at=poll.at) == snapshot
    documented = parse_positions(HEALTHY, account="main", observed_at=poll.at)
    assert snapshot.positions == documented.positions
    [seen] = exchange.requests
    assert (seen.method, seen.path) == ("GET", POSITIONS)


def test_each_request_is_signed_as_the_reference_says(exchange, monkeypatch):
    signed = []

    def recorded(secret, method, path, epoch):
        signed.append((method, path))
        return sign(secret, method, path, epoch)

    monkeypatch.setattr("alerting.exchanges.coinswitch.wire.sign", recorded)
    exchange.market.wants_symbol = True
    with client_of(exchange) as client:
        assert isinstance(client.poll(["BTCUSDT"]).outcome, Snapshot)
        assert client.liquidated(["BTCUSDT"], datetime(2026, 1, 1, tzinfo=UTC)) == frozenset()
    asked = [seen.path for seen in exchange.requests if seen.path != Endpoint.TIME.value]
    assert signed == [("GET", path) for path in asked]
    assert asked[0] == POSITIONS
    assert asked[1] == POSITIONS + "&symbol=BTCUSDT"


def test_no_open_positions_are_a_snapshot_without_rows(exchange):
    exchange.market.positions = {}
    with client_of(exchange) as client:
        poll = client.poll()
    assert poll.body == '{"message": "There are no open Positions"}'
    assert (poll.outcome.positions, poll.outcome.flaws) == ((), ())


@pytest.mark.parametrize("body", [b"{}", b'{"data": null}', b'{"message": "None"}'])
def test_an_answer_without_rows_that_does_not_say_so_is_a_failure_with_its_body(exchange, body):
    exchange.script_page(Endpoint.POSITIONS, [Special(answer=body)])
    with client_of(exchange) as client:
        poll = client.poll()
    assert (poll.feed, poll.outcome.feed) == ("positions", "positions")
    assert poll.outcome.kind is FailureKind.WRONG_SHAPE
    assert poll.outcome.text.startswith("the answer has no data")
    assert poll.body == body.decode()


# ── failures ────────────────────────────────────────────────────────────────


def _same_for_every_page(param):
    special = param.values[0]
    # those that mean another thing here: a symbol is wanted, there are no positions
    return special.status not in {400, 422} and b"open Positions" not in str(special).encode()


@pytest.mark.parametrize(
    ("special", "kind", "text"), [each for each in FAILURES if _same_for_every_page(each)]
)
def test_failure_is_named_as_the_wallets_is(exchange, special, kind, text):
    exchange.script_page(Endpoint.POSITIONS, [special])
    with client_of(exchange) as client:
        failure = client.poll().outcome
        assert failure == PollFailure(account="main", feed="positions", kind=kind, text=text)
        assert isinstance(client.poll().outcome, Snapshot)


@pytest.mark.parametrize(
    ("endpoint", "read", "feed"),
    [
        (Endpoint.INSTRUMENT_INFO, lambda client: client.instruments(), "instruments"),
        (
            Endpoint.TRANSACTIONS,
            lambda client: client.liquidated(["DOGEUSDT"], utc_now()),
            "transactions",
        ),
    ],
)
@pytest.mark.parametrize(
    ("special", "kind"),
    [
        (said(503), FailureKind.EXCHANGE_DOWN),
        (said(422), FailureKind.WRONG_SHAPE),
        (said(401), FailureKind.CREDENTIALS),
        (Special(answer=b"{}"), FailureKind.WRONG_SHAPE),
        (Special(answer=Fault.HANG_UP), FailureKind.NETWORK),
    ],
)
def test_the_other_pages_fail_by_themselves(exchange, endpoint, read, feed, special, kind):
    exchange.script_page(endpoint, [special])
    with client_of(exchange) as client:
        failure = read(client)
        assert isinstance(failure, PollFailure)
        assert (failure.feed, failure.kind, failure.account) == (feed, kind, "main")
        assert isinstance(client.poll().outcome, Snapshot)
        assert not isinstance(read(client), PollFailure)


def test_a_pause_is_that_of_its_page_alone(exchange):
    exchange.script_page(Endpoint.INSTRUMENT_INFO, [said(429, **{"Retry-After": "100"})])
    with client_of(exchange) as client:
        assert client.instruments().kind is FailureKind.RATE_LIMIT
        assert client.instruments().text.startswith("too many requests (429")
        assert isinstance(client.poll().outcome, Snapshot)
        remembered = client.pace()
    assert paths(exchange).count("/instrument_info?exchange=EXCHANGE_2") == 1
    with client_of(exchange, remembered=remembered) as client:
        assert client.instruments().kind is FailureKind.RATE_LIMIT
        assert isinstance(client.poll().outcome, Snapshot)


def test_each_page_keeps_the_exchanges_limit_whatever_the_accounts_is(exchange):
    with client_of(exchange, rate_requests=1) as client:
        outcomes = [client.poll().outcome for _ in range(21)]
        assert [type(each) for each in outcomes] == [Snapshot] * 20 + [PollFailure]
        assert outcomes[-1].text == "own limit of 20 per 60s used up"
        assert isinstance(client.instruments(), dict)
        remembered = client.pace()
    with client_of(exchange, remembered=remembered) as client:
        assert client.poll().outcome.text == "own limit of 20 per 60s used up"


@pytest.mark.parametrize(
    "remembered", ["", "{", "[]", "7", '{"positions": 5}', '{"whole_at": "x"}']
)
def test_what_cannot_be_read_of_an_earlier_process_is_as_good_as_nothing(exchange, remembered):
    with client_of(exchange, remembered=remembered) as client:
        assert isinstance(client.poll().outcome, Snapshot)


@pytest.mark.parametrize(
    ("hours", "believed"), [(-1, False), (0.5, True), (1.5, False), (24 * 365, False)]
)
def test_an_earlier_process_is_believed_for_an_hour_whatever_the_clock_was(
    exchange, hours, believed
):
    clock = Clock()
    at = clock.wall() + timedelta(hours=hours)
    with client_of(
        exchange, clock=clock, remembered=f'{{"whole_at":"{at.isoformat()}"}}'
    ) as client:
        client.poll(["DOGEUSDT"])
    assert bool(symbols_asked(exchange)) is believed


@pytest.mark.parametrize("fault", SLOW)
def test_slow_answer_ends_at_the_deadline(exchange, fault):
    exchange.script_page(Endpoint.POSITIONS, [Special(answer=fault)])
    with client_of(exchange, timeout=LIMIT) as client:
        started = time.monotonic()
        assert client.poll().outcome.kind is FailureKind.NETWORK
        assert time.monotonic() - started < LIMIT.total_seconds() + SLACK


def test_the_deadline_is_that_of_all_symbols_together(exchange):
    exchange.market.wants_symbol = True
    exchange.script_page(Endpoint.POSITIONS, [None, None, Special(answer=Fault.HANG)])
    with client_of(exchange, timeout=2 * LIMIT) as client:
        started = time.monotonic()
        poll = client.poll(["BTCUSDT", "DOGEUSDT", "ETHUSDT"])
        assert time.monotonic() - started < 2 * LIMIT.total_seconds() + SLACK
    assert poll.outcome.kind is FailureKind.NETWORK
    assert poll.body is None


def test_cancel_ends_what_is_under_way_and_all_that_comes_later(exchange):
    exchange.script_page(Endpoint.POSITIONS, [Special(answer=Fault.HANG)])
    with client_of(exchange, timeout=timedelta(seconds=30)) as client:
        results = []
        thread = threading.Thread(target=lambda: results.append(client.poll().outcome))
        thread.start()
        while exchange.left:
            time.sleep(0.005)
        client.cancel()
        thread.join(5)
        later = [client.poll().outcome, client.instruments(), client.liquidated(["X"], utc_now())]
    assert [each.text for each in [*results, *later]] == ["cancelled"] * 4


def test_nothing_secret_in_texts_bodies_or_what_is_remembered(exchange):
    echo = said(422, f"bad key my-own-api-key or {DEMO_SECRET_KEY}")
    exchange.script_page(
        Endpoint.POSITIONS, [WANTS_SYMBOL, echo, Special(answer=b'{"message": ""}')]
    )
    with client_of(exchange, api_key=Secret("my-own-api-key")) as client:
        client.poll(["BTCUSDT", "DOGEUSDT"])
        exchange.script_page(Endpoint.POSITIONS, [Special(answer=HEALTHY)] * 2)
        poll = client.poll(["BTCUSDT", "DOGEUSDT"])
        shown = repr(poll) + repr(client) + repr(vars(client)) + client.pace()
    assert "bad key *** or ***" in poll.body
    assert "my-own-api-key" not in shown
    assert DEMO_SECRET_KEY[:16] not in shown


def test_unusable_keys_are_not_sent(exchange):
    with client_of(exchange, secret_key=Secret("short")) as client:
        failures = [client.poll().outcome, client.instruments(), client.liquidated([], utc_now())]
    assert {each.kind for each in failures} == {FailureKind.CREDENTIALS}
    assert exchange.requests == []


# ── where the page wants a symbol ───────────────────────────────────────────


@pytest.mark.parametrize("status", [400, 422])
def test_each_symbol_is_asked_for_where_the_page_wants_one(exchange, status):
    exchange.market.positions = {"DOGEUSDT": DOCUMENTED_POSITION, "BTCUSDT": DOCUMENTED_POSITION}
    exchange.script_page(Endpoint.POSITIONS, [said(status, "Input symbol is missing")])
    with client_of(exchange) as client:
        poll = client.poll(["ETHUSDT", "DOGEUSDT", "BTCUSDT", "DOGEUSDT"])
    assert symbols_asked(exchange) == ["BTCUSDT", "DOGEUSDT", "ETHUSDT"]
    snapshot = poll.outcome
    assert [row.symbol for row in snapshot.positions] == ["BTCUSDT", "DOGEUSDT"]
    assert snapshot.flaws == ()
    # one recorded body replays as what was seen
    assert parse_positions(poll.body.encode(), account="main", observed_at=poll.at) == snapshot
    documented = {k: v for k, v in DOCUMENTED["data"][0].items() if k != "position_id"}
    assert {k: v for k, v in json.loads(poll.body)["data"][1].items() if k in documented} == (
        documented
    )


def test_this_is_remembered_and_the_whole_page_tried_again_now_and_then(exchange):
    exchange.market.wants_symbol = True
    clock, whole = Clock(), "/positions?exchange=EXCHANGE_2"
    with client_of(exchange, clock=clock) as client:
        for _ in range(3):
            assert isinstance(client.poll(["DOGEUSDT"]).outcome, Snapshot)
            clock.seconds += 15
        assert paths(exchange).count(whole) == 1
        remembered = client.pace()
    with client_of(exchange, clock=clock, remembered=remembered) as client:
        client.poll(["DOGEUSDT"])
        assert paths(exchange).count(whole) == 1
        clock.seconds += 3600
        client.poll(["DOGEUSDT"])
        assert paths(exchange).count(whole) == 2
        clock.seconds += 3600
        exchange.market.wants_symbol = False
        client.poll(["DOGEUSDT"])
        clock.seconds += 15
        client.poll(["DOGEUSDT"])
        # it gives all again, and so it is asked for all
        assert paths(exchange).count(whole) == 4
        assert "whole_at" not in client.pace()
    assert len(symbols_asked(exchange)) == 5


def test_no_symbol_of_the_wallet_and_a_page_that_wants_one_are_no_positions(exchange):
    exchange.market.wants_symbol = True
    with client_of(exchange) as client:
        polls = [client.poll([]) for _ in range(2)]
    for poll in polls:
        assert poll.outcome.positions == ()
        assert parse_positions(poll.body.encode(), account="main", observed_at=poll.at)
    # it is asked each time: else nobody would know that the key still works
    assert paths(exchange).count("/positions?exchange=EXCHANGE_2") == 2


def test_a_refusal_for_another_reason_is_no_answer_without_symbols(exchange):
    exchange.script_page(Endpoint.POSITIONS, [said(400, "Bad request")])
    with client_of(exchange) as client:
        failure = client.poll([]).outcome
    assert (failure.kind, failure.text) == (
        FailureKind.WRONG_SHAPE,
        'unexpected answer 400 "Bad request"',
    )


def test_symbols_that_nobody_knows_yet_are_a_failure(exchange):
    exchange.market.wants_symbol = True
    with client_of(exchange) as client:
        failure = client.poll().outcome
    assert failure.kind is FailureKind.WRONG_SHAPE
    assert failure.text == (
        'unexpected answer 422 "Input symbol is missing"; '
        "each symbol can be asked for once the wallet was read"
    )


def test_a_wrong_clock_is_not_taken_for_a_page_that_wants_a_symbol(exchange):
    exchange.clock = lambda: utc_now() + timedelta(seconds=90)
    exchange.script_page(Endpoint.POSITIONS, [WANTS_SYMBOL])
    with client_of(exchange) as client:
        assert client.poll(["DOGEUSDT"]).outcome.kind is FailureKind.CLOCK
    assert symbols_asked(exchange) == []


def test_a_symbol_that_is_refused_is_a_flaw_of_that_symbol(exchange):
    exchange.script_page(Endpoint.POSITIONS, [WANTS_SYMBOL, said(422, "No such pair"), None])
    with client_of(exchange) as client:
        poll = client.poll(["BTCUSDT", "DOGEUSDT"])
    [row], [flaw] = poll.outcome.positions, poll.outcome.flaws
    assert row.symbol == "DOGEUSDT"
    assert flaw.text == 'BTCUSDT: unexpected answer 422 "No such pair"'
    assert flaw.labels == {"base_asset": "USDT", "symbol": "BTCUSDT", "exchange": "EXCHANGE_2"}
    assert parse_positions(poll.body.encode(), account="main", observed_at=poll.at) == poll.outcome


@pytest.mark.parametrize("name", ["BTC/USDT", "BTC&type=x", "ВТСUSDT", "x" * 65, " "])
def test_a_name_that_cannot_be_sent_is_a_flaw_and_is_not_sent(exchange, name):
    exchange.market.wants_symbol = True
    with client_of(exchange) as client:
        snapshot = client.poll([name, "DOGEUSDT"]).outcome
    assert [row.symbol for row in snapshot.positions] == ["DOGEUSDT"]
    assert len(snapshot.flaws) == 1
    assert symbols_asked(exchange) == ["DOGEUSDT"]


def test_where_every_symbol_is_refused_too_the_poll_fails_and_nothing_is_remembered(exchange):
    exchange.script_page(Endpoint.POSITIONS, [said(400, "Bad request")] * 3)
    with client_of(exchange) as client:
        failure = client.poll(["BTCUSDT", "DOGEUSDT"]).outcome
        assert failure.kind is FailureKind.WRONG_SHAPE
        assert 'BTCUSDT: unexpected answer 400 "Bad request" (and 1 more)' in failure.text
        assert isinstance(client.poll(["BTCUSDT", "DOGEUSDT"]).outcome, Snapshot)
    assert paths(exchange)[-1] == "/positions?exchange=EXCHANGE_2"


def test_a_failure_for_one_symbol_is_one_of_the_poll(exchange):
    exchange.script_page(Endpoint.POSITIONS, [WANTS_SYMBOL, None, said(503)])
    with client_of(exchange) as client:
        poll = client.poll(["BTCUSDT", "DOGEUSDT"])
    assert (poll.outcome.kind, poll.body) == (FailureKind.EXCHANGE_DOWN, None)


def named(count):
    return [f"S{number:02}USDT" for number in range(count)]


def test_with_many_symbols_each_poll_asks_as_many_as_the_budget_allows(exchange):
    """12 symbols each 15 s would be 48 requests a minute; 20 are allowed."""
    exchange.market.positions = dict.fromkeys(named(12), DOCUMENTED_POSITION)
    exchange.market.wants_symbol = True
    clock, asked = Clock(), []
    with client_of(exchange, clock=clock) as client:
        for _ in range(40):
            before = len(exchange.requests)
            outcome = client.poll(named(12)).outcome
            assert isinstance(outcome, Snapshot), outcome
            assert [row.symbol for row in outcome.positions] == named(12)
            asked += [(clock.seconds, seen.path) for seen in exchange.requests[before:]]
            clock.seconds += 15
    of_page = [(at, path) for at, path in asked if "/positions" in path]
    for start, _ in of_page:
        assert sum(start <= at < start + 60 for at, _ in of_page) <= 20
    for symbol in named(12):
        times = [at for at, path in of_page if path.endswith(symbol)]
        gaps = {later: later - earlier for earlier, later in itertools.pairwise(times)}
        # the first poll asks for all, and the minute after it has to save
        assert max(gaps.values()) <= 75
        assert max(gap for later, gap in gaps.items() if later > 1240) <= 45


def test_symbols_beyond_the_budget_are_a_failure_until_each_was_asked(exchange):
    exchange.market.positions = dict.fromkeys(named(30), DOCUMENTED_POSITION)
    exchange.market.wants_symbol = True
    clock = Clock()
    with client_of(exchange, clock=clock) as client:
        failure = client.poll(named(30)).outcome
        assert failure.kind is FailureKind.RATE_LIMIT
        assert failure.text == "own limit: 11 of 30 symbols were not asked yet"
        assert failure.retry_after == timedelta(seconds=60)
        clock.seconds += 60
        assert len(client.poll(named(30)).outcome.positions) == 30


def test_an_answer_that_is_too_old_counts_no_more(exchange):
    exchange.market.wants_symbol = True
    clock = Clock()
    with client_of(exchange, clock=clock) as client:
        client.poll(["BTCUSDT", "DOGEUSDT"])
        exchange.market.positions = {}
        clock.seconds += 121
        snapshot = client.poll(["BTCUSDT", "DOGEUSDT"]).outcome
    assert snapshot.positions == ()
    assert symbols_asked(exchange).count("DOGEUSDT") == 2


def test_one_odd_answer_does_not_look_like_two_without_the_position(exchange):
    """Between the two polls no symbol would be asked again for its turn: the share is one."""
    exchange.market.positions = dict.fromkeys(named(8), DOCUMENTED_POSITION)
    exchange.market.wants_symbol = True
    clock = Clock()
    with client_of(exchange, clock=clock) as client:
        client.poll(named(8))
        clock.seconds += 1
        odd = Special(answer=b'{"message": "There are no open Positions"}')
        exchange.script_page(Endpoint.POSITIONS, [odd])
        assert len(client.poll(named(8)).outcome.positions) == 7
        clock.seconds += 1
        assert len(client.poll(named(8)).outcome.positions) == 8
    assert symbols_asked(exchange)[-2:] == ["S00USDT", "S00USDT"]


def test_a_symbol_that_left_the_wallet_is_forgotten(exchange):
    exchange.market.wants_symbol = True
    clock = Clock()
    with client_of(exchange, clock=clock) as client:
        client.poll(["BTCUSDT", "DOGEUSDT"])
        clock.seconds += 15
        assert client.poll(["BTCUSDT"]).outcome.positions == ()
        clock.seconds += 1
        assert len(client.poll(["BTCUSDT", "DOGEUSDT"]).outcome.positions) == 1
    assert symbols_asked(exchange)[-1] == "DOGEUSDT"


# ── instruments ─────────────────────────────────────────────────────────────


def test_instruments_are_read(exchange):
    exchange.market.instruments = {"BTCUSDT": {"maint_margin_rate": 0.56, "liq_fee_rate": "0.0075"}}
    with client_of(exchange) as client:
        found = client.instruments()
    assert set(found) == {"BTCUSDT", "DOGEUSDT"}
    assert isinstance(found["BTCUSDT"], Instrument)
    assert str(found["BTCUSDT"].maint_margin_rate) == "0.56"
    assert paths(exchange) == ["/instrument_info?exchange=EXCHANGE_2"]


# ── liquidations ────────────────────────────────────────────────────────────

SINCE = datetime(2026, 1, 1, 12, tzinfo=UTC)


def happened(symbol, kind="LIQUIDATION_FEE", *, after=10):
    return Transaction(symbol=symbol, type=kind, at=SINCE + timedelta(seconds=after))


def test_liquidated_are_those_with_a_fee_since_then(exchange):
    exchange.market.transactions = [
        happened("BTCUSDT"),
        happened("ETHUSDT", after=-10),
        happened("DOGEUSDT", "COMMISSION"),
        happened("SOLUSDT"),
    ]
    with client_of(exchange) as client:
        assert client.liquidated({"BTCUSDT", "ETHUSDT", "DOGEUSDT"}, SINCE) == {"BTCUSDT"}
        assert client.liquidated((), SINCE) == frozenset()
    first = paths(exchange)[0]
    # 5 s earlier: the clocks may differ by that much
    milliseconds = int(SINCE.timestamp() * 1000) - 5000
    start = "/transactions?exchange=EXCHANGE_2&symbol=BTCUSDT"
    assert first == f"{start}&from_time={milliseconds}&limit=50"
    assert len(exchange.requests) == 3


def test_a_liquidation_by_the_exchange_is_found(exchange):
    with client_of(exchange) as client:
        last_seen = client.poll().at
        exchange.market.liquidate("DOGEUSDT", at=utc_now())
        assert client.poll().outcome.positions == ()
        assert client.liquidated(["DOGEUSDT"], last_seen) == {"DOGEUSDT"}


def test_where_rows_may_be_left_out_the_pages_own_filter_is_asked(exchange):
    many = [happened("BTCUSDT", "COMMISSION", after=60 + n) for n in range(80)]
    exchange.market.transactions = [happened("BTCUSDT"), *many]
    with client_of(exchange) as client:
        assert client.liquidated(["BTCUSDT"], SINCE) == {"BTCUSDT"}
    assert exchange.requests[-1].path.endswith("&limit=50&type=liquidation+fee")


def test_where_rows_may_be_left_out_and_none_is_found_there_is_no_verdict(exchange):
    exchange.market.transactions = [happened("BTCUSDT", "COMMISSION") for _ in range(80)]
    with client_of(exchange) as client:
        failure = client.liquidated(["BTCUSDT"], SINCE)
    assert (failure.kind, failure.feed) == (FailureKind.WRONG_SHAPE, "transactions")
    assert failure.text == (
        "BTCUSDT: 50 transactions or more, too many to find a liquidation's fee"
    )


def test_a_name_that_cannot_be_sent_is_no_verdict(exchange):
    with client_of(exchange) as client:
        failure = client.liquidated(["BTC/USDT"], SINCE)
    assert failure.kind is FailureKind.WRONG_SHAPE
    assert exchange.requests == []


def test_more_symbols_than_the_budget_are_no_verdict(exchange):
    with client_of(exchange) as client:
        failure = client.liquidated(named(21), SINCE)
    assert (failure.kind, failure.feed) == (FailureKind.RATE_LIMIT, "transactions")
    assert len(exchange.requests) == 20
