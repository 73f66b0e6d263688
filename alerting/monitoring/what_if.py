"""What a move of the mark prices would do to the positions and the alerts of an account.

Judged from what was last read, as at its last evaluation and as the engine judges it, but for the
time that `for` and `keep_firing_for` ask for: that is left aside.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from alerting.engine import finding, risk
from alerting.engine.feeds import FEED_OF, POSITIONS, REPORTED
from alerting.engine.identity import fingerprint
from alerting.engine.lifecycle import Trust
from alerting.engine.model import AccountState, Alert, Memory, Severity, State
from alerting.engine.over_time import Lookout
from alerting.engine.rules import Rule, Ruleset, Threshold, Zone
from alerting.engine.samples import Sample, by_row
from alerting.engine.snapshot import PositionRow
from alerting.monitoring.nearest import samples_of
from alerting.units import EXACT

#: the last price goes with the mark price
_PRICES = ("mark_price", "last_price")
#: what the page would report then, nobody knows
_UNKNOWN = REPORTED["reported_unrealised_pnl"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Moves:
    """By which share of itself each mark price moves: -0.08 is down by 8 %."""

    #: symbol -> its share
    named: Mapping[str, Decimal] = field(default_factory=dict)
    #: of all other symbols
    others: Decimal = Decimal(0)

    def of(self, symbol: str) -> Decimal:
        """The share by which a symbol's mark price moves."""
        return self.named.get(symbol, self.others)


@dataclass(frozen=True, kw_only=True, slots=True)
class MovedPosition:
    """A position as it was last read, and as it would be."""

    row: PositionRow
    move: Decimal
    #: every name of a position -> its value; None: it has none
    before: Mapping[str, Decimal | None]
    after: Mapping[str, Decimal | None]

    @property
    def liquidated(self) -> bool:
        """Whether the exchange would close it."""
        return is_liquidated(self.after)


@dataclass(frozen=True, kw_only=True, slots=True)
class MovedAlert:
    """One row of a rule that fires, is pending or would fire."""

    rule: Rule
    labels: Mapping[str, str]
    #: as it is now
    state: State
    severity: Severity | None
    before: Decimal | None
    #: None: it has no value then, so it would stay as it is
    after: Decimal | None
    #: the severity that would fire, and its line; None: none would
    then: Severity | None
    line: Decimal | None

    @property
    def now(self) -> Severity | None:
        """The severity that fires now; None: none does."""
        return self.severity if self.state is State.FIRING else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """What would be, of one account."""

    account: AccountState
    #: whether any rule is about its positions; without one they are not read
    reads_positions: bool
    positions: tuple[MovedPosition, ...]
    #: those that fire, are pending or would fire: by rule, in the file's order
    alerts: tuple[MovedAlert, ...]


def outlook(ruleset: Ruleset, memory: Memory, moves: Moves) -> Outlook:
    """What the moves would do to an account of which this is remembered."""
    account = memory.account
    reads = POSITIONS in ruleset.feeds_of(account.name)
    known = account.positions if reads and account.feed(POSITIONS).last_snapshot_at else ()
    moved = replace(
        account,
        positions=tuple(
            replace(seen, row=_moved(seen.row, moves.of(seen.row.symbol))) for seen in known
        ),
    )
    with decimal.localcontext(EXACT):
        alerts = tuple(_alerts(ruleset, memory, moved))
    return Outlook(
        account=account,
        reads_positions=reads,
        positions=tuple(
            MovedPosition(
                row=seen.row,
                move=moves.of(seen.row.symbol),
                before=risk.figures(seen.row),
                after=risk.figures(then.row),
            )
            for seen, then in zip(known, moved.positions, strict=True)
        ),
        alerts=alerts,
    )


def is_liquidated(figures: Mapping[str, Decimal | None]) -> bool:
    """Whether the exchange closes a position with these figures."""
    ratio = figures["maintenance_margin_ratio"]
    return ratio is not None and ratio >= 1


def last_evaluated(account: AccountState) -> datetime | None:
    """When an account was last judged; None: never."""
    return max((feed.seen_at for feed in account.feeds.values() if feed.seen_at), default=None)


def _moved(row: PositionRow, share: Decimal) -> PositionRow:
    if share == 0:
        return row
    fields = {
        name: EXACT.multiply(number, 1 + share) if name in _PRICES else number
        for name, number in row.fields.items()
        if name != _UNKNOWN
    }
    return replace(row, fields=fields)


def _alerts(ruleset: Ruleset, memory: Memory, moved: AccountState) -> Iterator[MovedAlert]:
    account = memory.account
    at = last_evaluated(account)
    if at is None:
        return
    for rule in ruleset.rules:
        if not rule.enabled:
            continue
        before = by_row(samples_of(ruleset, account, rule.scope, at))
        after = by_row(samples_of(ruleset, moved, rule.scope, at))
        seen_at = account.feed(FEED_OF.get(rule.scope, "")).last_snapshot_at or at
        patience = ruleset.blind_after
        # what was last read is a sample of the past already; what would be is one more
        past = Lookout(memory.past, now=seen_at, patience=patience)
        future = Lookout(memory.past, now=seen_at, patience=patience, polled=True)
        for row, twins in before.items():
            if not rule.applies_to(twins[0].labels):
                continue
            now, _ = past.judged(rule, twins, Trust.GOOD)
            then = now
            if after[row] != twins:
                then, _ = future.judged(rule, after[row], Trust.GOOD)
            yield from _of_row(rule, now, then, memory.alerts)


def _of_row(
    rule: Rule, now: Sample, moved: Sample, alerts: Mapping[str, Alert]
) -> Iterator[MovedAlert]:
    alert = alerts.get(fingerprint(rule.name, now.labels))
    then = _threshold(rule, moved, alert)
    state = alert.state if alert else State.INACTIVE
    if then is not None or state is not State.INACTIVE:
        yield MovedAlert(
            rule=rule,
            labels=now.labels,
            state=state,
            severity=alert.severity if alert else None,
            before=_value(rule, now),
            after=_value(rule, moved),
            then=then.severity if then else None,
            line=then.line if then else None,
        )


def _value(rule: Rule, sample: Sample) -> Decimal | None:
    value = rule.value.evaluate(sample.values)
    return value if isinstance(value, Decimal) else None


def _threshold(rule: Rule, sample: Sample, alert: Alert | None) -> Threshold | None:
    """The worst threshold that would fire: in breach, or firing now and not yet clear.

    What has no value stays as it is.
    """
    firing = {each.severity for each in alert.levels if each.state is State.FIRING} if alert else ()
    wanted = True if rule.when is None else rule.when.evaluate(sample.values)
    value = _value(rule, sample)
    undefined = wanted is None or (wanted and value is None)
    zone_of = finding.zones(rule, value if wanted else None)
    found = None
    for each in rule.thresholds:
        zone = Zone.BAND if undefined else zone_of(each)
        if zone is Zone.BREACH or (zone is Zone.BAND and each.severity in firing):
            found = each
    return found
