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

from alerting import terminal
from alerting.cli import context
from alerting.cli.arguments import Commands
from alerting.cli.context import FINE
from alerting.errors import StoreError, UsageError

# the cursor home, and everything behind it away
_CLEARED = "\x1b[H\x1b[2J"
_PAUSE = 2.0
# From here on a terminal has room for the last day ...
_WIDE = 80
# ... beside its names and numbers, as a rule
_BESIDE = 60
_POINTS = 48

if TYPE_CHECKING:
    from alerting.config.settings import Config
    from alerting.monitoring.overview import Overview
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
    from alerting.monitoring.status_json import as_json

    config = context.known_config(args)
    store = context.open_store(args, config) if context.state_path(args, config).exists() else None
    now = context.now()
    if args.json:
        print(json.dumps(as_json(_view(config, store, now)), indent=2, ensure_ascii=False))
    else:
        print(screen(config, store, now=now, columns=terminal.columns()))
    if store is not None:
        store.close()
    return FINE


def screen(
    config: Config,
    store: Store | None,
    *,
    now: datetime,
    columns: int | None,
    colour: bool | None = None,
) -> str:
    """What `status` draws on a terminal so wide; None: elsewhere, whole lines without the day."""
    from alerting.monitoring.status_text import as_text

    view = _view(config, store, now)
    if store is not None and columns is not None and columns >= _WIDE:
        view = replace(view, sparklines=tuple(_sparklines(store, config, now, columns)))
    return as_text(view, config, colour=colour, columns=columns)


def _view(config: Config, store: Store | None, now: datetime) -> Overview:
    from alerting.monitoring.nearest import reaches
    from alerting.monitoring.overview import overview

    view = overview(config, store, now=now)
    accounts = view.health.accounts.values()
    pasts = {name: store.memory(name).past for name in config.accounts} if store else {}
    return replace(view, reaches=reaches(config.ruleset, accounts, now=now, pasts=pasts))


def _sparklines(
    store: Store, config: Config, now: datetime, columns: int
) -> Iterator[tuple[str, str, str]]:
    from alerting.cli.sparkline import sparklines

    points = min(_POINTS, columns - _BESIDE)
    for name in config.accounts:
        for what, bars, span in sparklines(store, name, config.display, now=now, points=points):
            yield f"    {name} {what}", bars, span
