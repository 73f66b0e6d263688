"""Looking back: recorded polls in order and to the byte, transitions, past messages."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from alerting.engine.feeds import POSITIONS
from alerting.engine.snapshot import Poll, Snapshot
from alerting.errors import StoreError
from alerting.store.history import RecordedPoll
from tests.support.factories import CRITICAL, T0, WARNING, M, S, make_failure, make_snapshot
from tests.support.stores import see

BODY = '{"data": {"asset": [], "odd": "\ud800", "text": "₹"}}'


def record(store, at, *, account="main", body=BODY, error=None):
    available = None if body is None else "2000"
    outcome = make_snapshot(at=at, account=account)
    if error is not None:
        outcome = make_failure(text=error, account=account)
    poll = Poll(at=at, account=account, body=body, outcome=outcome)
    see(store, available, at, account=account, poll=poll)


def test_polls_come_back_to_the_byte_in_the_order_of_time(store):
    record(store, T0 + S, account="b")
    record(store, T0)
    record(store, T0 + 2 * S, body=None, error="refused")
    assert list(store.history()) == [
        RecordedPoll(at=T0, account="main", body=BODY),
        RecordedPoll(at=T0 + S, account="b", body=BODY),
        RecordedPoll(at=T0 + 2 * S, account="main", error="network: refused"),
    ]


@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [
        pytest.param({}, [0, 1, 2, 3], id="all"),
        pytest.param({"since": T0 + S}, [1, 2, 3], id="since-is-not-included-before"),
        pytest.param({"until": T0 + 3 * S}, [0, 1, 2], id="until-is-exclusive"),
        pytest.param({"account": "main"}, [0, 2], id="one-account"),
    ],
)
def test_a_part_of_it(store, wanted, seconds):
    for number, account in enumerate(["main", "b", "main", "b"]):
        record(store, T0 + number * S, account=account)
    assert [(poll.at - T0) // S for poll in store.history(**wanted)] == seconds


def test_more_than_a_page_and_many_at_one_instant(store):
    with store._database.transaction() as connection:
        connection.executemany(
            "INSERT INTO history (account, at, error) VALUES ('main', ?, ?)",
            [(number // 700, str(number)) for number in range(1200)],
        )
    assert [poll.error for poll in store.history()] == [str(n) for n in range(1200)]


def test_the_last_poll_with_a_body_up_to_an_instant(store):
    record(store, T0)
    record(store, T0 + S, body=None, error="refused")
    record(store, T0 + 2 * S)
    assert store.last_poll("main", at=T0 + S).at == T0
    assert store.last_poll("main", at=T0 - S) is None
    assert store.last_poll("b", at=T0 + M) is None


def test_changes_and_messages_of_one_alert(store):
    (fp,) = see(store, "900", T0).memory.alerts
    see(store, "200", T0 + S)
    store.mark_sent(store.claim("desk", now=T0 + S), reason="ok", now=T0 + S)
    changes = store.transitions(fp, until=T0 + M, most=9)
    assert [(change.at, change.severity, change.value) for change in changes] == [
        (T0, WARNING, "900"),
        (T0 + S, CRITICAL, "200"),
    ]
    assert store.transitions(fp, until=T0, most=9) == changes[:1]
    assert store.transitions(fp, until=T0 + M, most=1) == changes[1:]
    messages = store.messages_about(fp, until=T0 + M, most=9)
    assert [(m.reason, m.status, m.finished_at, m.next_at is None) for m in messages] == [
        ("firing", "sent", T0 + S, True),
        ("escalated", "pending", None, False),
    ]
    assert store.messages_about(fp, until=T0, most=9) == messages[:1]
    assert store.messages_about(fp, until=T0 + M, most=1) == messages[1:]


def test_polls_and_transitions_of_long_ago_are_forgotten(store):
    record(store, T0)
    (fp,) = see(store, "900", T0 + S).memory.alerts
    store.prune(now=T0 + timedelta(days=2), keep_history=timedelta(days=1))
    assert list(store.history()) == []
    assert store.transitions(fp, until=T0 + M, most=9)
    store.prune(now=T0 + timedelta(days=31), keep_history=timedelta(days=1))
    assert store.transitions(fp, until=T0 + M, most=9) == []


# ── what is recorded beside a poll ──────────────────────────────────────────


def beside(store, at, *, account="main", outcome=None, **pages):
    """A poll of the positions, and what was asked for it."""
    outcome = outcome or Snapshot(account=account, feed=POSITIONS, observed_at=at)
    poll = Poll(at=at, account=account, feed=POSITIONS, body="{}", outcome=outcome, beside=pages)
    see(store, "2000", at, account=account, poll=poll)


def test_what_was_asked_for_a_poll_stands_before_it_at_its_instant(store):
    failed = replace(make_failure(text="refused"), feed="transactions")
    beside(store, T0, instruments="rates", transactions=failed)
    beside(store, T0 + S, instruments="more", outcome=replace(make_failure(), feed=POSITIONS))
    assert [(p.at - T0, p.feed, p.body or p.error) for p in store.history()] == [
        (0 * S, "instruments", "rates"),
        (0 * S, "transactions", "network: refused"),
        (0 * S, "positions", "{}"),
        (S, "instruments", "more"),
        (S, "positions", "network: connection refused"),
    ]


def test_the_instruments_by_which_polls_from_an_instant_on_go(store):
    beside(store, T0, instruments="old")
    beside(store, T0 + S, instruments="new")
    beside(store, T0 + S, instruments="theirs", account="b")
    beside(store, T0 + 2 * S, instruments="later")
    found = store.instruments_before(T0 + 2 * S)
    assert [(p.at, p.account, p.feed, p.body) for p in found] == [
        (T0 + S, "b", "instruments", "theirs"),
        (T0 + S, "main", "instruments", "new"),
    ]
    assert store.instruments_before(T0) == []


def test_what_is_forgotten_leaves_the_instruments_of_what_stays(store):
    days = [T0 + timedelta(days=n) for n in range(3)]
    for at, name in zip(days, ("oldest", "old", "kept"), strict=True):
        beside(store, at, instruments=name)
    beside(store, days[1], instruments="theirs", account="b")
    store.prune(now=days[2] + S, keep_history=timedelta(hours=1))
    assert [(p.account, p.feed, p.body) for p in store.history()] == [
        ("main", "instruments", "old"),
        ("b", "instruments", "theirs"),
        ("main", "instruments", "kept"),
        ("main", "positions", "{}"),
    ]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("body = x'00ff'", id="not-packed"),
        pytest.param("body = 'text'", id="text"),
        pytest.param("at = 4000000000000000000", id="beyond-the-calendar"),
    ],
)
def test_a_poll_that_cannot_be_read_is_a_store_error(store, change):
    record(store, T0)
    with store._database.transaction() as connection:
        connection.execute(f"UPDATE history SET {change}")
    with pytest.raises(StoreError, match="its history cannot be read"):
        list(store.history())
