"""`check`: everything that is wrong with a rules file, its templates and receivers, at once."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from alerting.cli import context
from alerting.cli.arguments import Commands
from alerting.cli.context import FAILED, FINE
from alerting.errors import ConfigError
from alerting.terminal import count

if TYPE_CHECKING:
    from alerting.config.settings import Config


def add(commands: Commands) -> None:
    """Add the command."""
    check = commands.add("check", _check, "validate the rules file, its templates and receivers")
    check.add_argument("file", nargs="?", metavar="FILE", help="the rules file (default: as -c)")
    check.add_argument(
        "--online",
        action="store_true",
        help="also ask the exchange and each receiver's service; no message is sent",
    )


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
        print(each.as_warning(), file=sys.stderr)
    for problem in local.problems():
        print(f"this machine: warning: {problem}", file=sys.stderr)
    parked = sum(not rule.enabled for rule in config.ruleset.rules)
    rules = count(len(config.ruleset.rules), "rule") + (f" ({parked} parked)" if parked else "")
    receivers, routes = len(config.receivers), len(config.ruleset.routes)
    print(f"{rules}, {count(receivers, 'receiver')}, {count(routes, 'route')}")
    return FINE if not args.online or _online(args, config) else FAILED


def _online(args: argparse.Namespace, config: Config) -> bool:
    from alerting.cli.online import ask_all

    return ask_all(config, state=context.state_path(args, config))
