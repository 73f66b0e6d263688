"""`status`: the overview as tables for a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from alerting.config.settings import Config
from alerting.display import Display
from alerting.engine.model import AccountState, Alert, Direction, Severity, Silence, State
from alerting.monitoring.nearest import Reach
from alerting.monitoring.overview import Overview, threshold_of
from alerting.terminal import Paint, fit, table
from alerting.units import format_duration, plain

# Longer names of rules and rows would push the numbers off a narrow screen.
_NAME_SHARE, _ROW_SHARE = 3, 4
_ROOM_FOR_ALERTS = 100
_SHOWN = {
    "total_balance": "total",
    "total_available_balance": "available",
    "total_blocked_balance": "blocked",
}


def as_text(
    view: Overview, config: Config, *, colour: bool | None = None, columns: int | None = None
) -> str:
    """Tables for a terminal of so many columns; None: for whoever reads whole lines."""
    paint = Paint(sys.stdout.isatty() if colour is None else colour)
    return "\n".join(fit(line, columns) for line in _lines(view, config, paint, columns))


def _lines(view: Overview, config: Config, paint: Paint, columns: int | None) -> list[str]:
    lines = [paint("ACCOUNTS", "dim")]
    accounts = view.health.accounts.values()
    lines += table([_account_row(state, view, config, paint) for state in accounts])
    lines += table(_wallet_rows(accounts, config.display))
    lines += [paint(line, "dim") for line in table(view.sparklines)]
    if view.reaches:
        lines += ["", paint("RULES", "dim")]
        rows = [_rule_row(reach, config.display, paint) for reach in view.reaches]
        lines += table([_narrowed(row, columns) for row in rows])
    firing = sum(alert.state is State.FIRING for alert in view.alerts)
    pending = len(view.alerts) - firing
    lines += ["", paint(f"ALERTS  {firing} firing, {pending} pending", "dim")]
    rows = [_alert_row(alert, view, config.display, paint) for alert in view.alerts]
    lines += table([_narrowed_alert(row, columns) for row in rows])
    if not view.alerts:
        lines.append("  none")
    lines += ["", paint("OUTBOX", "dim")]
    lines += table([_receiver_row(name, view, paint) for name in config.receivers])
    if view.silences:
        lines += ["", paint("SILENCES", "dim")]
        lines += table([_silence_row(silence, view.now) for silence in view.silences])
    return lines


def _narrowed(row: tuple[str, ...], columns: int | None) -> tuple[str, ...]:
    """With room for the numbers."""
    if columns is None:
        return row
    name, labels, *numbers = row
    return (
        fit(name, max(18, columns // _NAME_SHARE)),
        fit(labels, columns // _ROW_SHARE),
        *numbers,
    )


def _narrowed_alert(row: tuple[str, ...], columns: int | None) -> tuple[str, ...]:
    """With room for the value and for how long it is so."""
    if columns is None or columns >= _ROOM_FOR_ALERTS:
        return row
    word, id_, rule, labels, value, since, *rest = row
    names = (fit(rule, columns // 4 - 2), fit(labels, columns // 4 - 3))
    return (word, id_, *names, value, since.removeprefix("for "), *rest)


def _silence_row(silence: Silence, now: datetime) -> tuple[str, ...]:
    left = f"{_ago(now, silence.ends_at)} left"
    return (f"  {silence.id}", silence.typed, left, silence.reason, f"[{silence.author}]")


def _account_row(
    state: AccountState, view: Overview, config: Config, paint: Paint
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


def _wallet_rows(accounts: Iterable[AccountState], display: Display) -> Iterator[tuple[str, ...]]:
    for account in accounts:
        for wallet in account.wallets:
            yield (f"    {account.name} {wallet.base_asset}", *_amounts(wallet.fields, display))


def _amounts(fields: Mapping[str, Decimal], display: Display) -> Iterator[str]:
    for name, word in _SHOWN.items():
        yield f"{word} {_number(fields[name], display)}" if name in fields else f"{word} ?"


def _rule_row(reach: Reach, display: Display, paint: Paint) -> tuple[str, ...]:
    rule, worst = reach.rule, reach.worst
    if worst is None:
        why = "parked" if not rule.enabled else "no data" if reach.rows else "no rows"
        return (f"  {rule.name}", "", paint(why, "dim"), "")
    labels = "/".join(text for name, text in worst.labels.items() if name != "exchange")
    sign, percent = ">" if rule.direction is Direction.ABOVE else "<", rule.percent
    line = f"{sign} {_number(worst.threshold, display, percent=percent)}"
    far = (
        display.difference(worst.distance, percent=True)
        if percent
        else _number(abs(worst.distance), display)
    )
    if worst.distance > 0:
        near = paint(f"{far} past {line}", worst.severity.value)
    else:
        near = f"{far} from {line} ({worst.severity.value})"
    return (f"  {rule.name}", labels, _number(worst.value, display, percent=percent), near)


def _alert_row(alert: Alert, view: Overview, display: Display, paint: Paint) -> tuple[str, ...]:
    severity = alert.severity or Severity.INFO
    labels = {k: v for k, v in alert.labels.items() if k != "exchange"}
    since = alert.fired_at if alert.state is State.FIRING else alert.active_at
    percent = alert.percent
    value = "" if alert.value is None else _number(alert.value, display, percent=percent)
    line = threshold_of(alert)
    sign = ">" if alert.direction is Direction.ABOVE else "<"
    versus = "" if line is None else f"{sign} {_number(Decimal(line), display, percent=percent)}"
    firing = alert.state is State.FIRING
    word = severity.value.upper() if firing else "pending"
    return (
        "  " + paint(word, severity.value if firing else "dim"),
        paint(alert.id, "dim"),
        alert.rule,
        "/".join(labels.values()),
        f"{value} {versus}".strip(),
        f"for {_ago(since, view.now)}" if since else "",
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


def _receiver_row(name: str, view: Overview, paint: Paint) -> tuple[str, ...]:
    receiver = view.health.receivers.get(name)
    if receiver is None:
        return (f"  {name}", "nothing sent yet", "", "", "")
    oldest = receiver.oldest_pending_at
    waiting = f"{receiver.pending} waiting"
    if oldest:
        waiting = paint(f"{waiting}, the oldest for {_ago(oldest, view.now)}", "warning")
    dead = paint(f"{receiver.dead} dead", "critical") if receiver.dead else "0 dead"
    trouble = f"last failure: {receiver.last_reason}" if receiver.last_reason else ""
    return (f"  {name}", f"{receiver.sent} sent", waiting, dead, trouble)


def _number(number: Decimal, display: Display, *, percent: bool = False) -> str:
    """As in the messages, but with eight places at most."""
    whole, _, places = plain(number).partition(".")
    short = f"{whole}.{places[:8]}".rstrip(".") if places else whole
    return display.percent(number) if percent else display.money(short)


def _ago(instant: datetime, now: datetime) -> str:
    seconds = max(0, int((now - instant).total_seconds()))
    if seconds >= 3600:
        seconds -= seconds % 60
    return format_duration(timedelta(seconds=seconds))
