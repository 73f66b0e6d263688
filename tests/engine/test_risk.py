"""What a position's own numbers come to: to the last digit, and what has no value."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.engine import risk
from alerting.engine.feeds import POSITION_FIELDS, POSITION_FIGURES, REPORTED
from alerting.engine.snapshot import Side
from tests.support.factories import D
from tests.support.positions import make_position, rounded, truths
from tests.support.risk_proofs import differences

COMPUTED = tuple(truths(make_position()))
LONG, SHORT = Side.LONG, Side.SHORT


def figures(*args, **override):
    return risk.figures(make_position(*args, **override))


# ── the exchange's own examples ─────────────────────────────────────────────


def test_the_documents_position():
    """Its page says 0.3068 for the profit and 0.1291 for the price: the signs are lost."""
    found = figures()
    assert found["unrealised_pnl"] == D("-0.2444")
    assert found["equity"] == D("33.807717186199")
    assert found["maintenance_margin"] == D("0.564627375")
    assert f"{found['maintenance_margin_ratio']:.10f}" == "0.0167011387"
    assert found["liquidation_price"] is None
    assert found["liquidation_distance"] == 1
    assert f"{found['margin_loss']:.10f}" == "0.0071772336"
    assert f"{found['effective_leverage']:.10f}" == "0.7350437139"
    assert found["reported_unrealised_pnl"] == D("0.3068")
    assert found["reported_liquidation_price"] == D("0.129122150942")
    assert found["reported_maint_margin"] == D("37.641825")


def test_the_liquidation_prices_of_the_documents_to_their_last_digit():
    """No price closes these; the page prints what it computes all the same, the first unsigned."""
    assert f"{truth_of_price(make_position()):.12f}" == "-0.129122150942"
    added = make_position(
        position_margin="50.052117186199", liquidation_price="-0.3752759970953692"
    )
    assert f"{truth_of_price(added):.16f}" == "-0.3752759970953692"
    assert risk.figures(added)["liquidation_price"] is None
    # the check computes it, without saying that there is none
    assert risk.doubts(make_position()) == risk.doubts(added) == ()
    (text,) = risk.doubts(make_position(liquidation_price="-0.3752759970953692"))
    assert "-0.129122150942 by its margin and -0.3752759970953692 by the page" in text


def truth_of_price(row):
    """The contract's formula, 0 or less as it may be."""
    f = {name: Fraction(number) for name, number in row.fields.items()}
    needed = f["position_value"] * (f["maint_margin_rate"] / 100 + f["liq_fee_rate"])
    price = f["avg_entry_price"] - (f["position_margin"] - needed) / f["position_size"]
    return rounded(price)


def test_a_short_is_its_mirror():
    """The same margin, the price as far on the other side: gains turn into losses."""
    margin = {"position_margin": "5", "mark_price": "0.36"}
    mirrored = {"position_margin": "5", "mark_price": "0.41214"}  # 2 x entry - 0.36
    long, short = figures(LONG, **margin), figures(SHORT, **mirrored)
    for name in ("unrealised_pnl", "equity", "maintenance_margin_ratio", "margin_loss"):
        assert long[name] == short[name], name
    assert long["liquidation_price"] + short["liquidation_price"] == 2 * D("0.38607")
    assert long["unrealised_pnl"] == D("-1.69455")


# ── to the last digit ───────────────────────────────────────────────────────


wire = st.builds(
    lambda digits, exponent: D(digits).scaleb(exponent),
    st.integers(1, 10**30),
    st.integers(-60, 30),
)


@settings(max_examples=300, deadline=None)
@given(
    side=st.sampled_from(Side),
    numbers=st.lists(wire, min_size=6, max_size=6),
    rates=st.tuples(wire, wire),
)
def test_whatever_the_wire_can_carry_is_rounded_once(side, numbers, rates):
    names = (*POSITION_FIELDS[1:5], "mark_price", "last_price")
    fields = dict(zip(names, map(str, numbers), strict=True))
    row = make_position(side, maint_margin_rate=str(rates[0]), liq_fee_rate=str(rates[1]), **fields)
    assert differences(row) == []


# ── no data ─────────────────────────────────────────────────────────────────


def without(name, value=None):
    """The computed names that are lost."""
    found = figures(**{name: value, "position_margin": "5"} | {name: value})
    return {each for each in COMPUTED if found[each] is None}


@pytest.mark.parametrize("rate", ["maint_margin_rate", "liq_fee_rate"])
@pytest.mark.parametrize("value", [None, "-0.01"])
def test_without_instrument_data(rate, value):
    """What needs it has no value; the page's own figures are no help, as nobody knows their scale."""
    needs_it = {
        "maintenance_margin",
        "maintenance_margin_ratio",
        "liquidation_price",
        "liquidation_distance",
    }
    assert without(rate, value) == needs_it


@pytest.mark.parametrize("value", [None, "0", "-1"])
def test_a_size_or_price_that_cannot_be_has_no_value(value):
    assert without("mark_price", value) == {*COMPUTED} - {"maintenance_margin", "liquidation_price"}
    assert without("avg_entry_price", value) == {*COMPUTED} - {"maintenance_margin"}
    assert without("position_size", value) == {*COMPUTED} - {"maintenance_margin"}
    assert without("position_value", value) == {
        "maintenance_margin",
        "maintenance_margin_ratio",
        "liquidation_price",
        "liquidation_distance",
    }
    assert without("last_price", value) == set()
    assert without("leverage", value) == set()


def test_without_its_margin_a_position_still_has_a_profit():
    assert without("position_margin") == {*COMPUTED} - {"unrealised_pnl", "maintenance_margin"}


def test_a_margin_of_zero_is_used_up():
    """Impossible, and so suspect; but it may be said, and a breach counts."""
    found = figures(position_margin="0")
    assert found["maintenance_margin_ratio"] == risk.BEYOND
    assert found["liquidation_distance"] < 0
    assert found["margin_loss"] is None


def test_what_the_page_does_not_say_is_none():
    found = figures(**dict.fromkeys((*POSITION_FIELDS, *REPORTED.values())))
    assert set(found) == {*POSITION_FIELDS, *REPORTED, *COMPUTED} == set(risk.NAMES)
    assert POSITION_FIGURES == COMPUTED
    assert set(found.values()) == {None}


# ── the edges ───────────────────────────────────────────────────────────────


def at_price(mark, side=LONG, **override):
    """10 coins bought at 100, with a margin of 100 and a maintenance margin of 20."""
    return figures(
        side,
        position_size="10",
        position_value="1000",
        avg_entry_price="100",
        mark_price=mark,
        **{
            "position_margin": "100",
            "maint_margin_rate": "1.25",
            "liq_fee_rate": "0.0075",
            **override,
        },
    )


def test_at_liquidation_the_ratio_is_one_and_the_distance_zero():
    found = at_price("92")
    assert found["liquidation_price"] == D("92")
    assert found["maintenance_margin_ratio"] == 1
    assert found["liquidation_distance"] == 0
    short = at_price("108", SHORT)
    assert short["liquidation_price"] == D("108")
    assert short["maintenance_margin_ratio"] == 1
    assert short["liquidation_distance"] == 0


@pytest.mark.parametrize(("side", "mark"), [(LONG, "90"), (LONG, "80"), (SHORT, "110")])
@pytest.mark.parametrize("rate", ["1.25", None])
def test_equity_that_is_used_up_is_beyond_every_line(side, mark, rate):
    """Equity of 0 or less: no maintenance margin that it would not be too little for."""
    found = at_price(mark, side, maint_margin_rate=rate)
    assert found["equity"] <= 0
    assert found["maintenance_margin_ratio"] == Decimal("Infinity") == risk.BEYOND
    assert found["effective_leverage"] is None
    assert found["margin_loss"] >= 1
    assert rate is None or found["liquidation_distance"] < 0


def test_the_last_bit_of_equity_gives_a_number():
    assert at_price("90.000000000001")["maintenance_margin_ratio"] == D("2000000000000")


def test_a_long_that_no_price_can_close():
    """All of its value is paid in: 980 above its needs, or 20 more than that."""
    edge = at_price("100", position_margin="1020")
    assert (edge["liquidation_price"], edge["liquidation_distance"]) == (None, 1)
    inside = at_price("100", position_margin="1019")
    assert inside["liquidation_price"] == D("0.1")
    assert inside["liquidation_distance"] == D("0.999")
    beyond = at_price("100", position_margin="1021")
    assert (beyond["liquidation_price"], beyond["liquidation_distance"]) == (None, 1)


def test_a_short_is_at_most_all_of_its_price_away():
    found = at_price("100", SHORT, position_margin="1500")
    assert found["liquidation_price"] == D("248")
    assert found["liquidation_distance"] == 1


def test_a_short_that_every_price_closes_is_not_safe():
    """Absurd rates; no price above 0 closes it because all do, which is no distance of 1."""
    found = at_price("100", SHORT, maint_margin_rate="150")
    assert found["liquidation_price"] is None
    assert found["liquidation_distance"] == D("-1.4075") + D("0.0")


# ── suspect ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name",
    ["position_size", "position_value", "position_margin", "avg_entry_price", "mark_price"],
)
@pytest.mark.parametrize("value", ["0", "-0.5"])
def test_what_is_not_above_zero_is_suspect(name, value):
    assert risk.doubts(make_position(**{name: value})) == (
        f"DOGEUSDT LONG: {name} is {value}, which is not above 0",
    )


def test_a_last_price_of_zero_is_suspect_too():
    assert risk.doubts(make_position(SHORT, last_price="0", liquidation_price=None)) == (
        "DOGEUSDT SHORT: last_price is 0, which is not above 0",
    )


def test_liquidation_prices_that_differ():
    """By more than 1% of the mark price, in magnitude; on it is no difference."""
    price = {"position_size": "10", "position_value": "1000", "avg_entry_price": "100"}
    price |= {"mark_price": "95", "position_margin": "100", "maint_margin_rate": "1.25"}
    for reported in ("92", "-92", "92.95", "91.05", "-91.05", None):
        assert risk.doubts(make_position(**price, liquidation_price=reported)) == (), reported
    (text,) = risk.doubts(make_position(**price, liquidation_price="92.950000000001"))
    assert text == (
        "DOGEUSDT LONG: the liquidation price is 92 by its margin and 92.950000000001 by the page, "
        "0.950000000001 apart; more than 1% of the mark price 95"
    )
    assert len(risk.doubts(make_position(**price, liquidation_price="-91.04"))) == 1
    assert len(risk.doubts(make_position(**price, liquidation_price="0"))) == 1


@pytest.mark.parametrize("name", ["maint_margin_rate", "position_margin", "mark_price"])
def test_what_cannot_be_compared_is_not(name):
    assert risk.doubts(make_position(**{name: None, "liquidation_price": "7"})) == ()
