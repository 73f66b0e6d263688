"""`status`: the overview as tables for a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from alerting.config.settings import Config
from alerting.display import Display
from alerting.engine.feeds import WALLET, in_order
from alerting.engine.model import AccountState, Alert, Direction, Severity, Silence, State
from alerting.engine.risk import figures as figures_of
from alerting.messages.phrases import to_clear
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
    lines += table(
        [
            _feed_row(state, feed, view, config, paint)
            for state in accounts
            for feed in view.health.feeds.get(state.name, (WALLET,))
        ]
    )
    lines += table(_wallet_rows(accounts, config.display))
    lines += table(_position_rows(accounts, config.display))
    lines += [paint(line, "dim") for line in table(view.sparklines)]
    if view.reaches:
        lines += ["", paint("RULES", "dim")]
        rows = [_rule_row(reach, config.display, paint) for reach in view.reaches]
        lines += table([_narrowed(row, columns) for row in rows])
    firing = sum(alert.state is State.FIRING for alert in view.alerts)
    pending = len(view.alerts) - firing
    lines += ["", paint(f"ALERTS  {firing} firing, {pending} pending", "dim")]
    rows = [_alert_row(alert, view, config.display, paint) for alert in view.alerts]
    rows = [_narrowed_alert(row, columns) for row in rows]
    lines += _with_remedies(view.alerts, table(rows), config.display)
    if not view.alerts:
        lines.append("  none")
    lines += ["", paint("OUTBOX", "dim")]
    lines += table([_receiver_row(name, view, paint) for name in config.receivers])
    if view.silences:
        lines += ["", paint("SILENCES", "dim")]
        lines += table([_silence_row(silence, view.now) for silence in view.silences])
    return lines


def _with_remedies(
    alerts: Iterable[Alert], lines: Iterable[str], display: Display
) -> Iterator[str]:
    """Below an alert's line what would clear it: a narrow terminal has no room beside it."""
    for alert, line in zip(alerts, lines, strict=True):
        yield line
        if alert.remedies:
            yield f"    {to_clear(alert.remedies, show=display)}"


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
    left = f"{ago(now, silence.ends_at)} left"
    return (f"  {silence.id}", silence.typed, left, silence.reason, f"[{silence.author}]")


def _feed_row(
    account: AccountState, feed: str, view: Overview, config: Config, paint: Paint
) -> tuple[str, ...]:
    state = account.feed(feed)
    name = f"  {account.name}" if feed == WALLET else f"  {account.name} {feed}"
    if state.first_polled_at is None:
        return (name, paint("never polled", "dim"), "")
    seen = "no snapshot yet"
    if state.last_snapshot_at is not None:
        age = view.now - state.last_snapshot_at
        fresh = age < config.ruleset.blind_after
        seen = paint(
            f"seen {ago(state.last_snapshot_at, view.now)} ago", "ok" if fresh else "critical"
        )
    trouble = ""
    if state.poll_failures:
        trouble = paint(f"{state.poll_failures} failed polls: {state.last_error}", "warning")
    return (name, seen, trouble)


def _position_rows(accounts: Iterable[AccountState], display: Display) -> Iterator[tuple[str, ...]]:
    for account in accounts:
        for each in account.positions:
            row, figures = each.row, figures_of(each.row)
            yield (
                f"    {account.name} {row.symbol} {row.side.value}",
                f"mark {display.money(row.fields.get('mark_price'))}",
                f"to liquidation {display.percent(figures['liquidation_distance'])}",
                f"margin ratio {display.percent(figures['maintenance_margin_ratio'])}",
                f"profit {display.money(figures['unrealised_pnl'])}",
            )


def _wallet_rows(accounts: Iterable[AccountState], display: Display) -> Iterator[tuple[str, ...]]:
    for account in accounts:
        for wallet in account.wallets:
            yield (f"    {account.name} {wallet.base_asset}", *_amounts(wallet.fields, display))


def _amounts(fields: Mapping[str, Decimal], display: Display) -> Iterator[str]:
    for name, word in _SHOWN.items():
        yield f"{word} {number(fields[name], display)}" if name in fields else f"{word} ?"


def _rule_row(reach: Reach, display: Display, paint: Paint) -> tuple[str, ...]:
    rule, worst = reach.rule, reach.worst
    if worst is None:
        why = "parked" if not rule.enabled else "no data" if reach.rows else "no rows"
        return (f"  {rule.name}", "", paint(why, "dim"), "")
    labels = "/".join(in_order(worst.labels))
    sign, percent = ">" if rule.direction is Direction.ABOVE else "<", rule.percent
    line = f"{sign} {number(worst.threshold, display, percent=percent)}"
    far = (
        display.difference(worst.distance, percent=percent)
        if percent or worst.distance.is_infinite()
        else number(abs(worst.distance), display)
    )
    if worst.distance > 0:
        near = paint(f"{far} past {line}", worst.severity.value)
    else:
        near = f"{far} from {line} ({worst.severity.value})"
    return (f"  {rule.name}", labels, number(worst.value, display, percent=percent), near)


def _alert_row(alert: Alert, view: Overview, display: Display, paint: Paint) -> tuple[str, ...]:
    severity = alert.severity or Severity.INFO
    since = alert.fired_at if alert.state is State.FIRING else alert.active_at
    percent = alert.percent
    value = "" if alert.value is None else number(alert.value, display, percent=percent)
    line = threshold_of(alert)
    sign = ">" if alert.direction is Direction.ABOVE else "<"
    versus = "" if line is None else f"{sign} {number(Decimal(line), display, percent=percent)}"
    firing = alert.state is State.FIRING
    word = severity.value.upper() if firing else "pending"
    return (
        "  " + paint(word, severity.value if firing else "dim"),
        paint(alert.id, "dim"),
        alert.rule,
        "/".join(in_order(alert.labels)),
        f"{value} {versus}".strip(),
        f"for {ago(since, view.now)}" if since else "",
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
        waiting = paint(f"{waiting}, the oldest for {ago(oldest, view.now)}", "warning")
    dead = paint(f"{receiver.dead} dead", "critical") if receiver.dead else "0 dead"
    trouble = f"last failure: {receiver.last_reason}" if receiver.last_reason else ""
    return (f"  {name}", f"{receiver.sent} sent", waiting, dead, trouble)


def number(value: Decimal, display: Display, *, percent: bool = False) -> str:
    """As in the messages, but with eight places at most."""
    whole, _, places = plain(value).partition(".")
    short = f"{whole}.{places[:8]}".rstrip(".") if places else whole
    return display.percent(value) if percent else display.money(short)


def ago(instant: datetime, now: datetime) -> str:
    """How long ago it was, in whole seconds and from an hour on in minutes: `12s`, `2h5m`."""
    seconds = max(0, int((now - instant).total_seconds()))
    if seconds >= 3600:
        seconds -= seconds % 60
    return format_duration(timedelta(seconds=seconds))
