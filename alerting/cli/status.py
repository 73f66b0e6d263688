"""`status`: accounts, alerts and the outbox."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from alerting.cli import context
from alerting.cli.arguments import Commands
from alerting.cli.context import FINE
from alerting.errors import StoreError, UsageError

# the cursor home, and everything behind it away
_CLEARED = "\x1b[H\x1b[2J"
_PAUSE = 2.0

if TYPE_CHECKING:
    from alerting.config.settings import Config
    from alerting.store.state import Store


def add(commands: Commands) -> None:
    """Add the command."""
    status = commands.add("status", _status, "accounts, alerts and the outbox")
    as_what = status.add_mutually_exclusive_group()
    as_what.add_argument("--json", action="store_true", help="as a JSON document")
    as_what.add_argument("--watch", action="store_true", help="again every 2 seconds, until Ctrl-C")


def _status(args: argparse.Namespace) -> int:
    if not args.watch:
        return _show(args)
    if not _on_a_terminal():
        raise UsageError("--watch draws on a terminal; without one, run `alerting status` again")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            print(_CLEARED, end="")
            try:
                _show(args)
            except StoreError as error:
                # it may be back the next time
                print(f"alerting: {error}")
            sys.stdout.flush()
            time.sleep(_PAUSE)
    return FINE


def _on_a_terminal() -> bool:
    return sys.stdout.isatty()


def _show(args: argparse.Namespace) -> int:
    from alerting.monitoring.nearest import reaches
    from alerting.monitoring.overview import overview
    from alerting.monitoring.status_json import as_json
    from alerting.monitoring.status_text import as_text

    config = context.known_config(args)
    store = context.open_store(args, config) if context.state_path(args, config).exists() else None
    view = overview(config, store, now=context.now())
    accounts = view.health.accounts.values()
    view = replace(view, reaches=reaches(config.ruleset, accounts, now=view.now))
    if store is not None and not args.json and sys.stdout.isatty():
        view = replace(view, sparklines=tuple(_sparklines(store, config, view.now)))
    if store is not None:
        store.close()
    if args.json:
        print(json.dumps(as_json(view), indent=2, ensure_ascii=False))
    else:
        print(as_text(view, config))
    return FINE


def _sparklines(store: Store, config: Config, now: datetime) -> Iterator[tuple[str, str, str]]:
    from alerting.cli.sparkline import sparklines

    for name in config.accounts:
        for what, bars, span in sparklines(store, name, now=now):
            yield f"  {name} {what}", bars, span
