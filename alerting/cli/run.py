"""`run`: the daemon, or one cycle for cron."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from alerting.cli import context
from alerting.cli.arguments import Commands
from alerting.cli.context import FAILED, FINE
from alerting.errors import StateBusyError, UsageError
from alerting.streams import wait_for_nobody
from alerting.terminal import count

if TYPE_CHECKING:
    from alerting.config.settings import Config
    from alerting.service.once import CycleResult


def add(commands: Commands) -> None:
    """Add the command."""
    run = commands.add(
        "run", _run, "poll, judge and tell: a daemon, or with --once one cycle for cron"
    )
    run.add_argument("--once", action="store_true", help="one cycle, then exit")
    run.add_argument(
        "--listen", metavar="HOST:PORT", help="serve /healthz and /metrics (not with --once)"
    )
    run.add_argument(
        "--metrics-file",
        type=Path,
        metavar="PATH",
        help="write the metrics for node_exporter's textfile collector",
    )


def _run(args: argparse.Namespace) -> int:
    from alerting.config.load import Depth
    from alerting.config.reload import Reloader
    from alerting.service.process import share_one_heap
    from alerting.service.supervisor import Supervisor

    # a cycle that did its work has not failed, and must not hang, because nobody reads what it says
    wait_for_nobody()
    if args.once and args.listen:
        raise UsageError("--listen is for the daemon; with --once, use --metrics-file")
    # a template that fails is no reason not to watch: the built-in text goes out
    depth = Depth.STRUCTURE if args.once else Depth.RECEIVERS
    path = context.config_path(args)
    reloader = Reloader(path, lambda: _load_again(args, path, state))
    config = context.load(path, depth)
    state = context.state_path(args, config)
    supervisor = Supervisor(
        config,
        state,
        clock=context.now,
        metrics_file=args.metrics_file,
    )
    try:
        if args.once:
            return FINE if supervisor.run_once(show=_show) else FAILED
        share_one_heap()
        supervisor.run(reloader=reloader, environ=os.environ, listen=args.listen)
    except StateBusyError as error:
        print(f"alerting: {error}", file=sys.stderr)
        return FINE if args.once else FAILED
    return FINE


def _load_again(args: argparse.Namespace, path: Path, state: Path) -> Config:
    """The changed rules file; one that means another state file is refused, and thereby told."""
    from alerting.config.load import Depth

    config = context.load(path, Depth.EVERYTHING)
    wanted = context.state_path(args, config)
    if wanted != state:
        raise UsageError(
            f"{path}: state: is {wanted} now, and {state} is in use; it takes a restart to change "
            "it, so nothing of this file is taken over"
        )
    return config


def _show(result: CycleResult) -> None:
    from alerting.engine.model import PollFailure
    from alerting.notify.receivers import SendOutcome

    failed = [name for name, poll in result.polls.items() if isinstance(poll, PollFailure)]
    sent = sum(r.attempt.outcome is SendOutcome.ACCEPTED for r in result.deliveries)
    text = f"{len(result.polls) - len(failed)} of {count(len(result.polls), 'account')} read"
    text += f", {count(sent, 'message')} sent"
    unsent = len(result.deliveries) - sent
    print(text + (f", {unsent} not accepted" if unsent else ""), flush=True)
