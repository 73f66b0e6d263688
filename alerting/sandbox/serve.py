"""`exchange`: the loopback exchange on its own, until somebody ends it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from alerting.config.yaml_reader import read_file
from alerting.errors import ConfigError, UsageError
from alerting.files import UnreadableError, read_text
from alerting.sandbox.exchange import LoopbackExchange, demo_position, demo_wallet
from alerting.sandbox.market import Market

_TIDE = ("300", "700", "1050", "1400", "1780", "1400", "1050", "700")
#: the keys of a wallet file that are no part of the wallet page's answer
_APART = ("positions", "instruments")
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
                held = file.read()
            else:
                step = int((time.monotonic() - started) / _SECONDS_PER_TIDE) % len(_TIDE)
                held = _tide(_TIDE[step])
            if held != shown:
                held.serve(exchange)
                shown = held
                print("\n".join(_told(held)), flush=True)  # noqa: T201
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Held:
    """What an account holds: the wallet page's answer, and what the other pages are made of."""

    wallet: Mapping[str, Any]
    positions: Mapping[str, Any] = field(default_factory=dict)
    instruments: Mapping[str, Any] = field(default_factory=dict)

    def serve(self, exchange: LoopbackExchange) -> None:
        """Answer so from now on."""
        exchange.wallet = self.wallet
        self.fill(exchange.market)

    def fill(self, market: Market) -> None:
        """Into a market; ValueError where it cannot be."""
        market.positions = self.positions
        market.instruments = self.instruments


def _tide(locked: str) -> _Held:
    return _Held(wallet=demo_wallet(locked), positions={"BTCUSDT": demo_position(locked)})


class _WalletFile:
    """A wallet file that somebody edits: while it cannot be read, its last good content counts."""

    def __init__(self, path: Path) -> None:
        """UsageError where it cannot be read now; one that is missing is made, as a sample."""
        self._path = path
        if not path.exists():
            _write_sample(path)
        self._good = _read_wallet(path)
        self._complaint = ""

    def read(self) -> _Held:
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
    sample = {**demo_wallet(_TIDE[0]), "positions": {"BTCUSDT": demo_position(_TIDE[0])}}
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(sample, indent=2) + "\n")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    print(f"wrote {path}: a sample wallet to edit", flush=True)  # noqa: T201


def _read_wallet(path: Path) -> _Held:
    body = _read_yaml(path) if path.suffix in {".yaml", ".yml"} else _read_json(path)
    if not isinstance(body, dict):
        raise UsageError(f"{path}: an object such as the API answers with is expected")
    apart = {key: body.pop(key) for key in _APART if key in body}
    held = _Held(wallet=body, **apart)
    try:
        held.fill(Market())
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    return held


def _read_json(path: Path) -> object:
    try:
        text = read_text(path, most=_LARGEST_ANSWER)
        body, exact = json.loads(text), json.loads(text, parse_float=Decimal)
    except UnreadableError as error:
        raise UsageError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON: {error}") from error
    if isinstance(body, dict):
        # what is computed with has every digit; the answer is served as it stands there
        body |= {key: exact[key] for key in _APART if key in exact}
    return body


def _read_yaml(path: Path) -> object:
    try:
        document = read_file(path, kind="a wallet file", example="the sample of a missing one")
    except ConfigError as error:
        raise UsageError(str(error)) from error
    if document.problems:
        raise UsageError("\n".join(map(str, document.problems)))
    return document.data


def _told(held: _Held) -> list[str]:
    positions = [
        f"position: {symbol} {each['side']}, mark price {each['mark_price']}"
        for symbol, each in held.positions.items()
    ]
    return [f"wallet: {_brief(held)}", *positions]


def _brief(held: _Held) -> str:
    try:
        wallets = held.wallet["data"]["base_asset_balances"]
        parts = [
            f"{Decimal(w['balances']['total_available_balance'])} {w['base_asset']} available"
            for w in wallets
        ]
    except (KeyError, TypeError, ArithmeticError):
        return "as in the file"
    return ", ".join(parts)
