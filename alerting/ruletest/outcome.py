"""What came of a test: each step as it was evaluated, and what differs from the expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from alerting.engine.model import Notification, Severity, State
from alerting.engine.over_time import Found
from alerting.engine.samples import Totals
from alerting.ruletest.case import Case, Expectation


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertState:
    """One alert as it stood after one evaluation."""

    rule: str
    labels: Mapping[str, str]
    state: State
    severity: Severity | None = None
    value: Decimal | None = None
    #: the rule's condition is false, which keeps it inactive
    excused: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluatedStep:
    """One step, every feed of it evaluated; alerts that are inactive are not in it."""

    at: timedelta
    alerts: tuple[AlertState, ...]
    sent: tuple[Notification, ...]
    #: of the wallet, as far as rows of another feed may go by them
    totals: Totals = field(default_factory=dict)
    #: what the functions over time gave
    over_time: Mapping[Found, Mapping[str, Decimal | None]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """An expectation that does not hold."""

    expectation: Expectation
    #: what was found instead
    found: str
    #: index of the step that shows it; after the last one, how many there are
    step: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One case that was run."""

    case: Case
    steps: tuple[EvaluatedStep, ...]
    #: in the file's order
    differences: tuple[Difference, ...]
