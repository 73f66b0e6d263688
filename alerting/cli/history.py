"""`history export`: the recorded polls as JSON Lines."""

from __future__ import annotations

import argparse
import contextlib
import itertools

from alerting.cli import context
from alerting.cli.arguments import Commands, add_period, instant
from alerting.cli.context import FINE
from alerting.errors import UsageError


def add(commands: Commands) -> None:
    """Add the command."""
    history = commands.add("history", _export, "the recorded polls")
    actions = history.add_subparsers(metavar="export", required=True)
    export = actions.add_parser("export", help="as JSON Lines, for `replay`")
    add_period(export)
    export.set_defaults(command=_export)


def _export(args: argparse.Namespace) -> int:
    from alerting.replay.recording import write_record

    now = context.now()
    since, until = instant("--from", args.since, now=now), instant("--to", args.until, now=now)
    if since is not None and until is not None and until <= since:
        raise UsageError(f"--to {args.until} is not after --from {args.since}")
    with contextlib.closing(context.open_store(args, context.known_config(args))) as store:
        before = store.instruments_before(since) if since is not None else []
        for poll in itertools.chain(before, store.history(since=since, until=until)):
            print(
                write_record(
                    at=poll.at,
                    account=poll.account,
                    feed=poll.feed,
                    body=poll.body,
                    error=poll.error,
                )
            )
    return FINE
