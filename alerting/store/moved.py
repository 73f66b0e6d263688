"""The clock was corrected: all instants from which time is counted move with it, so nothing ages.

History, transitions and what is finished stay where they are: they say when something was seen, by
the clock of then.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from alerting.engine.model import AccountState, Alert, Level
from alerting.store import documents, series
from alerting.store.database import Connection
from alerting.store.documents import to_micros

_MICROSECOND = timedelta(microseconds=1)


def move(connection: Connection, by: timedelta, *, now: datetime) -> None:
    """Move what waits and what ages by so much; what lies ahead of `now` even then counts as now.

    A silence's end is a promise by the wall clock and stays; only one that begins ahead of now, by
    a clock that was wrong, is as long as was asked from now on.
    """
    at, micros = to_micros(now), by // _MICROSECOND
    run = connection.execute
    run(
        "UPDATE outbox SET created_at = created_at + :by, expires_at = expires_at + :by, "
        "next_at = CASE next_at WHEN 0 THEN 0 ELSE next_at + :by END, "
        "claimed_until = claimed_until + :by WHERE status = 'pending'",
        {"by": micros},
    )
    run("UPDATE receivers SET not_before = not_before + ? WHERE not_before > 0", (micros,))
    run("UPDATE notified SET notified_at = MIN(notified_at + ?, ?)", (micros, at))
    run(
        "UPDATE silences SET ends_at = ends_at - (starts_at - :at), starts_at = :at "
        "WHERE starts_at > :at",
        {"at": at},
    )
    run("UPDATE acks SET acked_at = :at WHERE acked_at > :at", {"at": at})
    if by:
        _move_documents(connection, by)
        series.move(connection, micros)


def _move_documents(connection: Connection, by: timedelta) -> None:
    run = connection.execute
    for name, text in run("SELECT name, document FROM accounts").fetchall():
        account = _account(documents.load(AccountState, text), by)
        run(
            "UPDATE accounts SET document = ?, evaluated_at = evaluated_at + ? WHERE name = ?",
            (documents.dump(account), by // _MICROSECOND, name),
        )
    for fp, text in run("SELECT fingerprint, document FROM alerts").fetchall():
        alert = _alert(documents.load(Alert, text), by)
        run("UPDATE alerts SET document = ? WHERE fingerprint = ?", (documents.dump(alert), fp))


def _account(account: AccountState, by: timedelta) -> AccountState:
    # not `seen_at`, and not what is counted from it: there the jump itself was not seen
    feeds = {
        name: replace(
            feed,
            first_polled_at=_moved(feed.first_polled_at, by),
            last_snapshot_at=_moved(feed.last_snapshot_at, by),
        )
        for name, feed in account.feeds.items()
    }
    totals = {asset: replace(seen, at=seen.at + by) for asset, seen in account.totals.items()}
    positions = tuple(replace(seen, at=seen.at + by) for seen in account.positions)
    return replace(account, feeds=feeds, totals=totals, positions=positions)


def _alert(alert: Alert, by: timedelta) -> Alert:
    return replace(
        alert,
        levels=tuple(_level(level, by) for level in alert.levels),
        judged_at=_moved(alert.judged_at, by),
        active_at=_moved(alert.active_at, by),
        fired_at=_moved(alert.fired_at, by),
        resolved_at=_moved(alert.resolved_at, by),
    )


def _level(level: Level, by: timedelta) -> Level:
    return replace(
        level, active_at=_moved(level.active_at, by), fired_at=_moved(level.fired_at, by)
    )


def _moved(instant: datetime | None, by: timedelta) -> datetime | None:
    return None if instant is None else instant + by
