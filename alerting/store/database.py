"""One SQLite file: its connection, transactions and errors, and following the path's file."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from alerting.errors import StoreError
from alerting.files import no_file
from alerting.store import documents, migrations

log = logging.getLogger("alerting.store")

#: What a transaction yields; its rows are plain tuples.
Connection = sqlite3.Connection

# SQLite before 3.51.3 may corrupt a database in WAL mode when two connections write and
# checkpoint at the same instant; the rollback journal costs three more fsyncs a commit.
_WAL_IS_SAFE = (3, 51, 3)
# Nothing interrupts a disk that does not answer: whoever waits for the thread that waits for it
# says so instead of hanging too.
_PATIENCE = timedelta(seconds=30)


class Database:
    """One connection to the state file, for any thread; what goes wrong is a StoreError."""

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout: timedelta,
        on_replaced: Callable[[Connection], None],
        patience: timedelta = _PATIENCE,
    ) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        #: told in a transaction that the file under the path is another one from now on
        self._on_replaced = on_replaced
        self._lock = threading.RLock()
        #: how long the other threads may have the connection
        self._patience = patience.total_seconds()
        with self._errors():
            self._open()
            self._upgrade()

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._path

    def close(self) -> None:
        """Close the connection; what was not committed never happened."""
        with self._mine():
            self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All or nothing; no other process writes meanwhile."""
        with self._errors(), self._mine():
            self._follow()
            with self._begun():
                yield self._connection

    @contextlib.contextmanager
    def reading(self, what: str) -> Iterator[Connection]:
        """For queries outside a transaction; content that cannot be read is an error too."""
        with self._errors(), self._mine(), self.content(what):
            yield self._connection

    @contextlib.contextmanager
    def _mine(self) -> Iterator[None]:
        """The connection for this thread alone."""
        if not self._lock.acquire(timeout=self._patience):
            raise StoreError(
                f"state file {self._path}: another thread has used it for more than "
                f"{self._patience:g} s; does the disk answer?"
            )
        try:
            yield
        finally:
            self._lock.release()

    @contextlib.contextmanager
    def content(self, what: str) -> Iterator[None]:
        """Say of `what` that it cannot be read, if it cannot."""
        with documents.reading(f"state file {self._path}: {what}"):
            yield

    def _open(self) -> None:
        self._connection = _connect(self._path, self._busy_timeout)
        self._identity = _identity(self._path)

    def _follow(self) -> None:
        """Use the file that the path names: SQLite would go on with one that nobody sees."""
        found = _identity(self._path)
        if found == self._identity and found is not None:
            return
        if found is None and self._identity is not None:
            self._write_anew()
            log.warning("state file %s was deleted; it is written anew, complete", self._path)
            return
        self._reopen()
        if found is None:
            # what could not be used is gone again, and what was before it went with that
            log.warning("state file %s was deleted; going on with a new one", self._path)
            return
        with self._begun():
            self._on_replaced(self._connection)
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

    def _upgrade(self) -> None:
        with self._begun():
            migrations.upgrade(self._connection, file=self._path)

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
        except UnicodeDecodeError as error:
            # SQLite quotes what it found in the file
            raise StoreError(f"state file {self._path}: is damaged (no UTF-8 in it)") from error


def peek(path: Path, query: str) -> object:
    """The first value that a query finds, without changing the file; None: nothing, or unreadable.

    For a file that another process works on: it is not brought up to date, nor is it created.
    """
    try:
        if no_file(path.stat().st_mode):
            return None
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=1)
        with contextlib.closing(connection):
            row = connection.execute(query).fetchone()
    except (sqlite3.Error, OSError, UnicodeDecodeError):
        return None
    return row[0] if row else None


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file a path names; None: none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _connect(path: Path, busy_timeout: timedelta) -> sqlite3.Connection:
    """Open our file, or a new one; raises StoreError, and changes nothing, where it is not ours."""
    with contextlib.suppress(FileNotFoundError):
        wrong = no_file(path.stat().st_mode)
        if wrong:
            raise StoreError(f"state file {path}: {wrong}")
    # created by ourselves: SQLite would take the umask's mode, and balances are nobody's business
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    seconds = busy_timeout.total_seconds()
    connection = sqlite3.connect(
        path, isolation_level=None, timeout=seconds, check_same_thread=False
    )
    try:
        connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
        # before the journal's mode, which is written into the file
        migrations.check_ours(connection, file=path)
        mode = "WAL" if sqlite3.sqlite_version_info >= _WAL_IS_SAFE else "TRUNCATE"
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection
