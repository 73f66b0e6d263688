"""A state file that is damaged in content: whatever it raises inside, it is one kind of error."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from datetime import timedelta

import pytest

from alerting.engine.model import Ack, Silence
from alerting.errors import StoreError
from alerting.store.database import Database
from alerting.store.state import Store
from tests.support.factories import T0, WARNING, M
from tests.support.stores import see

FAR = 9_000_000_000_000_000_000
AHEAD = "9999-12-31T23:59:59Z"
DAMAGES = {
    "account-list": "UPDATE accounts SET document = '[]'",
    "account-null": "UPDATE accounts SET document = 'null'",
    "account-bytes": "UPDATE accounts SET document = x'ff00fe'",
    "account-bad-utf8": "UPDATE accounts SET document = CAST(x'7bff7d' AS TEXT)",
    "account-time": f'UPDATE accounts SET document = \'{{"name":"main","feeds":{{"wallet":{{"last_snapshot_at":{FAR}}}}}}}\'',
    "account-year": f'UPDATE accounts SET document = \'{{"name":"main","feeds":{{"wallet":{{"last_snapshot_at":"{AHEAD}"}}}}}}\'',
    "alert-list": "UPDATE alerts SET document = '[]'",
    "alert-number": "UPDATE alerts SET document = 7",
    "alert-digits": "UPDATE alerts SET document = json_set(document, '$.value', '1E+999999')",
    "alert-year": f"UPDATE alerts SET document = json_set(document, '$.judged_at', '{AHEAD}')",
    "alert-duration": "UPDATE alerts SET document = json_set(document, '$.levels[0].breached_for', 'P999999999D')",
    "alert-bad-utf8": "UPDATE alerts SET document = CAST(x'22ff22' AS TEXT)",
    "notified-time": f"UPDATE notified SET notified_at = {FAR}",
    "notified-value": "UPDATE notified SET value = 'much'",
    "notified-text": "UPDATE notified SET notified_at = 'yesterday'",
    "notified-severity": "UPDATE notified SET severity = 'awful'",
    "notified-episode": "UPDATE notified SET episode = 'first'",
    "notified-repeats": f"UPDATE notified SET repeats = {FAR}",
    "silence-list": "UPDATE silences SET matchers = '[]'",
    "silence-numbers": """UPDATE silences SET matchers = '{"rule": 7}'""",
    "silence-end": f"UPDATE silences SET ends_at = {FAR}",
    "silence-start": f"UPDATE silences SET starts_at = -{FAR}",
    "ack-time": f"UPDATE acks SET acked_at = {FAR}",
    "ack-severity": "UPDATE acks SET severity = x'00'",
    "ack-episode": "UPDATE acks SET episode = 1.5",
}


@pytest.fixture
def full(store):
    """A state file with something in each table."""
    see(store, "900", T0)
    (fp,) = store.memory("main").alerts
    store.add_silence(
        Silence(id=0, matchers={"rule": "x"}, starts_at=T0, ends_at=T0 + M, author="a", reason="r")
    )
    store.acknowledge(Ack(fingerprint=fp, episode=1, severity=WARNING, at=T0, author="a"))
    return store


@pytest.mark.parametrize("sql", DAMAGES.values(), ids=DAMAGES)
def test_damaged_content_is_one_kind_of_error(full, path, sql):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(sql)
        connection.commit()
    for use in (lambda: see(full, "800", T0 + M), lambda: full.memory("main")):
        with pytest.raises(StoreError, match=r"cannot be read|Could not decode"):
            use()


READS = {
    "accounts": ("UPDATE accounts SET document = '[]'", lambda s: s.accounts()),
    "evaluations": (f"UPDATE accounts SET evaluated_at = {FAR}", lambda s: s.evaluations()),
    "silences": ("UPDATE silences SET matchers = '7'", lambda s: s.silences(now=T0)),
    "receiver_statuses": (
        f"UPDATE outbox SET created_at = {FAR}",
        lambda s: s.receiver_statuses(),
    ),
    "failing_receivers": (
        f"UPDATE outbox SET severity = 2, created_at = -{FAR}",
        lambda s: s.failing_receivers(now=T0, overdue=M),
    ),
    "transitions": (
        "UPDATE transitions SET severity = 'awful'",
        lambda s: s.transitions(next(iter(s.memory("main").alerts)), until=T0, most=9),
    ),
    "messages_about": (
        "UPDATE outbox SET notification = '[]'",
        lambda s: s.messages_about(next(iter(s.memory("main").alerts)), until=T0, most=9),
    ),
    "history": (
        "INSERT INTO history (account, at, body) VALUES ('main', 0, x'ff')",
        lambda s: list(s.history()),
    ),
    "last_poll": (
        f"INSERT INTO history (account, at, body) VALUES ('main', -{FAR}, x'ff')",
        lambda s: s.last_poll("main", at=T0),
    ),
    "sent_totals": (
        "INSERT INTO receivers (name, sent) VALUES (CAST(x'ff' AS TEXT), 1)",
        lambda s: s.sent_totals(),
    ),
    "meta": ("INSERT INTO meta VALUES ('k', CAST(x'ff' AS TEXT))", lambda s: s.meta("k")),
}


@pytest.mark.parametrize(("sql", "use"), READS.values(), ids=READS)
def test_every_way_to_read_has_that_one_kind_of_error(full, path, sql, use):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(sql)
        connection.commit()
    with pytest.raises(StoreError):
        use(full)


def test_an_index_that_hides_a_message_is_an_error_at_the_start(full, path):
    """SQLite finds no fault with an index that is asked: it has another page, a good one."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        pages = dict(connection.execute("SELECT name, rootpage FROM sqlite_master"))
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    assert full.recover() == 0
    full.close()
    content = bytearray(path.read_bytes())
    there, empty = (
        slice((pages[name] - 1) * size, pages[name] * size)
        for name in ("outbox_by_receiver", "sqlite_autoindex_meta_1")
    )
    content[there], content[empty] = content[empty], content[there]
    path.write_bytes(content)
    store = Store(path)
    assert store.claim("desk", now=T0) is None
    with pytest.raises(StoreError, match=r"its table \w+ is damaged \(.*missing from index"):
        store.recover()
    store.close()


def test_a_message_that_neither_waits_nor_is_done_is_an_error_at_the_start(full, path):
    assert full.recover() == 0
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE outbox SET status = status || 'x'")
        connection.commit()
    assert full.claim("desk", now=T0) is None
    with pytest.raises(StoreError, match=r"a message's status cannot be read \('pendingx'\)"):
        full.recover()


def test_what_no_index_says_is_an_error_at_the_start_too(full, path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'notified'"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    full.close()
    content = bytearray(path.read_bytes())
    content[(page - 1) * size : page * size] = bytes(size)
    path.write_bytes(content)
    store = Store(path)
    with pytest.raises(StoreError):
        store.recover()
    store.close()


def test_a_thread_that_keeps_the_file_is_an_error_for_the_others(path):
    """A commit that hangs: nothing interrupts it, and whoever waits for it says so."""
    database = Database(
        path,
        busy_timeout=timedelta(seconds=1),
        on_replaced=lambda _: None,
        patience=timedelta(seconds=0.05),
    )
    inside, go_on = threading.Event(), threading.Event()

    def hang():
        with database.transaction():
            inside.set()
            go_on.wait(10)

    thread = threading.Thread(target=hang)
    thread.start()
    assert inside.wait(5)
    for use in (database.transaction, lambda: database.reading("x")):
        with pytest.raises(StoreError, match="another thread has used it"), use():
            pass
    go_on.set()
    thread.join()
    with database.transaction() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    database.close()
