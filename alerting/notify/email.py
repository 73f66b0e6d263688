"""E-mail by smtplib: what Apprise cannot do (own text part, stable Message-ID, threads, verdicts).

One SMTP transaction carries a message to all recipients of the receiver. If the server refuses
some of them, the others get it and it counts as accepted, with the refused ones in the reason: it
is never sent twice to those who have it. Whoever wants each address tried on its own makes a
receiver of each.
"""

from __future__ import annotations

import email.policy
import re
import smtplib
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.errors import MessageError
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any

from alerting.messages.formats import Format, Message, Room
from alerting.net import local
from alerting.net.deadline import Deadline, deadline
from alerting.net.hosts import is_loopback
from alerting.notify.apprise import RefusedError, Target
from alerting.notify.attempts import Attempt, SendOutcome, attempt
from alerting.redaction import REDACTOR, Secret

_GOODBYE_SECONDS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Mailbox:
    """Where e-mail goes in, and from whom to whom."""

    host: str
    port: int
    #: "ssl", "starttls" or "insecure"
    mode: str
    sender: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    user: str | None = None
    password: Secret | None = None
    #: more header lines, from the URL
    headers: Mapping[str, str]

    @property
    def recipients(self) -> tuple[str, ...]:
        """All addresses that the message is handed in for, each once."""
        return tuple(dict.fromkeys(a.addr_spec for a in (*self.to, *self.cc, *self.bcc)))


# ── from the URL ────────────────────────────────────────────────────────────


def mailbox_of(target: Target) -> Mailbox:
    """Take from Apprise's plugin what the URL says; it knows the big providers' servers.

    RefusedError where it could never work.
    """
    plugin = target.plugin
    _check_recipients(plugin, target.parts)
    secret = plugin.user and plugin.password
    if plugin.secure_mode == "insecure" and secret and not is_loopback(plugin.smtp_host):
        raise RefusedError("it would send the password in clear; write mailtos://")
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


def _check_recipients(plugin: Any, parts: Mapping[str, Any]) -> None:
    # Apprise drops what is no address without a word
    unquoted = re.sub(r'"[^"]*"', "", ",".join(parts["targets"]))
    named = {part.strip() for part in re.split(r"[,;]", unquoted) if part.strip()}
    if not named or not plugin.targets:
        raise RefusedError("it names no recipient; add ?to=you@example.org")
    if len(plugin.targets) < len(named):
        raise RefusedError("one of its recipients is not an e-mail address")


def _addresses(named: Iterable[tuple[Any, str]]) -> tuple[Address, ...]:
    return tuple(Address(display_name=name or "", addr_spec=spec) for name, spec in named)


@contextmanager
def _refusing_bad_addresses() -> Iterator[None]:
    try:
        yield
    except (MessageError, ValueError, LookupError):
        raise RefusedError("one of its addresses cannot stand in an e-mail") from None


def _headers(given: Mapping[str, str]) -> dict[str, str]:
    for name, value in given.items():
        if not re.fullmatch(r"[!-9;-~]+", name) or not str(value).isprintable():
            raise RefusedError("one of its + headers cannot stand in an e-mail")
    ours = {"bcc", "content-type", "content-transfer-encoding", "mime-version"}
    return {name: str(value) for name, value in given.items() if name.lower() not in ours}


# ── sending ─────────────────────────────────────────────────────────────────


class MailNotifier:
    """Sends to one mailbox."""

    format = Format.EMAIL
    room: Room | None = None

    def __init__(self, mailbox: Mailbox, *, wait: timedelta, total: timedelta) -> None:
        self._mailbox = mailbox
        self._wait = wait
        self._total = total

    def send(self, message: Message) -> Attempt:
        """Hand the message in; never raises."""
        try:
            data = compose(message, self._mailbox).as_bytes(policy=email.policy.SMTP)
        except (MessageError, ValueError, LookupError, TypeError, AttributeError) as error:
            reason = f"the e-mail could not be written: {type(error).__name__}"
            return attempt(SendOutcome.PERMANENT, reason, payload_refused=True)
        with deadline(self._total) as bounded:
            try:
                return self._deliver(data, bounded)
            except (smtplib.SMTPException, OSError, ValueError) as error:
                return _verdict(error, bounded)

    def enquire(self) -> Attempt:
        """Connect, secure and log in as for a message, and hand none in; never raises."""
        with deadline(self._total) as bounded:
            try:
                with _session(self._mailbox, bounded, self._wait) as session:
                    code, text = session.noop()
            except (smtplib.SMTPException, OSError, ValueError) as error:
                return _verdict(error, bounded)
        if code != 250:
            return _by_code(code, text, "refused", payload=False)
        how = "logged in" if self._mailbox.user else "connected"
        return attempt(SendOutcome.ACCEPTED, f"{how} at {self._mailbox.host}")

    def _deliver(self, data: bytes, bounded: Deadline) -> Attempt:
        mailbox = self._mailbox
        with _session(mailbox, bounded, self._wait) as session:
            code, text = session.mail(mailbox.sender.addr_spec)
            if code != 250:
                raise smtplib.SMTPSenderRefused(code, text, mailbox.sender.addr_spec)
            refused = {}
            for recipient in mailbox.recipients:
                code, text = session.rcpt(recipient)
                if code not in {250, 251}:
                    refused[recipient] = (code, text)
            if len(refused) == len(mailbox.recipients):
                raise smtplib.SMTPRecipientsRefused(refused)
            return _hand_in(session, data, refused, bounded)


def compose(message: Message, mailbox: Mailbox) -> EmailMessage:
    """Build the e-mail; two of the same outbox row have the same Message-ID."""
    mail = EmailMessage(policy=email.policy.SMTP)
    domain = mailbox.sender.domain or "localhost"
    # raw: EmailMessage would decode what looks like an encoded word, and show something else
    mail.set_raw("Subject", _subject(message.title))
    mail["From"] = mailbox.sender
    mail["To"] = mailbox.to
    if mailbox.cc:
        mail["Cc"] = mailbox.cc
    if mailbox.reply_to:
        mail["Reply-To"] = mailbox.reply_to
    mail["Date"] = format_datetime(datetime.now(UTC))
    mail["Message-ID"] = f"<{message.key}@{domain}>"
    if message.thread:
        # No message has this id: it stands for the episode, so that all of its messages,
        # whichever of them arrived, belong together.
        mail["In-Reply-To"] = f"<episode.{message.thread}@{domain}>"
        mail["References"] = f"<episode.{message.thread}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    for name, value in mailbox.headers.items():
        if name not in mail:
            mail[name] = value
    mail.set_content(message.body, cte="quoted-printable")
    if message.html is not None:
        mail.add_alternative(message.html, subtype="html", cte="quoted-printable")
    return mail


def _subject(title: str) -> str:
    line = " ".join(title.split())
    charset = "us-ascii" if line.isascii() and "=?" not in line else "utf-8"
    return Header(line, charset, header_name="Subject").encode()


class _Session(smtplib.SMTP):
    """An SMTP session whose connection, with TLS or without, a deadline can end."""

    def __init__(self, mailbox: Mailbox, bounded: Deadline, wait: timedelta) -> None:
        self._deadline = bounded
        self._tls = local.tls_context() if mailbox.mode == "ssl" else None
        # smtplib would ask the reverse DNS, which has no timeout
        name = socket.gethostname()
        own_name = name if "." in name else "[127.0.0.1]"
        seconds = wait.total_seconds()
        try:
            super().__init__(mailbox.host, mailbox.port, local_hostname=own_name, timeout=seconds)
        except (smtplib.SMTPException, OSError):
            self.close()
            raise

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connection, _ = self._deadline.connect(host, port, patience=timeout)
        try:
            if self._tls is not None:
                return self._tls.wrap_socket(connection, server_hostname=host)
        except OSError:
            connection.close()
            raise
        return connection


@contextmanager
def _session(mailbox: Mailbox, bounded: Deadline, wait: timedelta) -> Iterator[_Session]:
    session = _Session(mailbox, bounded, wait)
    try:
        if mailbox.mode == "starttls":
            code, text = session.starttls(context=local.tls_context())
            if code != 220:
                raise smtplib.SMTPResponseException(code, text)
        session.ehlo_or_helo_if_needed()
        if mailbox.user and mailbox.password is not None:
            session.login(mailbox.user, mailbox.password.reveal())
        yield session
        _say_goodbye(session)
    finally:
        session.close()


def _say_goodbye(session: smtplib.SMTP) -> None:
    with suppress(smtplib.SMTPException, OSError):
        if session.sock is not None:
            session.sock.settimeout(_GOODBYE_SECONDS)
        session.quit()


def _hand_in(
    session: smtplib.SMTP, data: bytes, refused: dict[str, tuple[int, bytes]], bounded: Deadline
) -> Attempt:
    """DATA: from here on the message may arrive, whatever happens to the connection."""
    try:
        code, text = session.data(data)
    except smtplib.SMTPDataError as error:
        code, text = error.smtp_code, _bytes(error.smtp_error)
    except (smtplib.SMTPException, OSError) as error:
        why = bounded.explain(error)
        return attempt(SendOutcome.UNKNOWN, f"no answer to DATA, it may have arrived: {why}")
    if code == 250:
        return attempt(SendOutcome.ACCEPTED, f"accepted{_refusals(refused)}")
    return _by_code(code, text, "the message was refused", payload=True)


def _refusals(refused: Mapping[str, tuple[int, bytes]]) -> str:
    if not refused:
        return ""
    each = (f"{address} ({code} {_line(text)})" for address, (code, text) in refused.items())
    return f", but not for {len(refused)} recipient(s): {', '.join(each)}"


def _verdict(error: Exception, bounded: Deadline) -> Attempt:
    """Judge what went wrong before DATA: nothing can have arrived."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, text = min(error.recipients.values(), key=lambda answer: answer[0])
        return _by_code(code, _bytes(text), "no recipient was accepted", payload=False)
    if isinstance(error, smtplib.SMTPResponseException):
        what = "login refused" if isinstance(error, smtplib.SMTPAuthenticationError) else "refused"
        return _by_code(error.smtp_code, _bytes(error.smtp_error), what, payload=False)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        reason = "the server does not offer what is needed (STARTTLS or login); nothing was sent"
        return attempt(SendOutcome.PERMANENT, reason)
    if isinstance(error, smtplib.SMTPServerDisconnected):
        why = bounded.explain(error) if bounded.expired else "connection lost"
        return attempt(SendOutcome.TRANSIENT, f"not reached: {why}")
    if not isinstance(error, OSError) and isinstance(error, ValueError):
        reason = f"an address or the login cannot be put into SMTP: {type(error).__name__}"
        return attempt(SendOutcome.PERMANENT, reason)
    return attempt(SendOutcome.TRANSIENT, f"not reached: {bounded.explain(local.named(error))}")


def _by_code(code: int, text: bytes, what: str, *, payload: bool) -> Attempt:
    permanent = 500 <= code < 600
    return attempt(
        SendOutcome.PERMANENT if permanent else SendOutcome.TRANSIENT,
        f"{what}: {code} {_line(text)}",
        payload_refused=permanent and payload,
    )


def _line(text: bytes) -> str:
    # masked first: half of a secret that is cut through would not be known
    return " ".join(REDACTOR.redact(text.decode("utf-8", "replace")).split())[:100]


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")
