"""`replay`: recorded polls through the rules."""

from __future__ import annotations

import argparse
import functools
import os
from pathlib import Path

from alerting.cli import context
from alerting.cli.arguments import Commands, add_period, instant
from alerting.cli.context import FINE


def add(commands: Commands) -> None:
    """Add the command."""
    replay = commands.add(
        "replay", _replay, "recorded polls through the rules: what would have been sent"
    )
    replay.add_argument("file", metavar="FILE", help="JSON Lines, plain or gzip; - reads stdin")
    replay.add_argument("--json", action="store_true", help="as JSON Lines, without a summary")
    replay.add_argument("--against", metavar="OLD.yaml", help="say what differs from these rules")
    add_period(replay)
    replay.add_argument("--timezone", metavar="ZONE", default="UTC", help="for messages at night")


def _replay(args: argparse.Namespace) -> int:
    from alerting.config.load import Secrets, load_config
    from alerting.replay.replay import Options, replay, zone_of

    now = context.now()
    load = functools.partial(load_config, environ=os.environ, secrets=Secrets.IGNORED)
    old = load(Path(args.against)).ruleset if args.against else None
    config = load(context.config_path(args))
    options = Options(
        file=args.file,
        json=args.json,
        since=instant("--from", args.since, now=now),
        until=instant("--to", args.until, now=now),
        zone=zone_of(args.timezone),
        display=config.display,
    )
    replay(config.ruleset, options, against=old)
    return FINE
