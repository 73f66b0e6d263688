"""Watches what Apprise's plugins do on the wire, and bounds how long they may take.

Apprise says only yes or no. While `probing()` is entered, three functions of the HTTP libraries
report to the probe of the calling thread; outside of it they do what they always did. They are
patched once per process; tests/notify/test_receivers.py holds the contract.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from alerting.net.http_attempt import HttpAttempt
from alerting.redaction import RedactingFilter

if TYPE_CHECKING:
    import requests

_MAX_BODY = 1 << 20
_MAX_CAUSES = 20
_MARK = "_alerting_probe"


class Probe:
    """Collects the exchanges of one send, and ends them all when the time is up."""

    def __init__(self, total: timedelta) -> None:
        self.requests: list[HttpAttempt] = []
        self.expired = False
        self._total = total
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(total.total_seconds(), self._expire)
        self._timer.daemon = True
        self._timer.start()

    def watch(self, connection: socket.socket) -> None:
        """End this connection too when the time is up; a copy stays valid under TLS."""
        with self._lock:
            if self.expired:
                raise TimeoutError("out of time")
            self._sockets.append(connection.dup())

    def mark_sent(self) -> None:
        """From here on the present request may arrive."""
        if self.requests:
            self.requests[-1].sent = True

    def explain(self, error: BaseException) -> str:
        """Say in a few words, without any URL, what broke."""
        if self.expired:
            return f"no complete answer within {self._total.total_seconds():g} s"
        return explain(error)

    def close(self) -> None:
        """Stop the clock and let go of the connections."""
        self._timer.cancel()
        with self._lock:
            self.expired = True
            for copy in self._sockets:
                copy.close()
            self._sockets.clear()

    def _expire(self) -> None:
        with self._lock:
            self.expired = True
            for copy in self._sockets:
                with contextlib.suppress(OSError):
                    copy.shutdown(socket.SHUT_RDWR)


_PROBE: ContextVar[Probe | None] = ContextVar("alerting_probe", default=None)
_SILENT: ContextVar[bool] = ContextVar("alerting_silent", default=False)
_INSTALLING = threading.Lock()


@contextlib.contextmanager
def probing(total: timedelta) -> Iterator[Probe]:
    """Watch all HTTP exchanges of this thread, for at most `total`."""
    install()
    probe = Probe(total)
    token = _PROBE.set(probe)
    try:
        yield probe
    finally:
        _PROBE.reset(token)
        probe.close()


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Drop what Apprise logs in this thread: while it loads a URL, it prints tokens."""
    install()
    token = _SILENT.set(True)
    try:
        yield
    finally:
        _SILENT.reset(token)


class _Guard(RedactingFilter):
    """On the loggers themselves, since anybody may have added a handler of their own."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _SILENT.get() and super().filter(record)


def install() -> None:
    """Put the probe under requests and urllib3, and the guard on their loggers; once."""
    import requests.adapters
    import urllib3.connection
    import urllib3.util.connection

    with _INSTALLING:
        if hasattr(requests.adapters.HTTPAdapter.send, _MARK):
            return
        _guard_loggers()
        network = urllib3.util.connection
        connection = urllib3.connection.HTTPConnection
        connect = _watched_connect(network.create_connection)
        setattr(network, "create_connection", connect)  # noqa: B010 - a patch, not a typo
        setattr(connection, "request", _watched_request(connection.request))  # noqa: B010
        adapter = requests.adapters.HTTPAdapter
        send = _watched_send(adapter.send)
        setattr(send, _MARK, True)
        setattr(adapter, "send", send)  # noqa: B010


def _guard_loggers() -> None:
    known = list(logging.root.manager.loggerDict)
    families = ("apprise", "urllib3", "requests")
    names = {"apprise", "urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry"}
    names |= {name for name in known if name.startswith(families)}
    for name in names:
        logging.getLogger(name).addFilter(_Guard())


def _watched_connect(original: Any) -> Any:
    @functools.wraps(original)
    def create_connection(*args: Any, **kwargs: Any) -> socket.socket:
        connection: socket.socket = original(*args, **kwargs)
        probe = _PROBE.get()
        if probe is not None:
            try:
                probe.watch(connection)
            except OSError:
                connection.close()
                raise
        return connection

    return create_connection


def _watched_request(original: Any) -> Any:
    @functools.wraps(original)
    def request(connection: Any, *args: Any, **kwargs: Any) -> Any:
        probe = _PROBE.get()
        if probe is not None:
            if connection.sock is None:
                # plain HTTP would connect within the request
                connection.connect()
            probe.mark_sent()
        return original(connection, *args, **kwargs)

    return request


def _watched_send(original: Any) -> Any:
    import requests
    import urllib3.exceptions

    broken = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)

    @functools.wraps(original)
    def send(adapter: Any, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        probe = _PROBE.get()
        if probe is None:
            response: requests.Response = original(adapter, request, *args, **kwargs)
            return response
        exchange = HttpAttempt(host=urlsplit(request.url).hostname or "")
        probe.requests.append(exchange)
        try:
            response = original(adapter, request, *args, **kwargs)
            _read(response, exchange, stream=bool(kwargs.get("stream")))
            if probe.expired:
                # a connection that we ended looks like an answer that was that short
                exchange.complete, exchange.failure = False, probe.explain(TimeoutError())
        except broken as error:
            exchange.failure = probe.explain(error)
            raise
        return response

    return send


def _read(response: requests.Response, exchange: HttpAttempt, *, stream: bool) -> None:
    """Note the answer and, of a body of any size, the first megabyte."""
    exchange.status = response.status_code
    exchange.headers = {key.lower(): value for key, value in response.headers.items()}
    if stream:
        # the plugin reads it in its own way; the status must do
        exchange.complete = True
        return
    body = bytearray()
    try:
        for chunk in response.iter_content(65536):
            body += chunk
            if len(body) > _MAX_BODY:
                break
    finally:
        exchange.body = bytes(body[:_MAX_BODY])
        response.close()
    exchange.complete = True
    setattr(response, "_content", exchange.body)  # noqa: B010 - what .content would have kept


def explain(error: BaseException) -> str:
    """Say in a few words, without any URL, what is at the bottom of a failure."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
    for kind, words in (
        (socket.gaierror, "its name is not found"),
        (ConnectionRefusedError, "connection refused"),
        (ssl.SSLError, "TLS failed"),
        (TimeoutError, "timed out"),
        ((ConnectionResetError, BrokenPipeError, http.client.HTTPException), "connection lost"),
    ):
        if any(isinstance(cause, kind) for cause in causes):
            return words
    bottom = causes[-1]
    return bottom.strerror if isinstance(bottom, OSError) and bottom.strerror else _kind(error)


def _kind(error: BaseException) -> str:
    return type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that it wraps, in whatever way the libraries wrap."""
    waiting: list[BaseException] = [error]
    seen: list[BaseException] = []
    while waiting and len(seen) < _MAX_CAUSES:
        cause = waiting.pop(0)
        if any(cause is known for known in seen):
            continue
        seen.append(cause)
        yield cause
        inner = [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
        waiting += [item for item in inner if isinstance(item, BaseException)]
