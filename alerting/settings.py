"""What the shell needs of the rules file: accounts, receivers, polling, paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from alerting.redaction import Secret
from alerting.rules import Ruleset

DEFAULT_BASE_URL = "https://coinswitch.co"


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountSettings:
    """One account of the exchange."""

    name: str
    api_key: Secret
    secret_key: Secret
    #: without a trailing slash; https, or http on a loopback host
    base_url: str = DEFAULT_BASE_URL
    #: at most so many requests ...
    rate_requests: int = 20
    #: ... in any window of this length
    rate_window: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiverSettings:
    """One place where messages go."""

    name: str
    #: an Apprise URL
    url: Secret
    send_resolved: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class PollSettings:
    """How often and how patiently accounts are read."""

    interval: timedelta = timedelta(seconds=15)
    #: the total deadline of one poll
    timeout: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, kw_only=True, slots=True)
class Heartbeat:
    """Who is told that everything works, so that they notice when it does not."""

    #: https, or http on a loopback host
    url: Secret
    #: at most one ping in this time
    every: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """A whole rules file, valid."""

    path: Path
    poll: PollSettings
    accounts: Mapping[str, AccountSettings]
    receivers: Mapping[str, ReceiverSettings]
    ruleset: Ruleset
    #: a folder of the user's own templates
    templates: Path | None
    #: `state:` of the file, resolved against its folder; None: not set
    state: Path | None
    #: after this a message that could not be delivered is dead
    deliver_within: timedelta = timedelta(hours=24)
    #: None: nobody is pinged
    heartbeat: Heartbeat | None = None
    #: polls are recorded and kept so long; zero: nothing is recorded
    history_keep: timedelta = timedelta(days=30)
