"""What the engine remembers between evaluations, and `Store`, all of the state file in one.

One evaluation is one transaction: new states and outbox rows commit together. Sending happens
afterwards, and each result is booked on its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from alerting.engine.evaluation import Evaluation
from alerting.engine.model import AccountState, Alert, Memory, Notified, Severity
from alerting.engine.series import Past
from alerting.engine.snapshot import Poll
from alerting.store import documents, history, moved, outbox, series, silences
from alerting.store.database import Connection, Database, peek
from alerting.store.documents import from_micros, plausible, to_micros, whole
from alerting.store.history import History
from alerting.store.outbox import Outbox, Receivers
from alerting.store.removed import RemovedReceivers
from alerting.store.silences import Silences

# What was repeated once a minute for a year is less; each is a step of reckoning.
_MOST_REPEATS = 1_000_000
# How long finished messages stay for `status` and for looking back.
_KEEP_FINISHED = timedelta(days=30)
#: the fact that says who polls and sends for it
HOLDER = "holder"


class EngineMemory:
    """The engine's memory of each account and of the program itself (account "")."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox

    def evaluate(
        self,
        account: str,
        judge: Callable[[Memory], Evaluation],
        *,
        poll: Poll | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> Evaluation:
        """Load an account's memory, judge it, and store memory and messages: all or nothing.

        `judge` must be pure and quick: it runs inside the transaction, so that no other process can
        change the memory meanwhile. `poll` is recorded; None: nothing is. `facts` are set as by
        `set_meta`.
        """
        with self._database.transaction() as connection:
            with self._database.content(_about(account)):
                before = self._memory(connection, account)
            evaluation = judge(before)
            self._save(connection, account, before, evaluation)
            if poll is not None:
                history.record_poll(connection, poll, at=evaluation.at)
            for key, value in (facts or {}).items():
                _set_meta(connection, key, value)
        return evaluation

    def memory(self, account: str) -> Memory:
        """An account's memory, for reading only."""
        with self._database.reading(_about(account)) as connection:
            return self._memory(connection, account)

    def accounts(self) -> dict[str, AccountState]:
        """Every account that was ever evaluated."""
        with self._database.reading("what it holds of the accounts") as connection:
            rows = connection.execute("SELECT name, document FROM accounts")
            return {name: documents.load(AccountState, text) for name, text in rows if name}

    def evaluations(self) -> dict[str, datetime]:
        """When each account was last evaluated, whatever its poll gave."""
        with self._database.reading("what it holds of the accounts") as connection:
            rows = connection.execute("SELECT name, evaluated_at FROM accounts")
            return {name: from_micros(at) for name, at in rows if name}

    def meta(self, key: str) -> str | None:
        """A fact about the program that is no alert and no message; None: never set."""
        with self._database.reading("its facts") as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Remember such a fact."""
        with self._database.transaction() as connection:
            _set_meta(connection, key, value)

    def _memory(self, connection: Connection, account: str) -> Memory:
        past = Past(stored=series.StoredSeries(self._database, connection, account))
        return replace(_memory(connection, account), past=past)

    def _save(
        self, connection: Connection, account: str, before: Memory, evaluation: Evaluation
    ) -> None:
        run = connection.execute
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
            run("DELETE FROM notified WHERE fingerprint = ? AND receiver = ?", key)
        for key, entry in after.notified.items():
            if entry is not before.notified.get(key):
                _save_notified(connection, account, entry)
        silences.save_acks(connection, before.acks, after.acks)
        series.save(connection, account, after.past)
        for notification in evaluation.notifications:
            self._outbox.enqueue(connection, account, notification)
        for change in evaluation.transitions:
            history.record_transition(connection, account, change)


class Store:
    """The state file: each method is one of its parts'. May be called from any thread.

    `owner` names this process in its claims on messages; by default it is a new name each time.
    """

    def __init__(
        self,
        path: Path,
        *,
        deliver_within: timedelta = timedelta(hours=24),
        busy_timeout: timedelta = timedelta(seconds=5),
        owner: str | None = None,
    ) -> None:
        owner = owner or os.urandom(8).hex()
        self._database = database = Database(
            path, busy_timeout=busy_timeout, on_replaced=outbox.doubt_everything
        )
        self.path = database.path
        self.close = database.close

        messages = Outbox(database, owner=owner, deliver_within=deliver_within)
        self.recover = messages.recover
        self.claim = messages.claim
        self.next_due = messages.next_due
        self.mark_sent = messages.mark_sent
        self.mark_retry = messages.mark_retry
        self.mark_simplified = messages.mark_simplified
        self.mark_dead = messages.mark_dead
        self.set_deliver_within = messages.set_deliver_within

        receivers = Receivers(database)
        self.hold_receiver = receivers.hold_receiver
        self.address_changed = receivers.address_changed
        self.note_accepted = receivers.note_accepted
        self.failing_receivers = receivers.failing_receivers
        self.receiver_statuses = receivers.receiver_statuses
        self.sent_totals = receivers.sent_totals

        removed = RemovedReceivers(database, owner=owner, save=_save_notified)
        self.give_up_removed = removed.give_up
        self._forget_removed = removed.forget

        state = EngineMemory(database, messages)
        self.evaluate = state.evaluate
        self.memory = state.memory
        self.accounts = state.accounts
        self.evaluations = state.evaluations
        self.meta = state.meta
        self.set_meta = state.set_meta

        past = History(database)
        self.history = past.history
        self.instruments_before = past.instruments_before
        self.last_poll = past.last_poll
        self.transitions = past.transitions
        self.messages_about = past.messages_about

        wishes = Silences(database)
        self.add_silence = wishes.add_silence
        self.silences = wishes.silences
        self.remove_silence = wishes.remove_silence
        self.acknowledge = wishes.acknowledge
        self.unacknowledge = wishes.unacknowledge

    def clock_moved(self, by: timedelta, *, now: datetime) -> None:
        """The clock was corrected by so much: what waits and what ages moves with it."""
        with self._database.transaction() as connection, self._database.content("what it holds"):
            moved.move(connection, by, now=now)

    def prune(
        self, *, now: datetime, keep_history: timedelta, receivers: Collection[str] | None = None
    ) -> None:
        """Forget finished messages, transitions, silences and polls of long ago.

        And what was told to others than these `receivers`; None: to nobody.
        """
        before = now - _KEEP_FINISHED
        with self._database.transaction() as connection:
            history.prune(connection, polls_before=now - keep_history, transitions_before=before)
            silences.prune(connection, before=before)
            outbox.prune(connection, before=before)
        if receivers is not None:
            self._forget_removed(present=receivers, before=before)


def holder_of(path: Path) -> str | None:
    """Who says, in a state file, that it is in use; None: nobody, or it cannot be read."""
    found = peek(path, f"SELECT value FROM meta WHERE key = '{HOLDER}'")
    return None if found is None else str(found)


def _set_meta(connection: Connection, key: str, value: str) -> None:
    connection.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?) "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )


def _about(account: str) -> str:
    return f"what it holds of account {account!r}"


def _memory(connection: Connection, account: str) -> Memory:
    run = connection.execute
    known = run("SELECT document FROM accounts WHERE name = ?", (account,)).fetchone()
    alerts = run("SELECT fingerprint, document FROM alerts WHERE account = ?", (account,))
    notified = run(
        """
        SELECT n.fingerprint, n.receiver, n.episode, n.severity, n.notified_at, n.delivered,
          n.repeats, n.flapping, n.value, n.critical, EXISTS (SELECT 1 FROM outbox_alerts a
            JOIN outbox o ON o.id = a.outbox_id
            WHERE a.fingerprint = n.fingerprint AND o.receiver = n.receiver
            AND o.status = 'pending')
        FROM notified n WHERE n.account = ?
        """,
        (account,),
    )
    state = documents.load(AccountState, known[0]) if known else AccountState(name=account)
    return Memory(
        account=state,
        alerts={fp: documents.load(Alert, text) for fp, text in alerts},
        notified={(row[0], row[1]): _notified(row) for row in notified},
        silences=silences.all_silences(connection),
        acks=silences.all_acks(connection),
    )


def _notified(row: tuple[Any, ...]) -> Notified:
    fp, receiver, episode, severity, notified_at, delivered, repeats, flapping, *last = row
    value, critical, waiting = last
    return plausible(
        Notified(
            fingerprint=fp,
            receiver=receiver,
            episode=whole(episode),
            severity=Severity(severity),
            at=from_micros(notified_at),
            value=None if value is None else Decimal(value),
            critical=bool(critical),
            delivered=bool(delivered),
            waiting=bool(waiting),
            repeats=whole(repeats, most=_MOST_REPEATS),
            flapping=bool(flapping),
        )
    )


def _save_notified(connection: Connection, account: str, entry: Notified) -> None:
    connection.execute(
        """
        INSERT INTO notified (fingerprint, receiver, account, episode, severity, notified_at,
          delivered, repeats, flapping, value, critical)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (fingerprint, receiver) DO UPDATE SET episode = excluded.episode,
          severity = excluded.severity, notified_at = excluded.notified_at,
          delivered = excluded.delivered, repeats = excluded.repeats,
          flapping = excluded.flapping, value = excluded.value, critical = excluded.critical
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
            None if entry.value is None else str(entry.value),
            int(entry.critical),
        ),
    )
