"""What a move of the mark prices would do, judged as the engine judges."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest

from alerting.engine.evaluation import evaluate
from alerting.engine.feeds import Scope
from alerting.engine.model import Direction, State
from alerting.engine.rules import NamePattern
from alerting.engine.simulation import Simulation
from alerting.engine.snapshot import FailureKind, PollFailure, Side, Snapshot
from alerting.monitoring.what_if import Moves, last_evaluated, outlook
from tests.support.factories import (
    CRITICAL,
    T0,
    WARNING,
    M,
    S,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_symbol,
    make_threshold,
    make_wallet,
)
from tests.support.positions import make_position

BTC = make_position(
    symbol="BTCUSDT",
    leverage="10",
    position_size="0.1",
    position_value="10000",
    position_margin="1000",
    maint_margin="5600",
    avg_entry_price="100000",
    mark_price="100000",
    last_price="99990",
    unrealised_pnl="1",
    liquidation_price="91310",
    maint_margin_rate="0.56",
)


def per_position(value="mark_price", *thresholds, name="price", **kw):
    found = thresholds or (make_threshold(WARNING, "95000"), make_threshold(CRITICAL, "90000"))
    return make_rule(name, value, *found, scope=Scope.POSITION, **kw)


def remembered(ruleset, *positions, at=T0, polls=1, wallet=None):
    """What is known of an account after so many polls of both feeds."""
    simulation = Simulation(ruleset)
    for poll in range(polls):
        now = at + poll * 15 * S
        simulation.feed(wallet or make_snapshot(make_wallet("3000"), at=now), at=now)
        seen = Snapshot(account="main", feed="positions", observed_at=now, positions=positions)
        simulation.feed(seen, at=now)
    return simulation.memory("main")


def alerts_of(rule, move, *positions, rules=(), **kw):
    ruleset = make_ruleset(rule, *rules)
    memory = remembered(ruleset, *(positions or (BTC,)), **kw)
    return outlook(ruleset, memory, Moves(others=D(move))).alerts


def brief(alerts):
    return [(each.rule.name, each.now, each.then, each.before, each.after) for each in alerts]


# ── positions ───────────────────────────────────────────────────────────────


def test_prices_move_and_all_that_follows_from_them():
    ruleset = make_ruleset(per_position())
    memory = remembered(ruleset, BTC)
    (moved,) = outlook(ruleset, memory, Moves(named={"BTCUSDT": D("-0.05")})).positions

    assert (moved.move, moved.liquidated) == (D("-0.05"), False)
    assert moved.before["mark_price"] == 100000
    assert (moved.after["mark_price"], moved.after["last_price"]) == (95000, D("94990.5"))
    assert (moved.after["unrealised_pnl"], moved.after["equity"]) == (-500, 500)
    assert moved.after["maintenance_margin_ratio"] == D("0.262")


def test_what_the_page_reported_stays_but_for_the_profit_that_nobody_knows():
    ruleset = make_ruleset(per_position())
    memory = remembered(ruleset, BTC)
    (moved,) = outlook(ruleset, memory, Moves(others=D("0.1"))).positions
    (still,) = outlook(ruleset, memory, Moves(named={"X": D("0.1")})).positions

    names = ("reported_maint_margin", "reported_liquidation_price", "reported_unrealised_pnl")
    assert [moved.after[name] for name in names] == [5600, 91310, None]
    assert still.after == still.before


@pytest.mark.parametrize(
    ("move", "liquidated"),
    [
        pytest.param("-0.0868", False, id="just-above"),
        pytest.param("-0.0869", True, id="at-the-liquidation-price"),
        pytest.param("-0.2", True, id="equity-used-up"),
    ],
)
def test_a_position_is_liquidated_where_its_margin_is_all_needed(move, liquidated):
    ruleset = make_ruleset(per_position())
    memory = remembered(ruleset, BTC)
    (moved,) = outlook(ruleset, memory, Moves(others=D(move))).positions

    assert moved.liquidated is liquidated


def test_named_symbols_and_all_others_move_apart():
    ruleset = make_ruleset(per_position())
    doge = make_position(side=Side.SHORT, mark_price="1")
    memory = remembered(ruleset, BTC, doge)
    moves = Moves(named={"BTCUSDT": D("0.1")}, others=D("-0.5"))
    prices = [each.after["mark_price"] for each in outlook(ruleset, memory, moves).positions]

    assert prices == [110000, D("0.5")]


def test_without_a_rule_per_position_none_is_read():
    ruleset = make_ruleset(make_rule())
    found = outlook(ruleset, remembered(ruleset, BTC), Moves(others=D("-0.5")))

    assert (found.reads_positions, found.positions) == (False, ())


def test_positions_that_were_not_read_since_a_rule_asks_for_them_anew_are_forgotten():
    without, ruleset = make_ruleset(make_rule()), make_ruleset(per_position())
    known = remembered(ruleset, BTC)
    later = evaluate(without, known, make_snapshot(at=T0 + M), now=T0 + M).memory
    assert known.account.positions
    assert not later.account.positions

    found = outlook(ruleset, later, Moves(others=D("-0.5")))
    assert (found.reads_positions, found.positions, found.alerts) == (True, (), ())


def test_an_account_that_was_never_judged_has_nothing():
    ruleset = make_ruleset(per_position())
    memory = Simulation(ruleset).memory("main")
    found = outlook(ruleset, memory, Moves(others=D("-0.5")))

    assert (found.reads_positions, found.positions, found.alerts) == (True, (), ())
    assert last_evaluated(memory.account) is None


# ── alerts ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        pytest.param("-0.05", [], id="on-the-line-is-safe"),
        pytest.param("-0.06", [("price", None, WARNING, 100000, 94000)], id="past-the-first"),
        pytest.param("-0.2", [("price", None, CRITICAL, 100000, 80000)], id="past-all"),
        pytest.param("0.1", [], id="the-other-way"),
    ],
)
def test_what_is_past_a_line_would_fire(move, expected):
    assert brief(alerts_of(per_position(), move)) == expected


LOW = replace(BTC, fields={**BTC.fields, "mark_price": D(94000)})
CLEARING = per_position("mark_price", make_threshold(WARNING, "95000", clear="97000"))


@pytest.mark.parametrize(
    ("move", "then"),
    [
        pytest.param("0", WARNING, id="as-it-is"),
        pytest.param("0.02", WARNING, id="between-line-and-clear-it-goes-on"),
        pytest.param("0.04", None, id="clear"),
    ],
)
def test_what_fires_goes_on_until_it_is_clear(move, then):
    (alert,) = alerts_of(CLEARING, move, LOW)
    assert (alert.now, alert.then, alert.line) == (WARNING, then, then and D(95000))


def test_what_does_not_fire_does_not_begin_between_line_and_clear():
    assert alerts_of(CLEARING, "-0.04") == ()


def test_for_is_left_aside_and_pending_is_not_firing():
    slow = per_position("mark_price", make_threshold(WARNING, "95000", for_=60))
    (alert,) = alerts_of(slow, "0", LOW)
    assert (alert.state, alert.severity, alert.now, alert.then) == (
        State.PENDING,
        WARNING,
        None,
        WARNING,
    )
    (alert,) = alerts_of(slow, "0.1", LOW)
    assert (alert.state, alert.then) == (State.PENDING, None)


def test_a_condition_that_would_be_false_ends_it():
    rule = per_position("position_size", make_threshold(WARNING, "1"), when="mark_price < 95000")
    (alert,) = alerts_of(rule, "0.1", LOW)
    assert (alert.now, alert.then) == (WARNING, None)
    (alert,) = alerts_of(rule, "0", LOW)
    assert alert.then is WARNING


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(
            per_position("effective_leverage", make_threshold(WARNING, "100")), id="value"
        ),
        pytest.param(
            per_position(
                "margin_loss", make_threshold(WARNING, "1"), when="effective_leverage < 99"
            ),
            id="condition",
        ),
    ],
)
def test_what_would_have_no_value_stays_as_it_is(rule):
    # at half its price the equity is used up, so there is no leverage
    (alert,) = alerts_of(rule, "-0.5")
    assert (alert.now, alert.then) == (WARNING, WARNING)


def test_what_would_have_no_value_does_not_begin():
    rule = per_position("reported_unrealised_pnl", make_threshold(WARNING, "0"))
    assert alerts_of(rule, "-0.5") == ()


def test_totals_of_the_wallet_are_those_of_the_last_evaluation():
    rest = per_position("total_available_balance + unrealised_pnl", make_threshold(WARNING, "2500"))
    (alert,) = alerts_of(rest, "-0.1")
    assert (alert.before, alert.after, alert.then) == (3000, 2000, WARNING)


@pytest.mark.parametrize(
    ("value", "before", "after"),
    [
        pytest.param("min_over_time(mark_price, 1h)", 100000, 90000, id="the-move-is-a-sample"),
        pytest.param("max_over_time(mark_price, 1h)", 100000, 100000, id="of-several"),
        pytest.param("mark_price - ago(mark_price, 15s)", 0, -10000, id="beside-what-was"),
    ],
)
def test_rules_that_look_back_see_the_move_as_what_is_now(value, before, after):
    rule = per_position(value, make_threshold(WARNING, "200000"))
    (alert,) = alerts_of(rule, "-0.1", polls=2)
    assert (alert.before, alert.after) == (before, after)


def test_rules_that_look_back_do_not_count_what_stands_still_twice():
    # 3000, 3000 and 6000, the last one polled once
    rule = make_rule(
        "mean", "avg_over_time(total_available_balance, 1h)", make_threshold(threshold="9000")
    )
    ruleset = make_ruleset(rule, per_position())
    memory = remembered(ruleset, BTC, polls=2)
    last = make_snapshot(make_wallet("6000"), at=T0 + 30 * S)
    memory = evaluate(ruleset, memory, last, now=T0 + 30 * S).memory
    (alert,) = outlook(ruleset, memory, Moves(others=D("-0.01"))).alerts
    assert (alert.before, alert.after) == (4000, 4000)


def test_other_scopes_are_shown_as_they_are():
    floor = make_rule("floor", "total_available_balance", make_threshold(threshold="5000"))
    load = make_rule(
        "load", "blocked_balance", make_threshold(threshold="50"),
        scope=Scope.SYMBOL, direction=Direction.ABOVE,
    )  # fmt: skip
    deaf = make_rule("deaf", "poll_failures", make_threshold(threshold="1"), scope=Scope.ACCOUNT)
    wallet = make_snapshot(make_wallet("3000"), symbols=[make_symbol()])
    found = alerts_of(per_position(), "-0.2", rules=(floor, load, deaf), wallet=wallet)

    assert [(each.rule.name, each.now, each.then) for each in found] == [
        ("price", None, CRITICAL),
        ("floor", WARNING, WARNING),
        ("load", WARNING, WARNING),
        ("deaf", WARNING, WARNING),
        ("deaf", WARNING, WARNING),
    ]
    assert all(each.before == each.after for each in found[1:])


def test_two_rows_of_one_name_are_judged_by_the_worse():
    floor = make_rule("floor", "total_available_balance", make_threshold(threshold="2000"))
    wallet = make_snapshot(make_wallet("3000"), make_wallet("1500"))
    found = alerts_of(floor, "0", rules=(per_position(),), wallet=wallet)

    assert [each.after for each in found] == [1500]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"enabled": False}, id="parked"),
        pytest.param({"accounts": NamePattern(("other",))}, id="of-another-account"),
        pytest.param({"symbols": NamePattern(("ETH*",))}, id="of-another-symbol"),
    ],
)
def test_a_rule_that_does_not_apply_says_nothing(changes):
    other = replace(per_position(name="other"), **changes)
    found = alerts_of(per_position(), "-0.2", rules=(other,))

    assert [each.rule.name for each in found] == ["price"]


def test_what_was_last_read_well_counts_after_failed_polls():
    ruleset = make_ruleset(per_position())
    simulation = Simulation(ruleset)
    simulation.feed(make_snapshot(make_wallet("3000")), at=T0)
    seen = Snapshot(account="main", feed="positions", observed_at=T0, positions=(BTC,))
    simulation.feed(seen, at=T0)
    failure = PollFailure(account="main", feed="positions", kind=FailureKind.NETWORK, text="x")
    simulation.feed(failure, at=T0 + M)
    memory = simulation.memory("main")

    assert last_evaluated(memory.account) == T0 + M
    (alert,) = outlook(ruleset, memory, Moves(others=D("-0.2"))).alerts
    assert alert.then is CRITICAL
