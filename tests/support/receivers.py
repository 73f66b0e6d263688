"""Receivers of every service, as their real URLs name them, and messages for them."""

from __future__ import annotations

from datetime import timedelta

from alerting.messages.formats import Message
from alerting.messages.rendering import Renderer
from alerting.notify.receivers import Attempt, Timing, build_notifier
from alerting.notify.settings import ReceiverSettings
from alerting.redaction import Secret
from tests.support.messages import NOW, firing, notification_of
from tests.support.servers import Reply

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
HOSTS = {
    SLACK: "hooks.slack.com",
    SLACK_BOT: "slack.com",
    TELEGRAM: "api.telegram.org",
    DISCORD: "discord.com",
}
MAIL = Timing(read=timedelta(seconds=2), total=timedelta(seconds=3))


def receiver(url: str, name: str = "desk") -> ReceiverSettings:
    return ReceiverSettings(name=name, url=Secret(url))


def message(notifier, **kwargs) -> Message:
    told = notification_of(firing(**kwargs))
    return Renderer(overrides=None).render(told, notifier.format, maybe_repeat=False, now=NOW)


def send(url: str, timing: Timing = FAST) -> Attempt:
    notifier = build_notifier(receiver(url), timing=timing)
    return notifier.send(message(notifier))


def telegram(status, description, **parameters):
    body = {"ok": status == 200, "error_code": status, "description": description}
    return Reply(status, body | ({"parameters": parameters} if parameters else {}))
