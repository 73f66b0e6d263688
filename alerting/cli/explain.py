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
    explain.add_argument("rule", metavar="RULE", help="its name, or the id of an alert")
    explain.add_argument("--symbol", metavar="S", help="only this symbol's row")
    explain.add_argument(
        "--at", metavar="T", help="an instant such as 2026-01-01T00:00:00Z, or 2h (ago)"
    )


def _explain(args: argparse.Namespace) -> int:
    from alerting.monitoring.explain import Question, explain

    config = context.known_config(args)
    now = context.now()
    at = instant("--at", args.at, now=now)
    question = Question(
        rule=args.rule,
        symbol=args.symbol,
        at=at or now,
        present=at is None,
        display=config.display,
    )
    with contextlib.closing(context.open_store(args, config)) as store:
        print(*explain(config.ruleset, store, question), sep="\n")
    return FINE
