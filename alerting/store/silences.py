"""What people asked for: silences and acknowledgements."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from alerting.engine.model import Ack, Severity, Silence
from alerting.store.database import Connection, Database
from alerting.store.documents import dumps, from_micros, globs, plausible, to_micros, whole


class Silences:
    """Silences and acknowledgements, as people make and end them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_silence(self, silence: Silence) -> int:
        """Store a silence (its id is ignored); the new id."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "INSERT INTO silences (matchers, starts_at, ends_at, author, reason) "
                "VALUES (?, ?, ?, ?, ?) RETURNING id",
                (
                    dumps(silence.matchers),
                    to_micros(silence.starts_at),
                    to_micros(silence.ends_at),
                    silence.author,
                    silence.reason,
                ),
            ).fetchone()
        return int(row[0])

    def silences(self, *, now: datetime) -> tuple[Silence, ...]:
        """Silences that have not ended yet."""
        with self._database.reading("its silences") as connection:
            return tuple(each for each in all_silences(connection) if each.ends_at > now)

    def remove_silence(self, number: int) -> bool:
        """End a silence; False: there is none of this id."""
        with self._database.transaction() as connection:
            ended = connection.execute("DELETE FROM silences WHERE id = ?", (number,))
            return ended.rowcount > 0

    def acknowledge(self, ack: Ack) -> None:
        """Store that somebody has seen an alert."""
        with self._database.transaction() as connection:
            connection.execute(
                """
                INSERT INTO acks (fingerprint, episode, severity, acked_at, author, ends_at)
                VALUES (?, ?, ?, ?, ?, ?)
                ON CONFLICT (fingerprint) DO UPDATE SET episode = excluded.episode,
                  severity = excluded.severity, acked_at = excluded.acked_at,
                  author = excluded.author, ends_at = excluded.ends_at
                """,
                (
                    ack.fingerprint,
                    ack.episode,
                    ack.severity.value,
                    to_micros(ack.at),
                    ack.author,
                    None if ack.until is None else to_micros(ack.until),
                ),
            )

    def unacknowledge(self, fingerprint: str) -> bool:
        """Let the reminders go on; False: the alert was not acknowledged."""
        with self._database.transaction() as connection:
            ended = connection.execute("DELETE FROM acks WHERE fingerprint = ?", (fingerprint,))
            return ended.rowcount > 0


def all_silences(connection: Connection) -> tuple[Silence, ...]:
    """Every silence, those that are over too."""
    rows = connection.execute(
        "SELECT id, matchers, starts_at, ends_at, author, reason FROM silences ORDER BY id"
    )
    return tuple(
        plausible(
            Silence(
                id=row[0],
                matchers=globs(row[1]),
                starts_at=from_micros(row[2]),
                ends_at=from_micros(row[3]),
                author=row[4],
                reason=row[5],
            )
        )
        for row in rows
    )


def all_acks(connection: Connection) -> dict[str, Ack]:
    """Every acknowledgement, by the fingerprint of its alert."""
    rows = connection.execute(
        "SELECT fingerprint, episode, severity, acked_at, author, ends_at FROM acks"
    )
    return {
        row[0]: plausible(
            Ack(
                fingerprint=row[0],
                episode=whole(row[1]),
                severity=Severity(row[2]),
                at=from_micros(row[3]),
                author=row[4],
                until=None if row[5] is None else from_micros(row[5]),
            )
        )
        for row in rows
    }


def save_acks(connection: Connection, before: Mapping[str, Ack], after: Mapping[str, Ack]) -> None:
    """Store what an evaluation left of them: it makes none, but ends some or brings them down."""
    for fp in before.keys() - after.keys():
        connection.execute("DELETE FROM acks WHERE fingerprint = ?", (fp,))
    for fp, ack in after.items():
        if ack is not before.get(fp):
            connection.execute(
                "UPDATE acks SET severity = ? WHERE fingerprint = ?", (ack.severity.value, fp)
            )


def prune(connection: Connection, *, before: datetime) -> None:
    """Forget silences that ended before then, and as old acks of alerts that are gone."""
    at = (to_micros(before),)
    connection.execute("DELETE FROM silences WHERE ends_at < ?", at)
    connection.execute(
        "DELETE FROM acks WHERE acked_at < ? AND fingerprint NOT IN "
        "(SELECT fingerprint FROM alerts)",
        at,
    )
