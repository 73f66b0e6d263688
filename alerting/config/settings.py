"""A whole rules file, valid: what load.py gives and every command starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from alerting.display import PLAIN, Display
from alerting.engine.feeds import FEEDS, POSITIONS, WALLET
from alerting.engine.rules import Ruleset
from alerting.errors import Problem
from alerting.exchanges.account import AccountSettings
from alerting.notify.settings import ReceiverSettings
from alerting.redaction import Secret

# How many pages a poll of a feed asks for, one after the other, each within its own timeout: of
# positions the instruments, the positions, and how one ended that is missing.
_PAGES = {WALLET: 1, POSITIONS: 3}


@dataclass(frozen=True, kw_only=True, slots=True)
class PollSettings:
    """How often and how patiently accounts are read."""

    interval: timedelta = timedelta(seconds=15)
    #: of the positions; None: as the wallet
    positions: timedelta | None = None
    #: the total deadline of one poll
    timeout: timedelta = timedelta(seconds=10)

    def every(self, feed: str) -> timedelta:
        """How often a feed is read."""
        return (self.positions if feed == POSITIONS else None) or self.interval

    def patience(self, feed: str = WALLET) -> timedelta:
        """A feed that was not read for longer is not being read."""
        return 3 * self.every(feed) + _PAGES[feed] * self.timeout + timedelta(seconds=5)

    @property
    def longest_patience(self) -> timedelta:
        """Of all feeds."""
        return max(map(self.patience, FEEDS))


@dataclass(frozen=True, kw_only=True, slots=True)
class HeartbeatSettings:
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
    heartbeat: HeartbeatSettings | None = None
    #: polls are recorded and kept so long; zero: nothing is recorded
    history_keep: timedelta = timedelta(days=30)
    #: how numbers and instants are shown to people
    display: Display = PLAIN
    #: the file without its secrets, to be remembered when it is taken over
    kept: str = ""
    #: what is valid and can hardly be meant; not looked for with Depth.STRUCTURE
    warnings: tuple[Problem, ...] = ()
