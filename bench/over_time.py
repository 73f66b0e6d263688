"""Functions over time: against their definitions, and what they cost.

    python bench/over_time.py --comparisons 100000      exit code 1 if any differs
    python bench/over_time.py                           what a poll costs, by what the rules ask for

The comparisons go through a real state file, which is closed and opened anew at random; some polls
are judged twice from what was stored before, as after a kill within the transaction.
"""

from __future__ import annotations

import argparse
import functools
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alerting.engine import evaluation
from alerting.engine.feeds import Scope
from alerting.engine.series import Point, Series, length
from alerting.store.state import Store
from tests.support.factories import (
    T0,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_symbol,
    make_threshold,
    make_wallet,
)
from tests.support.over_time import RULESET, compare

INTERVAL = timedelta(seconds=15)
DAY = timedelta(days=1)


# ── comparisons ─────────────────────────────────────────────────────────────


class CutOffError(Exception):
    """As if the process had been killed before the commit."""


class Restarted:
    """Judges through a state file that is opened anew now and then."""

    def __init__(self, path: Path, dice: random.Random) -> None:
        self._path = path
        self._dice = dice
        self._store = Store(path)
        self.counts: Counter[str] = Counter()

    def judge(self, step):
        """One poll; now and then the process ends before, or within, its transaction."""
        judge = functools.partial(evaluation.evaluate, RULESET, outcome=step.outcome, now=step.at)

        def cut_off(memory):
            judge(memory)
            raise CutOffError

        if self._dice.random() < 0.1:
            try:
                self._store.evaluate("main", cut_off)
            except CutOffError:
                self.counts["cut off"] += 1
            self._reopen()
        elif self._dice.random() < 0.3:
            self._reopen()
        return self._store.evaluate("main", judge)

    def _reopen(self) -> None:
        self._store.close()
        self._store = Store(self._path)
        self.counts["restarts"] += 1

    def close(self) -> None:
        self._store.close()


def comparisons(wanted: int, seed: int, steps: int = 120) -> int:
    """Histories of so many polls each until there are enough; how many comparisons differ."""
    counts: Counter[str] = Counter()
    began = time.perf_counter()
    while counts["comparisons"] < wanted:
        dice = random.Random(f"{seed} {counts['histories']}")
        with tempfile.TemporaryDirectory() as folder:
            restarted = Restarted(Path(folder) / "alerting.db", dice)
            for call, at, expected, found in compare(dice, steps, restarted.judge):
                counts["comparisons"] += 1
                counts["without a value"] += expected is None
                if expected != found:
                    counts["different"] += 1
                    print(f"seed {seed}, {at:%H:%M:%S}: {call.name}: {found}, not {expected}")
            restarted.close()
        counts.update(restarted.counts)
        counts["histories"] += 1
    counts["different"] += 0
    print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())), end="")
    print(f", {time.perf_counter() - began:.0f} s")
    return counts["different"]


# ── what it costs ───────────────────────────────────────────────────────────

WINDOWS = {"none": None, "1h": "1h", "1d": "1d", "7d": "7d"}
SYMBOLS = 10


def ruleset(window: str | None):
    """Four rules per symbol, each with one function of one expression."""
    texts = (
        ("delta", "delta(blocked_balance, {})"),
        ("most", "max_over_time(blocked_balance, {})"),
        ("mean", "avg_over_time(blocked_balance, {})"),
        ("line", "predict_linear(blocked_balance, {}, 1h)"),
    )
    return make_ruleset(
        *(
            make_rule(
                name,
                text.format(window) if window else "blocked_balance",
                make_threshold(threshold="-1000000"),
                scope=Scope.SYMBOL,
            )
            for name, text in texts
        )
    )


def snapshot(number: int, dice: random.Random, margins: dict[str, Decimal]):
    for name in margins:
        margins[name] += Decimal(dice.randint(-(10**6), 10**6)).scaleb(-8)
    rows = [make_symbol(name, str(margin)) for name, margin in margins.items()]
    at = T0 + number * INTERVAL
    return make_snapshot(make_wallet(position=str(sum(margins.values()))), symbols=rows, at=at)


def filled(store: Store, rules, window: timedelta, dice: random.Random) -> int:
    """As after polls for the whole window, whose samples are put there directly; how many."""
    margins = {f"COIN{number}USDT": Decimal("500.12345678") for number in range(SYMBOLS)}
    polls = (window + timedelta(minutes=5)) // INTERVAL

    def judge(memory):
        seen = snapshot(0, dice, margins)
        first = evaluation.evaluate(rules, memory, seen, now=seen.observed_at)
        past = first.memory.past
        keys = past.keys()
        filled = {key: series_of(polls, past.series(key), dice) for key in keys}
        return replace(first, memory=replace(first.memory, past=past.after(filled, ())))

    store.evaluate("main", judge)
    return polls


def series_of(polls: int, series: Series, dice: random.Random) -> Series:
    """The series and a sample of so many polls more."""
    start, value = series.since, series.good[0].sums.most
    for number in range(1, polls):
        value += Decimal(dice.randint(-(10**6), 10**6)).scaleb(-8)
        point = Point(start + number * length(INTERVAL), value)
        series = series.with_one(point, good=True, patience=length(timedelta(minutes=2)))
    return series


def costs(polls: int, seed: int) -> None:
    """A table: per window, the time of a poll's transaction and the size of the state file."""
    print(f"{SYMBOLS} symbols, 4 rules each, a poll every {INTERVAL.seconds} s")
    print("window  samples  ms for a poll  of it CPU  beyond none  replayed  state MiB")
    base = None
    for name, text in WINDOWS.items():
        dice = random.Random(seed)
        window = {"1h": DAY / 24, "1d": DAY, "7d": 7 * DAY}.get(name, timedelta(0))
        rules = ruleset(text)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "alerting.db"
            store = Store(path)
            full = filled(store, rules, window, dice)
            margins = {f"COIN{number}USDT": Decimal("500.12345678") for number in range(SYMBOLS)}
            took, cpu = [], []
            memory = store.memory("main")
            for number in range(full, full + polls):
                seen = snapshot(number, dice, margins)
                judge = functools.partial(
                    evaluation.evaluate, rules, outcome=seen, now=seen.observed_at
                )
                began, busy = time.perf_counter(), time.process_time()
                store.evaluate("main", judge)
                took.append((time.perf_counter() - began) * 1000)
                cpu.append((time.process_time() - busy) * 1000)
            past = store.memory("main").past
            kept = sum(c.sums.size for key in sorted(past.keys()) for c in past.series(key).chunks)
            replayed = replay_cost(rules, memory, full, polls, dice)
            store.close()
            size = path.stat().st_size / 2**20
        poll, busy = sorted(took)[polls // 2], sorted(cpu)[polls // 2]
        base = busy if base is None else base
        print(
            f"{name:6} {kept:8} {poll:14.1f} {busy:10.1f} {busy - base:12.1f} {replayed:9.1f} "
            f"{size:10.1f}"
        )


def replay_cost(rules, memory, first: int, polls: int, dice: random.Random) -> float:
    """Milliseconds of CPU for a poll whose memory is not stored."""
    margins = {f"COIN{number}USDT": Decimal("500.12345678") for number in range(SYMBOLS)}
    began = time.process_time()
    for number in range(first, first + polls):
        seen = snapshot(number, dice, margins)
        memory = evaluation.evaluate(rules, memory, seen, now=seen.observed_at).memory
    return (time.process_time() - began) / polls * 1000


def main() -> int:
    """Compare, or measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=0)
    parser.add_argument("--polls", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.comparisons:
        return min(1, comparisons(args.comparisons, args.seed))
    costs(args.polls, args.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
