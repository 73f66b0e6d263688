"""How numbers, times and alerts are put into words; and how foreign text is made harmless.

All results are plain text: escaping for a service is formats.py's business.
"""

from __future__ import annotations

import heapq
import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from alerting.display import PLAIN, UNKNOWN, Display
from alerting.engine.feeds import SCOPES, Scope
from alerting.engine.model import Alert, Item, State
from alerting.engine.remedy import Action, Remedy
from alerting.units import EXACT, ZERO, format_duration, parse_instant, plain

#: One alert as templates see it: plain str, Decimal, datetime, dict and None only.
Data = dict[str, Any]

#: A name (symbol, label) longer than this is cut; nobody reads on, and no service shows it.
MAX_NAME = 120
#: An annotation longer than this is left out as a whole.
MAX_ANNOTATION = 700
_DAY = timedelta(days=1)

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BREAKS = frozenset("\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029")
_NO_CHARACTERS = frozenset("\ufeff\ufffe\uffff")

#: the word for what is over, and for what is over as the exchange took the position away
RESOLVED, LIQUIDATED = "RESOLVED", "LIQUIDATED"
#: Ends that are no recovery.
_ENDINGS = {
    "gone": "position closed",
    "liquidated": "position closed by the exchange",
    "rule removed": "the rule was removed",
}
_MARKERS = {"critical": "🔴", "warning": "🟠", "info": "🔵"}
_INSTANT = re.compile(r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z")
#: of a position, and no amounts of its asset: a factor, and the coin that it is in
_NO_AMOUNTS = frozenset({"leverage", "effective_leverage", "position_size"})


# ── foreign text ────────────────────────────────────────────────────────────


def clean(text: str, *, multiline: bool = False) -> str:
    """NFC without control, surrogate and bidi-control characters; else every character stays."""
    if multiline:
        return "\n".join(clean(line) for line in text.splitlines()).strip("\n")
    kept = []
    for character in text:
        if character in _BREAKS:
            kept.append(" ")
        elif character not in _BIDI | _NO_CHARACTERS and unicodedata.category(character) not in {
            "Cc",
            "Cs",
        }:
            kept.append(character)
    return unicodedata.normalize("NFC", "".join(kept))


def clean_name(text: str) -> str:
    """Clean a symbol, label or rule name; the result is no longer than MAX_NAME."""
    name = clean(text).strip()
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"


def fit_lines(text: str) -> str:
    """Whole lines of `text` up to MAX_ANNOTATION characters, and how many were left out."""
    lines = text.split("\n")
    kept = list(lines)
    while kept and len("\n".join(kept)) > MAX_ANNOTATION:
        kept.pop()
    if len(kept) == len(lines):
        return text
    if not kept:
        return f"(left out: {len(text)} characters)"
    return "\n".join([*kept, f"and {len(lines) - len(kept)} more lines"])


# ── times ───────────────────────────────────────────────────────


def duration(value: object) -> str:
    """Write a timedelta, or a number of seconds, as `1h30m`, to two units."""
    if isinstance(value, timedelta):
        return _span(value)
    try:
        seconds = Decimal(str(value)).scaleb(6, EXACT)
        return _rough(timedelta(microseconds=int(seconds)))
    except (ArithmeticError, ValueError):
        return UNKNOWN


def ago(value: object, *, now: datetime) -> str:
    """Write an instant as `12m ago`, a duration likewise; "n/a" for none."""
    if isinstance(value, datetime):
        instant = value if value.tzinfo else value.replace(tzinfo=UTC)
        value = now - instant
    if not isinstance(value, timedelta):
        return UNKNOWN
    if abs(value) < timedelta(seconds=1):
        return "just now"
    return f"{_rough(value)} ago" if value > ZERO else f"in {_rough(-value)}"


def _rough(length: timedelta) -> str:
    """To two units: nobody needs the seconds of a day."""
    step = timedelta(seconds=1)
    for size, fine in ((_DAY, timedelta(hours=1)), (timedelta(hours=1), timedelta(minutes=1))):
        if abs(length) >= size:
            step = fine
            break
    if abs(length) < step:
        return format_duration(length)
    whole = (abs(length) // step) * step
    return format_duration(whole if length > ZERO else -whole)


def _span(length: timedelta) -> str:
    """How long something lasted: never less than nothing, also if the clock was set back in it."""
    return _rough(max(length, ZERO))


def _past(at: datetime, now: datetime) -> str:
    """How long ago something was; what lies ahead, by a clock that was set back, is now."""
    return ago(min(at, now), now=now)


# ── what to do ──────────────────────────────────────────────────────────────


def remedy(offer: Remedy, *, show: Display = PLAIN) -> Data:
    """Give one thing that would clear an alert as data: action, amount, unit and text."""
    unit, amount = clean_name(offer.unit), show.money(offer.amount)
    texts = {
        Action.DEPOSIT: f"deposit {amount} {unit}",
        Action.ADD_MARGIN: f"add {amount} {unit} margin",
        Action.REDUCE: f"close {amount} {unit}",
    }
    return {
        "action": offer.action.value,
        "amount": offer.amount,
        "unit": unit,
        "text": texts[offer.action],
    }


def to_clear(offers: Iterable[Remedy], *, show: Display = PLAIN) -> str:
    """Say what would clear an alert: "to clear: deposit 80.00 USDT", or nothing."""
    texts = [remedy(each, show=show)["text"] for each in offers]
    return f"to clear: {', or '.join(texts)}" if texts else ""


# ── alerts ──────────────────────────────────────────────────────────────────


def describe(item: Item, *, now: datetime, show: Display = PLAIN) -> Data:
    """Give an alert as templates see it: cleaned, with its ready-made phrases.

    Its annotations are left as they are: templates of their own.
    """
    alert, resolved = item.alert, item.state is State.RESOLVED
    why = alert.resolved_why if resolved else None
    offers = () if resolved else alert.remedies
    # both come out of the state file in the order of their names, and so do they together
    shown = heapq.merge(alert.extra_labels.items(), alert.labels.items(), key=lambda pair: pair[0])
    labels = {clean_name(name): clean_name(text) for name, text in shown}
    data: Data = {
        "id": alert.id,
        "rule": clean_name(alert.rule),
        "labels": labels,
        "account": labels.get("account", "alerting"),
        "episode": alert.episode,
        "expression": clean_name(alert.expression),
        "percent": alert.percent,
        "flapping": item.flapping,
        "detail": fit_lines(_with_instants(show, clean(alert.detail, multiline=True))),
        "values": _values(alert),
        "annotations": dict(alert.annotations),
        "state": item.state.value,
        "reason": item.reason.value,
        "severity": item.severity.value,
        "previous_severity": item.previous_severity.value if item.previous_severity else None,
        "previous_value": _exact(item.previous_value),
        "previous_at": item.previous_at,
        "direction": alert.direction.value,
        "why": why.value if why else None,
        "value": _exact(alert.value),
        "threshold": _exact(item.threshold),
        "clear": _exact(item.clear),
        "distance": _exact(item.distance),
        "active_at": alert.active_at,
        "fired_at": alert.fired_at,
        "resolved_at": alert.resolved_at if resolved else None,
        "moved": "",
        "remedies": [remedy(each, show=show) for each in offers],
        "to_clear": to_clear(offers, show=show),
    }
    data["moved"] = _moved(show, data, alert.judged_at)
    return data | _phrases(show, data, now)


def _values(alert: Alert) -> dict[str, Decimal | None]:
    """The fields of its row; a figure of a position that has no value now is None."""
    blank = dict.fromkeys(SCOPES[Scope.POSITION].shown) if "side" in alert.labels else {}
    return blank | {clean_name(name): _exact(number) for name, number in alert.values.items()}


def _with_instants(show: Display, text: str) -> str:
    """A detail, which the engine wrote for no reader in particular, with its instants as shown."""

    def shown(found: re.Match[str]) -> str:
        try:
            return show.instant(parse_instant(found.group()))
        except ValueError:  # it only looked like one
            return found.group()

    return _INSTANT.sub(shown, text)


def _exact(number: Decimal | None) -> Decimal | None:
    """The number that people are shown: without an exponent or a quotient's endless tail."""
    return None if number is None else Decimal(plain(number))


def _phrases(show: Display, alert: Data, now: datetime) -> Data:
    labels = alert["labels"]
    subject = labels.get("symbol") or labels.get("base_asset") or ""
    whose = " ".join(filter(None, (labels.get("symbol"), labels.get("side"))))
    name = " ".join(filter(None, (alert["rule"], whose or _unpriced(alert))))
    resolved, lost = alert["state"] == "resolved", alert["why"] == "liquidated"
    return {
        "marker": "✅" if resolved and not lost else _MARKERS.get(alert["severity"], "⚪"),
        "subject": subject,
        "name": name,
        "label_line": " · ".join(f"{key} {text}" for key, text in labels.items()),
        "status": LIQUIDATED if lost else RESOLVED if resolved else alert["severity"].upper(),
        "change": _change(alert),
        "headline": f"{name}: {_brief(show, alert)}",
        "short": _short(show, alert, name),
        "level": _level(show, alert),
        "rest": _rest(show, alert),
        "since": _since(show, alert, now),
    }


def _unpriced(alert: Data) -> str:
    """Name the settlement asset where no unit behind the number says it."""
    asset: str = alert["labels"].get("base_asset", "")
    return asset if not _unit(alert) or alert["value"] is None else ""


def _unit(alert: Data) -> str:
    if alert["percent"] or alert["expression"] in _NO_AMOUNTS:
        return ""
    return str(alert["labels"].get("base_asset", ""))


def _amount(show: Display, alert: Data, key: str, *, unit: bool = False) -> str:
    percent = alert["percent"]
    text = show.number(
        alert[key], percent=percent, apart_from=alert["threshold"] if key == "value" else None
    )
    counts = unit and not percent and alert[key] is not None and alert[key].is_finite()
    return f"{text} {_unit(alert)}".strip() if counts else text


def _gap(show: Display, alert: Data) -> str:
    """How far from the line."""
    return show.difference(alert["distance"], percent=alert["percent"])


def _change(alert: Data) -> str:
    """Say what is new: "escalated from warning", "repeat, down 9.20 in 15m", or nothing."""
    if alert["state"] == "resolved":
        return f"was {alert['severity']}"
    if not alert["flapping"]:
        return _news(alert)
    if alert["severity"] != "critical":
        return "flapping, quiet until it settles"
    # a critical one is not left in peace: each is told
    return ", ".join(filter(None, (_news(alert), "flapping")))


def _news(alert: Data) -> str:
    previous, reason = alert["previous_severity"], alert["reason"]
    if reason in {"escalated", "eased"}:
        return f"{reason} from {previous}" if previous else str(reason)
    if reason == "repeat":
        before = f"before: {previous}" if previous else ""
        return ", ".join(filter(None, ("repeat", before, alert["moved"])))
    return ""


def _moved(show: Display, alert: Data, judged_at: datetime | None) -> str:
    """How the value moved since the receiver was last told: "down 9.20 in 15m"."""
    value, before, told_at = alert["value"], alert["previous_value"], alert["previous_at"]
    if value is None or before is None or alert["detail"]:
        return ""
    seen_for = judged_at - told_at if judged_at and told_at else ZERO
    if value == before:
        # what was not read since is not said to be unchanged
        return f"unchanged in {_rough(seen_for)}" if seen_for > ZERO else "not read since"
    gap = EXACT.subtract(value, before)
    by = f" {show.difference(gap, percent=alert['percent'])}" if gap.is_finite() else ""
    within = f" in {_rough(seen_for)}" if seen_for > ZERO else ""
    return f"{'up' if value > before else 'down'}{by}{within}"


def _brief(show: Display, alert: Data) -> str:
    """How bad, for the first line: "241.07 USDT, 8.93 below 250"."""
    if alert["state"] == "resolved":
        return _resolution(show, alert)
    value = _amount(show, alert, "value", unit=True)
    if alert["detail"]:
        return str(alert["detail"]).partition("\n")[0]
    if alert["value"] is None or alert["distance"] is None:
        return "no value" if alert["value"] is None else value
    threshold = _amount(show, alert, "threshold")
    if alert["distance"] > 0:
        return f"{value}, {_gap(show, alert)} {alert['direction']} {threshold}"
    return f"{value}, not clear yet"


def _resolution(show: Display, alert: Data) -> str:
    if alert["why"] in _ENDINGS:
        return _ENDINGS[alert["why"]]
    if alert["value"] is None or alert["detail"]:
        return "over"
    return f"back to {_amount(show, alert, 'value', unit=True)}"


def _short(show: Display, alert: Data, name: str) -> str:
    """One alert among several, in the first line: "floor 241.07 (< 250)"."""
    if alert["state"] == "resolved":
        why = _ENDINGS.get(alert["why"])
        return f"{name} {why}" if why else f"{name} resolved"
    if alert["value"] is None or alert["threshold"] is None or alert["detail"]:
        return name
    sign = ">" if alert["direction"] == "above" else "<"
    if alert["distance"] is None or alert["distance"] <= 0:
        return f"{name} {_amount(show, alert, 'value')}"
    turned = f", {alert['reason']}" if alert["reason"] in {"escalated", "eased"} else ""
    line = _amount(show, alert, "threshold")
    return f"{name} {_amount(show, alert, 'value')} ({sign} {line}{turned})"


def _level(show: Display, alert: Data) -> str:
    """How bad, in the message: value, line, the distance in units and in % of the line."""
    if alert["state"] == "resolved" and alert["why"] in _ENDINGS:
        # what was last seen is no level of now
        return _ENDINGS[alert["why"]]
    if alert["detail"]:
        return str(alert["detail"])
    if alert["value"] is None:
        return "no value"
    value = _amount(show, alert, "value", unit=True)
    if alert["threshold"] is None or alert["distance"] is None:
        return f"now {value}"
    threshold, clear = _amount(show, alert, "threshold"), _amount(show, alert, "clear")
    if alert["state"] == "resolved":
        return f"now {value}; the line is {threshold}{_clears(alert, clear)}"
    if alert["distance"] > 0:
        past = f"{_gap(show, alert)}{_share(show, alert)} {alert['direction']} {threshold}"
        return f"{value}: {past}{_clears(alert, clear)}"
    return f"{value}: no longer {alert['direction']} {threshold}, not clear yet" + _clears(
        alert, clear
    )


def _rest(show: Display, alert: Data) -> str:
    """What `level` says and `headline` does not: "3.57% past the line, clears at 300"."""
    if alert["detail"]:
        return str(alert["detail"]).partition("\n")[2]
    if alert["value"] is None or alert["threshold"] is None or alert["why"] in _ENDINGS:
        return ""
    threshold = _amount(show, alert, "threshold")
    if alert["state"] == "resolved":
        return f"the line is {threshold}"
    share = _share(show, alert).strip(" ()")
    past = f"{share} past the line" if share else ""
    if alert["distance"] <= 0:
        past = f"no longer {alert['direction']} {threshold}"
    return f"{past}{_clears(alert, _amount(show, alert, 'clear'))}".removeprefix(", ")


def _clears(alert: Data, clear: str) -> str:
    if alert["clear"] is None or alert["clear"] == alert["threshold"]:
        return ""
    return f", clears at {clear}"


def _share(show: Display, alert: Data) -> str:
    """Put the distance in percent of the threshold; of percentages there are points already."""
    if not alert["threshold"] or alert["percent"] or alert["distance"].is_infinite():
        return ""
    share = EXACT.divide(abs(alert["distance"]), abs(alert["threshold"]))
    return f" ({show.percent(share)})"


def _since(show: Display, alert: Data, now: datetime) -> str:
    """Since when, absolute and relative."""
    fired, active, resolved = alert["fired_at"], alert["active_at"], alert["resolved_at"]
    if alert["state"] == "resolved":
        lasted = f" after {_span(resolved - fired)}" if resolved and fired else ""
        over = f"resolved {show.instant(resolved)} ({_past(resolved, now)})" if resolved else "over"
        return f"{over}{lasted}"
    start = fired or active
    if start is None:
        return ""
    text = f"firing since {show.instant(start)} ({_past(start, now)})"
    early = fired and active and fired - active >= timedelta(seconds=1)
    return f"{text}, first seen {_rough(fired - active)} earlier" if early else text
