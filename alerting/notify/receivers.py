"""One notifier per receiver, built from its Apprise URL: sends a message and says how it went.

E-mail goes by email.py; all else through Apprise's plugin (apprise.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from alerting.errors import AlertingError
from alerting.messages.formats import Format, Message, Room
from alerting.notify.apprise import AppriseNotifier, RefusedError, read_url
from alerting.notify.attempts import Attempt, SendOutcome
from alerting.notify.settings import ReceiverSettings

__all__ = [
    "LONGEST_SEND",
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

    @property
    def room(self) -> Room | None:
        """What the service takes of one message; None: as much as its format."""

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

    def within(self, most: timedelta | None) -> Timing:
        """The same, but over after `most`; None: as it is."""
        return self if most is None else replace(self, total=min(self.total, most))


#: Mail servers keep strangers waiting, and scan a message before they say yes.
MAIL_TIMING = Timing(read=timedelta(seconds=30), total=timedelta(seconds=60))
#: No send lasts longer, whatever its service.
LONGEST_SEND = max(Timing().total, MAIL_TIMING.total)


def build_notifier(
    receiver: ReceiverSettings, *, timing: Timing | None = None, most: timedelta | None = None
) -> Notifier:
    """Build the receiver's notifier; raises ReceiverError where it could never work.

    A send takes what its kind of service ordinarily may (`timing` instead), but not over `most`.
    """
    try:
        return _build(receiver.url.reveal().strip(), timing, most)
    except RefusedError as refusal:
        raise ReceiverError(f"receiver {receiver.name}: {refusal}") from None


def receiver_problem(receiver: ReceiverSettings) -> str | None:
    """Say why a receiver could never work; None: it could."""
    try:
        _build(receiver.url.reveal().strip(), None, None)
    except RefusedError as refusal:
        return str(refusal)
    return None


def _build(url: str, timing: Timing | None, most: timedelta | None) -> Notifier:
    target = read_url(url)
    if target.service is not Format.EMAIL:
        return AppriseNotifier(target, timing=(timing or Timing()).within(most))
    from alerting.notify.email import MailNotifier, mailbox_of

    timing = (timing or MAIL_TIMING).within(most)
    return MailNotifier(mailbox_of(target), wait=timing.read, total=timing.total)
