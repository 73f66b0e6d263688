"""A small exchange on this machine: signatures, clock and limits as the real one, on 127.0.0.1.

For `demo`, for the `exchange` command and for tests, which can also make it misbehave.
"""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from alerting.exchanges.account import AccountSettings
from alerting.exchanges.coinswitch.pages import PAGES, Endpoint
from alerting.exchanges.coinswitch.wire import utc_now
from alerting.exchanges.rate_limit import SlidingWindow
from alerting.redaction import MASK, Secret
from alerting.sandbox.market import Market
from alerting.sandbox.server import HttpServer, Served
from alerting.units import EXACT

#: A well-known pair for trying things out; it opens nothing.
DEMO_SECRET_KEY: Final = bytes(range(32)).hex()
DEMO_API_KEY: Final = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"

#: The example of the exchange's documentation, to the last digit.
DOCUMENTED_WALLET: Final[Mapping[str, Any]] = {
    "data": {
        "base_asset_balances": [
            {
                "base_asset": "USDT",
                "balances": {
                    "total_balance": "60960.82599588",
                    "total_available_balance": "60910.77418715",
                    "total_blocked_balance": "50.05180873",
                    "total_position_margin": "56.83032573",
                    "total_open_order_margin": "-6.778517",
                },
            }
        ],
        "asset": [
            {
                "symbol": "DOGEUSDT",
                "base_asset": "USDT",
                "exchange": "EXCHANGE_2",
                "blocked_balance": "50.04968529",
                "position_margin": "50.04959675",
                "open_order_margin": "0.00008854",
            }
        ],
    }
}

_MOST_SEEN = 10_000
_LARGEST_SKEW = timedelta(seconds=60)
_SECRET_HEADERS = {"x-auth-apikey", "x-auth-signature", "authorization", "cookie"}

#: Money in a wallet that is made up here.
Amount = str | int | Decimal


def wallet_body(
    *,
    total: Amount = "2000",
    available: Amount | None = None,
    position_margin: Amount | None = None,
    rows: Mapping[str, tuple[Amount, Amount]] | None = None,
    base_asset: str = "USDT",
) -> dict[str, Any]:
    """An answer whose identities hold exactly; `rows`: symbol -> (position, open-order margin).

    `available` defaults to what the rows leave, `position_margin` to what they hold.
    """
    with localcontext(EXACT):
        listed = {name: (Decimal(pm), Decimal(om)) for name, (pm, om) in (rows or {}).items()}
        whole = Decimal(total)
        locked = sum((held + orders for held, orders in listed.values()), Decimal(0))
        free = whole - locked if available is None else Decimal(available)
        held = sum((held for held, _ in listed.values()), Decimal(0)) if listed else whole - free
        margin = held if position_margin is None else Decimal(position_margin)
        balances = _balances(whole, free, margin)
        asset = [_row(symbol, base_asset, *margins) for symbol, margins in listed.items()]
    wallet = {"base_asset": base_asset, "balances": balances}
    return {"data": {"base_asset_balances": [wallet], "asset": asset}}


def demo_wallet(locked: str) -> dict[str, Any]:
    """A wallet of 2,000 USDT of which one symbol locks a whole number."""
    return wallet_body(total="2000.00", rows={"BTCUSDT": (locked + ".00", "0.00")})


def demo_position(locked: str) -> dict[str, str]:
    """BTCUSDT's position in `demo_wallet`, five times its margin.

    The more is locked, the nearer is its liquidation: 16 % at 300, 1 % at 1780.
    """
    with localcontext(EXACT):
        margin = Decimal(locked)
        return {
            "side": "LONG",
            "position_size": f"{margin / 20_000:f}",
            "avg_entry_price": "100000",
            "position_margin": f"{margin:f}",
            "mark_price": f"{100_000 - 10 * margin:f}",
            "maint_margin_rate": "0.56",
            "liq_fee_rate": "0.0075",
        }


def _balances(total: Decimal, available: Decimal, position_margin: Decimal) -> dict[str, str]:
    blocked = total - available
    amounts = {
        "total_balance": total,
        "total_available_balance": available,
        "total_blocked_balance": blocked,
        "total_position_margin": position_margin,
        "total_open_order_margin": blocked - position_margin,
    }
    return _as_text(amounts)


def _row(symbol: str, base_asset: str, held: Decimal, orders: Decimal) -> dict[str, str]:
    amounts = {
        "blocked_balance": held + orders,
        "position_margin": held,
        "open_order_margin": orders,
    }
    return {
        "symbol": symbol,
        "base_asset": base_asset,
        "exchange": "EXCHANGE_2",
        **_as_text(amounts),
    }


def _as_text(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: f"{amount:f}" for name, amount in amounts.items()}


# ── odd answers ─────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class Special:
    """One answer that is not the usual one."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    #: the body, or what to do instead with the connection
    answer: bytes | Callable[[Handler, Special], None] = b""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A request as the exchange saw it."""

    at: datetime
    method: str
    path: str
    #: lower-case names; keys and signatures are masked
    headers: Mapping[str, str]


#: From a path, with its query, to a special answer, or None for the usual one.
Script = Callable[[str], Special | None]


# ── the exchange ────────────────────────────────────────────────────────────


class LoopbackExchange(Served):
    """An exchange on 127.0.0.1 while its `with` block lasts; every attribute can be set any time.

    `wallet` is the answer to give, `market` has what the other pages answer. `script` is a callable
    from path to Special or None, or a series of them of which each wallet request takes one;
    `script_page` is the same for one other page. `clock` is what the exchange takes for the time.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        enforce_limit: bool = False,
        clock: Callable[[], datetime] = utc_now,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.api_key = DEMO_API_KEY
        self.secret_key = DEMO_SECRET_KEY
        self.clock = clock
        self.enforce_limit = enforce_limit
        self._lock = threading.Lock()
        self._wallet = b""
        self.market = Market()
        self._script: Script | None = None
        self._queues: dict[Endpoint, deque[Special | None]] = {}
        self._seen: deque[Seen] = deque(maxlen=_MOST_SEEN)
        self._windows = _windows()
        self.wallet = wallet_body()
        super().__init__(_Server(self, port, tls), name="loopback")
        scheme = "http" if tls is None else "https"
        self.base_url = f"{scheme}://127.0.0.1:{self.port}"

    def account(self, name: str = "main") -> AccountSettings:
        """Settings of an account that this exchange accepts."""
        return AccountSettings(
            name=name,
            api_key=Secret(self.api_key),
            secret_key=Secret(self.secret_key),
            base_url=self.base_url,
        )

    @property
    def wallet(self) -> Mapping[str, Any]:
        """The body of a good answer."""
        body: Mapping[str, Any] = json.loads(self._wallet)
        return body

    @wallet.setter
    def wallet(self, body: Mapping[str, Any]) -> None:
        self._wallet = json.dumps(body, default=str).encode("utf-8")

    @property
    def script(self) -> Script | None:
        """Decides on special answers."""
        return self._script

    @script.setter
    def script(self, script: Script | Iterable[Special | None] | None) -> None:
        if script is None or callable(script):
            self._script = script
            self.script_page(Endpoint.WALLET_BALANCE, ())
        else:
            self._script = None
            self.script_page(Endpoint.WALLET_BALANCE, script)

    def script_page(self, endpoint: Endpoint, answers: Iterable[Special | None]) -> None:
        """Each of the next requests for this page alone takes one of the answers."""
        with self._lock:
            self._queues[endpoint] = deque(answers)

    @property
    def left(self) -> int:
        """How many answers of a script that is a series are still to be given."""
        with self._lock:
            return sum(map(len, self._queues.values()))

    @property
    def requests(self) -> list[Seen]:
        """The last requests, in order: all of them, but for an exchange that runs for weeks."""
        with self._lock:
            return list(self._seen)

    # ── answering; called by the handlers ───────────────────────────────────

    def answer(self, seen: Seen, signed: Mapping[str, str]) -> Special:
        """Answer one request: as the script has it, else as the exchange would."""
        endpoint, query = _asked(seen.path)
        with self._lock:
            self._seen.append(seen)
            script = self._script
            queue = self._queues.get(endpoint) if endpoint else None
            special = queue.popleft() if queue else None
        if special is None and script is not None:
            special = script(seen.path)
        return special if special is not None else self._usual(seen, signed, endpoint, query)

    def _usual(
        self,
        seen: Seen,
        signed: Mapping[str, str],
        endpoint: Endpoint | None,
        query: Mapping[str, str],
    ) -> Special:
        if endpoint is None:
            return _message(404, "Not Found")
        if seen.method != "GET":
            return _message(405, "Method Not Allowed")
        if self.enforce_limit and not self._windows[endpoint].try_acquire():
            return _message(429, "Too many requests")
        if endpoint is Endpoint.TIME:
            milliseconds = int(self.clock().timestamp() * 1000)
            return _json(200, json.dumps({"serverTime": milliseconds}).encode())
        if not self._signed_well(seen, signed):
            return _message(401, "Invalid Access")
        if endpoint is Endpoint.WALLET_BALANCE:
            return _json(200, self._wallet)
        status, body = self.market.answer(endpoint, query)
        return _json(status, json.dumps(body).encode("utf-8"))

    def _signed_well(self, seen: Seen, signed: Mapping[str, str]) -> bool:
        epoch = signed.get("x-auth-epoch", "")
        if signed.get("x-auth-apikey") != self.api_key or not epoch.isascii() or len(epoch) > 15:
            return False
        message = f"{seen.method}{unquote_plus(seen.path)}{epoch}".encode()
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.api_key))
        try:
            key.verify(bytes.fromhex(signed.get("x-auth-signature", "")), message)
            sent_at = datetime.fromtimestamp(int(epoch) / 1000, UTC)
        except (InvalidSignature, ValueError, OverflowError):
            return False
        return abs(self.clock() - sent_at) <= _LARGEST_SKEW

    def healthy_body(self) -> bytes:
        """The present wallet's body, for faults that begin well."""
        return self._wallet


def _windows() -> dict[Endpoint, SlidingWindow]:
    return {page.endpoint: SlidingWindow(page.requests, page.window) for page in PAGES}


def _asked(target: str) -> tuple[Endpoint | None, dict[str, str]]:
    """Which page a request is for, None: none that there is; and its parameters."""
    path, _, query = target.partition("?")
    endpoint = next((each for each in Endpoint if each.value == path), None)
    return endpoint, dict(parse_qsl(query))


def _json(status: int, body: bytes) -> Special:
    return Special(status=status, headers={"Content-Type": "application/json"}, answer=body)


def _message(status: int, text: str) -> Special:
    return _json(status, json.dumps({"message": text}).encode("utf-8"))


# ── HTTP ────────────────────────────────────────────────────────────────────


class _Server(HttpServer):
    def __init__(self, exchange: LoopbackExchange, port: int, tls: ssl.SSLContext | None) -> None:
        self.exchange = exchange
        super().__init__(Handler, port=port, tls=tls)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news here."""


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        """Answer, whatever the method."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        masked = {n: MASK if n in _SECRET_HEADERS else value for n, value in headers.items()}
        if self.command != "GET":
            self.close_connection = True  # its body stays unread
        seen = Seen(at=utc_now(), method=self.command, path=self.path, headers=masked)
        special = self.server.exchange.answer(seen, headers)
        if special.headers.get("Connection") == "close":
            self.close_connection = True
        if callable(special.answer):
            self.close_connection = True
            special.answer(self, special)
        else:
            self.write(self.head(special, len(special.answer)) + special.answer)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: headers hold keys."""

    def head(self, special: Special, length: int | None) -> bytes:
        """The status line and headers of an answer; length None: it names none."""
        given = {"Content-Type": "application/json", **special.headers}
        if length is not None and not {"Content-Length", "Transfer-Encoding"} & set(given):
            given["Content-Length"] = str(length)
        lines = [f"HTTP/1.1 {special.status} {self.responses.get(special.status, ('-',))[0]}"]
        lines += [f"{name}: {value}" for name, value in given.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")

    def write(self, data: bytes) -> None:
        """Send at once."""
        self.wfile.write(data)
        self.wfile.flush()
