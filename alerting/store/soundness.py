"""Whether the file holds together: an index that lost its rows raises nothing when it is asked."""

from __future__ import annotations

from pathlib import Path

from alerting.errors import StoreError
from alerting.store.database import Connection

# They grow with every poll, and whoever needs them reads their rows one by one.
_LARGE = ("history", "transitions")


def refuse_broken(connection: Connection, path: Path) -> None:
    """StoreError if a table and its indexes contradict each other.

    Through such an index a message that waits looks as if there were none, and is never sent.
    """
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (name,) in tables:
        if name in _LARGE or name.startswith("sqlite_"):
            continue
        (said,) = connection.execute(f'PRAGMA integrity_check("{name}")').fetchone()
        if said != "ok":
            why = said.splitlines()[-1]
            raise StoreError(f"state file {path}: its table {name} is damaged ({why})")
