"""A simulated week of the daemon with faults throughout: does memory, handles or threads grow?

python bench/week.py --days 7
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.week import ROOT, a_world


def main() -> int:
    """Run, print a line for each day and the verdict; 1 if anything grew or went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=7, help="simulated (default: 7)")
    parser.add_argument("--hours", type=float, default=24, help="of a day (default: 24)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--root", type=Path, default=ROOT, help="where the package is")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="alerting-week-"))
    print(f"seed {args.seed}, log and state in {folder}", flush=True)
    with a_world(folder, day=timedelta(hours=args.hours), seed=args.seed, root=args.root) as world:
        week = world.run(args.days)
    print(week.table())
    print(week.largest())
    print(", ".join(f"{name} {count}" for name, count in sorted(week.counts.items())))
    print(f"{week.seconds:.0f} s")
    print("flat" if not week.problems else "NOT FLAT", *week.problems, sep="\n  ")
    return 1 if week.problems else 0


if __name__ == "__main__":
    sys.exit(main())
