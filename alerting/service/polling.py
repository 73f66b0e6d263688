"""One reading of one account, whatever happens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from alerting.engine.model import FailureKind, Poll, PollFailure

log = logging.getLogger("alerting")


class Poller(Protocol):
    """Reads one account's wallet."""

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


def broken_poll(account: str, text: str, *, at: datetime) -> Poll:
    """A poll that failed by a mistake of ours."""
    failure = PollFailure(account=account, kind=FailureKind.UNKNOWN, text=text)
    return Poll(at=at, account=account, outcome=failure)


def log_failure(poll: Poll, *, again: bool = False) -> bool:
    """Log a failed poll, quietly if it fails `again`; True if it failed."""
    if isinstance(poll.outcome, PollFailure):
        level = logging.DEBUG if again else logging.WARNING
        log.log(level, "account %s: %s", poll.account, poll.outcome)
        return True
    if again:
        log.warning("account %s: readable again", poll.account)
    return False
