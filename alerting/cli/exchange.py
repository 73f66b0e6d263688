"""`exchange`: a loopback exchange, until a signal ends it."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from alerting.cli.arguments import Commands
from alerting.cli.context import FINE


def add(commands: Commands) -> None:
    """Add the command."""
    exchange = commands.add(
        "exchange", _exchange, "serve a loopback exchange for trying rules without keys"
    )
    exchange.add_argument("--port", type=int, default=8787, help="default: 8787; 0: any free one")
    exchange.add_argument(
        "--wallet",
        type=Path,
        metavar="FILE",
        help="the answer to serve, and positions (JSON, YAML), read anew each time; a missing one "
        "is written as a sample (default: a wallet that rises and falls)",
    )


def _exchange(args: argparse.Namespace) -> int:
    from alerting.sandbox.serve import serve_exchange

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    serve_exchange(port=args.port, wallet=args.wallet, stop=stop)
    return FINE
