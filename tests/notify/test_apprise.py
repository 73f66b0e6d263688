"""What goes out through Apprise, and what we rely on in it."""

from __future__ import annotations

import html

import pytest

from alerting.messages.formats import Format, Message
from alerting.notify.attempts import SendOutcome
from alerting.notify.receivers import Timing, build_notifier
from tests.support import service_rules
from tests.support.messages import HOSTILE
from tests.support.receivers import (
    DISCORD,
    FAST,
    HOSTS,
    SLACK,
    TELEGRAM,
    message,
    receiver,
    send,
    telegram,
)
from tests.support.servers import HttpServer, Reply

ACCEPTED, TRANSIENT = SendOutcome.ACCEPTED, SendOutcome.TRANSIENT
PERMANENT, UNKNOWN = SendOutcome.PERMANENT, SendOutcome.UNKNOWN


def test_answer_of_any_size_is_read_only_so_far(network):
    server = HttpServer(Reply(200, b"x" * (5 << 20)))
    try:
        assert send(f"json://127.0.0.1:{server.port}/", Timing()).outcome is ACCEPTED
    finally:
        server.close()


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


# ── what we rely on ─────────────────────────────────────────────────────────


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
