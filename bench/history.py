"""What a day of history costs: one account, a poll every 15 s, ten symbols that move each time."""

from __future__ import annotations

import functools
import json
import random
import tempfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from alerting.engine import evaluation
from alerting.engine.model import Severity
from alerting.engine.rules import BUILTIN_NAMES, BuiltinRule, Route, Ruleset
from alerting.engine.snapshot import Poll
from alerting.exchanges.coinswitch.answers import parse_wallet
from alerting.sandbox.exchange import wallet_body
from alerting.store.state import Store

INTERVAL = timedelta(seconds=15)
POLLS = timedelta(days=1) // INTERVAL
START = datetime(2026, 1, 1, tzinfo=UTC)


def ruleset():
    return Ruleset(
        rules=(),
        routes=(Route(receivers=("desk",)),),
        receivers={"desk": True},
        accounts=("main",),
        blind_after=timedelta(minutes=2),
        builtin={name: BuiltinRule(severity=Severity.WARNING) for name in BUILTIN_NAMES},
    )


def bodies():
    rng = random.Random(1)
    margins = {f"COIN{number}USDT": Decimal("500.12345678") for number in range(10)}
    while True:
        for name in margins:
            margins[name] += Decimal(rng.randint(-(10**6), 10**6)) / 10**8
        rows = {name: (str(margin), "0.00008854") for name, margin in margins.items()}
        yield json.dumps(wallet_body(total="60960.82599588", rows=rows))


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "alerting.db"
        store, rules, sizes = Store(path), ruleset(), 0
        empty = path.stat().st_size
        began = time.perf_counter()
        for number, body in zip(range(POLLS), bodies(), strict=False):
            at = START + number * INTERVAL
            sizes += len(body)
            snapshot = parse_wallet(body.encode(), account="main", observed_at=at)
            judge = functools.partial(evaluation.evaluate, rules, outcome=snapshot, now=at)
            poll = Poll(at=at, account="main", body=body, outcome=snapshot)
            store.evaluate("main", judge, poll=poll)
        seconds = time.perf_counter() - began
        store.close()
        grown = path.stat().st_size - empty
    print(f"{POLLS} polls: answers of {sizes / POLLS:.0f} bytes, {grown / POLLS:.0f} on disk each")
    print(f"a day: {grown / 2**20:.1f} MiB; 30 days: {grown * 30 / 2**20:.0f} MiB")
    print(f"{seconds / POLLS * 1000:.2f} ms for a poll's evaluation and commit")


if __name__ == "__main__":
    main()
