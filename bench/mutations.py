"""Spoil answers, rules files and the state file by the thousand, and count what goes wrong.

python bench/mutations.py --answers 10000 --rules 2000 --damages 100 --seed 1
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.damages import DAMAGE_VERDICTS, damaged_states
from tests.support.mutated_rules import RULES_VERDICTS, mutated_rules
from tests.support.mutations import ANSWER_VERDICTS, Figures, mutated_answers


def main() -> int:
    """Run, print the figures as a table; 1 if any verdict is not 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--rules", type=int, default=2_000, help="rules files (default: 2000)")
    parser.add_argument("--damages", type=int, default=100, help="of the state file (default: 100)")
    parser.add_argument("--seed", type=int, default=1, help="the same gives the same (default: 1)")
    args = parser.parse_args()
    print(f"seed {args.seed}")
    bad = 0
    bad += _measure("answers", mutated_answers, args.answers, args.seed, ANSWER_VERDICTS)
    bad += _measure("rules files", mutated_rules, args.rules, args.seed, RULES_VERDICTS)
    bad += _measure("damages", damaged_states, args.damages, args.seed, DAMAGE_VERDICTS)
    return 1 if bad else 0


def _measure(
    name: str, run: Callable[..., Figures], count: int, seed: int, verdicts: tuple[str, ...]
) -> int:
    if count == 0:
        return 0
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="alerting-mutations-") as folder:
        figures = run(count, Path(folder), seed=seed)
    print(f"\n{name} ({time.perf_counter() - began:.0f} s)")
    for kind, number in sorted(figures.counts.items()):
        print(f"  {number:>8}  {kind}")
    print(f"  {figures.slowest:>8.2f}  seconds for the slowest")
    for kind in verdicts:
        print(f"  {len(figures.problems.get(kind, ())):>8}  {kind}")
    for kind, found in figures.problems.items():
        print(f"\n{kind}:", *(f"  {text}" for text in found[:10]), sep="\n")
    return sum(map(len, figures.problems.values()))


if __name__ == "__main__":
    sys.exit(main())
