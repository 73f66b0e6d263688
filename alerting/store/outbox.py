"""The outbox: what is still to be sent, whose turn it is, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from alerting.engine import routing
from alerting.engine.model import Notification, Reason, Severity
from alerting.errors import StoreError
from alerting.store import documents
from alerting.store.database import Connection, Database
from alerting.store.documents import from_micros, to_micros
from alerting.store.soundness import refuse_broken

#: However long a service asks to be left alone, it is asked again after this: with one receiver a
#: day's pause would be a day of silence.
LONGEST_HOLD = timedelta(hours=1)
_MICROSECOND = timedelta(microseconds=1)
_LONGEST_WAIT = 2 * LONGEST_HOLD // _MICROSECOND
#: why a message died whose receiver is not in the rules file; that is no failure of the receiver's
REMOVED = "receiver removed"
# Far longer than any attempt lasts: whoever claimed a row and is not done by then is gone.
_CLAIM = timedelta(minutes=10)
# A message whose turn comes later than this was waiting for us and not for its receiver: the
# program was stopped, or the clock jumped. Then it is not given up before it was tried for a while.
_LATE = timedelta(minutes=10) // _MICROSECOND
_GRACE = timedelta(hours=1) // _MICROSECOND
_FOREVER = 1 << 62


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxRow:
    """One message that is due for one receiver; it is the claimer's to send from now on."""

    id: int
    receiver: str
    notification: Notification
    created_at: datetime
    expires_at: datetime
    #: this one included
    attempts: int
    #: an earlier attempt may have arrived
    maybe_sent: bool
    #: the service refused the full text: send the plainest one
    simplified: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiverStatus:
    """How one receiver's messages stand."""

    name: str
    pending: int
    dead: int
    sent: int
    oldest_pending_at: datetime | None
    last_reason: str | None


# The row as it was claimed. A result of a claim that ended meanwhile, or of a file that was
# replaced, must not be booked on whatever bears the number now.
_THIS_CLAIM = "WHERE id = ? AND receiver = ? AND attempts = ? AND claimed_by = ?"
# Its end stays: it tells when the row was last used.
UNCLAIM = "claimed_by = NULL"
# It waits, and neither this owner is sending it nor another one within its claim.
LEFT = (
    "status = 'pending' AND (claimed_by IS NULL OR (claimed_by <> :owner AND claimed_until <= :at))"
)
# It died since its receiver, r, last accepted one.
FAILED = "o.status = 'dead' AND o.finished_at > COALESCE(r.accepted_at, 0)"

# A row that may be sent once it is due: this owner is not sending it, and no older one about the
# same alert waits. Under another owner's claim it is due when the claim ends.
_SENDABLE = """
    o.receiver = :receiver AND o.status = 'pending'
    AND (o.claimed_by IS NULL OR o.claimed_by <> :owner) AND NOT EXISTS (
      SELECT 1 FROM outbox_alerts mine
      JOIN outbox_alerts older ON older.fingerprint = mine.fingerprint
      JOIN outbox e ON e.id = older.outbox_id
      WHERE mine.outbox_id = o.id AND e.receiver = o.receiver AND e.status = 'pending'
      AND e.id < o.id)
"""
# When it is due. What lies further ahead than any wait lasts, or was last used ahead of now, is
# older than a clock that was set back: it has waited for long enough.
_DUE = """
    CASE WHEN o.claimed_by IS NULL AND o.claimed_until > :claimed THEN 0
    WHEN o.claimed_by IS NULL THEN CASE WHEN o.next_at > :limit THEN 0 ELSE o.next_at END
    ELSE CASE WHEN o.claimed_until > :limit THEN 0 ELSE o.claimed_until END END
"""


class Outbox:
    """Messages from their evaluation to their end."""

    def __init__(self, database: Database, *, owner: str, deliver_within: timedelta) -> None:
        self._database = database
        #: whose claims these are: one id per process
        self._owner = owner
        self._deliver_within = deliver_within

    def enqueue(self, connection: Connection, account: str, notification: Notification) -> None:
        """Store a message within the transaction of its evaluation; one that is there stays."""
        created = to_micros(notification.observed_at)
        said = [
            f"{item.alert.fingerprint[:16]}.{item.alert.episode}.{item.reason.value}"
            for item in notification.items
        ]
        row = connection.execute(
            """
            INSERT INTO outbox (dedup, receiver, account, severity, notification, status,
              created_at, expires_at, next_at)
            VALUES (?, ?, ?, ?, ?, 'pending', ?, ?, 0)
            ON CONFLICT (dedup) DO NOTHING RETURNING id
            """,
            (
                "|".join([notification.receiver, str(created), *said]),
                notification.receiver,
                account,
                notification.severity.rank,
                documents.dump(notification),
                created,
                created + self._deliver_within // _MICROSECOND,
            ),
        ).fetchone()
        if row is None:
            return
        connection.executemany(
            "INSERT INTO outbox_alerts (outbox_id, fingerprint, episode) VALUES (?, ?, ?)",
            [(row[0], item.alert.fingerprint, item.alert.episode) for item in notification.items],
        )
        _doubt_if_given_up(connection, row[0], notification)

    def set_deliver_within(self, deliver_within: timedelta) -> None:
        """Give messages so long from now on; those that wait, too."""
        self._deliver_within = deliver_within
        limit = deliver_within // _MICROSECOND
        differ = "status = 'pending' AND expires_at <> created_at + ?"
        with self._database.reading("the outbox") as connection:
            if not connection.execute(f"SELECT 1 FROM outbox WHERE {differ}", (limit,)).fetchone():
                return
        with self._database.transaction() as connection:
            connection.execute(
                f"UPDATE outbox SET expires_at = created_at + ? WHERE {differ}", (limit, limit)
            )

    def recover(self) -> int:
        """Rows that others were sending when they died may have arrived; their count.

        Only the holder of the state lock may call this, at its start: StoreError if the file is
        damaged in a way that would hide what waits.
        """
        with self._database.transaction() as connection:
            refuse_broken(connection, self._database.path)
            return connection.execute(
                f"UPDATE outbox SET {UNCLAIM}, maybe_sent = 1 "
                "WHERE claimed_by <> ? AND status = 'pending'",
                (self._owner,),
            ).rowcount

    def claim(self, receiver: str, *, now: datetime) -> OutboxRow | None:
        """The receiver's most urgent due message, booked as being sent; None: nothing is due.

        The worst severity goes first, but never before an older message about the same alert. What
        another owner did not finish within its claim may have been sent. What cannot be read is
        dead, and thereby told through the receivers that work.
        """
        at = to_micros(now)
        with self._database.transaction() as connection:
            self._bury_expired(connection, receiver, at)
            while (number := self._most_urgent(connection, receiver, at)) is not None:
                row = connection.execute(
                    "UPDATE outbox SET attempts = attempts + 1, "
                    "maybe_sent = CASE WHEN claimed_by IS NULL THEN maybe_sent ELSE 1 END, "
                    "claimed_by = ?, claimed_until = ?, "
                    "expires_at = CASE WHEN expires_at <= ? THEN ? ELSE expires_at END "
                    "WHERE id = ? "
                    "RETURNING id, receiver, notification, created_at, expires_at, attempts, "
                    "maybe_sent, simplified",
                    (self._owner, to_micros(now + _CLAIM), at, at + _GRACE, number),
                ).fetchone()
                try:
                    with documents.reading("the stored message"):
                        return _outbox_row(row)
                except StoreError as error:
                    claim = (row[0], row[1], row[5], self._owner)
                    self._finish(connection, claim, "dead", str(error), at)
        return None

    def _most_urgent(self, connection: Connection, receiver: str, at: int) -> int | None:
        row = connection.execute(
            f"""
            SELECT o.id FROM outbox o LEFT JOIN receivers r ON r.name = o.receiver
            WHERE {_SENDABLE}
              AND {_DUE} <= :at
              AND (COALESCE(r.not_before, 0) <= :at OR r.not_before > :limit)
            ORDER BY o.severity DESC, o.id LIMIT 1
            """,
            {"receiver": receiver, "owner": self._owner, "at": at, **_limits(at)},
        ).fetchone()
        return None if row is None else int(row[0])

    def next_due(self, receiver: str, *, now: datetime | None = None) -> datetime | None:
        """When `claim` may find something next; None: nothing waits.

        With `now`, an instant further ahead than any wait lasts counts as past.
        """
        limits = _limits(to_micros(now) if now is not None else _FOREVER)
        with self._database.reading("the outbox") as connection:
            due, not_before = connection.execute(
                f"""
                SELECT MIN({_DUE}),
                  MIN(CASE WHEN r.not_before > :limit THEN 0 ELSE r.not_before END)
                FROM outbox o LEFT JOIN receivers r ON r.name = o.receiver
                WHERE {_SENDABLE}
                """,
                {"receiver": receiver, "owner": self._owner, **limits},
            ).fetchone()
            return None if due is None else from_micros(max(due, not_before or 0))

    def mark_sent(self, row: OutboxRow, *, reason: str, now: datetime) -> None:
        """The receiver accepted it: only now its alerts count as told."""
        at = to_micros(now)
        with self._database.transaction() as connection, self._database.content("the outbox"):
            if not self._finish(connection, self._claim_of(row), "sent", reason, at):
                return
            connection.execute(
                "INSERT INTO receivers (name, not_before, accepted_at, sent) VALUES (?, 0, ?, 1) "
                "ON CONFLICT (name) DO UPDATE SET accepted_at = excluded.accepted_at, "
                "not_before = 0, sent = receivers.sent + 1",
                (row.receiver, _after_all_dead(connection, row.receiver, at)),
            )
            alerts = connection.execute(
                "SELECT fingerprint, episode FROM outbox_alerts WHERE outbox_id = ?", (row.id,)
            )
            for fp, episode in alerts.fetchall():
                _mark_notified(connection, row.receiver, fp, episode, now)
            _bring_forward(connection, row.receiver, at)

    def mark_retry(
        self, row: OutboxRow, *, reason: str, next_at: datetime, maybe_sent: bool
    ) -> None:
        """It was not accepted, or nobody knows; it is tried again at `next_at`."""
        with self._database.transaction() as connection:
            connection.execute(
                f"UPDATE outbox SET {UNCLAIM}, last_reason = ?, next_at = ?, "
                "maybe_sent = CASE WHEN ? THEN 1 ELSE maybe_sent END "
                f"{_THIS_CLAIM}",
                (reason, to_micros(next_at), maybe_sent, *self._claim_of(row)),
            )

    def mark_simplified(self, row: OutboxRow, *, reason: str, now: datetime) -> None:
        """The service refused the text itself: the plainest one goes next, at once."""
        with self._database.transaction() as connection:
            connection.execute(
                f"UPDATE outbox SET {UNCLAIM}, simplified = 1, last_reason = ?, next_at = ? "
                f"{_THIS_CLAIM}",
                (reason, to_micros(now), *self._claim_of(row)),
            )

    def mark_dead(self, row: OutboxRow, *, reason: str, now: datetime) -> None:
        """It will never be accepted."""
        with self._database.transaction() as connection:
            self._finish(connection, self._claim_of(row), "dead", reason, to_micros(now))

    def _claim_of(self, row: OutboxRow) -> tuple[int, str, int, str]:
        return row.id, row.receiver, row.attempts, self._owner

    def _finish(
        self,
        connection: Connection,
        claim: tuple[int, str, int, str],
        status: str,
        reason: str,
        at: int,
    ) -> bool:
        changed = connection.execute(
            f"UPDATE outbox SET {UNCLAIM}, status = ?, last_reason = ?, finished_at = ? "
            f"{_THIS_CLAIM}",
            (status, reason, at, *claim),
        )
        if status == "dead":
            # what was accepted ahead of now, by a clock that was set back since, was before this
            connection.execute(
                "UPDATE receivers SET accepted_at = ? WHERE name = ? AND accepted_at >= ?",
                (at - 1, claim[1], at),
            )
        return changed.rowcount > 0

    def _bury_expired(self, connection: Connection, receiver: str, at: int) -> None:
        """Give up what was tried until its end; what nobody could try meanwhile is tried first."""
        connection.execute(
            f"UPDATE outbox AS o SET {UNCLAIM}, status = 'dead', finished_at = :at, "
            "last_reason = 'not delivered in time: ' || COALESCE(last_reason, 'no attempt') "
            f"WHERE receiver = :receiver AND expires_at <= :at AND {LEFT} "
            f"AND MAX({_DUE}, created_at) > :late",
            {
                "receiver": receiver,
                "owner": self._owner,
                "at": at,
                "late": at - _LATE,
                **_limits(at),
            },
        )


class Receivers:
    """How the receivers do: pauses, successes, failures."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hold_receiver(self, receiver: str, *, until: datetime) -> None:
        """The service asked to be left alone until then."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO receivers (name, not_before) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET not_before = excluded.not_before",
                (receiver, to_micros(until)),
            )

    def address_changed(self, receiver: str, *, now: datetime) -> None:
        """Its URL is another one: who asked for a pause, or was down, is not asked any more."""
        at = to_micros(now)
        with self._database.transaction() as connection:
            connection.execute("UPDATE receivers SET not_before = 0 WHERE name = ?", (receiver,))
            _bring_forward(connection, receiver, at)

    def note_accepted(self, receiver: str, *, now: datetime) -> None:
        """A test message got through: earlier failures and pauses of the receiver are over."""
        at = to_micros(now)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO receivers (name, accepted_at) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET accepted_at = excluded.accepted_at, "
                "not_before = 0",
                (receiver, _after_all_dead(connection, receiver, at)),
            )
            _bring_forward(connection, receiver, at)

    def failing_receivers(self, *, now: datetime, overdue: timedelta) -> dict[str, str]:
        """Receivers with a dead message since they last accepted one, or an overdue critical one.

        The value says what is wrong, without secrets.
        """
        with self._database.reading("the outbox") as connection:
            dead = connection.execute(
                f"""
                SELECT o.receiver, COUNT(*), MAX(o.last_reason)
                FROM outbox o LEFT JOIN receivers r ON r.name = o.receiver
                WHERE {FAILED}
                GROUP BY o.receiver
                """
            ).fetchall()
            late = connection.execute(
                """
                SELECT receiver, COUNT(*), MIN(created_at), MAX(last_reason) FROM outbox
                WHERE status = 'pending' AND severity = ? AND (created_at <= ? OR created_at > ?)
                GROUP BY receiver
                """,
                (Severity.CRITICAL.rank, to_micros(now - overdue), to_micros(now + LONGEST_HOLD)),
            ).fetchall()
            failing = {
                name: f"{count} given up, the last with: {reason}" for name, count, reason in dead
            }
            for name, count, since, reason in late:
                waits = f"{count} critical waiting since {from_micros(since):%H:%M:%S} UTC"
                failing[name] = f"{waits}: {reason or 'no attempt has ended yet'}"
        return failing

    def receiver_statuses(self) -> Mapping[str, ReceiverStatus]:
        """Counts and the last failure per receiver."""
        with self._database.reading("the outbox") as connection:
            rows = connection.execute(
                """
                SELECT receiver,
                  SUM(CASE WHEN status = 'pending' THEN 1 ELSE 0 END),
                  SUM(CASE WHEN status = 'dead' AND last_reason <> :removed THEN 1 ELSE 0 END),
                  SUM(CASE WHEN status = 'sent' THEN 1 ELSE 0 END),
                  MIN(CASE WHEN status = 'pending' THEN created_at END),
                  (SELECT l.last_reason FROM outbox l WHERE l.receiver = o.receiver
                    AND l.status <> 'sent' AND l.last_reason <> :removed
                    ORDER BY l.id DESC LIMIT 1)
                FROM outbox o GROUP BY receiver
                """,
                {"removed": REMOVED},
            ).fetchall()
            return {row[0]: _receiver_status(row) for row in rows}

    def sent_totals(self) -> dict[str, int]:
        """How many messages each receiver ever accepted; pruning forgets none of them."""
        with self._database.reading("the receivers") as connection:
            return dict(connection.execute("SELECT name, sent FROM receivers").fetchall())


def prune(connection: Connection, *, before: datetime) -> None:
    """Forget finished messages of before then."""
    # a dead message stays as long as its receiver counts as failing because of it
    over = (
        "status <> 'pending' AND finished_at < ? AND (status = 'sent' OR finished_at <= "
        "COALESCE((SELECT accepted_at FROM receivers WHERE name = outbox.receiver), 0))"
    )
    at = (to_micros(before),)
    connection.execute(
        f"DELETE FROM outbox_alerts WHERE outbox_id IN (SELECT id FROM outbox WHERE {over})", at
    )
    connection.execute(f"DELETE FROM outbox WHERE {over}", at)


def doubt_everything(connection: Connection) -> None:
    """Another file took this one's place: perhaps one from before some messages went out."""
    connection.execute(f"UPDATE outbox SET {UNCLAIM}, maybe_sent = 1 WHERE status = 'pending'")


def _limits(at: int) -> dict[str, int]:
    """Beyond these a stored instant counts as past."""
    return {"limit": at + _LONGEST_WAIT, "claimed": at + _CLAIM // _MICROSECOND}


def _after_all_dead(connection: Connection, receiver: str, at: int) -> int:
    """An instant of acceptance: later than all that died, also if the clock was set back since."""
    row = connection.execute(
        "SELECT MAX(finished_at) FROM outbox WHERE receiver = ? AND status = 'dead'", (receiver,)
    ).fetchone()
    return max(at, row[0] or 0)


def _doubt_if_given_up(connection: Connection, number: int, notification: Notification) -> None:
    """Mark a message as a possible repeat of one that was given up and may have arrived."""
    for item in notification.items:
        if item.reason is Reason.FIRING:
            connection.execute(
                "UPDATE outbox SET maybe_sent = 1 WHERE id = ? AND EXISTS (SELECT 1 "
                "FROM outbox_alerts a JOIN outbox o ON o.id = a.outbox_id WHERE a.fingerprint = ? "
                "AND a.episode = ? AND o.receiver = outbox.receiver AND o.status = 'dead' "
                "AND o.maybe_sent = 1 AND o.last_reason = ?)",
                (number, item.alert.fingerprint, item.alert.episode, REMOVED),
            )


def _bring_forward(connection: Connection, receiver: str, at: int) -> None:
    """It is up again: whatever waits there for a later try goes now."""
    connection.execute(
        "UPDATE outbox SET next_at = ? WHERE receiver = ? AND status = 'pending' AND next_at > ?",
        (at, receiver, at),
    )


def _mark_notified(
    connection: Connection, receiver: str, fp: str, episode: int, now: datetime
) -> None:
    key = (fp, receiver, episode)
    where = "WHERE fingerprint = ? AND receiver = ? AND episode = ?"
    found = connection.execute(f"SELECT notified_at FROM notified {where}", key).fetchone()
    if found is None:
        return
    notified_at = routing.notified_when(from_micros(found[0]), now)
    connection.execute(
        f"UPDATE notified SET delivered = 1, notified_at = ? {where}",
        (to_micros(notified_at), *key),
    )


def _outbox_row(row: tuple[Any, ...]) -> OutboxRow:
    number, receiver, text, created, expires, attempts, maybe_sent, simplified = row
    return OutboxRow(
        id=number,
        receiver=receiver,
        notification=documents.load(Notification, text),
        created_at=from_micros(created),
        expires_at=from_micros(expires),
        attempts=attempts,
        maybe_sent=bool(maybe_sent),
        simplified=bool(simplified),
    )


def _receiver_status(row: tuple[Any, ...]) -> ReceiverStatus:
    name, pending, dead, sent, oldest, reason = row
    return ReceiverStatus(
        name=name,
        pending=pending,
        dead=dead,
        sent=sent,
        oldest_pending_at=None if oldest is None else from_micros(oldest),
        last_reason=reason,
    )
