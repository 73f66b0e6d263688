"""Which receivers are taken, and that none of them ever shows its secret."""

from __future__ import annotations

import io
import logging

import pytest

from alerting.notify.receivers import ReceiverError, build_notifier, receiver_problem
from tests.support import servers
from tests.support.receivers import (
    DISCORD,
    HOSTS,
    MAIL,
    SLACK,
    SLACK_BOT,
    SLACK_SECRET,
    TELEGRAM,
    TELEGRAM_SECRET,
    receiver,
    send,
)
from tests.support.servers import Reply


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
