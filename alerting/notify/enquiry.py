"""Asks a receiver's service whether it would take a message, without sending one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from alerting.messages.formats import Format
from alerting.net import failures
from alerting.net.asking import ask
from alerting.net.hosts import host_of
from alerting.net.http_attempt import HttpAttempt
from alerting.notify.apprise import RefusedError, Target, read_url
from alerting.notify.attempts import SendOutcome, attempt
from alerting.notify.settings import ReceiverSettings

#: For the whole of it; each request has what is left of its own share.
PATIENCE = timedelta(seconds=20)
# services whose URL names the very host; all others go where their plugin says
_OWN_HOST = {"json", "jsons", "xml", "xmls", "form", "forms", "apprise", "apprises"}
_ONLY_A_MESSAGE = "only a message shows the rest: send-test"


@dataclass(frozen=True, kw_only=True, slots=True)
class Enquiry:
    """What a service said; `text` is one redacted line."""

    fine: bool
    text: str


def enquire(receiver: ReceiverSettings, *, most: timedelta = PATIENCE) -> Enquiry:
    """Ask one receiver's service, within `most`; never raises for what is wrong there."""
    try:
        target = read_url(receiver.url.reveal().strip())
        if target.service is Format.EMAIL:
            return _mail(target, most)
        return _http(target, most)
    except RefusedError as refusal:
        return _failed(str(refusal))


def _http(target: Target, most: timedelta) -> Enquiry:
    plugin = target.plugin
    if target.service is Format.TELEGRAM:
        return _telegram(plugin, most / 2)
    if target.service is Format.SLACK:
        token = getattr(plugin, "access_token", None)
        return _slack_bot(plugin, token, most) if token else _reach(plugin.webhook_url, most)
    url = _address(target)
    if url is None:
        return Enquiry(fine=True, text=f"cannot be asked; {_ONLY_A_MESSAGE}")
    return _reach(url, most)


# ── services that can be asked ──────────────────────────────────────────────


def _telegram(plugin: Any, each: timedelta) -> Enquiry:
    base = f"{plugin.notify_url}{plugin.bot_token}"
    bot = ask("GET", f"{base}/getMe", total=each)
    if bot.answer.get("ok") is not True:
        return _refused("the bot", bot)
    name = _part(bot, "username")
    for chat in _chats(plugin):
        answer = ask("GET", f"{base}/getChat?chat_id={chat}", total=each)
        if answer.answer.get("ok") is not True:
            return _refused("its chat", answer)
    return _fine(f"the bot {name} is known and sees its chat")


def _chats(plugin: Any) -> Iterator[str]:
    # a target is a chat and, maybe, a topic of it
    yield from (str(chat[0] if isinstance(chat, tuple) else chat) for chat in plugin.targets)


def _slack_bot(plugin: Any, token: str, most: timedelta) -> Enquiry:
    url = plugin.api_url.format("auth.test")
    answer = ask("POST", url, total=most, headers={"Authorization": f"Bearer {token}"})
    if answer.answer.get("ok") is not True:
        return _refused("the bot", answer)
    name = answer.answer.get("user")
    return _fine(f"the bot {name} is known; whether it may write to the channel is not asked")


def _part(answer: HttpAttempt, key: str) -> str:
    result = answer.answer.get("result")
    return str(result.get(key)) if isinstance(result, dict) else "?"


def _mail(target: Target, most: timedelta) -> Enquiry:
    from alerting.notify.email import MailNotifier, mailbox_of

    mailbox = mailbox_of(target)
    done = MailNotifier(mailbox, wait=most / 2, total=most).enquire()
    return Enquiry(fine=done.outcome is SendOutcome.ACCEPTED, text=done.reason)


# ── those that can only be reached ──────────────────────────────────────────


def _address(target: Target) -> str | None:
    """Where the plugin would send to, without its path; None: it does not say."""
    plugin = target.plugin
    if target.parts["schema"].lower() in _OWN_HOST:
        port = f":{plugin.port}" if plugin.port else ""
        return f"{'https' if plugin.secure else 'http'}://{plugin.host}{port}/"
    for name in ("notify_url", "api_url"):
        url = getattr(plugin, name, None)
        if isinstance(url, str) and host_of(url):
            return url
    return None


def _reach(url: str, most: timedelta) -> Enquiry:
    parts = urlsplit(url)
    # HEAD of the root: it says nothing to anybody, whatever the path would do
    answer = ask("HEAD", f"{parts.scheme}://{parts.netloc}/", total=most)
    if answer.status is None:
        return _failed(f"not reached: {answer.failure}")
    nearer = failures.in_between(answer.status)
    if nearer is not None:
        return _failed(f"not reached: {nearer}")
    return _fine(f"{parts.hostname} is reached; {_ONLY_A_MESSAGE}")


# ── words ───────────────────────────────────────────────────────────────────


def _refused(what: str, answer: HttpAttempt) -> Enquiry:
    if answer.status is None:
        return _failed(f"not reached: {answer.failure}")
    said = answer.answer.get("description") or answer.answer.get("error") or "no answer of its own"
    return _failed(f"{what} is refused: {answer.status} {said}")


def _fine(text: str) -> Enquiry:
    return Enquiry(fine=True, text=attempt(SendOutcome.ACCEPTED, text).reason)


def _failed(text: str) -> Enquiry:
    return Enquiry(fine=False, text=attempt(SendOutcome.PERMANENT, text).reason)
