"""Make the six wallets of examples/wallets/: a healthy week, and five days that go wrong.

    python bench/wallets.py                writes the files, the same ones each time
    python bench/wallets.py --table        what rules.example.yaml tells of them, for docs/replay.md

All six are one account: about 5,200 USDT, of which three symbols lock about 42 %. A poll a minute,
not one in 15 s, keeps the files small; it is well below `blind_after`.
"""

from __future__ import annotations

import argparse
import gzip
import math
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alerting.config.load import Secrets, load_config
from alerting.engine.model import Notification
from alerting.engine.rules import Ruleset
from alerting.engine.simulation import Simulation
from alerting.engine.snapshot import Poll
from alerting.replay.recording import open_recording, read_records, write_record
from alerting.replay.tally import Tally

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "examples" / "wallets"
#: a Monday
START = datetime(2026, 3, 2, tzinfo=UTC)
SEED = 20260302
HOUR, DAY, WEEK = 60, 24 * 60, 7 * 24 * 60
SYMBOLS = {"BTCUSDT": 900, "ETHUSDT": 680, "SOLUSDT": 480}
TOTAL = 5200
#: minutes in which the API is out for 45 seconds: three polls of 15 s in a row fail
OUTAGES = {2 * DAY + 13 * HOUR + 7, 5 * DAY + 3 * HOUR + 41}


# ── a wallet in which nothing is wrong ──────────────────────────────────────


@dataclass(kw_only=True, slots=True)
class Moment:
    """A wallet in one minute, in USDT."""

    total: float
    held: dict[str, float]
    orders: dict[str, float]
    #: margin that no row explains: fees that are booked a little later
    unlisted: float


class Drift:
    """Noise that comes back: a value around 0 whose deviation is about 1, over hours."""

    def __init__(self, dice: random.Random, hours: float) -> None:
        self._dice = dice
        self._pull = 1 / (hours * HOUR)
        self.value = 0.0

    def step(self) -> float:
        """The value a minute later, never further out than 2.2."""
        self.value += self._dice.gauss(0, math.sqrt(2 * self._pull)) - self.value * self._pull
        self.value = max(-2.2, min(2.2, self.value))
        return self.value


@dataclass(kw_only=True, slots=True)
class Order:
    """An order that is filled or cancelled at its end; a fill is held for some hours."""

    symbol: str
    margin: float
    until: int
    filled: bool


@dataclass(slots=True)
class Book:
    """Orders and what came of them; some are reduce-only, whose margin is negative."""

    dice: random.Random
    open: list[Order] = field(default_factory=list)
    fills: list[Order] = field(default_factory=list)

    def step(self, minute: int) -> None:
        """Place, fill, cancel and close what is due."""
        dice = self.dice
        for order in [each for each in self.open if each.until <= minute]:
            self.open.remove(order)
            if order.filled:
                order.until = minute + dice.randint(2 * HOUR, 8 * HOUR)
                self.fills.append(order)
        self.fills = [each for each in self.fills if each.until > minute]
        if len(self.open) < 3 and dice.random() < 14 / DAY:
            reduces = dice.random() < 0.2
            margin = -dice.uniform(2, 12) if reduces else dice.uniform(40, 140)
            self.open.append(
                Order(
                    symbol=dice.choice(list(SYMBOLS)),
                    margin=margin,
                    until=minute + dice.randint(20, 3 * HOUR),
                    filled=not reduces and len(self.fills) < 3 and dice.random() < 0.6,
                )
            )


def healthy(minutes: int, dice: random.Random, *, swing: float) -> Iterator[Moment]:
    """Profit and loss move the total by some percent, prices the margins; orders come and go."""
    equity, book = Drift(dice, hours=5), Book(dice)
    prices = {symbol: Drift(dice, hours=9) for symbol in SYMBOLS}
    for minute in range(minutes):
        book.step(minute)
        held = {s: base * (1 + 0.03 * prices[s].step()) for s, base in SYMBOLS.items()}
        orders = dict.fromkeys(SYMBOLS, 0.0)
        for order in book.fills:
            held[order.symbol] += order.margin
        for order in book.open:
            orders[order.symbol] += order.margin
        total = TOTAL * (1 + swing * equity.step()) + dice.gauss(0, 4)
        yield Moment(total=total, held=held, orders=orders, unlisted=dice.uniform(0, 2.5))


# ── five days that go wrong ─────────────────────────────────────────────────


def ramp(minute: int, start: int, end: int) -> float:
    """0 until `start`, 1 from `end` on, and a line between."""
    return max(0.0, min(1.0, (minute - start) / (end - start)))


def slow_bleed(minute: int, now: Moment) -> None:
    """From 06:00 equity falls for nine hours; as that stops, new funds arrive."""
    lost = ramp(minute, 6 * HOUR, 15 * HOUR)
    now.total -= 2980 * lost * (minute < 15 * HOUR)


def crash(minute: int, now: Moment) -> None:
    """At 14:00 half of the equity is gone in six minutes; at 14:30 most positions are closed."""
    now.total -= 2800 * ramp(minute, 14 * HOUR, 14 * HOUR + 6)
    left = 1 - 0.6 * ramp(minute, 14 * HOUR + 30, 14 * HOUR + 31)
    for symbol in now.held:
        now.held[symbol] *= left


def one_symbol_grows(minute: int, now: Moment) -> None:
    """From 09:00 on BTC is bought for four hours; at 13:05 it is sold down to what it was."""
    bought = ramp(minute, 9 * HOUR, 13 * HOUR) - (minute >= 13 * HOUR + 5)
    now.held["BTCUSDT"] += 2100 * bought


def withdrawal(minute: int, now: Moment) -> None:
    """At 11:00 nearly all that is available is withdrawn; 40 minutes later it is back."""
    now.total -= 2780 * (11 * HOUR <= minute < 11 * HOUR + 40)


def order_flood(minute: int, now: Moment) -> None:
    """At 03:00 a bot gone mad orders for all that is available; at 03:25 all is cancelled."""
    if 3 * HOUR <= minute < 3 * HOUR + 25:
        locked = sum(now.held.values()) + sum(now.orders.values()) + now.unlisted
        each = 0.98 * (now.total - locked) / len(now.orders)
        now.orders = {symbol: margin + each for symbol, margin in now.orders.items()}


Story = Callable[[int, Moment], None]
BAD_DAYS: dict[str, Story] = {
    "slow-bleed": slow_bleed,
    "crash": crash,
    "one-symbol-grows": one_symbol_grows,
    "withdrawal": withdrawal,
    "order-flood": order_flood,
}
NAMES = ("healthy-week", *BAD_DAYS)


# ── as a recording ──────────────────────────────────────────────────────────


def amount(cents: int) -> str:
    """Cents as the exchange writes money."""
    return f'"{Decimal(cents) / 100:.2f}"'


def body(now: Moment, size: float) -> str:
    """The exchange's answer; sums are made of whole cents, so they hold exactly."""
    cents = 100 * size
    rows, held, ordered = [], round(now.unlisted * cents), 0
    for symbol in SYMBOLS:
        position, orders = round(now.held[symbol] * cents), round(now.orders[symbol] * cents)
        held, ordered = held + position, ordered + orders
        rows.append(
            f'{{"symbol":"{symbol}","base_asset":"USDT","exchange":"EXCHANGE_2",'
            f'"blocked_balance":{amount(position + orders)},"position_margin":{amount(position)},'
            f'"open_order_margin":{amount(orders)}}}'
        )
    total = round(now.total * cents)
    return (
        '{"data":{"base_asset_balances":[{"base_asset":"USDT","balances":{'
        f'"total_balance":{amount(total)},'
        f'"total_available_balance":{amount(total - held - ordered)},'
        f'"total_blocked_balance":{amount(held + ordered)},"total_position_margin":{amount(held)},'
        f'"total_open_order_margin":{amount(ordered)}}}}}],"asset":[{",".join(rows)}]}}}}'
    )


def recording(name: str, *, size: float = 1) -> Iterator[str]:
    """The lines of one wallet, each with its newline; `size` multiplies all that it holds."""
    story = BAD_DAYS.get(name)
    dice = random.Random(f"{SEED} {name}")
    # on a bad day the story moves the wallet, and little else
    minutes, swing = (DAY, 0.01) if story else (WEEK, 0.035)
    for minute, now in enumerate(healthy(minutes, dice, swing=swing)):
        if story:
            story(minute, now)
        at = START + timedelta(minutes=minute)
        yield write_record(at=at, account="main", body=body(now, size)) + "\n"
        for seconds in (15, 30, 45) if not story and minute in OUTAGES else ():
            later = at + timedelta(seconds=seconds)
            error = "exchange down: HTTP 502"
            yield write_record(at=later, account="main", error=error) + "\n"


def write(folder: Path) -> None:
    """All six files; no time and no name in them, so that the same wallets are the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        text = "".join(recording(name)).encode()
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(text, mtime=0))


# ── what the example's rules tell of them ───────────────────────────────────


class Replayed(NamedTuple):
    """What a replay came to."""

    tally: Tally
    told: list[Notification]


def example_rules() -> Ruleset:
    """The rules of rules.example.yaml."""
    path = ROOT / "rules.example.yaml"
    return load_config(path, environ={}, secrets=Secrets.IGNORED).ruleset


def shipped(name: str) -> Iterator[Poll]:
    """The polls of a file in examples/wallets/."""
    file = str(FOLDER / f"{name}.jsonl.gz")
    with open_recording(file) as opened:
        yield from read_records(opened.lines, file=file)


def replayed(ruleset: Ruleset, polls: Iterable[Poll]) -> Replayed:
    """A replay, added up, with all messages in their order."""
    tally, simulation, told = Tally(ruleset, UTC), Simulation(ruleset), []
    for poll in polls:
        evaluation = simulation.feed(poll.outcome, at=poll.at)
        tally.take(evaluation, poll.outcome)
        told += evaluation.notifications
    return Replayed(tally, told)


def table(tallies: dict[str, Tally]) -> str:
    """Messages for each wallet and receiver, as Markdown."""
    receivers = list(next(iter(tallies.values())).receivers)
    lines = [f"| wallet | {' | '.join(receivers)} |", "|---|" + "---:|" * len(receivers)]
    for name, tally in tallies.items():
        counts = " | ".join(str(tally.receivers[each].messages) for each in receivers)
        lines.append(f"| `{name}` | {counts} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the files, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true")
    if parser.parse_args().table:
        ruleset = example_rules()
        print(table({name: replayed(ruleset, shipped(name)).tally for name in NAMES}), end="")
    else:
        write(FOLDER)


if __name__ == "__main__":
    main()
