"""The alerts of one evaluation while it runs: the only place that changes them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from alerting.engine import lifecycle
from alerting.engine.feeds import SCOPES, Scope
from alerting.engine.finding import Finding
from alerting.engine.identity import fingerprint
from alerting.engine.lifecycle import Change, Trust
from alerting.engine.model import Alert, ChangeReason, Level, Severity, State, Transition
from alerting.engine.presence import GONE_AFTER, RowKey
from alerting.engine.rules import Flapping

_SYMBOL_ROW = SCOPES[Scope.SYMBOL].label_set
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# How many things the flaws of one episode may touch and each be news; a bound for the state file.
_MOST_TOUCHED = 200


class WorkingSet:
    """Everything that leaves it is frozen again."""

    def __init__(self, alerts: Mapping[str, Alert], now: datetime) -> None:
        self.now = now
        self.alerts = {fp: _not_ahead(alert, now) for fp, alert in alerts.items()}
        #: rules with an alert that is remembered; all others are quick to judge
        self.known_rules = {alert.rule for alert in alerts.values()}
        self.transitions: list[Transition] = []

    def of_rule(self, name: str) -> list[Alert]:
        """The remembered alerts of a rule."""
        return [alert for alert in self.alerts.values() if alert.rule == name]

    def rows_on(self) -> set[RowKey]:
        """The symbol rows with an alert that is on."""
        return {
            (labels["base_asset"], labels["symbol"], labels["exchange"])
            for alert in self.alerts.values()
            if (labels := alert.labels).keys() == _SYMBOL_ROW and alert.state is not State.INACTIVE
        }

    def known(self, rule: str, labels: Mapping[str, str]) -> Alert | None:
        """The remembered alert of a rule and labels."""
        return self.alerts.get(fingerprint(rule, labels)) if rule in self.known_rules else None

    def apply(self, finding: Finding, *, observed: timedelta) -> None:
        """Advance every level of one alert and store what changed."""
        subject, now = finding.subject, self.now
        fp = fingerprint(subject.name, finding.labels)
        alert = self.alerts.get(fp) or Alert(rule=subject.name, labels=finding.labels)
        known = {level.severity: level for level in alert.levels}
        alert = replace(
            alert,
            extra_labels=subject.labels,
            annotations=subject.annotations,
            value=finding.value,
            values=finding.fields,
            thresholds={each.severity: (each.line, each.clear) for each in subject.thresholds},
            direction=subject.direction,
            expression=subject.expression,
            percent=subject.percent,
            detail=finding.detail or alert.detail,
            judged_at=now,
            missed=0,
        )
        levels, changes = [], []
        for threshold in subject.thresholds:
            level, change = lifecycle.advance(
                known.get(threshold.severity) or Level(severity=threshold.severity),
                finding.zone_of(threshold),
                threshold,
                now=now,
                observed=observed,
                trust=finding.trust,
            )
            levels.append(level)
            changes += [change] if change else []
        self._store_changes(alert, levels, changes)
        self._note_touched(fp, alert, finding.touched)
        self._note_remedies(fp, finding)

    def touch(self, alert: Alert) -> None:
        """Its row is there, though it cannot be judged: it is not missing."""
        self.alerts[alert.fingerprint] = replace(alert, missed=0, remedies=())

    def count_missing_rows(
        self,
        rule: str,
        present: Collection[frozenset[tuple[str, str]]],
        trust_of: Callable[[Mapping[str, str]], Trust],
        *,
        liquidated: Collection[str] = (),
    ) -> None:
        """A snapshot has these rows: end the alerts whose row is gone."""
        for alert in self.of_rule(rule):
            if frozenset(alert.labels.items()) in present:
                continue
            if trust_of(alert.labels) is Trust.SUSPECT:
                self.alerts[alert.fingerprint] = replace(alert, remedies=())
                continue
            missed = replace(alert, missed=alert.missed + 1, remedies=())
            self.alerts[alert.fingerprint] = missed
            if missed.missed >= GONE_AFTER:
                took = alert.labels["symbol"] in liquidated
                self.end(missed, ChangeReason.LIQUIDATED if took else ChangeReason.GONE)

    def end_asset(self, assets: Collection[str]) -> None:
        """Settlement assets are gone for good: so are the alerts about them and their symbols."""
        for alert in list(self.alerts.values()):
            if alert.labels.get("base_asset") in assets and "side" not in alert.labels:
                self.end(alert, ChangeReason.GONE)

    def match_thresholds(self, alert: Alert, wanted: Collection[Severity]) -> None:
        """Keep an alert's states under a changed ladder; severity is no part of its identity."""
        if {level.severity for level in alert.levels} <= set(wanted):
            return
        if len(alert.levels) == 1 and len(wanted) == 1:
            (severity,) = wanted
            level = replace(alert.levels[0], severity=severity)
            self.alerts[alert.fingerprint] = replace(alert, levels=(level,))
        else:
            self.end(alert, ChangeReason.RULE_REMOVED, keep=wanted)

    def end(self, alert: Alert, reason: ChangeReason, *, keep: Collection[Severity] = ()) -> None:
        """End the levels whose severity is not in `keep`."""
        levels, changes = [], []
        for level in alert.levels:
            if level.severity in keep:
                levels.append(level)
                continue
            ended, change = lifecycle.end(level, reason)
            levels.append(ended)
            changes += [change] if change else []
        self._store_changes(alert, levels, changes)

    def move_flips(self, unseen: timedelta, *, of: Callable[[Alert], bool]) -> None:
        """Time that was not seen settles nothing: for flapping of these alerts, it did not pass."""
        for fp, alert in self.alerts.items():
            if alert.flips and unseen and of(alert):
                self.alerts[fp] = replace(alert, flips=tuple(at + unseen for at in alert.flips))

    def update_flapping(self, flapping: Flapping | None) -> None:
        """Look at how often each alert went up and down lately, its severity included."""
        for fp, alert in self.alerts.items():
            self.alerts[fp] = self._with_flapping(alert, flapping)

    def _with_flapping(self, alert: Alert, flapping: Flapping | None) -> Alert:
        if flapping is None:
            return replace(alert, flips=(), flapping=False) if alert.flips else alert
        recent = tuple(at for at in alert.flips if self.now - at < flapping.within)
        # it must calm down well below where it started, or flapping itself would flap
        most = flapping.changes // 2 if alert.flapping else flapping.changes
        return replace(alert, flips=recent, flapping=len(recent) > most)

    def _store_changes(self, alert: Alert, levels: list[Level], changes: list[Change]) -> None:
        before, after = alert.state, replace(alert, levels=tuple(levels))
        stood = alert.severity if before is State.FIRING else None
        if before is not State.FIRING and after.state is not State.INACTIVE:
            active = [r.active_at for r in levels if r.state is not State.INACTIVE and r.active_at]
            after = replace(after, active_at=min(active))
        if before is not State.FIRING and after.state is State.FIRING:
            after = self._begin_episode(after)
        if after.state is State.FIRING and after.severity is not None:
            after = replace(after, worst=max(after.worst or after.severity, after.severity))
        if before is State.FIRING and after.state is not State.FIRING:
            why = changes[-1].reason
            after = replace(after, resolved_at=self.now, resolved_why=why, remedies=())
        stands = after.severity if after.state is State.FIRING else None
        if stands is not stood:
            after = replace(after, flips=(*after.flips, self.now))
        self.alerts[after.fingerprint] = after
        self.transitions += [self._transition(after, change) for change in changes]

    def _note_touched(self, fp: str, before: Alert, touched: tuple[str, ...]) -> None:
        """A flaw of something new while it fires already is told anew, whatever was acknowledged.

        One alert speaks for all flaws of an account: the first must not hide the next.
        """
        after = self.alerts[fp]
        if not touched or after.state is not State.FIRING:
            return
        goes_on = before.state is State.FIRING
        told = before.touched if goes_on else ()
        news = tuple(each for each in touched if each not in told)
        if news and len(told) < _MOST_TOUCHED:
            after = replace(after, touched=(*told, *news)[:_MOST_TOUCHED])
            self.alerts[fp] = (
                replace(after, episode=self._next_episode(after)) if goes_on else after
            )

    def _note_remedies(self, fp: str, finding: Finding) -> None:
        """Of doubtful data nobody can say what would clear it."""
        alert = self.alerts[fp]
        good = alert.state is State.FIRING and finding.trust is Trust.GOOD
        offers = finding.offers(alert.severity) if good and alert.severity else ()
        if offers != alert.remedies:
            self.alerts[fp] = replace(alert, remedies=offers)

    def _next_episode(self, alert: Alert) -> int:
        # never an old one's name again, though the clock was set back
        return max((self.now - _EPOCH) // _MILLISECOND, alert.episode + 1)

    def _begin_episode(self, alert: Alert) -> Alert:
        return replace(
            alert,
            fired_at=self.now,
            episode=self._next_episode(alert),
            resolved_at=None,
            resolved_why=None,
            worst=None,
        )

    def _transition(self, alert: Alert, change: Change) -> Transition:
        return Transition(
            at=self.now,
            rule=alert.rule,
            labels=alert.shown_labels,
            severity=change.level.severity,
            source=change.source,
            target=change.target,
            value=alert.value,
            reason=change.reason,
            fingerprint=alert.fingerprint,
        )


def _not_ahead(alert: Alert, now: datetime) -> Alert:
    """The clock was set back: what lies ahead of now counts as now, and nothing lasts below 0."""
    started = [at for at in (alert.active_at, alert.fired_at, alert.resolved_at) if at is not None]
    if all(at <= now for at in started):
        return alert
    return replace(
        alert,
        active_at=_earlier(alert.active_at, now),
        fired_at=_earlier(alert.fired_at, now),
        resolved_at=_earlier(alert.resolved_at, now),
        levels=tuple(
            replace(
                level,
                active_at=_earlier(level.active_at, now),
                fired_at=_earlier(level.fired_at, now),
            )
            for level in alert.levels
        ),
    )


def _earlier(instant: datetime | None, now: datetime) -> datetime | None:
    return None if instant is None else min(instant, now)
