"""Looking back: recorded polls, what the alerts did, and what was said of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerting.engine.feeds import INSTRUMENTS, WALLET
from alerting.engine.model import Notification, Severity, State, Transition
from alerting.engine.snapshot import Poll, PollFailure
from alerting.store import documents
from alerting.store.database import Connection, Database
from alerting.store.documents import from_micros, to_micros

_PAGE = 500
_FOREVER = 1 << 62
# What answers look like, so that even a single short one packs well. Part of the file's format.
_FAMILIAR = (
    b'"blocked_balance": "0.","position_margin":"0","open_order_margin":"0"},'
    b'{"symbol":"BTCUSDT","base_asset":"USDT","exchange":"EXCHANGE_2"}],"asset": [{"symbol": "'
    b'{"data": {"base_asset_balances": [{"base_asset": "USDT", "balances": {"total_balance": "0.0",'
    b' "total_available_balance": "", "total_blocked_balance": "", "total_position_margin": "",'
    b' "total_open_order_margin": "-"}}]}}'
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedPoll:
    """A poll as it is kept: the answer's text, or why there is none."""

    at: datetime
    account: str
    feed: str = WALLET
    body: str | None = None
    error: str | None = None


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


class History:
    """What was recorded, for reading."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def history(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        account: str | None = None,
    ) -> Iterator[RecordedPoll]:
        """Recorded polls in the order of time, a page at a time; `until` is exclusive."""
        after = (to_micros(since) if since else -_FOREVER, -1)
        before = to_micros(until) if until else _FOREVER
        while True:
            with self._database.reading("its history") as connection:
                rows = connection.execute(
                    "SELECT at, id, account, feed, body, error FROM history WHERE at < ? "
                    "AND (at > ? OR (at = ? AND id > ?)) AND (? IS NULL OR account = ?) "
                    "ORDER BY at, id LIMIT ?",
                    (before, after[0], after[0], after[1], account, account, _PAGE),
                ).fetchall()
                polls = [_past_poll(at, *rest) for at, _, *rest in rows]
            yield from polls
            if not rows:
                return
            after = rows[-1][:2]

    def instruments_before(self, at: datetime) -> list[RecordedPoll]:
        """Each account's last instruments before an instant, by which polls from then on go."""
        with self._database.reading("its history") as connection:
            rows = connection.execute(
                "SELECT MAX(at) AS at, account, feed, body, error FROM history WHERE feed = ? "
                "AND at < ? AND body IS NOT NULL GROUP BY account ORDER BY 1, account",
                (INSTRUMENTS, to_micros(at)),
            ).fetchall()
            return [_past_poll(*row) for row in rows]

    def last_poll(self, account: str, *, at: datetime, feed: str = WALLET) -> RecordedPoll | None:
        """The last recorded poll of a feed up to an instant that gave a body."""
        with self._database.reading("its history") as connection:
            row = connection.execute(
                "SELECT at, body FROM history WHERE account = ? AND feed = ? AND at <= ? "
                "AND body IS NOT NULL ORDER BY at DESC, id DESC LIMIT 1",
                (account, feed, to_micros(at)),
            ).fetchone()
            return None if row is None else _past_poll(row[0], account, feed, row[1], None)

    def transitions(self, fingerprint: str, *, until: datetime, most: int) -> list[PastChange]:
        """The last changes of an alert's levels up to an instant, oldest first."""
        with self._database.reading("its transitions") as connection:
            rows = connection.execute(
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
        with self._database.reading("a message of its outbox") as connection:
            rows = connection.execute(
                "SELECT o.created_at, o.receiver, o.status, o.attempts, o.last_reason, "
                "o.finished_at, o.next_at, o.notification FROM outbox o "
                "JOIN outbox_alerts a ON a.outbox_id = o.id "
                "WHERE a.fingerprint = ? AND o.created_at <= ? "
                "ORDER BY o.created_at DESC, o.id DESC LIMIT ?",
                (fingerprint, to_micros(until), most),
            ).fetchall()
            return [_past_message(row, fingerprint) for row in reversed(rows)]


def record_poll(connection: Connection, poll: Poll, *, at: datetime) -> None:
    """Keep what a poll gave, if it gave anything, under the instant that it was judged by.

    Before it stands what was asked for it, so that a replay knows what the poll was judged with.
    """
    gave = poll.outcome if isinstance(poll.outcome, PollFailure) else poll.body
    for feed, each in {**poll.beside, poll.feed: gave}.items():
        body = _pack(each) if isinstance(each, str) else None
        error = str(each) if isinstance(each, PollFailure) else None
        if body is not None or error is not None:
            connection.execute(
                "INSERT INTO history (account, at, body, error, feed) VALUES (?, ?, ?, ?, ?)",
                (poll.account, to_micros(at), body, error, feed),
            )


def record_transition(connection: Connection, account: str, change: Transition) -> None:
    """Keep what a level did."""
    connection.execute(
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


def prune(connection: Connection, *, polls_before: datetime, transitions_before: datetime) -> None:
    """Forget polls and transitions of long ago; the polls that stay keep their instruments."""
    before = to_micros(polls_before)
    connection.execute(
        "DELETE FROM history WHERE at < ? AND id NOT IN (SELECT id FROM ("
        "SELECT id, MAX(at) FROM history WHERE feed = ? AND at < ? GROUP BY account))",
        (before, INSTRUMENTS, before),
    )
    connection.execute("DELETE FROM transitions WHERE at < ?", (to_micros(transitions_before),))


def _pack(text: str) -> bytes:
    packer = zlib.compressobj(level=9, zdict=_FAMILIAR)
    return packer.compress(text.encode("utf-8", "surrogatepass")) + packer.flush()


def _unpack(packed: bytes) -> str:
    unpacker = zlib.decompressobj(zdict=_FAMILIAR)
    text = unpacker.decompress(packed) + unpacker.flush()
    if not unpacker.eof:
        raise ValueError("a recorded answer breaks off")
    return text.decode("utf-8", "surrogatepass")


def _past_poll(
    at: int, account: str, feed: str, packed: bytes | None, error: str | None
) -> RecordedPoll:
    body = None if packed is None else _unpack(packed)
    return RecordedPoll(at=from_micros(at), account=account, feed=feed, body=body, error=error)


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
