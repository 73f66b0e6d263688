"""`explain`: why a rule is or is not firing, and who was told."""

from __future__ import annotations

import argparse
import contextlib

from alerting.cli import context
from alerting.cli.arguments import Commands, instant
from alerting.cli.context import FINE


def add(commands: Commands) -> None:
    """Add the command."""
    explain = commands.add("explain", _explain, "why a rule is or is not firing, and who was told")
    explain.add_argument("rule", metavar="RULE")
    explain.add_argument("--symbol", metavar="S", help="only this symbol's row")
    explain.add_argument("--at", metavar="T", help="an instant such as 2026-01-01T00:00:00Z")


def _explain(args: argparse.Namespace) -> int:
    from alerting.monitoring.explain import Question, explain

    config = context.config(args)
    at = instant("--at", args.at)
    question = Question(
        rule=args.rule, symbol=args.symbol, at=at or context.now(), present=at is None
    )
    with contextlib.closing(context.open_store(args, config)) as store:
        print(*explain(config.ruleset, store, question), sep="\n")
    return FINE
