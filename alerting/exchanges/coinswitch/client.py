"""The exchange's client: signed reads of the futures wallet, and every way in which they fail.

The key can trade, so this client cannot: its session sends GET to the paths of `Endpoint` and
nothing else. No call lasts longer than its deadline, whatever the other side does: a guard holds
a handle on each live socket and shuts it down when time is up, or when the poll is cancelled.
"""

from __future__ import annotations

import email.utils
import enum
import http.client
import ipaddress
import math
import re
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import unquote_plus, urlsplit

import requests
import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from alerting import __version__
from alerting.engine.model import FailureKind, Poll, PollFailure, PollOutcome, Snapshot
from alerting.errors import AlertingError
from alerting.exchanges.account import AccountSettings
from alerting.exchanges.coinswitch.answers import (
    AnswerError,
    clean,
    decode,
    message_of,
    parse_server_time,
    parse_wallet,
)
from alerting.redaction import REDACTOR, Secret
from alerting.units import ZERO, format_duration, rfc3339

MAX_BODY = 4 * 1024 * 1024
MAX_ERROR_BODY = 64 * 1024
#: a clock that is off by more than this is named as the cause of a 401
CLOCK_TOLERANCE = timedelta(seconds=5)
DEFAULT_RETRY_AFTER = timedelta(seconds=60)
SHORTEST_RETRY_AFTER = timedelta(seconds=1)
LONGEST_RETRY_AFTER = timedelta(seconds=300)

_HEX_KEY = re.compile(r"[0-9a-fA-F]+")
_HEADER_SAFE = re.compile(r"[!-~]+")
_SECONDS = re.compile(r"[0-9]{1,9}")
_CHUNK = 16 * 1024


class Endpoint(enum.Enum):
    """Every path that may be asked for; all are read with GET."""

    WALLET_BALANCE = "/trade/api/v2/futures/wallet_balance"
    TIME = "/trade/api/v2/time"


class ForbiddenRequestError(AlertingError):
    """Something tried to send what this client must not send."""


def utc_now() -> datetime:
    """The wall clock, aware and in UTC."""
    return datetime.now(UTC)


# ── signing ─────────────────────────────────────────────────────────────────


def sign(secret_seed_hex: str, method: str, path_with_query: str, epoch_ms: int) -> str:
    """The request's Ed25519 signature in hex; the path is signed URL-decoded, the body never."""
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret_seed_hex[:64]))
    message = f"{method.upper()}{unquote_plus(path_with_query)}{epoch_ms}"
    return key.sign(message.encode("utf-8")).hex()


def secret_key_problem(secret: Secret) -> str | None:
    """What is wrong with a secret key, without showing it; None where it can sign."""
    text = secret.reveal()
    if not _HEX_KEY.fullmatch(text):
        return "the secret key must be 64 hexadecimal characters; it holds something else"
    if len(text) not in {64, 128}:
        return f"the secret key must be 64 hexadecimal characters; it has {len(text)}"
    if len(text) == 128 and text[64:].lower() != _public_half(text):
        return (
            "the secret key has 128 characters, but its second half is not the public key of the "
            "first; write the first 64 characters alone"
        )
    return None


def check_key_pair(account: AccountSettings) -> str | None:
    """A warning where the API key is not the public half of the secret key; None where it is."""
    secret = account.secret_key
    if secret_key_problem(secret) is not None:
        return None
    if account.api_key.reveal().lower() == _public_half(secret.reveal()):
        return None
    return (
        f"account {account.name}: api_key is not the public half of secret_key; the exchange will "
        "refuse them unless both come from the same generated pair"
    )


def _public_half(secret_hex: str) -> str:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret_hex[:64]))
    return key.public_key().public_bytes_raw().hex()


def _credentials_problem(account: AccountSettings) -> str | None:
    if not _HEADER_SAFE.fullmatch(account.api_key.reveal()):
        return "the API key is empty or holds characters that no key has"
    return secret_key_problem(account.secret_key)


# ── the rate limit ──────────────────────────────────────────────────────────


class SlidingWindow:
    """At most `requests` in any stretch of length `window`; safe to share between threads."""

    def __init__(
        self,
        requests: int,
        window: timedelta,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._requests = requests
        self._window = window.total_seconds()
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._taken: deque[float] = deque()

    def try_acquire(self) -> bool:
        """Take one request if there is room for it now."""
        with self._lock:
            now = self._forget()
            if len(self._taken) >= self._requests:
                return False
            self._taken.append(now)
            return True

    def wait_time(self) -> float:
        """Seconds until `try_acquire` finds room; 0.0 where it has room now."""
        with self._lock:
            now = self._forget()
            if len(self._taken) < self._requests:
                return 0.0
            return self._taken[0] + self._window - now if self._taken else math.inf

    def _forget(self) -> float:
        now = self._monotonic()
        while self._taken and self._taken[0] + self._window <= now:
            self._taken.popleft()
        return now


# ── the wire: deadline and cancellation ─────────────────────────────────────


class _Lookup:
    """A name being resolved in a thread, because nothing can interrupt getaddrinfo."""

    def __init__(self, host: str, port: int, finished: threading.Condition) -> None:
        self.where = (host, port)
        self.done = False
        self.addresses: list[Any] = []
        self.error: OSError | UnicodeError | None = None
        self._finished = finished
        threading.Thread(target=self._run, name="alerting-dns", daemon=True).start()

    def _run(self) -> None:
        try:
            self.addresses = socket.getaddrinfo(*self.where, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self.error = error
        with self._finished:
            self.done = True
            self._finished.notify_all()


class _Guard:
    """Ends whatever one client does on the wire: at the deadline, or when it is cancelled."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.cancelled = False
        self.expired = False
        #: connections opened so far
        self.opened = 0
        self._monotonic = monotonic
        self._changed = threading.Condition()
        # Duplicates of the live sockets. TLS takes a socket's descriptor away from its object, and
        # http.client drops its reference while the body is still read; a duplicate outlives both.
        self._handles: set[socket.socket] = set()
        self._released: set[socket.socket] = set()
        self._lookup: _Lookup | None = None
        self._round = 0
        self._active = False
        self._until = 0.0

    @contextmanager
    def deadline(self, limit: timedelta) -> Iterator[None]:
        """From here to the end of the block, nothing waits on the wire beyond `limit`."""
        seconds = limit.total_seconds()
        with self._changed:
            self._round += 1
            self._active, self.expired = True, False
            self._until = self._monotonic() + seconds
        timer = threading.Timer(seconds, self._expire, [self._round])
        timer.name, timer.daemon = "alerting-deadline", True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self._changed:
                self._active = False
                self._close_released()

    def cancel(self) -> None:
        """End what is under way, and all that comes after it."""
        with self._changed:
            self.cancelled = True
            self._shut_down()

    def remaining(self) -> float:
        """Seconds left, never 0: that would mean "do not wait" to a socket."""
        return max(0.001, self._until - self._monotonic())

    @property
    def stopped(self) -> bool:
        """The deadline has passed, or somebody cancelled."""
        return self.cancelled or self.expired

    def resolve(self, host: str, port: int) -> list[Any]:
        """The addresses of a host, as getaddrinfo gives them; OSError where there are none."""
        if _is_address(host):
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with self._changed:
            lookup = self._lookup
            if lookup is None or lookup.done or lookup.where != (host, port):
                lookup = self._lookup = _Lookup(host, port, self._changed)
            self._changed.wait_for(lambda: lookup.done or self.stopped)
        if not lookup.done:
            raise TimeoutError("name not resolved in time")
        if lookup.error is not None:
            raise lookup.error
        return lookup.addresses

    def hold(self, sock: socket.socket) -> socket.socket:
        """Take a handle on a new socket; give it back with `release`."""
        with self._changed:
            if self.stopped:
                raise TimeoutError("no time left to connect")
            # requests follow one another: what was released before is read to its end by now
            self._close_released()
            handle = sock.dup()
            self._handles.add(handle)
            self.opened += 1
            return handle

    def release(self, handle: socket.socket) -> None:
        """The connection is closed; a body may still be read from it until the block ends."""
        with self._changed:
            self._released.add(handle)
            if not self._active:
                self._close_released()

    def _expire(self, round_number: int) -> None:
        with self._changed:
            # a timer that comes too late must not end the next poll
            if self._active and round_number == self._round:
                self.expired = True
                self._shut_down()

    def _shut_down(self) -> None:
        for handle in self._handles:
            with suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)
        self._changed.notify_all()

    def _close_released(self) -> None:
        for handle in self._released:
            handle.close()
        self._handles -= self._released
        self._released.clear()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


class _Guarded(HTTPConnection):
    """A connection whose socket its guard can end at any time."""

    guard: ClassVar[_Guard]
    _handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        try:
            addresses = self.guard.resolve(self.host.strip("[]"), self.port or self.default_port)
            return self._first_that_answers(addresses)
        except socket.gaierror as error:
            raise urllib3.exceptions.NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise urllib3.exceptions.ConnectTimeoutError(self, "timed out") from error
        except (OSError, UnicodeError) as error:
            raise urllib3.exceptions.NewConnectionError(self, "failed") from error

    def _first_that_answers(self, addresses: list[Any]) -> socket.socket:
        failed: OSError = OSError("no address")
        for index, address in enumerate(addresses):
            # a share each: a black hole must not eat the time of the address after it
            share = self.guard.remaining() / (len(addresses) - index)
            try:
                return self._connected(address, share)
            except OSError as error:
                failed = error
        raise failed

    def _connected(self, address: tuple[Any, ...], seconds: float) -> socket.socket:
        family, kind, protocol, _, target = address
        sock = socket.socket(family, kind, protocol)
        handle = None
        try:
            handle = self.guard.hold(sock)
            for option in self.socket_options or ():
                sock.setsockopt(*option)
            sock.settimeout(seconds)
            sock.connect(target)
        except OSError:
            sock.close()
            if handle is not None:
                self.guard.release(handle)
            raise
        self._handle = handle
        return sock

    def close(self) -> None:
        super().close()
        if self._handle is not None:
            self.guard.release(self._handle)
            self._handle = None


def _pools(owner: _Guard) -> dict[str, type[HTTPConnectionPool]]:
    """Connection pools whose connections belong to one guard."""

    class Plain(_Guarded):
        guard = owner

    class Encrypted(_Guarded, HTTPSConnection):
        guard = owner

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


class _Adapter(HTTPAdapter):
    """Connects through a guard, directly or by a proxy; keeps one connection."""

    def __init__(self, guard: _Guard) -> None:
        self._guard = guard
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self._guard)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _pools(self._guard)
        return manager

    def close(self) -> None:
        """Close the connections now; urllib3 leaves that to the garbage collector."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it cannot be iterated itself
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.close()
        super().close()


class _ReadOnlySession(requests.Session):
    """Sends GET to the known paths of one host; raises at everything else before a byte is sent."""

    def __init__(self, base_url: str, guard: _Guard) -> None:
        super().__init__()
        self._allowed = set(_prepared_urls(base_url))
        # any callable here keeps requests from looking for credentials in ~/.netrc
        self.auth = _as_it_is
        self.headers.update(
            {
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                "User-Agent": f"alerting/{__version__}",
            }
        )
        self.mount("http://", _Adapter(guard))
        self.mount("https://", _Adapter(guard))

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send one of the allowed requests."""
        if request.method != "GET" or request.url not in self._allowed or request.body is not None:
            raise ForbiddenRequestError("this client only reads the wallet and the server's time")
        return super().send(request, **kwargs)

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        """Nowhere; else requests parses the target and reads the whole body before it stops."""
        return None


def _prepared_urls(base_url: str) -> Iterator[str]:
    """Yield each allowed URL as requests writes it: with a lower-case host, for one."""
    for endpoint in Endpoint:
        # an URL that cannot be prepared cannot be sent either
        with suppress(requests.RequestException, ValueError):
            prepared = requests.Request("GET", f"{base_url}{endpoint.value}").prepare()
            yield prepared.url or ""


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


# ── what can go wrong on the wire ───────────────────────────────────────────

_WIRE_ERRORS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    # a host or a header that cannot be encoded
    ValueError,
)
_DROPPED = (
    http.client.RemoteDisconnected,
    ConnectionResetError,
    ConnectionAbortedError,
    BrokenPipeError,
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,
)
# The first line that fits any error of the chain names the failure.
_NETWORK_TEXTS: tuple[tuple[type[BaseException], str], ...] = (
    (ssl.SSLEOFError, "{peer} hung up during the TLS handshake"),
    (ssl.SSLError, "no TLS connection to {peer}"),
    (socket.gaierror, "the name of {peer} cannot be resolved"),
    (ConnectionRefusedError, "{peer} refused the connection"),
    (urllib3.exceptions.ConnectTimeoutError, "no connection to {peer} within {limit}"),
    (urllib3.exceptions.ReadTimeoutError, "no answer from {peer} within {limit}"),
    (TimeoutError, "no answer from {peer} within {limit}"),
    (http.client.RemoteDisconnected, "{peer} hung up before it answered"),
    (ConnectionResetError, "{peer} reset the connection"),
    (BrokenPipeError, "{peer} hung up before it answered"),
    (http.client.IncompleteRead, "the answer of {peer} broke off"),
    (http.client.BadStatusLine, "{peer} does not speak HTTP"),
    (http.client.HTTPException, "{peer} sent headers that are no HTTP"),
    (requests.exceptions.ContentDecodingError, "the answer of {peer} cannot be unpacked"),
    (requests.exceptions.ChunkedEncodingError, "the answer of {peer} broke off"),
    (requests.exceptions.ProxyError, "{peer} does not connect to the exchange"),
    (requests.exceptions.InvalidProxyURL, "the proxy's URL in the environment is not valid"),
    (requests.exceptions.InvalidURL, "the base URL is not valid"),
    (requests.exceptions.InvalidSchema, "the URL or the proxy is of a kind that is not supported"),
    (urllib3.exceptions.NewConnectionError, "no connection to {peer}"),
)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that it was made from; urllib3 hides them in `reason` and `args`."""
    waiting, seen = [error], set[int]()
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        parts = (current.__cause__, current.__context__, getattr(current, "reason", None))
        waiting += [part for part in (*parts, *current.args) if isinstance(part, BaseException)]


def _network_text(error: BaseException, host: str, limit: str) -> str:
    """Name the failure; never from an error's own text, which holds URLs, proxies and headers."""
    causes = list(_causes(error))
    proxied = any(isinstance(cause, requests.exceptions.ProxyError) for cause in causes)
    peer = "the proxy" if proxied else host
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = clean(cause.verify_message)
            return f"the TLS certificate of {peer} is not valid: {why}"
    for kind, text in _NETWORK_TEXTS:
        if any(isinstance(cause, kind) for cause in causes):
            return text.format(peer=peer, limit=limit)
    return f"no answer from {peer} ({type(error).__name__})"


# ── the client ──────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    #: False: the body is longer than this client reads, or broke off
    whole: bool
    #: when its last byte was here
    at: datetime

    @property
    def said(self) -> str:
        """The status, with the answer's message where it has one."""
        message = message_of(self.body)
        return f'{self.status} "{message}"' if message else str(self.status)


class _PollError(Exception):
    """Ends a poll; becomes its PollFailure."""

    def __init__(
        self, kind: FailureKind, text: str, *, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.retry_after = retry_after


class _StaleConnectionError(_PollError):
    """A kept connection was dropped before any answer: the one case worth a second try."""


class WalletClient:
    """Reads one account's futures wallet; one poll at a time."""

    def __init__(
        self,
        account: AccountSettings,
        *,
        timeout: timedelta,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._account = account
        self._base_url = account.base_url.rstrip("/")
        self._host = _host_of(self._base_url) or "the exchange"
        self._timeout = timeout
        self._clock = clock
        self._monotonic = monotonic
        self._window = SlidingWindow(account.rate_requests, account.rate_window, monotonic)
        self._guard = _Guard(monotonic)
        self._session = _ReadOnlySession(self._base_url, self._guard)
        self._polling = threading.Lock()
        self._last_epoch = 0
        self._blocked: tuple[float, _PollError] | None = None
        for secret in (account.api_key, account.secret_key):
            REDACTOR.learn(secret.reveal())

    def poll(self) -> Poll:
        """Read the wallet within the timeout; whatever goes wrong outside is a PollFailure.

        The poll's body is that of a 200 answer, snapshot or not.
        """
        with self._polling:
            body = None
            try:
                self._check_ready()
                with self._guard.deadline(self._timeout):
                    answer = self._ask_for_wallet()
                    body = decode(answer.body)
                    return self._poll(answer.at, self._snapshot(answer), body)
            except AnswerError as error:
                failure = _PollError(error.kind, str(error))
            except _PollError as error:
                failure = error
            return self._poll(self._clock(), self._failure(failure), body)

    def cancel(self) -> None:
        """From any thread: the poll under way fails at once, and so does every later one."""
        self._guard.cancel()

    def close(self) -> None:
        """Give up the connection; later polls fail."""
        self.cancel()
        self._session.close()

    def _poll(self, at: datetime, outcome: PollOutcome, body: str | None) -> Poll:
        return Poll(at=at, account=self._account.name, body=body, outcome=outcome)

    def _failure(self, error: _PollError) -> PollFailure:
        return PollFailure(
            account=self._account.name,
            kind=error.kind,
            text=REDACTOR.redact(error.text),
            retry_after=error.retry_after,
        )

    def _check_ready(self) -> None:
        if self._guard.cancelled:
            raise _PollError(FailureKind.NETWORK, "cancelled")
        problem = _credentials_problem(self._account)
        if problem is not None:
            raise _PollError(FailureKind.CREDENTIALS, problem)
        if self._blocked is None:
            return
        until, error = self._blocked
        left = until - self._monotonic()
        if left > 0:
            raise _PollError(error.kind, error.text, retry_after=timedelta(seconds=left))
        self._blocked = None

    def _ask_for_wallet(self) -> _Answer:
        answer = self._get_signed(Endpoint.WALLET_BALANCE)
        if answer.status != 200:
            raise self._refusal(answer)
        if not answer.whole:
            text = f"the answer is larger than {MAX_BODY // 1024 // 1024} MiB"
            raise _PollError(FailureKind.WRONG_SHAPE, text)
        return answer

    def _snapshot(self, answer: _Answer) -> Snapshot:
        return parse_wallet(answer.body, account=self._account.name, observed_at=answer.at)

    # ── sending ─────────────────────────────────────────────────────────────

    def _get_signed(self, endpoint: Endpoint) -> _Answer:
        self._take_room()
        try:
            return self._get(endpoint, self._signature(endpoint))
        except _StaleConnectionError:
            if self._guard.stopped or not self._window.try_acquire():
                raise
        return self._get(endpoint, self._signature(endpoint))

    def _take_room(self) -> None:
        if self._window.try_acquire():
            return
        limit = f"{self._account.rate_requests} per {_seconds(self._account.rate_window)}"
        wait = timedelta(seconds=min(self._window.wait_time(), 86_400.0))
        text = f"own limit of {limit} used up"
        raise _PollError(FailureKind.RATE_LIMIT, text, retry_after=wait)

    def _signature(self, endpoint: Endpoint) -> dict[str, str]:
        epoch = self._clock() - datetime(1970, 1, 1, tzinfo=UTC)
        milliseconds = epoch // timedelta(milliseconds=1)
        if milliseconds == self._last_epoch:
            milliseconds += 1  # two tries must never share a signature
        self._last_epoch = milliseconds
        secret = self._account.secret_key.reveal()
        return {
            "X-AUTH-APIKEY": self._account.api_key.reveal(),
            "X-AUTH-SIGNATURE": sign(secret, "GET", endpoint.value, milliseconds),
            "X-AUTH-EPOCH": str(milliseconds),
        }

    def _get(self, endpoint: Endpoint, headers: Mapping[str, str]) -> _Answer:
        opened = self._guard.opened
        try:
            response = self._session.get(
                f"{self._base_url}{endpoint.value}",
                headers=dict(headers),
                timeout=(self._guard.remaining(), self._guard.remaining()),
                allow_redirects=False,
                stream=True,
                proxies=_no_proxy_for(self._host),
            )
        except _WIRE_ERRORS as error:
            dropped = any(isinstance(cause, _DROPPED) for cause in _causes(error))
            kept = self._guard.opened == opened
            failure = self._wire_failure(error)
            if dropped and kept and not self._guard.stopped:
                raise _StaleConnectionError(failure.kind, failure.text) from None
            raise failure from None
        with response:
            return self._take(response)

    def _take(self, response: requests.Response) -> _Answer:
        status = response.status_code
        try:
            body, whole = _read(response, MAX_BODY if status == 200 else MAX_ERROR_BODY)
        except _WIRE_ERRORS as error:
            if status == 200:
                raise self._wire_failure(error) from None
            body, whole = b"", False  # the status says enough
        if status == 200 and self._guard.stopped:
            # a body without a length ends where the guard shut its socket, and looks complete
            raise self._wire_failure(TimeoutError())
        headers = {name.lower(): value for name, value in response.headers.items()}
        return _Answer(status=status, headers=headers, body=body, whole=whole, at=self._clock())

    def _wire_failure(self, error: BaseException) -> _PollError:
        limit = _seconds(self._timeout)
        if self._guard.cancelled:
            text = "cancelled"
        elif self._guard.expired:
            text = f"no complete answer from {self._host} within {limit}"
        else:
            text = _network_text(error, self._host, limit)
        return _PollError(FailureKind.NETWORK, text)

    # ── what a refusal means ────────────────────────────────────────────────

    def _refusal(self, answer: _Answer) -> _PollError:
        status = answer.status
        if status == 401:
            return self._unauthorised(answer)
        if status == 403:
            return self._forbidden(answer)
        if status == 429:
            return self._limited(answer)
        if 500 <= status < 600:
            return self._down(answer)
        if status == 407:
            return _PollError(FailureKind.NETWORK, "the proxy asks for a login (407)")
        if 300 <= status < 400:
            return _PollError(FailureKind.NETWORK, _redirect_text(answer))
        return _PollError(FailureKind.WRONG_SHAPE, f"unexpected answer {answer.said}")

    def _unauthorised(self, answer: _Answer) -> _PollError:
        off = self._clock_offset()
        if off is not None and abs(off) > CLOCK_TOLERANCE:
            by = format_duration(timedelta(seconds=round(abs(off).total_seconds())))
            direction = "behind" if off > ZERO else "ahead of"
            text = f"this machine's clock is {by} {direction} the exchange's ({answer.said})"
            return _PollError(FailureKind.CLOCK, text)
        clock = "the clock is right" if off is not None else "the clock could not be compared"
        text = f"the exchange does not accept this key ({answer.said}); {clock}"
        return _PollError(FailureKind.CREDENTIALS, text)

    def _clock_offset(self) -> timedelta | None:
        """Server time minus local time, as little as it can be; None where nobody tells it."""
        before = self._clock()
        try:
            answer = self._get(Endpoint.TIME, {})
        except _PollError:
            return None
        server = parse_server_time(answer.body) if answer.status == 200 else None
        if server is None:
            return None
        # the server read its clock somewhere between these two, however slow the answer was
        return min(server - before, ZERO) or max(server - answer.at, ZERO)

    def _forbidden(self, answer: _Answer) -> _PollError:
        if message_of(answer.body) is None:
            text = "refused in front of the exchange (403)"
            return _PollError(FailureKind.EXCHANGE_DOWN, text)
        text = f"the exchange does not allow this ({answer.said})"
        return _PollError(FailureKind.CREDENTIALS, text)

    def _limited(self, answer: _Answer) -> _PollError:
        wait = _retry_after(answer) or DEFAULT_RETRY_AFTER
        return self._block(FailureKind.RATE_LIMIT, f"too many requests ({answer.said})", wait)

    def _down(self, answer: _Answer) -> _PollError:
        text = f"the exchange answers {answer.said}"
        wait = _retry_after(answer)
        if wait is None:
            return _PollError(FailureKind.EXCHANGE_DOWN, text)
        return self._block(FailureKind.EXCHANGE_DOWN, text, wait)

    def _block(self, kind: FailureKind, text: str, wait: timedelta) -> _PollError:
        until = (self._clock() + wait + timedelta(seconds=1)).replace(microsecond=0)
        error = _PollError(kind, f"{text}; not asked before {rfc3339(until)}", retry_after=wait)
        self._blocked = (self._monotonic() + wait.total_seconds(), error)
        return error


def _read(response: requests.Response, limit: int) -> tuple[bytes, bool]:
    """At most `limit` bytes of the body, and whether that is all of it."""
    body = bytearray()
    for chunk in response.iter_content(_CHUNK):
        body += chunk
        if len(body) > limit:
            return bytes(body[:limit]), False
    return bytes(body), True


def _retry_after(answer: _Answer) -> timedelta | None:
    """What the answer asks for, clamped; None where it asks for nothing readable."""
    text = answer.headers.get("retry-after", "").strip()
    wait: timedelta
    if _SECONDS.fullmatch(text):
        wait = timedelta(seconds=int(text))
    else:
        try:
            at = email.utils.parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        wait = at.replace(tzinfo=at.tzinfo or UTC) - answer.at
    return min(max(wait, SHORTEST_RETRY_AFTER), LONGEST_RETRY_AFTER)


def _redirect_text(answer: _Answer) -> str:
    host = _host_of(answer.headers.get("location", ""))
    where = f"to host {host}" if host else f"({answer.status})"
    return f"redirect {where} not followed"


def _host_of(url: str) -> str | None:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    return clean(host) if host else None


def _no_proxy_for(host: str) -> dict[str, str] | None:
    """Proxies of the environment are for the world outside, never for this machine."""
    return {"no_proxy": host} if _is_loopback(host) else None


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _seconds(duration: timedelta) -> str:
    """A duration as the rules file has it: 60s, not 1m."""
    whole, rest = divmod(duration, timedelta(seconds=1))
    return f"{whole}s" if not rest else format_duration(duration)
