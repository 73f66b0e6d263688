"""Notifiers against real loopback servers: what each failure is judged to be, and what arrives."""

from __future__ import annotations

import email
import email.policy
import html
import io
import logging
import socket
import time
from contextlib import ExitStack
from datetime import timedelta

import pytest

from alerting.messages.formats import Format, Message
from alerting.messages.rendering import Renderer
from alerting.net.apprise_probe import probing
from alerting.notify.receivers import (
    Attempt,
    ReceiverError,
    SendOutcome,
    Timing,
    build_notifier,
    receiver_problem,
)
from alerting.notify.settings import ReceiverSettings
from alerting.redaction import Secret
from tests.support import servers, service_rules
from tests.support.messages import HOSTILE, NOW, firing, notification_of
from tests.support.servers import HttpServer, Reply

# Apprise imports imghdr, which Python 3.11 calls deprecated
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

SLACK_SECRET = "abcdefghijklmnopqrstuvwx"
SLACK = f"slack://T1A2B3C4D/B5E6F7G8H/{SLACK_SECRET}"
SLACK_BOT = "slack://xoxb-1234567890-abcdefSECRETtoken/#alerts"
TELEGRAM_SECRET = "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsawX"
TELEGRAM = f"tgram://123456789:{TELEGRAM_SECRET}/-1001234567890"
DISCORD = "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js"
FAST = Timing(
    connect=timedelta(seconds=2), read=timedelta(seconds=0.3), total=timedelta(seconds=0.8)
)
PAGE = "<!DOCTYPE html><html><body>Welcome to the hotel</body></html>"


@pytest.fixture(scope="module")
def certificates():
    return servers.Certificates()


@pytest.fixture
def network(monkeypatch, certificates, tmp_path):
    """No name but those a test names leads anywhere; the test's CA is the only one trusted."""
    pem = tmp_path / "ca.pem"
    certificates.authority.cert_pem.write_to_path(str(pem))
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(pem))
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    network = servers.Network()
    monkeypatch.setattr(socket, "getaddrinfo", network)
    return network


@pytest.fixture
def serve(network, certificates):
    """Start an HTTPS server under a real service's name."""
    with ExitStack() as stack:

        def start(host, *script, trusted=True, names=None):
            context = certificates.context(*(names or [host]), trusted=trusted)
            server = HttpServer(*script, context=context)
            stack.callback(server.close)
            network.ports[host] = server.port
            return server

        yield start


def receiver(url: str, name: str = "desk") -> ReceiverSettings:
    return ReceiverSettings(name=name, url=Secret(url))


def message(notifier, **kwargs) -> Message:
    told = notification_of(firing(**kwargs))
    return Renderer(overrides=None).render(told, notifier.format, maybe_repeat=False, now=NOW)


def send(url: str, timing: Timing = FAST) -> Attempt:
    notifier = build_notifier(receiver(url), timing=timing)
    return notifier.send(message(notifier))


# ── HTTP: what the service answers, and the verdict ─────────────────────────

HOSTS = {
    SLACK: "hooks.slack.com",
    SLACK_BOT: "slack.com",
    TELEGRAM: "api.telegram.org",
    DISCORD: "discord.com",
}
ACCEPTED, TRANSIENT = SendOutcome.ACCEPTED, SendOutcome.TRANSIENT
PERMANENT, UNKNOWN = SendOutcome.PERMANENT, SendOutcome.UNKNOWN


def telegram(status, description, **parameters):
    body = {"ok": status == 200, "error_code": status, "description": description}
    return Reply(status, body | ({"parameters": parameters} if parameters else {}))


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


def test_answer_of_any_size_is_read_only_so_far(network):
    server = HttpServer(Reply(200, b"x" * (5 << 20)))
    try:
        assert send(f"json://127.0.0.1:{server.port}/", Timing()).outcome is ACCEPTED
    finally:
        server.close()


# ── what is on the wire ─────────────────────────────────────────────────────


def test_slack_gets_the_text_and_nothing_from_elsewhere(serve):
    server = serve("hooks.slack.com", Reply(200, "ok"))
    notifier = build_notifier(receiver(SLACK), timing=FAST)
    sent = message(notifier, labels={"account": "main", "symbol": "<!channel> & @here"})
    assert notifier.send(sent).outcome is ACCEPTED
    payload = server.requests[0].json
    (attachment,) = payload["attachments"]
    assert set(payload) == {"mrkdwn", "attachments"}
    assert set(attachment) == {"title", "text", "color"}
    assert (
        attachment["title"].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        == sent.title
    )
    assert "&lt;!channel&gt; &amp; @here" in attachment["text"]


def test_telegram_gets_our_html_as_it_is(serve):
    server = serve("api.telegram.org", telegram(200, ""))
    notifier = build_notifier(receiver(TELEGRAM), timing=FAST)
    sent = message(notifier, labels={"account": "main", "symbol": "<b>'\"&amp;"})
    assert notifier.send(sent).outcome is ACCEPTED
    payload = server.requests[0].json
    assert html.unescape(payload["text"].replace("\r\n", "\n")) == html.unescape(sent.body)
    assert service_rules.telegram_problems(payload["text"]) == []
    assert (payload["parse_mode"], payload["chat_id"]) == ("HTML", -1001234567890)
    assert payload["disable_web_page_preview"] is True


def test_discord_can_ping_nobody(serve):
    server = serve("discord.com", Reply(204))
    notifier = build_notifier(receiver(DISCORD), timing=FAST)
    assert notifier.send(message(notifier)).outcome is ACCEPTED
    assert server.requests[0].json["allowed_mentions"] == {"parse": []}


@pytest.mark.parametrize("url", [SLACK, TELEGRAM, DISCORD], ids=["slack", "telegram", "discord"])
def test_hostile_text_shows_exactly_on_the_wire(serve, url):
    ok = {SLACK: Reply(200, "ok"), TELEGRAM: telegram(200, ""), DISCORD: Reply(204)}[url]
    server = serve(HOSTS[url], ok)
    notifier = build_notifier(receiver(url), timing=Timing())
    for text in HOSTILE.values():
        labels = {"account": "main", "symbol": text}
        sent = message(notifier, labels=labels, annotations={"summary": "{{ symbol }}"})
        assert notifier.send(sent).outcome is ACCEPTED
        payload = server.requests.pop().json
        if url == SLACK:
            (attachment,) = payload["attachments"]
            problems = service_rules.slack_problems(attachment)
            shown = service_rules.slack_shown(attachment["text"])
        elif url == TELEGRAM:
            problems = service_rules.telegram_problems(payload["text"])
            shown = service_rules.telegram_shown(payload["text"])
        else:
            problems = service_rules.discord_problems(payload["content"])
            shown = service_rules.discord_shown(payload["content"])
        assert problems == [], text
        lines = shown.replace("\r\n", "\n").split("\n")
        assert text in lines, (text, lines)
        assert f"account main · symbol {text}" in lines


def test_options_of_the_url_change_neither_format_nor_patience(serve):
    server = serve("hooks.slack.com", Reply(503))
    attempt = send(f"{SLACK}?format=markdown&retry=3&wait=0.1&blocks=yes&redirect=yes&rto=60")
    assert (attempt.outcome, len(server.requests)) == (UNKNOWN, 1)
    assert "blocks" not in server.requests[0].json["attachments"][0]


# ── e-mail ──────────────────────────────────────────────────────────────────


@pytest.fixture
def mail(network, certificates):
    """Start a mail server; `mail(inbox)` gives the start of a URL to it."""
    network.ports["mail.example.org"] = None
    with ExitStack() as stack:

        def start(inbox, mode="starttls", login="robot:right-password@", **kwargs):
            context = certificates.context("mail.example.org", **kwargs)
            tls = {"starttls": {"starttls": context}, "ssl": {"implicit": context}, "none": {}}
            port = stack.enter_context(servers.smtp_server(inbox, **tls[mode]))
            scheme = "mailtos"
            option = "&mode=ssl" if mode == "ssl" else ""
            url = f"{scheme}://{login}mail.example.org:{port}/?from=robot@example.org{option}"
            return url + "&to=anna@example.org"

        yield start


MAIL = Timing(read=timedelta(seconds=2), total=timedelta(seconds=3))


@pytest.mark.parametrize("mode", ["starttls", "ssl"])
def test_mail_arrives_whole(mail, mode):
    inbox = servers.Inbox()
    notifier = build_notifier(receiver(mail(inbox, mode)), timing=MAIL)
    sent = message(notifier, labels={"account": "main", "base_asset": "=?utf-8?q?pwned?="})
    attempt = notifier.send(sent)
    assert (attempt.outcome, attempt.reason) == (ACCEPTED, "accepted")
    ((recipients, content),) = inbox.messages
    parsed = email.message_from_bytes(content, policy=email.policy.default)
    assert recipients == ["anna@example.org"]
    raw = email.message_from_bytes(content)
    (((words, charset)),) = email.header.decode_header(raw["Subject"])
    assert words.decode(charset) == sent.title
    assert parsed.get_body(("plain",)).get_content().strip().replace("\r\n", "\n") == sent.body
    assert parsed.get_body(("html",)).get_content().strip().replace("\r\n", "\n") == sent.html
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert parsed["From"] == "alerting <robot@example.org>"


def test_mail_of_one_episode_threads_and_repeats_keep_their_id(mail):
    inbox = servers.Inbox()
    notifier = build_notifier(receiver(mail(inbox)), timing=MAIL)
    render = Renderer(overrides=None).render
    first = notification_of(firing())
    later = notification_of(firing(value="200"), observed_at=NOW)
    for told, again in ((first, False), (first, True), (later, False)):
        sent = render(told, Format.EMAIL, maybe_repeat=again, now=NOW)
        assert notifier.send(sent).outcome is ACCEPTED
    mails = [email.message_from_bytes(content) for _, content in inbox.messages]
    assert len({m["References"] for m in mails}) == 1
    assert mails[0]["Message-ID"] == mails[1]["Message-ID"] != mails[2]["Message-ID"]
    assert "possible repeat" in str(
        email.header.make_header(email.header.decode_header(mails[1]["Subject"]))
    )


@pytest.mark.parametrize(
    ("inbox", "outcome", "words"),
    [
        pytest.param(
            {"rcpt": {"anna@example.org": "550 no such user"}}, PERMANENT, "550", id="550-rcpt"
        ),
        pytest.param({"rcpt": {"anna@example.org": "451 later"}}, TRANSIENT, "451", id="451-rcpt"),
        pytest.param({"data": "552 too big"}, PERMANENT, "552", id="552-data"),
        pytest.param({"data": "451 greylisted"}, TRANSIENT, "451", id="451-data"),
    ],
)
def test_mail_refusals(mail, inbox, outcome, words):
    inbox = servers.Inbox(**inbox)
    attempt = send(mail(inbox), MAIL)
    assert (attempt.outcome, inbox.messages) == (outcome, [])
    assert words in attempt.reason
    assert attempt.payload_refused is (words == "552")


def test_mail_login_refused_is_permanent(mail):
    inbox = servers.Inbox()
    attempt = send(mail(inbox, login="robot:wrong-password@"), MAIL)
    assert (attempt.outcome, inbox.messages) == (PERMANENT, [])
    assert "535" in attempt.reason


def test_mail_one_of_two_recipients_refused_reaches_the_other_once(mail):
    inbox = servers.Inbox(rcpt={"bob@example.org": "550 no such user"})
    attempt = send(f"{mail(inbox)},bob@example.org", MAIL)
    assert attempt.outcome is ACCEPTED
    assert "not for 1 recipient(s)" in attempt.reason
    assert "550 no such user" in attempt.reason
    assert [recipients for recipients, _ in inbox.messages] == [["anna@example.org"]]


def test_mail_without_starttls_sends_neither_password_nor_message(mail):
    inbox = servers.Inbox()
    attempt = send(mail(inbox, mode="none"), MAIL)
    assert (attempt.outcome, inbox.messages) == (PERMANENT, [])
    assert "STARTTLS" in attempt.reason


def test_mail_to_an_untrusted_server_sends_nothing(mail):
    inbox = servers.Inbox()
    attempt = send(mail(inbox, trusted=False), MAIL)
    assert (attempt.outcome, inbox.messages) == (TRANSIENT, [])
    assert "certificate" in attempt.reason


@pytest.mark.parametrize(
    ("at", "then", "outcome", "received"),
    [
        pytest.param("DATA", "drop", UNKNOWN, 1, id="drop-after-data"),
        pytest.param("DATA", "hang", UNKNOWN, 1, id="hang-after-data"),
        pytest.param("RCPT", "drop", TRANSIENT, 0, id="drop-at-rcpt"),
        pytest.param("MAIL", "hang", TRANSIENT, 0, id="hang-at-mail"),
        pytest.param("QUIT", "drop", ACCEPTED, 1, id="drop-at-quit"),
    ],
)
def test_mail_may_have_arrived_only_after_data(network, at, then, outcome, received):
    server = servers.RawSmtpServer(at=at, then=then)
    url = f"mailto://127.0.0.1:{server.port}/?from=robot@example.org&to=anna@example.org"
    try:
        attempt = send(url, FAST)
    finally:
        server.close()
    assert (attempt.outcome, len(server.received)) == (outcome, received), attempt


def test_mail_server_that_never_greets_is_given_up_in_time(network):
    server = servers.SilentServer()
    url = f"mailto://127.0.0.1:{server.port}/?from=robot@example.org&to=anna@example.org"
    try:
        attempt = send(url, FAST)
    finally:
        server.close()
    assert attempt.outcome is TRANSIENT


# ── receivers that could never work ─────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param("SECRETSECRET", "not an Apprise URL", id="no-scheme"),
        pytest.param("nosuch://SECRETSECRET/x", "knows no service", id="unknown-scheme"),
        pytest.param("slack://T1A2B3C4D/B5E6F7G8H/SECRET-SECRET!", "Slack URL", id="bad-slack"),
        pytest.param("slack://SECRETSECRET", "Slack URL", id="half-slack"),
        pytest.param("tgram://SECRETSECRET/123", "Telegram URL", id="bad-telegram"),
        pytest.param(TELEGRAM.rpartition("/")[0] + "/", "chat id is missing", id="no-chat"),
        pytest.param(TELEGRAM.rpartition("/")[0] + "/somebody", "must be a number", id="chat-name"),
        pytest.param(TELEGRAM + "/42", "2 targets", id="two-chats"),
        pytest.param(SLACK + "?verify=no", "verify=no", id="verify-no"),
        pytest.param(SLACK + "?optional=yes", "optional=yes", id="optional"),
        pytest.param(SLACK + "?template=/etc/passwd", "template=", id="template"),
        pytest.param(f"{SLACK}, {TELEGRAM}", "more than one URL", id="two-urls"),
        pytest.param(
            "mailto://robot:SECRETSECRET@mail.example.org?from=r@example.org&to=a@example.org",
            "password in clear",
            id="mail-clear-login",
        ),
        pytest.param("mailtos://robot:SECRETSECRET@mail.example.org", "no recipient", id="no-rcpt"),
        pytest.param(
            "mailtos://robot:SECRETSECRET@mail.example.org?to=a@example.org,nonsense",
            "not an e-mail address",
            id="bad-rcpt",
        ),
        pytest.param("mailto://127.0.0.1?to=a@example.org", "URL", id="mail-no-sender"),
    ],
)
def test_receivers_that_could_never_work_are_refused_without_their_url(url, words, caplog):
    caplog.set_level(logging.DEBUG)
    problem = receiver_problem(receiver(url))
    assert problem is not None
    assert words in problem
    with pytest.raises(ReceiverError, match="receiver desk: ") as caught:
        build_notifier(receiver(url))
    shown = problem + str(caught.value) + repr(caught.value.__cause__) + caplog.text
    for secret in ("SECRETSECRET", SLACK_SECRET, TELEGRAM_SECRET, "SECRET-SECRET"):
        assert secret not in shown


@pytest.mark.parametrize(
    "url",
    [
        SLACK,
        SLACK_BOT,
        TELEGRAM,
        DISCORD,
        "tgram://123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsawX/@channel",
        "https://hooks.slack.com/services/T1A2B3C4D/B5E6F7G8H/abcdefghijklmnopqrstuvwx",
        "json://127.0.0.1/hook",
        "mailto://127.0.0.1?from=r@example.org&to=a@example.org",
        "mailto://u:password@localhost:25?from=r@example.org&to=a@example.org",
        "mailtos://robot:password@gmail.com?to=a@example.org,b@example.org",
    ],
)
def test_receivers_that_can_work_are_taken(url):
    assert receiver_problem(receiver(url)) is None


# ── secrets ─────────────────────────────────────────────────────────────────


@pytest.fixture
def everything_logged():
    """A handler without any filter, on the root and on the libraries' own loggers, at DEBUG."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    names = ("", "apprise", "urllib3", "urllib3.connectionpool", "requests")
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(1)
        logging.getLogger(name).addHandler(handler)
    yield stream
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
        logging.getLogger(name).removeHandler(handler)


def test_no_secret_in_any_log_or_reason_whatever_fails(
    everything_logged, network, serve, mail, monkeypatch
):
    reasons = []
    echo = Reply(401, {"ok": False, "description": f"bad {TELEGRAM_SECRET}", "error": SLACK_SECRET})
    for script in ([Reply(200, "ok")], [echo], [Reply(503)], [servers.hang_up], [servers.hang]):
        for url, host in HOSTS.items():
            serve(host, *script)
            reasons.append(send(url).reason)
    for trusted in (True, False):
        serve("hooks.slack.com", Reply(200, "ok"), trusted=trusted)
        reasons.append(send(SLACK).reason)
    network.ports.pop("hooks.slack.com")
    reasons += [send(SLACK).reason]
    for login in ("robot:right-password@", "robot:wrong%2Dpassword@"):
        reasons.append(send(mail(servers.Inbox(), login=login), MAIL).reason)
    text = everything_logged.getvalue() + "\n".join(reasons)
    assert "Slack Payload" in text, "the libraries' debug log must be in here"
    for secret in (
        SLACK_SECRET,
        TELEGRAM_SECRET,
        "abcdefSECRETtoken",
        "JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "right-password",
        "wrong-password",
    ):
        assert secret not in text
    assert all(len(reason) <= 200 and "\n" not in reason for reason in reasons)


# ── what we rely on in the libraries ────────────────────────────────────────


def test_contract_patch_points_see_every_exchange(network):
    import requests

    server = HttpServer(Reply(200, "fine"))
    try:
        with probing(timedelta(seconds=5)) as probe:
            requests.post(f"http://127.0.0.1:{server.port}/", data=b"x", timeout=2)
        requests.post(f"http://127.0.0.1:{server.port}/", data=b"x", timeout=2)
    finally:
        server.close()
    (exchange,) = probe.requests
    assert (exchange.status, exchange.body, exchange.sent) == (200, b"fine", True)
    assert len(server.requests) == 2


def test_contract_apprise_has_what_we_take_over():
    import apprise
    from apprise.manager_plugins import NotificationManager
    from apprise.plugins import url_to_dict
    from apprise.utils.parse import parse_urls

    assert apprise.__version__.startswith("2.2.")
    assert len(parse_urls(f"{SLACK}, {TELEGRAM}")) == 2
    parsed = url_to_dict(SLACK + "?verify=no&optional=yes")
    assert (parsed["verify"], parsed["optional"], parsed["schema"]) == (False, True, "slack")
    plugin = NotificationManager()["slack"](**url_to_dict(SLACK))
    for name in (
        "retry wait request_rate_per_sec throttle redirects socket_read_timeout"
        " socket_connect_timeout include_image include_footer use_blocks password body_maxlen"
    ).split():
        assert hasattr(plugin, name), name
    assert plugin.template_tokens["token_c"]["private"] is True
    assert isinstance(plugin.notify(body="x", body_format="text"), bool)


def test_message_that_breaks_the_plugin_is_dead_not_a_crash(network):
    notifier = build_notifier(receiver(SLACK), timing=FAST)
    broken = Message(title="t", body=None, format=Format.SLACK, severity="info")  # type: ignore[arg-type]
    assert notifier.send(broken).outcome is PERMANENT
