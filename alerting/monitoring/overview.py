"""What there is to be seen of the program at one instant; presenters show it.

They are `status_text`, `status_json` and `prometheus`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from alerting.config.settings import Config
from alerting.engine import routing
from alerting.engine.model import PROGRAM, Alert, Direction, Memory, Severity, Silence, State
from alerting.engine.rules import Ruleset
from alerting.monitoring.health import Health, HealthStore, look
from alerting.monitoring.nearest import Reach
from alerting.units import EXACT, plain


class OverviewStore(HealthStore, Protocol):
    """What is asked of the state file; each method raises StoreError if it cannot be read."""

    def memory(self, account: str) -> Memory:
        """What is remembered of an account, or of the program."""

    def evaluations(self) -> Mapping[str, datetime]:
        """When each account was last evaluated."""

    def silences(self, *, now: datetime) -> tuple[Silence, ...]:
        """Silences that have not ended."""

    def sent_totals(self) -> Mapping[str, int]:
        """How many messages each receiver ever accepted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """Everything that is shown, at one instant."""

    now: datetime
    health: Health
    #: pending and firing ones, worst first
    alerts: tuple[Alert, ...]
    #: fingerprints of those that somebody acknowledged, and of those under a silence
    acked: frozenset[str]
    silenced: frozenset[str]
    #: account -> its last evaluation, whatever its poll gave
    evaluated: Mapping[str, datetime] = field(default_factory=dict)
    #: rule, built-in ones too -> the severities that it has
    severities: Mapping[str, tuple[Severity, ...]] = field(default_factory=dict)
    #: receiver -> messages that it ever accepted
    sent_totals: Mapping[str, int] = field(default_factory=dict)
    #: those that have not ended
    silences: tuple[Silence, ...] = ()
    #: every rule of the file, and how near it is to its line; `status` alone looks
    reaches: tuple[Reach, ...] = ()
    #: the last day: what, bars, range
    sparklines: tuple[tuple[str, str, str], ...] = ()


def overview(config: Config, store: OverviewStore | None, *, now: datetime) -> Overview:
    """Read the state file, StoreError if that cannot be; `store` None: there is none yet."""
    ruleset = config.ruleset
    memories = [store.memory(name) for name in (PROGRAM, *ruleset.accounts)] if store else []
    known = [(alert, memory) for memory in memories for alert in memory.alerts.values()]
    active = [alert for alert, _ in known if alert.state is not State.INACTIVE]
    return Overview(
        now=now,
        health=look(ruleset, store, now=now),
        alerts=tuple(sorted(active, key=_order)),
        acked=frozenset(
            alert.fingerprint
            for alert, memory in known
            if routing.is_acked(memory.acks.get(alert.fingerprint), alert, now=now)
        ),
        silenced=frozenset(
            alert.fingerprint
            for alert, memory in known
            if routing.silence_of(memory.silences, alert, now=now)
        ),
        evaluated=store.evaluations() if store else {},
        severities=_severities(ruleset),
        sent_totals=store.sent_totals() if store else {},
        silences=store.silences(now=now) if store else (),
    )


def threshold_of(alert: Alert) -> str | None:
    """The line that it is judged by, as text; None: it has none that says anything."""
    line = alert.thresholds.get(alert.severity) if alert.severity else None
    return plain(line[0]) if line and not alert.detail else None


def distance_of(alert: Alert) -> str | None:
    """How far past that line its value is, negative on the safe side; None: as `threshold_of`."""
    line = alert.thresholds.get(alert.severity) if alert.severity else None
    if line is None or alert.value is None or alert.detail:
        return None
    past = EXACT.subtract(alert.value, line[0])
    return plain(-past if alert.direction is Direction.BELOW else past)


def _severities(ruleset: Ruleset) -> dict[str, tuple[Severity, ...]]:
    of_file = {
        rule.name: tuple(each.severity for each in rule.thresholds) for rule in ruleset.rules
    }
    return of_file | {name: (rule.severity,) for name, rule in ruleset.builtin.items()}


def _order(alert: Alert) -> tuple[bool, int, str, str]:
    severity = alert.severity or Severity.INFO
    return (alert.state is not State.FIRING, -severity.rank, alert.rule, alert.fingerprint)
