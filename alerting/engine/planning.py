"""Who is told what: the difference between what is firing and what was told.

Nothing is remembered here but `Notified`, so a restart, a silence or a changed route needs no
case of its own: whoever was told other than what is true now is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from alerting.engine.model import (
    Ack,
    Alert,
    ChangeReason,
    Item,
    Memory,
    Notification,
    Notified,
    Reason,
    Severity,
    State,
)
from alerting.engine.routing import (
    is_acked,
    is_muted,
    reason_to_tell,
    receivers_of,
    route_of,
    silence_of,
    still_acked,
)
from alerting.engine.rules import DELIVERY_FAILING, Ruleset

# Which reason names a message that carries several: news before reminders.
_REASONS = (Reason.ESCALATED, Reason.FIRING, Reason.EASED, Reason.REPEAT, Reason.RESOLVED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is to be sent, and what the receivers count as told from then on."""

    notifications: tuple[Notification, ...]
    notified: Mapping[tuple[str, str], Notified]
    #: the acknowledgements that go on
    acks: Mapping[str, Ack]


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


class _Planner:
    """The working set of one plan."""

    def __init__(self, ruleset: Ruleset, memory: Memory, now: datetime) -> None:
        self.ruleset = ruleset
        self.memory = memory
        self.now = now
        # a receiver that left the file keeps its entries: it may come back and be told the end
        self.notified = {key: self._as_of_now(entry) for key, entry in memory.notified.items()}
        self.acks = self._acks_as_of_now()
        self.failing = frozenset(
            alert.labels["receiver"]
            for alert in memory.alerts.values()
            if alert.rule == DELIVERY_FAILING and alert.state is State.FIRING
        )
        #: receiver -> what it is to be told
        self.due: dict[str, list[Item]] = {}

    def tell_firing(self, alert: Alert, severity: Severity) -> None:
        """Whoever is routed to and knows other than is true; and whoever was told worse."""
        if self._silenced(alert):
            return
        fp = alert.fingerprint
        route = route_of(self.ruleset, alert)
        routed = receivers_of(self.ruleset, alert, route, self.failing)
        acked = is_acked(self.acks.get(fp), alert, now=self.now)
        for receiver in self.ruleset.receivers:
            entry = self.notified.get((fp, receiver))
            leads = route if receiver in routed else None
            reason = reason_to_tell(alert, severity, entry, leads, now=self.now)
            if reason is None or (acked and reason is Reason.REPEAT):
                continue
            # that it eased is news about what was told before, as its end is
            about = entry.severity if entry and reason is Reason.EASED else severity
            if not self._muted(alert, about):
                self._tell(alert, severity, receiver, reason)

    def tell_resolved(self, alert: Alert) -> None:
        """Whoever was told of the episode, wherever the routes point by now."""
        fp = alert.fingerprint
        keys = [(fp, name) for name in self.ruleset.receivers if (fp, name) in self.notified]
        # the worst end there is: no good news, and news whoever wants none of ends
        lost = alert.resolved_why is ChangeReason.LIQUIDATED
        if not keys or (alert.flapping and not lost) or self._silenced(alert):
            return
        for entry in [self.notified[key] for key in keys]:
            severity = Severity.CRITICAL if lost else entry.severity
            if self._muted(alert, severity):
                continue
            del self.notified[entry.fingerprint, entry.receiver]
            # whoever never got a message of it has nothing to take back
            reached = entry.delivered or entry.waiting
            if lost or (reached and self.ruleset.receivers[entry.receiver].send_resolved):
                item = Item(
                    alert=alert,
                    reason=Reason.RESOLVED,
                    state=State.RESOLVED,
                    severity=severity,
                )
                self.due.setdefault(entry.receiver, []).append(item)

    def finish(self) -> Plan:
        """One notification per receiver, in the file's order of receivers."""
        notifications = tuple(
            _notification(receiver, self.due[receiver], self.now)
            for receiver in self.ruleset.receivers
            if receiver in self.due
        )
        return Plan(notifications=notifications, notified=self.notified, acks=self.acks)

    def _as_of_now(self, entry: Notified) -> Notified:
        """What was told, without what has lost its reason since, whether or not that was told."""
        alert = self.memory.alerts.get(entry.fingerprint)
        firing = alert is not None and alert.state is State.FIRING
        critical = alert is not None and firing and alert.severity is Severity.CRITICAL
        flapping = alert is not None and alert.flapping
        if entry.at <= self.now and entry.critical <= critical and entry.flapping <= flapping:
            return entry
        return replace(
            entry,
            # the clock was set back: what was told ahead of now was told now
            at=min(entry.at, self.now),
            critical=entry.critical and critical,
            flapping=entry.flapping and flapping,
        )

    def _acks_as_of_now(self) -> dict[str, Ack]:
        acks: dict[str, Ack] = {}
        for fp, ack in self.memory.acks.items():
            alert = self.memory.alerts.get(fp)
            left = ack if alert is None else still_acked(ack, alert, now=self.now)
            acks |= {} if left is None else {fp: left}
        return acks

    def _muted(self, alert: Alert, severity: Severity) -> bool:
        """True if the route that takes this severity of it keeps that quiet now."""
        return is_muted(route_of(self.ruleset, alert, severity), severity, now=self.now)

    def _silenced(self, alert: Alert) -> bool:
        return silence_of(self.memory.silences, alert, now=self.now) is not None

    def _tell(self, alert: Alert, severity: Severity, receiver: str, reason: Reason) -> None:
        key = (alert.fingerprint, receiver)
        entry = self.notified.get(key)
        same = entry if entry is not None and entry.episode == alert.episode else None
        # one that it had eased from may be of the episode before
        told = entry if reason is Reason.EASED else same
        before = told.severity if told else severity
        repeated = same if reason is Reason.REPEAT else None
        item = Item(
            alert=alert,
            reason=reason,
            state=State.FIRING,
            severity=severity,
            previous_severity=before if before != severity else None,
            previous_value=repeated.value if repeated else None,
            previous_at=repeated.at if repeated else None,
            flapping=alert.flapping,
        )
        self.due.setdefault(receiver, []).append(item)
        self.notified[key] = Notified(
            fingerprint=alert.fingerprint,
            receiver=receiver,
            episode=alert.episode,
            severity=severity,
            at=self.now,
            value=alert.value,
            critical=severity is Severity.CRITICAL,
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
    # a liquidation is the worst news there is, though its alert is over
    recovered = item.alert.resolved_why is not ChangeReason.LIQUIDATED
    return (
        item.state is State.RESOLVED and recovered,
        -item.severity.rank,
        item.alert.rule,
        tuple(sorted(item.alert.labels.items())),
    )
