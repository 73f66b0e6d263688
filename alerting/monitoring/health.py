"""How the program itself is: looked up and judged here only.

Five show it, each by limits of its own: the heartbeat, /healthz, `status` with the metrics, the
built-in alert delivery-failing and, by way of `status --json`, scripts/healthcheck.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from alerting.engine.feeds import WALLET
from alerting.engine.model import AccountState
from alerting.engine.rules import DELIVERY_FAILING, Ruleset
from alerting.store.outbox import ReceiverStatus
from alerting.units import rfc3339


class DeliveryStore(Protocol):
    """What is asked of the state file about deliveries."""

    def failing_receivers(self, *, now: datetime, overdue: timedelta) -> Mapping[str, str]:
        """Receivers that do not get their messages -> why; StoreError if it cannot be read."""


class HealthStore(DeliveryStore, Protocol):
    """What is asked of the state file; each method raises StoreError if it cannot be read."""

    def accounts(self) -> Mapping[str, AccountState]:
        """Every account that was ever evaluated."""

    def receiver_statuses(self) -> Mapping[str, ReceiverStatus]:
        """Every receiver that messages are kept of, removed ones too."""


class Trouble(enum.Enum):
    """What can be wrong, as whoever looks after the program is told it."""

    LOOPS_STALLED = "loops that do not get on: {}"
    STATE_UNUSABLE = "{}"
    NEVER_READ = "account {} was never read"
    POLL_FAILED = "account {}: the last poll failed"
    READ_LONG_AGO = "account {} was last read at {}"
    UNDELIVERED = "receiver {}: a notification is overdue or was given up"


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong; its text says it."""

    trouble: Trouble
    #: what the words of the trouble leave open
    about: tuple[str, ...]

    def __str__(self) -> str:
        return self.trouble.value.format(*self.about)


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """How all is, at one instant."""

    #: every account of the rules file
    accounts: Mapping[str, AccountState] = field(default_factory=dict)
    #: those of the rules file that messages are kept of
    receivers: Mapping[str, ReceiverStatus] = field(default_factory=dict)
    #: every receiver of the rules file -> what is wrong with it; None: nothing
    failing: Mapping[str, str | None] = field(default_factory=dict)
    #: account -> the feeds that it is judged by
    feeds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: what only a daemon knows: loops that do not get on
    stalled: Sequence[str] = ()
    #: why the state file cannot be used
    errors: Sequence[str] = ()

    def of_program(self) -> Iterator[Problem]:
        """What keeps the program from its work, the worst first."""
        if self.stalled:
            yield Problem(trouble=Trouble.LOOPS_STALLED, about=(", ".join(self.stalled),))
        for error in self.errors:
            yield Problem(trouble=Trouble.STATE_UNUSABLE, about=(error,))

    def of_accounts(self, *, read_since: datetime) -> Iterator[Problem]:
        """Accounts that were not read since then, or not by the last poll."""
        for name, account in self.accounts.items():
            for feed in self.feeds.get(name, (WALLET,)):
                state, about = account.feed(feed), name if feed == WALLET else f"{name} {feed}"
                last = state.last_snapshot_at
                if last is None:
                    yield Problem(trouble=Trouble.NEVER_READ, about=(about,))
                elif state.poll_failures:
                    yield Problem(trouble=Trouble.POLL_FAILED, about=(about,))
                elif last < read_since:
                    yield Problem(trouble=Trouble.READ_LONG_AGO, about=(about, rfc3339(last)))

    def of_receivers(self, *, waiting_since: datetime) -> Iterator[Problem]:
        """Receivers that fail, or for which a message has waited since before then."""
        for name, why in self.failing.items():
            status = self.receivers.get(name)
            oldest = status.oldest_pending_at if status else None
            if why is not None or (oldest is not None and oldest < waiting_since):
                yield Problem(trouble=Trouble.UNDELIVERED, about=(name,))


def look(
    ruleset: Ruleset,
    store: HealthStore | None,
    *,
    now: datetime,
    overdue: timedelta | None = None,
) -> Health:
    """What the state file says; StoreError if it cannot be read. `store` None: there is none yet.

    `overdue` is as for `failing_receivers`.
    """
    accounts = {name: AccountState(name=name) for name in ruleset.accounts}
    failing: Mapping[str, str] = {}
    receivers: Mapping[str, ReceiverStatus] = {}
    if store is not None:
        accounts |= {k: v for k, v in store.accounts().items() if k in accounts}
        known = store.receiver_statuses()
        receivers = {name: known[name] for name in known if name in ruleset.receivers}
        failing = failing_receivers(ruleset, store, now=now, overdue=overdue)
    return Health(
        accounts=accounts,
        feeds={name: ruleset.feeds_of(name) for name in accounts},
        receivers=receivers,
        failing={name: failing.get(name) for name in ruleset.receivers},
    )


def failing_receivers(
    ruleset: Ruleset, store: DeliveryStore, *, now: datetime, overdue: timedelta | None = None
) -> dict[str, str]:
    """Receivers of the rules file that do not get their messages -> why.

    A critical one that waits for longer than `overdue` (None: the `for` of delivery-failing)
    counts. StoreError if the state file cannot be read.
    """
    limit = ruleset.builtin[DELIVERY_FAILING].for_ if overdue is None else overdue
    failing = store.failing_receivers(now=now, overdue=limit)
    return {name: why for name, why in failing.items() if name in ruleset.receivers}
