"""Positions and remedies against Fractions: what is compared, and how it came out.

The oracle shares no line with the program: the contract's formulas and its model of each action, in
fractions. Used by tests/engine/test_risk_proofs.py and bench/risk.py.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import replace
from fractions import Fraction

from alerting.engine import remedies, risk
from alerting.engine.expressions import Kind, compile_expression
from alerting.engine.feeds import WALLET_FIELDS
from alerting.engine.model import Direction
from alerting.engine.remedy import Action
from alerting.engine.rules import Zone, classify
from tests.support.factories import WARNING, D, make_rule, make_threshold, make_wallet
from tests.support.positions import position_sample, random_position, rounded, truths

#: nothing to compare with: equity that is used up, or a price that is none
_NONE = {"maintenance_margin_ratio": risk.BEYOND}
_DISTANCE = "liquidation_distance"
_OF_POSITIONS = (
    _DISTANCE,
    "maintenance_margin_ratio",
    "effective_leverage",
    "margin_loss",
    "maintenance_margin",
)


def position_rule(value, line, clear=None, *, direction=Direction.ABOVE):
    """A rule over the names of a position."""
    names = (*WALLET_FIELDS, *risk.NAMES)
    expression = compile_expression(value, kind=Kind.NUMBER, names=names)
    threshold = make_threshold(WARNING, line, clear=clear)
    return replace(
        make_rule("r", "total_balance", threshold, direction=direction), value=expression
    )


def is_clear(rule, value):
    """Whether every level is at or past its `clear`."""
    return value is not None and all(
        classify(each, rule.direction, value) is Zone.CLEAR for each in rule.thresholds[-1:]
    )


# ── figures ─────────────────────────────────────────────────────────────────


def differences(row):
    """The computed names whose value is not the exact one, rounded once."""
    found = risk.figures(row)
    expected = {
        name: _NONE.get(name) if exact is None else rounded(exact)
        for name, exact in truths(row).items()
    }
    return [name for name, number in expected.items() if found[name] != number]


def compare_figures(count, *, seed):
    """Counts: positions, names compared, names that differ in any digit, and of what kind they are."""
    dice, counts = random.Random(seed), Counter()
    for _ in range(count):
        row = random_position(dice)
        exact = truths(row)
        counts["positions"] += 1
        counts["compared"] += len(exact)
        counts["different"] += len(differences(row))
        counts["used up"] += exact["equity"] <= 0
        counts["no price"] += exact["liquidation_price"] is None
        counts["at most 1"] += exact["liquidation_distance"] == 1
    return counts


# ── remedies ────────────────────────────────────────────────────────────────


def prove_remedies(count, *, seed):
    """Counts: alerts, remedies by action, those that do not clear, those that could be smaller."""
    dice, counts = random.Random(seed), Counter()
    while counts["alerts"] < count:
        row = random_position(dice)
        wallet = make_wallet(f"{dice.uniform(0, 3) * float(row.fields['position_margin']):.2f}")
        sample = position_sample(row, wallet)
        name = dice.choice(_OF_POSITIONS)
        rule = _rule_that_fires(name, sample.values[name], dice)
        if rule is None:
            continue
        counts["alerts"] += 1
        counting = _Counting()
        started = time.perf_counter()
        offers = remedies.offers(rule, sample, value_of=counting)
        counts["microseconds"] += round(1e6 * (time.perf_counter() - started))
        counts["evaluations"] += counting.calls
        counts["most evaluations"] = max(counts["most evaluations"], counting.calls)
        counts["without"] += not offers
        for offer in offers:
            counts[offer.action.value] += 1
            counts["not clear"] += not is_clear(rule, _after(row, offer)[name])
            counts["not the smallest"] += is_clear(rule, _after(row, offer, less=1)[name])
            counts["more than available"] += _asks_too_much(offer, wallet)
    return counts


class _Counting:
    def __init__(self):
        self.calls = 0

    def __call__(self, rule, values):
        self.calls += 1
        return remedies.value_of(rule, values)


def _rule_that_fires(name, value, dice):
    if value is None:
        return None
    if name == _DISTANCE:
        line = D(dice.randint(1, 60)) / 100
        rule = position_rule(name, str(line), direction=Direction.BELOW)
    else:
        line = min(value, D(9)) * 10 / dice.randint(11, 40)
        rule = position_rule(name, str(line.quantize(D("0.00001"))))
    return None if is_clear(rule, value) else rule


def _asks_too_much(offer, wallet):
    margin = offer.action is Action.ADD_MARGIN
    return margin and offer.amount > wallet.fields["total_available_balance"]


def _after(row, offer, *, less=0):
    """The figures after an action, or after one step less of it."""
    f = {name: Fraction(number) for name, number in row.fields.items()}
    amount = Fraction(offer.amount)
    if offer.action is Action.ADD_MARGIN:
        f["position_margin"] += amount - Fraction(less, 100)
    elif offer.action is Action.REDUCE:
        for name in ("position_size", "position_value", "position_margin"):
            f[name] *= 1 - (amount - less) / 100
    exact = truths(replace(row, fields=f))
    return {
        name: _NONE.get(name) if number is None else rounded(number)
        for name, number in exact.items()
    }
