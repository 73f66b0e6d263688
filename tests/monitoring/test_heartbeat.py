"""The heartbeat: when it pings, whom it believes, and that it delays nothing."""

from __future__ import annotations

import functools
import json
import logging
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from alerting import logs
from alerting.engine import evaluation
from alerting.engine.rules import ReceiverPolicy
from alerting.monitoring.heartbeat import (
    CRON_JITTER,
    DAEMON_JITTER,
    Heartbeat,
    is_due,
    obstacle,
    ping,
)
from alerting.redaction import REDACTOR, Secret
from tests.support.configs import TOKEN, make_config, see, url_of, watching
from tests.support.factories import T0, M, S, make_failure, make_snapshot, make_wallet
from tests.support.fakes import FakeClock
from tests.support.servers import Certificates, Reply, drip, drip_body, hang, hang_up

FRESH = T0 - M


# ── when all is well ────────────────────────────────────────────────────────


def never_polled(store):
    """Nothing."""


def good(store):
    see(store)


def suspect(store):
    see(store, outcome=make_snapshot(make_wallet("2000", total_balance="5"), at=T0))


def failed_first(store):
    see(store, outcome=make_failure())


def failed_now(store):
    see(store, at=T0 - 15 * S)
    see(store, outcome=make_failure())


def failed_before(store):
    see(store, at=T0 - 15 * S, outcome=make_failure())
    see(store)


def read_long_ago(store):
    see(store, at=FRESH - S)


def read_just_in_time(store):
    see(store, at=FRESH)


def waiting(age, store):
    see(store, "50", at=T0 - age)
    see(store, "50")


def accepted(store):
    waiting(10 * M, store)
    store.mark_sent(store.claim("desk", now=T0), reason="ok", now=T0)


def given_up(store):
    see(store, "50")
    store.mark_dead(store.claim("desk", now=T0), reason="bad token", now=T0)


def given_up_then_accepted(store):
    given_up(store)
    store.note_accepted("desk", now=T0 + S)


def waiting_for_a_removed_receiver(store):
    ruleset = replace(make_config().ruleset, receivers={"old": ReceiverPolicy()})
    routes = (replace(ruleset.routes[0], receivers=("old",)),)
    snapshot = make_snapshot(make_wallet("50"), at=T0 - 10 * M)
    step = functools.partial(
        evaluation.evaluate, replace(ruleset, routes=routes), outcome=snapshot, now=T0 - 10 * M
    )
    store.evaluate("main", step)
    see(store, "2000")


@pytest.mark.parametrize(
    ("arrange", "expected"),
    [
        pytest.param(good, None, id="read"),
        pytest.param(suspect, None, id="suspect-data-is-read"),
        pytest.param(failed_before, None, id="readable-again"),
        pytest.param(read_just_in_time, None, id="read-at-the-limit"),
        pytest.param(functools.partial(waiting, 5 * M), None, id="waiting-5m"),
        pytest.param(accepted, None, id="accepted"),
        pytest.param(given_up_then_accepted, None, id="accepted-since"),
        pytest.param(waiting_for_a_removed_receiver, None, id="removed-receiver"),
        pytest.param(never_polled, "account main was never read", id="never-polled"),
        pytest.param(failed_first, "account main was never read", id="never-read"),
        pytest.param(failed_now, "account main: the last poll failed", id="failed"),
        pytest.param(
            read_long_ago, "account main was last read at 2025-12-31T23:58:59Z", id="old-snapshot"
        ),
        pytest.param(
            functools.partial(waiting, 5 * M + S),
            "receiver desk: a notification is overdue or was given up",
            id="waiting-longer",
        ),
        pytest.param(
            given_up, "receiver desk: a notification is overdue or was given up", id="given-up"
        ),
    ],
)
def test_what_stands_in_the_way(store, arrange, expected):
    arrange(store)

    wrong = obstacle(make_config().ruleset, store, since=FRESH, now=T0)

    assert (wrong and str(wrong)) == expected


def test_every_account_has_to_be_read(store):
    both = replace(make_config().ruleset, accounts=("main", "second"))
    see(store)

    wrong = obstacle(both, store, since=FRESH, now=T0)

    assert str(wrong) == "account second was never read"


def test_every_receiver_counts(store):
    ruleset = make_config().ruleset
    phone = {"phone": ReceiverPolicy()}
    given_up(store)
    store.note_accepted("desk", now=T0 + S)

    assert obstacle(ruleset, store, since=FRESH, now=T0) is None
    see(store, "0.5", at=T0 + S)
    store.mark_dead(store.claim("desk", now=T0 + 2 * S), reason="gone", now=T0 + 2 * S)
    both = replace(ruleset, receivers=phone | ruleset.receivers)
    wrong = obstacle(both, store, since=FRESH, now=T0)
    assert str(wrong).startswith("receiver desk")


@pytest.mark.parametrize(
    ("since", "every", "jitter", "expected"),
    [
        pytest.param(None, M, DAEMON_JITTER, True, id="the-first"),
        pytest.param(59 * S, M, DAEMON_JITTER, False, id="too-early"),
        pytest.param(59.6 * S, M, DAEMON_JITTER, True, id="daemon-jitter"),
        pytest.param(60 * S, M, DAEMON_JITTER, True, id="on-time"),
        pytest.param(59 * S, M, CRON_JITTER, True, id="cron-started-a-second-early"),
        pytest.param(55 * S, M, CRON_JITTER, True, id="cron-jitter"),
        pytest.param(54.9 * S, M, CRON_JITTER, False, id="cron-too-early"),
        pytest.param(4 * S, 5 * S, CRON_JITTER, False, id="jitter-is-at-most-a-tenth"),
        pytest.param(-3600 * S, M, DAEMON_JITTER, True, id="the-clock-was-set-back"),
        pytest.param(0 * S, M, CRON_JITTER, False, id="at-once-again"),
    ],
)
def test_when_a_ping_is_due(since, every, jitter, expected):
    last = None if since is None else T0 - since

    assert is_due(last, every=every, jitter=jitter, now=T0) is expected


# ── one ping ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        pytest.param(Reply(200, "OK"), None, id="200"),
        pytest.param(Reply(204), None, id="204"),
        pytest.param(Reply(301, headers={"Location": "/x"}), "it answered 301", id="301"),
        pytest.param(Reply(404), "it answered 404", id="404"),
        pytest.param(Reply(503), "it answered 503", id="503"),
        pytest.param(Reply(407), "the proxy asks for a login (407)", id="407"),
        pytest.param(Reply(511), "the network of this machine asks for a login (511)", id="511"),
        pytest.param(hang_up, "connection lost", id="hang-up"),
        pytest.param(drip_body, None, id="its-body-does-not-matter"),
    ],
)
def test_what_counts_as_taken(serve, behaviour, expected):
    server = serve(behaviour)

    result = ping(url_of(server))

    assert (result or "").startswith(expected or "")
    assert (result is None) == (expected is None)
    assert [request.line for request in server.requests] == [f"GET /{TOKEN} HTTP/1.1"]
    assert server.requests[0].headers["user-agent"].startswith("alerting/")


def test_nobody_there():
    assert ping(Secret("http://127.0.0.1:1/x")) == "connection refused"


@pytest.mark.parametrize(
    "behaviour", [pytest.param(hang, id="hang"), pytest.param(drip, id="drip")]
)
def test_a_ping_is_bounded(serve, behaviour):
    began = time.monotonic()

    assert (
        ping(url_of(serve(behaviour)), patience=timedelta(seconds=0.3))
        == "no complete answer within 0.3 s"
    )
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("trusted", "expected"),
    [
        pytest.param(True, None, id="trusted"),
        pytest.param(False, "its certificate is not trusted", id="stranger"),
    ],
)
def test_tls_is_verified(serve, tmp_path, monkeypatch, trusted, expected):
    certificates = Certificates()
    pem = tmp_path / "ca.pem"
    certificates.authority.cert_pem.write_to_path(str(pem))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    server = serve(Reply(200), context=certificates.context("127.0.0.1", trusted=trusted))

    result = ping(url_of(server, "https"))

    assert (result or "").startswith(expected or "")
    assert (result is None) == trusted
    assert len(server.requests) == int(trusted)


# ── ping after ping ─────────────────────────────────────────────────────────


def test_at_most_one_ping_per_time_across_processes(store, serve):
    server, clock = serve(Reply(200)), FakeClock()
    config = watching(server)
    see(store)
    pings = []
    for seconds in (0, 15, 45, 59, 60, 61, 121):
        clock.now = T0 + seconds * S
        Heartbeat(store, clock=clock).ping_if_due(config, since=FRESH)
        pings.append(len(server.requests))

    assert pings == [1, 1, 1, 1, 2, 2, 3]


def test_no_ping_while_something_stands_in_the_way(store, serve):
    server, clock = serve(Reply(200)), FakeClock()
    heartbeat = Heartbeat(store, clock=clock)
    see(store, outcome=make_failure())
    heartbeat.ping_if_due(watching(server), since=FRESH)
    assert server.requests == []

    see(store)
    heartbeat.ping_if_due(watching(server), since=FRESH)
    assert len(server.requests) == 1


def test_no_heartbeat_no_ping_and_nothing_is_read(store):
    store.close()

    Heartbeat(store, clock=FakeClock()).ping_if_due(make_config(), since=FRESH)


def test_a_failed_ping_is_one_warning_and_is_tried_again(store, serve, caplog):
    server, clock = serve(Reply(500), Reply(500), Reply(200), Reply(500)), FakeClock()
    heartbeat = Heartbeat(store, clock=clock)
    see(store)
    for seconds in (0, 15, 30, 45, 90):
        clock.now = T0 + seconds * S
        heartbeat.ping_if_due(watching(server), since=FRESH)

    assert len(server.requests) == 4, "refused twice, taken, and the next one when it is due"
    warned = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert warned == ["the heartbeat was not taken: it answered 500"] * 2


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(Reply(200), id="taken"),
        pytest.param(Reply(500), id="refused"),
        pytest.param(Reply(302, headers={"Location": f"/elsewhere/{TOKEN}"}), id="redirected"),
        pytest.param(hang_up, id="hang-up"),
        pytest.param(None, id="nobody-there"),
    ],
)
@pytest.mark.parametrize("form", logs.FORMATS)
def test_the_secret_is_in_no_log_at_any_level(store, serve, capsys, monkeypatch, behaviour, form):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    server = serve(behaviour or Reply(200))
    if behaviour is None:
        server.close()
    config = watching(server)
    REDACTOR.learn_url(config.heartbeat.url.reveal())
    logs.set_up("debug", form)
    see(store)

    Heartbeat(store, clock=FakeClock()).ping_if_due(config, since=FRESH)

    said = capsys.readouterr()
    assert said.err
    assert TOKEN not in said.err + said.out
    assert TOKEN not in repr(config)
    assert TOKEN not in json.dumps(store.meta("heartbeat.last_ping_at"))


@pytest.mark.parametrize("text", ["yesterday", "9999-99-99", "2026-01-01T00:00:00", "[]"])
def test_a_damaged_instant_of_the_last_ping_is_none(store, serve, text):
    server = serve(Reply(200))
    good(store)
    store.set_meta("heartbeat.last_ping_at", text)
    Heartbeat(store, clock=FakeClock()).ping_if_due(watching(server), since=FRESH)
    assert len(server.requests) == 1
