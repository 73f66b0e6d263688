"""`what-if`: what would fire if the mark prices moved."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from alerting import terminal
from alerting.cli import context
from alerting.cli.arguments import Commands
from alerting.cli.context import FINE
from alerting.errors import UsageError

if TYPE_CHECKING:
    from alerting.monitoring.what_if import Moves, Outlook

_ALL = "ALL"


def add(commands: Commands) -> None:
    """Add the command."""
    what_if = commands.add("what-if", _what_if, "what would fire if the mark prices moved")
    what_if.add_argument(
        "moves",
        nargs="+",
        metavar="SYMBOL=PERCENT",
        help="a move of a mark price, such as BTCUSDT=-8%%; ALL=-5%% is that of all others",
    )
    what_if.add_argument("--json", action="store_true", help="as a JSON document")


def _what_if(args: argparse.Namespace) -> int:
    from alerting.monitoring.what_if import outlook
    from alerting.monitoring.what_if_json import as_json
    from alerting.monitoring.what_if_text import as_text

    moves = read_moves(args.moves)
    config = context.known_config(args)
    with contextlib.closing(context.open_store(args, config)) as store:
        # what rules look back on is read as they ask for it
        memories = [store.memory(name) for name in config.ruleset.accounts]
        outlooks = [outlook(config.ruleset, memory, moves) for memory in memories]
    now = context.now()
    _check_symbols(moves, outlooks)
    if args.json:
        print(json.dumps(as_json(outlooks, moves, now=now), indent=2, ensure_ascii=False))
    else:
        print(as_text(outlooks, moves, config, now=now, columns=terminal.columns()))
    return FINE


def read_moves(texts: Sequence[str]) -> Moves:
    """The moves of `BTCUSDT=-8%` and the like; UsageError says what is wrong with one."""
    from alerting.monitoring.what_if import Moves

    shares: dict[str, Decimal] = {}
    for text in texts:
        symbol, equals, percent = text.partition("=")
        if not symbol or not equals:
            raise UsageError(f"{text!r} is no move; write BTCUSDT=-8%, or ALL=-5% for all others")
        if symbol in shares:
            raise UsageError(f"{text!r}: {symbol} is moved already; keep one of the two")
        shares[symbol] = _share(text, percent)
    others = shares.pop(_ALL, Decimal(0))
    return Moves(named=shares, others=others)


def _share(text: str, percent: str) -> Decimal:
    from alerting.units import parse_number

    try:
        share = parse_number(percent) if percent.endswith("%") else None
    except ValueError:
        share = None
    if share is None:
        raise UsageError(f"{text!r}: {percent!r} is not a percentage; write -8%, +5% or 0.5%")
    if share <= -1:
        raise UsageError(f"{text!r}: no price falls to 0 or below; more than -100% is allowed")
    return share


def _check_symbols(moves: Moves, outlooks: Iterable[Outlook]) -> None:
    """Raise UsageError where there is nothing that could move."""
    from alerting.config.values import nearest
    from alerting.engine.feeds import POSITIONS

    reading = [each for each in outlooks if each.reads_positions]
    if not reading:
        raise UsageError("no rule is per: position, so no positions are read")
    if not any(each.account.feed(POSITIONS).last_snapshot_at for each in reading):
        raise UsageError("no positions were read yet; `alerting run` reads them")
    known = {moved.row.symbol for each in reading for moved in each.positions}
    for symbol in moves.named:
        if symbol not in known:
            hint = nearest(symbol, known) or "; there is none at all"
            raise UsageError(f"no position in {symbol!r} is open{hint}")
