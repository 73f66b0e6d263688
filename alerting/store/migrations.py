"""The tables, as the steps that lead to them: a file of any older version is brought up to date.

A step is never changed once a version with it was released; `PRAGMA user_version` counts them, and
`PRAGMA application_id` says that the file is ours.
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from alerting.engine.identity import fingerprint
from alerting.errors import StoreError
from alerting.redaction import clean
from alerting.store.documents import dumps, reading

#: in the file's header, so that `file` and we know whose it is: "alrt"
APPLICATION_ID = 0x616C7274

# In every file of ours, of whatever version, from before it had an id.
_TABLES_OF_ALL = frozenset(
    {"accounts", "alerts", "outbox", "outbox_alerts", "silences", "acks"}
    | {"transitions", "history", "receivers", "meta"}
)

_SCHEMA_1 = """
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
"""

# The field's words, the notification itself in the outbox, claims with an owner and an end, and
# room for feeds beside the wallet.
_SCHEMA_2 = """
ALTER TABLE told RENAME TO notified;
ALTER TABLE notified RENAME COLUMN told_at TO notified_at;
DROP INDEX told_by_account;
CREATE INDEX notified_by_account ON notified (account);
ALTER TABLE outbox RENAME COLUMN payload TO notification;
ALTER TABLE outbox ADD COLUMN claimed_by TEXT;
ALTER TABLE outbox ADD COLUMN claimed_until BIGINT;
UPDATE outbox SET claimed_by = 'a version before claims', claimed_until = 0 WHERE sending = 1;
ALTER TABLE outbox DROP COLUMN sending;
ALTER TABLE history ADD COLUMN feed TEXT NOT NULL DEFAULT 'wallet';
"""

# What a receiver was last told, so that a repeat can say how it moved and nothing hides a critical
# that came back. `severity` was the worst that was told: what was told of critical, goes on.
_SCHEMA_3 = """
ALTER TABLE notified ADD COLUMN value TEXT;
ALTER TABLE notified ADD COLUMN critical INTEGER NOT NULL DEFAULT 0;
UPDATE notified SET critical = 1 WHERE severity = 'critical';
"""

# An acknowledgement may be for a while only.
_SCHEMA_4 = """
ALTER TABLE acks ADD COLUMN ends_at BIGINT;
"""

# What rules look back on: series of samples, in chunks with their sums.
_SCHEMA_5 = """
CREATE TABLE series (
  id INTEGER PRIMARY KEY,
  account TEXT NOT NULL,
  expression TEXT NOT NULL,
  labels TEXT NOT NULL,
  since BIGINT NOT NULL
);
CREATE UNIQUE INDEX series_by_row ON series (account, expression, labels);
CREATE TABLE chunks (
  series BIGINT NOT NULL,
  number BIGINT NOT NULL,
  suspect INTEGER NOT NULL,
  first_at BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  sums TEXT NOT NULL,
  PRIMARY KEY (series, number)
) WITHOUT ROWID;
CREATE TABLE samples (
  series BIGINT NOT NULL,
  number BIGINT NOT NULL,
  samples TEXT NOT NULL,
  PRIMARY KEY (series, number)
);
"""

_Document = dict[str, Any]


def upgrade(connection: sqlite3.Connection, *, file: Path) -> None:
    """Take the steps that are missing, within the caller's transaction.

    Raises StoreError for a file of a newer version, and of another program.
    """
    check_ours(connection, file=file)
    version = _pragma(connection, "user_version")
    if version > len(_STEPS):
        raise StoreError(
            f"{file}: written by a newer version of alerting "
            f"(schema {version}, this one knows {len(_STEPS)})"
        )
    for number, step in enumerate(_STEPS[version:], start=version + 1):
        step(connection)
        connection.execute(f"PRAGMA user_version = {number}")
    if _pragma(connection, "application_id") != APPLICATION_ID:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def check_ours(connection: sqlite3.Connection, *, file: Path) -> None:
    """Raise StoreError for another program's database; nothing is written."""
    owner = _pragma(connection, "application_id")
    if owner == APPLICATION_ID:
        return
    version = _pragma(connection, "user_version")
    tables = {
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
        )
    }
    # a new file has nothing in it, and one from before there was an id is known by its tables
    new = not tables and version == 0
    if owner == 0 and (new or (version > 0 and tables >= _TABLES_OF_ALL)):
        return
    raise StoreError(
        f"{file} is the database of another program{_signs(owner, tables)}; nothing in it was "
        "changed; name another file with state: or --state"
    )


def _signs(owner: int, tables: set[str]) -> str:
    """How it is known."""
    if owner:
        return f" (its application_id is {owner})"
    names = sorted(tables)
    more = ", ..." if len(names) > 3 else ""
    return f" (it has the tables {', '.join(map(clean, names[:3]))}{more})" if names else ""


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _create(connection: sqlite3.Connection) -> None:
    _run(connection, _SCHEMA_1)


def _rename(connection: sqlite3.Connection) -> None:
    _run(connection, _SCHEMA_2)
    _convert(connection, "accounts", "name", "document", _account)
    _convert(connection, "alerts", "fingerprint", "document", _alert)
    _convert(connection, "outbox", "id", "notification", _notification)


def _last_told(connection: sqlite3.Connection) -> None:
    _run(connection, _SCHEMA_3)


def _acknowledged_for(connection: sqlite3.Connection) -> None:
    _run(connection, _SCHEMA_4)


def _feeds(connection: sqlite3.Connection) -> None:
    """What was known of an account's polls is of its wallet; so are the alerts about them."""
    moved: dict[str, str] = {}

    def of_wallet(old: str, document: _Document) -> _Document:
        alert = _of_wallet(document)
        moved[old] = fingerprint(alert["rule"], alert["labels"])
        return alert

    _convert(connection, "accounts", "name", "document", _account_with_feeds)
    _convert(connection, "alerts", "fingerprint", "document", of_wallet)
    _convert(connection, "outbox", "id", "notification", _items_of_wallet)
    # what is remembered of an alert that is no more is about nothing that can come again
    for old, new in moved.items():
        for table in ("alerts", "notified", "acks", "outbox_alerts", "transitions"):
            if old != new:
                query = f"UPDATE {table} SET fingerprint = ? WHERE fingerprint = ?"
                connection.execute(query, (new, old))


def _samples(connection: sqlite3.Connection) -> None:
    _run(connection, _SCHEMA_5)


_STEPS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    *(_create, _rename, _last_told),
    *(_acknowledged_for, _samples, _feeds),
)


def _run(connection: sqlite3.Connection, script: str) -> None:
    for statement in script.split(";"):
        if statement.strip():
            connection.execute(statement)


def _convert(
    connection: sqlite3.Connection,
    table: str,
    key: str,
    column: str,
    change: Callable[[Any, _Document], _Document],
) -> None:
    """Rewrite the documents of a table; one that cannot be read stays as unreadable as it was."""
    for found, text in connection.execute(f"SELECT {key}, {column} FROM {table}").fetchall():
        with contextlib.suppress(StoreError), reading("a document"):
            document = dumps(change(found, json.loads(text)))
            connection.execute(
                f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (document, found)
            )


# ── schema 5 -> 6 ───────────────────────────────────────────────────────────

_OF_A_FEED = ("first_polled_at", "last_snapshot_at", "poll_failures", "last_error", "seen_at")


def _account_with_feeds(name: str, document: _Document) -> _Document:
    keys = (*_OF_A_FEED, "unaged", "unaged_for")
    feed = {key: document.pop(key) for key in keys if key in document}
    return document | {"feeds": {"wallet" if name else "": feed}}


def _of_wallet(alert: _Document) -> _Document:
    """An alert about an account is about one feed of it."""
    if alert["labels"].keys() == {"account"}:
        alert["labels"]["feed"] = "wallet"
    return alert


def _items_of_wallet(_: int, notification: _Document) -> _Document:
    for item in notification["items"]:
        _of_wallet(item["alert"])
    return notification


# ── schema 1 -> 2 ───────────────────────────────────────────────────────────
# On plain documents, not on the engine's classes: those go on changing.


def _account(name: str, document: _Document) -> _Document:
    return {"name": name, **document}


def _alert(_: str, document: _Document) -> _Document:
    levels = [
        level
        | {"breached_for": _duration(level["breached_for"])}
        | {"clear_for": None if level["clear_for"] is None else _duration(level["clear_for"])}
        for level in document.pop("rungs")
    ]
    return document | {"levels": levels}


def _duration(micros: int) -> str:
    seconds, rest = divmod(micros, 1_000_000)
    return f"PT{seconds}.{rest:06d}S"


def _notification(_: int, payload: _Document) -> _Document:
    """What was written for the templates, as the notification that it was written from."""
    items = [_item(alert, payload["observed_at"]) for alert in payload.pop("alerts")]
    return payload | {"items": items}


# The labels that an alert was known by; no rule may add one of these.
_IDENTITY = ("account", "base_asset", "symbol", "exchange", "receiver")


def _item(said: _Document, observed_at: str) -> _Document:
    severity, firing = said["severity"], said["state"] == "firing"
    own = {*_IDENTITY, "undefined_rule"} if said["rule"] == "rule-undefined" else _IDENTITY
    labels = {key: text for key, text in said["labels"].items() if key in own}
    line = [said["threshold"], said["clear"]]
    level = {
        "severity": severity,
        "state": "firing" if firing else "inactive",
        "active_at": said["active_at"] if firing else None,
        "fired_at": said["fired_at"] if firing else None,
    }
    kept = (
        *("rule", "expression", "annotations", "value", "values", "direction", "detail"),
        *("episode", "active_at", "fired_at", "resolved_at", "flapping"),
    )
    alert = {key: said[key] for key in kept} | {
        "labels": labels,
        "extra_labels": {key: text for key, text in said["labels"].items() if key not in labels},
        "levels": [level],
        "thresholds": {} if said["threshold"] is None else {severity: line},
        "judged_at": observed_at,
        "resolved_why": said["why"],
        "worst": severity,
        "percent": _was_in_percent(said),
    }
    return {
        "alert": alert,
        "reason": said["reason"],
        "state": said["state"],
        "severity": severity,
        "previous_severity": said["previous_severity"],
        "flapping": said["flapping"],
    }


def _was_in_percent(said: _Document) -> bool:
    """How that version told a share: it was not written down, only read off."""
    numbers = [said[key] for key in ("value", "threshold", "clear") if said[key] is not None]
    reads_so = re.search("ratio|concentration", said["expression"] or said["rule"], re.IGNORECASE)
    return bool(reads_so) and all(abs(Decimal(number)) <= 10 for number in numbers)
