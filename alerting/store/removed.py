"""Receivers that left the rules file: what waited is given up, what they were told is kept.

Both lives are decided in one transaction. `notified` is left saying what such a receiver really was
told (or may have been), so that it can come back at any time: planning then tells it the difference
to what is true by then. A message that never went out says nothing about anybody.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from alerting.engine import routing
from alerting.engine.model import (
    Alert,
    Item,
    Notification,
    Notified,
    Reason,
    Severity,
    State,
)
from alerting.errors import StoreError
from alerting.store import documents
from alerting.store.database import Connection, Database
from alerting.store.documents import from_micros, to_micros
from alerting.store.outbox import FAILED, LEFT, REMOVED, UNCLAIM

# Of an episode that no alert has: whatever fires is news.
_NO_EPISODE = 0


class RemovedReceivers:
    """Gives up and forgets for receivers that are not `present` in the rules file."""

    def __init__(
        self,
        database: Database,
        *,
        owner: str,
        save: Callable[[Connection, str, Notified], None],
    ) -> None:
        self._database = database
        self._owner = owner
        #: stores what a receiver was told of an alert of an account
        self._save = save

    def give_up(self, *, present: Collection[str], now: datetime) -> int:
        """End what waits for receivers that are not present; how many messages that were.

        What this process is sending just now is booked by its thread, and given up the next time
        if it was not accepted.
        """
        removed = self._with_something_open() - set(present)
        if not removed:
            return 0
        at = to_micros(now)
        given_up = 0
        with self._database.transaction() as connection, self._database.content("the outbox"):
            for receiver in sorted(removed):
                rows = self._end_waiting(connection, receiver, at)
                given_up += len(rows)
                alerts = {pair for row in rows for pair in _alerts_of(connection, row)}
                for account, fp in sorted(alerts):
                    self._reconcile(connection, receiver, account, fp)
                _end_failures(connection, receiver, at)
        return given_up

    def forget(self, *, present: Collection[str], before: datetime) -> None:
        """Forget what receivers that are not present were last told before then."""
        marks = ", ".join("?" * len(present))
        with self._database.transaction() as connection:
            connection.execute(
                f"DELETE FROM notified WHERE notified_at < ? AND receiver NOT IN ({marks})",
                (to_micros(before), *present),
            )

    def _with_something_open(self) -> set[str]:
        with self._database.reading("the outbox") as connection:
            rows = connection.execute(
                "SELECT receiver FROM outbox WHERE status = 'pending' UNION "
                "SELECT o.receiver FROM outbox o LEFT JOIN receivers r ON r.name = o.receiver "
                f"WHERE {FAILED}"
            )
            return {name for (name,) in rows}

    def _end_waiting(self, connection: Connection, receiver: str, at: int) -> list[int]:
        rows = connection.execute(
            f"UPDATE outbox SET {UNCLAIM}, status = 'dead', last_reason = :removed, "
            "finished_at = :at, "
            "maybe_sent = CASE WHEN claimed_by IS NULL THEN maybe_sent ELSE 1 END "
            f"WHERE receiver = :receiver AND {LEFT} RETURNING id",
            {"removed": REMOVED, "at": at, "receiver": receiver, "owner": self._owner},
        )
        return [number for (number,) in rows.fetchall()]

    def _reconcile(self, connection: Connection, receiver: str, account: str, fp: str) -> None:
        """Make `notified` say what the receiver was told of an alert, and nothing else."""
        last: _Said | None = None
        unsaid_end: Alert | None = None
        unsaid_news = False
        for said in _messages(connection, receiver, fp):
            if said.arrived or said.may_have_arrived:
                last = said
                break
            if unsaid_end is None and said.item.state is State.RESOLVED:
                unsaid_end = said.item.alert
            unsaid_news |= said.item.reason is not Reason.REPEAT
        key = (fp, receiver)
        where = "WHERE fingerprint = ? AND receiver = ?"
        if last is None:
            # told so long ago that the message itself is forgotten, or never
            connection.execute(
                f"UPDATE notified SET episode = {_NO_EPISODE} {where} AND delivered = 1", key
            )
            connection.execute(f"DELETE FROM notified {where} AND delivered = 0", key)
        elif last.item.state is State.FIRING and _remembered(connection, account, fp, unsaid_end):
            self._save(connection, account, last.as_notified(receiver, still=not unsaid_news))
        else:
            connection.execute(f"DELETE FROM notified {where}", key)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Said:
    """What one message says of one alert, and whether it got there."""

    item: Item
    created_at: datetime
    finished_at: datetime
    arrived: bool
    may_have_arrived: bool

    def as_notified(self, receiver: str, *, still: bool) -> Notified:
        """What is remembered of it; `still`: nothing else was to be said of the alert since."""
        alert, severity = self.item.alert, self.item.severity
        return Notified(
            fingerprint=alert.fingerprint,
            receiver=receiver,
            # of what only may have arrived it is told again if it still fires
            episode=alert.episode if self.arrived else _NO_EPISODE,
            severity=severity,
            value=alert.value,
            # of a critical that came back it is told anew
            critical=still and self.arrived and severity is Severity.CRITICAL,
            at=routing.notified_when(self.created_at, self.finished_at),
            delivered=True,
            flapping=self.item.flapping and self.arrived,
        )


def _messages(connection: Connection, receiver: str, fp: str) -> Iterator[_Said]:
    """What was written to a receiver about an alert and is over, newest first."""
    rows = connection.execute(
        "SELECT o.notification, o.created_at, o.finished_at, o.status, o.maybe_sent "
        "FROM outbox_alerts a JOIN outbox o ON o.id = a.outbox_id "
        "WHERE a.fingerprint = ? AND o.receiver = ? AND o.status <> 'pending' ORDER BY o.id DESC",
        (fp, receiver),
    )
    for text, created, finished, status, maybe_sent in rows.fetchall():
        # one that cannot be read was never sent either
        with contextlib.suppress(StoreError):
            for item in documents.load(Notification, text).items:
                if item.alert.fingerprint == fp:
                    yield _Said(
                        item=item,
                        created_at=from_micros(created),
                        finished_at=from_micros(finished),
                        arrived=status == "sent",
                        may_have_arrived=bool(maybe_sent),
                    )


def _alerts_of(connection: Connection, number: int) -> list[tuple[str, str]]:
    """Account and fingerprint of each alert in a message."""
    rows = connection.execute(
        "SELECT o.account, a.fingerprint FROM outbox_alerts a JOIN outbox o ON o.id = a.outbox_id "
        "WHERE o.id = ?",
        (number,),
    )
    return rows.fetchall()


def _remembered(connection: Connection, account: str, fp: str, ended: Alert | None) -> bool:
    """Whether an alert is there to be taken back; one that ended in vain is, from its message."""
    if connection.execute("SELECT 1 FROM alerts WHERE fingerprint = ?", (fp,)).fetchone():
        return True
    if ended is None:
        return False
    connection.execute(
        "INSERT INTO alerts (fingerprint, account, document) VALUES (?, ?, ?)",
        (fp, account, documents.dump(ended)),
    )
    return True


def _end_failures(connection: Connection, receiver: str, at: int) -> None:
    """Its failures so far are nobody's trouble any more, not when it comes back either."""
    connection.execute(
        "INSERT INTO receivers (name, accepted_at) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET accepted_at = MAX(accepted_at, excluded.accepted_at)",
        (receiver, at),
    )
