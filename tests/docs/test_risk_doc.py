"""docs/risk.md: its worked example is what the program computes, its remedies are found anew."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from alerting.engine import remedies, risk
from alerting.engine.expressions import Kind, compile_expression
from alerting.engine.feeds import POSITION_FIGURES
from alerting.engine.model import Direction
from alerting.engine.snapshot import Side
from alerting.messages.phrases import to_clear
from alerting.units import parse_number
from tests.support.factories import CRITICAL, WARNING, D, make_rule, make_threshold, make_wallet
from tests.support.positions import make_position, position_sample, rounded, truths

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "risk.md").read_text("utf-8")
BTC = {
    "leverage": "25",
    "position_size": "0.1",
    "position_value": "10000",
    "position_margin": "400",
    "avg_entry_price": "100000",
    "mark_price": "98000",
    "last_price": "98000",
    "maint_margin_rate": "0.56",
    "liq_fee_rate": "0.0075",
    "liquidation_price": "97310",
}
ROW = make_position(Side.LONG, symbol="BTCUSDT", **BTC)


def example():
    """Name -> number, of the table's last column."""
    rows = re.findall(r"^\| `(\w+)` \|.*\| (-?[0-9.]+) \|$", PAGE, re.MULTILINE)
    return {name: D(number) for name, number in rows}


def test_the_text_before_the_table_is_about_this_position():
    for words in ("0.1 BTC bought at 100,000", "400 USDT of margin", "10,000 USDT", "25x"):
        assert words in PAGE
    assert re.search(r"`maint_margin_rate` is 0\.56 .*`liq_fee_rate` 0\.0075", PAGE)
    assert "fallen to 98,000" in PAGE


def test_its_numbers_are_computed_so_by_the_program_and_by_hand():
    found, exact = risk.figures(ROW), truths(ROW)
    assert list(example()) == list(POSITION_FIGURES)
    for name, number in example().items():
        places = max(0, -number.as_tuple().exponent)
        assert round(found[name], places) == round(rounded(exact[name]), places) == number, name
    assert risk.doubts(ROW) == ()


def test_the_exchanges_own_example_is_as_it_says():
    found = risk.figures(make_position())
    said = re.search(r"says\n`unrealised_pnl` (\S+) and `liquidation_price` (\S+)\. It", PAGE)
    assert D(said[1]) == found["reported_unrealised_pnl"]
    assert D(said[2]) == found["reported_liquidation_price"]
    assert D(re.search(r"It has lost ([0-9.]+),", PAGE)[1]) == -found["unrealised_pnl"]
    assert (found["liquidation_price"], found["liquidation_distance"]) == (None, 1)


def test_its_remedy_is_what_the_rule_comes_to():
    text = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1]
    (rule,) = yaml.safe_load(text)["rules"]
    levels = [
        make_threshold(
            severity,
            parse_number(rule["below"][severity.value]),
            clear=parse_number(rule["clear"][severity.value]),
        )
        for severity in (WARNING, CRITICAL)
    ]
    made = make_rule(rule["name"], "total_balance", *levels, direction=Direction.BELOW)
    value = compile_expression(rule["value"], kind=Kind.NUMBER, names=risk.NAMES)
    object.__setattr__(made, "value", value)  # as `per: position` makes it
    sample = position_sample(ROW, make_wallet("500", position="400"))
    offers = remedies.offers(made, sample)
    assert f"the critical's message says `{to_clear(offers)}`" in PAGE
