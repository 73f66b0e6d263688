from __future__ import annotations

import errno
import logging
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.engine.snapshot import FailureKind, PollFailure, Snapshot
from alerting.exchanges.account import AccountSettings
from alerting.exchanges.coinswitch.client import WalletClient
from alerting.exchanges.coinswitch.pages import PAGES, Endpoint
from alerting.exchanges.coinswitch.session import ForbiddenRequestError, ReadOnlySession
from alerting.exchanges.coinswitch.wire import utc_now
from alerting.net.deadline import Deadline
from alerting.redaction import Secret
from alerting.sandbox.exchange import (
    DEMO_API_KEY,
    DEMO_SECRET_KEY,
    DOCUMENTED_WALLET,
    LoopbackExchange,
    Special,
)
from tests.support.broken_answers import HEALTHY, as_script, broken_answers, flawed_answers
from tests.support.faults import Fault

SEED = DEMO_SECRET_KEY
WALLET = Endpoint.WALLET_BALANCE.value
TIME = Endpoint.TIME.value
LIMIT = timedelta(seconds=0.3)
# Where only some of the answers are slow, a busy machine must not be taken for one that hangs.
PATIENCE = 4 * LIMIT
# a deadline is kept within this; loaded machines schedule late
SLACK = 1.0


@pytest.fixture
def exchange():
    with LoopbackExchange() as running:
        running.wallet = DOCUMENTED_WALLET
        yield running


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@contextmanager
def client_of(
    exchange,
    *,
    timeout=timedelta(seconds=5),
    clock=utc_now,
    monotonic=time.monotonic,
    remembered=None,
    steady=None,
    **changes,
):
    account = exchange.account() if isinstance(exchange, LoopbackExchange) else exchange
    account = replace(account, **{"rate_requests": 1000} | changes)
    with closing(
        WalletClient(
            account,
            timeout=timeout,
            clock=clock,
            monotonic=monotonic,
            remembered=remembered,
            steady=steady,
        )
    ) as client:
        yield client


def wallet_requests(exchange):
    return [seen for seen in exchange.requests if seen.path == WALLET]


def account(*, api_key=DEMO_API_KEY, secret_key=SEED):
    return AccountSettings(name="main", api_key=Secret(api_key), secret_key=Secret(secret_key))


def test_poll_beyond_the_own_limit_sends_nothing(exchange):
    with client_of(exchange, rate_requests=2) as client:
        assert [type(client.poll().outcome) for _ in range(2)] == [Snapshot, Snapshot]
        failure = client.poll().outcome
    assert (failure.kind, failure.text) == (
        FailureKind.RATE_LIMIT,
        "own limit of 2 per 60s used up",
    )
    assert timedelta(seconds=58) < failure.retry_after <= timedelta(seconds=60)
    assert len(wallet_requests(exchange)) == 2


# ── good answers ────────────────────────────────────────────────────────────


def test_poll_reads_the_wallet(exchange):
    before = utc_now()
    with client_of(exchange) as client:
        poll = client.poll()
    snapshot = poll.outcome
    assert poll.body.encode() == HEALTHY
    assert (poll.at, poll.account) == (snapshot.observed_at, "main")
    assert before <= snapshot.observed_at <= utc_now()
    assert snapshot.account == "main"
    assert str(snapshot.wallets[0].fields["total_open_order_margin"]) == "-6.778517"
    [seen] = exchange.requests
    assert (seen.method, seen.path) == ("GET", WALLET)
    assert "content-length" not in seen.headers


def test_observed_at_is_when_the_answer_was_complete(exchange):
    ticks = iter(utc_now() + timedelta(seconds=n) for n in range(10))
    read = []

    def clock():
        read.append(next(ticks))
        return read[-1]

    with client_of(exchange, clock=clock) as client:
        snapshot = client.poll().outcome
    assert snapshot.observed_at == read[-1] != read[0]


def test_connection_is_kept_and_each_try_signed_anew(exchange):
    frozen = utc_now()
    with client_of(exchange, clock=lambda: frozen) as client:
        assert all(isinstance(client.poll().outcome, Snapshot) for _ in range(2))
        assert client._wire.deadline.opened == 1
    epochs = [seen.headers["x-auth-epoch"] for seen in exchange.requests]
    assert len(set(epochs)) == 2


def test_secret_with_its_public_half_signs_too(exchange):
    with client_of(exchange, secret_key=Secret(SEED + DEMO_API_KEY)) as client:
        assert isinstance(client.poll().outcome, Snapshot)


def test_body_is_that_of_this_poll_only(exchange):
    with client_of(exchange) as client:
        exchange.script = [
            Special(answer=b'{"data": {}}'),
            Special(status=500, answer=HEALTHY),
            None,
        ]
        poll = client.poll()
        assert poll.outcome.kind is FailureKind.WRONG_SHAPE
        assert poll.body == '{"data": {}}'
        poll = client.poll()
        assert poll.outcome.kind is FailureKind.EXCHANGE_DOWN
        assert poll.body is None
        assert client.poll().body is not None


# ── failures, told apart ────────────────────────────────────────────────────


def html(status, text="<html>x</html>"):
    return Special(status=status, headers={"Content-Type": "text/html"}, answer=text.encode())


def said(status, message="Nope", **headers):
    return Special(status=status, headers=headers, answer=f'{{"message": "{message}"}}'.encode())


def redirect(target, status=302):
    return Special(status=status, headers={"Location": target}, answer=HEALTHY)


NETWORK, DOWN, SHAPE = FailureKind.NETWORK, FailureKind.EXCHANGE_DOWN, FailureKind.WRONG_SHAPE
FAILURES = [
    pytest.param(
        said(401, "Invalid Access"),
        FailureKind.CREDENTIALS,
        'the exchange does not accept this key (401 "Invalid Access"); the clock is right',
        id="401",
    ),
    pytest.param(
        html(401),
        FailureKind.CREDENTIALS,
        "the exchange does not accept this key (401); the clock is right",
        id="401 html",
    ),
    pytest.param(
        said(403),
        FailureKind.CREDENTIALS,
        'the exchange does not allow this (403 "Nope")',
        id="403 json",
    ),
    pytest.param(html(403), DOWN, "refused in front of the exchange (403)", id="403 html"),
    pytest.param(
        Special(status=403), DOWN, "refused in front of the exchange (403)", id="403 empty"
    ),
    pytest.param(html(407), NETWORK, "the proxy asks for a login (407)", id="407"),
    pytest.param(
        html(511), NETWORK, "the network of this machine asks for a login (511)", id="511"
    ),
    pytest.param(said(400), SHAPE, 'unexpected answer 400 "Nope"', id="400"),
    pytest.param(html(404), SHAPE, "unexpected answer 404", id="404"),
    pytest.param(
        said(422, "Input x is missing"),
        SHAPE,
        'unexpected answer 422 "Input x is missing"',
        id="422",
    ),
    pytest.param(
        said(422, "z" * 999), SHAPE, f'unexpected answer 422 "{"z" * 119}…"', id="long message"
    ),
    pytest.param(Special(status=204), SHAPE, "unexpected answer 204", id="204"),
    pytest.param(
        Special(status=206, answer=HEALTHY),
        SHAPE,
        "unexpected answer 206",
        id="206 with a good body",
    ),
    pytest.param(html(500), DOWN, "the exchange answers 500", id="500"),
    pytest.param(
        said(503, "maintenance"), DOWN, 'the exchange answers 503 "maintenance"', id="503"
    ),
    pytest.param(html(522), DOWN, "the exchange answers 522", id="522"),
    pytest.param(
        Special(status=500, answer=HEALTHY),
        DOWN,
        "the exchange answers 500",
        id="500 with a good body",
    ),
    pytest.param(
        Special(status=502, answer=b"x" * 10**6),
        DOWN,
        "the exchange answers 502",
        id="502 with a large body",
    ),
    pytest.param(
        redirect("https://evil.example/steal?key=1"),
        NETWORK,
        "redirect to host evil.example not followed",
        id="302",
    ),
    pytest.param(
        redirect("http://u:p@evil.example:99/", 308),
        NETWORK,
        "redirect to host evil.example not followed",
        id="308",
    ),
    pytest.param(
        redirect("/login", 301), NETWORK, "redirect (301) not followed", id="301 relative"
    ),
    pytest.param(
        redirect("http://[", 307), NETWORK, "redirect (307) not followed", id="307 broken target"
    ),
    pytest.param(Special(status=304), NETWORK, "redirect (304) not followed", id="304"),
    pytest.param(
        html(200), FailureKind.NOT_JSON, "the answer is an HTML page, not JSON", id="200 html"
    ),
    pytest.param(Special(), FailureKind.NOT_JSON, "the answer is empty", id="200 empty"),
    pytest.param(
        Special(answer=b"OK"),
        FailureKind.NOT_JSON,
        'the answer is not JSON (Expecting value at character 0): "OK"',
        id="200 text",
    ),
    pytest.param(
        said(200, "There are no open Positions"),
        SHAPE,
        'the answer has no data: "There are no open Positions"',
        id="200 message",
    ),
    pytest.param(
        Special(answer=HEALTHY + b" " * 5_000_000),
        SHAPE,
        "the answer is larger than 4 MiB",
        id="too large",
    ),
    pytest.param(
        Special(headers={"Content-Encoding": "gzip"}, answer=HEALTHY),
        NETWORK,
        "the answer of 127.0.0.1 cannot be unpacked",
        id="no gzip",
    ),
    pytest.param(
        Special(answer=Fault.HANG_UP), NETWORK, "127.0.0.1 hung up before it answered", id="hang up"
    ),
    pytest.param(
        Special(answer=Fault.RESET), NETWORK, "127.0.0.1 reset the connection", id="reset"
    ),
    pytest.param(
        Special(answer=Fault.CUT_BODY), NETWORK, "the answer of 127.0.0.1 broke off", id="cut body"
    ),
    pytest.param(
        Special(answer=Fault.NOT_HTTP), NETWORK, "127.0.0.1 does not speak HTTP", id="no http"
    ),
    pytest.param(
        Special(headers={f"X-{n}": "x" for n in range(200)}),
        NETWORK,
        "127.0.0.1 sent headers that are no HTTP",
        id="too many headers",
    ),
    pytest.param(
        Special(headers={"X": "x" * 100_000}),
        NETWORK,
        "127.0.0.1 sent headers that are no HTTP",
        id="endless header",
    ),
]


@pytest.mark.parametrize(("special", "kind", "text"), FAILURES)
def test_failure_is_named(exchange, special, kind, text):
    exchange.script = [special]
    with client_of(exchange) as client:
        failure = client.poll().outcome
        assert failure == PollFailure(account="main", kind=kind, text=text)
        assert len(wallet_requests(exchange)) == 1
        assert isinstance(client.poll().outcome, Snapshot)


@pytest.mark.parametrize(
    ("off", "kind", "text"),
    [
        pytest.param(
            timedelta(seconds=-75),
            FailureKind.CLOCK,
            "this machine's clock is 1m15s behind the exchange's (401 \"Invalid Access\")",
            id="behind",
        ),
        pytest.param(
            timedelta(hours=2),
            FailureKind.CLOCK,
            "this machine's clock is 2h ahead of the exchange's (401 \"Invalid Access\")",
            id="ahead",
        ),
        pytest.param(
            timedelta(seconds=4),
            FailureKind.CREDENTIALS,
            'the exchange does not accept this key (401 "Invalid Access"); the clock is right',
            id="right enough",
        ),
    ],
)
def test_401_tells_clock_and_credentials_apart(exchange, off, kind, text):
    if kind is FailureKind.CREDENTIALS:
        exchange.script = [said(401, "Invalid Access")]
    with client_of(exchange, clock=lambda: utc_now() + off) as client:
        failure = client.poll().outcome
    assert (failure.kind, failure.text) == (kind, text)
    [_, asked] = exchange.requests
    assert asked.path == TIME
    assert not any(name.startswith("x-auth") for name in asked.headers)


REFUSALS = [said(400, "Nope"), said(401, "Nope"), said(403, "Nope"), said(422, "Nope")]


@pytest.mark.parametrize("refusal", [*REFUSALS, html(403)], ids=lambda special: special.status)
@pytest.mark.parametrize(
    ("off", "words"), [(-75, "1m15s behind"), (7200, "2h ahead of")], ids=["behind", "ahead"]
)
def test_any_refusal_names_the_clock_where_it_is_off(exchange, refusal, off, words):
    exchange.script = [refusal]
    with client_of(exchange, clock=lambda: utc_now() + timedelta(seconds=off)) as client:
        failure = client.poll().outcome
    said_so = f'{refusal.status} "Nope"' if b"Nope" in refusal.answer else "403"
    assert failure.text == f"this machine's clock is {words} the exchange's ({said_so})"
    assert failure.kind is FailureKind.CLOCK


def dated(special, seconds, **headers):
    """An answer of a server whose clock is by so much ahead of this machine's."""
    date = format_datetime(utc_now() + timedelta(seconds=seconds), usegmt=True)
    return replace(special, headers={**special.headers, "Date": date, **headers})


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda special: special.status)
@pytest.mark.parametrize(
    ("seconds", "headers", "kind"),
    [
        pytest.param(90, {}, FailureKind.CLOCK, id="behind"),
        pytest.param(-90, {}, FailureKind.CLOCK, id="ahead"),
        pytest.param(-4, {}, None, id="right enough"),
        pytest.param(-90, {"Age": "90"}, None, id="a kept answer"),
    ],
)
def test_where_nobody_tells_the_time_the_answers_own_date_does(
    exchange, refusal, seconds, headers, kind
):
    answer = dated(refusal, seconds, **headers)
    exchange.script = lambda path: html(404) if path == TIME else answer
    with client_of(exchange) as client:
        failure = client.poll().outcome
    assert (failure.kind is FailureKind.CLOCK) == (kind is FailureKind.CLOCK)
    if kind is FailureKind.CLOCK:
        # a second is what a Date is cut by
        words = "behind" if seconds > 0 else "ahead of"
        assert re.match(rf"this machine's clock is 1m(2[89]|30)s {words} the", failure.text)


@pytest.mark.parametrize(
    "date", ["", "soon", "Thu, 32 Jan 2970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"]
)
def test_a_date_that_is_none_is_no_clock(exchange, date):
    refusal = said(401, Date=date)
    exchange.script = lambda path: html(404) if path == TIME else refusal
    with client_of(exchange) as client:
        assert client.poll().outcome.text.endswith("the clock could not be compared")


def test_slow_time_answer_is_not_taken_for_a_wrong_clock(exchange):
    # the clock moves by 20 s between any two readings, as if each request took so long
    start, reads = utc_now() - timedelta(seconds=30), iter(range(100))
    exchange.clock = lambda: start + timedelta(seconds=50)
    exchange.script = [said(401)]
    with client_of(exchange, clock=lambda: start + timedelta(seconds=20 * next(reads))) as client:
        assert client.poll().outcome.kind is FailureKind.CREDENTIALS


@pytest.mark.parametrize(
    "special",
    [html(500), html(200), Special(answer=Fault.HANG_UP), Special(answer=b"{}"), redirect("/x")],
    ids=["500", "html", "hang up", "no time in it", "redirect"],
)
def test_401_without_a_readable_time_is_credentials(exchange, special):
    exchange.script = lambda path: special if path == TIME else said(401)
    with client_of(exchange) as client:
        failure = client.poll().outcome
    assert failure.kind is FailureKind.CREDENTIALS
    assert failure.text.endswith("the clock could not be compared")


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        pytest.param(
            {"secret_key": Secret("short")}, "the secret key must be 64", id="short secret"
        ),
        pytest.param({"api_key": Secret("")}, "the API key is empty", id="no API key"),
        pytest.param(
            {"api_key": Secret("a\r\nX-Other: b")},
            "the API key is empty or holds",
            id="header injection",
        ),
        pytest.param({"api_key": Secret("ключ")}, "the API key is empty or holds", id="no ASCII"),
    ],
)
def test_unusable_keys_are_not_sent(exchange, key, problem):
    with client_of(exchange, **key) as client:
        failure = client.poll().outcome
    assert failure.kind is FailureKind.CREDENTIALS
    assert failure.text.startswith(problem)
    assert exchange.requests == []


def test_nothing_listens(exchange):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with client_of(exchange, base_url=f"http://127.0.0.1:{port}") as client:
        failure = client.poll().outcome
    assert (failure.kind, failure.text) == (NETWORK, "127.0.0.1 refused the connection")


def test_full_backlog_ends_at_the_deadline(exchange):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        with client_of(exchange, base_url=f"http://127.0.0.1:{port}", timeout=LIMIT) as client:
            assert_fails_in_time(client)
        for sock in waiting:
            sock.close()


@pytest.mark.parametrize(
    ("base_url", "text"),
    [
        pytest.param("https://[", "base URL is not valid", id="brackets"),
        pytest.param("https://", "base URL is not valid", id="no host"),
        pytest.param("ftp://127.0.0.1", "of a kind that is not supported", id="ftp"),
        pytest.param(f"http://{'a' * 70}.example", "no connection to", id="no name"),
    ],
)
def test_base_url_that_cannot_work_is_a_failure(exchange, base_url, text):
    with client_of(exchange, base_url=base_url) as client:
        failure = client.poll().outcome
    assert failure.kind is NETWORK
    assert text in failure.text


def test_base_url_in_upper_case_works(exchange):
    with client_of(
        exchange, base_url=exchange.base_url.replace("http://127.0.0.1", "HTTP://LOCALHOST")
    ) as client:
        assert isinstance(client.poll().outcome, Snapshot)


def test_name_that_does_not_resolve(exchange, monkeypatch):
    def unknown(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with client_of(exchange, base_url="http://exchange.invalid") as client:
        failure = client.poll().outcome
    assert failure.text == "the name of exchange.invalid cannot be resolved"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        pytest.param(errno.ENETUNREACH, "this machine has no network in which", id="no network"),
        pytest.param(errno.EPERM, "this machine does not allow a connection to", id="firewall"),
        pytest.param(errno.EMFILE, "this program has too many open files for", id="files"),
    ],
)
def test_what_this_machine_refuses_is_not_blamed_on_the_exchange(
    exchange, monkeypatch, number, words
):
    def refused(*_args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Deadline, "_connected", refused)
    with client_of(exchange) as client:
        failure = client.poll().outcome
    assert failure.kind is NETWORK
    assert failure.text.startswith(words)


def test_name_server_that_is_away_is_not_blamed_on_the_exchange(exchange, monkeypatch):
    def unanswered(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unanswered)
    with client_of(exchange, base_url="http://exchange.invalid") as client:
        failure = client.poll().outcome
    assert failure.text == (
        "this machine's name server does not answer, so the name of exchange.invalid is not known"
    )


def test_black_hole_does_not_eat_the_time_of_the_next_address(exchange, monkeypatch):
    port = int(exchange.base_url.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", full.getsockname()),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: found)
        with client_of(
            exchange, base_url=f"http://exchange.invalid:{port}", timeout=LIMIT * 2
        ) as client:
            started = time.monotonic()
            assert isinstance(client.poll().outcome, Snapshot)
            assert time.monotonic() - started < LIMIT.total_seconds() * 1.8
        for sock in waiting:
            sock.close()


# ── Retry-After ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        pytest.param("7", 7, id="seconds"),
        pytest.param(" 7 ", 7, id="blanks"),
        pytest.param("0", 1, id="zero"),
        pytest.param("86400", 300, id="a day"),
        pytest.param(None, 60, id="absent"),
        pytest.param("", 60, id="empty"),
        pytest.param("-5", 60, id="negative"),
        pytest.param("1.5", 60, id="fraction"),
        pytest.param("soon", 60, id="word"),
        pytest.param("٣", 60, id="other digits"),
        pytest.param("9" * 50, 60, id="endless"),
        pytest.param("Thu, 01 Jan 1970 00:00:00 GMT", 1, id="past date"),
        pytest.param("Thu, 01 Jan 2970 00:00:00 GMT", 300, id="far date"),
        pytest.param("Thu, 32 Jan 2970 00:00:00 GMT", 60, id="no date"),
    ],
)
def test_retry_after_is_honoured_without_touching_the_wire(exchange, sent, seconds):
    now, started = 0.0, utc_now()
    special = said(429) if sent is None else said(429, **{"Retry-After": sent})
    exchange.script = [special]
    exchange.clock = lambda: started + timedelta(seconds=now)
    with client_of(exchange, clock=exchange.clock, monotonic=lambda: now) as client:
        failure = client.poll().outcome
        assert failure.kind is FailureKind.RATE_LIMIT
        assert failure.retry_after == timedelta(seconds=seconds)
        assert failure.text.startswith('too many requests (429 "Nope"); not asked before 2')
        now = seconds - 0.5
        again = client.poll().outcome
        assert (again.kind, again.text) == (failure.kind, failure.text)
        assert again.retry_after == timedelta(seconds=0.5)
        assert len(exchange.requests) == 1
        now = float(seconds)
        assert isinstance(client.poll().outcome, Snapshot)


def test_retry_after_as_a_date_counts_from_the_local_clock(exchange):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    exchange.script = [
        said(429, **{"Retry-After": format_datetime(at + timedelta(seconds=90), usegmt=True)})
    ]
    with client_of(exchange, clock=lambda: at) as client:
        failure = client.poll().outcome
    assert failure.retry_after == timedelta(seconds=90)
    assert failure.text.endswith("not asked before 2026-01-01T00:01:31Z")


def test_exchange_that_is_down_may_say_until_when(exchange):
    exchange.script = [said(503, **{"Retry-After": "30"})]
    with client_of(exchange) as client:
        first, second = client.poll().outcome, client.poll().outcome
    assert first.kind is second.kind is DOWN
    assert first.retry_after == timedelta(seconds=30)
    assert len(exchange.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_the_next_process_asks_no_sooner_and_says_so_in_the_same_words(exchange, status):
    exchange.script = [said(status, **{"Retry-After": "30"})]
    with client_of(exchange) as client:
        first, pace = client.poll().outcome, client.pace()
    with client_of(exchange, remembered=pace) as client:
        second = client.poll().outcome
    assert (second.kind, second.text) == (first.kind, first.text)
    assert timedelta(seconds=29) < second.retry_after <= timedelta(seconds=30)
    assert len(exchange.requests) == 1


def test_processes_together_keep_our_own_limit(exchange):
    pace, outcomes = None, []
    for _ in range(4):
        with client_of(exchange, rate_requests=3, remembered=pace) as client:
            outcomes.append(client.poll().outcome)
            pace = client.pace()
    assert [type(outcome) for outcome in outcomes] == [Snapshot] * 3 + [PollFailure]
    assert outcomes[-1].text == "own limit of 3 per 60s used up"
    assert len(exchange.requests) == 3


def test_what_the_next_process_is_told_holds_no_secret(exchange):
    exchange.script = [said(429, f"key {exchange.api_key} asks too often")]
    with client_of(exchange) as client:
        client.poll()
        assert "asks too often" in client.pace()
        assert exchange.api_key not in client.pace()


def test_limit_of_the_exchange_is_met_as_a_failure():
    with LoopbackExchange(enforce_limit=True) as strict, client_of(strict) as client:
        kinds = [type(client.poll().outcome) for _ in range(21)]
    assert kinds == [Snapshot] * 20 + [PollFailure]


# ── the retry ───────────────────────────────────────────────────────────────


def test_dropped_kept_connection_is_tried_once_more(exchange):
    exchange.script = [None, Special(answer=Fault.HANG_UP), None]
    with client_of(exchange) as client:
        assert isinstance(client.poll().outcome, Snapshot)
        assert isinstance(client.poll().outcome, Snapshot)
        assert client._wire.deadline.opened == 2
    seen = wallet_requests(exchange)
    assert len(seen) == 3
    assert len({one.headers["x-auth-epoch"] for one in seen}) == 3


@pytest.mark.parametrize("fault", [Fault.HANG_UP, Fault.RESET])
def test_second_drop_is_a_failure(exchange, fault):
    exchange.script = [None, Special(answer=fault), Special(answer=fault), None]
    with client_of(exchange) as client:
        client.poll()
        assert client.poll().outcome.kind is NETWORK
    assert len(wallet_requests(exchange)) == 3


def test_retry_counts_against_the_limit(exchange):
    exchange.script = [None, Special(answer=Fault.HANG_UP), None]
    with client_of(exchange, rate_requests=2) as client:
        client.poll()
        assert client.poll().outcome.kind is NETWORK
    assert len(wallet_requests(exchange)) == 2


@pytest.mark.parametrize("fault", [Fault.HANG_UP, Fault.RESET])
def test_fresh_connection_is_not_tried_again(exchange, fault):
    exchange.script = [Special(answer=fault)] * 2
    with client_of(exchange) as client:
        client.poll()
    assert len(wallet_requests(exchange)) == 1


@pytest.mark.parametrize("fault", [Fault.CUT_BODY, Fault.HANG, Fault.NOT_HTTP])
def test_what_is_not_a_drop_is_not_tried_again(exchange, fault):
    exchange.script = [None, Special(answer=fault), None]
    with client_of(exchange, timeout=PATIENCE) as client:
        client.poll()
        assert client.poll().outcome.kind is NETWORK
    assert len(wallet_requests(exchange)) == 2


def test_connection_closed_between_polls_costs_nothing(exchange):
    exchange.script = [Special(headers={"Connection": "close"}, answer=HEALTHY)] * 3
    with client_of(exchange) as client:
        assert all(isinstance(client.poll().outcome, Snapshot) for _ in range(3))
    assert len(wallet_requests(exchange)) == 3


# ── the deadline, and cancelling ────────────────────────────────────────────


def assert_fails_in_time(client, text="no complete answer from 127.0.0.1 within 300ms"):
    started = time.monotonic()
    failure = client.poll().outcome
    took = time.monotonic() - started
    assert took < LIMIT.total_seconds() + SLACK
    assert failure.kind is NETWORK
    assert failure.text in {
        text,
        "no connection to 127.0.0.1 within 300ms",
        "no answer from 127.0.0.1 within 300ms",
    }


SLOW = [Fault.HANG, Fault.DRIP_HEADERS, Fault.DRIP_BODY, Fault.DRIP_ENDLESS]


@pytest.mark.parametrize("fault", SLOW)
@pytest.mark.parametrize("headers", [{}, {"Connection": "close"}], ids=["keep", "close"])
def test_slow_answer_ends_at_the_deadline(exchange, fault, headers):
    exchange.script = [Special(answer=fault, headers=headers), None]
    with client_of(exchange, timeout=LIMIT) as client:
        assert_fails_in_time(client)
        assert isinstance(client.poll().outcome, Snapshot)


def test_body_without_a_length_cut_by_the_deadline_is_no_answer(exchange):
    # the wallet is complete before the deadline; blanks follow it for ever
    exchange.wallet = {**DOCUMENTED_WALLET, "pad": ""}
    with (
        dripping_server(HEALTHY) as url,
        client_of(exchange, base_url=url, timeout=LIMIT) as client,
    ):
        assert_fails_in_time(client)


@contextmanager
def dripping_server(start: bytes):
    """Sends headers without a length and a whole body, and then a blank now and then."""
    stop = threading.Event()

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + start)
            while not stop.wait(0.02):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        stop.set()
        thread.join(2)


def test_deadline_covers_the_question_for_the_time(exchange):
    exchange.script = lambda path: Special(answer=Fault.DRIP_BODY) if path == TIME else said(401)
    with client_of(exchange, timeout=LIMIT) as client:
        started = time.monotonic()
        failure = client.poll().outcome
    assert time.monotonic() - started < LIMIT.total_seconds() + SLACK
    assert failure.kind is FailureKind.CREDENTIALS


def test_refusal_with_a_dripping_page_is_still_named(exchange):
    exchange.script = [Special(status=503, answer=Fault.DRIP_BODY)]
    with client_of(exchange, timeout=LIMIT) as client:
        failure = client.poll().outcome
    assert (failure.kind, failure.text) == (DOWN, "the exchange answers 503")


def test_tls_handshake_that_never_ends_ends_at_the_deadline(exchange):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        with client_of(exchange, base_url=url, timeout=LIMIT) as client:
            assert_fails_in_time(client)


def test_name_that_never_resolves_ends_at_the_deadline(exchange, monkeypatch):
    release, asked = threading.Event(), []

    def slow(*args, **_kwargs):
        asked.append(args)
        release.wait(5)
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    try:
        with client_of(exchange, base_url="http://exchange.invalid", timeout=LIMIT) as client:
            for _ in range(2):
                assert_fails_in_time(
                    client, "no complete answer from exchange.invalid within 300ms"
                )
            assert len(asked) == 1  # the same look-up is waited for, not a second one started
    finally:
        release.set()


@pytest.mark.parametrize("fault", SLOW)
def test_cancel_ends_a_poll_at_once_and_all_later_ones(exchange, fault):
    exchange.script = [Special(answer=fault)]
    with client_of(exchange, timeout=timedelta(seconds=30)) as client:
        results = []
        thread = threading.Thread(target=lambda: results.append(client.poll().outcome))
        thread.start()
        while exchange.left:
            time.sleep(0.005)
        time.sleep(0.05)
        started = time.monotonic()
        client.cancel()
        thread.join(5)
        assert time.monotonic() - started < SLACK
        assert (results[0].kind, results[0].text) == (NETWORK, "cancelled")
        assert client.poll().outcome.text == "cancelled"
    assert len(exchange.requests) == 1


def test_close_leaves_nothing_behind(exchange):
    before = set(threading.enumerate())
    with client_of(exchange, timeout=LIMIT) as client:
        exchange.script = [
            None,
            Special(answer=Fault.DRIP_BODY),
            Special(answer=Fault.HANG_UP),
            None,
        ]
        for _ in range(4):
            client.poll()
        assert len(client._wire.deadline._handles) == 1
    assert client._wire.deadline._handles == set()
    assert client.poll().outcome.text == "cancelled"
    left = [t for t in set(threading.enumerate()) - before if t.name.startswith("alerting")]
    for thread in left:
        thread.join(1)
        assert not thread.is_alive()


# ── what it must not do ─────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_target_is_never_contacted(exchange, status):
    with LoopbackExchange() as target:
        exchange.script = [redirect(target.base_url + WALLET, status)]
        with client_of(exchange) as client:
            failure = client.poll().outcome
        assert failure.text == "redirect to host 127.0.0.1 not followed"
        assert target.requests == []
    assert len(exchange.requests) == 1


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        pytest.param("POST", WALLET, None, id="post"),
        pytest.param("DELETE", WALLET, None, id="delete"),
        pytest.param("get", WALLET, b"x", id="body"),
        pytest.param("GET", "/trade/api/v2/futures/order", None, id="another path"),
        pytest.param("GET", WALLET + "?exchange=EXCHANGE_2", None, id="query"),
        pytest.param("GET", WALLET + "/../order", None, id="dots"),
        pytest.param("GET", "@evil.example" + WALLET, None, id="another host"),
        pytest.param("GET", "//" + WALLET, None, id="slashes"),
    ],
)
def test_session_refuses_all_but_reading_before_a_byte_is_sent(exchange, method, url, body):
    with client_of(exchange) as client:
        with pytest.raises(ForbiddenRequestError):
            client._wire.session.request(method, exchange.base_url + url, data=body)
        assert client._wire.deadline.opened == 0
    assert exchange.requests == []


def test_every_request_of_a_long_life_is_an_allowed_get(exchange):
    broken = [answer for answer in broken_answers() if answer[3] not in SLOW]
    exchange.script = as_script(broken)
    with client_of(exchange) as client:
        for _ in broken:
            client.poll()
    allowed = {("GET", WALLET), ("GET", TIME)}
    assert {(seen.method, seen.path) for seen in exchange.requests} == allowed


def test_netrc_is_not_read(exchange, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with client_of(exchange) as client:
        client.poll()
    assert "authorization" not in exchange.requests[0].headers


def test_nothing_secret_in_texts_or_logs(exchange, caplog):
    caplog.set_level(logging.DEBUG)
    echo = f'{{"message": "bad key {DEMO_API_KEY} or {SEED}"}}'.encode()
    exchange.script = [Special(status=status, answer=echo) for status in (200, 401, 403, 422, 500)]
    with client_of(exchange) as client:
        texts = [str(client.poll().outcome) for _ in range(5)]
        shown = repr(client) + repr(vars(client))
    for text in (*texts, caplog.text, shown):
        assert SEED[:16] not in text
        assert DEMO_API_KEY[:16] not in text
    assert "bad key *** or ***" in texts[0]


def test_key_that_is_no_hex_is_masked_too(exchange):
    exchange.script = [said(422, "unknown key my-own-api-key"), said(429, "stop my-own-api-key")]
    with client_of(exchange, api_key=Secret("my-own-api-key")) as client:
        assert client.poll().outcome.text == 'unexpected answer 422 "unknown key ***"'
        assert "my-own-api-key" not in client.poll().outcome.text


# ── broken answers, all of them ─────────────────────────────────────────────


def test_broken_answers_are_failures_and_the_next_good_one_is_read(exchange):
    broken = broken_answers()
    exchange.script = as_script(broken)
    with client_of(exchange, timeout=PATIENCE) as client:
        for name, *_ in broken:
            outcome = client.poll().outcome
            assert isinstance(outcome, PollFailure), name
            assert 0 < len(outcome.text) < 300, name
            assert outcome.text.isprintable(), name
            assert outcome.retry_after is None, name
        assert exchange.left == 0
        assert isinstance(client.poll().outcome, Snapshot)


def test_flawed_answers_are_snapshots(exchange):
    flawed = flawed_answers()
    exchange.script = as_script(flawed)
    with client_of(exchange, timeout=LIMIT) as client:
        for name, *_ in flawed:
            assert isinstance(client.poll().outcome, Snapshot), name


@settings(max_examples=150, deadline=None)
@given(
    cut=st.integers(0, 400),
    noise=st.binary(max_size=30),
    header=st.sampled_from(
        [
            "Location",
            "Set-Cookie",
            "Retry-After",
            "Content-Encoding",
            "Content-Length",
            "Transfer-Encoding",
            "Connection",
            "Content-Type",
            "X",
        ]
    ),
    value=st.binary(max_size=30),
    status=st.sampled_from([b"200", b"301", b"401", b"429", b"503", b"-1", b"20", b"9999"]),
)
def test_arbitrary_http_never_crashes(cut, noise, header, value, status):
    head = b"HTTP/1.1 " + status + b" OK\r\n" + header.encode() + b": " + value + b"\r\n\r\n"
    raw = head + HEALTHY
    raw = raw[:cut] + noise + raw[cut:]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_all, args=(listener, raw), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with client_of(account(), base_url=url, timeout=timedelta(seconds=2)) as client:
            outcome = client.poll().outcome
        assert isinstance(outcome, PollFailure | Snapshot)
        assert isinstance(outcome, Snapshot) or outcome.text.isprintable()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(2)


def answer_all(listener, raw):
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            try:
                connection.recv(65536)
                connection.sendall(raw)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(65536)
            except OSError:
                pass


# ── TLS ─────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def server_context(authority, *names, **kwargs):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **kwargs).configure_cert(context)
    return context


@pytest.fixture
def trusted(authority, monkeypatch, tmp_path):
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))


def test_tls_with_a_trusted_certificate(authority, trusted):
    with LoopbackExchange(tls=server_context(authority, "127.0.0.1")) as exchange:
        exchange.script = [None, Special(answer=Fault.HANG_UP), None]
        with client_of(exchange) as client:
            assert [type(client.poll().outcome) for _ in range(2)] == [Snapshot, Snapshot]
            assert len(exchange.requests) == 3


@pytest.mark.parametrize("fault", SLOW)
def test_tls_answer_that_is_slow_ends_at_the_deadline(authority, trusted, fault):
    with LoopbackExchange(tls=server_context(authority, "127.0.0.1")) as exchange:
        exchange.script = [None, Special(answer=fault)]
        with client_of(exchange, timeout=LIMIT) as client:
            assert isinstance(client.poll().outcome, Snapshot)
            assert_fails_in_time(client)


def assert_certificate_refused(exchange, why):
    with client_of(exchange) as client:
        failure = client.poll().outcome
    assert failure.kind is NETWORK
    assert failure.text.startswith("the TLS certificate of 127.0.0.1 is not valid: ")
    assert why in failure.text
    assert exchange.requests == []


def test_tls_with_an_unknown_authority():
    with LoopbackExchange(tls=server_context(trustme.CA(), "127.0.0.1")) as exchange:
        assert_certificate_refused(exchange, "unable to get local issuer certificate")


def test_tls_with_another_hosts_certificate(authority, trusted):
    with LoopbackExchange(tls=server_context(authority, "other.example")) as exchange:
        assert_certificate_refused(exchange, "certificate is not valid for '127.0.0.1'")


def test_tls_with_an_expired_certificate(authority, trusted):
    past = datetime(2020, 1, 1, tzinfo=UTC)
    context = server_context(authority, "127.0.0.1", not_after=past)
    with LoopbackExchange(tls=context) as exchange:
        assert_certificate_refused(exchange, "certificate has expired")


def test_tls_to_a_plain_server(exchange):
    with client_of(exchange, base_url=exchange.base_url.replace("http:", "https:")) as client:
        failure = client.poll().outcome
    assert (failure.kind, failure.text) == (NETWORK, "no TLS connection to 127.0.0.1")


def test_unreadable_bundle_is_a_failure(authority, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with LoopbackExchange(tls=server_context(authority, "127.0.0.1")) as exchange:
        with client_of(exchange) as client:
            failure = client.poll().outcome
    text = "the CA bundle REQUESTS_CA_BUNDLE=/nowhere/ca.pem does not exist"
    assert (failure.kind, failure.text) == (NETWORK, text)


# ── proxies ─────────────────────────────────────────────────────────────────


@contextmanager
def proxy(target_port, answer=b"HTTP/1.1 200 OK\r\n\r\n"):
    """A CONNECT proxy that leads every tunnel to one port of this machine."""
    asked = []

    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for sock in (source, sink):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def serve():
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client, socket.create_connection(("127.0.0.1", target_port)) as server:
            asked.append(client.recv(65536))
            client.sendall(answer)
            if b"200" not in answer:
                return
            back = threading.Thread(target=pump, args=(server, client), daemon=True)
            back.start()
            pump(client, server)
            back.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://user:hunter2@127.0.0.1:{listener.getsockname()[1]}", asked
        thread.join(2)


def port_of(exchange):
    return int(exchange.base_url.rpartition(":")[2])


def test_proxy_of_the_environment_is_used_under_the_deadline(authority, trusted, monkeypatch):
    context = server_context(authority, "exchange.invalid")
    with LoopbackExchange(tls=context) as exchange, proxy(port_of(exchange)) as (url, asked):
        monkeypatch.setenv("HTTPS_PROXY", url)
        exchange.script = [None, Special(answer=Fault.DRIP_BODY)]
        with client_of(exchange, base_url="https://exchange.invalid", timeout=LIMIT) as client:
            assert isinstance(client.poll().outcome, Snapshot)
            assert_fails_in_time(client, "no complete answer from exchange.invalid within 300ms")
    assert asked[0].startswith(b"CONNECT exchange.invalid:443 ")
    assert b"X-AUTH" not in asked[0]


def test_certificate_that_comes_through_a_proxy_names_both(trusted, monkeypatch):
    context = server_context(trustme.CA(), "exchange.invalid")
    with LoopbackExchange(tls=context) as exchange, proxy(port_of(exchange)) as (url, _):
        monkeypatch.setenv("HTTPS_PROXY", url)
        with client_of(exchange, base_url="https://exchange.invalid") as client:
            text = client.poll().outcome.text
    assert text.startswith("the TLS certificate of exchange.invalid is not valid: unable to get")
    assert f"; judged by REQUESTS_CA_BUNDLE={os.environ['REQUESTS_CA_BUNDLE']}" in text
    assert f"; through the proxy HTTPS_PROXY={url.replace('user:hunter2', '***')}" in text


def test_proxy_that_refuses_is_named_without_its_password(exchange, monkeypatch):
    with proxy(port_of(exchange), b"HTTP/1.1 407 Login first\r\n\r\n") as (url, _):
        monkeypatch.setenv("HTTPS_PROXY", url)
        with client_of(exchange, base_url="https://exchange.invalid") as client:
            failure = client.poll().outcome
    shown = url.replace("user:hunter2", "***")
    text = f"the proxy HTTPS_PROXY={shown} does not accept its user and password (407)"
    assert (failure.kind, failure.text) == (NETWORK, text)


def test_this_machine_is_never_reached_by_a_proxy(exchange, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with client_of(exchange) as client:
        assert isinstance(client.poll().outcome, Snapshot)


# ── and one poll only ───────────────────────────────────────────────────────


def test_import_needs_no_apprise_and_no_jinja():
    code = "import sys, alerting.exchanges.coinswitch.client; sys.exit(bool({'apprise', 'jinja2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_allowed_paths_are_these():
    assert {page.endpoint.value for page in PAGES} == {
        "/trade/api/v2/futures/wallet_balance",
        "/trade/api/v2/futures/positions",
        "/trade/api/v2/futures/instrument_info",
        "/trade/api/v2/futures/transactions",
        "/trade/api/v2/time",
    }


def test_requests_does_not_follow_by_itself(exchange):
    session = ReadOnlySession(exchange.base_url, Deadline())
    exchange.script = [redirect("/elsewhere")]
    with session:
        request = requests.Request("GET", exchange.base_url + WALLET)
        response = session.send(session.prepare_request(request), timeout=5)
        assert response.status_code == 302
    assert len(exchange.requests) == 1


def test_the_pace_goes_by_the_programs_clock_and_requests_by_the_machines(exchange):
    """One cycle from cron by a clock that jumped must not forget a pause."""
    then = utc_now() - timedelta(days=2)
    exchange.script = [Special(status=429, headers={"Retry-After": "100"})]
    with client_of(exchange, steady=lambda: then) as client:
        client.poll()
        pace = client.pace()
    with client_of(exchange, remembered=pace, steady=lambda: then) as client:
        assert isinstance(client.poll().outcome, PollFailure)
    assert len(wallet_requests(exchange)) == 1
    with client_of(exchange, remembered=pace) as client:
        assert isinstance(client.poll().outcome, Snapshot)
