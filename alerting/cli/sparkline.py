"""The last day of a wallet in one line per asset, for `status` on a wide terminal."""

from __future__ import annotations

import decimal
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from alerting.display import Display
from alerting.engine.feeds import RATIOS, Scope
from alerting.engine.samples import samples
from alerting.exchanges.coinswitch import answers
from alerting.exchanges.strict_json import AnswerError
from alerting.store.state import Store
from alerting.units import EXACT, format_duration

_BARS = "▁▂▃▄▅▆▇█"
_SPAN = timedelta(hours=24)
# Polls are seldom closer together than this, so a gap shorter than it is none.
_SHORTEST_STEP = timedelta(minutes=2)
_SHOWN = {"total_available_balance": "available", "margin_ratio": "margin ratio"}


def sparklines(
    store: Store, account: str, display: Display, *, now: datetime, points: int
) -> Iterator[tuple[str, str, str]]:
    """(what, bars, lowest to highest) for each settlement asset; nothing without a history."""
    first = next(store.history(since=now - _SPAN, account=account), None)
    span = now - first.at if first is not None else _SPAN
    series = _series(store, account, now, span=span, count=points)
    for asset in sorted({asset for values in series for asset, _ in values}):
        for name, words in _SHOWN.items():
            seen = [values.get((asset, name)) for values in series]
            known = [value for value in seen if value is not None]
            if len(known) > 1:
                show = display.percent if name in RATIOS else display.rounded
                lowest, highest = show(min(known)), show(max(known))
                range_ = f"{lowest} to {highest}, last {_whole_minutes(span)}"
                yield f"{asset} {words}", bars(seen), range_


def bars(points: Sequence[Decimal | None]) -> str:
    """One bar per point, scaled from the lowest to the highest; a blank where there is none."""
    known = [point for point in points if point is not None]
    low, high = min(known, default=Decimal(0)), max(known, default=Decimal(0))
    top = len(_BARS) - 1
    return "".join(
        " "
        if point is None
        else _BARS[int((point - low) / (high - low) * top) if high > low else top // 2]
        for point in points
    )


def _series(
    store: Store, account: str, now: datetime, *, span: timedelta, count: int
) -> list[dict[tuple[str, str], Decimal | None]]:
    """Values at evenly spaced instants: a few look-ups, however long the history is."""
    step = span / count
    series = []
    for number in range(count):
        at = now - span + (number + 1) * step
        poll = store.last_poll(account, at=at)
        fresh = poll is not None and at - poll.at <= max(step, _SHORTEST_STEP)
        series.append(_values(poll.body, account, at) if poll and fresh else {})
    return series


def _values(body: str | None, account: str, at: datetime) -> dict[tuple[str, str], Decimal | None]:
    try:
        snapshot = answers.parse_wallet(
            (body or "").encode("utf-8", "surrogatepass"), account=account, observed_at=at
        )
    except AnswerError:
        return {}
    with decimal.localcontext(EXACT):
        return {
            (sample.labels["base_asset"], name): sample.values[name]
            for sample in samples(snapshot, Scope.WALLET)
            for name in _SHOWN
        }


def _whole_minutes(span: timedelta) -> str:
    minute = timedelta(minutes=1)
    return format_duration(max(minute, span // minute * minute))
