"""The guard: what it has told, and what others tell better."""

from __future__ import annotations

import pytest

from alerting.loops import Duty, Loops
from alerting.service.guard import MAIN, Guard
from tests.support.fakes import FakeMonotonic
from tests.support.waiting import wait_until


class Watched:
    """Loops of all duties on a clock that is moved, and what the guard had told."""

    def __init__(self):
        self.machine, self.told = FakeMonotonic(), []
        self.loops = Loops(monotonic=self.machine)
        self.guard = Guard(self.loops, tell=self.tell, every=0.01)
        duties = {"account": Duty.JUDGE, MAIN: Duty.DELIVER, "receiver": Duty.DELIVER}
        duties["heartbeat"] = Duty.SHOW
        self.pulses = {
            name: self.loops.pulse(name, duty=duty, patience=10) for name, duty in duties.items()
        }

    def tell(self, what, error, *, duty, lasting):
        self.told.append((what, duty if error else None, lasting))

    def hang(self, *names):
        for name in names:
            self.pulses[name].begin()
        self.machine.now += 20
        self.guard.look()
        return [(what, duty) for what, duty, _ in self.told]


@pytest.fixture
def watched():
    return Watched()


@pytest.mark.parametrize(
    ("hanging", "told"),
    [
        pytest.param(["account"], [], id="the-main-loop-judges-it-blind"),
        pytest.param(["heartbeat"], [], id="whoever-watches-the-heartbeat"),
        pytest.param(["receiver"], [("receiver", Duty.DELIVER)], id="receiver"),
        pytest.param(
            [MAIN, "account"],
            [("account", Duty.JUDGE), (MAIN, Duty.DELIVER)],
            id="main-and-account",
        ),
    ],
)
def test_what_nobody_else_can_tell_is_told(watched, hanging, told):
    assert sorted(watched.hang(*hanging), key=str) == sorted(told, key=str)


def test_that_it_gets_on_again_is_told_once(watched):
    watched.hang(MAIN)
    watched.pulses[MAIN].done()
    for _ in range(3):
        watched.guard.look()
    assert watched.told == [(MAIN, Duty.DELIVER, 20.0), (MAIN, None, 0.0)]


def test_a_guard_that_dies_is_started_again_by_who_looks_at_it(watched):
    tells = []

    def tell(*args, **more):
        tells.append(args)
        if len(tells) == 1:
            raise SystemExit

    guard = Guard(watched.loops, tell=tell, every=0.01)
    watched.pulses["receiver"].begin()
    watched.machine.now += 20
    guard.start()
    wait_until(lambda: tells and not guard._loop.running)
    names = [trouble.name for trouble in watched.loops.look()]
    assert names == ["receiver", "the guard"]
    wait_until(lambda: len(tells) > 1)
    guard.stop()
