"""From the exchange's answer to a healthy receiver, without and with a hanging and a refusing one.

python bench/latency.py --alerts 300
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.crash import ROOT
from tests.support.latency import measure


def main() -> int:
    """Measure, print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alerts", type=int, default=100, help="of each kind (default: 100)")
    parser.add_argument("--root", type=Path, default=ROOT, help="where the package is")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), alerts=args.alerts, root=args.root)
    for sick, seconds in found.items():
        cuts = statistics.quantiles(seconds, n=100)
        name = "one hangs, one refuses" if sick else "only healthy"
        figures = f"median {1000 * cuts[49]:.1f} ms, p95 {1000 * cuts[94]:.1f} ms"
        print(f"{name}: {len(seconds)} messages, {figures}, max {1000 * max(seconds):.1f} ms")
    ratio = statistics.median(found[True]) / statistics.median(found[False])
    print(f"ratio of the medians: {ratio:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
