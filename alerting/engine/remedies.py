"""What would clear an alert that fires: the least of each action, proved by the rule itself.

A model says which fields an action changes; the rule's own `value` is computed anew from them, and
is asked whether it is at or past `clear`. Nothing is solved on the expression, which may be any: an
amount is guessed, tried, and offered only if it clears and one step less (a cent, a percent) does
not, and all amounts that were tried below it got nearer to `clear` the larger they were. Where that
is not so, nothing can be said for certain, and nothing is.

The `clear` that counts is that of the severity which fires, which the message names: a critical is
told what ends the critical, and eases to the warning then, which is told what ends the warning. It
clears by the value: that `when` would stop applying, or
that the position would be gone, is no remedy, and where `when` would have no value the alert would
be held.

What each page can say of an action decides what is modelled:

* `deposit`, of every wallet and of a row's settlement asset: total and available rise. Exact.
* `add_margin`, of a position: available falls, the position's margin and the blocked totals rise.
  Exact, and only as far as available goes.
* `reduce`, of a position: its size, value and margin shrink; the margin comes back with its share
  of the profit or loss at mark price. Without the fee of closing, which no page says beforehand.

A symbol row of the wallet page has its margin and no profit, so what closing would give back cannot
be known from it; and more margin on it only locks more. So symbol rows are offered deposits alone.
The `reported_*` figures after an action are the exchange's to say: a rule that uses them has no
value then, and is offered nothing that would change them.

The cost: at most MOST_TRIES evaluations of the rule per action, about a dozen where the value is a
ratio of sums; only for alerts that fire, on good data (bench/risk.py counts and measures).
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from alerting.engine import risk, samples
from alerting.engine.expressions import Values
from alerting.engine.feeds import POSITION_FIELDS, SYMBOL_FIELDS, WALLET_FIELDS
from alerting.engine.model import Direction, Severity
from alerting.engine.remedy import PERCENT, Action, Remedy
from alerting.engine.rules import Rule, Threshold, Zone, classify
from alerting.engine.samples import Sample
from alerting.engine.snapshot import PositionRow, Side
from alerting.units import EXACT

#: how many remedies an alert has at most
MOST_OFFERED = 2
#: how often the rule is evaluated at most, for one action
MOST_TRIES = 120
_CENT = Decimal("0.01")
#: a million millions; more than this is no advice
_MOST_CENTS = 10**14
#: closing all of it is no smaller a share of a position: the alert would end as `gone`
_MOST_PERCENT = 99
#: each amount that is tried first is so many times the one before
_STRIDE = 4

#: a rule and values -> its value; None: no data
ValueOf = Callable[[Rule, Values], Decimal | None]
#: what a row's values are after so many steps (cents, percents) of an action
_Model = Callable[[Sample, int], Values]


def value_of(rule: Rule, values: Values) -> Decimal | None:
    """The rule's value, under the thread's decimal context; None: no data, or `when` has none."""
    value = rule.value.evaluate(values)
    if rule.when is not None and rule.when.evaluate(values) is None:
        return None
    return value if isinstance(value, Decimal) else None


def offers(
    rule: Rule,
    sample: Sample,
    *,
    severity: Severity | None = None,
    value_of: ValueOf = value_of,
) -> tuple[Remedy, ...]:
    """At most two things that would clear the rule's alert of this row; none where it is clear.

    `severity`: the one that fires; None: the worst that is not clear by the value.
    """
    plans = [plan for plan in _plans(sample.labels) if rule.value.names & plan.changed]
    if not plans:
        return ()
    with decimal.localcontext(EXACT):
        threshold = _counting(rule, severity, value_of(rule, sample.values))
        if threshold is None:
            return ()
        searches = [
            (plan, _Search(rule, sample, threshold, plan.after, value_of)) for plan in plans
        ]
        return tuple(_offers(searches))[:MOST_OFFERED]


def _counting(rule: Rule, severity: Severity | None, value: Decimal | None) -> Threshold | None:
    """The threshold whose `clear` counts; from the mildest to the worst they stand in the rule."""
    if value is None:
        return None
    unclear = [
        each
        for each in rule.thresholds
        if severity in {None, each.severity}
        and classify(each, rule.direction, value) is not Zone.CLEAR
    ]
    return unclear[-1] if unclear else None


def _offers(searches: Iterable[tuple[_Plan, _Search]]) -> Iterator[Remedy]:
    for plan, search in searches:
        steps = search.smallest(plan.most(search.sample))
        if steps is not None:
            yield Remedy(
                action=plan.action,
                amount=steps * plan.step,
                unit=plan.unit or search.sample.labels["base_asset"],
            )


# ── the fields after an action ──────────────────────────────────────────────


def _after_deposit(sample: Sample, cents: int) -> Values:
    amount = cents * _CENT
    values = _moved(sample.values, total_balance=amount, total_available_balance=amount)
    return _derived(sample.labels, values)


def _after_adding_margin(sample: Sample, cents: int) -> Values:
    amount = cents * _CENT
    values = _moved(
        sample.values,
        total_available_balance=-amount,
        total_blocked_balance=amount,
        total_position_margin=amount,
        position_margin=amount,
    )
    return {**values, **risk.figures(_position(sample, values))}


def _after_closing(sample: Sample, percent: int) -> Values:
    values, part = sample.values, percent * _CENT
    margin, won = values.get("position_margin"), values.get("unrealised_pnl")
    if margin is None or won is None:
        return {}
    back, gain = part * margin, part * won
    values = _moved(
        values,
        total_balance=gain,
        total_available_balance=back + gain,
        total_blocked_balance=-back,
        total_position_margin=-back,
        position_margin=-back,
    )
    left = 1 - part
    shrunk = {
        name: None if (number := values.get(name)) is None else left * number
        for name in ("position_size", "position_value")
    }
    values = {**values, **shrunk}
    return {**values, **risk.figures(_position(sample, values))}


def _moved(values: Values, **by: Decimal) -> dict[str, Decimal | None]:
    """The same with some changed; what has no value keeps none."""
    moved = {
        name: None if (number := values.get(name)) is None else number + amount
        for name, amount in by.items()
    }
    return {**values, **moved}


def _derived(labels: Mapping[str, str], values: Values) -> Values:
    """After a change of an asset's totals, what samples.py computes of them."""
    totals = _present(values, WALLET_FIELDS)
    if "side" in labels:
        return values
    if "symbol" in labels:
        return {**values, **samples.symbol_values(_present(values, SYMBOL_FIELDS), totals)}
    blocked, unlisted = values.get("total_blocked_balance"), values.get("unlisted_margin")
    listed = None if blocked is None or unlisted is None else blocked - unlisted
    return {**values, **samples.wallet_values(totals, listed)}


def _position(sample: Sample, values: Values) -> PositionRow:
    """The row that has these values; what the page reckoned by itself holds no more."""
    fields, labels = _present(values, POSITION_FIELDS), sample.labels
    needed, whole = sample.values.get("maintenance_margin"), sample.values.get("position_value")
    if needed is not None and whole is not None:
        # the instrument's two rates, as far as they matter: what they come to together
        fields |= {"maint_margin_rate": Decimal(0), "liq_fee_rate": needed / whole}
    return PositionRow(
        symbol=labels["symbol"],
        base_asset=labels["base_asset"],
        exchange=labels["exchange"],
        side=Side(labels["side"]),
        fields=fields,
    )


def _present(values: Values, names: tuple[str, ...]) -> dict[str, Decimal]:
    return {name: number for name in names if (number := values.get(name)) is not None}


# ── which actions there are ─────────────────────────────────────────────────


def _available(sample: Sample) -> int:
    """In whole cents; 0 where that is not known."""
    available = sample.values.get("total_available_balance")
    return 0 if available is None else max(0, min(_MOST_CENTS, int(available / _CENT)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """One action of one kind of row."""

    action: Action
    after: _Model
    #: what one step is; the amount is so many of them
    step: Decimal
    #: how many steps there can be
    most: Callable[[Sample], int]
    #: names whose value it changes: a rule without any of them needs no trying
    changed: frozenset[str]
    #: None: the settlement asset
    unit: str | None = None


def _deposit(*derived: str) -> _Plan:
    return _Plan(
        action=Action.DEPOSIT,
        after=_after_deposit,
        step=_CENT,
        most=lambda _: _MOST_CENTS,
        changed=frozenset({"total_balance", "total_available_balance", *derived}),
    )


# What an action of a position leaves as it is: the leverage that is set, and prices.
_LEFT = {"leverage", "avg_entry_price", "mark_price", "last_price"}
_ADD_MARGIN = _Plan(
    action=Action.ADD_MARGIN,
    after=_after_adding_margin,
    step=_CENT,
    most=_available,
    changed=frozenset({*WALLET_FIELDS, *risk.NAMES} - _LEFT),
)
_REDUCE = _Plan(
    action=Action.REDUCE,
    after=_after_closing,
    step=Decimal(1),
    most=lambda _: _MOST_PERCENT,
    changed=_ADD_MARGIN.changed,
    unit=PERCENT,
)
#: a label that only rows of this kind and narrower ones have -> what can be done, first what is
#: nearest at hand
_PLANS: Mapping[str, tuple[_Plan, ...]] = {
    "side": (_ADD_MARGIN, _REDUCE, _deposit()),
    "symbol": (_deposit("margin_ratio"),),
    "base_asset": (_deposit("margin_ratio", "available_ratio"),),
}


def _plans(labels: Mapping[str, str]) -> tuple[_Plan, ...]:
    return next((plans for label, plans in _PLANS.items() if label in labels), ())


# ── the smallest amount ─────────────────────────────────────────────────────


@dataclass(slots=True)
class _Search:
    """For one action; `tried` holds every value that the rule gave, by steps."""

    rule: Rule
    sample: Sample
    threshold: Threshold
    after: _Model
    value_of: ValueOf
    tried: dict[int, Decimal | None] = field(default_factory=dict)

    def smallest(self, most: int) -> int | None:
        """The least number of steps that clears; None: none does, or that is not certain."""
        # that it does not clear as it is, is why there is a search
        self.tried[0] = self.value_of(self.rule, self.sample.values)
        low, high = 0, min(1, most)
        while not self._clears(high):
            if high >= most:
                return None
            low, high = high, min(high * _STRIDE, most)
        found = self._narrow(low, high)
        return found if found is not None and self._nears(found) else None

    def _clears(self, steps: int) -> bool:
        if steps not in self.tried:
            self.tried[steps] = self.value_of(self.rule, self.after(self.sample, steps))
        value = self.tried[steps]
        cleared = value is not None and classify(self.threshold, self.rule.direction, value)
        return cleared is Zone.CLEAR

    def _narrow(self, low: int, high: int) -> int | None:
        """Between steps that do not clear and steps that do: by guesses, else by halves."""
        before = 0
        while high - low > 1:
            if len(self.tried) > MOST_TRIES:
                return None
            guess = self._guess(before, low, high)
            for steps in (guess, guess - 1, guess + 1, (low + high) // 2):
                if not low < steps < high:
                    continue
                if self._clears(steps):
                    high = steps
                else:
                    before, low = low, steps
        return high

    def _guess(self, first: int, low: int, high: int) -> int:
        """Where the line is met if the value is a ratio of sums: exact then, whatever it is of.

        By the cross-ratio of three points and their values, which such a function keeps.
        """
        target = self.threshold.clear
        a, b, c = (self.tried[steps] for steps in (first, low, high))
        if a is None or b is None or c is None:
            return low
        if c == target:
            return high  # met exactly: one less is the one to try
        try:
            kept = (target - b) * (a - c) / ((target - c) * (a - b))
            kept *= Decimal(first - low) / (first - high)
            met = (low - kept * high) / (1 - kept)
            return int(met.to_integral_value(decimal.ROUND_CEILING))
        except decimal.DecimalException:
            return low

    def _nears(self, found: int) -> bool:
        """Whether all that was tried up to there came nearer with each step: so it is the least."""
        values = [self.tried[steps] for steps in sorted(self.tried) if steps <= found]
        known = [value for value in values if value is not None]
        rising = self.rule.direction is Direction.BELOW
        return len(known) == len(values) and known == sorted(known, reverse=not rising)
