"""Whether the file holds together: what hides a message that waits raises nothing by itself."""

from __future__ import annotations

from pathlib import Path

from alerting.errors import StoreError
from alerting.store.database import Connection

# They grow with every poll, and whoever needs them reads their rows one by one.
_LARGE = ("history", "transitions")


def refuse_broken(connection: Connection, path: Path) -> None:
    """StoreError if a table and its indexes contradict each other, or a message has no known state.

    A message that waits would look as if there were none, and never be sent.
    """
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (name,) in tables:
        if name in _LARGE or name.startswith("sqlite_"):
            continue
        (said,) = connection.execute(f'PRAGMA integrity_check("{name}")').fetchone()
        if said != "ok":
            why = said.splitlines()[-1]
            raise StoreError(f"state file {path}: its table {name} is damaged ({why})")
    query = "SELECT status FROM outbox WHERE status NOT IN ('pending', 'sent', 'dead') LIMIT 1"
    odd = connection.execute(query).fetchone()
    if odd is not None:
        text = f"state file {path}: a message's status cannot be read ({str(odd[0])[:20]!r})"
        raise StoreError(text)
