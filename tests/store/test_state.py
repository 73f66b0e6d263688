"""The state file: what is committed is there, what is not never happened."""

from __future__ import annotations

import functools
import os
import sqlite3
import stat
import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from alerting.engine import evaluation
from alerting.errors import StoreError
from alerting.store.state import Store
from tests.support.factories import (
    CRITICAL,
    T0,
    WARNING,
    M,
    S,
    make_failure,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_symbol,
    make_threshold,
    make_wallet,
)

LADDER = make_rule(
    "floor",
    "total_available_balance",
    make_threshold(WARNING, "1000"),
    make_threshold(CRITICAL, "250"),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "alerting.db"


@pytest.fixture
def store(path):
    store = Store(path)
    yield store
    store.close()


def see(store, available, at, *, ruleset=None, account="main"):
    judge = functools.partial(
        evaluation.evaluate,
        ruleset or make_ruleset(LADDER),
        outcome=make_snapshot(make_wallet(available), at=at, account=account)
        if available is not None
        else make_failure(account=account),
        now=at,
    )
    return store.evaluate(account, judge)


def test_the_file_is_for_its_owner_only(path):
    old = os.umask(0)
    try:
        Store(path).close()
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_memory_survives_to_the_last_digit(store, path):
    step = see(store, "249.123456789012345678", T0)
    store.close()
    again = Store(path)
    told = {key: replace(entry, waiting=True) for key, entry in step.memory.notified.items()}
    assert again.memory("main") == replace(step.memory, notified=told)
    again.close()


def test_a_memory_with_everything_in_it_survives(store):
    """A symbol rule with pending, firing and clearing levels, labels, annotations, failures."""
    from alerting.engine.feeds import Scope
    from alerting.engine.model import Direction

    rule = make_rule(
        "load",
        "blocked_balance",
        make_threshold(WARNING, "10", keep=60),
        make_threshold(CRITICAL, "20", for_=60),
        scope=Scope.SYMBOL,
        direction=Direction.ABOVE,
        labels={"team": "risk"},
        annotations={"summary": "{{ value }}"},
    )
    ruleset = make_ruleset(rule)
    for number, blocked in enumerate(["30", "5"]):
        snapshot = make_snapshot(symbols=[make_symbol(blocked=blocked)])
        judge = functools.partial(
            evaluation.evaluate, ruleset, outcome=snapshot, now=T0 + number * 15 * S
        )
        step = store.evaluate("main", judge)
    judge = functools.partial(evaluation.evaluate, ruleset, outcome=make_failure(), now=T0 + 30 * S)
    step = store.evaluate("main", judge)
    loaded = store.memory("main")
    assert loaded.alerts == step.memory.alerts
    assert loaded.account == step.memory.account


def test_a_failed_judgement_leaves_nothing(store):
    see(store, "900", T0)
    before = store.memory("main")

    def broken(memory):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.evaluate("main", broken)
    assert store.memory("main") == before


def test_state_and_message_are_one_transaction(path, monkeypatch):
    """The outbox cannot be written: the state must not say that anything was told."""
    store = Store(path)
    store._connection.execute("DROP TABLE outbox_alerts")
    with pytest.raises(StoreError):
        see(store, "900", T0)
    assert store._connection.execute("SELECT COUNT(*) FROM alerts").fetchone() == (0,)
    assert store._connection.execute("SELECT COUNT(*) FROM outbox").fetchone() == (0,)
    store.close()


def test_the_same_message_is_stored_once(store):
    step = see(store, "900", T0)
    store._enqueue("main", step.notifications[0])
    assert store.receiver_statuses()["desk"].pending == 1


# ── the outbox ──────────────────────────────────────────────────────────────


def reasons(row):
    return [item.reason.value for item in row.notification.items]


def test_a_claimed_row_is_not_claimed_again(store):
    see(store, "900", T0)
    assert reasons(store.claim("desk", now=T0)) == ["firing"]
    assert store.claim("desk", now=T0) is None


def test_an_alerts_messages_keep_their_order(store):
    see(store, "900", T0)
    see(store, "200", T0 + S)
    first = store.claim("desk", now=T0 + S)
    assert reasons(first) == ["firing"]
    assert store.claim("desk", now=T0 + S) is None
    store.mark_sent(first, reason="ok", now=T0 + S)
    assert reasons(store.claim("desk", now=T0 + S)) == ["escalated"]


def test_the_order_holds_while_the_first_waits_for_a_retry(store):
    see(store, "900", T0)
    first = store.claim("desk", now=T0)
    store.mark_retry(first, reason="down", next_at=T0 + M, maybe_sent=False)
    see(store, "200", T0 + S)
    assert store.claim("desk", now=T0 + 2 * S) is None
    assert store.next_due("desk") == T0 + M


def test_the_worst_goes_first_where_no_order_forbids_it(store):
    other = make_rule("other", "total_balance", make_threshold(WARNING, "10000"))
    see(store, "2000", T0, ruleset=make_ruleset(other))
    see(store, "100", T0 + S, ruleset=make_ruleset(LADDER, other))
    row = store.claim("desk", now=T0 + S)
    assert [item.alert.rule for item in row.notification.items] == ["floor"]


def test_a_dead_message_frees_the_next(store):
    see(store, "900", T0)
    see(store, "200", T0 + S)
    store.mark_dead(store.claim("desk", now=T0 + S), reason="bad token", now=T0 + S)
    assert reasons(store.claim("desk", now=T0 + S)) == ["escalated"]


def test_success_brings_waiting_messages_forward(store):
    see(store, "900", T0)
    first = store.claim("desk", now=T0)
    store.mark_retry(first, reason="down", next_at=T0 + 60 * M, maybe_sent=False)
    other = make_rule("other", "total_balance", make_threshold(WARNING, "10000"))
    see(store, "900", T0 + S, ruleset=make_ruleset(LADDER, other))
    store.mark_sent(store.claim("desk", now=T0 + S), reason="ok", now=T0 + 2 * S)
    assert store.claim("desk", now=T0 + 2 * S).id == first.id


def test_a_held_receiver_gets_nothing_until_then(store):
    see(store, "900", T0)
    store.hold_receiver("desk", until=T0 + 17 * S)
    assert store.claim("desk", now=T0 + 16 * S) is None
    assert store.next_due("desk") == T0 + 17 * S
    assert store.claim("desk", now=T0 + 17 * S) is not None


def test_a_clock_set_back_holds_no_message(store):
    see(store, "900", T0)
    row = store.claim("desk", now=T0)
    day = timedelta(days=1)
    store.mark_retry(row, reason="down", next_at=T0 + day, maybe_sent=False)
    store.hold_receiver("desk", until=T0 + day)
    assert store.next_due("desk", now=T0) < T0
    assert store.claim("desk", now=T0).id == row.id


def test_a_critical_message_from_the_future_counts_as_overdue(store):
    see(store, "200", T0 + timedelta(days=1))
    assert "desk" in store.failing_receivers(now=T0, overdue=5 * M)


def test_a_test_message_that_got_through_ends_every_pause(store):
    see(store, "900", T0)
    row = store.claim("desk", now=T0)
    store.mark_retry(row, reason="429", next_at=T0 + 50 * M, maybe_sent=False)
    store.hold_receiver("desk", until=T0 + 50 * M)
    store.note_accepted("desk", now=T0 + M)
    assert store.claim("desk", now=T0 + M).id == row.id


def test_a_dead_message_is_kept_while_its_receiver_fails_because_of_it(store):
    see(store, "900", T0)
    store.mark_dead(store.claim("desk", now=T0), reason="bad token", now=T0)
    later = T0 + timedelta(days=40)
    store.prune(now=later, keep_history=timedelta(days=30))
    assert "desk" in store.failing_receivers(now=later, overdue=5 * M)
    store.note_accepted("desk", now=later)
    store.prune(now=later, keep_history=timedelta(days=30))
    assert store.receiver_statuses() == {}


def test_expired_messages_are_dead_with_their_last_reason(store):
    see(store, "900", T0)
    row = store.claim("desk", now=T0)
    store.mark_retry(row, reason="connection refused", next_at=T0, maybe_sent=False)
    assert store.claim("desk", now=T0 + timedelta(hours=24)) is None
    status = store.receiver_statuses()["desk"]
    assert (status.dead, status.last_reason) == (1, "not delivered in time: connection refused")


def test_what_was_being_sent_at_a_crash_may_have_arrived(store, path):
    see(store, "900", T0)
    store.claim("desk", now=T0)
    store.close()
    again = Store(path)
    assert again.claim("desk", now=T0) is None
    assert again.recover() == 1
    assert again.claim("desk", now=T0).maybe_sent
    again.close()


def test_an_accepted_message_counts_as_told(store):
    see(store, "900", T0)
    assert [t.waiting for t in store.memory("main").notified.values()] == [True]
    store.mark_sent(store.claim("desk", now=T0), reason="ok", now=T0 + S)
    (entry,) = store.memory("main").notified.values()
    assert (entry.waiting, entry.delivered, entry.at) == (False, True, T0)


def test_a_late_one_counts_from_its_arrival(store):
    see(store, "900", T0)
    store.mark_sent(store.claim("desk", now=T0), reason="ok", now=T0 + 30 * M)
    (entry,) = store.memory("main").notified.values()
    assert entry.at == T0 + 30 * M


def test_a_message_of_an_older_episode_does_not_count_for_the_new_one(store):
    see(store, "900", T0)
    old = store.claim("desk", now=T0)
    see(store, "2000", T0 + S)
    see(store, "900", T0 + 2 * S)
    store.mark_sent(old, reason="ok", now=T0 + 3 * S)
    (entry,) = store.memory("main").notified.values()
    assert (entry.delivered, entry.waiting) == (False, True)


@pytest.mark.parametrize(
    ("available", "after", "failing"),
    [
        pytest.param("200", 5 * M, True, id="critical-for-5-minutes"),
        pytest.param("200", 5 * M - S, False, id="critical-not-yet"),
        pytest.param("900", 60 * M, False, id="warning"),
    ],
)
def test_an_undelivered_critical_message_makes_the_receiver_failing(
    store, available, after, failing
):
    see(store, available, T0)
    assert ("desk" in store.failing_receivers(now=T0 + after, overdue=5 * M)) is failing


def test_a_dead_message_makes_it_failing_until_one_is_accepted(store):
    see(store, "900", T0)
    store.mark_dead(store.claim("desk", now=T0), reason="bad token", now=T0)
    assert store.failing_receivers(now=T0, overdue=5 * M) == {
        "desk": "1 given up, the last with: bad token"
    }
    store.note_accepted("desk", now=T0 + S)
    assert store.failing_receivers(now=T0 + S, overdue=5 * M) == {}


def test_old_finished_messages_are_forgotten_and_waiting_ones_kept(store):
    see(store, "900", T0)
    see(store, "200", T0 + S)
    store.mark_sent(store.claim("desk", now=T0 + S), reason="ok", now=T0 + S)
    store.prune(now=T0 + timedelta(days=40), keep_history=timedelta(days=30))
    status = store.receiver_statuses()["desk"]
    assert (status.sent, status.pending) == (0, 1)


# ── two processes, broken files ─────────────────────────────────────────────


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
