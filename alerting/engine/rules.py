"""What the rules file says, as the engine reads it: rules, routes, the built-in alerts."""

from __future__ import annotations

import enum
import fnmatch
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from alerting.engine.expressions import Expression, LookBack
from alerting.engine.feeds import FEED_OF, FEEDS, LABELS, SCOPES, WALLET, Scope
from alerting.engine.model import Direction, Severity
from alerting.engine.mute_windows import Window
from alerting.units import ZERO


class Zone(enum.Enum):
    """Where one value stands beside one threshold."""

    #: strictly beyond the threshold
    BREACH = "breach"
    #: between the threshold and `clear`
    BAND = "band"
    #: at `clear` or on its safe side
    CLEAR = "clear"


@dataclass(frozen=True, slots=True)
class NamePattern:
    """A list of names and `*` globs; a leading `!` excludes. An empty list matches all."""

    patterns: tuple[str, ...] = ()

    def matches(self, name: str) -> bool:
        """True if some pattern takes `name` (or all only exclude) and none excludes it."""
        if not self.patterns:
            return True
        excluding = [p[1:] for p in self.patterns if p.startswith("!")]
        including = [p for p in self.patterns if not p.startswith("!")]
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in excluding):
            return False
        return not including or any(fnmatch.fnmatchcase(name, p) for p in including)


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """The threshold of one severity and its delays."""

    severity: Severity
    #: beyond it is a breach
    line: Decimal
    #: equal to the threshold where the file sets none
    clear: Decimal
    for_: timedelta = ZERO
    keep_firing_for: timedelta = ZERO


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One rule of the file."""

    name: str
    scope: Scope
    value: Expression
    direction: Direction
    #: from the mildest severity to the worst; at least one
    thresholds: tuple[Threshold, ...]
    when: Expression | None = None
    accounts: NamePattern = NamePattern()
    base_assets: NamePattern = NamePattern()
    symbols: NamePattern = NamePattern()
    labels: Mapping[str, str] = field(default_factory=dict)
    #: summary, description, runbook: Jinja sources
    annotations: Mapping[str, str] = field(default_factory=dict)
    #: whether its numbers are shown in percent: it is written so, or it compares shares
    percent: bool = False
    #: False: parked, as if it were not in the file, but for its mistakes
    enabled: bool = True

    @property
    def names(self) -> frozenset[str]:
        """All names that its expressions use."""
        return self.value.names | (self.when.names if self.when else frozenset())

    @property
    def looks_back(self) -> tuple[LookBack, ...]:
        """All that its expressions ask of the past."""
        if self.when is None or not self.when.looks_back:
            return self.value.looks_back
        return tuple(dict.fromkeys((*self.value.looks_back, *self.when.looks_back)))

    def applies_to(self, labels: Mapping[str, str]) -> bool:
        """Whether an alert of this rule can have these labels; asked for each row of each poll."""
        if labels.keys() != SCOPES[self.scope].label_set:
            return False  # the rule was made for another scope since
        if not (self.accounts.patterns or self.base_assets.patterns or self.symbols.patterns):
            return True  # as most rules are
        return (
            self.accounts.matches(labels.get("account", ""))
            and ("base_asset" not in labels or self.base_assets.matches(labels["base_asset"]))
            and ("symbol" not in labels or self.symbols.matches(labels["symbol"]))
        )


def classify(threshold: Threshold, direction: Direction, value: Decimal) -> Zone:
    """Where `value` stands; on the threshold is not beyond it, on `clear` is clear."""
    beyond = operator.gt if direction is Direction.ABOVE else operator.lt
    if beyond(value, threshold.line):
        return Zone.BREACH
    return Zone.BAND if beyond(value, threshold.clear) else Zone.CLEAR


#: The labels that a route may match besides those that rules add.
ROUTE_LABELS = ("severity", "rule", *LABELS, "receiver")


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeat:
    """When a receiver is reminded of an alert that still fires."""

    #: after it was told any news
    first: timedelta
    #: each further reminder waits so many times longer
    factor: Decimal = Decimal(1)
    #: but never longer than this; None: no bound
    longest: timedelta | None = None

    def after(self, repeats: int) -> timedelta:
        """How long to wait after so many reminders since the last news."""
        delay, longest = self.first, self.longest or timedelta.max
        for _ in range(repeats):
            if delay >= longest or self.factor == 1:
                break
            delay = min(longest, timedelta(seconds=float(self.factor) * delay.total_seconds()))
        return min(delay, longest)


@dataclass(frozen=True, kw_only=True, slots=True)
class Flapping:
    """More than `changes` times up or down `within` this time is flapping."""

    changes: int
    within: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """Which receivers take an alert, and how often they are reminded."""

    receivers: tuple[str, ...]
    #: label -> pattern; all must match; empty: matches everything
    match: Mapping[str, NamePattern] = field(default_factory=dict)
    repeat: Repeat = Repeat(first=timedelta(hours=4))
    #: while one of them covers now, the route's receivers are told later
    mute: tuple[Window, ...] = ()
    #: critical alerts pass through a mute unless this is set
    mute_critical: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiverPolicy:
    """What the engine needs to know of one receiver."""

    send_resolved: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltinRule:
    """What can be set of one built-in alert."""

    severity: Severity
    for_: timedelta = ZERO
    keep_firing_for: timedelta = ZERO


#: Names that no rule of the file may take.
BLIND = "blind"
SUSPECT_DATA = "suspect-data"
RULE_UNDEFINED = "rule-undefined"
DELIVERY_FAILING = "delivery-failing"
CONFIG_INVALID = "config-invalid"
BUILTIN_NAMES = (BLIND, SUSPECT_DATA, RULE_UNDEFINED, DELIVERY_FAILING, CONFIG_INVALID)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ruleset:
    """All that the engine obeys."""

    rules: tuple[Rule, ...]
    #: in the file's order; the last matches everything
    routes: tuple[Route, ...]
    #: in the file's order
    receivers: Mapping[str, ReceiverPolicy]
    accounts: tuple[str, ...]
    #: a longer time than this between two snapshots does not age an alert
    blind_after: timedelta
    #: one entry for each of BUILTIN_NAMES; for `blind`, `rule-undefined` and `delivery-failing`
    #: `for_` is the whole delay (defaults: blind_after, blind_after, 5 minutes)
    builtin: Mapping[str, BuiltinRule]
    #: None: an alert may go up and down as often as it likes
    flapping: Flapping | None = None
    #: how far an accounting identity may be off, in units of the asset
    tolerance: Decimal = Decimal("0.000001")
    #: a settlement row that stays away from good answers for so long is gone for good
    forget_after: timedelta = timedelta(hours=1)

    def feeds_of(self, account: str) -> tuple[str, ...]:
        """The feeds that an account is judged by: the wallet, and those that a rule asks for."""
        asked = {
            FEED_OF[rule.scope]
            for rule in self.rules
            if rule.enabled and rule.scope in FEED_OF and rule.accounts.matches(account)
        }
        return tuple(feed for feed in FEEDS if feed == WALLET or feed in asked)
