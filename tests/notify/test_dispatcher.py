"""From the outbox to the receivers: verdicts, retries, order, independence."""

from __future__ import annotations

import functools
import random
import threading
import time
from datetime import timedelta

import pytest

from alerting.engine import evaluation
from alerting.errors import AlertingError, StoreError
from alerting.loops import Loops
from alerting.messages.formats import Format
from alerting.messages.rendering import Renderer
from alerting.notify.dispatcher import RETRIES, Dispatcher, ReceiverWorker, Retries
from alerting.notify.receivers import Attempt, SendOutcome
from alerting.notify.settings import ReceiverSettings
from alerting.redaction import Secret
from alerting.store.state import Store
from tests.support.factories import (
    CRITICAL,
    T0,
    WARNING,
    M,
    S,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_threshold,
    make_wallet,
)
from tests.support.fakes import (
    ACCEPTED,
    BUSY,
    DOWN,
    REFUSED,
    TIMED_OUT,
    UNREADABLE,
    FakeClock,
    FakeMonotonic,
    FakeNotifier,
)

RULESET = make_ruleset(
    make_rule(
        "floor",
        "total_available_balance",
        make_threshold(WARNING, "1000"),
        make_threshold(CRITICAL, "250"),
    ),
    receivers=("desk", "phone"),
)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "alerting.db")
    yield store
    store.close()


def see(store, available, at):
    outcome = make_snapshot(make_wallet(available), at=at)
    store.evaluate("main", functools.partial(evaluation.evaluate, RULESET, outcome=outcome, now=at))


def worker(store, notifier, clock, name="desk"):
    def build(receiver):
        if isinstance(notifier, Exception):
            raise notifier
        return notifier() if callable(notifier) else notifier

    return ReceiverWorker(
        ReceiverSettings(name=name, url=Secret("json://127.0.0.1/")),
        store=store,
        renderer=Renderer(overrides=None),
        build=build,
        clock=clock,
        rng=random.Random(1),
    )


def counts(store, name="desk"):
    status = store.receiver_statuses()[name]
    return {"pending": status.pending, "sent": status.sent, "dead": status.dead}


def only(**expected):
    return {"pending": 0, "sent": 0, "dead": 0} | expected


@pytest.mark.parametrize(
    ("attempt", "expected"),
    [
        pytest.param(ACCEPTED, only(sent=1), id="accepted"),
        pytest.param(REFUSED, only(dead=1), id="permanent"),
        pytest.param(DOWN, only(pending=1), id="transient"),
        pytest.param(TIMED_OUT, only(pending=1), id="unknown"),
        pytest.param(BUSY, only(pending=1), id="told-to-wait"),
        pytest.param(UNREADABLE, only(pending=1), id="payload-refused"),
    ],
)
def test_an_attempt_is_booked_as(store, attempt, expected):
    see(store, "900", T0)
    worker(store, FakeNotifier(attempt), FakeClock()).deliver_next()
    assert counts(store) == expected


def test_a_refused_payload_goes_once_more_as_plain_text_then_is_dead(store):
    see(store, "900", T0)
    notifier = FakeNotifier(UNREADABLE, UNREADABLE, ACCEPTED)
    desk = worker(store, notifier, FakeClock())
    while desk.deliver_next() is not None:
        pass
    assert counts(store) == only(dead=1)
    assert len(notifier.sent) == 2
    assert notifier.sent[0].body != notifier.sent[1].body


def test_after_an_unknown_verdict_the_message_says_possible_repeat(store):
    see(store, "900", T0)
    clock = FakeClock()
    notifier = FakeNotifier(TIMED_OUT)
    desk = worker(store, notifier, clock)
    desk.deliver_next()
    clock.now += M
    desk.deliver_next()
    assert ["possible repeat" in m.title for m in notifier.sent] == [False, True]


def test_after_a_transient_one_it_does_not(store):
    see(store, "900", T0)
    clock = FakeClock()
    notifier = FakeNotifier(DOWN)
    desk = worker(store, notifier, clock)
    desk.deliver_next()
    clock.now += M
    desk.deliver_next()
    assert ["possible repeat" in m.title for m in notifier.sent] == [False, False]


def test_retries_come_at_growing_jittered_delays(store):
    see(store, "900", T0)
    clock = FakeClock()
    notifier = FakeNotifier(*[DOWN] * 10)
    desk = worker(store, notifier, clock)
    delays = []
    for _ in range(10):
        assert desk.deliver_next() is not None
        delays.append((store.next_due("desk") - clock.now) / S)
        clock.now = store.next_due("desk")
    nominal = [5, 10, 20, 40, 80, 160, 300, 300, 300, 300]
    assert all(0.8 * n <= d <= 1.2 * n for d, n in zip(delays, nominal, strict=True))
    assert len(set(delays)) == 10


def test_the_delay_that_the_service_asked_for_is_kept_exactly_for_the_receiver(store):
    see(store, "900", T0)
    clock = FakeClock()
    desk = worker(store, FakeNotifier(BUSY), clock)
    desk.deliver_next()
    assert store.next_due("desk") == T0 + 17 * S
    clock.now = T0 + 16.9 * S
    assert desk.deliver_next() is None
    clock.now = T0 + 17 * S
    assert desk.deliver_next().attempt is ACCEPTED


def test_after_deliver_within_it_is_dead(store):
    see(store, "900", T0)
    clock = FakeClock()
    desk = worker(store, FakeNotifier(*[DOWN] * 999), clock)
    while desk.deliver_next() is not None:
        clock.now = store.next_due("desk")
    assert counts(store) == only(dead=1)
    assert timedelta(hours=23, minutes=50) < clock.now - T0 < timedelta(hours=24, minutes=10)


def test_a_thread_that_was_replaced_goes_on_with_the_sender_that_it_had(store):
    """Only slow, it goes on after another took its message up; what it sends then is sent."""

    class Slow(FakeNotifier):
        @property
        def format(self):
            sender.take_up()
            return Format.TEXT

    see(store, "900", T0)
    notifier = Slow()
    sender = worker(store, notifier, FakeClock())
    assert sender.deliver_next().attempt == ACCEPTED
    assert len(notifier.sent) == 1


def test_a_receiver_that_could_never_work_is_dead_at_once(store):
    see(store, "900", T0)
    result = worker(store, AlertingError("unknown service"), FakeClock()).deliver_next()
    assert result.attempt.reason == "unknown service"
    assert counts(store) == only(dead=1)


# ── threads ─────────────────────────────────────────────────────────────────


def wait_until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def dispatcher(store, clock=None, retries=RETRIES, loops=None, on_state=None, **notifiers):
    clock = clock or FakeClock()
    workers = {n: worker(store, notifier, clock, n) for n, notifier in notifiers.items()}
    on_state = on_state or (lambda _what, _error: None)
    return Dispatcher(
        workers, store=store, clock=clock, retries=retries, loops=loops, on_state=on_state
    )


def test_a_hanging_receiver_delays_no_other(store):
    hanging, healthy = FakeNotifier(), FakeNotifier()
    hanging.gate.clear()
    work = dispatcher(store, desk=hanging, phone=healthy)
    for number in range(5):
        see(store, "900" if number % 2 == 0 else "3000", T0 + number * S)
        work.wake()
    wait_until(lambda: len(healthy.sent) == 5)
    assert hanging.sent == []
    work.stop()
    started = time.monotonic()
    assert work.drain(seconds=0.1) is False
    assert time.monotonic() - started < 1
    hanging.gate.set()
    assert work.drain(seconds=5) is True


def test_each_receivers_messages_of_an_alert_arrive_in_order(store):
    notifier = FakeNotifier()
    work = dispatcher(store, desk=notifier, phone=FakeNotifier())
    notifier.gate.clear()
    for number, available in enumerate(["900", "200", "3000", "900", "3000"]):
        see(store, available, T0 + number * S)
        work.wake()
    notifier.gate.set()
    assert work.drain(seconds=5)
    words = [m.title.split()[0] + m.title.split()[1] for m in notifier.sent]
    assert ["RESOLVED" in m.title for m in notifier.sent] == [False, False, True, False, True], (
        words
    )
    work.stop()


def test_nothing_to_send_starts_no_thread(store):
    before = threading.active_count()
    dispatcher(store, desk=FakeNotifier(), phone=FakeNotifier()).wake()
    assert threading.active_count() == before


def test_a_mistake_in_a_notifier_is_an_unknown_verdict_and_not_the_end(store):
    class Broken(FakeNotifier):
        def send(self, message):
            raise ZeroDivisionError

    see(store, "900", T0)
    result = worker(store, Broken(), FakeClock()).deliver_next()
    assert result.attempt.reason == "internal error: ZeroDivisionError"
    assert counts(store) == only(pending=1)


def test_a_mistake_while_building_is_an_unknown_verdict_too(store):
    see(store, "900", T0)
    result = worker(store, MemoryError(), FakeClock()).deliver_next()
    assert result.attempt.reason == "internal error: MemoryError"
    assert counts(store) == only(pending=1)


def test_a_thread_that_cannot_be_started_is_started_by_the_next_wake(store, monkeypatch):
    notifier = FakeNotifier()
    work = dispatcher(store, desk=notifier, phone=FakeNotifier())
    see(store, "900", T0)

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        work.wake()
    work.wake()
    assert work.drain(seconds=5)
    assert len(notifier.sent) == 1
    work.stop()


def test_a_mistake_in_the_thread_does_not_end_it(store, monkeypatch):
    notifier = FakeNotifier()
    impatient = Retries(booking=timedelta(seconds=0.01))
    work = dispatcher(store, retries=impatient, desk=notifier, phone=FakeNotifier())
    claim, calls = store.claim, []

    def broken_once(receiver, *, now):
        calls.append(receiver)
        if len(calls) == 1:
            raise ZeroDivisionError
        return claim(receiver, now=now)

    monkeypatch.setattr(store, "claim", broken_once)
    see(store, "900", T0)
    work.wake()
    wait_until(lambda: len(notifier.sent) == 1)
    work.stop()
    assert work.drain(seconds=5)


def test_a_days_pause_is_an_hours(store):
    see(store, "900", T0)
    told_off = Attempt(outcome=SendOutcome.TRANSIENT, reason="429", retry_after=timedelta(days=1))
    worker(store, FakeNotifier(told_off), FakeClock()).deliver_next()
    assert store.next_due("desk") == T0 + timedelta(hours=1)


# ── threads, seen from outside ──────────────────────────────────────────────

IMPATIENT = Retries(booking=timedelta(seconds=0.01))


@pytest.mark.parametrize("error", [SystemExit, MemoryError, KeyboardInterrupt])
def test_whatever_a_library_raises_is_an_unknown_verdict(store, error):
    class Leaving(FakeNotifier):
        def send(self, message):
            raise error

    see(store, "900", T0)
    result = worker(store, Leaving(), FakeClock()).deliver_next()
    assert result.attempt.reason == f"internal error: {error.__name__}"
    assert counts(store) == only(pending=1)


def test_what_a_dead_thread_was_sending_goes_again_as_a_possible_repeat(store, monkeypatch):
    notifier, loops = FakeNotifier(), Loops()
    work = dispatcher(store, loops=loops, desk=notifier, phone=FakeNotifier())
    mark_sent, calls = store.mark_sent, []

    def dies_once(row, **more):
        calls.append(row)
        if row.receiver == "desk" and len([r for r in calls if r.receiver == "desk"]) == 1:
            raise SystemExit
        mark_sent(row, **more)

    monkeypatch.setattr(store, "mark_sent", dies_once)
    see(store, "900", T0)
    work.wake()
    wait_until(lambda: loops.look() == [] and len(notifier.sent) == 2)
    assert ["possible repeat" in message.title for message in notifier.sent] == [False, True]
    assert work.drain(seconds=5)
    assert counts(store) == only(sent=1)
    work.stop()


def test_a_send_that_hangs_is_left_behind_and_goes_again_as_a_possible_repeat(store):
    hanging, healthy = FakeNotifier(), FakeNotifier()
    hanging.gate.clear()
    made = iter([hanging, healthy])
    machine = FakeMonotonic()
    loops = Loops(monotonic=machine)
    work = dispatcher(store, loops=loops, desk=lambda: next(made), phone=FakeNotifier())
    see(store, "900", T0)
    work.wake()
    wait_until(lambda: store.receiver_statuses()["desk"].pending and store.next_due("desk") is None)
    machine.now += 119
    assert loops.look() == []
    machine.now += 1
    assert "receiver desk" in [trouble.name for trouble in loops.look()]
    wait_until(lambda: len(healthy.sent) == 1)
    assert "possible repeat" in healthy.sent[0].title
    hanging.gate.set()
    wait_until(lambda: loops.look() == [])
    assert work.drain(seconds=5)
    assert counts(store) == only(sent=1)
    work.stop()


def test_what_hangs_when_its_dispatcher_was_stopped_is_left_to_the_next_one(store):
    """A reload: the old thread holds its claim, and later messages would wait behind it."""
    hanging, machine = FakeNotifier(), FakeMonotonic()
    hanging.gate.clear()
    loops = Loops(monotonic=machine)
    old = dispatcher(store, loops=loops, desk=hanging, phone=FakeNotifier())
    see(store, "900", T0)
    old.wake()
    wait_until(lambda: store.receiver_statuses()["desk"].pending and store.next_due("desk") is None)
    old.stop()
    machine.now += 120
    loops.look()
    wait_until(lambda: store.next_due("desk") is not None)
    wait_until(lambda: loops.look() == [])
    healthy = FakeNotifier()
    new = dispatcher(store, loops=loops, desk=healthy, phone=FakeNotifier())
    new.wake()
    wait_until(lambda: len(healthy.sent) == 1)
    hanging.gate.set()
    new.stop()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        pytest.param(StoreError("disk I/O error"), "disk I/O error", id="store"),
        pytest.param(MemoryError(), "delivering to desk fails (MemoryError)", id="memory"),
    ],
)
def test_a_claim_that_fails_for_the_senders_only_is_told(store, monkeypatch, error, said):
    states, claim, broken = [], store.claim, threading.Event()
    broken.set()

    def breaks(receiver, *, now):
        if broken.is_set():
            raise error
        return claim(receiver, now=now)

    monkeypatch.setattr(store, "claim", breaks)
    notifier = FakeNotifier()
    work = dispatcher(
        store,
        retries=IMPATIENT,
        on_state=lambda what, error: states.append((what, error and str(error))),
        desk=notifier,
        phone=FakeNotifier(),
    )
    see(store, "900", T0)
    work.wake()
    wait_until(lambda: ("receiver desk", said) in states)
    broken.clear()
    wait_until(lambda: ("receiver desk", None) in states)
    assert len(notifier.sent) == 1
    work.stop()
