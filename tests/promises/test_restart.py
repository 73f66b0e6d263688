"""Promise 3: cutting a run at any point and going on from the store gives the same messages."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.cli.ack import acknowledge
from alerting.engine import evaluation
from alerting.engine.feeds import Scope
from alerting.engine.model import Direction, State
from alerting.engine.rules import Flapping
from alerting.store.state import Store
from tests.support.factories import (
    CRITICAL,
    T0,
    WARNING,
    make_failure,
    make_route,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_symbol,
    make_threshold,
    make_wallet,
)

STEP = timedelta(seconds=15)
RULESET = make_ruleset(
    make_rule(
        "floor",
        "total_available_balance",
        make_threshold(WARNING, "1000", clear="1100", for_=30, keep=30),
        make_threshold(CRITICAL, "250"),
    ),
    make_rule(
        "load",
        "blocked_balance / total_open_order_margin",
        make_threshold(WARNING, "5", for_=15),
        scope=Scope.SYMBOL,
        direction=Direction.ABOVE,
    ),
    routes=(
        make_route("desk", "phone", severity="critical", repeat=60),
        make_route("desk", repeat=120),
    ),
    receivers={"desk": True, "phone": False},
    blind_after=45,
)
LOOKING_BACK = (
    make_rule("fall", "delta(total_available_balance, 30s)", make_threshold(WARNING, "-500")),
    make_rule(
        "peak",
        "max_over_time(blocked_balance, 1m)",
        make_threshold(WARNING, "120", for_=15),
        scope=Scope.SYMBOL,
        direction=Direction.ABOVE,
    ),
)
RULESETS = (
    RULESET,
    replace(RULESET, rules=(*RULESET.rules, *LOOKING_BACK)),
    # and what is held back: an alert that goes up and down twice flaps
    replace(RULESET, flapping=Flapping(changes=2, within=8 * STEP)),
)

available = st.sampled_from(["90", "240", "900", "1050", "2000"])
outcomes = st.one_of(
    st.tuples(st.just("good"), available, st.sampled_from([None, "10", "400"])),
    st.tuples(st.just("suspect"), available, st.sampled_from([None, "400"])),
    st.tuples(st.just("failed"), st.just(""), st.none()),
)
#: where the process dies within a step
cuts = st.sampled_from([None, None, "before", "committed", "sending", "sent"])


def outcome_of(kind, value, blocked):
    if kind == "failed":
        return make_failure()
    override = {"total_balance": "1"} if kind == "suspect" else {}
    symbols = [] if blocked is None else [make_symbol(blocked=blocked)]
    return make_snapshot(make_wallet(value, position="10", orders="0", **override), symbols=symbols)


class Died(Exception):
    """The process is gone."""


class World:
    """A store on disk and receivers that accept everything; the process may die anywhere."""

    def __init__(self, folder, ruleset, acked):
        self.ruleset = ruleset
        #: the step before which somebody acknowledges all that fires
        self.acked = acked
        self.path = Path(folder) / "state.db"
        #: (receiver, notification, possible repeat)
        self.arrived = []
        self.store = Store(self.path)

    def step(self, number, outcome, cut):
        now = T0 + number * STEP
        if cut == "before":
            raise Died
        if number == self.acked:
            self.acknowledge(now)
        self.store.evaluate(
            "main", functools.partial(evaluation.evaluate, self.ruleset, outcome=outcome, now=now)
        )
        if cut == "committed":
            raise Died
        for receiver in RULESET.receivers:
            while (row := self.store.claim(receiver, now=now)) is not None:
                if cut == "sending":
                    raise Died
                self.arrived.append((receiver, row.notification, row.maybe_sent))
                if cut == "sent":
                    raise Died
                self.store.mark_sent(row, reason="ok", now=now)

    def acknowledge(self, now):
        for alert in self.store.memory("main").alerts.values():
            if alert.state is State.FIRING:
                acknowledge(self.store, alert, by="me", now=now)

    def restart(self):
        self.store.close()
        self.store = Store(self.path)
        self.store.recover()


def run(timeline, cut_at, ruleset, acked):
    with tempfile.TemporaryDirectory() as folder:
        world = World(folder, ruleset, acked)
        for number, outcome in enumerate(timeline):
            try:
                world.step(number, outcome, cut_at[number])
            except Died:
                world.restart()
                if cut_at[number] == "before":
                    world.step(number, outcome, None)
                else:  # the evaluation is committed: only delivery goes on
                    deliver_rest(world, number)
        world.store.close()
        return world.arrived


def deliver_rest(world, number):
    now = T0 + number * STEP
    for receiver in RULESET.receivers:
        while (row := world.store.claim(receiver, now=now)) is not None:
            world.arrived.append((receiver, row.notification, row.maybe_sent))
            world.store.mark_sent(row, reason="ok", now=now)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.tuples(outcomes, cuts), min_size=1, max_size=14),
    st.sampled_from(RULESETS),
    st.none() | st.integers(1, 9),
)
def test_dying_anywhere_changes_no_message(steps, ruleset, acked):
    timeline = [outcome_of(*outcome) for outcome, _ in steps]
    whole = run(timeline, [None] * len(steps), ruleset, acked)
    cut = run(timeline, [where for _, where in steps], ruleset, acked)
    unmarked = [(receiver, notification) for receiver, notification, repeat in cut]
    once = [entry for number, entry in enumerate(unmarked) if entry not in unmarked[:number]]
    assert once == [(receiver, notification) for receiver, notification, _ in whole]
    surplus = [cut[number] for number, entry in enumerate(unmarked) if entry in unmarked[:number]]
    assert all(repeat for _, _, repeat in surplus)


def test_what_was_told_is_compared_by_after_each_restart():
    """Every reason, with a kill in each step: up, eased, up anew, seen, up again, over."""
    values = ["900"] * 3 + ["90", "900", "90", "90", "900", "900"] + ["90"] * 6 + ["2000"] * 3
    timeline = [outcome_of("good", value, None) for value in values]
    for cut in ("before", "committed", "sent"):
        arrived = run(timeline, [cut] * len(values), RULESET, 6)
        told = [
            (notification.observed_at - T0) // STEP
            for receiver, notification, repeat in arrived
            if receiver == "desk" and not repeat
        ]
        reasons = [
            notification.reason.value
            for receiver, notification, repeat in arrived
            if receiver == "desk" and not repeat
        ]
        assert (told, reasons) == (
            [2, 3, 4, 5, 7, 9, 13, 15, 17],
            [
                *("firing", "escalated", "eased", "escalated", "eased", "escalated"),
                *("repeat", "eased", "resolved"),
            ],
        )
