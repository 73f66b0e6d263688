"""Single failures that no other test shows: each is told to somebody, or stops the heartbeat."""

from __future__ import annotations

import functools

import pytest

from alerting.engine.snapshot import FailureKind, PollFailure
from alerting.monitoring.heartbeat import obstacle
from tests.support.factories import S, make_route, make_ruleset
from tests.support.fakes import DOWN, REFUSED, FakeClock, FakeNotifier, FakePoller
from tests.support.rig import LADDER, Rig, seen


class Cron:
    """A new process's parts for each cycle, on one state file and one clock."""

    def __init__(self, path, ruleset, **notifiers):
        self._path, self._ruleset, self._notifiers = path, ruleset, notifiers
        self.clock = FakeClock()

    def cycle(self, outcome):
        work = self.open()
        work.once(main=FakePoller(outcome))
        work.store.close()
        self.clock.now += 60 * S

    def open(self):
        return Rig(self._path, self._notifiers, self._ruleset, self.clock)


@pytest.fixture
def cron(tmp_path):
    return functools.partial(Cron, tmp_path / "alerting.db")


@pytest.mark.parametrize("kind", FailureKind)
def test_whatever_keeps_the_wallet_from_being_read_is_told_as_blind(cron, kind):
    desk = FakeNotifier()
    work = cron(make_ruleset(LADDER, blind_after=120), desk=desk)
    work.cycle(seen("2000"))
    for _ in range(3):
        work.cycle(PollFailure(account="main", kind=kind, text="why it failed"))
    (message,) = desk.sent
    assert message.title.startswith("CRITICAL blind")
    assert "why it failed" in message.title


@pytest.mark.parametrize("attempt", [DOWN, REFUSED], ids=["down", "refusing"])
def test_a_receiver_that_takes_nothing_is_told_through_the_others(cron, attempt):
    desk, phone = FakeNotifier(*[attempt] * 99), FakeNotifier()
    ruleset = make_ruleset(
        LADDER, receivers=("desk", "phone"), routes=(make_route("desk", "phone"),)
    )
    work = cron(ruleset, desk=desk, phone=phone)
    for _ in range(7):
        work.cycle(seen("200"))
    assert any("delivery-failing" in message.title for message in phone.sent)


@pytest.mark.parametrize("attempt", [DOWN, REFUSED], ids=["down", "refusing"])
def test_where_every_receiver_takes_nothing_the_heartbeat_stops(cron, attempt):
    ruleset = make_ruleset(
        LADDER, receivers=("desk", "phone"), routes=(make_route("desk", "phone"),)
    )
    takes_nothing = {name: FakeNotifier(*[attempt] * 99) for name in ("desk", "phone")}
    work = cron(ruleset, **takes_nothing)
    began = work.clock.now
    for _ in range(7):
        work.cycle(seen("200"))
    store = work.open().store
    wrong = obstacle(ruleset, store, since=began, now=work.clock.now)
    store.close()
    assert "a notification is overdue or was given up" in str(wrong)


def test_a_stored_message_that_cannot_be_read_is_told_through_the_others(cron):
    desk, phone = FakeNotifier(DOWN), FakeNotifier()
    ruleset = make_ruleset(LADDER, receivers=("desk", "phone"), routes=(make_route("desk"),))
    work = cron(ruleset, desk=desk, phone=phone)
    work.cycle(seen("900"))
    store = work.open().store
    with store._database.transaction() as connection:
        connection.execute("UPDATE outbox SET notification = '[]'")
    store.close()
    work.cycle(seen("900"))
    work.cycle(seen("900"))
    assert ["delivery-failing" in message.title for message in phone.sent] == [True]
    assert "cannot be read" in phone.sent[0].body
