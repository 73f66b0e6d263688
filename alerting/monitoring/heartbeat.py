"""Tells somebody outside that all is well, so that they notice when the telling stops."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

import requests

from alerting import __version__
from alerting.config.settings import Config
from alerting.engine.rules import Ruleset
from alerting.monitoring.health import HealthStore, Problem, look
from alerting.net.adapter import DeadlineAdapter
from alerting.net.deadline import deadline
from alerting.net.failures import in_between
from alerting.redaction import Secret
from alerting.store.facts import FactStore
from alerting.units import parse_instant, rfc3339

log = logging.getLogger("alerting.heartbeat")

#: a notification that waits for longer is overdue
OVERDUE = timedelta(minutes=5)
#: how long a ping may take
PATIENCE = timedelta(seconds=10)
_LAST_PING = "heartbeat.last_ping_at"
#: cron starts some seconds early or late, the daemon a little: what is due then, is due now
CRON_JITTER = timedelta(seconds=5)
DAEMON_JITTER = timedelta(milliseconds=500)


class HeartbeatStore(HealthStore, FactStore, Protocol):
    """What is asked of the state file; each method raises StoreError if it cannot be used."""


def obstacle(
    ruleset: Ruleset, store: HealthStore, *, since: datetime, now: datetime
) -> Problem | None:
    """Why all is not well; None if every account was read after `since` and nothing is overdue."""
    health = look(ruleset, store, now=now, overdue=OVERDUE)
    unread = health.of_accounts(read_since=since)
    undelivered = health.of_receivers(waiting_since=now - OVERDUE)
    return next(itertools.chain(unread, undelivered), None)


def is_due(last: datetime | None, *, every: timedelta, jitter: timedelta, now: datetime) -> bool:
    """Whether `every` has passed since the last ping, but for the jitter of who asks."""
    if last is None or last > now:
        # the clock was set back: better once too often
        return True
    return now - last >= every - min(jitter, every / 10)


def ping(url: Secret, *, patience: timedelta = PATIENCE) -> str | None:
    """Ask for the URL once; None if it said 2xx in time, else why not."""
    with deadline(patience) as bounded, requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, DeadlineAdapter(bounded))
        session.headers["User-Agent"] = f"alerting/{__version__}"
        seconds = patience.total_seconds()
        try:
            # stream: what the answer says beyond its status is nobody's business
            answer = session.get(url.reveal(), timeout=seconds, allow_redirects=False, stream=True)
        except (requests.RequestException, OSError, ValueError) as error:
            return bounded.explain(error)
        answer.close()
        if bounded.expired:
            # a head that we cut off looks complete
            return bounded.explain(TimeoutError())
    status = answer.status_code
    if 200 <= status < 300:
        return None
    nearer = in_between(status)
    if nearer is not None:
        return nearer
    return f"it answered {status}" + (" (no redirect is followed)" if 300 <= status < 400 else "")


class Heartbeat:
    """Pings when all is well and it is time; what failed is tried again after the next cycle."""

    def __init__(
        self,
        store: HeartbeatStore,
        *,
        clock: Callable[[], datetime],
        jitter: timedelta = DAEMON_JITTER,
        patience: timedelta = PATIENCE,
    ) -> None:
        self._store = store
        self._clock = clock
        self._jitter = jitter
        self._patience = patience
        self._failing = False

    def ping_if_due(self, config: Config, *, since: datetime) -> None:
        """Ping once if it is time; StoreError if the state file cannot be used."""
        heartbeat, now = config.heartbeat, self._clock()
        if heartbeat is None:
            return
        if not is_due(self._last_ping(), every=heartbeat.every, jitter=self._jitter, now=now):
            return
        wrong = obstacle(config.ruleset, self._store, since=since, now=now)
        if wrong:
            log.debug("no heartbeat: %s", wrong)
            return
        failure = ping(heartbeat.url, patience=self._patience)
        if failure is None:
            self._store.set_meta(_LAST_PING, rfc3339(now))
        else:
            level = logging.DEBUG if self._failing else logging.WARNING
            log.log(level, "the heartbeat was not taken: %s", failure)
        self._failing = failure is not None

    def _last_ping(self) -> datetime | None:
        text = self._store.meta(_LAST_PING)
        try:
            return parse_instant(text) if text else None
        except (ValueError, OverflowError):
            # damaged: better once too often
            return None
