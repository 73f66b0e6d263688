"""What `status` shows: accounts, alerts and the outbox, for people and as JSON."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from alerting.config.settings import Config
from alerting.engine import routing
from alerting.engine.model import PROGRAM, AccountState, Alert, Direction, Memory, Severity, State
from alerting.engine.rules import DELIVERY_FAILING, Ruleset
from alerting.store.outbox import ReceiverStatus
from alerting.store.state import Store
from alerting.units import format_duration, plain, rfc3339

# From here on a terminal has room for the last day.
_WIDE = 110
_COLOURS = {"critical": "31;1", "warning": "33;1", "info": "36;1", "ok": "32", "dim": "2"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """Everything that `status` shows, at one instant."""

    now: datetime
    accounts: Mapping[str, AccountState]
    #: pending and firing ones, worst first
    alerts: tuple[Alert, ...]
    #: fingerprints of those that somebody acknowledged, and of those under a silence
    acked: frozenset[str]
    silenced: frozenset[str]
    receivers: Mapping[str, ReceiverStatus]
    #: account -> its last evaluation, whatever its poll gave
    evaluated: Mapping[str, datetime] = field(default_factory=dict)
    #: rule, built-in ones too -> the severities that it has
    ladders: Mapping[str, tuple[Severity, ...]] = field(default_factory=dict)
    #: receiver of the rules file -> what is wrong with it; None: nothing
    failing: Mapping[str, str | None] = field(default_factory=dict)
    #: receiver -> messages that it ever accepted
    sent_totals: Mapping[str, int] = field(default_factory=dict)
    #: the last day: what, bars, range
    sparklines: tuple[tuple[str, str, str], ...] = ()


def overview(config: Config, store: Store | None, *, now: datetime) -> Overview:
    """Read the state file; `store` None: there is none yet."""
    accounts = {name: AccountState(name=name) for name in config.accounts}
    memories: list[Memory] = []
    receivers: Mapping[str, ReceiverStatus] = {}
    if store is not None:
        accounts |= {k: v for k, v in store.accounts().items() if k in accounts}
        memories = [store.memory(name) for name in [PROGRAM, *accounts]]
        receivers = store.receiver_statuses()
    alerts = [a for m in memories for a in m.alerts.values() if a.state is not State.INACTIVE]
    alerts.sort(key=_order)
    known = [(alert, memory) for memory in memories for alert in memory.alerts.values()]
    return Overview(
        now=now,
        accounts=accounts,
        alerts=tuple(alerts),
        acked=frozenset(
            alert.fingerprint
            for alert, memory in known
            if routing.is_acked(memory.acks.get(alert.fingerprint), alert)
        ),
        silenced=frozenset(
            alert.fingerprint
            for alert, memory in known
            if routing.silence_of(memory.silences, alert, now=now)
        ),
        receivers=receivers,
        evaluated=store.evaluations() if store else {},
        ladders=_ladders(config.ruleset),
        failing=_failing(config, store, now),
        sent_totals=store.sent_totals() if store else {},
    )


def _ladders(ruleset: Ruleset) -> dict[str, tuple[Severity, ...]]:
    of_file = {
        rule.name: tuple(each.severity for each in rule.thresholds) for rule in ruleset.rules
    }
    return of_file | {name: (rule.severity,) for name, rule in ruleset.builtin.items()}


def _failing(config: Config, store: Store | None, now: datetime) -> dict[str, str | None]:
    overdue = config.ruleset.builtin[DELIVERY_FAILING].for_
    failing = store.failing_receivers(now=now, overdue=overdue) if store else {}
    return {name: failing.get(name) for name in config.receivers}


def as_json(view: Overview) -> dict[str, Any]:
    """The document of `status --json`."""
    counts = {
        key: sum(getattr(receiver, key) for receiver in view.receivers.values())
        for key in ("pending", "dead", "sent")
    }
    return {
        "now": rfc3339(view.now),
        "accounts": {name: _account(state, view.now) for name, state in view.accounts.items()},
        "alerts": [_alert(alert, view) for alert in view.alerts],
        "outbox": counts,
        "receivers": {
            name: {
                "pending": receiver.pending,
                "dead": receiver.dead,
                "sent": receiver.sent,
                "last_failure": receiver.last_reason,
            }
            for name, receiver in view.receivers.items()
        },
    }


def as_text(view: Overview, config: Config, *, colour: bool | None = None) -> str:
    """A table for a terminal."""
    paint = _Paint(sys.stdout.isatty() if colour is None else colour)
    lines = [paint("ACCOUNTS", "dim")]
    lines += _table([_account_row(state, view, config, paint) for state in view.accounts.values()])
    if view.sparklines and shutil.get_terminal_size((80, 24)).columns >= _WIDE:
        lines += [paint(line, "dim") for line in _table(view.sparklines)]
    firing = sum(alert.state is State.FIRING for alert in view.alerts)
    pending = len(view.alerts) - firing
    lines += ["", paint(f"ALERTS  {firing} firing, {pending} pending", "dim")]
    lines += _table([_alert_row(alert, view, paint) for alert in view.alerts])
    if not view.alerts:
        lines.append("  none")
    lines += ["", paint("OUTBOX", "dim")]
    names = list(config.receivers)
    lines += _table([_receiver_row(name, view.receivers.get(name), view, paint) for name in names])
    return "\n".join(lines)


class _Paint:
    def __init__(self, on: bool) -> None:  # noqa: FBT001 - private, one caller
        self.on = on

    def __call__(self, text: str, colour: str) -> str:
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self.on else text


def _account(state: AccountState, now: datetime) -> dict[str, Any]:
    last = state.last_snapshot_at
    return {
        "last_snapshot_at": rfc3339(last) if last else None,
        "snapshot_age": max(0.0, round((now - last).total_seconds(), 3)) if last else None,
        "poll_failures": state.poll_failures,
        "last_error": state.last_error,
    }


def _alert(alert: Alert, view: Overview) -> dict[str, Any]:
    threshold = _threshold(alert)
    return {
        "id": alert.id,
        "rule": alert.rule,
        "labels": alert.shown_labels,
        "state": alert.state.value,
        "severity": alert.severity.value if alert.severity else None,
        "value": None if alert.value is None else plain(alert.value),
        "threshold": threshold,
        "active_at": rfc3339(alert.active_at) if alert.active_at else None,
        "fired_at": rfc3339(alert.fired_at)
        if alert.fired_at and alert.state is State.FIRING
        else None,
        "acked": alert.fingerprint in view.acked,
        "silenced": alert.fingerprint in view.silenced,
    }


def _threshold(alert: Alert) -> str | None:
    line = alert.thresholds.get(alert.severity) if alert.severity else None
    return plain(line[0]) if line and not alert.detail else None


def _account_row(
    state: AccountState, view: Overview, config: Config, paint: _Paint
) -> tuple[str, ...]:
    if state.first_polled_at is None:
        return (f"  {state.name}", paint("never polled", "dim"), "")
    seen = "no snapshot yet"
    if state.last_snapshot_at is not None:
        age = view.now - state.last_snapshot_at
        fresh = age < config.ruleset.blind_after
        seen = paint(
            f"seen {_ago(state.last_snapshot_at, view.now)} ago", "ok" if fresh else "critical"
        )
    trouble = ""
    if state.poll_failures:
        trouble = paint(f"{state.poll_failures} failed polls: {state.last_error}", "warning")
    return (f"  {state.name}", seen, trouble)


def _alert_row(alert: Alert, view: Overview, paint: _Paint) -> tuple[str, ...]:
    severity = alert.severity or Severity.INFO
    labels = {k: v for k, v in alert.labels.items() if k != "exchange"}
    since = alert.fired_at if alert.state is State.FIRING else alert.active_at
    value = "" if alert.value is None else _short(plain(alert.value))
    line = _threshold(alert)
    versus = (
        f"{'>' if alert.direction is Direction.ABOVE else '<'} {line}" if line is not None else ""
    )
    firing = alert.state is State.FIRING
    word = severity.value.upper() if firing else "pending"
    return (
        "  " + paint(word, severity.value if firing else "dim"),
        alert.rule,
        "/".join(labels.values()),
        f"{value} {versus}".strip(),
        f"for {_ago(since, view.now)}" if since else "",
        paint(alert.id, "dim"),
        " ".join(_quiet(alert, view)),
        alert.detail,
    )


def _quiet(alert: Alert, view: Overview) -> Iterable[str]:
    if alert.fingerprint in view.acked:
        yield "acked"
    if alert.fingerprint in view.silenced:
        yield "silenced"
    if alert.flapping:
        yield "flapping"


def _receiver_row(
    name: str, receiver: ReceiverStatus | None, view: Overview, paint: _Paint
) -> tuple[str, ...]:
    if receiver is None:
        return (f"  {name}", "nothing sent yet", "", "", "")
    oldest = receiver.oldest_pending_at
    waiting = f"{receiver.pending} waiting"
    if oldest:
        waiting = paint(f"{waiting}, the oldest for {_ago(oldest, view.now)}", "warning")
    dead = paint(f"{receiver.dead} dead", "critical") if receiver.dead else "0 dead"
    trouble = f"last failure: {receiver.last_reason}" if receiver.last_reason else ""
    return (f"  {name}", f"{receiver.sent} sent", waiting, dead, trouble)


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    rows = list(rows)
    widths = [max(map(_visible, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - _visible(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _visible(text: str) -> int:
    length, inside = 0, False
    for character in text:
        if character == "\x1b":
            inside = True
        elif inside:
            inside = character != "m"
        else:
            length += 1
    return length


def _short(number: str) -> str:
    whole, _, places = number.partition(".")
    return f"{whole}.{places[:8]}".rstrip(".") if places else whole


def _ago(instant: datetime, now: datetime) -> str:
    seconds = max(0, int((now - instant).total_seconds()))
    if seconds >= 3600:
        seconds -= seconds % 60
    return format_duration(timedelta(seconds=seconds))


def _order(alert: Alert) -> tuple[bool, int, str, str]:
    severity = alert.severity or Severity.INFO
    return (alert.state is not State.FIRING, -severity.rank, alert.rule, alert.fingerprint)
