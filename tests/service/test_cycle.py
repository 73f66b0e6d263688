"""What one evaluation of an account does besides judging."""

from __future__ import annotations

from alerting.engine.model import PollFailure
from tests.support.factories import S, make_ruleset
from tests.support.fakes import FakeNotifier, FakePoller, poll_of
from tests.support.rig import LADDER, seen


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


def test_rare_polls_are_warned_about(rig, caplog):
    work = rig(make_ruleset(LADDER, blind_after=60), desk=FakeNotifier())
    for _ in range(2):
        work.cycle.judge(poll_of(seen("2000")))
        work.clock.now += 90 * S
    work.cycle.judge(poll_of(seen("2000")))
    assert caplog.text.count("does not count towards `for`") == 2
