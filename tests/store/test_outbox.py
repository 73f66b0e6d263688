"""The outbox: order, claims, retries, ends, and what they say about the receivers."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest

from alerting.store.outbox import Outbox
from alerting.store.state import Store
from tests.support.factories import T0, WARNING, M, S, make_rule, make_ruleset, make_threshold
from tests.support.stores import LADDER, reasons, see


def test_the_same_message_is_stored_once(store):
    step = see(store, "900", T0)
    with store._database.transaction() as connection:
        outbox = Outbox(store._database, owner="any", deliver_within=M)
        outbox.enqueue(connection, "main", step.notifications[0])
    assert store.receiver_statuses()["desk"].pending == 1


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
    end = T0 + timedelta(hours=24)
    store.mark_retry(row, reason="connection refused", next_at=end - 5 * M, maybe_sent=False)
    assert store.claim("desk", now=end) is None
    status = store.receiver_statuses()["desk"]
    assert (status.dead, status.last_reason) == (1, "not delivered in time: connection refused")


@pytest.mark.parametrize("late", [timedelta(hours=24), timedelta(days=2), timedelta(days=400)])
def test_what_nobody_tried_meanwhile_is_tried_for_an_hour_before_it_is_given_up(store, late):
    see(store, "900", T0)
    row = store.claim("desk", now=T0)
    store.mark_retry(row, reason="down", next_at=T0 + 5 * S, maybe_sent=False)
    now = T0 + late
    for _ in range(12):
        row = store.claim("desk", now=now)
        store.mark_retry(row, reason="down", next_at=now + 5 * M, maybe_sent=False)
        now += 5 * M
    assert store.claim("desk", now=now) is None
    assert store.receiver_statuses()["desk"].dead == 1


@pytest.mark.parametrize("how", ["retry", "simplified", "recovered"])
def test_a_message_that_was_tried_by_a_clock_set_back_since_is_due(store, path, how):
    see(store, "900", T0)
    row = store.claim("desk", now=T0 + 60 * M)
    if how == "retry":
        next_at = T0 + 60 * M + 5 * S
        store.mark_retry(row, reason="down", next_at=next_at, maybe_sent=False)
    elif how == "simplified":
        store.mark_simplified(row, reason="too long", now=T0 + 60 * M)
    else:
        with contextlib.closing(Store(path)) as other:
            other.recover()
    now = T0 + M
    assert store.next_due("desk", now=now) < now
    row = store.claim("desk", now=now)
    store.mark_retry(row, reason="down", next_at=now + 5 * S, maybe_sent=False)
    assert store.claim("desk", now=now + 4 * S) is None


@pytest.mark.parametrize("off", [timedelta(hours=1), timedelta(days=-400)])
def test_a_receiver_fails_by_what_came_last_whatever_the_clock_said(store, off):
    """Accepted by a clock that is ahead must not hide what dies afterwards, nor the other way."""
    see(store, "900", T0)
    store.mark_dead(store.claim("desk", now=T0), reason="bad token", now=T0)
    store.note_accepted("desk", now=T0 + off)
    assert store.failing_receivers(now=T0, overdue=5 * M) == {}
    see(store, "200", T0 + M)
    store.mark_dead(store.claim("desk", now=T0 + M), reason="bad token", now=T0 + M)
    assert "desk" in store.failing_receivers(now=T0 + M, overdue=5 * M)


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


# ── claims have an owner and an end ─────────────────────────────────────────

CLAIM = timedelta(minutes=10)


@pytest.fixture
def two(path):
    """Two processes on one state file."""
    stores = [Store(path, owner=name) for name in ("one", "two")]
    yield stores
    for store in stores:
        store.close()


def test_what_one_sends_the_other_leaves_until_the_claim_ends(two):
    one, other = two
    see(one, "900", T0)
    row = one.claim("desk", now=T0)
    assert other.claim("desk", now=T0 + CLAIM - S) is None
    assert other.next_due("desk") == T0 + CLAIM
    again = other.claim("desk", now=T0 + CLAIM)
    assert (again.id, again.attempts, again.maybe_sent) == (row.id, 2, True)


def test_ones_own_claim_does_not_end(two):
    """Its thread still books: what the state file kept it from booking must not go out again."""
    one, _ = two
    see(one, "900", T0)
    row = one.claim("desk", now=T0)
    assert one.claim("desk", now=T0 + 2 * CLAIM) is None
    assert one.next_due("desk") is None
    one.mark_sent(row, reason="ok", now=T0 + 2 * CLAIM)
    assert one.receiver_statuses()["desk"].sent == 1


@pytest.mark.parametrize("verdict", ["sent", "dead", "retry", "simplified"])
def test_a_result_is_booked_only_on_the_claim_that_made_it(two, verdict):
    one, other = two
    see(one, "900", T0)
    late = one.claim("desk", now=T0)
    later = T0 + CLAIM
    row = other.claim("desk", now=later)
    if verdict == "retry":
        one.mark_retry(late, reason="down", next_at=later, maybe_sent=False)
    else:
        getattr(one, f"mark_{verdict}")(late, reason="late", now=later)
    assert one.claim("desk", now=later) is None  # the other's claim stands
    other.mark_sent(row, reason="ok", now=later)
    assert one.receiver_statuses()["desk"].sent == 1


def test_recovering_leaves_ones_own_claims_alone(two):
    one, other = two
    see(one, "900", T0)
    row = one.claim("desk", now=T0)
    assert one.recover() == 0
    assert other.recover() == 1
    assert other.claim("desk", now=T0).id == row.id


def test_a_claim_from_a_clock_set_back_has_ended(two):
    one, other = two
    see(one, "900", T0)
    one.claim("desk", now=T0 + timedelta(hours=3))
    assert other.next_due("desk", now=T0) < T0
    assert other.claim("desk", now=T0).maybe_sent


def test_a_message_whose_claim_ended_too_late_is_dead(two):
    one, other = two
    see(one, "900", T0)
    one.claim("desk", now=T0 + timedelta(hours=23, minutes=55))
    assert other.claim("desk", now=T0 + timedelta(hours=24)) is None
    assert other.receiver_statuses()["desk"].pending == 1
    assert other.claim("desk", now=T0 + timedelta(hours=24, minutes=5)) is None
    assert other.receiver_statuses()["desk"].dead == 1


def test_a_message_that_cannot_be_read_is_dead_and_holds_up_no_other(store):
    see(store, "900", T0)
    with store._database.transaction() as connection:
        connection.execute("UPDATE outbox SET notification = '{}'")
    see(store, "200", T0 + S)
    assert reasons(store.claim("desk", now=T0 + S)) == ["escalated"]
    assert store.failing_receivers(now=T0 + S, overdue=5 * M) == {
        "desk": "1 given up, the last with: the stored message cannot be read "
        "(Notification: receiver: Field required)"
    }
