"""What the functions over time are in one evaluation, and the samples that it adds.

A sample is taken of each expression that a rule looks back on, for each row that the rule applies
to, whenever the row is judged. Suspect data may only make things worse: a suspect sample is kept
apart, and counts while the present data is suspect too, where it is the worse, and else only where
there is no value without it; then nothing ends by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from alerting.engine import finding
from alerting.engine.expressions import LookBack, OverTime
from alerting.engine.feeds import SCOPES, Scope
from alerting.engine.integrity import Doubts
from alerting.engine.lifecycle import Trust
from alerting.engine.rules import Rule
from alerting.engine.samples import Sample
from alerting.engine.series import (
    Chunk,
    Past,
    Point,
    Series,
    SeriesKey,
    average,
    chunk_of,
    length,
    micros,
    newest,
    predicted,
    within,
)

# Beyond all amounts and shares: no sum of such numbers could be kept exactly.
_MOST_DIGITS = 1000

_Labels = frozenset[tuple[str, str]]
#: a rule's name and a row's labels
Found = tuple[str, _Labels]


class Lookout:
    """The samples of one account, as of one evaluation."""

    def __init__(
        self, past: Past, *, now: datetime, patience: timedelta, polled: bool = False
    ) -> None:
        #: whether there is a poll, so that what is judged now is a sample too
        self.polled = polled
        #: what the functions over time gave
        self.found: dict[Found, Mapping[str, Decimal | None]] = {}
        self._past = past
        self._now = micros(now)
        self._patience = length(patience)
        self._series: dict[SeriesKey, Series] = {}
        #: of this evaluation: the value, and whether it can be trusted
        self._samples: dict[SeriesKey, list[tuple[Decimal, bool]]] = {}
        #: how far back anybody looks
        self._keep: dict[SeriesKey, int] = {}
        self._dropped: set[SeriesKey] = set()

    # ── what a rule sees ────────────────────────────────────────────────────

    def judged(
        self,
        rule: Rule,
        twins: Sequence[Sample],
        trust: Trust,
        *,
        doubts: Doubts | None = None,
    ) -> tuple[Sample, Trust]:
        """What a row is judged by, and how far that can be trusted.

        `twins` are all rows of its name, usually one. The sample's values hold what the functions
        give; `doubts` say which of the samples of now are suspect.
        """
        if not rule.looks_back:
            return twins[0] if len(twins) == 1 else finding.worst(rule, twins), trust
        views = [_View(self, rule, twin, doubts) for twin in twins]
        self._note(rule, views)
        if trust is Trust.SUSPECT:
            seen = [view.sample(doubtful=doubtful) for view in views for doubtful in (False, True)]
            sample = finding.worst(rule, seen)
        else:
            sample = views[0].sample(doubtful=False)
            if not finding.is_judged(rule, sample) and views[0].has_doubtful():
                doubtful = views[0].sample(doubtful=True)
                if finding.is_judged(rule, doubtful):
                    sample, trust = doubtful, Trust.SUSPECT
        self.found[rule.name, frozenset(sample.labels.items())] = {
            call.key: sample.values.get(call.key) for call in rule.looks_back
        }
        return sample, trust

    def is_young(self, rule: Rule, sample: Sample) -> bool:
        """Whether a value is missing for no other reason than that there was no time to look back.

        Since the first sample, or since a gap, of which something else has told.
        """
        watched = [call.watched.value(sample.values) for call in rule.looks_back]
        if None in watched or any(sample.values.get(name) is None for name in rule.names):
            return False
        return any(
            sample.values.get(call.key) is None
            and self.watched_since(call, sample.labels) > self._now - length(call.window)
            for call in rule.looks_back
        )

    def watched_since(self, call: LookBack, labels: Mapping[str, str]) -> int:
        """Since when there is no gap in what a function looks back on."""
        series = self.series(_key(call, labels))
        return series.since_with(self._now, self._patience)

    def series(self, key: SeriesKey) -> Series:
        """The samples before this evaluation."""
        if key not in self._series:
            self._series[key] = self._past.series(key).not_ahead(self._now)
        return self._series[key]

    def value(
        self, call: LookBack, series: Series, current: Sequence[Chunk], *, doubtful: bool
    ) -> Decimal | None:
        """What one function gives, with the samples of now, and with suspect ones if `doubtful`."""
        start = self._now - length(call.window)
        kept = (series.good, series.suspect) if doubtful else (series.good,)
        if call.function is OverTime.AGO:
            found = [point for each in kept if (point := newest(each, start)) is not None]
            point = max(found, key=lambda each: each.at, default=None)
            return None if point is None or start - point.at > self._patience else point.value
        chunks = [*current, *(part for each in kept for part in within(each, start))]
        return self._computed(call, chunks)

    def _computed(self, call: LookBack, chunks: Sequence[Chunk]) -> Decimal | None:
        if call.function is OverTime.MIN:
            return min((each.sums.least for each in chunks), default=None)
        if call.function is OverTime.MAX:
            return max((each.sums.most for each in chunks), default=None)
        if call.function is OverTime.AVG:
            return average(chunks)
        return predicted(chunks, now=self._now, ahead=length(call.ahead))

    def chunk_now(self, value: Decimal) -> Chunk:
        """A sample of this instant."""
        return chunk_of(0, Point(self._now, value))

    # ── what is remembered ──────────────────────────────────────────────────

    def _note(self, rule: Rule, views: Sequence[_View]) -> None:
        for call in rule.looks_back:
            key = _key(call, views[0].labels)
            keep = length(call.window) + self._patience
            self._keep[key] = max(keep, self._keep.get(key, 0))
            if self.polled and key not in self._samples:
                seen = [view.current(call) for view in views]
                self._samples[key] = [each for each in seen if each is not None]

    def forget_gone(
        self, scope: Scope, *, present: Collection[_Labels], absent: Iterable[Mapping[str, str]]
    ) -> None:
        """Drop what is about rows of a scope that are neither there nor missing."""
        missing = [frozenset(labels.items()) for labels in absent]
        for key in self._past.keys() - self._keep.keys():
            if {name for name, _ in key.labels} != SCOPES[scope].label_set:
                continue
            if key.labels not in present and not any(each <= key.labels for each in missing):
                self._dropped.add(key)

    def forget_unasked(self, rules: Iterable[Rule]) -> None:
        """Drop what no rule looks back on any more."""
        left = self._past.keys() - self._keep.keys()
        asking = [rule for rule in rules if rule.enabled and rule.looks_back] if left else []
        for key in left:
            labels = dict(key.labels)
            if not any(_asks(rule, key, labels) for rule in asking):
                self._dropped.add(key)

    def forget_all(self) -> None:
        """Drop everything: the account is gone."""
        self._dropped |= self._past.keys()

    def past(self) -> Past:
        """What is remembered after this evaluation."""
        changed = {}
        for key, samples in self._samples.items():
            series = self.series(key)
            for value, good in samples:
                point = Point(self._now, value)
                series = series.with_one(point, good=good, patience=self._patience)
            series = series.trimmed(self._now, self._keep[key])
            if series is not self._past.series(key):
                changed[key] = series
        if not (changed or self._dropped):
            return self._past
        return self._past.after(changed, self._dropped)


class _View:
    """One row, as the rule sees it with what was."""

    def __init__(self, lookout: Lookout, rule: Rule, sample: Sample, doubts: Doubts | None) -> None:
        self.labels = sample.labels
        self._lookout = lookout
        self._rule = rule
        self._sample = sample
        self._doubts = doubts

    def current(self, call: LookBack) -> tuple[Decimal, bool] | None:
        """What a function looks back on is now, and whether that can be trusted."""
        value = call.watched.value(self._sample.values)
        if value is None or abs(value.adjusted()) > _MOST_DIGITS:
            return None
        names, doubts = call.watched.names, self._doubts
        return value, doubts is None or doubts.sample(self.labels, names) is Trust.GOOD

    def has_doubtful(self) -> bool:
        """Whether any sample is suspect."""
        keys = {_key(call, self.labels) for call in self._rule.looks_back}
        return any(self._lookout.series(key).suspect for key in keys)

    def sample(self, *, doubtful: bool) -> Sample:
        """The row with what the functions give; `doubtful`: with suspect samples too."""
        given: dict[str, Decimal | None] = {}
        for call in self._rule.looks_back:
            series = self._lookout.series(_key(call, self.labels))
            now = self._now(call, doubtful=doubtful)
            given[call.key] = self._lookout.value(call, series, now, doubtful=doubtful)
        return replace(self._sample, values={**self._sample.values, **given})

    def _now(self, call: LookBack, *, doubtful: bool) -> list[Chunk]:
        current = self.current(call) if self._lookout.polled else None
        if current is None or not (current[1] or doubtful):
            return []
        return [self._lookout.chunk_now(current[0])]


def _key(call: LookBack, labels: Mapping[str, str]) -> SeriesKey:
    return SeriesKey(call.watched.text, frozenset(labels.items()))


def _asks(rule: Rule, key: SeriesKey, labels: Mapping[str, str]) -> bool:
    asked = any(call.watched.text == key.expression for call in rule.looks_back)
    return asked and rule.applies_to(labels)
