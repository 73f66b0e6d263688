"""What would clear an alert: the smallest amount, proved by the rule, or nothing."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.engine import remedies, risk
from alerting.engine.expressions import Kind, compile_expression
from alerting.engine.feeds import Scope
from alerting.engine.model import Direction
from alerting.engine.remedies import offers
from alerting.engine.samples import Sample, samples
from alerting.engine.snapshot import Side
from alerting.units import EXACT
from tests.support.factories import (
    CRITICAL,
    INFO,
    LADDER,
    WARNING,
    D,
    make_rule,
    make_snapshot,
    make_symbol,
    make_threshold,
    make_wallet,
)
from tests.support.positions import make_position, position_sample
from tests.support.risk_proofs import is_clear, position_rule

ABOVE, BELOW = Direction.ABOVE, Direction.BELOW


def sample_of(wallet, *, symbol=None):
    snapshot = make_snapshot(wallet, symbols=[symbol] if symbol else ())
    with localcontext(EXACT):
        return next(samples(snapshot, Scope.SYMBOL if symbol else Scope.WALLET))


def rule_of(value, line, clear=None, *, direction=ABOVE, scope=Scope.WALLET, **kw):
    threshold = make_threshold(WARNING, line, clear=clear)
    return make_rule("r", value, threshold, direction=direction, scope=scope, **kw)


def told(rule, sample):
    return [(each.action.value, str(each.amount), each.unit) for each in offers(rule, sample)]


# ── deposits ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("available", "amount"),
    [("220", "80.00"), ("241.07", "58.93"), ("299.999", "0.01"), ("-50", "350.00")],
)
def test_a_floor_that_was_broken_needs_what_lacks_up_to_clear(available, amount):
    rule = rule_of("total_available_balance", "250", "300", direction=BELOW)
    sample = sample_of(make_wallet(available))
    assert told(rule, sample) == [("deposit", amount, "USDT")]


def test_the_severity_that_fires_is_to_be_clear():
    """What ends the critical; the warning that it eases to is told what ends the warning."""
    assert told(LADDER, sample_of(make_wallet("200"))) == [("deposit", "50.00", "USDT")]
    # and while only the mildest fires
    assert told(LADDER, sample_of(make_wallet("1500"))) == [("deposit", "500.00", "USDT")]


def test_between_the_line_and_clear_it_still_fires_and_still_has_a_remedy():
    rule = rule_of("total_available_balance", "250", "300", direction=BELOW)
    assert told(rule, sample_of(make_wallet("270"))) == [("deposit", "30.00", "USDT")]


@pytest.mark.parametrize("available", ["300", "300.01"])
def test_at_clear_nothing_is_to_be_done(available):
    """It only has to stay there for keep_firing_for."""
    rule = rule_of("total_available_balance", "250", "300", direction=BELOW)
    assert told(rule, sample_of(make_wallet(available))) == []


def test_a_ratio_is_asked_of_the_wallet_after_the_deposit():
    rule = rule_of("margin_ratio", "0.5", "0.4")
    sample = sample_of(make_wallet("300", position="700"))
    assert told(rule, sample) == [("deposit", "750.00", "USDT")]
    rule = rule_of("available_ratio", "0.25", "0.3", direction=BELOW)
    sample = sample_of(make_wallet("200", position="800", base_asset="INR"))
    # (200 + x) / (1000 + x) >= 0.3
    assert told(rule, sample) == [("deposit", "142.86", "INR")]


def test_a_symbol_row_is_judged_by_its_assets_totals():
    sample = sample_of(make_wallet("100", position="900"), symbol=make_symbol(blocked="400"))
    rule = rule_of("margin_ratio", "0.35", "0.3", scope=Scope.SYMBOL)
    assert told(rule, sample) == [("deposit", "333.34", "USDT")]
    rule = rule_of("total_available_balance", "150", direction=BELOW, scope=Scope.SYMBOL)
    assert told(rule, sample) == [("deposit", "50.00", "USDT")]


@pytest.mark.parametrize(
    ("value", "scope", "direction"),
    [
        ("concentration", Scope.SYMBOL, ABOVE),
        ("blocked_balance", Scope.SYMBOL, ABOVE),
        ("total_blocked_balance", Scope.WALLET, ABOVE),
        ("unlisted_margin", Scope.WALLET, ABOVE),
        ("1 - total_open_order_margin", Scope.WALLET, ABOVE),
    ],
)
def test_what_no_action_moves_is_not_even_tried(value, scope, direction):
    """Closing a part of a symbol would, but its page does not say with what profit or loss."""
    sample = sample_of(make_wallet("100", position="900"), symbol=make_symbol(blocked="400"))
    if scope is Scope.WALLET:
        sample = sample_of(make_wallet("100", position="900"))
    asked = []
    rule = rule_of(value, "0.1", direction=direction, scope=scope)
    assert offers(rule, sample, value_of=lambda *each: asked.append(each)) == ()
    assert asked == []


@pytest.mark.parametrize(
    ("value", "line", "direction"),
    [
        # more money makes it worse
        ("total_balance", "100", ABOVE),
        # it has an end before the line: 1 is never reached
        ("available_ratio", "1", BELOW),
        # it moves, and not enough
        ("min(total_balance, 2000)", "3000", BELOW),
        # a million millions are no advice
        ("total_balance / 1000000000000", "2", BELOW),
    ],
)
def test_what_cannot_clear_it_is_not_offered(value, line, direction):
    sample = sample_of(make_wallet("900", position="100"))
    assert told(rule_of(value, line, direction=direction), sample) == []


@pytest.mark.parametrize(
    ("value", "line", "direction", "amount"),
    [
        ("min(total_balance, 2 * total_available_balance)", "2000", BELOW, "1000.00"),
        ("max(0, 5000 - total_balance) / total_balance", "0.25", ABOVE, "3000.00"),
        ("abs(total_available_balance - 1500)", "300", ABOVE, "300.00"),
        ("100 / (total_balance * total_balance)", "0.000001", ABOVE, "9000.00"),
        # a step: nothing for long, and then all at once
        ("min(1, max(0, total_balance - 1234.56) * 1000000)", "1", BELOW, "234.57"),
    ],
)
def test_other_shapes(value, line, direction, amount):
    sample = sample_of(make_wallet("900", position="100"))
    found = told(rule_of(value, line, direction=direction), sample)
    assert found == [("deposit", amount, "USDT")]


@pytest.mark.parametrize(
    ("value", "line"),
    [
        # worse before it gets better: nobody looked at every cent in between
        ("abs(total_balance - 1005)", "7"),
        # and through a pole
        ("1 / (total_balance - 1000.5)", "1"),
    ],
)
def test_where_it_is_not_certain_nothing_is_offered(value, line):
    sample = sample_of(make_wallet("900", position="100"))
    assert told(rule_of(value, line, direction=BELOW), sample) == []


def test_a_value_that_gets_lost_on_the_way_is_not_certain():
    """Without a value it is not known what it would have been."""
    rule = rule_of("total_available_balance", "1000", direction=BELOW)
    sample = sample_of(make_wallet("900"))

    def value_of(rule, values):
        value = remedies.value_of(rule, values)
        return None if D("900.05") < value < D("990") else value

    assert offers(rule, sample, value_of=value_of) == ()


def test_without_a_value_or_a_field_there_is_nothing_to_offer():
    rule = rule_of("total_available_balance / total_balance", "0.5", direction=BELOW)
    assert told(rule, sample_of(make_wallet("10", total_balance=None))) == []
    nothing = make_wallet("0", position="0")
    assert told(rule_of("margin_ratio", "0.5"), sample_of(nothing)) == []
    # the rule needs but one of the two that a deposit raises
    rule = rule_of("total_available_balance", "100", direction=BELOW)
    partial = sample_of(make_wallet("10", total_balance=None, total_blocked_balance=None))
    assert told(rule, partial) == [("deposit", "90.00", "USDT")]


def test_it_clears_by_the_value_not_by_a_condition_that_stops():
    """`when` false would be no breach, and `when` without a value would hold the alert."""
    rule = rule_of("total_available_balance", "100", direction=BELOW, when="total_balance < 150")
    assert told(rule, sample_of(make_wallet("10"))) == [("deposit", "90.00", "USDT")]
    rule = replace(
        rule, when=rule_of("total_balance", "1", when="1 / (total_balance - 110) < 9").when
    )
    assert told(rule, sample_of(make_wallet("10"))) == []  # no value now
    rule = replace(
        rule, when=rule_of("total_balance", "1", when="1 / (total_balance - 200) < 9").when
    )
    assert told(rule, sample_of(make_wallet("10"))) == []  # and none at the end


@pytest.mark.parametrize("symbol", [None, make_symbol(blocked="400")])
def test_other_names_that_a_row_has_keep_their_value(symbol):
    """What was, is not changed by what is done now."""
    sample = sample_of(make_wallet("900", position="100"), symbol=symbol)
    sample = replace(sample, values={**sample.values, "an_hour_ago": D("1200")})
    value = compile_expression(
        "total_balance - an_hour_ago", kind=Kind.NUMBER, names=("total_balance", "an_hour_ago")
    )
    rule = replace(rule_of("total_balance", "-100", direction=BELOW), value=value)
    assert told(rule, sample) == [("deposit", "100.00", "USDT")]


def test_an_account_has_nothing_to_deposit():
    rule = make_rule("r", "snapshot_age", scope=Scope.ACCOUNT, direction=ABOVE)
    sample = Sample(labels={"account": "main"}, values={"snapshot_age": D(900)}, fields={})
    assert told(rule, sample) == []


# ── positions ───────────────────────────────────────────────────────────────

#: 10 coins at 100 with a margin of 100; 20 of it is needed
TEN = {
    "position_size": "10",
    "position_value": "1000",
    "position_margin": "100",
    "avg_entry_price": "100",
    "mark_price": "94",
    "maint_margin_rate": "1.25",
    "liq_fee_rate": "0.0075",
    "liquidation_price": "92",
}


def ten(side=Side.LONG, wallet=None, **override):
    wallet = wallet or make_wallet("500", position="100")
    return position_sample(make_position(side, **{**TEN, **override}), wallet)


def test_margin_moves_the_liquidation_price():
    """Distance (equity - 20) / (size x mark): 20 / 940 now."""
    rule = position_rule("liquidation_distance", "0.05", "0.1", direction=BELOW)
    # (40 + x - 20) / 940 >= 0.1
    assert told(rule, ten()) == [("add_margin", "74.00", "USDT")]
    # the same, the other way round: 20 / 1060 now
    assert told(rule, ten(Side.SHORT, mark_price="106")) == [("add_margin", "86.00", "USDT")]


def test_a_part_of_the_position_has_the_same_distance():
    """Closing gives the margin of what is closed back: what is left stands as near as before."""
    rule = position_rule("maintenance_margin_ratio", "0.4", "0.3")
    # 20 / (40 + x) <= 0.3
    assert told(rule, ten()) == [("add_margin", "26.67", "USDT")]


def test_equity_that_is_used_up_can_be_filled_up():
    rule = position_rule("maintenance_margin_ratio", "0.8", "0.5")
    sample = ten(mark_price="85")
    assert sample.values["maintenance_margin_ratio"] == risk.BEYOND
    # 20 / (-50 + x) <= 0.5
    assert told(rule, sample) == [("add_margin", "90.00", "USDT")]


@pytest.mark.parametrize(
    ("available", "found"),
    [
        ("74", [("add_margin", "74.00", "USDT")]),
        ("74.009", [("add_margin", "74.00", "USDT")]),
        ("73.999", []),
        ("0", []),
        ("-7", []),
    ],
)
def test_margin_only_as_far_as_it_is_available(available, found):
    rule = position_rule("liquidation_distance", "0.05", "0.1", direction=BELOW)
    assert told(rule, ten(wallet=make_wallet(available))) == found


def test_without_knowing_what_is_available_there_is_no_margin_to_add():
    rule = position_rule("liquidation_distance", "0.05", "0.1", direction=BELOW)
    assert told(rule, ten(wallet=make_wallet(total_available_balance=None))) == []


def test_a_share_of_a_position_that_is_too_large():
    rule = position_rule("position_size * mark_price", "700")
    # 940 x (1 - p) <= 700, so p >= 25.5%
    assert told(rule, ten()) == [("reduce", "26", "%")]
    rule = position_rule("maintenance_margin", "5")
    assert told(rule, ten()) == [("reduce", "75", "%")]
    # all of it is no share
    assert told(position_rule("maintenance_margin", "0.1"), ten()) == []


def test_what_is_closed_comes_back_with_its_loss():
    """A quarter of a margin of 100 that has lost 60: 10 come back, 25 are not blocked any more."""
    sample = ten(wallet=make_wallet("30", position="100"))
    rule = position_rule("total_available_balance", "40", direction=BELOW)
    assert told(rule, sample) == [("reduce", "25", "%"), ("deposit", "10.00", "USDT")]
    rule = position_rule("total_blocked_balance", "75")
    assert told(rule, sample) == [("reduce", "25", "%")]
    rule = position_rule("total_position_margin", "75")
    assert told(rule, sample) == [("reduce", "25", "%")]
    # the total falls by what is lost for good: 130 - 15
    lost = position_rule("total_balance", "115")
    assert told(lost, sample) == [("reduce", "25", "%")]


def test_margin_or_a_smaller_position():
    rule = position_rule("effective_leverage", "15", "10")
    # 940 / (40 + x) <= 10; a smaller position has as much of both
    assert told(rule, ten()) == [("add_margin", "54.00", "USDT")]
    rule = position_rule("position_size * mark_price - 10 * position_margin", "-100", "-200")
    # 940 - 10 x (100 + x) <= -200, or -60 x (1 - p), which does not get there
    assert told(rule, ten()) == [("add_margin", "14.00", "USDT")]
    rule = position_rule("maintenance_margin - position_margin / 10", "8", "5")
    # 20 - (100 + x) / 10 <= 5, or 10 x (1 - p) <= 5
    assert told(rule, ten()) == [("add_margin", "50.00", "USDT"), ("reduce", "50", "%")]


@pytest.mark.parametrize(
    ("name", "line", "direction"),
    [
        ("total_available_balance", "450", ABOVE),
        ("total_blocked_balance", "150", BELOW),
        ("total_position_margin", "150", BELOW),
        ("position_margin", "150", BELOW),
    ],
)
def test_margin_comes_from_what_is_available(name, line, direction):
    rule = position_rule(name, line, direction=direction)
    assert ("add_margin", "50.00", "USDT") in told(rule, ten())


def test_without_instrument_data_what_needs_none_has_its_remedy():
    sample = ten(maint_margin_rate=None)
    rule = position_rule("effective_leverage", "15", "10")
    assert told(rule, sample) == [("add_margin", "54.00", "USDT")]
    rule = position_rule("effective_leverage + 0 * maintenance_margin", "15", "10")
    assert told(rule, sample) == []


def test_of_three_the_first_two():
    rule = position_rule("maintenance_margin - (position_margin + total_balance) / 100", "10", "8")
    sample = ten(wallet=make_wallet("500", position="100"))
    found = told(rule, sample)
    assert [action for action, _, _ in found] == ["add_margin", "reduce"]


def test_the_pages_own_figures_after_an_action_are_not_known():
    rule = position_rule("reported_liquidation_price", "80")
    assert told(rule, ten()) == []
    # a deposit leaves them as they are
    rule = position_rule("reported_liquidation_price / total_balance", "0.1")
    assert told(rule, ten()) == [("deposit", "320.00", "USDT")]


@pytest.mark.parametrize("name", ["position_margin", "mark_price", "position_size"])
def test_where_nobody_knows_what_would_come_back_nothing_is_closed(name):
    rule = position_rule("position_value", "500")
    assert told(rule, ten()) == [("reduce", "50", "%")]
    assert told(rule, ten(**{name: None})) == []


# ── proof ───────────────────────────────────────────────────────────────────


def assert_smallest(rule, sample, offer):
    """By trying the amount, and all of less that a walk through it meets."""
    plan = next(each for each in remedies._plans(sample.labels) if each.action is offer.action)
    steps = int(offer.amount / plan.step)

    def clears(steps):
        with localcontext(EXACT):
            values = plan.after(sample, steps) if steps else sample.values
            return is_clear(rule, remedies.value_of(rule, values))

    assert clears(steps)
    assert not clears(steps - 1)
    assert not any(clears(less) for less in range(0, steps, max(1, steps // 200)))


amounts = st.integers(0, 10**9).map(lambda cents: f"{D(cents).scaleb(-4)}")
shapes = st.sampled_from(
    [
        "total_balance",
        "total_available_balance",
        "margin_ratio",
        "available_ratio",
        "total_position_margin / total_balance",
        "total_balance * total_available_balance",
        "max(total_balance, 100)",
        "min(total_balance, 3 * total_available_balance + 7)",
        "available_ratio - margin_ratio",
        "(total_balance - 50) / (total_available_balance + 0.001)",
        "abs(total_available_balance - 5000)",
    ]
)


@settings(max_examples=400, deadline=None)
@given(
    shape=shapes,
    available=amounts,
    position=amounts,
    share=st.integers(-300, 300),
    direction=st.sampled_from(Direction),
)
def test_no_smaller_deposit_clears(shape, available, position, share, direction):
    sample = sample_of(make_wallet(available, position=position))
    with localcontext(EXACT):
        value = remedies.value_of(rule_of(shape, "0"), sample.values)
        line = D(0) if value is None else (value * (100 + share) / 100 + D(share) / 1000)
    rule = rule_of(shape, str(line.quantize(D("0.000001"))), direction=direction)
    for offer in offers(rule, sample):
        assert_smallest(rule, sample, offer)


# ── what it costs ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "line", "most"),
    [
        ("total_balance", "123456.78", 20),
        ("available_ratio", "0.995", 20),
        ("min(available_ratio, total_balance / 100000)", "0.9", 30),
        ("total_balance * total_balance * total_balance", "100000000000000", 50),
        ("max(0, total_balance - 99999) / 100000 + total_balance / 10000000", "0.9", 60),
    ],
)
def test_the_rule_is_evaluated_a_bounded_number_of_times(value, line, most):
    rule, count = rule_of(value, line, direction=BELOW), 0

    def value_of(rule, values):
        nonlocal count
        count += 1
        return remedies.value_of(rule, values)

    assert len(offers(rule, sample_of(make_wallet("100")), value_of=value_of)) == 1
    assert count <= most < remedies.MOST_TRIES

    # of a ladder, the line that asks for the most is the one to look for
    other, count = make_threshold(CRITICAL, "-999"), 0
    rule = replace(rule, thresholds=(*rule.thresholds, other))
    assert len(offers(rule, sample_of(make_wallet("100")), value_of=value_of)) == 1
    assert count <= most


def test_a_search_that_finds_no_end_is_given_up(monkeypatch):
    monkeypatch.setattr(remedies, "MOST_TRIES", 20)
    rule = rule_of(
        "total_balance * total_balance * total_balance", "100000000000000", direction=BELOW
    )
    assert told(rule, sample_of(make_wallet("100"))) == []


def test_the_thread_may_have_any_decimal_context():
    rule = rule_of("margin_ratio", "0.5", "0.3")
    sample = sample_of(make_wallet("300", position="700"))
    with localcontext() as context:
        context.prec = 3
        assert offers(rule, sample)[0].amount == Decimal("1333.34")


def test_a_severity_that_fires_though_a_worse_one_is_past_its_line():
    """Whoever says which one fires is believed."""
    rule = make_rule(
        "r",
        "total_available_balance",
        make_threshold(INFO, "100", clear="500"),
        make_threshold(CRITICAL, "50", clear="60"),
    )
    assert told(rule, sample_of(make_wallet("10"))) == [("deposit", "50.00", "USDT")]
    (offer,) = offers(rule, sample_of(make_wallet("10")), severity=INFO)
    assert str(offer.amount) == "490.00"
    assert offers(rule, sample_of(make_wallet("10")), severity=WARNING) == ()
