"""The file: its mode, its errors, its transactions beside another process's."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading

import pytest

from alerting.errors import StateBusyError, StoreError
from alerting.service.lock import StateLock
from alerting.store.database import peek
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


def test_a_path_that_is_no_file_is_a_clear_error(path):
    os.mkfifo(path)
    with pytest.raises(StoreError, match="is a pipe and no file"):
        Store(path)
    assert peek(path, "SELECT 1") is None


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


# ── whose file it is ────────────────────────────────────────────────────────


def header(path):
    """application_id and user_version of a file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    return owner, version


def make_other(path, *statements):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_a_new_file_says_whose_it_is(path):
    Store(path).close()
    owner, _ = header(path)
    assert owner.to_bytes(4, "big") == b"alrt"


def test_our_file_from_before_there_was_an_id_is_taken_over_and_marked(path):
    with contextlib.closing(Store(path)) as store:
        see(store, "900", T0)
    marked = header(path)
    make_other(path, "PRAGMA application_id = 0")
    with contextlib.closing(Store(path)) as store:
        assert set(store.accounts()) == {"main"}
    assert header(path) == marked


@pytest.mark.parametrize(
    ("statements", "sign"),
    [
        pytest.param(
            ["CREATE TABLE urls (id INTEGER)", "CREATE TABLE visits (id INTEGER)"],
            "it has the tables urls, visits",
            id="tables",
        ),
        pytest.param(
            ["CREATE TABLE accounts (id INTEGER)", "PRAGMA user_version = 3"],
            "it has the tables accounts",
            id="one-table-of-the-same-name",
        ),
        pytest.param(
            ["CREATE TABLE t (id INTEGER)", "PRAGMA application_id = 252006675"],
            "its application_id is 252006675",
            id="id",
        ),
        pytest.param(
            ["PRAGMA application_id = 252006675"], "its application_id is 252006675", id="empty"
        ),
        pytest.param(["PRAGMA user_version = 2"], "another program;", id="version-of-nothing"),
        pytest.param(["CREATE VIEW v AS SELECT 1"], "it has the tables v", id="view"),
    ],
)
@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_the_database_of_another_program_is_refused_and_not_touched(path, statements, sign, mode):
    make_other(path, f"PRAGMA journal_mode = {mode}", *statements)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program") as caught:
        Store(path)
    assert sign in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_the_database_of_another_program_that_replaces_ours_is_refused(path):
    with contextlib.closing(Store(path)) as store:
        see(store, "900", T0)
        other = path.with_name("other.db")
        make_other(other, "CREATE TABLE t (id INTEGER)")
        before = other.read_bytes()
        other.replace(path)
        for _ in range(2):
            with pytest.raises(StoreError, match="another program"):
                see(store, "800", T0 + S)
        assert path.read_bytes() == before


def test_a_schema_that_is_no_text_is_a_clear_error(path):
    """What SQLite says of it quotes it, and Python cannot read that."""
    Store(path).close()
    raw = path.read_bytes()
    assert b"CREATE TABLE accounts" in raw
    path.write_bytes(raw.replace(b"CREATE TABLE accounts", b"CREA\xa9\xff TABLE accounts"))
    with pytest.raises(StoreError, match=f"state file {path}: "):
        Store(path)
    assert peek(path, "SELECT name FROM accounts") is None


def test_after_garbage_that_went_away_again_it_goes_on_with_a_new_file(path):
    store = Store(path)
    store.set_meta("a", "1")
    path.unlink()
    path.write_bytes(b"this is no database " * 500)
    for _ in range(2):
        with pytest.raises(StoreError):
            store.set_meta("b", "2")
    path.unlink()
    store.set_meta("c", "3")
    store.close()
    again = Store(path)
    assert (again.meta("a"), again.meta("b"), again.meta("c")) == (None, None, "3")
    again.close()
