"""What one evaluation found for one alert, be its rule the file's or built in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from alerting.engine import remedies
from alerting.engine.lifecycle import Trust
from alerting.engine.model import Direction, Severity
from alerting.engine.remedy import Remedy
from alerting.engine.rules import Rule, Threshold, Zone, classify
from alerting.engine.samples import Sample


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What an alert takes over from its rule."""

    name: str
    thresholds: tuple[Threshold, ...]
    direction: Direction = Direction.ABOVE
    expression: str = ""
    percent: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Where an alert's value stands now, and how much time that says something about."""

    subject: Subject
    labels: Mapping[str, str]
    #: where the value stands beside each threshold
    zone_of: Callable[[Threshold], Zone]
    #: since the sample before; None: it can be seen at any time, not only in snapshots
    observed: timedelta | None
    trust: Trust = Trust.GOOD
    value: Decimal | None = None
    fields: Mapping[str, Decimal] = field(default_factory=dict)
    #: what exactly is wrong, for built-in alerts
    detail: str = ""
    #: and what it touches; something new is told anew
    touched: tuple[str, ...] = ()
    #: what would clear it; asked only while it fires
    offers: Callable[[Severity], tuple[Remedy, ...]] = lambda _: ()


def of_rule(
    rule: Rule,
    sample: Sample,
    zone_of: Callable[[Threshold], Zone],
    *,
    value: Decimal | None,
    observed: timedelta | None,
    trust: Trust,
) -> Finding:
    """The finding of a rule of the file for one sample."""
    subject = Subject(
        name=rule.name,
        thresholds=rule.thresholds,
        direction=rule.direction,
        expression=rule.value.text,
        percent=rule.percent,
        labels=rule.labels,
        annotations=rule.annotations,
    )
    return Finding(
        subject=subject,
        labels=sample.labels,
        zone_of=zone_of,
        observed=observed,
        trust=trust,
        value=value,
        fields=sample.fields,
        offers=lambda severity: remedies.offers(rule, sample, severity=severity),
    )


def worst(rule: Rule, twins: Sequence[Sample]) -> Sample:
    """Of several rows of one name the one that is worst for the rule: a breach counts."""
    return max(twins, key=lambda sample: _badness(rule, sample))


def is_judged(rule: Rule, sample: Sample) -> bool:
    """Whether there is a value, or `when` says that none is wanted."""
    return _badness(rule, sample)[0] != 1


def _badness(rule: Rule, sample: Sample) -> tuple[int, Decimal]:
    wanted = rule.when is None or rule.when.evaluate(sample.values)
    value = rule.value.evaluate(sample.values)
    if wanted and isinstance(value, Decimal):
        return 2, value if rule.direction is Direction.ABOVE else -value
    # what cannot be judged holds, and where `when` is false there is no breach
    return 0 if wanted is False else 1, Decimal(0)


def zones(rule: Rule, value: Decimal | None) -> Callable[[Threshold], Zone]:
    """Where the value stands, per threshold; None: `when` is false, which is never a breach."""
    if value is None:
        return lambda _: Zone.CLEAR
    return lambda threshold: classify(threshold, rule.direction, value)
