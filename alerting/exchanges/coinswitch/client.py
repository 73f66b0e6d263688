"""The exchange's client: signed reads of the futures wallet, and every way in which they fail.

The key can trade, so this client cannot: its session sends GET to the paths of `Endpoint` and
nothing else. No call lasts longer than its deadline, whatever the other side does.
"""

from __future__ import annotations

import enum
import http.client
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import requests
import urllib3

from alerting import __version__
from alerting.engine.model import FailureKind, Poll, PollFailure, PollOutcome, Snapshot
from alerting.errors import AlertingError
from alerting.exchanges.account import AccountSettings
from alerting.exchanges.coinswitch.answers import message_of, parse_server_time, parse_wallet
from alerting.exchanges.coinswitch.keys import credentials_problem, sign
from alerting.exchanges.rate_limit import Pace
from alerting.exchanges.strict_json import AnswerError, decode
from alerting.net.adapter import DeadlineAdapter
from alerting.net.deadline import Deadline
from alerting.net.failures import causes, in_between, retry_after, sentence, unfinished
from alerting.net.hosts import host_of
from alerting.redaction import REDACTOR
from alerting.units import ZERO, format_duration

MAX_BODY = 4 * 1024 * 1024
MAX_ERROR_BODY = 64 * 1024
#: a clock that is off by more than this is named as the cause of a refusal
CLOCK_TOLERANCE = timedelta(seconds=5)
DEFAULT_RETRY_AFTER = timedelta(seconds=60)
SHORTEST_RETRY_AFTER = timedelta(seconds=1)

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


# ── the session ─────────────────────────────────────────────────────────────


class _ReadOnlySession(requests.Session):
    """Sends GET to the known paths of one host; raises at everything else before a byte is sent."""

    def __init__(self, base_url: str, deadline: Deadline) -> None:
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
        self.mount("http://", DeadlineAdapter(deadline))
        self.mount("https://", DeadlineAdapter(deadline))

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
# What the exchange may say of a request that was signed for another time.
_MAY_BE_THE_CLOCK = frozenset({400, 401, 403, 422})
_DROPPED = (
    http.client.RemoteDisconnected,
    ConnectionResetError,
    ConnectionAbortedError,
    BrokenPipeError,
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,
)


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
        steady: Callable[[], datetime] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        remembered: str | None = None,
    ) -> None:
        """`remembered` is what `pace` said to an earlier process.

        Requests bear the time of `clock`, the machine's own; the pace goes by `steady`, a clock
        that does not jump.
        """
        self._account = account
        self._base_url = account.base_url.rstrip("/")
        self._host = host_of(self._base_url) or "the exchange"
        self._timeout = timeout
        self._clock = clock
        self._pace = Pace(
            account.rate_requests,
            account.rate_window,
            host=self._base_url,
            clock=steady or clock,
            monotonic=monotonic,
            remembered=remembered,
        )
        self.pace = self._pace.text
        self._deadline = Deadline(monotonic)
        self._session = _ReadOnlySession(self._base_url, self._deadline)
        self._polling = threading.Lock()
        self._last_epoch = 0
        for secret in (account.api_key, account.secret_key):
            REDACTOR.learn_key(secret.reveal())

    def poll(self) -> Poll:
        """Read the wallet within the timeout; whatever goes wrong outside is a PollFailure.

        The poll's body is that of a 200 answer, snapshot or not.
        """
        with self._polling:
            body = None
            try:
                self._check_ready()
                with self._deadline.within(self._timeout):
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
        self._deadline.cancel()

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
        if self._deadline.cancelled:
            raise _PollError(FailureKind.NETWORK, "cancelled")
        problem = credentials_problem(self._account)
        if problem is not None:
            raise _PollError(FailureKind.CREDENTIALS, problem)
        pause = self._pace.paused()
        if pause is not None:
            raise _PollError(pause.kind, pause.text, retry_after=pause.left)

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
            if self._deadline.stopped or not self._pace.window.try_acquire():
                raise
        return self._get(endpoint, self._signature(endpoint))

    def _take_room(self) -> None:
        if self._pace.window.try_acquire():
            return
        limit = f"{self._account.rate_requests} per {_seconds(self._account.rate_window)}"
        wait = timedelta(seconds=min(self._pace.window.wait_time(), 86_400.0))
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
        opened = self._deadline.opened
        try:
            response = self._session.get(
                f"{self._base_url}{endpoint.value}",
                headers=dict(headers),
                timeout=(self._deadline.remaining(), self._deadline.remaining()),
                allow_redirects=False,
                stream=True,
            )
        except _WIRE_ERRORS as error:
            dropped = any(isinstance(cause, _DROPPED) for cause in causes(error))
            kept = self._deadline.opened == opened
            failure = self._wire_failure(error)
            if dropped and kept and not self._deadline.stopped:
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
        if status == 200 and self._deadline.stopped:
            # a body without a length ends where the deadline shut its socket, and looks complete
            raise self._wire_failure(TimeoutError())
        headers = {name.lower(): value for name, value in response.headers.items()}
        return _Answer(status=status, headers=headers, body=body, whole=whole, at=self._clock())

    def _wire_failure(self, error: BaseException) -> _PollError:
        limit = _seconds(self._timeout)
        if self._deadline.cancelled:
            text = "cancelled"
        elif self._deadline.expired:
            text = unfinished(error, host=self._host, limit=limit)
        else:
            text = sentence(error, host=self._host, limit=limit)
        return _PollError(FailureKind.NETWORK, text)

    # ── what a refusal means ────────────────────────────────────────────────

    def _refusal(self, answer: _Answer) -> _PollError:
        status = answer.status
        if status in _MAY_BE_THE_CLOCK:
            return self._not_accepted(answer)
        if status == 429:
            return self._limited(answer)
        nearer = in_between(status)
        if nearer is not None:
            return _PollError(FailureKind.NETWORK, nearer)
        if 500 <= status < 600:
            return self._down(answer)
        if 300 <= status < 400:
            return _PollError(FailureKind.NETWORK, _redirect_text(answer))
        return _PollError(FailureKind.WRONG_SHAPE, f"unexpected answer {answer.said}")

    def _not_accepted(self, answer: _Answer) -> _PollError:
        """The exchange says the same of a wrong key and of an epoch that is no longer true."""
        off = self._clock_offset(answer)
        if off is not None and abs(off) > CLOCK_TOLERANCE:
            by = format_duration(timedelta(seconds=round(abs(off).total_seconds())))
            direction = "behind" if off > ZERO else "ahead of"
            text = f"this machine's clock is {by} {direction} the exchange's ({answer.said})"
            return _PollError(FailureKind.CLOCK, text)
        if answer.status == 401:
            clock = "the clock is right" if off is not None else "the clock could not be compared"
            text = f"the exchange does not accept this key ({answer.said}); {clock}"
            return _PollError(FailureKind.CREDENTIALS, text)
        if answer.status == 403:
            return _forbidden(answer)
        return _PollError(FailureKind.WRONG_SHAPE, f"unexpected answer {answer.said}")

    def _clock_offset(self, refused: _Answer) -> timedelta | None:
        """Server time minus local time, as little as it can be; None where nobody tells it."""
        signed, before = _instant(self._last_epoch), self._clock()
        try:
            answer = self._get(Endpoint.TIME, {})
        except _PollError:
            return _offset_by_date(refused, asked=signed)
        server = parse_server_time(answer.body) if answer.status == 200 else None
        if server is None:
            return _offset_by_date(refused, asked=signed)
        # the server read its clock somewhere between these two, however slow the answer was
        return min(server - before, ZERO) or max(server - answer.at, ZERO)

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
        pause = self._pace.pause(kind, REDACTOR.redact(text), wait)
        return _PollError(kind, pause.text, retry_after=pause.left)


def _read(response: requests.Response, limit: int) -> tuple[bytes, bool]:
    """At most `limit` bytes of the body, and whether that is all of it."""
    body = bytearray()
    for chunk in response.iter_content(_CHUNK):
        body += chunk
        if len(body) > limit:
            return bytes(body[:limit]), False
    return bytes(body), True


def _instant(epoch: int) -> datetime:
    """The instant of an epoch in milliseconds."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=epoch)


def _offset_by_date(answer: _Answer, *, asked: datetime) -> timedelta | None:
    """As `_clock_offset`, by the Date of an answer; None where it has none of its own."""
    if answer.headers.get("age", "0") != "0":
        # it was kept by somebody in between, for so long
        return None
    try:
        date = parsedate_to_datetime(answer.headers.get("date", ""))
        date = date.replace(tzinfo=date.tzinfo or UTC)
        # a Date is cut to whole seconds
        return min(date + timedelta(seconds=1) - asked, ZERO) or max(date - answer.at, ZERO)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _forbidden(answer: _Answer) -> _PollError:
    if message_of(answer.body) is None:
        return _PollError(FailureKind.EXCHANGE_DOWN, "refused in front of the exchange (403)")
    text = f"the exchange does not allow this ({answer.said})"
    return _PollError(FailureKind.CREDENTIALS, text)


def _retry_after(answer: _Answer) -> timedelta | None:
    """What the answer asks for, a second at least; None where it asks for nothing readable."""
    wait = retry_after(answer.headers.get("retry-after", ""), now=answer.at)
    return None if wait is None else max(wait, SHORTEST_RETRY_AFTER)


def _redirect_text(answer: _Answer) -> str:
    host = host_of(answer.headers.get("location", ""))
    where = f"to host {host}" if host else f"({answer.status})"
    return f"redirect {where} not followed"


def _seconds(duration: timedelta) -> str:
    """A duration as the rules file has it: 60s, not 1m."""
    whole, rest = divmod(duration, timedelta(seconds=1))
    return f"{whole}s" if not rest else format_duration(duration)
