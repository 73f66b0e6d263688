"""`check`: everything that is wrong with a rules file, its templates and receivers, at once."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from alerting.cli import context
from alerting.cli.arguments import Commands
from alerting.cli.context import FAILED, FINE
from alerting.errors import ConfigError
from alerting.terminal import count


def add(commands: Commands) -> None:
    """Add the command."""
    check = commands.add("check", _check, "validate the rules file, its templates and receivers")
    check.add_argument("file", nargs="?", metavar="FILE", help="the rules file (default: as -c)")


def _check(args: argparse.Namespace) -> int:
    from alerting.config.load import Depth
    from alerting.net import local

    path = Path(args.file) if args.file else context.config_path(args)
    try:
        config = context.load(path, Depth.EVERYTHING)
    except ConfigError as error:
        print(*error.problems, sep="\n")
        return FAILED
    for each in config.warnings:
        print(f"{each.file}: warning: {each.path}: {each.message}", file=sys.stderr)
    for problem in local.problems():
        print(f"this machine: warning: {problem}", file=sys.stderr)
    counts = [(len(config.ruleset.rules), "rule"), (len(config.receivers), "receiver")]
    counts.append((len(config.ruleset.routes), "route"))
    print(", ".join(count(number, noun) for number, noun in counts))
    return FINE
