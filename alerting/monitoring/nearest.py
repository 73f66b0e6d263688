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
from alerting.engine.feeds import FEED_OF, Scope
from alerting.engine.lifecycle import Trust
from alerting.engine.model import AccountState, Direction, Severity
from alerting.engine.over_time import Lookout
from alerting.engine.rules import Rule, Ruleset, Threshold, Zone, classify
from alerting.engine.samples import Sample
from alerting.engine.series import Past
from alerting.engine.snapshot import Snapshot
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
    ruleset: Ruleset,
    accounts: Iterable[AccountState],
    *,
    now: datetime,
    pasts: Mapping[str, Past] | None = None,
) -> tuple[Reach, ...]:
    """Every rule of the file, in its order, over what was last read of the accounts.

    `pasts` has what is remembered of each, for the rules that look back.
    """
    known = [account for account in accounts if account.name in ruleset.accounts]
    with decimal.localcontext(EXACT):
        return tuple(_reach(rule, ruleset, known, now, pasts or {}) for rule in ruleset.rules)


def _reach(
    rule: Rule,
    ruleset: Ruleset,
    accounts: list[AccountState],
    now: datetime,
    pasts: Mapping[str, Past],
) -> Reach:
    found: list[Sample] = []
    for account in accounts:
        if not (rule.enabled and rule.accounts.matches(account.name)):
            continue
        seen_at = now
        if rule.scope in FEED_OF:
            seen_at = account.feed(FEED_OF[rule.scope]).last_snapshot_at or now
        past = pasts.get(account.name, Past())
        lookout = Lookout(past, now=seen_at, patience=ruleset.blind_after)
        found += [
            lookout.judged(rule, [sample], Trust.GOOD)[0]
            for sample in samples_of(ruleset, account, rule.scope, now)
            if rule.applies_to(sample.labels)
        ]
    rows = [row for sample in found if (row := _row(rule, sample)) is not None]
    worst = max(rows, key=lambda row: row.badness, default=None)
    return Reach(rule=rule, rows=len(found), worst=worst)


def samples_of(
    ruleset: Ruleset, account: AccountState, scope: Scope, now: datetime
) -> Iterator[Sample]:
    """What the rules of a scope are judged by, of what was last read of an account."""
    if scope is Scope.ACCOUNT:
        for feed in ruleset.feeds_of(account.name):
            yield samples.account_sample(account, feed, now)
        return
    at = account.feed(FEED_OF[scope]).last_snapshot_at
    if at is not None:
        totals = samples.fresh_totals(account, now, longest=ruleset.blind_after)
        yield from samples.samples(last_read(account, at), scope, totals)


def last_read(account: AccountState, at: datetime) -> Snapshot:
    """What was last read of all feeds."""
    return Snapshot(
        account=account.name,
        observed_at=at,
        wallets=account.wallets,
        symbols=tuple(each.row for each in account.rows),
        positions=tuple(each.row for each in account.positions),
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
