"""The built-in text, without templates: nothing in it can be refused."""

from __future__ import annotations

import bisect
import html
from collections.abc import Callable

from alerting.messages import formats
from alerting.messages.formats import SERVICES, Format, Room
from alerting.messages.phrases import Data


def title(context: Data) -> str:
    """What is going on, in a line."""
    alerts = context["alerts"]
    what = f"{context['count']} alerts"
    if len(alerts) == 1:
        what = alerts[0]["headline"]
        what = what if formats.slack_size(what) <= 90 else formats.cut(alerts[0]["name"], 60)
    repeat = " · possible repeat" if context["maybe_repeat"] else ""
    return f"{context['status']} {what} · {formats.cut(context['account'], 20)}{repeat}"


def row(alert: Data) -> str:
    """One alert, in a line."""
    change = f" ({alert['change']})" if alert["change"] else ""
    parts = [f"{alert['status']}{change} {alert['name']}: {alert['level']}", alert["to_clear"]]
    parts += [alert["since"], f"id {alert['id']}"]
    return "; ".join(filter(None, parts))


def escape_for(fmt: Format) -> Callable[[str], str]:
    """How a text without markup is made harmless in a format."""
    if fmt is Format.TELEGRAM:
        return lambda text: html.escape(formats.chat(text))
    if fmt in {Format.CHAT, Format.DISCORD}:
        return SERVICES[fmt].escape or str
    return str


def as_many_as_fit(rows: list[str], shown_title: str, fmt: Format, room: Room | None) -> str | None:
    """As many rows as the format and the service take; None: not one."""
    service, escape = SERVICES[fmt], escape_for(fmt)
    above = "" if service.markup else shown_title

    def text_of(kept: int) -> str:
        more = [f"and {len(rows) - kept} more"] if kept < len(rows) else []
        return escape("\n".join([*rows[:kept], *more]))

    def fits(kept: int) -> bool:
        text = text_of(kept)
        return service.size(text) <= service.limit and (not room or room.holds(above, text))

    kept = _most(len(rows), fits, least=0 if room is None else 1)
    return None if kept is None else text_of(kept)


def brief(context: Data, fmt: Format, most: int) -> str:
    """Where there is room for little: a line for each alert with its id, without a title.

    Whole alerts are left out, the worst is kept, and its name is cut before its id is.
    """
    alerts, count = context["alerts"], context["count"]
    repeat = "possible repeat: " if context["maybe_repeat"] else ""
    escape = escape_for(fmt)

    def text_of(kept: int) -> str:
        more = [f"and {count - kept} more"] if kept < count else []
        texts = [
            escape(repeat + "\n".join([*map(shape, alerts[:kept]), *more]))
            for shape in (_short_row, _shortest_row)
        ]
        return texts[0] if len(texts[0]) <= most else texts[1]

    kept = _most(len(alerts), lambda kept: len(text_of(kept)) <= most, least=1)
    if kept is not None:
        return text_of(kept)
    worst, more_text = alerts[0], f", {count - 1} more" if count > 1 else ""
    for name in (worst["name"], worst["rule"]):
        for length in range(len(name), 0, -1):
            text = escape(f"{worst['status']} {formats.cut(name, length)} {worst['id']}{more_text}")
            if len(text) <= most:
                return text
    return f"{worst['status']} {worst['id']}"[:most]


def _most(count: int, fits: Callable[[int], bool], *, least: int) -> int | None:
    """How many of `count` fit, at least so many; None: not even these.

    The more the longer, but for all: they need no words about what was left out.
    """
    if count < least or fits(count):
        return count if count >= least else None
    fitting = bisect.bisect_left(range(least, count), 1, key=lambda kept: int(not fits(kept)))
    return least + fitting - 1 if fitting else None


def _short_row(alert: Data) -> str:
    return f"{alert['status']} {alert['short']} id {alert['id']}"


def _shortest_row(alert: Data) -> str:
    return f"{alert['status']} {alert['name']} {alert['id']}"
