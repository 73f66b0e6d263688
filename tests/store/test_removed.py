"""A receiver leaves the rules file: what waits is given up, what it was told is remembered."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerting.store.state import Store
from tests.support.factories import T0, M, S, make_route, make_ruleset
from tests.support.stores import LADDER, reasons, see

DAY = timedelta(days=1)
AWAY = make_ruleset(LADDER, receivers=("phone",), routes=(make_route("phone"),))
#: what a receiver that is told of everything sees
SENT, LOST, UNKNOWN = "sent", "lost", "unknown"


def told(store, available, at, became):
    """A message about so much left to trade with, and what became of it."""
    see(store, available, at)
    row = store.claim("desk", now=at)
    if became == SENT:
        store.mark_sent(row, reason="ok", now=at)
    else:
        maybe = became == UNKNOWN
        store.mark_retry(row, reason="down", next_at=at + 60 * M, maybe_sent=maybe)
    return row


def give_up(store, now):
    return store.give_up_removed(present=("phone",), now=now)


def after_its_return(store, available, at):
    """Why it is told, of which severity, and whether that may be a repeat."""
    see(store, available, at)
    row = store.claim("desk", now=at)
    if row is None:
        return None
    return (*reasons(row), row.notification.severity.value, row.maybe_sent)


# what was told, what is true when it comes back, what it is told then
CASES = [
    pytest.param([("200", LOST)], "200", ("firing", "critical", False), id="never-told"),
    pytest.param([("200", LOST)], "900", ("firing", "warning", False), id="never-told-eased"),
    pytest.param([("200", LOST)], "2000", None, id="never-told-and-over"),
    pytest.param([("200", SENT)], "200", None, id="told-and-as-it-was"),
    pytest.param([("200", SENT)], "2000", ("resolved", "critical", False), id="told-and-over"),
    pytest.param(
        [("900", SENT), ("200", LOST)], "200", ("escalated", "critical", False), id="half-told"
    ),
    pytest.param(
        [("900", SENT), ("200", LOST)], "2000", ("resolved", "warning", False), id="half-and-over"
    ),
    pytest.param(
        [("200", SENT), ("2000", LOST)], "2000", ("resolved", "critical", False), id="end-untold"
    ),
    pytest.param(
        [("200", SENT), ("2000", LOST)], "200", ("firing", "critical", False), id="again-by-then"
    ),
    pytest.param([("200", SENT)], "900", ("eased", "warning", False), id="told-and-eased"),
    pytest.param(
        [("200", SENT), ("900", LOST)], "900", ("eased", "warning", False), id="eased-untold"
    ),
    pytest.param(
        [("200", SENT), ("900", LOST)], "200", ("escalated", "critical", False), id="critical-anew"
    ),
    pytest.param([("200", SENT), ("2000", SENT)], "2000", None, id="told-it-is-over"),
    pytest.param([("200", UNKNOWN)], "200", ("firing", "critical", True), id="may-have-arrived"),
    pytest.param(
        [("200", UNKNOWN)], "2000", ("resolved", "critical", False), id="may-have-arrived-and-over"
    ),
    pytest.param([("200", SENT), ("2000", UNKNOWN)], "2000", None, id="the-end-may-have-arrived"),
]


@pytest.mark.parametrize(("before", "then", "expected"), CASES)
@pytest.mark.parametrize("away", ["evaluated", "unseen"])
@pytest.mark.parametrize("process", ["goes on", "begins anew"])
def test_after_its_return_it_is_told_what_is_true_by_then(
    store, path, before, then, expected, away, process
):
    for number, (available, became) in enumerate(before):
        told(store, available, T0 + number * S, became)
    give_up(store, T0 + M)
    if away == "evaluated":
        # under the rules without it, whatever will be true by then
        for number in range(2):
            see(store, then, T0 + M + number * S, ruleset=AWAY)
    assert store.claim("desk", now=T0 + 2 * M) is None
    if process == "begins anew":
        store.close()
        store = Store(path)
    assert after_its_return(store, then, T0 + 3 * M) == expected
    store.close()


def test_an_end_and_a_new_beginning_that_both_waited(store):
    told(store, "200", T0, SENT)
    see(store, "2000", T0 + S)
    see(store, "200", T0 + 2 * S)
    assert give_up(store, T0 + M) == 2
    assert after_its_return(store, "2000", T0 + 2 * M) == ("resolved", "critical", False)


@pytest.mark.parametrize(
    ("then", "expected"),
    [("2000", ("resolved", "critical", False)), ("200", ("firing", "critical", False))],
)
def test_what_was_told_before_all_messages_were_forgotten_still_is(store, then, expected):
    told(store, "900", T0, SENT)
    store.prune(now=T0 + 40 * DAY, keep_history=DAY)
    told(store, "200", T0 + 40 * DAY, LOST)
    give_up(store, T0 + 40 * DAY + M)
    assert after_its_return(store, then, T0 + 40 * DAY + 2 * M) == expected


def test_given_up_is_neither_waiting_nor_dead_nor_a_failure(store):
    told(store, "200", T0, LOST)
    assert give_up(store, T0 + S) == 1
    assert give_up(store, T0 + S) == 0
    status = store.receiver_statuses()["desk"]
    assert (status.pending, status.dead, status.last_reason) == (0, 0, None)
    assert store.failing_receivers(now=T0 + 60 * M, overdue=5 * M) == {}
    (message,) = store.messages_about(store_fingerprint(store), until=T0 + DAY, most=9)
    assert (message.status, message.last_reason) == ("dead", "receiver removed")
    store.prune(now=T0 + 40 * DAY, keep_history=DAY)
    assert store.receiver_statuses() == {}


def store_fingerprint(store):
    (fp,) = store.memory("main").alerts
    return fp


def test_its_earlier_failures_are_not_held_against_it(store):
    see(store, "200", T0)
    store.mark_dead(store.claim("desk", now=T0), reason="bad token", now=T0)
    assert give_up(store, T0 + S) == 0
    assert store.failing_receivers(now=T0 + 60 * M, overdue=5 * M) == {}
    assert store.receiver_statuses()["desk"].dead == 1


def test_who_is_present_keeps_everything(store):
    told(store, "200", T0, LOST)
    assert store.give_up_removed(present=("desk",), now=T0 + M) == 0
    assert store.receiver_statuses()["desk"].pending == 1


def test_what_is_being_sent_is_left_to_who_sends_it(store, path):
    see(store, "200", T0)
    row = store.claim("desk", now=T0)
    assert give_up(store, T0 + M) == 0
    other = Store(path)
    assert give_up(other, T0 + M) == 0
    # whose claim is over may have sent it
    assert give_up(other, T0 + 10 * M) == 1
    store.mark_sent(row, reason="ok", now=T0 + 10 * M)
    assert store.receiver_statuses()["desk"].sent == 0
    assert after_its_return(other, "2000", T0 + 11 * M) == ("resolved", "critical", False)
    other.close()


@pytest.mark.parametrize("content", ["'{}'", "json_set(notification, '$.items', json('[]'))"])
def test_a_message_that_cannot_be_read_is_given_up_too(store, content):
    told(store, "200", T0, LOST)
    with store._database.transaction() as connection:
        connection.execute(f"UPDATE outbox SET notification = {content}")
    assert give_up(store, T0 + M) == 1
    assert after_its_return(store, "200", T0 + 2 * M) == ("firing", "critical", False)


def test_what_it_was_told_is_forgotten_after_a_month(store):
    told(store, "200", T0, SENT)
    month = 31 * DAY
    store.prune(now=T0 + month, keep_history=DAY, receivers=("desk",))
    assert len(store.memory("main").notified) == 1
    store.prune(now=T0 + month - 2 * DAY, keep_history=DAY, receivers=("phone",))
    assert len(store.memory("main").notified) == 1
    store.prune(now=T0 + month, keep_history=DAY, receivers=("phone",))
    assert store.memory("main").notified == {}


# ── other settings that change under a living state file ────────────────────


def test_a_new_address_ends_the_old_ones_pause(store):
    told(store, "200", T0, LOST)
    store.hold_receiver("desk", until=T0 + 60 * M)
    store.address_changed("desk", now=T0 + M)
    assert store.claim("desk", now=T0 + M) is not None


@pytest.mark.parametrize(
    ("limit", "at", "pending"),
    [
        pytest.param(M, 2 * M, 0, id="shorter"),
        pytest.param(48 * 60 * M, 47 * 60 * M, 1, id="longer"),
    ],
)
def test_another_deliver_within_holds_for_what_waits(store, limit, at, pending):
    told(store, "200", T0, LOST)
    store.set_deliver_within(limit)
    store.set_deliver_within(limit)
    row = store.claim("desk", now=T0 + at)
    assert (row is not None, store.receiver_statuses()["desk"].pending) == (bool(pending), pending)
