"""Days of trading, wallet and positions, through the real cycle; is each replayed as it was?

python bench/feeds.py --days 3

Failed polls, lies, outages of the positions page, positions that are closed or liquidated, and
restarts are in each; as a daemon, from cron, and with each feed at a pace of its own.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alerting.sandbox.exchange import LoopbackExchange
from tests.support.lived import lived, replayed
from tests.support.trading import STEP, Trading

_WAYS = {
    "daemon": {},
    "cron": {"cron": True},
    "own pace": {"positions_every": timedelta(seconds=10)},
}


def a_day(folder: Path, seed: int, steps: int, how: dict) -> bool:
    """Live it, replay it, print a line; False: the two differ."""
    with LoopbackExchange() as exchange:
        run = Trading(folder, exchange, seed=seed, **how)
        run.live(steps)
        told, again = lived(run.store), replayed(run)
        kinds = Counter(poll.feed for poll in run.store.history())
        run.end()
    why = Counter(change[-1] for change in told[0])
    print(
        f"{len(told[0])} transitions ({why['liquidated']} liquidated, {why['gone']} gone), "
        f"{len(told[1])} messages; recorded:",
        ", ".join(f"{count} {feed}" for feed, count in sorted(kinds.items())),
    )
    for one, other in zip(told, again, strict=True):
        for mine, theirs in zip(one, other, strict=False):
            if mine != theirs:
                print(f"  DIFFERS: lived    {mine}\n           replayed {theirs}")
                return False
        if len(one) != len(other):
            print(f"  DIFFERS: lived {len(one)}, replayed {len(other)}")
            return False
    return True


def main() -> int:
    """Live the days; 1 if any was replayed otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=1, help="of each way (default: 1)")
    parser.add_argument("--hours", type=float, default=24, help="of a day (default: 24)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    good = True
    for seed in range(args.seed, args.seed + args.days):
        for name, how in _WAYS.items():
            began = time.monotonic()
            print(f"seed {seed}, {name}: ", end="", flush=True)
            with tempfile.TemporaryDirectory(prefix="alerting-feeds-") as folder:
                steps = round(timedelta(hours=args.hours) / STEP)
                good &= a_day(Path(folder), seed, steps, how)
            print(f"  {time.monotonic() - began:.0f} s", flush=True)
    print("replayed as they were" if good else "NOT REPLAYED AS THEY WERE")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
