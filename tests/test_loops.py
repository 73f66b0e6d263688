"""Loops seen from outside: death, hanging, starting again, and what is over."""

from __future__ import annotations

import threading

import pytest

from alerting.loops import Duty, Loops
from tests.support.fakes import FakeMonotonic
from tests.support.waiting import wait_until

PATIENCE = 60.0


class Work:
    """A loop's work that does as the test says."""

    def __init__(self):
        self.runs = []
        self.gate = threading.Event()
        self.gate.set()
        self.fails = []

    def __call__(self, run):
        self.runs.append(run)
        while run.wanted:
            run.begin()
            if self.fails:
                raise self.fails.pop(0)
            self.gate.wait(10)
            run.done()
            threading.Event().wait(0.005)


@pytest.fixture
def machine():
    return FakeMonotonic()


@pytest.fixture
def started(machine):
    loops, made = Loops(monotonic=machine), []

    def start(work, **more):
        loop = loops.start("x", work, duty=Duty.DELIVER, patience=PATIENCE, **more)
        made.append((work, loop))
        return loops, loop

    yield start
    for work, loop in made:
        loop.end()
        work.gate.set()


def said(loops):
    return [str(trouble) for trouble in loops.look()]


@pytest.mark.parametrize(
    "error",
    [MemoryError(), SystemExit(0), KeyboardInterrupt(), GeneratorExit(), ZeroDivisionError()],
    ids=lambda error: type(error).__name__,
)
def test_whatever_kills_a_thread_is_named_and_it_starts_again(started, error):
    work = Work()
    work.fails = [error]
    loops, loop = started(work)
    wait_until(lambda: not loop.running)
    assert said(loops) == [f"x died ({type(error).__name__})"]
    wait_until(lambda: len(work.runs) == 2)
    wait_until(lambda: said(loops) == [])


def test_what_dies_again_and_again_is_started_more_and_more_rarely(started, machine):
    work = Work()
    work.fails = [MemoryError() for _ in range(50)]
    loops, loop = started(work)
    starts = []
    for _ in range(100):
        wait_until(lambda: not loop.running)
        assert said(loops) == ["x died (MemoryError)"]
        starts.append(len(work.runs))
        machine.now += 1
    wait_until(lambda: not loop.running)
    assert 5 < len(work.runs) < 20
    assert loops.look()[0].lasting >= 99


def test_a_turn_beyond_its_patience_hangs_and_its_end_ends_that(started, machine):
    work = Work()
    work.gate.clear()
    loops, loop = started(work)
    wait_until(lambda: loop._began is not None)
    machine.now += PATIENCE - 1
    assert said(loops) == []
    machine.now += 1
    assert said(loops) == ["x has not got on for 60 s"]
    work.gate.set()
    wait_until(lambda: said(loops) == [])


def test_a_hanging_thread_is_left_behind_where_that_can_be_done(started, machine):
    work = Work()
    work.gate.clear()
    loops, loop = started(work, replace=True)
    for number in range(1, 10):
        wait_until(lambda number=number: len(work.runs) >= min(number, 4))
        wait_until(lambda: loop._began is not None)
        machine.now += PATIENCE
        assert len(said(loops)) == 1
    # three hang, and a fourth: no more of them
    assert len(work.runs) == 4
    assert [run.wanted for run in work.runs] == [False, False, False, True]
    assert loops.look()[0].lasting >= 9 * PATIENCE
    work.gate.set()
    wait_until(lambda: said(loops) == [])


def test_what_was_left_behind_says_nothing_any_more(started, machine):
    work = Work()
    work.gate.clear()
    loops, loop = started(work, replace=True)
    wait_until(lambda: loop._began is not None)
    machine.now += PATIENCE
    loops.look()
    wait_until(lambda: len(work.runs) == 2)
    work.runs[0].done()
    assert said(loops) == ["x has not got on since it was started again"]


@pytest.mark.parametrize("how", ["returns", "dies"])
def test_what_becomes_of_a_thread_left_behind_is_nothing_to_the_loop(started, machine, how):
    work = Work()
    work.gate.clear()
    loops, loop = started(work, replace=True)
    wait_until(lambda: loop._began is not None)
    old = loop._thread
    machine.now += PATIENCE
    loops.look()
    wait_until(lambda: len(work.runs) == 2)
    if how == "dies":
        work.runs[0].begin = work.runs[0].done = lambda: 1 / 0
    work.gate.set()
    old.join(5)
    assert not old.is_alive()
    assert (loop.over, loop._deaths) == (False, 0)
    wait_until(lambda: said(loops) == [])


def test_a_thread_that_cannot_be_had_is_started_by_a_later_look(started, machine, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    work = Work()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        loops, _ = started(work)
        assert said(loops) == ["x died (can't start new thread)"]
    machine.now += 1
    wait_until(lambda: said(loops) == [])
    assert len(work.runs) == 1


def test_what_returned_or_was_ended_is_over(started):
    work = Work()
    loops, loop = started(work)
    wait_until(lambda: work.runs)
    loop.end()
    loop.join(5)
    assert said(loops) == []
    quick = loops.start("quick", lambda _: None, duty=Duty.SHOW, patience=1)
    quick.join(5)
    assert said(loops) == []
    assert not quick.running


def test_a_pulse_is_looked_at_until_it_is_forgotten(machine):
    loops = Loops(monotonic=machine)
    pulse = loops.pulse("main", duty=Duty.DELIVER, patience=5)
    assert said(loops) == []
    pulse.begin()
    machine.now += 5
    assert said(loops) == ["main has not got on for 5 s"]
    loops.forget(pulse)
    assert said(loops) == []


def test_a_turn_that_ends_while_it_is_looked_at_harms_nobody(machine, monkeypatch):
    loops = Loops(monotonic=machine)
    pulse = loops.pulse("main", duty=Duty.DELIVER, patience=PATIENCE)
    pulse.begin()
    machine.now += 2 * PATIENCE
    monkeypatch.setattr("alerting.loops.log.error", lambda *_: pulse.done())
    assert said(loops) == ["main has not got on for 120 s"]
    pulse.begin()
    pulse.done()
    assert said(loops) == []
