"""How near each rule is to its line: the row that is nearest, or furthest past it.

Judged anew from what was last read, as the engine judges it: so it is there when all is well too.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from alerting.engine import samples
from alerting.engine.feeds import Scope
from alerting.engine.model import AccountState, Direction, Severity, Snapshot
from alerting.engine.rules import Rule, Ruleset, Threshold, Zone, classify
from alerting.engine.samples import Sample
from alerting.units import EXACT


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """Where one row of a rule stands."""

    labels: Mapping[str, str]
    value: Decimal
    #: the worst line that it is past, else the first one that it would come to
    threshold: Decimal
    severity: Severity
    #: how far past the threshold, in the value's unit; negative on the safe side
    distance: Decimal

    @property
    def badness(self) -> tuple[int, Decimal]:
        """Grows as the row comes nearer, and further past."""
        return (self.severity.rank if self.distance > 0 else -1, self.distance)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """How near a rule is to its line."""

    rule: Rule
    #: how many rows it is judged by
    rows: int
    #: None: no row has a value
    worst: Row | None


def reaches(
    ruleset: Ruleset, accounts: Iterable[AccountState], *, now: datetime
) -> tuple[Reach, ...]:
    """Every rule of the file, in its order, over what was last read of the accounts."""
    known = [account for account in accounts if account.name in ruleset.accounts]
    with decimal.localcontext(EXACT):
        return tuple(_reach(rule, known, now) for rule in ruleset.rules)


def _reach(rule: Rule, accounts: list[AccountState], now: datetime) -> Reach:
    found = [
        sample
        for account in accounts
        if rule.enabled and rule.accounts.matches(account.name)
        for sample in _samples(account, rule.scope, now)
        if rule.applies_to(sample.labels)
    ]
    rows = [row for sample in found if (row := _row(rule, sample)) is not None]
    worst = max(rows, key=lambda row: row.badness, default=None)
    return Reach(rule=rule, rows=len(found), worst=worst)


def _samples(account: AccountState, scope: Scope, now: datetime) -> Iterator[Sample]:
    if scope is Scope.ACCOUNT:
        yield samples.account_sample(account, now)
    elif account.last_snapshot_at is not None:
        yield from samples.samples(_last_read(account, account.last_snapshot_at), scope)


def _last_read(account: AccountState, at: datetime) -> Snapshot:
    return Snapshot(
        account=account.name,
        observed_at=at,
        wallets=account.wallets,
        symbols=tuple(each.row for each in account.rows),
    )


def _row(rule: Rule, sample: Sample) -> Row | None:
    """None: there is no value, or the rule's condition is not met."""
    value = rule.value.evaluate(sample.values)
    if not isinstance(value, Decimal):
        return None
    if rule.when is not None and not rule.when.evaluate(sample.values):
        return None
    line = _line(rule, value)
    past = line.line - value if rule.direction is Direction.BELOW else value - line.line
    return Row(
        labels=sample.labels,
        value=value,
        threshold=line.line,
        severity=line.severity,
        distance=past,
    )


def _line(rule: Rule, value: Decimal) -> Threshold:
    past = [
        each for each in rule.thresholds if classify(each, rule.direction, value) is Zone.BREACH
    ]
    return past[-1] if past else rule.thresholds[0]
