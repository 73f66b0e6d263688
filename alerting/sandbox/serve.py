"""`exchange`: the loopback exchange on its own, until somebody ends it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from alerting.errors import UsageError
from alerting.files import UnreadableError, read_text
from alerting.sandbox.exchange import LoopbackExchange, demo_wallet

_TIDE = ("300", "700", "1050", "1400", "1780", "1400", "1050", "700")
_SECONDS_PER_TIDE = 15.0
# what the program takes for an answer at most
_LARGEST_ANSWER = 4 * 1024 * 1024


def serve_exchange(*, port: int, wallet: Path | None, stop: threading.Event) -> None:
    """Serve a loopback exchange until `stop`; its wallet is a file's, or rises and falls."""
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port} is not a port; 0 to 65535")
    file = None if wallet is None else _WalletFile(wallet)
    try:
        exchange = LoopbackExchange(port=port, enforce_limit=True)
    except OSError as error:
        raise UsageError(f"port {port} cannot be used: {error.strerror}") from error
    with exchange:
        print(_INVITATION.format(exchange=exchange, source=wallet or "rises and falls"), flush=True)  # noqa: T201
        started, shown = time.monotonic(), None
        while not stop.is_set():
            if file is not None:
                body = file.read()
            else:
                step = int((time.monotonic() - started) / _SECONDS_PER_TIDE) % len(_TIDE)
                body = demo_wallet(_TIDE[step])
            if body != shown:
                exchange.wallet = shown = body
                print(f"wallet: {_brief(body)}", flush=True)  # noqa: T201
            stop.wait(0.3)


_INVITATION = """\
A loopback exchange at {exchange.base_url}. For your rules file:

  accounts:
    try:
      base_url: {exchange.base_url}
      api_key: {exchange.api_key}
      secret_key: {exchange.secret_key}

The wallet: {source}. Ctrl-C ends it.
"""


class _WalletFile:
    """A wallet file that somebody edits: while it cannot be read, its last good content counts."""

    def __init__(self, path: Path) -> None:
        """UsageError where it cannot be read now; one that is missing is made, as a sample."""
        self._path = path
        if not path.exists():
            _write_sample(path)
        self._good = _read_wallet(path)
        self._complaint = ""

    def read(self) -> Mapping[str, Any]:
        """Its content, or the last good one; a new complaint is printed once."""
        complaint = ""
        try:
            self._good = _read_wallet(self._path)
        except UsageError as error:
            complaint = str(error)
        if complaint and complaint != self._complaint:
            print(f"{complaint}; the last good one is served on", flush=True)  # noqa: T201
        self._complaint = complaint
        return self._good


def _write_sample(path: Path) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(demo_wallet(_TIDE[0]), indent=2) + "\n")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    print(f"wrote {path}: a sample wallet to edit", flush=True)  # noqa: T201


def _read_wallet(path: Path) -> Mapping[str, Any]:
    try:
        body = json.loads(read_text(path, most=_LARGEST_ANSWER))
    except UnreadableError as error:
        raise UsageError(f"{path}: {error}") from error
    except ValueError as error:
        raise UsageError(f"{path}: not JSON: {error}") from error
    if not isinstance(body, dict):
        raise UsageError(f"{path}: an object such as the API answers with is expected")
    return body


def _brief(body: Mapping[str, Any]) -> str:
    try:
        wallets = body["data"]["base_asset_balances"]
        parts = [
            f"{Decimal(w['balances']['total_available_balance'])} {w['base_asset']} available"
            for w in wallets
        ]
    except (KeyError, TypeError, ArithmeticError):
        return "as in the file"
    return ", ".join(parts)
