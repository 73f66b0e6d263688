"""Mutated answers, mutated rules files and damaged state files: does anything break or go silent?

python bench/mutations.py --answers 10000 --rules 2000 --damages 100
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.mutations import run


def main() -> int:
    """Run, print the figures and whatever went wrong; 1 if anything did."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, default=10_000)
    parser.add_argument("--rules", type=int, default=2_000, help="rules files")
    parser.add_argument("--damages", type=int, default=100, help="of a state file")
    parser.add_argument("--seed", default=str(int(time.time())))
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="alerting-mutations-"))
    print(f"seed {args.seed}; what went wrong is kept in {folder}", flush=True)
    problems = []
    counts = {"answers": args.answers, "rules": args.rules, "damages": args.damages}
    for part in run(folder, **counts, seed=args.seed):
        print(*part.lines, sep="\n", flush=True)
        problems += part.problems
    print("nothing went wrong" if not problems else "WENT WRONG", *problems, sep="\n  ")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
