"""Tells somebody outside that all is well, so that they notice when the telling stops."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import requests

from alerting import __version__
from alerting.config.settings import Config
from alerting.errors import StoreError
from alerting.net.adapter import DeadlineAdapter
from alerting.net.deadline import deadline
from alerting.redaction import Secret
from alerting.store.state import Store
from alerting.units import parse_instant, rfc3339

log = logging.getLogger("alerting.heartbeat")

#: a notification that waits for longer is overdue
OVERDUE = timedelta(minutes=5)
_PATIENCE = timedelta(seconds=10)
_LAST_PING = "heartbeat.last_ping_at"
#: cron starts some seconds early or late, the daemon's beat a little: what is due then, is due now
CRON_JITTER = timedelta(seconds=5)
DAEMON_JITTER = timedelta(milliseconds=500)


def obstacle(config: Config, store: Store, *, since: datetime, now: datetime) -> str | None:
    """Why all is not well; None if every account was read after `since` and nothing is overdue."""
    accounts = store.accounts()
    for name in config.accounts:
        account = accounts.get(name)
        if account is None or account.last_snapshot_at is None:
            return f"account {name} was never read"
        if account.poll_failures:
            return f"account {name}: the last poll failed"
        if account.last_snapshot_at < since:
            return f"account {name} was last read at {rfc3339(account.last_snapshot_at)}"
    failing = store.failing_receivers(now=now, overdue=OVERDUE)
    waiting = store.receiver_statuses()
    for name in config.receivers:
        oldest = waiting[name].oldest_pending_at if name in waiting else None
        if name in failing or (oldest is not None and now - oldest > OVERDUE):
            return f"receiver {name}: a notification is overdue or was given up"
    return None


def is_due(last: datetime | None, *, every: timedelta, jitter: timedelta, now: datetime) -> bool:
    """Whether `every` has passed since the last ping, but for the jitter of who asks."""
    if last is None or last > now:
        # the clock was set back: better once too often
        return True
    return now - last >= every - min(jitter, every / 10)


def ping(url: Secret) -> str | None:
    """Ask for the URL once, within ten seconds; None if it said 2xx, else why not."""
    with deadline(_PATIENCE) as bounded, requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, DeadlineAdapter(bounded))
        session.headers["User-Agent"] = f"alerting/{__version__}"
        seconds = _PATIENCE.total_seconds()
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
    return f"it answered {status}" + (" (no redirect is followed)" if 300 <= status < 400 else "")


class Heartbeat:
    """Pings when all is well and it is time; what failed is tried again after the next cycle."""

    def __init__(
        self, store: Store, *, clock: Callable[[], datetime], jitter: timedelta = DAEMON_JITTER
    ) -> None:
        self._store = store
        self._clock = clock
        self._jitter = jitter
        self._failing = False

    def ping_if_due(self, config: Config, *, since: datetime) -> None:
        """Ping once if it is time; StoreError if the state file cannot be used."""
        heartbeat, now = config.heartbeat, self._clock()
        if heartbeat is None:
            return
        text = self._store.meta(_LAST_PING)
        last = parse_instant(text) if text else None
        if not is_due(last, every=heartbeat.every, jitter=self._jitter, now=now):
            return
        wrong = obstacle(config, self._store, since=since, now=now)
        if wrong:
            log.debug("no heartbeat: %s", wrong)
            return
        failure = ping(heartbeat.url)
        if failure is None:
            self._store.set_meta(_LAST_PING, rfc3339(now))
        else:
            level = logging.DEBUG if self._failing else logging.WARNING
            log.log(level, "the heartbeat was not taken: %s", failure)
        self._failing = failure is not None


class Follower:
    """Does its work after each cycle in a thread of its own; cycles that end meanwhile are one."""

    def __init__(self, work: Callable[[], object], *, name: str) -> None:
        self._work = work
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def nudge(self) -> None:
        """A cycle is over; never waits."""
        self._wanted.set()

    def stop(self) -> None:
        """Begin nothing more; what is under way ends with the process."""
        self._stopping.set()
        self._wanted.set()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._stopping.is_set():
                return
            try:
                self._work()
            except StoreError as error:
                if not self._stopping.is_set():
                    log.error("%s; trying again", error)  # noqa: TRY400 - a user's disk, not a bug
