"""The state file: the engine's memory and the outbox, in SQLite. All SQL of the program is here.

One evaluation is one transaction: new states and outbox rows commit together. Sending happens
afterwards, and each result is booked on its own. The SQL keeps to what PostgreSQL speaks too.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from alerting.engine import routing
from alerting.engine.evaluation import Evaluation
from alerting.engine.model import (
    AccountState,
    Ack,
    Alert,
    Memory,
    Notification,
    Notified,
    Severity,
    Silence,
    State,
    Transition,
)
from alerting.errors import StoreError
from alerting.store import documents
from alerting.store.documents import from_micros, to_micros

log = logging.getLogger("alerting.store")

_MIGRATIONS = (
    """
    CREATE TABLE accounts (
      name TEXT PRIMARY KEY,
      document TEXT NOT NULL,
      evaluated_at BIGINT NOT NULL
    );
    CREATE TABLE alerts (
      fingerprint TEXT PRIMARY KEY,
      account TEXT NOT NULL,
      document TEXT NOT NULL
    );
    CREATE INDEX alerts_by_account ON alerts (account);
    CREATE TABLE told (
      fingerprint TEXT NOT NULL,
      receiver TEXT NOT NULL,
      account TEXT NOT NULL,
      episode BIGINT NOT NULL,
      severity TEXT NOT NULL,
      told_at BIGINT NOT NULL,
      delivered INTEGER NOT NULL,
      repeats INTEGER NOT NULL,
      flapping INTEGER NOT NULL,
      PRIMARY KEY (fingerprint, receiver)
    );
    CREATE INDEX told_by_account ON told (account);
    CREATE TABLE outbox (
      id INTEGER PRIMARY KEY,
      dedup TEXT NOT NULL UNIQUE,
      receiver TEXT NOT NULL,
      account TEXT NOT NULL,
      severity INTEGER NOT NULL,
      payload TEXT NOT NULL,
      status TEXT NOT NULL,
      created_at BIGINT NOT NULL,
      expires_at BIGINT NOT NULL,
      next_at BIGINT NOT NULL,
      attempts INTEGER NOT NULL DEFAULT 0,
      sending INTEGER NOT NULL DEFAULT 0,
      maybe_sent INTEGER NOT NULL DEFAULT 0,
      simplified INTEGER NOT NULL DEFAULT 0,
      last_reason TEXT,
      finished_at BIGINT
    );
    CREATE INDEX outbox_by_receiver ON outbox (receiver, status);
    CREATE TABLE outbox_alerts (
      outbox_id BIGINT NOT NULL,
      fingerprint TEXT NOT NULL,
      episode BIGINT NOT NULL,
      PRIMARY KEY (outbox_id, fingerprint)
    );
    CREATE INDEX outbox_alerts_by_fingerprint ON outbox_alerts (fingerprint);
    CREATE TABLE silences (
      id INTEGER PRIMARY KEY,
      matchers TEXT NOT NULL,
      starts_at BIGINT NOT NULL,
      ends_at BIGINT NOT NULL,
      author TEXT NOT NULL,
      reason TEXT NOT NULL
    );
    CREATE TABLE acks (
      fingerprint TEXT PRIMARY KEY,
      episode BIGINT NOT NULL,
      severity TEXT NOT NULL,
      acked_at BIGINT NOT NULL,
      author TEXT NOT NULL
    );
    CREATE TABLE transitions (
      id INTEGER PRIMARY KEY,
      account TEXT NOT NULL,
      at BIGINT NOT NULL,
      rule TEXT NOT NULL,
      fingerprint TEXT NOT NULL,
      severity TEXT NOT NULL,
      source TEXT NOT NULL,
      target TEXT NOT NULL,
      value TEXT,
      reason TEXT NOT NULL
    );
    CREATE INDEX transitions_by_alert ON transitions (fingerprint, at);
    CREATE TABLE history (
      id INTEGER PRIMARY KEY,
      account TEXT NOT NULL,
      at BIGINT NOT NULL,
      body BLOB,
      error TEXT
    );
    CREATE INDEX history_by_time ON history (at);
    CREATE TABLE receivers (
      name TEXT PRIMARY KEY,
      not_before BIGINT NOT NULL DEFAULT 0,
      accepted_at BIGINT NOT NULL DEFAULT 0,
      sent BIGINT NOT NULL DEFAULT 0
    );
    CREATE TABLE meta (
      key TEXT PRIMARY KEY,
      value TEXT NOT NULL
    );
    """,
)

# SQLite before 3.51.3 may corrupt a database in WAL mode when two connections write and
# checkpoint at the same instant; the rollback journal costs three more fsyncs a commit.
_WAL_IS_SAFE = (3, 51, 3)
_BUSY_TIMEOUT = timedelta(seconds=5)
#: However long a service asks to be left alone, it is asked again after this: with one receiver a
#: day's pause would be a day of silence.
LONGEST_HOLD = timedelta(hours=1)
_LONGEST_WAIT = 2 * LONGEST_HOLD // timedelta(microseconds=1)
# How long finished messages stay for `status` and for looking back.
_KEEP_FINISHED = timedelta(days=30)
# What answers look like, so that even a single short one packs well. Part of the file's format.
_FAMILIAR = (
    b'"blocked_balance": "0.","position_margin":"0","open_order_margin":"0"},'
    b'{"symbol":"BTCUSDT","base_asset":"USDT","exchange":"EXCHANGE_2"}],"asset": [{"symbol": "'
    b'{"data": {"base_asset_balances": [{"base_asset": "USDT", "balances": {"total_balance": "0.0",'
    b' "total_available_balance": "", "total_blocked_balance": "", "total_position_margin": "",'
    b' "total_open_order_margin": "-"}}]}}'
)


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxRow:
    """One message that is due for one receiver; it counts as being sent from now on."""

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
class Seen:
    """What a poll gave, for the history: the answer's text, or why there is none."""

    body: str | None
    error: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PastPoll:
    """A recorded poll."""

    at: datetime
    account: str
    seen: Seen


@dataclass(frozen=True, kw_only=True, slots=True)
class PastChange:
    """A recorded transition of one level."""

    at: datetime
    severity: Severity
    source: State
    target: State
    value: str | None
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PastMessage:
    """A message about one alert, and what became of it."""

    at: datetime
    receiver: str
    #: why the receiver was told of this alert
    reason: str
    #: pending, sent or dead
    status: str
    attempts: int
    last_reason: str | None
    finished_at: datetime | None
    next_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiverStatus:
    """How one receiver's messages stand."""

    name: str
    pending: int
    dead: int
    sent: int
    oldest_pending_at: datetime | None
    last_reason: str | None


class Store:
    """One connection to the state file; its methods may be called from any thread."""

    def __init__(
        self,
        path: Path,
        *,
        deliver_within: timedelta = timedelta(hours=24),
        busy_timeout: timedelta = _BUSY_TIMEOUT,
    ) -> None:
        self._path = path
        self._deliver_within = deliver_within
        self._busy_timeout = busy_timeout
        self._lock = threading.RLock()
        with self._errors():
            self._open()
        self._migrate()

    @property
    def path(self) -> Path:
        """Where the state file is."""
        return self._path

    def close(self) -> None:
        """Close the connection; what was not committed never happened."""
        with self._lock:
            self._connection.close()

    # ── one evaluation ──────────────────────────────────────────────────────

    def evaluate(
        self, account: str, judge: Callable[[Memory], Evaluation], *, seen: Seen | None = None
    ) -> Evaluation:
        """Load an account's memory, judge it, and store memory and messages: all or nothing.

        `account` "" is the program itself. `judge` must be pure and quick: it runs inside the
        transaction, so that no other process can change the memory meanwhile. `seen` is what is
        to be recorded of the poll.
        """
        with self._transaction():
            before = self._load(account)
            evaluation = judge(before)
            self._save(account, before, evaluation)
            if seen is not None:
                self._record(account, seen, evaluation.at)
        return evaluation

    def accounts(self) -> dict[str, AccountState]:
        """Every account that was ever evaluated."""
        with self._errors(), self._lock:
            rows = self._connection.execute("SELECT name, document FROM accounts").fetchall()
        return {name: documents.load(AccountState, text) for name, text in rows if name}

    def evaluations(self) -> dict[str, datetime]:
        """When each account was last evaluated, whatever its poll gave."""
        with self._errors(), self._lock:
            rows = self._connection.execute("SELECT name, evaluated_at FROM accounts").fetchall()
        return {name: from_micros(at) for name, at in rows if name}

    def meta(self, key: str) -> str | None:
        """A fact about the program that is no alert and no message; None: never set."""
        with self._errors(), self._lock:
            row = self._connection.execute(
                "SELECT value FROM meta WHERE key = ?", (key,)
            ).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Remember such a fact."""
        with self._transaction():
            self._connection.execute(
                "INSERT INTO meta (key, value) VALUES (?, ?) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, value),
            )

    def memory(self, account: str) -> Memory:
        """An account's memory, for reading only."""
        with self._errors(), self._lock:
            return self._load(account)

    def _load(self, account: str) -> Memory:
        try:
            with documents.reading("a record"):
                return self._read(account)
        except StoreError as error:
            what = f"what it holds of account {account!r} cannot be read"
            raise StoreError(f"state file {self._path}: {what} ({error})") from error

    def _read(self, account: str) -> Memory:
        query = self._connection.execute
        known = query("SELECT document FROM accounts WHERE name = ?", (account,)).fetchone()
        state = documents.load(AccountState, known[0]) if known else AccountState(name=account)
        alerts = query("SELECT fingerprint, document FROM alerts WHERE account = ?", (account,))
        told = query(
            """
            SELECT t.fingerprint, t.receiver, t.episode, t.severity, t.told_at, t.delivered,
              t.repeats, t.flapping, EXISTS (SELECT 1 FROM outbox_alerts a
                JOIN outbox o ON o.id = a.outbox_id
                WHERE a.fingerprint = t.fingerprint AND o.receiver = t.receiver
                AND o.status = 'pending')
            FROM told t WHERE t.account = ?
            """,
            (account,),
        )
        return Memory(
            account=state,
            alerts={fp: documents.load(Alert, text) for fp, text in alerts},
            notified={(row[0], row[1]): _told(row) for row in told},
            silences=self._silences(),
            acks=self._acks(),
        )

    def _silences(self) -> tuple[Silence, ...]:
        rows = self._connection.execute(
            "SELECT id, matchers, starts_at, ends_at, author, reason FROM silences ORDER BY id"
        )
        return tuple(
            Silence(
                id=row[0],
                matchers=json.loads(row[1]),
                starts_at=from_micros(row[2]),
                ends_at=from_micros(row[3]),
                author=row[4],
                reason=row[5],
            )
            for row in rows
        )

    def _acks(self) -> dict[str, Ack]:
        rows = self._connection.execute(
            "SELECT fingerprint, episode, severity, acked_at, author FROM acks"
        )
        return {
            row[0]: Ack(
                fingerprint=row[0],
                episode=row[1],
                severity=Severity(row[2]),
                at=from_micros(row[3]),
                author=row[4],
            )
            for row in rows
        }

    def _save(self, account: str, before: Memory, evaluation: Evaluation) -> None:
        run = self._connection.execute
        after = evaluation.memory
        run(
            "INSERT INTO accounts (name, document, evaluated_at) VALUES (?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET document = excluded.document, "
            "evaluated_at = excluded.evaluated_at",
            (account, documents.dump(after.account), to_micros(evaluation.at)),
        )
        for fp in before.alerts.keys() - after.alerts.keys():
            run("DELETE FROM alerts WHERE fingerprint = ?", (fp,))
        for fp, alert in after.alerts.items():
            if alert is not before.alerts.get(fp):
                run(
                    "INSERT INTO alerts (fingerprint, account, document) VALUES (?, ?, ?) "
                    "ON CONFLICT (fingerprint) DO UPDATE SET document = excluded.document",
                    (fp, account, documents.dump(alert)),
                )
        for key in before.notified.keys() - after.notified.keys():
            run("DELETE FROM told WHERE fingerprint = ? AND receiver = ?", key)
        for key, entry in after.notified.items():
            if entry is not before.notified.get(key):
                self._save_notified(account, entry)
        for notification in evaluation.notifications:
            self._enqueue(account, notification)
        for change in evaluation.transitions:
            self._log_transition(account, change)

    def _log_transition(self, account: str, change: Transition) -> None:
        self._connection.execute(
            "INSERT INTO transitions (account, at, rule, fingerprint, severity, source, target, "
            "value, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                account,
                to_micros(change.at),
                change.rule,
                change.fingerprint,
                change.severity.value,
                change.source.value,
                change.target.value,
                None if change.value is None else str(change.value),
                change.reason.value,
            ),
        )

    def _record(self, account: str, seen: Seen, at: datetime) -> None:
        body = None if seen.body is None else _pack(seen.body)
        self._connection.execute(
            "INSERT INTO history (account, at, body, error) VALUES (?, ?, ?, ?)",
            (account, to_micros(at), body, seen.error),
        )

    def _save_notified(self, account: str, entry: Notified) -> None:
        self._connection.execute(
            """
            INSERT INTO told (fingerprint, receiver, account, episode, severity, told_at,
              delivered, repeats, flapping)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (fingerprint, receiver) DO UPDATE SET episode = excluded.episode,
              severity = excluded.severity, told_at = excluded.told_at,
              delivered = excluded.delivered, repeats = excluded.repeats,
              flapping = excluded.flapping
            """,
            (
                entry.fingerprint,
                entry.receiver,
                account,
                entry.episode,
                entry.severity.value,
                to_micros(entry.at),
                int(entry.delivered),
                entry.repeats,
                int(entry.flapping),
            ),
        )

    def _enqueue(self, account: str, notification: Notification) -> None:
        created = to_micros(notification.observed_at)
        said = [
            f"{item.alert.fingerprint[:16]}.{item.alert.episode}.{item.reason.value}"
            for item in notification.items
        ]
        row = self._connection.execute(
            """
            INSERT INTO outbox (dedup, receiver, account, severity, payload, status, created_at,
              expires_at, next_at)
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
                created + self._deliver_within // timedelta(microseconds=1),
            ),
        ).fetchone()
        if row is None:
            return
        self._connection.executemany(
            "INSERT INTO outbox_alerts (outbox_id, fingerprint, episode) VALUES (?, ?, ?)",
            [(row[0], item.alert.fingerprint, item.alert.episode) for item in notification.items],
        )

    # ── what people asked for ───────────────────────────────────────────────

    def add_silence(self, silence: Silence) -> int:
        """Store a silence (its id is ignored); the new id."""
        with self._transaction():
            row = self._connection.execute(
                "INSERT INTO silences (matchers, starts_at, ends_at, author, reason) "
                "VALUES (?, ?, ?, ?, ?) RETURNING id",
                (
                    documents.dumps(dict(silence.matchers)),
                    to_micros(silence.starts_at),
                    to_micros(silence.ends_at),
                    silence.author,
                    silence.reason,
                ),
            ).fetchone()
        return int(row[0])

    def silences(self, *, now: datetime) -> tuple[Silence, ...]:
        """Silences that have not ended yet."""
        with self._errors(), self._lock:
            return tuple(silence for silence in self._silences() if silence.ends_at > now)

    def remove_silence(self, number: int) -> bool:
        """End a silence; False: there is none of this id."""
        with self._transaction():
            return (
                self._connection.execute("DELETE FROM silences WHERE id = ?", (number,)).rowcount
                > 0
            )

    def acknowledge(self, ack: Ack) -> None:
        """Store that somebody has seen an alert."""
        with self._transaction():
            self._connection.execute(
                """
                INSERT INTO acks (fingerprint, episode, severity, acked_at, author)
                VALUES (?, ?, ?, ?, ?)
                ON CONFLICT (fingerprint) DO UPDATE SET episode = excluded.episode,
                  severity = excluded.severity, acked_at = excluded.acked_at,
                  author = excluded.author
                """,
                (
                    ack.fingerprint,
                    ack.episode,
                    ack.severity.value,
                    to_micros(ack.at),
                    ack.author,
                ),
            )

    # ── looking back ────────────────────────────────────────────────────────

    def history(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        account: str | None = None,
    ) -> Iterator[PastPoll]:
        """Recorded polls in the order of time, a page at a time; `until` is exclusive."""
        after = (to_micros(since) if since else -(1 << 62), -1)
        before = to_micros(until) if until else 1 << 62
        while True:
            with self._errors(), self._lock:
                rows = self._connection.execute(
                    "SELECT at, id, account, body, error FROM history WHERE at < ? "
                    "AND (at > ? OR (at = ? AND id > ?)) AND (? IS NULL OR account = ?) "
                    "ORDER BY at, id LIMIT 500",
                    (before, after[0], after[0], after[1], account, account),
                ).fetchall()
            for at, _, name, body, error in rows:
                yield PastPoll(
                    at=from_micros(at),
                    account=name,
                    seen=Seen(body=None if body is None else _unpack(body), error=error),
                )
            if not rows:
                return
            after = rows[-1][:2]

    def last_poll(self, account: str, *, at: datetime) -> PastPoll | None:
        """The last recorded poll of an account up to an instant that gave a body."""
        with self._errors(), self._lock:
            row = self._connection.execute(
                "SELECT at, body FROM history WHERE account = ? AND at <= ? AND body IS NOT NULL "
                "ORDER BY at DESC, id DESC LIMIT 1",
                (account, to_micros(at)),
            ).fetchone()
        if row is None:
            return None
        seen = Seen(body=_unpack(row[1]), error=None)
        return PastPoll(at=from_micros(row[0]), account=account, seen=seen)

    def transitions(self, fingerprint: str, *, until: datetime, most: int) -> list[PastChange]:
        """The last changes of an alert's levels up to an instant, oldest first."""
        with self._errors(), self._lock:
            rows = self._connection.execute(
                "SELECT at, severity, source, target, value, reason FROM transitions "
                "WHERE fingerprint = ? AND at <= ? ORDER BY at DESC, id DESC LIMIT ?",
                (fingerprint, to_micros(until), most),
            ).fetchall()
        return [
            PastChange(
                at=from_micros(row[0]),
                severity=Severity(row[1]),
                source=State(row[2]),
                target=State(row[3]),
                value=row[4],
                reason=row[5],
            )
            for row in reversed(rows)
        ]

    def messages_about(self, fingerprint: str, *, until: datetime, most: int) -> list[PastMessage]:
        """The last messages about an alert up to an instant, oldest first."""
        with self._errors(), self._lock:
            rows = self._connection.execute(
                "SELECT o.created_at, o.receiver, o.status, o.attempts, o.last_reason, "
                "o.finished_at, o.next_at, o.payload FROM outbox o "
                "JOIN outbox_alerts a ON a.outbox_id = o.id "
                "WHERE a.fingerprint = ? AND o.created_at <= ? "
                "ORDER BY o.created_at DESC, o.id DESC LIMIT ?",
                (fingerprint, to_micros(until), most),
            ).fetchall()
        return [_past_message(row, fingerprint) for row in reversed(rows)]

    # ── the outbox ──────────────────────────────────────────────────────────

    def recover(self) -> int:
        """Rows that were being sent when the process before died may have arrived; their count.

        Only the holder of the state lock may call this.
        """
        with self._transaction():
            return self._connection.execute(
                "UPDATE outbox SET sending = 0, maybe_sent = 1 "
                "WHERE sending = 1 AND status = 'pending'"
            ).rowcount

    def claim(self, receiver: str, *, now: datetime) -> OutboxRow | None:
        """The receiver's most urgent due message, booked as being sent; None: nothing is due.

        The worst severity goes first, but never before an older message about the same alert.
        """
        at = to_micros(now)
        with self._transaction():
            self._bury_expired(receiver, at)
            row = self._connection.execute(
                f"""
                SELECT o.id, o.payload, o.created_at, o.expires_at, o.attempts, o.maybe_sent,
                  o.simplified
                FROM outbox o LEFT JOIN receivers r ON r.name = o.receiver
                WHERE o.receiver = ? AND {_SENDABLE}
                  -- what lies further ahead than any wait lasts is older than a clock set back
                  AND (o.next_at <= ? OR o.next_at > ?)
                  AND (COALESCE(r.not_before, 0) <= ? OR r.not_before > ?)
                ORDER BY o.severity DESC, o.id LIMIT 1
                """,
                (receiver, at, at + _LONGEST_WAIT, at, at + _LONGEST_WAIT),
            ).fetchone()
            if row is None:
                return None
            self._connection.execute(
                "UPDATE outbox SET sending = 1, attempts = attempts + 1 WHERE id = ?", (row[0],)
            )
        return OutboxRow(
            id=row[0],
            receiver=receiver,
            notification=documents.load(Notification, row[1]),
            created_at=from_micros(row[2]),
            expires_at=from_micros(row[3]),
            attempts=row[4] + 1,
            maybe_sent=bool(row[5]),
            simplified=bool(row[6]),
        )

    def next_due(self, receiver: str, *, now: datetime | None = None) -> datetime | None:
        """When `claim` may find something next; None: nothing waits.

        With `now`, an instant further ahead than any wait lasts counts as past.
        """
        limit = to_micros(now) + _LONGEST_WAIT if now is not None else 1 << 62
        with self._errors(), self._lock:
            next_at, not_before = self._connection.execute(
                f"""
                SELECT MIN(CASE WHEN o.next_at > ? THEN 0 ELSE o.next_at END),
                  MIN(CASE WHEN r.not_before > ? THEN 0 ELSE r.not_before END)
                FROM outbox o LEFT JOIN receivers r ON r.name = o.receiver
                WHERE o.receiver = ? AND {_SENDABLE}
                """,
                (limit, limit, receiver),
            ).fetchone()
        return None if next_at is None else from_micros(max(next_at, not_before or 0))

    def mark_sent(self, row: OutboxRow, *, reason: str, now: datetime) -> None:
        """The receiver accepted it: only now its alerts count as told."""
        at = to_micros(now)
        with self._transaction():
            if not self._finish(row, "sent", reason, at):
                return
            self._connection.execute(
                "INSERT INTO receivers (name, not_before, accepted_at, sent) VALUES (?, 0, ?, 1) "
                "ON CONFLICT (name) DO UPDATE SET accepted_at = excluded.accepted_at, "
                "not_before = 0, sent = receivers.sent + 1",
                (row.receiver, at),
            )
            for item in self._alerts_of(row.id):
                self._mark_notified(row.receiver, *item, now)
            self._bring_forward(row.receiver, at)

    def _alerts_of(self, outbox_id: int) -> list[tuple[str, int]]:
        return self._connection.execute(
            "SELECT fingerprint, episode FROM outbox_alerts WHERE outbox_id = ?", (outbox_id,)
        ).fetchall()

    def _mark_notified(self, receiver: str, fp: str, episode: int, now: datetime) -> None:
        key = (fp, receiver, episode)
        where = "WHERE fingerprint = ? AND receiver = ? AND episode = ?"
        found = self._connection.execute(
            f"SELECT told_at FROM told {where}",
            key,
        ).fetchone()
        if found is None:
            return
        told_at = routing.notified_when(from_micros(found[0]), now)
        self._connection.execute(
            f"UPDATE told SET delivered = 1, told_at = ? {where}",
            (to_micros(told_at), *key),
        )

    def mark_retry(
        self, row: OutboxRow, *, reason: str, next_at: datetime, maybe_sent: bool
    ) -> None:
        """It was not accepted, or nobody knows; it is tried again at `next_at`."""
        with self._transaction():
            self._connection.execute(
                "UPDATE outbox SET sending = 0, last_reason = ?, next_at = ?, "
                "maybe_sent = CASE WHEN ? THEN 1 ELSE maybe_sent END "
                f"{_THIS_ATTEMPT}",
                (reason, to_micros(next_at), maybe_sent, *_this_attempt(row)),
            )

    def mark_simplified(self, row: OutboxRow, *, reason: str, now: datetime) -> None:
        """The service refused the text itself: the plainest one goes next, at once."""
        with self._transaction():
            self._connection.execute(
                "UPDATE outbox SET sending = 0, simplified = 1, last_reason = ?, "
                f"next_at = ? {_THIS_ATTEMPT}",
                (reason, to_micros(now), *_this_attempt(row)),
            )

    def mark_dead(self, row: OutboxRow, *, reason: str, now: datetime) -> None:
        """It will never be accepted."""
        with self._transaction():
            self._finish(row, "dead", reason, to_micros(now))

    def hold_receiver(self, receiver: str, *, until: datetime) -> None:
        """The service asked to be left alone until then."""
        with self._transaction():
            self._connection.execute(
                "INSERT INTO receivers (name, not_before) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET not_before = excluded.not_before",
                (receiver, to_micros(until)),
            )

    def note_accepted(self, receiver: str, *, now: datetime) -> None:
        """A test message got through: earlier failures and pauses of the receiver are over."""
        at = to_micros(now)
        with self._transaction():
            self._connection.execute(
                "INSERT INTO receivers (name, accepted_at) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET accepted_at = excluded.accepted_at, "
                "not_before = 0",
                (receiver, at),
            )
            self._bring_forward(receiver, at)

    def _bring_forward(self, receiver: str, at: int) -> None:
        """It is up again: whatever waits there for a later try goes now."""
        self._connection.execute(
            "UPDATE outbox SET next_at = ? WHERE receiver = ? AND status = 'pending' "
            "AND next_at > ?",
            (at, receiver, at),
        )

    def failing_receivers(self, *, now: datetime, overdue: timedelta) -> dict[str, str]:
        """Receivers with a dead message since they last accepted one, or an overdue critical one.

        The value says what is wrong, without secrets.
        """
        with self._errors(), self._lock:
            dead = self._connection.execute(
                """
                SELECT o.receiver, COUNT(*), MAX(o.last_reason)
                FROM outbox o LEFT JOIN receivers r ON r.name = o.receiver
                WHERE o.status = 'dead' AND o.finished_at > COALESCE(r.accepted_at, 0)
                GROUP BY o.receiver
                """
            ).fetchall()
            late = self._connection.execute(
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

    def receiver_statuses(self) -> dict[str, ReceiverStatus]:
        """Counts and the last failure per receiver."""
        with self._errors(), self._lock:
            rows = self._connection.execute(
                """
                SELECT receiver,
                  SUM(CASE WHEN status = 'pending' THEN 1 ELSE 0 END),
                  SUM(CASE WHEN status = 'dead' THEN 1 ELSE 0 END),
                  SUM(CASE WHEN status = 'sent' THEN 1 ELSE 0 END),
                  MIN(CASE WHEN status = 'pending' THEN created_at END),
                  (SELECT l.last_reason FROM outbox l WHERE l.receiver = o.receiver
                    AND l.status <> 'sent' AND l.last_reason IS NOT NULL
                    ORDER BY l.id DESC LIMIT 1)
                FROM outbox o GROUP BY receiver
                """
            ).fetchall()
        return {row[0]: _receiver_status(row) for row in rows}

    def sent_totals(self) -> dict[str, int]:
        """How many messages each receiver ever accepted; pruning forgets none of them."""
        with self._errors(), self._lock:
            rows = self._connection.execute("SELECT name, sent FROM receivers").fetchall()
        return dict(rows)

    def prune(self, *, now: datetime, keep_history: timedelta) -> None:
        """Forget finished messages, transitions, silences and polls of long ago."""
        before = to_micros(now - _KEEP_FINISHED)
        with self._transaction():
            self._connection.execute("DELETE FROM transitions WHERE at < ?", (before,))
            self._connection.execute("DELETE FROM silences WHERE ends_at < ?", (before,))
            self._connection.execute(
                "DELETE FROM acks WHERE acked_at < ? AND fingerprint NOT IN "
                "(SELECT fingerprint FROM alerts)",
                (before,),
            )
            self._connection.execute(
                "DELETE FROM history WHERE at < ?", (to_micros(now - keep_history),)
            )
            # a dead message stays as long as its receiver counts as failing because of it
            over = (
                "status <> 'pending' AND finished_at < ? AND (status = 'sent' OR finished_at <= "
                "COALESCE((SELECT accepted_at FROM receivers WHERE name = outbox.receiver), 0))"
            )
            self._connection.execute(
                "DELETE FROM outbox_alerts WHERE outbox_id IN "
                f"(SELECT id FROM outbox WHERE {over})",
                (before,),
            )
            self._connection.execute(f"DELETE FROM outbox WHERE {over}", (before,))

    def _bury_expired(self, receiver: str, at: int) -> None:
        self._connection.execute(
            "UPDATE outbox SET status = 'dead', finished_at = ?, "
            "last_reason = 'not delivered in time: ' || COALESCE(last_reason, 'no attempt') "
            "WHERE receiver = ? AND status = 'pending' AND sending = 0 AND expires_at <= ?",
            (at, receiver, at),
        )

    def _finish(self, row: OutboxRow, status: str, reason: str, at: int) -> bool:
        changed = self._connection.execute(
            "UPDATE outbox SET sending = 0, status = ?, last_reason = ?, "
            f"finished_at = ? {_THIS_ATTEMPT}",
            (status, reason, at, *_this_attempt(row)),
        )
        return changed.rowcount > 0

    # ── plumbing ────────────────────────────────────────────────────────────

    def _open(self) -> None:
        self._connection = _connect(self._path, self._busy_timeout)
        self._identity = _identity(self._path)

    def _follow(self) -> None:
        """Use the file that the path names: SQLite would go on with one that nobody sees."""
        found = _identity(self._path)
        if found == self._identity:
            return
        if found is None:
            self._write_anew()
            log.warning("state file %s was deleted; it is written anew, complete", self._path)
            return
        self._reopen()
        with self._begun():
            # whoever put it there may have taken it from before some of its messages went out
            self._connection.execute(
                "UPDATE outbox SET sending = 0, maybe_sent = 1 WHERE status = 'pending'"
            )
        log.warning("state file %s was replaced; going on with what is in it", self._path)

    def _write_anew(self) -> None:
        copy = self._path.with_name(self._path.name + ".new")
        copy.unlink(missing_ok=True)
        target = _connect(copy, self._busy_timeout)
        try:
            self._connection.backup(target)
        finally:
            target.close()
        copy.with_name(copy.name + "-journal").unlink(missing_ok=True)
        copy.replace(self._path)
        self._reopen()

    def _reopen(self) -> None:
        self._connection.close()
        self._identity = None
        self._open()
        self._upgrade()

    def _migrate(self) -> None:
        with self._errors(), self._lock:
            self._upgrade()

    def _upgrade(self) -> None:
        with self._begun():
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version > len(_MIGRATIONS):
                raise StoreError(
                    f"{self._path}: written by a newer version of alerting "
                    f"(schema {version}, this one knows {len(_MIGRATIONS)})"
                )
            for number, script in enumerate(_MIGRATIONS[version:], start=version + 1):
                for statement in script.split(";"):
                    if statement.strip():
                        self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {number}")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._errors(), self._lock:
            self._follow()
            with self._begun():
                yield

    @contextlib.contextmanager
    def _begun(self) -> Iterator[None]:
        # IMMEDIATE: a deferred transaction that reads first cannot become a writer once another
        # process has written, and SQLite does not even wait then.
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"state file {self._path}: {error}") from error
        except OSError as error:
            raise StoreError(f"state file {self._path}: {error.strerror}") from error


# The row as it was claimed. A result of a file that was replaced meanwhile must not be booked on
# whatever bears the number in the new one.
_THIS_ATTEMPT = "WHERE id = ? AND receiver = ? AND attempts = ? AND sending = 1"


def _this_attempt(row: OutboxRow) -> tuple[int, str, int]:
    return row.id, row.receiver, row.attempts


# A row that may be sent: nobody sends it now, and no older one about the same alert waits.
_SENDABLE = """
    o.status = 'pending' AND o.sending = 0 AND NOT EXISTS (
      SELECT 1 FROM outbox_alerts mine
      JOIN outbox_alerts older ON older.fingerprint = mine.fingerprint
      JOIN outbox e ON e.id = older.outbox_id
      WHERE mine.outbox_id = o.id AND e.receiver = o.receiver AND e.status = 'pending'
      AND e.id < o.id)
"""


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file a path names; None: none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _connect(path: Path, busy_timeout: timedelta) -> sqlite3.Connection:
    # created by ourselves: SQLite would take the umask's mode, and balances are nobody's business
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    seconds = busy_timeout.total_seconds()
    connection = sqlite3.connect(
        path, isolation_level=None, timeout=seconds, check_same_thread=False
    )
    mode = "WAL" if sqlite3.sqlite_version_info >= _WAL_IS_SAFE else "TRUNCATE"
    connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _pack(text: str) -> bytes:
    packer = zlib.compressobj(level=9, zdict=_FAMILIAR)
    return packer.compress(text.encode("utf-8", "surrogatepass")) + packer.flush()


def _unpack(packed: bytes) -> str:
    unpacker = zlib.decompressobj(zdict=_FAMILIAR)
    text = unpacker.decompress(packed) + unpacker.flush()
    return text.decode("utf-8", "surrogatepass")


def _past_message(row: tuple[Any, ...], fingerprint: str) -> PastMessage:
    created, receiver, status, attempts, reason, finished, next_at, text = row
    reasons = [
        item.reason.value
        for item in documents.load(Notification, text).items
        if item.alert.fingerprint == fingerprint
    ]
    return PastMessage(
        at=from_micros(created),
        receiver=receiver,
        reason=reasons[0],
        status=status,
        attempts=attempts,
        last_reason=reason,
        finished_at=None if finished is None else from_micros(finished),
        next_at=from_micros(next_at) if status == "pending" else None,
    )


def _told(row: tuple[Any, ...]) -> Notified:
    fp, receiver, episode, severity, told_at, delivered, repeats, flapping, waiting = row
    return Notified(
        fingerprint=fp,
        receiver=receiver,
        episode=episode,
        severity=Severity(severity),
        at=from_micros(told_at),
        delivered=bool(delivered),
        waiting=bool(waiting),
        repeats=repeats,
        flapping=bool(flapping),
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
