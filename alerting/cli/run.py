"""`run`: the daemon, or one cycle for cron."""

from __future__ import annotations

import argparse
import logging
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


log = logging.getLogger("alerting")


def add(commands: Commands) -> None:
    """Add the command."""
    run = commands.add(
        "run", _run, "poll, judge and tell: a daemon, or with --once one cycle for cron"
    )
    run.add_argument("--once", action="store_true", help="one cycle, then exit")
    run.add_argument(
        "--dry-run",
        action="store_true",
        help="with --once: show what it would send; store and send nothing",
    )
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

    if args.dry_run:
        return _dry_run(args)
    # a cycle that did its work has not failed, and must not hang, because nobody reads what it says
    wait_for_nobody()
    if args.once and args.listen:
        raise UsageError("--listen is for the daemon; with --once, use --metrics-file")
    # a template that fails is no reason not to watch: the built-in text goes out
    depth = Depth.STRUCTURE if args.once else Depth.RECEIVERS
    path = context.config_path(args)
    reloader = Reloader(path, lambda: _load_again(args, path, state))
    config = context.load(path, depth)
    _warn(config)
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


def _dry_run(args: argparse.Namespace) -> int:
    from alerting.service.dry_run import dry_run

    if not args.once or args.metrics_file or args.listen:
        raise UsageError("--dry-run is for --once alone: it shows one cycle, and writes nothing")
    config = context.config(args)
    done = dry_run(config, context.state_path(args, config), clock=context.now)
    for notification, message in done.messages:
        print(f"── to {notification.receiver} ──\n{message.title}\n\n{message.body}\n")
    read, polls = done.result.read, done.result.asked
    text = f"{read} of {count(polls, 'account')} read, "
    text += f"{count(len(done.messages), 'message')} would be sent; nothing was stored or sent"
    print(text + (f" ({count(done.waiting, 'older message')} to be sent)" if done.waiting else ""))
    return FINE if done.result.ok else FAILED


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
    _warn(config)
    return config


def _warn(config: Config) -> None:
    for each in config.warnings:
        log.warning("%s", each)


def _show(result: CycleResult) -> None:
    from alerting.notify.receivers import SendOutcome

    sent = sum(r.attempt.outcome is SendOutcome.ACCEPTED for r in result.deliveries)
    text = f"{result.read} of {count(result.asked, 'account')} read"
    text += f", {count(sent, 'message')} sent"
    unsent = len(result.deliveries) - sent
    print(text + (f", {unsent} not accepted" if unsent else ""), flush=True)
