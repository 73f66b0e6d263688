"""What one evaluation of an account does besides judging."""

from __future__ import annotations

from dataclasses import replace

from alerting.display import Display, Grouping
from alerting.engine.feeds import POSITIONS, Scope
from alerting.engine.model import AccountState
from alerting.engine.snapshot import PollFailure, Snapshot
from alerting.redaction import Redactor
from alerting.service import cycle
from tests.support.factories import (
    T0,
    M,
    S,
    make_route,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_threshold,
    make_wallet,
)
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


def test_the_log_writes_numbers_as_messages_do(rig, caplog):
    caplog.set_level("INFO", logger="alerting")
    half = make_threshold(threshold="0.5")
    share = make_rule("share", "total_available_balance / 2000", half, percent=True)
    work = rig(make_ruleset(LADDER, share), desk=FakeNotifier())
    work.cycle.display = Display(grouping=Grouping.THOUSANDS)
    work.cycle.judge(poll_of(seen("999.9")))
    assert "share main/USDT: warning inactive -> firing (breach), value 49.995%" in caplog.text
    work.cycle.judge(poll_of(seen("1999.9")))
    assert "firing -> resolved (clear), value 1,999.9" in caplog.text
    assert work.cycle.dispatcher.drain(seconds=5)
    work.cycle.dispatcher.stop()


# ── what left the rules file ────────────────────────────────────────────────

ELSEWHERE = make_ruleset(LADDER, accounts=("other",))


def evaluated(work):
    return work.store.evaluations()["main"]


def test_an_account_that_left_is_forgotten_once_and_begins_anew_when_it_comes_back(rig):
    """It may be another wallet by then: nothing of the old one makes it suspect or blind."""
    desk = FakeNotifier()
    work = rig(desk=desk)
    usual = work.cycle.ruleset
    both = make_snapshot(make_wallet("2000"), make_wallet("2000", base_asset="INR"))
    work.cycle.judge(poll_of(both))
    work.cycle.ruleset = ELSEWHERE
    work.clock.now += S
    work.cycle.forget_removed()
    assert work.store.memory("main").account == AccountState(name="main")
    for _ in range(2):
        work.clock.now += 60 * M
        work.cycle.forget_removed()
        assert evaluated(work) == T0 + S
    work.cycle.ruleset = usual
    work.once(main=FakePoller(seen("2000")))
    assert (desk.sent, work.store.memory("main").alerts) == ([], {})


def test_the_end_of_a_removed_account_waits_for_a_removed_receiver_and_makes_no_work(rig):
    phone = FakeNotifier()
    both = make_ruleset(LADDER, receivers=("desk", "phone"), routes=(make_route("desk", "phone"),))
    work = rig(both, desk=FakeNotifier(), phone=phone)
    work.once(main=FakePoller(seen("900")))
    work.cycle.ruleset = ELSEWHERE
    for _ in range(3):
        work.clock.now += 60 * M
        work.cycle.forget_removed()
    assert evaluated(work) == T0 + 60 * M
    work.store.close()
    back = make_ruleset(LADDER, accounts=("other",), receivers=("desk", "phone"))
    work = rig(back, work.clock, desk=FakeNotifier(), phone=phone)
    work.once(other=FakePoller(seen("2000", "other")))
    assert ["RESOLVED" in message.title for message in phone.sent] == [False, True]
    assert work.store.memory("main").alerts == {}


def test_what_was_told_of_the_program_waits_for_a_removed_receiver_without_work(rig):
    both = make_ruleset(LADDER, receivers=("desk", "phone"), routes=(make_route("phone"),))
    work = rig(both, desk=FakeNotifier(), phone=FakeNotifier())
    work.cycle.config_error = "wrong"
    work.cycle.judge_program()
    assert work.cycle.dispatcher.drain(seconds=5)
    work.cycle.config_error = None
    work.cycle.ruleset = make_ruleset(LADDER)
    for _ in range(3):
        work.clock.now += 60 * M
        work.cycle.judge_program()
    assert not work.cycle._program_open


def near():
    return make_rule("near", "position_size", make_threshold(), scope=Scope.POSITION)


def test_a_mistake_while_judging_positions_is_a_failed_poll_of_theirs(rig, monkeypatch):
    work = rig(make_ruleset(near(), LADDER), desk=FakeNotifier())
    original = work.cycle.judge

    def broken(poll):
        if not isinstance(poll.outcome, PollFailure):
            raise ZeroDivisionError
        original(poll)

    monkeypatch.setattr(work.cycle, "judge", broken)
    work.cycle.keep_history = 9 * M
    snapshot = Snapshot(account="main", feed=POSITIONS, observed_at=T0)
    poll = replace(poll_of(snapshot, "{}"), feed=POSITIONS, beside={"instruments": "rates"})
    work.cycle.judge_safely(poll)
    account = work.store.memory("main").account
    assert account.feed(POSITIONS).poll_failures == 1
    assert account.feed("wallet").poll_failures == 0
    assert [(p.feed, p.body) for p in work.store.history()] == [
        ("instruments", "rates"),
        ("positions", None),
    ]


def test_keys_are_masked_in_what_is_recorded_of_every_page(rig, monkeypatch):
    redactor = Redactor()
    monkeypatch.setattr(cycle, "REDACTOR", redactor)
    key = "0123456789abcdef" * 4
    redactor.learn_key(key)
    work = rig(make_ruleset(near(), LADDER), desk=FakeNotifier())
    work.cycle.keep_history = 9 * M
    snapshot = Snapshot(account="main", feed=POSITIONS, observed_at=T0)
    poll = replace(
        poll_of(snapshot, f'{{"a": "{key}"}}'),
        feed=POSITIONS,
        beside={"instruments": f"i {key}", "transactions": f"t {key.upper()}"},
    )
    work.cycle.judge(poll)
    assert [p.body for p in work.store.history()] == ["i ***", "t ***", '{"a": "***"}']
