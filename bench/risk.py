"""Compare positions and remedies with fractions: how many differ, and what a remedy costs.

    python bench/risk.py --positions 10000 --alerts 10000 --seed 1

Exit code 1 where a figure differs in any digit, or a remedy does not clear or could be smaller.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.risk_proofs import compare_figures, prove_remedies

_WRONG = ("different", "not clear", "not the smallest", "more than available")


def main() -> int:
    """Print the counts; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--positions", type=int, default=1000)
    parser.add_argument("--alerts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    figures = compare_figures(args.positions, seed=args.seed)
    remedies = prove_remedies(args.alerts, seed=args.seed)
    alerts = max(1, remedies["alerts"])
    spent = remedies.pop("microseconds")
    for name, counts in (("figures", figures), ("remedies", remedies)):
        print(f"{name}: {', '.join(f'{key} {count}' for key, count in counts.items())}")
    print(f"a remedy: {remedies['evaluations'] / alerts:.1f} evaluations, {spent / alerts:.0f} µs")
    return int(any(counts[each] for counts in (figures, remedies) for each in _WRONG))


if __name__ == "__main__":
    sys.exit(main())
