"""A wall clock that jumps ages nothing, hides nothing and destroys nothing."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from alerting.engine.model import Silence
from alerting.engine.rules import Flapping
from tests.support.factories import (
    CRITICAL,
    T0,
    WARNING,
    M,
    S,
    make_route,
    make_rule,
    make_ruleset,
    make_threshold,
)
from tests.support.time_machine import Desk, Machine, Program

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RULES = make_ruleset(
    make_rule(
        "floor",
        "total_available_balance",
        make_threshold(WARNING, "1000", for_=30, keep=30),
        make_threshold(CRITICAL, "250"),
    ),
    routes=(make_route("desk", repeat=900),),
    blind_after=130,
)
#: what the wallet has at each poll, and (with a letter) how the desk is from then on
SCRIPT = (
    "1500 1500 900 900 900 900 _ 900 900 200d 200 200 200 1500 1500 1500 1500u 1500 "
    "900 900 900 1500d 1500 1500 1500 1500 1500u _ _ _ _ _ _ _ _ _ _ _ _ 1500 1500 "
    + "200 " * 70
    + "1500 " * 10
).split()


class Timeline:
    """The script, lived through on a machine whose clock is set by `jumps`: {poll: off}."""

    def __init__(self, path, *, cron, jumps=None, ruleset=RULES, interval=15):
        self.machine = Machine()
        self.desk = Desk(self.machine)
        self.program = Program(path, self.machine, ruleset, cron=cron, desk=self.desk)
        self.interval = interval
        for number, token in enumerate(SCRIPT):
            self.machine.off = (jumps or {}).get(number, self.machine.off)
            self.desk.up = "d" not in token and ("u" in token or self.desk.up)
            self.program.poll(token.strip("du"), interval=interval * S)
            self.program.wait(interval, step=1 if not cron else interval)
        #: the same but for the instants in it, which are by the clock
        self.told = [(at, title.partition("(")[0]) for at, title in self.desk.took]
        self.polls = self.program.history()
        self.program.end()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return {
        cron: Timeline(folder / f"{cron}.db", cron=cron, interval=60 if cron else 15)
        for cron in (False, True)
    }


@pytest.mark.parametrize("cron", [False, True], ids=["daemon", "cron"])
@pytest.mark.parametrize("seed", range(8))
def test_random_jumps_change_nothing(tmp_path, undisturbed, cron, seed):
    """Short and long, there and back, for a moment or for good: told is what would have been."""
    rng = random.Random(seed)
    sizes = [20 * S, -20 * S, 90 * S, -90 * S, HOUR, -HOUR, 2 * DAY, -2 * DAY, 400 * DAY, -3 * DAY]
    jumps = {}
    for place in sorted(rng.sample(range(len(SCRIPT)), 8)):
        jumps[place] = rng.choice(sizes)
        if rng.random() < 0.6:
            jumps[place + rng.choice([1, 1, 2, 5])] = timedelta(0)
    whole = undisturbed[cron]
    lived = Timeline(tmp_path / "state.db", cron=cron, jumps=jumps, interval=whole.interval)
    assert lived.told == whole.told
    assert lived.desk.tried == whole.desk.tried
    assert lived.polls == whole.polls == len(SCRIPT)


def test_what_the_undisturbed_run_tells(undisturbed):
    for timeline in undisturbed.values():
        titles = " ".join(title for _, title in timeline.desk.took)
        for word in ("WARNING", "CRITICAL", "RESOLVED", "blind"):
            assert word in titles


@pytest.fixture
def live(tmp_path):
    """A program on a machine of its own, and the desk; ended afterwards."""
    programs = []

    def make(ruleset=RULES, *, cron=False):
        machine = Machine()
        desk = Desk(machine)
        program = Program(tmp_path / "state.db", machine, ruleset, cron=cron, desk=desk)
        programs.append(program)
        return program

    yield make
    for program in programs:
        program.end()


SIMPLE = make_ruleset(
    make_rule("floor", "total_available_balance", make_threshold(WARNING, "1000")),
    routes=(make_route("desk", repeat=900),),
)


@pytest.mark.parametrize("off", [-HOUR, 2 * DAY, -10 * M], ids=str)
@pytest.mark.parametrize("back_after", [7, 60, 1000])
def test_a_retry_waits_no_longer_and_a_waiting_resolved_is_not_buried(live, off, back_after):
    program = live(SIMPLE)
    machine, desk = program.machine, program.desk
    program.poll("900", interval=15 * S)
    program.wait(15)
    desk.up = False
    program.poll("1500", interval=15 * S)
    machine.off = off
    program.wait(back_after)
    machine.off = timedelta(0)
    program.wait(600)
    desk.up = True
    program.wait(400)
    gaps = [after - before for before, after in zip(desk.tried[1:], desk.tried[2:], strict=False)]
    assert max(gaps) <= 361
    assert ["RESOLVED" in title for _, title in desk.took] == [False, True]
    assert not any("-" in text.partition(" after ")[2] for text in desk.texts)


@pytest.mark.parametrize("reboot", [False, True])
@pytest.mark.parametrize("off", [HOUR, 6 * HOUR])
def test_a_clock_set_back_before_a_new_process_delays_no_retry(live, off, reboot):
    program = live(SIMPLE)
    program.desk.up = False
    program.poll("900", interval=15 * S)
    program.wait(30)
    program.end()
    program.machine.sleep(5)
    if reboot:
        program.machine.reboot()
    program.machine.off -= off
    tried = len(program.desk.tried)
    program.start()
    program.desk.up = True
    program.wait(25)
    assert len(program.desk.tried) == tried + 1
    assert program.desk.took


@pytest.mark.parametrize("reboot", [False, True])
def test_a_message_is_tried_for_a_while_after_the_machine_was_off(live, reboot):
    program = live(SIMPLE)
    program.desk.up = False
    program.poll("900", interval=15 * S)
    program.wait(30)
    program.end()
    program.machine.sleep(2 * 24 * 3600)
    if reboot:
        program.machine.reboot()
    program.start()
    program.wait(1800, step=5)
    assert program.store.receiver_statuses()["desk"].dead == 0
    program.desk.up = True
    program.wait(400, step=5)
    assert program.store.receiver_statuses()["desk"].sent == 1


def test_after_that_while_it_is_given_up(live):
    program = live(SIMPLE)
    program.desk.up = False
    program.poll("900", interval=15 * S)
    program.end()
    program.machine.sleep(2 * 24 * 3600)
    program.start()
    program.wait(2 * 3600, step=10)
    assert program.store.receiver_statuses()["desk"].dead == 1


@pytest.mark.parametrize("cycles", [1, 3])
@pytest.mark.parametrize("reboot", [False, True])
def test_cron_a_year_ahead_forgets_no_history(live, cycles, reboot):
    program = live(SIMPLE, cron=True)
    for _ in range(10):
        program.poll("1500")
        program.machine.sleep(60)
    program.machine.off = 365 * DAY
    for _ in range(cycles):
        if reboot:
            program.machine.reboot()
        program.poll("1500")
        program.machine.sleep(60)
    program.machine.off = timedelta(0)
    program.poll("1500")
    assert program.history() == 11 + cycles


def test_what_is_too_old_is_forgotten_by_a_clock_that_stands(live):
    program = live(SIMPLE, cron=True)
    program.poll("1500")
    for _ in range(40):
        program.machine.sleep(24 * 3600)
        program.poll("1500")
    assert 30 <= program.history() <= 34


def test_a_silence_ends_when_it_should(live):
    program = live(SIMPLE)
    program.store.add_silence(
        Silence(
            id=0, matchers={"rule": "*"}, starts_at=T0, ends_at=T0 + HOUR, author="me", reason="x"
        )
    )
    program.poll("900", interval=15 * S)
    program.machine.off = 2 * DAY
    program.wait(7)
    program.poll("900", interval=15 * S)
    program.wait(8)
    program.machine.off = timedelta(0)
    program.poll("900", interval=15 * S)
    assert program.desk.tried == []
    program.wait(3600, step=15)
    program.poll("900", interval=15 * S)
    assert len(program.desk.took) == 1


@pytest.mark.parametrize(
    ("off", "seconds"),
    [
        pytest.param(2 * DAY, 7, id="forward-for-a-moment"),
        pytest.param(2 * DAY, 1200, id="forward-for-long"),
        pytest.param(-HOUR, 1200, id="back-for-long"),
    ],
)
def test_repeats_come_neither_more_often_nor_later(live, off, seconds):
    program = live(SIMPLE)
    for second in range(0, 3600, 15):
        if second == 300:
            program.machine.off = off
        if second >= 300 + seconds:
            program.machine.off = timedelta(0)
        program.poll("900", interval=15 * S)
        program.wait(15, step=15)
    assert [at for at, _ in program.desk.took] == [0, 900, 1800, 2700]


@pytest.mark.parametrize("cron", [False, True])
def test_an_outage_settles_no_flapping(live, cron):
    rules = make_ruleset(
        make_rule("floor", "total_available_balance", make_threshold(WARNING, "1000")),
        flapping=Flapping(changes=4, within=10 * M),
    )
    program = live(rules, cron=cron)

    def see(tokens):
        for token in tokens.split():
            program.poll(token, interval=15 * S)
            program.machine.sleep(15)

    see("900 1500 " * 4)
    told = len(program.desk.took)
    see("_ " * 80 + "1500 900 1500 900 1500")
    floor = [title for _, title in program.desk.took[told:] if "floor" in title]
    assert floor == []
    see("1500 " * 45)
    floor = [title for _, title in program.desk.took[told:] if "floor" in title]
    assert ["RESOLVED" in title for title in floor] == [True]


@pytest.mark.parametrize(
    ("interval", "jitter", "polls", "for_", "cron"),
    [
        pytest.param(5, 0.15, 3, 10, False, id="latency-at-5s"),
        pytest.param(5, 2.5, 3, 10, False, id="slow-answers"),
        pytest.param(2, 0.9, 3, 4, False, id="short-intervals"),
        pytest.param(7, 3, 3, 14, False, id="odd-intervals"),
        pytest.param(60, 5, 3, 120, True, id="cron"),
        pytest.param(60, 5, 2, 60, True, id="cron-one-minute"),
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_jitter_does_not_decide_which_poll_fires(live, interval, jitter, polls, for_, cron, seed):
    """The daemon's answers are late by it, cron's starts are."""
    rng = random.Random(seed)
    rules = make_ruleset(
        make_rule("floor", "total_available_balance", make_threshold(WARNING, "1000", for_=for_)),
        blind_after=130,
    )
    program = live(rules, cron=cron)
    machine = program.machine
    for number in range(polls + 3):
        late = rng.uniform(0, jitter)
        machine.passed = (number * interval + late) * S
        value = "1500" if number < 3 else "900"
        program.poll(value, interval=interval * S, due=None if cron else number * interval * S)
        assert len(program.desk.tried) == (number == polls + 2), number
