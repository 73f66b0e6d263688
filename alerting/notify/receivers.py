"""One notifier per receiver, built from its Apprise URL: sends a message and says how it went.

E-mail goes by mail.py; all else through Apprise's plugin, called directly: no pool, no retries, no
throttle of Apprise's own, with the verdict taken from the wire (transport.py, verdicts.py).
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from alerting.errors import AlertingError
from alerting.messages.formats import Format, Message, format_of
from alerting.net.apprise_probe import probing, silence
from alerting.notify.attempts import Attempt, SendOutcome, verdict
from alerting.notify.settings import ReceiverSettings
from alerting.redaction import REDACTOR, Secret

if TYPE_CHECKING:
    from email.headerregistry import Address

    from alerting.notify.email import Mailbox

__all__ = [
    "Attempt",
    "Notifier",
    "ReceiverError",
    "SendOutcome",
    "Timing",
    "build_notifier",
    "receiver_problem",
]


class ReceiverError(AlertingError):
    """A receiver that could never work; says its name and why, never its URL."""


class Notifier(Protocol):
    """Sends messages to one receiver."""

    @property
    def format(self) -> Format:
        """What its messages must be rendered for."""

    def send(self, message: Message) -> Attempt:
        """Send one message and say how it went; never raises."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """How patient a send is."""

    connect: timedelta = timedelta(seconds=5)
    #: for each single wait for the other side
    read: timedelta = timedelta(seconds=20)
    #: for one send as a whole
    total: timedelta = timedelta(seconds=30)


#: Mail servers keep strangers waiting, and scan a message before they say yes.
MAIL_TIMING = Timing(read=timedelta(seconds=30), total=timedelta(seconds=60))


def build_notifier(receiver: ReceiverSettings, *, timing: Timing | None = None) -> Notifier:
    """Build the receiver's notifier; raises ReceiverError where it could never work."""
    try:
        return _build(receiver.url.reveal().strip(), timing)
    except _RefusedError as refusal:
        raise ReceiverError(f"receiver {receiver.name}: {refusal}") from None


def receiver_problem(receiver: ReceiverSettings) -> str | None:
    """Say why a receiver could never work; None: it could."""
    try:
        _build(receiver.url.reveal().strip(), None)
    except _RefusedError as refusal:
        return str(refusal)
    return None


class _RefusedError(Exception):
    """The URL is refused; the text carries nothing of it."""


def _build(url: str, timing: Timing | None) -> Notifier:
    REDACTOR.learn_url(url)
    with silence():
        parsed = _parse(url)
        service = format_of(parsed["schema"])
        _check_options(parsed)
        if service is Format.TELEGRAM:
            _check_chats(parsed["targets"])
        plugin = _instantiate(parsed)
        _learn(plugin)
    if service is Format.EMAIL:
        from alerting.notify.email import MailNotifier

        timing = timing or MAIL_TIMING
        mailbox = _mailbox(plugin, parsed)
        return MailNotifier(mailbox, wait=timing.read, total=timing.total)
    if len(plugin) > 1:
        raise _RefusedError(
            f"it reaches {len(plugin)} targets at once; give each a receiver of its own, so that"
            " each has its own retries"
        )
    return AppriseNotifier(plugin, service, timing=timing or Timing())


# ── reading the URL ─────────────────────────────────────────────────────────


def _parse(url: str) -> dict[str, Any]:
    """Take an Apprise URL apart."""
    from apprise.manager_plugins import NotificationManager
    from apprise.plugins import url_to_dict
    from apprise.utils.parse import parse_urls

    scheme, found, _ = url.partition("://")
    if not found or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,19}", scheme):
        raise _RefusedError("it is not an Apprise URL, such as slack://… or mailtos://…")
    if len(parse_urls(url)) != 1:
        raise _RefusedError("it holds more than one URL; give each a receiver of its own")
    try:
        parsed: dict[str, Any] | None = url_to_dict(url, secure_logging=True)
    except (TypeError, ValueError, LookupError, AttributeError):
        # some plugins stumble over what they do not expect
        parsed = None
    if parsed:
        return parsed
    manager = NotificationManager()
    if scheme.lower() not in manager:
        raise _RefusedError(f"Apprise knows no service {scheme}://, or not with such an address")
    raise _RefusedError(_misshapen(manager[scheme.lower()]))


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
        raise _RefusedError("verify=no would send to anyone; remove it")
    if parsed.get("optional"):
        raise _RefusedError("optional=yes would hide that it failed; remove it")
    if options.get("template"):
        raise _RefusedError("template= is not supported; write templates for alerting instead")
    if options.get("pgp", "no").lower() not in {"no", "none"} or options.get("wkd"):
        raise _RefusedError("pgp= and wkd= are not supported")


def _check_chats(targets: list[str]) -> None:
    if not targets:
        raise _RefusedError(
            "the chat id is missing (tgram://TOKEN/CHAT_ID); without one the first person who"
            " writes to the bot would get the alerts"
        )
    for target in targets:
        if not re.fullmatch(r"(-?[0-9]{1,20}|@[A-Za-z][A-Za-z0-9_]{3,})(:[0-9]+)?", target):
            raise _RefusedError("a chat must be a number, such as -1001234567890, or @channel")


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
        raise _RefusedError(_misshapen(plugin_class)) from None
    if plugin is None:
        raise _RefusedError(f"{plugin_class.service_name} needs software that is not installed")
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


# ── Apprise ─────────────────────────────────────────────────────────────────


class AppriseNotifier:
    """Sends through one Apprise plugin, called directly."""

    def __init__(self, plugin: Any, service: Format, *, timing: Timing) -> None:
        self._plugin = plugin
        self._service = service
        self._timing = timing
        workflow = service is Format.SLACK and getattr(plugin, "workflow_path", None)
        #: what its messages must be rendered for
        self.format = Format.CHAT if workflow else service
        _take_over(plugin, service, timing)

    def send(self, message: Message) -> Attempt:
        """Send one message and verdict it by what the service said; never raises."""
        agreed, error = False, ""
        with probing(self._timing.total) as probe:
            try:
                agreed = bool(self._plugin.notify(**self._arguments(message)))
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
        elif len(title) + len(body) + 2 > self._plugin.body_maxlen:
            # an SMS: the title says it all, the body would be cut anywhere
            title, body = "", message.title
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


# ── e-mail ──────────────────────────────────────────────────────────────────


def _mailbox(plugin: Any, parsed: Mapping[str, Any]) -> Mailbox:
    """Take from Apprise's plugin what the URL says; it knows the big providers' servers."""
    from alerting.notify.email import Mailbox

    _check_recipients(plugin, parsed)
    secret = plugin.user and plugin.password
    if plugin.secure_mode == "insecure" and secret and not _is_loopback(plugin.smtp_host):
        raise _RefusedError("it would send the password in clear; write mailtos://")
    name, spec = plugin.from_addr
    sender = ("alerting" if name in {plugin.app_id, False} else name, spec)
    with _refusing_bad_addresses():
        return Mailbox(
            host=plugin.smtp_host,
            port=int(plugin.port),
            mode=plugin.secure_mode,
            sender=_addresses([sender])[0],
            to=_addresses(plugin.targets),
            cc=_addresses((plugin.names.get(spec), spec) for spec in sorted(plugin.cc)),
            bcc=_addresses((plugin.names.get(spec), spec) for spec in sorted(plugin.bcc)),
            reply_to=_addresses((plugin.names.get(spec), spec) for spec in sorted(plugin.reply_to)),
            user=plugin.user if secret else None,
            password=Secret(plugin.password) if secret else None,
            headers=_headers(plugin.headers),
        )


def _check_recipients(plugin: Any, parsed: Mapping[str, Any]) -> None:
    # Apprise drops what is no address without a word
    unquoted = re.sub(r'"[^"]*"', "", ",".join(parsed["targets"]))
    named = {part.strip() for part in re.split(r"[,;]", unquoted) if part.strip()}
    if not named or not plugin.targets:
        raise _RefusedError("it names no recipient; add ?to=you@example.org")
    if len(plugin.targets) < len(named):
        raise _RefusedError("one of its recipients is not an e-mail address")


def _addresses(named: Iterable[tuple[Any, str]]) -> tuple[Address, ...]:
    from email.headerregistry import Address

    return tuple(Address(display_name=name or "", addr_spec=spec) for name, spec in named)


@contextlib.contextmanager
def _refusing_bad_addresses() -> Iterator[None]:
    from email.errors import MessageError

    try:
        yield
    except (MessageError, ValueError, LookupError):
        raise _RefusedError("one of its addresses cannot stand in an e-mail") from None


def _headers(given: Mapping[str, str]) -> dict[str, str]:
    for name, value in given.items():
        if not re.fullmatch(r"[!-9;-~]+", name) or not str(value).isprintable():
            raise _RefusedError("one of its + headers cannot stand in an e-mail")
    ours = {"bcc", "content-type", "content-transfer-encoding", "mime-version"}
    return {name: str(value) for name, value in given.items() if name.lower() not in ours}


def _is_loopback(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
