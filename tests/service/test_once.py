"""One cycle for cron, and that the daemon sends the same."""

from __future__ import annotations

import threading

import pytest

from alerting.engine.model import Silence
from alerting.errors import LoopError
from tests.support.desk import wait_until
from tests.support.factories import T0, S, make_route, make_ruleset
from tests.support.fakes import DOWN, REFUSED, FakeClock, FakeNotifier, FakePoller, poll_of
from tests.support.rig import LADDER, BrokenPoller, Rig, failed, seen


def test_a_cycle_polls_judges_and_tells(rig):
    desk = FakeNotifier()
    result = rig(desk=desk).once(main=FakePoller(seen("900")))
    assert result.ok
    assert len(desk.sent) == 1


class SlowPoller(FakePoller):
    """Its answer takes seconds, by the clock."""

    def __init__(self, clock, *outcomes):
        super().__init__(*outcomes)
        self.clock = clock

    def poll(self):
        self.clock.now += 4 * S
        return super().poll()


def test_a_slow_answer_counts_for_when_the_cycle_began(rig):
    work = rig(desk=FakeNotifier())
    work.once(main=SlowPoller(work.clock, seen("2000")))
    assert work.store.memory("main").account.feed("wallet").last_snapshot_at == T0


def test_a_silence_that_was_made_while_the_answer_was_awaited_holds_at_once(rig):
    desk = FakeNotifier()
    work = rig(desk=desk)
    wish = Silence(
        id=0, matchers={"rule": "*"}, starts_at=T0 + S, ends_at=T0 + 60 * S, author="me", reason="x"
    )
    work.store.add_silence(wish)
    work.once(main=SlowPoller(work.clock, seen("900")))
    assert desk.sent == []


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
    wait_until(lambda: desk.sent)
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


def test_a_mistake_while_polling_is_a_failed_poll(rig):
    work = rig(desk=FakeNotifier())
    assert not work.once(main=BrokenPoller(seen("2000"))).ok
    assert "RuntimeError" in work.store.memory("main").account.feed("wallet").last_error


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


@pytest.mark.parametrize("error", [MemoryError, SystemExit])
def test_judging_that_fails_for_good_is_no_good_cycle(rig, monkeypatch, error):
    work = rig(desk=FakeNotifier())

    def fails(*_args, **_more):
        raise error

    monkeypatch.setattr(work.store, "evaluate", fails)
    with pytest.raises(LoopError, match=f"judging account main fails .{error.__name__}"):
        work.once(main=FakePoller(seen("900")))


def test_where_no_thread_is_to_be_had_the_accounts_are_read_one_after_the_other(rig, monkeypatch):
    start = threading.Thread.start

    def refuse(thread):
        if thread.name.startswith("account"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    desk = FakeNotifier()
    assert rig(desk=desk).once(main=FakePoller(seen("900"))).ok
    assert len(desk.sent) == 1
