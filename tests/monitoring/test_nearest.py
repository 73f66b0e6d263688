"""How near each rule is to its line, judged from what was last read."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from alerting.engine.feeds import Scope
from alerting.engine.model import Direction
from alerting.monitoring.nearest import reaches
from tests.support.factories import (
    CRITICAL,
    LADDER,
    T0,
    WARNING,
    S,
    Simulation,
    make_failure,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_symbol,
    make_threshold,
    make_wallet,
)

LOAD = make_rule(
    "load",
    "blocked_balance",
    make_threshold(WARNING, "500"),
    make_threshold(CRITICAL, "800"),
    scope=Scope.SYMBOL,
    direction=Direction.ABOVE,
)


def reach_of(rule, *outcomes, **kw):
    simulation = Simulation(make_ruleset(rule, **kw))
    for number, outcome in enumerate(outcomes):
        simulation.see(outcome, T0 + number * 15 * S)
    (reach,) = reaches(
        simulation.ruleset,
        [simulation.memory.account],
        now=simulation.memory.account.feed("wallet").seen_at or T0,
    )
    return reach


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        pytest.param("3000", (D(3000), D(2000), D(-1000)), id="far"),
        pytest.param("2000", (D(2000), D(2000), D(0)), id="on-the-line-is-safe"),
        pytest.param("1999", (D(1999), D(2000), D(1)), id="past-the-first"),
        pytest.param("900", (D(900), D(1000), D(100)), id="past-the-second"),
        pytest.param("100", (D(100), D(250), D(150)), id="past-all"),
    ],
)
def test_the_line_is_the_worst_that_it_is_past_or_the_first_ahead(available, expected):
    worst = reach_of(LADDER, make_snapshot(make_wallet(available))).worst
    assert (worst.value, worst.threshold, worst.distance) == expected


def symbols(**blocked):
    rows = [make_symbol(f"{name}USDT", amount) for name, amount in blocked.items()]
    return make_snapshot(make_wallet("3000"), symbols=rows)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param({"A": "100", "B": "490"}, ("BUSDT", -10), id="the-nearest"),
        pytest.param({"A": "799", "B": "490"}, ("AUSDT", 299), id="who-is-past"),
        pytest.param({"A": "799", "B": "801"}, ("BUSDT", 1), id="past-a-worse-line"),
    ],
)
def test_of_several_rows_the_worst_counts(rows, expected):
    reach = reach_of(LOAD, symbols(**rows))
    assert (reach.rows, reach.worst.labels["symbol"], reach.worst.distance) == (2, *expected)


def test_what_was_last_read_well_counts_after_a_failed_poll():

    reach = reach_of(LADDER, make_snapshot(make_wallet("3000")), make_failure())
    assert reach.worst.value == 3000


def test_a_rule_without_a_value_or_rows_has_no_worst():
    undefined = make_rule("share", "1 / (total_balance - total_balance)")
    assert (
        reach_of(undefined, make_snapshot()).rows,
        reach_of(undefined, make_snapshot()).worst,
    ) == (1, None)
    assert reach_of(LOAD, make_snapshot()).rows == 0
    assert reach_of(LADDER).rows == 0


def test_a_condition_that_is_not_met_leaves_a_row_out():
    rule = make_rule(
        "floor", "total_available_balance", make_threshold(), when="total_balance > 1_000_000"
    )
    assert reach_of(rule, make_snapshot()).worst is None


def test_a_parked_rule_has_no_rows():
    assert reach_of(make_rule(enabled=False), make_snapshot()).rows == 0


def test_an_account_rule_is_judged_without_a_snapshot():
    rule = make_rule(
        "failing",
        "poll_failures",
        make_threshold(threshold="3"),
        scope=Scope.ACCOUNT,
        direction=Direction.ABOVE,
    )
    assert reach_of(rule).worst.distance == -3


def test_a_rule_that_looks_back_is_judged_by_what_is_remembered():
    rule = make_rule("fall", "delta(total_available_balance, 30s)", make_threshold(WARNING, "-50"))
    simulation = Simulation(make_ruleset(rule))
    for number, available in enumerate(("100", "90", "80", "70")):
        at = T0 + number * 15 * S
        simulation.see(make_snapshot(make_wallet(available), at=at), at)
    accounts, later = [simulation.memory.account], T0 + 50 * S

    (reach,) = reaches(
        simulation.ruleset, accounts, now=later, pasts={"main": simulation.memory.past}
    )
    assert (reach.worst.value, reach.worst.distance) == (D(-20), D(-30))
    (unknown,) = reaches(simulation.ruleset, accounts, now=later)
    assert (unknown.rows, unknown.worst) == (1, None)
