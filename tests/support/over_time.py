"""What the functions over time must give, by their definitions alone, and histories to try them on.

Used by tests/engine/test_over_time.py and bench/over_time.py. The model keeps every sample that ever
was and reckons in fractions; of the engine it uses nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from alerting.engine.model import Direction
from alerting.units import EXACT, format_duration
from tests.support.factories import (
    T0,
    make_failure,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_threshold,
    make_wallet,
)

BLIND_AFTER = timedelta(minutes=2)
WINDOWS = tuple(timedelta(seconds=s) for s in (20, 300, 3600))
AHEAD = timedelta(minutes=10)
#: what is looked back on -> its value by the wallet's fields, as the engine's division gives it
WATCHED = {
    "total_available_balance": lambda w: w["total_available_balance"],
    "total_available_balance / total_balance": lambda w: (
        EXACT.divide(w["total_available_balance"], w["total_balance"])
        if w["total_balance"]
        else None
    ),
}
FUNCTIONS = ("ago", "delta", "min_over_time", "max_over_time", "avg_over_time", "predict_linear")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One rule, whose value is one function of one expression."""

    function: str
    watched: str
    window: timedelta
    direction: Direction

    @property
    def text(self):
        ahead = f", {format_duration(AHEAD)}" if self.function == "predict_linear" else ""
        return f"{self.function}({self.watched}, {format_duration(self.window)}{ahead})"

    @property
    def name(self):
        return f"{self.text} {self.direction.value}"

    @property
    def rule(self):
        """It is in breach whatever its value is, so that the alert shows it."""
        line = "1" + 27 * "0" if self.direction is Direction.BELOW else "-1" + 27 * "0"
        threshold = make_threshold(threshold=line)
        return make_rule(self.name, self.text, threshold, direction=self.direction)


CALLS = tuple(
    Call(function=function, watched=watched, window=window, direction=direction)
    for watched in WATCHED
    for window in WINDOWS
    for function in FUNCTIONS
    for direction in Direction
)
RULESET = make_ruleset(*(call.rule for call in CALLS), blind_after=BLIND_AFTER)


@dataclass
class Model:
    """Every sample of one expression: instant, value, whether it can be trusted."""

    samples: list = field(default_factory=list)

    def see(self, at, value, *, good):
        """A sample, unless there is no value; what lies ahead of it counts as now."""
        self.samples = [(min(when, at), known, trust) for when, known, trust in self.samples]
        if value is not None:
            self.samples.append((at, value, good))

    def expected(self, call, now, present, *, good):
        """What a rule is judged by; None: it holds."""
        trusted = self._value(call, now, present, [s for s in self.samples if s[2]])
        everything = self._value(call, now, present, self.samples)
        if good:
            return everything if trusted is None else trusted
        worst = min if call.direction is Direction.BELOW else max
        return worst((each for each in (trusted, everything) if each is not None), default=None)

    def _value(self, call, now, present, samples):
        if call.function in ("ago", "delta"):
            old = [(at, value) for at, value, _ in samples if at <= now - call.window]
            newest = max((at for at, _ in old), default=None)
            if newest is None or newest < now - call.window - BLIND_AFTER:
                return None
            before = [value for at, value in old if at == newest][-1]
            if call.function == "ago":
                return before
            return None if present is None else EXACT.subtract(present, before)
        seen = [(at, Fraction(v)) for at, v, _ in samples if now - call.window < at <= now]
        if not seen:
            return None
        numbers = [value for _, value in seen]
        if call.function == "min_over_time":
            return decimal_of(min(numbers))
        if call.function == "max_over_time":
            return decimal_of(max(numbers))
        if call.function == "avg_over_time":
            return decimal_of(sum(numbers) / len(numbers))
        return least_squares(seen, now + AHEAD)


def least_squares(seen, then):
    """The textbook's line through the means, at an instant."""
    first = seen[0][0]
    times = [Fraction((at - first) // timedelta(microseconds=1)) for at, _ in seen]
    mean_t, mean_v = sum(times) / len(seen), sum(v for _, v in seen) / len(seen)
    spread = sum((t - mean_t) ** 2 for t in times)
    if spread == 0:
        return None
    slope = sum((t - mean_t) * (v - mean_v) for t, (_, v) in zip(times, seen, strict=True)) / spread
    return decimal_of(mean_v + slope * ((then - first) // timedelta(microseconds=1) - mean_t))


def decimal_of(number):
    """A fraction as a decimal, rounded once."""
    return EXACT.divide(Decimal(number.numerator), Decimal(number.denominator))


# ── histories ───────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Step:
    """One poll; `wallet` None: it failed."""

    at: datetime
    wallet: object = None
    good: bool = True

    @property
    def outcome(self):
        return make_failure() if self.wallet is None else make_snapshot(self.wallet, at=self.at)


def history(dice: random.Random) -> Iterator[Step]:
    """Polls without end: mostly every 15 s, with all that may happen to polls and to clocks."""
    at, pause, available = T0, None, Decimal(1000)
    while True:
        # a second poll in one instant has a value whenever the first has: it shows in the alert
        yield _step(dice, at, available, calm=not pause)
        available += Decimal(dice.randint(-(10**6), 10**6)).scaleb(-dice.randint(2, 6))
        pause = _pause(dice)
        at += pause


def _step(dice, at, available, *, calm):
    what = 1 if calm else dice.random()
    if what < 0.08:
        return Step(at=at)
    wallet = make_wallet(available, position=Decimal(dice.randint(0, 10**4)).scaleb(-1))
    if what < 0.14:
        # a sum that does not hold: it may be far off
        off = Decimal(dice.randint(1, 10**6)).scaleb(-2)
        wallet = replace(wallet, fields={**wallet.fields, "total_balance": available + off})
        return Step(at=at, wallet=wallet, good=False)
    if what < 0.17:
        return Step(at=at, wallet=make_wallet("0", position="0"))
    return Step(at=at, wallet=wallet)


def _pause(dice):
    what = dice.random()
    if what < 0.80:
        return timedelta(seconds=15)
    if what < 0.90:
        return timedelta(microseconds=dice.randint(1, 40_000_000))
    if what < 0.93:
        return timedelta(0)
    if what < 0.95:
        return timedelta(seconds=-dice.randint(1, 400))
    if what < 0.98:
        return timedelta(seconds=dice.randint(60, 600))
    return timedelta(seconds=dice.randint(600, 8000))


def compare(dice, steps, judge):
    """Play a history; `judge` gives an Evaluation for each step. Yields each comparison.

    As (call, instant, expected, found), None where there is no value.
    """
    models = {watched: Model() for watched in WATCHED}
    for step, _ in zip(history(dice), range(steps), strict=False):
        evaluation = judge(step)
        if step.wallet is None:
            continue
        present = {text: value(step.wallet.fields) for text, value in WATCHED.items()}
        for text, model in models.items():
            model.see(step.at, present[text], good=step.good)
        judged = {
            alert.rule: alert.value
            for alert in evaluation.memory.alerts.values()
            if alert.judged_at == step.at and alert.labels.get("base_asset") == "USDT"
        }
        for call in CALLS:
            model, now = models[call.watched], present[call.watched]
            expected = model.expected(call, step.at, now, good=step.good)
            yield call, step.at, expected, judged.get(call.name)
