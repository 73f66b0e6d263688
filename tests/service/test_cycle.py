"""The two ways to run: one cycle for cron, and the daemon's loop."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest

from alerting.config.settings import PollSettings
from alerting.engine.model import FailureKind, PollFailure
from alerting.messages.rendering import Renderer
from alerting.notify.dispatcher import Dispatcher, ReceiverWorker
from alerting.notify.settings import ReceiverSettings
from alerting.redaction import Secret
from alerting.service.cycle import Cycle, Daemon, align_to_schedule, next_due, run_once
from alerting.store.state import Store
from tests.support.factories import (
    CRITICAL,
    T0,
    WARNING,
    S,
    make_route,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_threshold,
    make_wallet,
)
from tests.support.fakes import (
    DOWN,
    REFUSED,
    FakeClock,
    FakeNotifier,
    FakePoller,
    FakeSystemd,
    poll_of,
)

LADDER = make_rule(
    "floor",
    "total_available_balance",
    make_threshold(WARNING, "1000"),
    make_threshold(CRITICAL, "250"),
)


def seen(available, account="main"):
    return make_snapshot(make_wallet(available), account=account)


def failed(account="main"):
    return PollFailure(account=account, kind=FailureKind.NETWORK, text="no route to host")


class Rig:
    """Store, dispatcher and cycle on fakes."""

    def __init__(self, path, notifiers, ruleset, clock=None):
        self.store = Store(path)
        self.clock = clock or FakeClock()
        self.results = []
        workers = {
            name: ReceiverWorker(
                ReceiverSettings(name=name, url=Secret("json://127.0.0.1/")),
                store=self.store,
                renderer=Renderer(overrides=None),
                build=lambda receiver: notifiers[receiver.name],
                clock=self.clock,
            )
            for name in notifiers
        }
        dispatcher = Dispatcher(
            workers, store=self.store, clock=self.clock, on_result=self.results.append
        )
        self.cycle = Cycle(
            ruleset=ruleset, store=self.store, dispatcher=dispatcher, clock=self.clock
        )

    def once(self, **pollers):
        return run_once(self.cycle, pollers, self.results)


@pytest.fixture
def rig(tmp_path):
    rigs = []

    def make(ruleset=None, clock=None, **notifiers):
        rig = Rig(tmp_path / "alerting.db", notifiers, ruleset or make_ruleset(LADDER), clock)
        rigs.append(rig)
        return rig

    yield make
    for rig in rigs:
        rig.store.close()


# ── one cycle ───────────────────────────────────────────────────────────────


def test_a_cycle_polls_judges_and_tells(rig):
    desk = FakeNotifier()
    result = rig(desk=desk).once(main=FakePoller(seen("900")))
    assert result.ok
    assert len(desk.sent) == 1


def test_a_failed_poll_makes_the_cycle_fail(rig):
    assert not rig(desk=FakeNotifier()).once(main=FakePoller(failed())).ok


@pytest.mark.parametrize("attempt", [DOWN, REFUSED], ids=["transient", "permanent"])
def test_a_failed_delivery_makes_the_cycle_fail(rig, attempt):
    assert not rig(desk=FakeNotifier(attempt)).once(main=FakePoller(seen("900"))).ok


def test_one_slow_account_delays_no_other(rig):
    desk = FakeNotifier()
    slow, quick = FakePoller(seen("2000", "slow")), FakePoller(seen("900", "quick"))
    slow.gate.clear()
    work = rig(make_ruleset(LADDER, accounts=("slow", "quick")), desk=desk)
    thread = threading.Thread(target=work.once, kwargs={"slow": slow, "quick": quick})
    thread.start()
    deadline = time.monotonic() + 5
    while not desk.sent and time.monotonic() < deadline:
        time.sleep(0.005)
    assert len(desk.sent) == 1
    slow.gate.set()
    thread.join()


def test_a_message_refused_for_good_is_told_to_the_others_in_the_same_cycle(rig):
    phone = FakeNotifier()
    ruleset = make_ruleset(LADDER, receivers=("desk", "phone"), routes=(make_route("desk"),))
    rig(ruleset, desk=FakeNotifier(REFUSED), phone=phone).once(main=FakePoller(seen("900")))
    assert ["delivery-failing" in m.title for m in phone.sent] == [True]


def test_the_alerts_of_a_removed_account_end(rig, tmp_path):
    desk = FakeNotifier()
    first = rig(desk=desk)
    first.once(main=FakePoller(seen("900")))
    first.store.close()
    rig(make_ruleset(LADDER, accounts=("other",)), desk=desk).once(
        other=FakePoller(seen("2000", "other"))
    )
    assert ["RESOLVED" in m.title for m in desk.sent] == [False, True]


def test_a_mistake_while_judging_holds_everything_and_becomes_blindness(rig, monkeypatch):
    desk = FakeNotifier()
    work = rig(make_ruleset(LADDER, blind_after=60), desk=desk)
    work.once(main=FakePoller(seen("900")))
    original = work.cycle.judge

    def broken(poll):
        if not isinstance(poll.outcome, PollFailure):
            raise ZeroDivisionError
        original(poll)

    monkeypatch.setattr(work.cycle, "judge", broken)
    for _ in range(2):
        work.clock.now += 60 * S
        work.cycle.judge_safely(poll_of(seen("2000")))
    alerts = {a.rule: a for a in work.store.memory("main").alerts.values()}
    assert set(alerts) == {"floor", "blind"}
    assert "internal error while judging: ZeroDivisionError" in alerts["blind"].detail


class BrokenPoller(FakePoller):
    """Fails in a way that a poller never should, now and then."""

    def poll(self):
        outcome = super().poll()
        if self.polls % 2:
            raise RuntimeError("can't start new thread")
        return outcome


def test_a_mistake_while_polling_is_a_failed_poll(rig):
    work = rig(desk=FakeNotifier())
    assert not work.once(main=BrokenPoller(seen("2000"))).ok
    assert "RuntimeError" in work.store.memory("main").account.last_error


def test_rare_polls_are_warned_about(rig, caplog):
    work = rig(make_ruleset(LADDER, blind_after=60), desk=FakeNotifier())
    for _ in range(2):
        work.cycle.judge(poll_of(seen("2000")))
        work.clock.now += 61 * S
    work.cycle.judge(poll_of(seen("2000")))
    assert caplog.text.count("does not count towards `for`") == 2


# ── the daemon ──────────────────────────────────────────────────────────────


def run_daemon(work, systemd=None, interval=0.05, **pollers):
    poll = PollSettings(interval=timedelta(seconds=interval), timeout=timedelta(seconds=1))
    daemon = Daemon(work.cycle, pollers, poll=poll, systemd=systemd or FakeSystemd())
    thread = threading.Thread(target=daemon.run)
    thread.start()
    return daemon, thread


def wait_until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def test_the_daemon_polls_on_and_tells_and_stops(rig):
    desk, systemd = FakeNotifier(), FakeSystemd()
    poller = FakePoller(seen("2000"), seen("900"), seen("900"), seen("200"))
    daemon, thread = run_daemon(rig(desk=desk), systemd, main=poller)
    wait_until(lambda: len(desk.sent) == 2)
    daemon.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert (systemd.said[0], systemd.said[-1]) == ("READY=1", "STOPPING=1")


def test_a_mistake_while_polling_does_not_end_the_thread(rig):
    poller = BrokenPoller(seen("2000"))
    daemon, thread = run_daemon(rig(desk=FakeNotifier()), main=poller)
    wait_until(lambda: poller.polls > 4)
    daemon.stop()
    thread.join(5)


def test_a_mistake_about_the_program_does_not_end_the_daemon(rig, monkeypatch):
    monkeypatch.setattr("alerting.service.cycle._MAIN_LOOP_SECONDS", 0.01)
    work, systemd = rig(desk=FakeNotifier()), FakeSystemd()
    monkeypatch.setattr(work.cycle, "judge_program", lambda: 1 / 0)
    daemon, thread = run_daemon(work, systemd, main=FakePoller(seen("2000")))
    wait_until(lambda: systemd.said.count("WATCHDOG=1") > 2)
    daemon.stop()
    thread.join(5)


def test_a_stop_does_not_wait_for_a_hanging_poll_and_counts_it_as_no_failure(rig):
    work, poller = rig(desk=FakeNotifier()), FakePoller(failed())
    poller.gate.clear()
    daemon, thread = run_daemon(work, main=poller)
    wait_until(lambda: poller.polls == 1)
    daemon.stop()
    thread.join(3)
    assert not thread.is_alive()
    assert poller.cancelled.is_set()
    assert work.store.memory("main").account.poll_failures == 0


def test_the_watchdog_is_fed_only_while_every_account_gets_on(rig, monkeypatch):
    monkeypatch.setattr("alerting.service.cycle._MAIN_LOOP_SECONDS", 0.01)
    work, systemd = rig(desk=FakeNotifier()), FakeSystemd()
    poller = FakePoller(seen("2000"))
    daemon, thread = run_daemon(work, systemd, main=poller)
    wait_until(lambda: "WATCHDOG=1" in systemd.said)
    poller.gate.clear()
    polls = poller.polls
    wait_until(lambda: poller.polls > polls)
    daemon._alive["main"] -= 3600
    time.sleep(0.05)
    fed = systemd.said.count("WATCHDOG=1")
    time.sleep(0.1)
    assert systemd.said.count("WATCHDOG=1") == fed
    daemon.stop()
    thread.join(5)


@pytest.mark.parametrize(
    ("due", "now", "expected"),
    [
        pytest.param(100.0, 100.4, 115.0, id="on-time"),
        pytest.param(100.0, 109.9, 115.0, id="a-slow-poll-does-not-drift"),
        pytest.param(100.0, 115.2, 130.0, id="a-missed-turn-is-left-out"),
        pytest.param(100.0, 1000.1, 1015.0, id="no-burst-after-a-stall"),
        pytest.param(100.0, 99.9, 115.0, id="a-hair-early"),
    ],
)
def test_the_next_turn(due, now, expected):
    assert next_due(due, 15.0, now) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param(15.02, 15, id="a-little-late"),
        pytest.param(14.97, 15, id="a-little-early"),
        pytest.param(15.4, 15.4, id="more-than-jitter"),
        pytest.param(0.49, 0.49, id="short-intervals-are-left-alone"),
        pytest.param(59.98, 60, id="cron"),
    ],
)
def test_jitter_does_not_decide_which_poll_meets_for(seconds, expected):
    assert align_to_schedule(T0 + timedelta(seconds=seconds), T0) == T0 + timedelta(
        seconds=expected
    )


def test_the_first_instant_is_as_it_is():
    assert align_to_schedule(T0 + 0.123 * S, None) == T0 + 0.123 * S


# ── both ways are the same ──────────────────────────────────────────────────


def test_daemon_and_cron_send_the_same_messages(tmp_path):
    """The same wallet, judged by one living process or by a new one for each step."""
    wallet = ["2000", "900", "900", "200", "900", "_", "_", "2000", "2000", "200", "2000"]
    outcomes = [failed() if token == "_" else seen(token) for token in wallet]
    ruleset = make_ruleset(LADDER, routes=(make_route("desk", repeat=30),))
    told = []
    for mode in ("daemon", "cron"):
        clock, desk = FakeClock(), FakeNotifier()
        work = Rig(tmp_path / f"{mode}.db", {"desk": desk}, ruleset, clock)
        for number, outcome in enumerate(outcomes):
            clock.now = T0 + number * 15 * S
            if mode == "cron":
                work.once(main=FakePoller(outcome))
                work.store.close()
                work = Rig(tmp_path / f"{mode}.db", {"desk": desk}, ruleset, clock)
            else:
                work.cycle.judge(poll_of(outcome))
                assert work.cycle.dispatcher.drain(seconds=5)
        work.cycle.dispatcher.stop()
        work.store.close()
        told.append([(m.title, m.body) for m in desk.sent])
    assert told[0] == told[1]
    assert len(told[0]) > 5
