"""The daemon's loop."""

from __future__ import annotations

import itertools
import threading
import time
from datetime import timedelta

import pytest

from alerting.cli import context
from alerting.config.settings import PollSettings
from alerting.loops import Loops
from alerting.service.daemon import OWN_ALERTS, Daemon, LoopSettings
from tests.support.desk import wait_until
from tests.support.factories import S
from tests.support.fakes import FakeMonotonic, FakeNotifier, FakePoller, FakeSystemd
from tests.support.rig import BrokenPoller, failed, seen

QUICK = LoopSettings(look_every=0.01, program_every=0.05)


def run_daemon(work, systemd=None, interval=0.05, loops=None, on_state=None, **pollers):
    poll = PollSettings(interval=timedelta(seconds=interval), timeout=timedelta(seconds=1))
    daemon = Daemon(
        work.cycle,
        pollers,
        poll=poll,
        systemd=systemd or FakeSystemd(),
        loop=QUICK,
        loops=loops,
        on_state=on_state or (lambda _what, _error: None),
    )
    thread = threading.Thread(target=daemon.run)
    thread.start()
    return daemon, thread


def test_the_daemon_polls_on_and_tells_and_stops(rig):
    desk, systemd = FakeNotifier(), FakeSystemd()
    poller = FakePoller(seen("2000"), seen("900"), seen("900"), seen("200"))
    daemon, thread = run_daemon(rig(desk=desk), systemd, main=poller)
    wait_until(lambda: len(desk.sent) == 2)
    daemon.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert (systemd.said[0], systemd.said[-1]) == ("READY=1", "STOPPING=1")


class LatePoller(FakePoller):
    """Its answers come late, now and then."""

    def poll(self):
        time.sleep((self.polls % 4) * 0.03)  # the latency itself
        return super().poll()


def test_a_poll_counts_for_the_instant_at_which_it_was_due(rig):
    work, poller = rig(desk=FakeNotifier(), clock=context.now), LatePoller(seen("2000"))
    judged = []
    original = work.cycle.judge
    work.cycle.judge = lambda poll: (judged.append(poll), original(poll))
    daemon, thread = run_daemon(work, interval=0.2, main=poller)
    wait_until(lambda: len(judged) > 8)
    daemon.stop()
    thread.join(5)
    between = [b.due - a.due for a, b in itertools.pairwise(judged)]
    off = [abs(gap / (0.2 * S) - round(gap / (0.2 * S))) for gap in between]
    # a machine that is busy may halt a thread between its two clocks
    assert sorted(off)[len(off) // 2] < 0.05
    assert {poll.interval for poll in judged} == {0.2 * S}


def test_a_mistake_while_polling_does_not_end_the_thread(rig):
    poller = BrokenPoller(seen("2000"))
    daemon, thread = run_daemon(rig(desk=FakeNotifier()), main=poller)
    wait_until(lambda: poller.polls > 4)
    daemon.stop()
    thread.join(5)


def test_a_mistake_about_the_program_does_not_end_the_daemon_and_is_told(rig, monkeypatch):
    work, systemd, told = rig(desk=FakeNotifier()), FakeSystemd(), {}
    monkeypatch.setattr(work.cycle, "judge_program", lambda: 1 / 0)
    daemon, thread = run_daemon(
        work, systemd, main=FakePoller(seen("2000")), on_state=told.__setitem__
    )
    wait_until(lambda: systemd.said.count("WATCHDOG=1") > 2)
    wait_until(lambda: told.get(OWN_ALERTS))
    assert str(told[OWN_ALERTS]) == ("judging the program's own alerts fails (ZeroDivisionError)")
    monkeypatch.undo()
    wait_until(lambda: told[OWN_ALERTS] is None)
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
    assert work.store.memory("main").account.feed("wallet").poll_failures == 0


def test_the_watchdog_is_fed_only_while_every_account_gets_on(rig):
    work, systemd, machine = rig(desk=FakeNotifier()), FakeSystemd(), FakeMonotonic()
    poller = FakePoller(seen("2000"))
    daemon, thread = run_daemon(work, systemd, loops=Loops(monotonic=machine), main=poller)
    wait_until(lambda: "WATCHDOG=1" in systemd.said)
    poller.gate.clear()
    polls = poller.polls
    wait_until(lambda: poller.polls > polls)
    machine.now += 3600
    wait_until(lambda: "account main" in daemon.stalled())
    time.sleep(0.05)
    fed = systemd.said.count("WATCHDOG=1")
    time.sleep(0.1)
    assert systemd.said.count("WATCHDOG=1") == fed
    poller.gate.set()
    wait_until(lambda: systemd.said.count("WATCHDOG=1") > fed)
    daemon.stop()
    thread.join(5)


# ── seen from outside ───────────────────────────────────────────────────────


@pytest.mark.parametrize("error", [MemoryError, SystemExit])
def test_a_poller_that_raises_anything_is_a_failed_poll(rig, error):
    class Raising(FakePoller):
        def poll(self):
            super().poll()
            raise error

    work, poller = rig(desk=FakeNotifier()), Raising(seen("2000"))
    daemon, thread = run_daemon(work, main=poller)
    wait_until(lambda: work.store.memory("main").account.feed("wallet").poll_failures > 2)
    assert error.__name__ in work.store.memory("main").account.feed("wallet").last_error
    daemon.stop()
    thread.join(5)


@pytest.mark.parametrize("error", [MemoryError, SystemExit])
def test_judging_that_fails_for_good_is_told_and_starves_the_watchdog(rig, monkeypatch, error):
    work, systemd, machine, told = rig(desk=FakeNotifier()), FakeSystemd(), FakeMonotonic(), []
    evaluate, broken = work.store.evaluate, threading.Event()
    broken.set()

    def fails(account, *args, **more):
        if broken.is_set():
            raise error
        return evaluate(account, *args, **more)

    monkeypatch.setattr(work.store, "evaluate", fails)
    daemon, thread = run_daemon(
        work,
        systemd,
        loops=Loops(monotonic=machine),
        on_state=lambda what, error: told.append((what, str(error))),
        main=FakePoller(seen("2000")),
    )
    wait_until(lambda: ("main", f"judging account main fails ({error.__name__})") in told)
    machine.now += 3600
    wait_until(lambda: "account main" in daemon.stalled())
    broken.clear()
    wait_until(lambda: told[-1] == ("main", "None"))
    wait_until(lambda: daemon.stalled() == [])
    daemon.stop()
    thread.join(5)


def test_an_account_whose_thread_hangs_is_judged_blind_by_the_main_loop(rig):
    desk, machine = FakeNotifier(), FakeMonotonic()
    work = rig(desk=desk)
    poller = FakePoller(seen("2000"))
    daemon, thread = run_daemon(work, loops=Loops(monotonic=machine), main=poller)
    wait_until(lambda: work.store.accounts().get("main"))
    poller.gate.clear()
    polls = poller.polls
    wait_until(lambda: poller.polls > polls)
    machine.now += 3600
    work.clock.now += 3600 * S
    wait_until(lambda: [m for m in desk.sent if "blind" in m.title])
    assert "has not got on for" in desk.sent[-1].title
    poller.gate.set()
    wait_until(lambda: [m for m in desk.sent if "RESOLVED" in m.title])
    daemon.stop()
    thread.join(5)


@pytest.mark.parametrize("error", [MemoryError, SystemExit, ZeroDivisionError])
def test_whatever_a_look_at_the_rules_file_raises_the_daemon_goes_on(rig, error):
    work, systemd = rig(desk=FakeNotifier()), FakeSystemd()

    def broken():
        raise error

    poll = PollSettings(interval=timedelta(seconds=0.05), timeout=timedelta(seconds=1))
    poller = FakePoller(seen("2000"))
    daemon = Daemon(
        work.cycle, {"main": poller}, poll=poll, systemd=systemd, loop=QUICK, reload=broken
    )
    thread = threading.Thread(target=daemon.run)
    thread.start()
    wait_until(lambda: poller.polls > 3 and systemd.said.count("WATCHDOG=1") > 2)
    daemon.stop()
    thread.join(5)
