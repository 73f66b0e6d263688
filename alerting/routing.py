"""Who is told what, and why: the difference between what is firing and what was told.

Nothing is remembered here but `Told`, so a restart, a silence or a changed route needs no case of
its own: whoever was told less than what is true now, and is routed to, is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerting.model import Alert, Item, Notification, Reason, Severity, State, Told
from alerting.rules import DELIVERY_FAILING, Route, Ruleset

# Which reason names a message that carries several: news before reminders.
_REASONS = (Reason.ESCALATED, Reason.FIRING, Reason.REPEAT, Reason.RESOLVED)

_LATE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is to be sent, and what the receivers count as told from then on."""

    notifications: tuple[Notification, ...]
    told: Mapping[tuple[str, str], Told]


def plan(
    ruleset: Ruleset,
    alerts: Iterable[Alert],
    told: Mapping[tuple[str, str], Told],
    *,
    now: datetime,
) -> Plan:
    """Every notification that is due now for these alerts (all of one account)."""
    planner = _Planner(ruleset, told, now)
    for alert in alerts:
        severity = alert.severity
        if alert.state is State.FIRING and severity is not None:
            planner.tell_firing(alert, severity)
        else:
            planner.tell_resolved(alert)
    return planner.finish()


def route_of(ruleset: Ruleset, alert: Alert) -> Route:
    """The first route that matches; the last one matches everything."""
    severity = alert.severity or alert.worst
    labels = {
        **alert.extra_labels,
        **alert.labels,
        "rule": alert.rule,
        "severity": severity.value if severity else "",
    }
    return next(
        route
        for route in ruleset.routes
        if all(pattern.matches(labels.get(key, "")) for key, pattern in route.match.items())
    )


def receivers_of(ruleset: Ruleset, alert: Alert) -> tuple[str, ...]:
    """The receivers of its route; a failing receiver is reported to the others."""
    receivers = route_of(ruleset, alert).receivers
    if alert.rule != DELIVERY_FAILING:
        return receivers
    failing = alert.labels["receiver"]
    others = tuple(name for name in receivers if name != failing)
    return others or tuple(name for name in ruleset.receivers if name != failing)


def reason_to_tell(
    alert: Alert, severity: Severity, entry: Told | None, route: Route, *, now: datetime
) -> Reason | None:
    """Why one receiver of its route is to be told now of a firing alert; None: it is not."""
    if entry is None or entry.episode != alert.episode:
        return Reason.FIRING
    reached = entry.delivered or entry.waiting
    if severity > entry.severity:
        return Reason.ESCALATED if reached else Reason.FIRING
    # an unsent message already says it: reminders must not pile up behind it
    if entry.waiting or now - entry.at < route.repeat_interval:
        return None
    return Reason.REPEAT if reached else Reason.FIRING


class _Planner:
    """The working set of one plan."""

    def __init__(
        self, ruleset: Ruleset, told: Mapping[tuple[str, str], Told], now: datetime
    ) -> None:
        self.ruleset = ruleset
        self.now = now
        self.told = {key: entry for key, entry in told.items() if key[1] in ruleset.receivers}
        #: receiver -> what it is to be told
        self.due: dict[str, list[Item]] = {}

    def tell_firing(self, alert: Alert, severity: Severity) -> None:
        """Whoever is routed to and knows less than is true."""
        route = route_of(self.ruleset, alert)
        for receiver in receivers_of(self.ruleset, alert):
            key = (alert.fingerprint, receiver)
            entry = self.told.get(key)
            reason = reason_to_tell(alert, severity, entry, route, now=self.now)
            if reason is None:
                continue
            same = entry if entry is not None and entry.episode == alert.episode else None
            before = same.severity if same else severity
            item = Item(
                alert=alert,
                reason=reason,
                state=State.FIRING,
                severity=severity,
                previous_severity=before if before != severity else None,
            )
            self.due.setdefault(receiver, []).append(item)
            self.told[key] = Told(
                fingerprint=alert.fingerprint,
                receiver=receiver,
                episode=alert.episode,
                severity=max(severity, before),
                at=self.now,
                delivered=same is not None and same.delivered,
                waiting=True,
            )

    def tell_resolved(self, alert: Alert) -> None:
        """Whoever was told of the episode, wherever the routes point by now."""
        entries = [entry for key, entry in self.told.items() if key[0] == alert.fingerprint]
        for entry in entries:
            del self.told[entry.fingerprint, entry.receiver]
            # whoever never got a message of it has nothing to take back
            reached = entry.delivered or entry.waiting
            if reached and self.ruleset.receivers[entry.receiver]:
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
        return Plan(notifications=notifications, told=self.told)


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


def told_when(entry_at: datetime, accepted_at: datetime) -> datetime:
    """From when the repeat interval counts: from the evaluation, unless delivery was late.

    Counting from the evaluation keeps repeats on the polls' beat; after an outage the receiver has
    only just been told.
    """
    return accepted_at if accepted_at - entry_at > _LATE else entry_at
