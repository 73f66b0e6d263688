"""Signed reads of the exchange's pages, and every way in which they fail.

No read lasts longer than its deadline, whatever the other side does.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import requests
import urllib3

from alerting.engine.snapshot import FailureKind, PollFailure
from alerting.exchanges.account import AccountSettings
from alerting.exchanges.coinswitch.answers import message_of, parse_server_time
from alerting.exchanges.coinswitch.keys import credentials_problem, sign
from alerting.exchanges.coinswitch.pages import TIME, Page
from alerting.exchanges.coinswitch.session import ReadOnlySession
from alerting.exchanges.rate_limit import Pace
from alerting.exchanges.strict_json import AnswerError
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


def utc_now() -> datetime:
    """The wall clock, aware and in UTC."""
    return datetime.now(UTC)


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


# ── one answer ──────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back, whatever it was."""

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


class ReadError(Exception):
    """Ends a reading; becomes its PollFailure."""

    def __init__(
        self,
        kind: FailureKind,
        text: str,
        *,
        retry_after: timedelta | None = None,
        status: int | None = None,
    ) -> None:
        """`status` is that of an answer that is not 200."""
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.retry_after = retry_after
        self.status = status


#: what ends a reading inside `Wire.reading`
READING_ERRORS = (ReadError, AnswerError)


class _StaleConnectionError(ReadError):
    """A kept connection was dropped before any answer: the one case worth a second try."""


class Wire:
    """Signed reads with one account's key, one reading at a time; each page at its own pace."""

    def __init__(
        self,
        account: AccountSettings,
        *,
        timeout: timedelta,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Requests bear the time of `clock`, the machine's own; `timeout` is that of a reading."""
        self.account = account.name
        self._keys = account
        self._base_url = account.base_url.rstrip("/")
        self._host = host_of(self._base_url) or "the exchange"
        self._timeout = timeout
        self.clock = clock
        self.monotonic = monotonic
        self.deadline = Deadline(monotonic)
        self.session = ReadOnlySession(self._base_url, self.deadline)
        self._turn = threading.Lock()
        self._last_epoch = 0
        for secret in (account.api_key, account.secret_key):
            REDACTOR.learn_key(secret.reveal())

    def pace(
        self,
        requests: int,
        window: timedelta,
        *,
        steady: Callable[[], datetime] | None = None,
        remembered: str | None = None,
    ) -> Pace:
        """The pace of one page; it goes by `steady`, a clock that does not jump.

        `remembered` is what its `text` said to an earlier process.
        """
        return Pace(
            requests,
            window,
            host=self._base_url,
            clock=steady or self.clock,
            monotonic=self.monotonic,
            remembered=remembered,
        )

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Until the block ends nothing waits beyond the timeout; ReadError where nothing can go."""
        with self._turn:
            if self.deadline.cancelled:
                raise ReadError(FailureKind.NETWORK, "cancelled")
            problem = credentials_problem(self._keys)
            if problem is not None:
                raise ReadError(FailureKind.CREDENTIALS, problem)
            with self.deadline.within(self._timeout):
                yield

    def get(self, page: Page, pace: Pace, **params: str) -> Answer:
        """The answer of a page, 200 and whole; ReadError for any other. Inside `reading` only."""
        pause = pace.paused()
        if pause is not None:
            raise ReadError(pause.kind, pause.text, retry_after=pause.left)
        answer = self._get_signed(page.target(**params), pace)
        if answer.status != 200:
            raise self._refusal(answer, pace)
        if not answer.whole:
            text = f"the answer is larger than {MAX_BODY // 1024 // 1024} MiB"
            raise ReadError(FailureKind.WRONG_SHAPE, text)
        return answer

    def failure(self, error: ReadError | AnswerError, *, feed: str) -> PollFailure:
        """What ended a reading, for the engine; without secrets."""
        return PollFailure(
            account=self.account,
            feed=feed,
            kind=error.kind,
            text=REDACTOR.redact(str(error)),
            retry_after=error.retry_after if isinstance(error, ReadError) else None,
        )

    def cancel(self) -> None:
        """From any thread: the reading under way fails at once, and so does every later one."""
        self.deadline.cancel()

    def close(self) -> None:
        """Give up the connection; later readings fail."""
        self.cancel()
        self.session.close()

    # ── sending ─────────────────────────────────────────────────────────────

    def _get_signed(self, target: str, pace: Pace) -> Answer:
        _take_room(pace)
        try:
            return self._get(target, self._signature(target))
        except _StaleConnectionError:
            if self.deadline.stopped or not pace.window.try_acquire():
                raise
        return self._get(target, self._signature(target))

    def _signature(self, target: str) -> dict[str, str]:
        epoch = self.clock() - datetime(1970, 1, 1, tzinfo=UTC)
        milliseconds = epoch // timedelta(milliseconds=1)
        if milliseconds == self._last_epoch:
            milliseconds += 1  # two tries must never share a signature
        self._last_epoch = milliseconds
        secret = self._keys.secret_key.reveal()
        return {
            "X-AUTH-APIKEY": self._keys.api_key.reveal(),
            "X-AUTH-SIGNATURE": sign(secret, "GET", target, milliseconds),
            "X-AUTH-EPOCH": str(milliseconds),
        }

    def _get(self, target: str, headers: Mapping[str, str]) -> Answer:
        opened = self.deadline.opened
        try:
            response = self.session.get(
                f"{self._base_url}{target}",
                headers=dict(headers),
                timeout=(self.deadline.remaining(), self.deadline.remaining()),
                allow_redirects=False,
                stream=True,
            )
        except _WIRE_ERRORS as error:
            dropped = any(isinstance(cause, _DROPPED) for cause in causes(error))
            kept = self.deadline.opened == opened
            failure = self._wire_failure(error)
            if dropped and kept and not self.deadline.stopped:
                raise _StaleConnectionError(failure.kind, failure.text) from None
            raise failure from None
        with response:
            return self._take(response)

    def _take(self, response: requests.Response) -> Answer:
        status = response.status_code
        try:
            body, whole = _read(response, MAX_BODY if status == 200 else MAX_ERROR_BODY)
        except _WIRE_ERRORS as error:
            if status == 200:
                raise self._wire_failure(error) from None
            body, whole = b"", False  # the status says enough
        if status == 200 and self.deadline.stopped:
            # a body without a length ends where the deadline shut its socket, and looks complete
            raise self._wire_failure(TimeoutError())
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(status=status, headers=headers, body=body, whole=whole, at=self.clock())

    def _wire_failure(self, error: BaseException) -> ReadError:
        limit = _seconds(self._timeout)
        if self.deadline.cancelled:
            text = "cancelled"
        elif self.deadline.expired:
            text = unfinished(error, host=self._host, limit=limit)
        else:
            text = sentence(error, host=self._host, limit=limit)
        return ReadError(FailureKind.NETWORK, text)

    # ── what a refusal means ────────────────────────────────────────────────

    def _refusal(self, answer: Answer, pace: Pace) -> ReadError:
        error = self._meaning(answer, pace)
        error.status = answer.status
        return error

    def _meaning(self, answer: Answer, pace: Pace) -> ReadError:
        status = answer.status
        if status in _MAY_BE_THE_CLOCK:
            return self._not_accepted(answer)
        if status == 429:
            return _limited(answer, pace)
        nearer = in_between(status)
        if nearer is not None:
            return ReadError(FailureKind.NETWORK, nearer)
        if 500 <= status < 600:
            return _down(answer, pace)
        if 300 <= status < 400:
            return ReadError(FailureKind.NETWORK, _redirect_text(answer))
        return ReadError(FailureKind.WRONG_SHAPE, f"unexpected answer {answer.said}")

    def _not_accepted(self, answer: Answer) -> ReadError:
        """The exchange says the same of a wrong key and of an epoch that is no longer true."""
        off = self._clock_offset(answer)
        if off is not None and abs(off) > CLOCK_TOLERANCE:
            by = format_duration(timedelta(seconds=round(abs(off).total_seconds())))
            direction = "behind" if off > ZERO else "ahead of"
            text = f"this machine's clock is {by} {direction} the exchange's ({answer.said})"
            return ReadError(FailureKind.CLOCK, text)
        if answer.status == 401:
            clock = "the clock is right" if off is not None else "the clock could not be compared"
            text = f"the exchange does not accept this key ({answer.said}); {clock}"
            return ReadError(FailureKind.CREDENTIALS, text)
        if answer.status == 403:
            return _forbidden(answer)
        return ReadError(FailureKind.WRONG_SHAPE, f"unexpected answer {answer.said}")

    def _clock_offset(self, refused: Answer) -> timedelta | None:
        """Server time minus local time, as little as it can be; None where nobody tells it."""
        signed, before = _instant(self._last_epoch), self.clock()
        try:
            answer = self._get(TIME.target(), {})
        except ReadError:
            return _offset_by_date(refused, asked=signed)
        server = parse_server_time(answer.body) if answer.status == 200 else None
        if server is None:
            return _offset_by_date(refused, asked=signed)
        # the server read its clock somewhere between these two, however slow the answer was
        return min(server - before, ZERO) or max(server - answer.at, ZERO)


def _take_room(pace: Pace) -> None:
    if pace.window.try_acquire():
        return
    limit = f"{pace.requests} per {_seconds(pace.length)}"
    wait = timedelta(seconds=min(pace.window.wait_time(), 86_400.0))
    text = f"own limit of {limit} used up"
    raise ReadError(FailureKind.RATE_LIMIT, text, retry_after=wait)


def _limited(answer: Answer, pace: Pace) -> ReadError:
    wait = _retry_after(answer) or DEFAULT_RETRY_AFTER
    return _block(pace, FailureKind.RATE_LIMIT, f"too many requests ({answer.said})", wait)


def _down(answer: Answer, pace: Pace) -> ReadError:
    text = f"the exchange answers {answer.said}"
    wait = _retry_after(answer)
    if wait is None:
        return ReadError(FailureKind.EXCHANGE_DOWN, text)
    return _block(pace, FailureKind.EXCHANGE_DOWN, text, wait)


def _block(pace: Pace, kind: FailureKind, text: str, wait: timedelta) -> ReadError:
    pause = pace.pause(kind, REDACTOR.redact(text), wait)
    return ReadError(kind, pause.text, retry_after=pause.left)


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


def _offset_by_date(answer: Answer, *, asked: datetime) -> timedelta | None:
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


def _forbidden(answer: Answer) -> ReadError:
    if message_of(answer.body) is None:
        return ReadError(FailureKind.EXCHANGE_DOWN, "refused in front of the exchange (403)")
    text = f"the exchange does not allow this ({answer.said})"
    return ReadError(FailureKind.CREDENTIALS, text)


def _retry_after(answer: Answer) -> timedelta | None:
    """What the answer asks for, a second at least; None where it asks for nothing readable."""
    wait = retry_after(answer.headers.get("retry-after", ""), now=answer.at)
    return None if wait is None else max(wait, SHORTEST_RETRY_AFTER)


def _redirect_text(answer: Answer) -> str:
    host = host_of(answer.headers.get("location", ""))
    where = f"to host {host}" if host else f"({answer.status})"
    return f"redirect {where} not followed"


def _seconds(duration: timedelta) -> str:
    """A duration as the rules file has it: 60s, not 1m."""
    whole, rest = divmod(duration, timedelta(seconds=1))
    return f"{whole}s" if not rest else format_duration(duration)
