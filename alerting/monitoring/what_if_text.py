"""`what-if`: the positions and the alerts, before and after, as tables for a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from alerting.config.settings import Config
from alerting.display import UNKNOWN, Display
from alerting.engine.feeds import POSITIONS, WALLET, in_order
from alerting.engine.model import Direction, State
from alerting.monitoring.status_text import ago, number
from alerting.monitoring.what_if import MovedAlert, MovedPosition, Moves, Outlook, is_liquidated
from alerting.terminal import Paint, fit, table, width
from alerting.units import EXACT

_LEAST_PLACES = 2
# So much of a narrow terminal a rule's name and its labels may take.
_NAME_SHARE, _ROW_SHARE = 4, 5
_NOTES = (
    "Rows of wallets, symbols and accounts do not move with the mark price.",
    "`for` and `keep_firing_for` are left aside. Nothing was stored or sent.",
)


def as_text(
    outlooks: Sequence[Outlook],
    moves: Moves,
    config: Config,
    *,
    now: datetime,
    colour: bool | None = None,
    columns: int | None = None,
) -> str:
    """Tables for a terminal of so many columns; None: for whoever reads whole lines."""
    paint = Paint(sys.stdout.isatty() if colour is None else colour)
    lines = [paint(f"IF  {_moves(moves, config.display) or 'nothing moves'}", "dim"), ""]
    lines.append(paint("POSITIONS", "dim"))
    lines += table([_account_row(each, config, now, paint) for each in outlooks])
    lines += _position_lines(outlooks, config.display, paint, columns)
    alerts = [alert for each in outlooks for alert in each.alerts]
    firing = sum(alert.now is not None for alert in alerts)
    then = sum(alert.then is not None for alert in alerts)
    lines += ["", paint(f"ALERTS  {firing} firing now, {then} then", "dim")]
    lines += table([_alert_row(each, config.display, paint, columns) for each in alerts])
    if not alerts:
        lines.append("  none")
    lines += ["", *(paint(note, "dim") for note in _NOTES)]
    return "\n".join(fit(line, columns) for line in lines)


def _moves(moves: Moves, display: Display) -> str:
    parts = [f"{symbol} {_signed(share, display)}" for symbol, share in moves.named.items()]
    if moves.others:
        parts.append(f"{'all others' if parts else 'all'} {_signed(moves.others, display)}")
    return ", ".join(parts)


def _signed(share: Decimal, display: Display) -> str:
    return f"{'+' if share > 0 else ''}{display.percent(share)}"


def _account_row(
    outlook: Outlook, config: Config, now: datetime, paint: Paint
) -> tuple[str, str, str]:
    name, seen = f"  {outlook.account.name}", _seen(outlook, config, now, paint)
    if not outlook.reads_positions:
        return (name, paint("positions are not read: no rule is per: position", "dim"), "")
    none = "" if outlook.positions else paint("no position is open", "dim")
    at = outlook.account.feed(POSITIONS).last_snapshot_at
    return (name, ", ".join(seen), none if at else "")


def _seen(outlook: Outlook, config: Config, now: datetime, paint: Paint) -> Iterator[str]:
    for feed in (POSITIONS, WALLET):
        at = outlook.account.feed(feed).last_snapshot_at
        if at is None:
            yield f"{feed} never seen"
            continue
        fresh = now - at < config.ruleset.blind_after
        yield paint(f"{feed} seen {ago(at, now)} ago", "ok" if fresh else "critical")


def _position_lines(
    outlooks: Sequence[Outlook], display: Display, paint: Paint, columns: int | None
) -> list[str]:
    """One for each position; three where that is too long for the terminal."""
    rows = [
        _position_row(each.account.name, moved, display, paint)
        for each in outlooks
        for moved in each.positions
    ]
    lines = table(rows)
    if columns is None or all(width(line) <= columns for line in lines):
        return lines
    halves = table(
        (f"      {left}", right)
        for _, mark, distance, ratio, profit in rows
        for left, right in ((mark, distance), (profit, ratio))
    )
    return [
        line
        for index, (name, *_) in enumerate(rows)
        for line in (name, *halves[2 * index : 2 * index + 2])
    ]


def _position_row(
    account: str, moved: MovedPosition, display: Display, paint: Paint
) -> tuple[str, ...]:
    before, after = moved.before, moved.after
    distances = [_distance(each, display) for each in (before, after)]
    if moved.liquidated:
        distances[1] = paint(distances[1], "critical")
    ratios = [display.percent(each["maintenance_margin_ratio"]) for each in (before, after)]
    mark = before["mark_price"]
    return (
        f"    {account} {moved.row.symbol} {moved.row.side.value}",
        f"mark {_both(display.money(mark), _price(after['mark_price'], mark, display))}",
        f"to liquidation {_both(*distances)}",
        f"margin ratio {_both(*ratios)}",
        f"profit {_both(*(_amount(each['unrealised_pnl'], display) for each in (before, after)))}",
    )


def _both(before: str, after: str) -> str:
    return before if before == after else f"{before} → {after}"


def _distance(figures: Mapping[str, Decimal | None], display: Display) -> str:
    if is_liquidated(figures):
        return "liquidated"
    return display.percent(figures["liquidation_distance"])


def _amount(value: Decimal | None, display: Display) -> str:
    return UNKNOWN if value is None else display.rounded(value)


def _price(value: Decimal | None, like: Decimal | None, display: Display) -> str:
    """A made-up price, to the places of the real one, or two where it has fewer."""
    if value is None or like is None or value == like:
        return display.money(value)
    places = max(_LEAST_PLACES, -int(like.as_tuple().exponent))
    rounded = value.quantize(Decimal(1).scaleb(-places), context=EXACT).normalize(EXACT)
    return display.money(rounded)


def _alert_row(
    moved: MovedAlert, display: Display, paint: Paint, columns: int | None
) -> tuple[str, ...]:
    rooms = [columns and columns // share for share in (_NAME_SHARE, _ROW_SHARE)]
    word = paint("  clear", "ok")
    if moved.then is not None:
        word = "  " + paint(moved.then.value.upper(), moved.then.value)
    return (
        word,
        paint(_now(moved), "dim"),
        fit(moved.rule.name, rooms[0]),
        fit("/".join(in_order(moved.labels)), rooms[1]),
        f"{_both(*_values(moved, display))} {_line(moved, display)}".strip(),
    )


def _now(moved: MovedAlert) -> str:
    if moved.state is State.PENDING:
        return "now pending"
    if moved.now is None:
        return "new"
    return "as now" if moved.now is moved.then else f"now {moved.now.value}"


def _values(moved: MovedAlert, display: Display) -> Iterator[str]:
    before, after = moved.before, moved.after
    if after != before and after is not None:
        after = after.normalize(EXACT)  # it has the places of the move too
    for value in (before, after):
        percent = moved.rule.percent
        yield UNKNOWN if value is None else number(value, display, percent=percent)


def _line(moved: MovedAlert, display: Display) -> str:
    if moved.line is None:
        return ""
    sign = ">" if moved.rule.direction is Direction.ABOVE else "<"
    return f"{sign} {number(moved.line, display, percent=moved.rule.percent)}"
