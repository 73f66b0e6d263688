"""`demo`: the whole product, without keys or network."""

from __future__ import annotations

import argparse

from alerting import logs
from alerting.cli.arguments import Commands
from alerting.cli.context import FAILED, FINE


def add(commands: Commands) -> None:
    """Add the command."""
    commands.add("demo", _demo, "the whole product in 20 seconds, without keys or network")


def _demo(args: argparse.Namespace) -> int:
    from alerting.sandbox.demo import run_demo

    if args.log_level == "info":
        logs.set_up("error", args.log_format)
    return FINE if run_demo() else FAILED
