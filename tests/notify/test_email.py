"""E-mail to real loopback servers: what arrives, and what each failure is judged to be."""

from __future__ import annotations

import email
import email.policy
import os

import pytest

from alerting.messages.formats import Format
from alerting.messages.rendering import Renderer
from alerting.notify.attempts import SendOutcome
from alerting.notify.receivers import build_notifier
from tests.support import servers
from tests.support.messages import NOW, firing, notification_of
from tests.support.receivers import FAST, MAIL, message, receiver, send

ACCEPTED, TRANSIENT = SendOutcome.ACCEPTED, SendOutcome.TRANSIENT
PERMANENT, UNKNOWN = SendOutcome.PERMANENT, SendOutcome.UNKNOWN


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


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
@pytest.mark.parametrize("mode", ["starttls", "ssl"])
def test_mail_trusts_whom_the_other_receivers_trust(mail, monkeypatch, name, mode):
    pem = os.environ[name]
    for other in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(other)
    inbox = servers.Inbox()
    url = mail(inbox, mode)
    assert send(url, MAIL).outcome is TRANSIENT
    monkeypatch.setenv(name, pem)
    assert send(url, MAIL).outcome is ACCEPTED


def test_mail_names_a_bundle_that_is_gone(mail, monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    inbox = servers.Inbox()
    attempt = send(mail(inbox), MAIL)
    assert (attempt.outcome, inbox.messages) == (TRANSIENT, [])
    text = "not reached: the CA bundle SSL_CERT_FILE=/nowhere/ca.pem does not exist"
    assert attempt.reason == text


def test_mail_goes_out_where_the_bundle_that_is_gone_is_not_needed(mail, monkeypatch):
    # SSL_CERT_FILE, which OpenSSL hears by itself, vouches for the server
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    assert send(mail(servers.Inbox()), MAIL).outcome is ACCEPTED


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
