"""The engine on a simulated clock, as `replay` and `test` use it."""

from __future__ import annotations

from dataclasses import replace

from alerting.engine.feeds import POSITIONS, Scope
from alerting.engine.model import Direction
from alerting.engine.simulation import Simulation
from alerting.engine.snapshot import Snapshot
from tests.support.factories import (
    T0,
    WARNING,
    M,
    make_failure,
    make_route,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_threshold,
    make_wallet,
)
from tests.support.positions import make_position


def test_it_remembers_each_account_and_lets_strangers_in():
    simulation = Simulation(make_ruleset())
    low = make_snapshot(make_wallet("50"), account="other")

    fired = simulation.feed(low, at=T0)
    again = simulation.feed(low, at=T0 + M)

    assert [n.reason.value for n in fired.notifications] == ["firing"]
    assert again.notifications == ()
    assert all(entry.delivered for entry in simulation.memory("other").notified.values())
    assert simulation.memory("main").alerts == {}


def test_a_failed_poll_is_fed_like_a_good_one():
    simulation = Simulation(make_ruleset())
    assert simulation.feed(make_failure(), at=T0).memory.account.feed("wallet").poll_failures == 1


NEAR = make_rule(
    "near",
    "liquidation_distance",
    make_threshold(WARNING, "0.2"),
    scope=Scope.POSITION,
    direction=Direction.BELOW,
)


def positions(*rows, at=T0):
    return Snapshot(account="main", feed=POSITIONS, observed_at=at, positions=rows)


def told(*evaluations):
    return [
        (change.rule, change.labels.get("feed"), change.target.value)
        for each in evaluations
        for change in each.transitions
    ]


def test_a_feed_that_never_was_read_is_not_blind():
    simulation = Simulation(make_ruleset(NEAR, blind_after=60))
    steps = [simulation.feed(make_snapshot(), at=T0 + n * M) for n in range(5)]
    assert told(*steps) == []


def test_a_feed_that_is_read_is_blind_when_it_fails():
    simulation = Simulation(make_ruleset(NEAR, blind_after=60))
    failed = replace(make_failure(), feed=POSITIONS)
    steps = [
        simulation.feed(outcome, at=T0 + n * M)
        for n in range(2)
        for outcome in (make_snapshot(), failed)
    ]
    assert told(*steps) == [("blind", "positions", "firing")]


def test_an_expected_feed_is_waited_for_from_the_start():
    simulation = Simulation(make_ruleset(NEAR, blind_after=60))
    simulation.expect("main", POSITIONS)
    simulation.feed(make_snapshot(), at=T0)
    assert told(simulation.feed(make_snapshot(), at=T0 + M)) == [("blind", "positions", "firing")]


def test_of_a_feed_that_no_rule_asks_for_nothing_follows():
    repeating = make_ruleset(routes=(make_route("desk", repeat=60),))
    simulation = Simulation(repeating)
    simulation.feed(make_snapshot(make_wallet("50")), at=T0)
    before = simulation.memory("main")
    step = simulation.feed(positions(make_position()), at=T0 + 2 * M)
    assert (step.at, step.transitions, step.notifications) == (T0 + 2 * M, (), ())
    assert simulation.memory("main") == before


def test_a_wallets_age_is_told_by_the_clock_of_the_evaluations():
    value = make_threshold(WARNING, "0")
    rule = make_rule("share", "position_margin / total_balance", value, scope=Scope.POSITION)
    above = replace(rule, direction=Direction.ABOVE)
    simulation = Simulation(make_ruleset(above))
    simulation.feed(make_snapshot(at=T0 - 9 * M), at=T0)  # the machine's clock is behind
    step = simulation.feed(positions(make_position()), at=T0)
    assert told(step) == [("share", None, "firing")]
