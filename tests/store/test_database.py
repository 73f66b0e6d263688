"""The file: its mode, its errors, its transactions beside another process's."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading

import pytest

from alerting.errors import StateBusyError, StoreError
from alerting.service.lock import StateLock
from alerting.store.state import Store
from tests.support.factories import T0, S
from tests.support.stores import see


def test_the_file_is_for_its_owner_only(path):
    old = os.umask(0)
    try:
        Store(path).close()
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_connections_may_write_at_once(path):
    """What a daemon and a cron run do to one file, without the lock that keeps them apart."""
    stores = [Store(path), Store(path)]
    errors = []

    def work(store, account):
        try:
            for number in range(25):
                see(store, "900" if number % 2 else "2000", T0 + number * S, account=account)
        except StoreError as error:
            errors.append(error)

    threads = [
        threading.Thread(target=work, args=(store, name))
        for store, name in zip(stores, ("a", "b"), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert set(stores[0].accounts()) == {"a", "b"}
    for store in stores:
        store.close()


def test_only_one_process_holds_the_lock(path):
    with StateLock(path, now=T0), pytest.raises(StateBusyError, match="pid"):
        with StateLock(path, now=T0):
            pass
    with StateLock(path, now=T0):
        pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            b"not a database, but long enough to be read as one" * 50,
            "not a database",
            id="garbage",
        ),
    ],
)
def test_a_broken_file_is_a_clear_error(path, content, message):
    path.write_bytes(content)
    with pytest.raises(StoreError, match=message):
        Store(path)


def test_a_directory_that_is_not_there_is_a_clear_error(tmp_path):
    with pytest.raises(StoreError, match="No such file or directory"):
        Store(tmp_path / "missing" / "alerting.db")


def test_a_newer_schema_is_refused(path):
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="newer version"):
        Store(path)
