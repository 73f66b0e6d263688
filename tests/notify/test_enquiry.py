"""A receiver's service is asked whether it would take a message, and none is ever sent."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from alerting.notify.enquiry import enquire
from tests.support import servers
from tests.support.receivers import (
    DISCORD,
    HOSTS,
    SLACK,
    SLACK_BOT,
    SLACK_SECRET,
    TELEGRAM,
    TELEGRAM_SECRET,
    receiver,
    telegram,
)
from tests.support.servers import Reply, SilentServer, hang

SHORT = timedelta(seconds=1)
BOT = Reply(200, {"ok": True, "result": {"id": 1, "username": "watch_bot"}})
CHAT = Reply(200, {"ok": True, "result": {"id": -1001234567890, "type": "supergroup"}})


def asked(url, most=timedelta(seconds=3)):
    return enquire(receiver(url), most=most)


def lines(server):
    return [request.line for request in server.requests]


def test_telegram_is_asked_for_the_bot_and_its_chat(serve):
    server = serve(HOSTS[TELEGRAM], BOT, CHAT)

    answer = asked(TELEGRAM)

    assert (answer.fine, answer.text) == (True, "the bot watch_bot is known and sees its chat")
    token = f"/bot123456789:{TELEGRAM_SECRET}"
    assert lines(server) == [
        f"GET {token}/getMe HTTP/1.1",
        f"GET {token}/getChat?chat_id=-1001234567890 HTTP/1.1",
    ]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param([telegram(401, "Unauthorized")], "the bot is refused: 401 Unauth", id="token"),
        pytest.param(
            [BOT, telegram(400, "Bad Request: chat not found")],
            "its chat is refused: 400 Bad Request: chat not found",
            id="chat",
        ),
        pytest.param([Reply(200, "<html>")], "the bot is refused: 200 no answer", id="page"),
        pytest.param([hang], "not reached: ", id="hangs"),
    ],
)
def test_what_telegram_refuses_is_said_without_the_token(serve, script, said):
    serve(HOSTS[TELEGRAM], *script)
    answer = asked(TELEGRAM, SHORT)
    assert not answer.fine
    assert answer.text.startswith(said)
    assert TELEGRAM_SECRET not in answer.text


@pytest.mark.parametrize(
    ("reply", "fine", "said"),
    [
        pytest.param({"ok": True, "user": "watch"}, True, "the bot watch is known", id="known"),
        pytest.param(
            {"ok": False, "error": "invalid_auth"},
            False,
            "the bot is refused: 200 invalid_auth",
            id="refused",
        ),
    ],
)
def test_a_slack_bot_is_asked_by_its_token(serve, reply, fine, said):
    server = serve(HOSTS[SLACK_BOT], Reply(200, reply))
    answer = asked(SLACK_BOT)
    assert answer.fine is fine
    assert answer.text.startswith(said)
    assert lines(server) == ["POST /api/auth.test HTTP/1.1"]
    assert server.requests[0].headers["authorization"].startswith("Bearer xoxb-")


@pytest.mark.parametrize("url", [SLACK, DISCORD])
def test_a_webhook_is_only_reached_and_its_secret_stays_here(serve, url):
    server = serve(HOSTS[url], Reply(404))
    answer = asked(url)
    assert answer.fine
    assert answer.text == f"{HOSTS[url]} is reached; only a message shows the rest: send-test"
    assert lines(server) == ["HEAD / HTTP/1.1"]
    assert SLACK_SECRET not in str(server.requests)


def test_a_host_with_a_strange_certificate_is_a_failure(serve):
    serve(HOSTS[SLACK], Reply(200), trusted=False)
    answer = asked(SLACK)
    assert not answer.fine
    assert "certificate" in answer.text


def test_a_webhook_of_ones_own_is_reached_without_a_message(network):
    with_inbox = servers.HttpServer(Reply(501))
    try:
        answer = asked(f"json://127.0.0.1:{with_inbox.port}/secret-path")
        assert answer.fine
        assert lines(with_inbox) == ["HEAD / HTTP/1.1"]
    finally:
        with_inbox.close()
    gone = asked(f"json://127.0.0.1:{with_inbox.port}/secret-path")
    assert (gone.fine, gone.text) == (False, "not reached: connection refused")


def test_an_unknown_name_is_a_failure(network):
    answer = asked("jsons://nowhere.example.org/x")
    assert not answer.fine
    assert answer.text.startswith("not reached: ")


def test_a_service_that_names_no_host_is_said_not_to_be_asked(network):
    answer = asked("syslog://")
    assert (answer.fine, answer.text) == (
        True,
        "cannot be asked; only a message shows the rest: send-test",
    )


@pytest.mark.parametrize("mode", ["starttls", "ssl"])
def test_mail_is_asked_up_to_the_login(mail, mode):
    inbox = servers.Inbox()
    answer = asked(mail(inbox, mode))
    assert (answer.fine, answer.text) == (True, "logged in at mail.example.org")
    assert inbox.messages == []


def test_a_wrong_mail_password_is_a_failure_without_the_password(mail):
    answer = asked(mail(servers.Inbox(), login="robot:wrong-password@"))
    assert not answer.fine
    assert answer.text.startswith("login refused: 535")
    assert "wrong-password" not in answer.text


def test_a_mail_server_that_is_silent_ends_in_time(network):
    server = SilentServer()
    network.ports["mail.example.org"] = server.port
    began = time.monotonic()
    try:
        answer = asked("mailtos://a:b@mail.example.org:25/?to=c@example.org", SHORT)
    finally:
        server.close()
    assert not answer.fine
    assert time.monotonic() - began < 5


def test_a_url_that_could_never_work_is_a_failure(network):
    answer = asked("nosuch://token123456")
    assert not answer.fine
    assert "token123456" not in answer.text
