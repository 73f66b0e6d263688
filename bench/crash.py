"""Kill the program many times and count what was lost or repeated; for long runs.

python bench/crash.py --kills 1000 --mode both --seed 1
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.crash import ROOT, Figures, crash_all


def main() -> int:
    """Run, print the figures; 1 if anything was lost, unmarked, out of order or unexpected."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300, help="in all (default: 300)")
    parser.add_argument("--mode", choices=("daemon", "cron", "both"), default="both")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--root", type=Path, default=ROOT, help="where the package is")
    args = parser.parse_args()
    modes = ("daemon", "cron") if args.mode == "both" else (args.mode,)
    folder = Path(tempfile.mkdtemp(prefix="alerting-crash-"))
    print(f"seed {args.seed}, logs and state in {folder}")
    plan = {mode: -(-args.kills // len(modes)) for mode in modes}
    results = crash_all(plan, folder, seed=args.seed, root=args.root)
    total = Figures()
    for mode, figures in results.items():
        print(f"{mode}: {figures}")
        total.add(figures)
    print(f"all: {total}")
    print(*total.problems[:30], sep="\n")
    return 1 if total.problems or len(results) < len(modes) else 0


if __name__ == "__main__":
    sys.exit(main())
