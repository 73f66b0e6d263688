"""Generate a month of polls and replay it in one process: snapshots per second, peak memory.

    PYTHONPATH=. python bench/replay.py                 a day, a week and a month
    PYTHONPATH=. python bench/replay.py --days 1 --profile

Each length is replayed in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alerting.config.load import Secrets, load_config
from alerting.replay.recording import write_record
from alerting.replay.replay import Options, replay

START = datetime(2026, 1, 1, tzinfo=UTC)
INTERVAL = 15
PER_DAY = 86_400 // INTERVAL
NAMES = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "LINK", "AVAX", "DOT", "LTC")
SYMBOLS = [f"{name}USDT" for name in NAMES]
UNIT = 10**8

# ── rules: 20, of all scopes and shapes ─────────────────────────────────────

HEAD = """\
accounts:
  main: {api_key: "${KEY}", secret_key: "${SECRET}"}
receivers:
  desk: {url: "${DESK}"}
  phone: {url: "${PHONE}"}
routes:
  - {match: {severity: critical}, receivers: [desk, phone], repeat_interval: 15m}
  - {receivers: [desk], repeat_interval: 4h}
rules:
"""
RULES = """\
available-floor|wallet|total_available_balance|below: {warning: 4000, critical: 1500}|for: 30s
available-ratio|wallet|available_ratio|below: {warning: 30%, critical: 15%}|for: 1m
margin-ratio|wallet|margin_ratio|above: {info: 65%, warning: 75%, critical: 85%}|keep_firing_for: 2m
total-floor|wallet|total_balance|below: {warning: 10000, critical: 8000}|for: 1m
order-pressure|wallet|total_open_order_margin / max(total_available_balance, 1)|above: 50%|for: 5m
negative-orders|wallet|total_open_order_margin|below: 0|severity: info
unlisted|wallet|abs(unlisted_margin)|above: 1|severity: info
position-share|wallet|total_position_margin / total_balance|above: 80%|for: 2m
order-share|wallet|total_open_order_margin / total_balance|above: 20%|for: 2m
blocked-floor|wallet|total_blocked_balance|below: 500|when: total_balance > 100
symbol-margin-ratio|symbol|margin_ratio|above: {warning: 20%, critical: 35%}|keep_firing_for: 2m
concentration|symbol|concentration|above: {warning: 45%, critical: 60%}|for: 5m
symbol-overload|symbol|blocked_balance - total_available_balance|above: 0|for: 1m
symbol-blocked|symbol|blocked_balance|above: 5000|for: 30s
symbol-orders|symbol|open_order_margin / max(blocked_balance, 1)|above: 90%|for: 10m
symbol-position|symbol|position_margin|above: {info: 3000, warning: 6000}|for: 1m
majors|symbol|blocked_balance|above: 4500|symbols: ["BTC*", "ETH*"]
minors|symbol|margin_ratio|above: 10%|symbols: ["!BTC*", "!ETH*"]
polls-failing|account|poll_failures|above: 3|severity: info
stale|account|snapshot_age|above: 90|for: 0s
"""


def rules() -> str:
    """The rules file."""
    text = HEAD
    for line in RULES.splitlines():
        name, scope, value, *rest = line.split("|")
        keys = "".join(f"    {key}\n" for key in rest)
        text += f'  - name: {name}\n    per: {scope}\n    value: "{value}"\n{keys}'
    return text


# ── a wallet: random walks, crises, outages, suspect data ───────────────────


def amount(units: int) -> str:
    """Units of 10^-8 as the exchange writes them."""
    sign, units = ("-" if units < 0 else ""), abs(units)
    return f'"{sign}{units // UNIT}.{units % UNIT:08d}"'


class Wallet:
    """Ten positions whose margins walk, in a wallet that a crisis empties for some hours."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.margins = [self.random.randint(400, 900) * UNIT for _ in SYMBOLS]
        self.orders = [self.random.randint(10, 60) * UNIT for _ in SYMBOLS]
        self.total = 16_000 * UNIT
        self.crisis_left = 0
        self.outage_left = 0
        self.closed: dict[int, int] = {}

    def poll(self) -> tuple[str | None, str | None]:
        """Body and error of the next poll."""
        draw = self.random.random
        self._walk()
        if self.outage_left == 0 and draw() < 1 / PER_DAY:
            self.outage_left = self.random.randint(2, 40)
        if self.outage_left:
            self.outage_left -= 1
            return None, "network: connection refused"
        if draw() < 0.001:
            return None, "exchange down: HTTP 502"
        return self._body(suspect=draw() < 0.0005), None

    def _walk(self) -> None:
        gauss = self.random.gauss
        if self.crisis_left == 0 and self.random.random() < 4 / (30 * PER_DAY):
            self.crisis_left = self.random.randint(240, 1440)
        self.crisis_left = max(0, self.crisis_left - 1)
        goal = (9_000 if self.crisis_left else 16_000) * UNIT
        self.total += (goal - self.total) // 100 + round(gauss(0, 4) * UNIT)
        for index in range(len(SYMBOLS)):
            pull = (700 * UNIT - self.margins[index]) // 2000
            self.margins[index] = max(UNIT, self.margins[index] + pull + round(gauss(0, 3) * UNIT))
            left = self.closed.get(index, 0)
            if left:
                self.closed[index] = left - 1
            elif self.random.random() < 0.5 / PER_DAY:
                self.closed[index] = self.random.randint(100, 1000)

    def _body(self, *, suspect: bool) -> str:
        rows, held, ordered = [], 0, 0
        for index, symbol in enumerate(SYMBOLS):
            if self.closed.get(index):
                continue
            margin, orders = self.margins[index], self.orders[index]
            held, ordered = held + margin, ordered + orders
            rows.append(
                f'{{"symbol":"{symbol}","base_asset":"USDT","exchange":"EXCHANGE_2",'
                f'"blocked_balance":{amount(margin + orders)},"position_margin":{amount(margin)},'
                f'"open_order_margin":{amount(orders)}}}'
            )
        total = self.total + (UNIT if suspect else 0)
        return (
            '{"data":{"base_asset_balances":[{"base_asset":"USDT","balances":{'
            f'"total_balance":{amount(total)},'
            f'"total_available_balance":{amount(self.total - held - ordered)},'
            f'"total_blocked_balance":{amount(held + ordered)},'
            f'"total_position_margin":{amount(held)},"total_open_order_margin":{amount(ordered)}}}}}],'
            f'"asset":[{",".join(rows)}]}}}}'
        )


def recording(days: float, seed: int) -> Iterator[str]:
    """The lines of so many days."""
    wallet = Wallet(seed)
    for number in range(round(days * PER_DAY)):
        body, error = wallet.poll()
        at = START + timedelta(seconds=number * INTERVAL)
        yield write_record(at=at, account="main", body=body, error=error) + "\n"


# ── measuring ───────────────────────────────────────────────────────────────


def measure(folder: Path, days: float, *, profile: bool) -> None:
    """Replay in this process and print one row."""
    rules_file, file = folder / "rules.yaml", folder / "recording.jsonl"
    ruleset = load_config(rules_file, environ={}, secrets=Secrets.IGNORED).ruleset
    until = START + timedelta(days=days)
    options = Options(file=str(file), json=True, until=until)
    before = peak()
    profiler = cProfile.Profile() if profile else None
    start = time.perf_counter()
    with (folder / f"out-{days:g}.jsonl").open("w+", encoding="utf-8") as out:
        if profiler:
            profiler.runcall(replay, ruleset, options, out=out)
        else:
            replay(ruleset, options, out=out)
        seconds = time.perf_counter() - start
        out.seek(0)
        lines = sum(1 for _ in out)
    polls = round(days * PER_DAY)
    print(
        f"{days:>5g} days  {polls:>7} polls  {seconds:>7.1f} s  {polls / seconds:>6.0f} polls/s  "
        f"{before:>6.1f} -> {peak():.1f} MiB peak  {lines} transitions and notifications",
        flush=True,
    )
    if profiler:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


def peak() -> float:
    """The largest size that this process ever had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Generate once, then measure each length."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=float, nargs="+", default=[1, 7, 30])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder:
        measure(args.folder, args.days[0], profile=args.profile)
        return
    with tempfile.TemporaryDirectory(prefix="alerting-replay-") as name:
        folder = Path(name)
        (folder / "rules.yaml").write_text(rules(), encoding="utf-8")
        with (folder / "recording.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(recording(max(args.days), args.seed))
        size = (folder / "recording.jsonl").stat().st_size / 1024**2
        print(
            f"{len(RULES.splitlines())} rules, {len(SYMBOLS)} symbols, {size:.0f} MiB", flush=True
        )
        for days in args.days:
            command = [sys.executable, __file__, "--in", name, "--days", str(days)]
            command += ["--profile"] if args.profile else []
            subprocess.run(command, check=True, env=os.environ)


if __name__ == "__main__":
    main()
