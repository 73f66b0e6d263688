"""Apprise: from a URL to its plugin, called directly: no pool, no retries, no throttle of its own.

What a send came to is judged by what went over the wire (net/apprise_probe.py, attempts.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alerting.messages.formats import Format, Message, Room, format_of
from alerting.net.apprise_probe import probing, silence
from alerting.notify.attempts import Attempt, prevented, verdict
from alerting.redaction import REDACTOR

if TYPE_CHECKING:
    from alerting.notify.receivers import Timing


class RefusedError(Exception):
    """The URL is refused; the text carries nothing of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What an Apprise URL leads to."""

    service: Format
    #: Apprise's own object for it
    plugin: Any
    #: the URL's parts, as Apprise names them
    parts: Mapping[str, Any]


# ── reading the URL ─────────────────────────────────────────────────────────


def read_url(url: str) -> Target:
    """Take a receiver's URL apart; RefusedError where it could never work."""
    REDACTOR.learn_url(url)
    with silence():
        parts = _parse(url)
        service = format_of(parts["schema"])
        _check_options(parts)
        if service is Format.TELEGRAM:
            _check_chats(parts["targets"])
        plugin = _instantiate(parts)
        _learn(plugin)
    return Target(service=service, plugin=plugin, parts=parts)


def _parse(url: str) -> dict[str, Any]:
    """Take an Apprise URL apart."""
    _stand_somewhere()
    from apprise.manager_plugins import NotificationManager
    from apprise.plugins import url_to_dict
    from apprise.utils.parse import parse_urls

    scheme, found, _ = url.partition("://")
    if not found or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,19}", scheme):
        raise RefusedError("it is not an Apprise URL, such as slack://… or mailtos://…")
    if len(parse_urls(url)) != 1:
        raise RefusedError("it holds more than one URL; give each a receiver of its own")
    try:
        parsed: dict[str, Any] | None = url_to_dict(url, secure_logging=True)
    except (TypeError, ValueError, LookupError, AttributeError):
        # some plugins stumble over what they do not expect
        parsed = None
    if parsed:
        return parsed
    manager = NotificationManager()
    if scheme.lower() not in manager:
        raise RefusedError(f"Apprise knows no service {scheme}://, or not with such an address")
    raise RefusedError(_misshapen(manager[scheme.lower()]))


def _stand_somewhere() -> None:
    """In a folder that was deleted Apprise cannot even be imported."""
    try:
        Path.cwd()
    except OSError:
        os.chdir("/")


def _misshapen(plugin_class: Any) -> str:
    example = next(iter(plugin_class.templates), "")
    scheme = plugin_class.secure_protocol or plugin_class.protocol
    scheme = scheme if isinstance(scheme, str) else next(iter(scheme), "")
    example = example.replace("{schema}", scheme)
    name = f"{plugin_class.service_name}"
    return f"Apprise does not take it as a {name} URL; it looks like {example}, with valid tokens"


def _check_options(parsed: Mapping[str, Any]) -> None:
    options = parsed["qsd"]
    if parsed.get("verify") is False:
        raise RefusedError("verify=no would send to anyone; remove it")
    if parsed.get("optional"):
        raise RefusedError("optional=yes would hide that it failed; remove it")
    if options.get("template"):
        raise RefusedError("template= is not supported; write templates for alerting instead")
    if options.get("pgp", "no").lower() not in {"no", "none"} or options.get("wkd"):
        raise RefusedError("pgp= and wkd= are not supported")


def _check_chats(targets: list[str]) -> None:
    if not targets:
        raise RefusedError(
            "the chat id is missing (tgram://TOKEN/CHAT_ID); without one the first person who"
            " writes to the bot would get the alerts"
        )
    for target in targets:
        if not re.fullmatch(r"(-?[0-9]{1,20}|@[A-Za-z][A-Za-z0-9_]{3,})(:[0-9]+)?", target):
            raise RefusedError("a chat must be a number, such as -1001234567890, or @channel")


# What the URL must not decide: our templates, our timing, our retries.
_OURS = ("format", "overflow", "retry", "wait", "rto", "cto", "redirect", "emojis", "store")


def _instantiate(parsed: Mapping[str, Any]) -> Any:
    from apprise import Apprise, AppriseAsset, PersistentStoreMode
    from apprise.manager_plugins import NotificationManager

    asset = AppriseAsset(
        service_timeout=0,
        async_mode=False,
        http_redirects=False,
        interpret_emojis=False,
        storage_mode=PersistentStoreMode.MEMORY,
    )
    arguments = {key: value for key, value in parsed.items() if key not in _OURS}
    plugin_class = NotificationManager()[parsed["schema"]]
    try:
        plugin = Apprise.instantiate(arguments, asset=asset, suppress_exceptions=False)
    except (TypeError, ValueError, LookupError, AttributeError):
        # Apprise's own text holds the token
        raise RefusedError(_misshapen(plugin_class)) from None
    if plugin is None:
        raise RefusedError(f"{plugin_class.service_name} needs software that is not installed")
    return plugin


def _learn(plugin: Any) -> None:
    """Mask the tokens as Apprise decoded them."""
    for templates in (plugin.template_tokens, plugin.template_args):
        for key, spec in templates.items():
            if spec.get("private"):
                value = getattr(plugin, spec.get("map_to", key), None)
                if isinstance(value, str):
                    REDACTOR.learn(value)
    token = getattr(plugin, "bot_token", None)
    if isinstance(token, str):
        REDACTOR.learn(token.partition(":")[2])
    if isinstance(plugin.password, str):
        REDACTOR.learn(plugin.password)


# ── sending ─────────────────────────────────────────────────────────────────


class AppriseNotifier:
    """Sends through one Apprise plugin; RefusedError where the plugin sends to several."""

    def __init__(self, target: Target, *, timing: Timing) -> None:
        plugin, service = target.plugin, target.service
        if len(plugin) > 1:
            raise RefusedError(
                f"it reaches {len(plugin)} targets at once; give each a receiver of its own, so"
                " that each has its own retries"
            )
        self._plugin = plugin
        self._service = service
        self._timing = timing
        workflow = service is Format.SLACK and getattr(plugin, "workflow_path", None)
        #: what its messages must be rendered for
        self.format = Format.CHAT if workflow else service
        #: what the service takes of one message, as Apprise knows it
        self.room = Room(title=max(0, plugin.title_maxlen), total=plugin.body_maxlen)
        _take_over(plugin, service, timing)

    def send(self, message: Message) -> Attempt:
        """Send one message and verdict it by what the service said; never raises."""
        agreed, error = False, ""
        with probing(self._timing.total) as probe:
            try:
                agreed = bool(self._plugin.notify(**self._arguments(message)))
            except (OSError, MemoryError) as problem:
                if not probe.requests:
                    return prevented(problem)
                error = type(problem).__name__
            except Exception as problem:  # noqa: BLE001 - 180 plugins can raise anything
                error = type(problem).__name__
        return verdict(probe.requests, self._service, agreed=agreed, error=error)

    def _arguments(self, message: Message) -> dict[str, Any]:
        from apprise import NotifyFormat, NotifyType

        kind = {
            "info": NotifyType.INFO,
            "warning": NotifyType.WARNING,
            "critical": NotifyType.FAILURE,
        }.get(message.severity, NotifyType.INFO)
        title, body, body_format = message.title, message.body, NotifyFormat.TEXT
        if message.format is Format.TELEGRAM:
            title, body_format = "", NotifyFormat.HTML
        return {
            "title": title,
            "body": body,
            "notify_type": NotifyType.SUCCESS if message.resolved else kind,
            "body_format": body_format,
        }


def _take_over(plugin: Any, service: Format, timing: Timing) -> None:
    """Take from the plugin all that we decide ourselves."""
    plugin.retry = 0
    plugin.wait = 0
    plugin.request_rate_per_sec = 0
    # some wait for minutes where a service limits them: that is the outbox's business
    plugin.throttle = _no_pause
    plugin.redirects = False
    plugin.socket_connect_timeout = timing.connect.total_seconds()
    plugin.socket_read_timeout = timing.read.total_seconds()
    for option in ("include_image", "include_footer", "use_blocks", "preview"):
        # pictures and footers come from elsewhere; blocks have no preview on a lock screen
        if hasattr(plugin, option):
            setattr(plugin, option, False)
    if service is Format.DISCORD:
        plugin._send = _without_mentions(plugin._send)  # noqa: SLF001 - the one way to the payload


def _no_pause(*_args: Any, **_kwargs: Any) -> None:
    return None


def _without_mentions(original: Any) -> Any:
    """Tell Discord that nothing in the message pings anybody, whatever it looks like."""

    def send(payload: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        # one try: the outbox knows when to try again
        kwargs["rate_limit"] = 0
        return original({**payload, "allowed_mentions": {"parse": []}}, *args, **kwargs)

    return send
