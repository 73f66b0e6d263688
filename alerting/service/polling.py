"""One reading of one account, whatever happens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from alerting.engine.feeds import WALLET
from alerting.engine.snapshot import FailureKind, Poll, PollFailure

log = logging.getLogger("alerting")


class Poller(Protocol):
    """Reads one feed of one account."""

    def poll(self) -> Poll:
        """One reading; never raises for anything outside."""

    def cancel(self) -> None:
        """End a poll under way at once."""


def poll_safely(name: str, poller: Poller, clock: Callable[[], datetime]) -> Poll:
    """Read once; a mistake of ours is a failed poll, for a dead thread would tell nobody."""
    try:
        return poller.poll()
    except BaseException as error:
        # MemoryError, and SystemExit raised inside a library, too
        log.exception("account %s: polling failed in an unforeseen way", name)
        return broken_poll(
            name, f"internal error while polling: {type(error).__name__}", at=clock()
        )


def reading_name(account: str, feed: str) -> str:
    """What people call the reading of a feed: the account, and which feed if not its wallet."""
    return account if feed == WALLET else f"{account} {feed}"


def reading_of(name: str) -> tuple[str, str]:
    """The account and the feed of a reading; no account has a blank in its name."""
    account, _, feed = name.partition(" ")
    return account, feed or WALLET


def broken_poll(name: str, text: str, *, at: datetime) -> Poll:
    """A reading that failed by a mistake of ours."""
    account, feed = reading_of(name)
    failure = PollFailure(account=account, feed=feed, kind=FailureKind.UNKNOWN, text=text)
    return Poll(at=at, account=account, feed=feed, outcome=failure)


def log_failure(poll: Poll, *, again: bool = False) -> bool:
    """Log a failed poll, quietly if it fails `again`; True if it failed."""
    if isinstance(poll.outcome, PollFailure):
        level = logging.DEBUG if again else logging.WARNING
        log.log(level, "account %s: %s", reading_name(poll.account, poll.feed), poll.outcome)
        return True
    if again:
        log.warning("account %s: readable again", reading_name(poll.account, poll.feed))
    return False
