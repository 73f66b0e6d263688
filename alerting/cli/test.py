"""`test`: unit tests of rules."""

from __future__ import annotations

import argparse
from pathlib import Path

from alerting.cli.arguments import Commands
from alerting.cli.context import FAILED, FINE


def add(commands: Commands) -> None:
    """Add the command."""
    test = commands.add("test", _test, "run tests of rules: a wallet moves, who is told what")
    test.add_argument("files", nargs="+", type=Path, metavar="FILE", help="test files")
    test.add_argument("--junit", type=Path, metavar="PATH", help="write a JUnit report, for CI")
    test.add_argument("--verbose", action="store_true", help="show each test step by step")


def _test(args: argparse.Namespace) -> int:
    from alerting.ruletest.runner import run_files

    passed = run_files(args.files, say=print, junit=args.junit, verbose=args.verbose)
    return FINE if passed else FAILED
