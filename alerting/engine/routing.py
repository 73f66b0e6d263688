"""Who is told what, and why: the difference between what is firing and what was told.

Nothing is remembered here but `Notified`, so a restart, a silence or a changed route needs no
case of its own: whoever was told less than what is true now, and is routed to, is told.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from alerting.engine.model import (
    Ack,
    Alert,
    Item,
    Memory,
    Notification,
    Notified,
    Reason,
    Severity,
    Silence,
    State,
)
from alerting.engine.rules import DELIVERY_FAILING, Route, Ruleset

# Which reason names a message that carries several: news before reminders.
_REASONS = (Reason.ESCALATED, Reason.FIRING, Reason.REPEAT, Reason.RESOLVED)

_LATE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is to be sent, and what the receivers count as told from then on."""

    notifications: tuple[Notification, ...]
    notified: Mapping[tuple[str, str], Notified]


def plan(ruleset: Ruleset, memory: Memory, *, now: datetime) -> Plan:
    """Every notification that is due now for the alerts of one account."""
    planner = _Planner(ruleset, memory, now)
    for alert in memory.alerts.values():
        severity = alert.severity
        if alert.state is State.FIRING and severity is not None:
            planner.tell_firing(alert, severity)
        else:
            planner.tell_resolved(alert)
    return planner.finish()


def labels_of(alert: Alert) -> dict[str, str]:
    """What routes and silences match: all labels, and the rule's name, severity and id."""
    severity = alert.severity or alert.worst
    return {
        **alert.extra_labels,
        **alert.labels,
        "rule": alert.rule,
        "severity": severity.value if severity else "",
        "id": alert.id,
    }


def route_of(ruleset: Ruleset, alert: Alert) -> Route:
    """The first route that matches; the last one matches everything."""
    labels = labels_of(alert)
    return next(
        route
        for route in ruleset.routes
        if all(pattern.matches(labels.get(key, "")) for key, pattern in route.match.items())
    )


def silence_of(silences: Iterable[Silence], alert: Alert, *, now: datetime) -> Silence | None:
    """The silence that keeps an alert quiet now, if any: the one that ends last."""
    labels = labels_of(alert)
    matching = [
        silence
        for silence in silences
        if silence.starts_at <= now < silence.ends_at
        and all(
            fnmatch.fnmatchcase(labels.get(key, ""), glob) for key, glob in silence.matchers.items()
        )
    ]
    return max(matching, key=lambda silence: silence.ends_at, default=None)


def is_muted(route: Route, severity: Severity, *, now: datetime) -> bool:
    """True if a window of the route keeps this severity quiet now."""
    if severity is Severity.CRITICAL and not route.mute_critical:
        return False
    return any(window.covers(now) for window in route.mute)


def is_acked(ack: Ack | None, alert: Alert) -> bool:
    """True while the acknowledged episode goes on and is no worse than it was then."""
    if ack is None or ack.episode != alert.episode:
        return False
    return alert.severity is not None and alert.severity <= ack.severity


def receivers_of(ruleset: Ruleset, alert: Alert, failing: Collection[str] = ()) -> tuple[str, ...]:
    """The receivers of its route; that some are failing is reported to the others."""
    receivers = route_of(ruleset, alert).receivers
    if alert.rule != DELIVERY_FAILING:
        return receivers
    sick = {alert.labels["receiver"], *failing}
    others = tuple(name for name in receivers if name not in sick)
    healthy = tuple(name for name in ruleset.receivers if name not in sick)
    # where all are failing, any may be the first to work again
    everyone = tuple(name for name in ruleset.receivers if name != alert.labels["receiver"])
    return others or healthy or everyone


def reason_to_tell(
    alert: Alert, severity: Severity, entry: Notified | None, route: Route, *, now: datetime
) -> Reason | None:
    """Why one receiver of its route is to be told now of a firing alert; None: it is not."""
    if entry is not None and entry.flapping and alert.flapping:
        return _reason_while_flapping(severity, entry, route, now=now)
    if entry is None or entry.episode != alert.episode:
        return Reason.FIRING
    reached = entry.delivered or entry.waiting
    if severity > entry.severity:
        return Reason.ESCALATED if reached else Reason.FIRING
    # an unsent message already says it: reminders must not pile up behind it
    if entry.waiting or now - entry.at < route.repeat.after(entry.repeats):
        return None
    return Reason.REPEAT if reached else Reason.FIRING


def _reason_while_flapping(
    severity: Severity, entry: Notified, route: Route, *, now: datetime
) -> Reason | None:
    """Left in peace, but for a critical alert: that is still said again and again."""
    if severity is not Severity.CRITICAL:
        return None
    if severity > entry.severity:
        return Reason.ESCALATED
    if entry.waiting or now - entry.at < route.repeat.after(entry.repeats):
        return None
    return Reason.REPEAT if entry.delivered else Reason.FIRING


class _Planner:
    """The working set of one plan."""

    def __init__(self, ruleset: Ruleset, memory: Memory, now: datetime) -> None:
        self.ruleset = ruleset
        self.memory = memory
        self.now = now
        known = ruleset.receivers
        self.notified = {
            # the clock was set back: what was told ahead of now was told now
            key: replace(entry, at=now) if entry.at > now else entry
            for key, entry in memory.notified.items()
            if key[1] in known
        }
        self.failing = frozenset(
            alert.labels["receiver"]
            for alert in memory.alerts.values()
            if alert.rule == DELIVERY_FAILING and alert.state is State.FIRING
        )
        #: receiver -> what it is to be told
        self.due: dict[str, list[Item]] = {}

    def tell_firing(self, alert: Alert, severity: Severity) -> None:
        """Whoever is routed to and knows less than is true."""
        route = route_of(self.ruleset, alert)
        if self._silenced(alert) or is_muted(route, severity, now=self.now):
            return
        fp = alert.fingerprint
        acked = is_acked(self.memory.acks.get(fp), alert)
        for receiver in receivers_of(self.ruleset, alert, self.failing):
            entry = self.notified.get((fp, receiver))
            reason = reason_to_tell(alert, severity, entry, route, now=self.now)
            if reason is None or (acked and reason is Reason.REPEAT):
                continue
            self._tell(alert, severity, receiver, reason)

    def tell_resolved(self, alert: Alert) -> None:
        """Whoever was told of the episode, wherever the routes point by now."""
        fp = alert.fingerprint
        keys = [(fp, name) for name in self.ruleset.receivers if (fp, name) in self.notified]
        if not keys or alert.flapping or self._silenced(alert):
            return
        route = route_of(self.ruleset, alert)
        for entry in [self.notified[key] for key in keys]:
            if is_muted(route, entry.severity, now=self.now):
                continue
            del self.notified[entry.fingerprint, entry.receiver]
            # whoever never got a message of it has nothing to take back
            reached = entry.delivered or entry.waiting
            if reached and self.ruleset.receivers[entry.receiver].send_resolved:
                item = Item(
                    alert=alert,
                    reason=Reason.RESOLVED,
                    state=State.RESOLVED,
                    severity=entry.severity,
                )
                self.due.setdefault(entry.receiver, []).append(item)

    def finish(self) -> Plan:
        """One notification per receiver, in the file's order of receivers."""
        notifications = tuple(
            _notification(receiver, self.due[receiver], self.now)
            for receiver in self.ruleset.receivers
            if receiver in self.due
        )
        return Plan(notifications=notifications, notified=self.notified)

    def _silenced(self, alert: Alert) -> bool:
        return silence_of(self.memory.silences, alert, now=self.now) is not None

    def _tell(self, alert: Alert, severity: Severity, receiver: str, reason: Reason) -> None:
        key = (alert.fingerprint, receiver)
        entry = self.notified.get(key)
        same = entry if entry is not None and entry.episode == alert.episode else None
        before = same.severity if same else severity
        item = Item(
            alert=alert,
            reason=reason,
            state=State.FIRING,
            severity=severity,
            previous_severity=before if before != severity else None,
            flapping=alert.flapping,
        )
        self.due.setdefault(receiver, []).append(item)
        self.notified[key] = Notified(
            fingerprint=alert.fingerprint,
            receiver=receiver,
            episode=alert.episode,
            severity=max(severity, before),
            at=self.now,
            delivered=same is not None and same.delivered,
            waiting=True,
            repeats=same.repeats + 1 if same and reason is Reason.REPEAT else 0,
            flapping=alert.flapping,
        )


def _notification(receiver: str, items: list[Item], now: datetime) -> Notification:
    worst_first = sorted(items, key=_order)
    reasons = {item.reason for item in items}
    return Notification(
        receiver=receiver,
        account=worst_first[0].alert.account,
        reason=next(reason for reason in _REASONS if reason in reasons),
        severity=worst_first[0].severity,
        observed_at=now,
        items=tuple(worst_first),
    )


def _order(item: Item) -> tuple[bool, int, str, tuple[tuple[str, str], ...]]:
    return (
        item.state is State.RESOLVED,
        -item.severity.rank,
        item.alert.rule,
        tuple(sorted(item.alert.labels.items())),
    )


def notified_when(entry_at: datetime, accepted_at: datetime) -> datetime:
    """From when the repeat interval counts: from the evaluation, unless delivery was late.

    Counting from the evaluation keeps repeats on the polls' beat; after an outage the receiver has
    only just been told.
    """
    return accepted_at if accepted_at - entry_at > _LATE else entry_at
