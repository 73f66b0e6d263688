"""What each answer of a service is judged to be, seen on real loopback servers."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from alerting.notify.attempts import SendOutcome
from alerting.notify.receivers import build_notifier
from tests.support import servers
from tests.support.receivers import (
    DISCORD,
    FAST,
    HOSTS,
    PAGE,
    SLACK,
    SLACK_BOT,
    TELEGRAM,
    message,
    receiver,
    send,
    telegram,
)
from tests.support.servers import HttpServer, Reply

ACCEPTED, TRANSIENT = SendOutcome.ACCEPTED, SendOutcome.TRANSIENT
PERMANENT, UNKNOWN = SendOutcome.PERMANENT, SendOutcome.UNKNOWN


@pytest.mark.parametrize(
    ("url", "reply", "outcome", "delay", "payload"),
    [
        pytest.param(SLACK, Reply(200, "ok"), ACCEPTED, None, False, id="slack-ok"),
        pytest.param(SLACK, Reply(200, PAGE), UNKNOWN, None, False, id="slack-200-with-html"),
        pytest.param(SLACK, Reply(200, ""), UNKNOWN, None, False, id="slack-200-empty"),
        pytest.param(SLACK, Reply(401, "nope"), PERMANENT, None, False, id="slack-401"),
        pytest.param(SLACK, Reply(403, "invalid_token"), PERMANENT, None, False, id="slack-403"),
        pytest.param(SLACK, Reply(404, "no_service"), PERMANENT, None, False, id="slack-404"),
        pytest.param(
            SLACK, Reply(410, "channel_is_archived"), PERMANENT, None, False, id="slack-410"
        ),
        pytest.param(
            SLACK, Reply(400, "invalid_payload"), PERMANENT, None, True, id="slack-payload"
        ),
        pytest.param(
            SLACK,
            Reply(429, "rate_limited", {"Retry-After": "17"}),
            TRANSIENT,
            17,
            False,
            id="slack-429-retry-after",
        ),
        pytest.param(SLACK, Reply(500, "oops"), UNKNOWN, None, False, id="slack-500"),
        pytest.param(
            SLACK, Reply(503, "", {"Retry-After": "9"}), UNKNOWN, 9, False, id="slack-503-delay"
        ),
        pytest.param(
            SLACK,
            Reply(302, "", {"Location": "https://portal.example/login"}),
            TRANSIENT,
            None,
            False,
            id="slack-redirect",
        ),
        pytest.param(SLACK_BOT, Reply(200, {"ok": True}), ACCEPTED, None, False, id="bot-ok"),
        pytest.param(
            SLACK_BOT,
            Reply(200, {"ok": False, "error": "invalid_auth", "hint": "TOKEN not OK"}),
            PERMANENT,
            None,
            False,
            id="bot-ok-false-with-OK-inside",
        ),
        pytest.param(
            SLACK_BOT,
            Reply(200, {"ok": False, "error": "invalid_blocks"}),
            PERMANENT,
            None,
            True,
            id="bot-invalid-blocks",
        ),
        pytest.param(
            SLACK_BOT,
            Reply(200, {"ok": False, "error": "ratelimited"}, {"Retry-After": "3"}),
            TRANSIENT,
            3,
            False,
            id="bot-ratelimited",
        ),
        pytest.param(
            SLACK_BOT,
            Reply(200, {"ok": False, "error": "internal_error"}),
            UNKNOWN,
            None,
            False,
            id="bot-internal-error",
        ),
        pytest.param(TELEGRAM, telegram(200, ""), ACCEPTED, None, False, id="telegram-ok"),
        pytest.param(
            TELEGRAM,
            Reply(200, {"ok": False, "error_code": 401, "description": "Unauthorized"}),
            PERMANENT,
            None,
            False,
            id="telegram-200-ok-false",
        ),
        pytest.param(TELEGRAM, Reply(200, PAGE), UNKNOWN, None, False, id="telegram-portal"),
        pytest.param(
            TELEGRAM, telegram(401, "Unauthorized"), PERMANENT, None, False, id="telegram-401"
        ),
        pytest.param(
            TELEGRAM,
            telegram(403, "Forbidden: bot was blocked by the user"),
            PERMANENT,
            None,
            False,
            id="telegram-403",
        ),
        pytest.param(
            TELEGRAM,
            telegram(400, "Bad Request: can't parse entities"),
            PERMANENT,
            None,
            True,
            id="telegram-parse-error",
        ),
        pytest.param(
            TELEGRAM,
            telegram(400, "Bad Request: chat not found"),
            PERMANENT,
            None,
            False,
            id="telegram-chat-not-found",
        ),
        pytest.param(
            TELEGRAM,
            telegram(429, "Too Many Requests: retry after 11", retry_after=11),
            TRANSIENT,
            11,
            False,
            id="telegram-429",
        ),
        pytest.param(DISCORD, Reply(204), ACCEPTED, None, False, id="discord-204"),
        pytest.param(
            DISCORD,
            Reply(429, {"message": "slow down", "retry_after": 1.5}),
            TRANSIENT,
            1.5,
            False,
            id="discord-429-once",
        ),
        pytest.param(DISCORD, Reply(400, {"code": 50006}), PERMANENT, None, True, id="discord-400"),
    ],
)
def test_verdict_is_what_the_service_said(serve, url, reply, outcome, delay, payload):
    server = serve(HOSTS[url], reply)
    attempt = send(url)
    assert attempt.outcome is outcome, attempt
    told = None if delay is None else timedelta(seconds=delay)
    assert (attempt.retry_after, attempt.payload_refused) == (told, payload), attempt
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        pytest.param(servers.hang, "timed out", id="read-timeout"),
        pytest.param(servers.hang_up, "connection lost", id="hang-up"),
        pytest.param(servers.drip, "no complete answer within 0.8 s", id="drip-in-the-head"),
        pytest.param(servers.drip_body, "the answer was cut short", id="drip-in-the-body"),
    ],
)
@pytest.mark.parametrize("url", [SLACK, TELEGRAM], ids=["slack", "telegram"])
def test_no_whole_answer_means_it_may_have_arrived(serve, url, behaviour, words):
    server = serve(HOSTS[url], behaviour)
    started = time.monotonic()
    attempt = send(url)
    assert attempt.outcome is UNKNOWN, attempt
    assert words in attempt.reason
    assert len(server.requests) == 1
    assert time.monotonic() - started < 2


def test_unreachable_means_certainly_not_arrived(network, serve):
    attempt = send(SLACK)
    assert (attempt.outcome, attempt.reason) == (TRANSIENT, "not reached: its name is not found")
    network.ports["hooks.slack.com"] = servers.free_port()
    attempt = send(SLACK)
    assert (attempt.outcome, attempt.reason) == (TRANSIENT, "not reached: connection refused")
    attempt = send(f"json://127.0.0.1:{servers.free_port()}/")
    assert (attempt.outcome, attempt.reason) == (TRANSIENT, "not reached: connection refused")
    attempt = send("json://nowhere.example/")
    assert (attempt.outcome, attempt.reason) == (TRANSIENT, "not reached: its name is not found")


@pytest.mark.parametrize(
    ("status", "words"),
    [(407, "the proxy asks for a login"), (511, "the network of this machine asks for a login")],
)
@pytest.mark.parametrize("url", [SLACK, TELEGRAM, DISCORD], ids=["slack", "telegram", "discord"])
def test_who_stands_in_between_and_wants_a_login_does_not_kill_a_message(serve, url, status, words):
    serve(HOSTS[url], Reply(status))
    attempt = send(url)
    assert (attempt.outcome, attempt.reason) == (TRANSIENT, f"not reached: {words} ({status})")


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), MemoryError()])
def test_what_runs_out_on_this_machine_does_not_kill_a_message(network, error):
    notifier = build_notifier(receiver("json://127.0.0.1:1/"), timing=FAST)

    def exhausted(**_kwargs):
        raise error

    notifier._plugin.notify = exhausted
    attempt = notifier.send(message(notifier))
    assert attempt.outcome is UNKNOWN
    assert attempt.reason.startswith("could not be sent: ")


@pytest.mark.parametrize(
    "setup",
    [
        pytest.param({"trusted": False}, id="unknown-authority"),
        pytest.param({"names": ["evil.example"]}, id="other-host"),
    ],
)
def test_bad_certificate_gets_no_message(serve, setup):
    server = serve("hooks.slack.com", Reply(200, "ok"), **setup)
    attempt = send(SLACK)
    assert attempt.outcome is TRANSIENT
    assert "certificate" in attempt.reason
    assert server.requests == []


def test_tls_that_never_starts_is_not_a_message_that_may_have_arrived(network):
    server = servers.SilentServer()
    network.ports["hooks.slack.com"] = server.port
    try:
        attempt = send(SLACK)
    finally:
        server.close()
    assert attempt.outcome is TRANSIENT, attempt


def test_503_twice_then_fine(serve):
    server = serve("hooks.slack.com", Reply(503), Reply(503), Reply(200, "ok"))
    notifier = build_notifier(receiver(SLACK), timing=FAST)
    outcomes = [notifier.send(message(notifier)).outcome for _ in range(3)]
    assert outcomes == [UNKNOWN, UNKNOWN, ACCEPTED]
    assert len(server.requests) == 3


def test_migrated_chat_is_told_with_its_new_id(serve):
    reply = telegram(
        400,
        "Bad Request: group chat was upgraded to a supergroup chat",
        migrate_to_chat_id=-100777000111,
    )
    serve("api.telegram.org", reply)
    attempt = send(TELEGRAM)
    assert (attempt.outcome, attempt.payload_refused) == (PERMANENT, False)
    assert "chat id -100777000111" in attempt.reason


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        pytest.param(Reply(200, {"fine": 1}), ACCEPTED, id="200"),
        pytest.param(Reply(202), ACCEPTED, id="202"),
        pytest.param(Reply(200, PAGE), UNKNOWN, id="portal"),
        pytest.param(Reply(200, PAGE, {"Content-Type": "text/html"}), UNKNOWN, id="html"),
        pytest.param(Reply(200, {"ok": False, "error": "x"}), PERMANENT, id="ok-false"),
        pytest.param(Reply(307, "", {"Location": "http://127.0.0.1:1/"}), TRANSIENT, id="307"),
        pytest.param(Reply(422), PERMANENT, id="422"),
    ],
)
def test_plain_webhooks_accept_with_2xx_that_is_no_page(network, reply, outcome):
    server = HttpServer(reply)
    try:
        attempt = send(f"json://127.0.0.1:{server.port}/hook/secretpath123")
    finally:
        server.close()
    assert attempt.outcome is outcome, attempt
    assert len(server.requests) == 1
