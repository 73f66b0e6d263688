"""Where an alert goes, what keeps it quiet, and why a receiver is to be told of it now."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from alerting.engine.model import (
    Ack,
    Alert,
    Notified,
    Reason,
    Severity,
    Silence,
    State,
)
from alerting.engine.rules import DELIVERY_FAILING, Route, Ruleset

_LATE = timedelta(minutes=1)


def labels_of(alert: Alert, severity: Severity | None = None) -> dict[str, str]:
    """What routes and silences match: all labels, and the rule's name, severity and id.

    `severity`: another than it has now.
    """
    severity = severity or alert.severity or alert.worst
    return {
        **alert.extra_labels,
        **alert.labels,
        "rule": alert.rule,
        "severity": severity.value if severity else "",
        "id": alert.id,
    }


def route_of(ruleset: Ruleset, alert: Alert, severity: Severity | None = None) -> Route:
    """The first route that matches, at this severity or its present one; the last matches all."""
    labels = labels_of(alert, severity)
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


def still_acked(ack: Ack, alert: Alert, *, now: datetime) -> Ack | None:
    """What is left of an acknowledgement: it comes down with its alert and ends where that rises.

    What was seen was no worse than this. None: it has ended, for good.
    """
    severity = alert.severity
    if alert.state is not State.FIRING or severity is None or ack.episode != alert.episode:
        return ack
    if severity > ack.severity or _is_over(ack, now):
        return None
    return replace(ack, severity=severity) if severity < ack.severity else ack


def is_acked(ack: Ack | None, alert: Alert, *, now: datetime) -> bool:
    """True while the acknowledged episode goes on and is no worse than it was then."""
    if ack is None or ack.episode != alert.episode or _is_over(ack, now):
        return False
    return alert.severity is not None and alert.severity <= ack.severity


def _is_over(ack: Ack, now: datetime) -> bool:
    return ack.until is not None and ack.until <= now


def receivers_of(
    ruleset: Ruleset, alert: Alert, route: Route, failing: Collection[str] = ()
) -> tuple[str, ...]:
    """The receivers of its `route`; that some are failing is reported to the others."""
    receivers = route.receivers
    if alert.rule != DELIVERY_FAILING:
        return receivers
    sick = {alert.labels["receiver"], *failing}
    others = tuple(name for name in receivers if name not in sick)
    healthy = tuple(name for name in ruleset.receivers if name not in sick)
    # where all are failing, any may be the first to work again
    everyone = tuple(name for name in ruleset.receivers if name != alert.labels["receiver"])
    return others or healthy or everyone


def reason_to_tell(
    alert: Alert, severity: Severity, entry: Notified | None, route: Route | None, *, now: datetime
) -> Reason | None:
    """Why a receiver is to be told now of a firing alert; None: it is not.

    `route`: its present route, where that leads to the receiver; one that it does not lead to is
    told that it eased, and nothing else.
    """
    if entry is not None and entry.flapping and alert.flapping:
        return _reason_while_flapping(alert, severity, entry, route, now=now)
    if route is None:
        return Reason.EASED if entry is not None and _has_eased(severity, entry) else None
    if entry is None or entry.episode != alert.episode:
        return Reason.FIRING
    if _is_worse(severity, entry):
        return Reason.ESCALATED if _reached(entry) else Reason.FIRING
    if _has_eased(severity, entry):
        return Reason.EASED
    return _reminder(entry, route, now=now)


def _reason_while_flapping(
    alert: Alert, severity: Severity, entry: Notified, route: Route | None, *, now: datetime
) -> Reason | None:
    """Left in peace, but for a critical alert: each is told, and said again and again."""
    if severity is not Severity.CRITICAL or route is None:
        return None
    if not _is_worse(severity, entry):
        return _reminder(entry, route, now=now)
    again = entry.severity is severity and entry.episode != alert.episode
    return Reason.FIRING if again or not _reached(entry) else Reason.ESCALATED


def _is_worse(severity: Severity, entry: Notified) -> bool:
    """Worse than it was last told; or critical anew, though what was between was not told."""
    unheard = severity is Severity.CRITICAL and not entry.critical
    return severity > entry.severity or unheard


def _has_eased(severity: Severity, entry: Notified) -> bool:
    """Better than it was last told; who never got a message of it has nothing to take back."""
    return severity < entry.severity and _reached(entry)


def _reached(entry: Notified) -> bool:
    return entry.delivered or entry.waiting


def _reminder(entry: Notified, route: Route, *, now: datetime) -> Reason | None:
    # an unsent message already says it: reminders must not pile up behind it
    if entry.waiting or now - entry.at < route.repeat.after(entry.repeats):
        return None
    return Reason.REPEAT if entry.delivered else Reason.FIRING


def notified_when(entry_at: datetime, accepted_at: datetime) -> datetime:
    """From when the repeat interval counts: from the evaluation, unless delivery was late.

    Counting from the evaluation keeps repeats on the polls' beat; after an outage the receiver has
    only just been told.
    """
    return accepted_at if accepted_at - entry_at > _LATE else entry_at
