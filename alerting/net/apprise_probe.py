"""Watches what Apprise's plugins do on the wire, and bounds how long they may take.

Apprise says only yes or no. While `probing()` is entered, four functions of the HTTP libraries
report to the probe of the calling thread; outside of it they do what they always did. They are
patched once per process; tests/net/test_apprise_probe.py holds the contract.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import requests
import urllib3.connection
import urllib3.exceptions
import urllib3.util.connection

from alerting.net import local
from alerting.net.deadline import Deadline, deadline
from alerting.net.failures import LocalFault
from alerting.net.http_attempt import HttpAttempt
from alerting.redaction import RedactingFilter

_MAX_BODY = 1 << 20
_MARK = "_alerting_probe"


class Probe:
    """The HTTP requests of one send, and the deadline that ends them all."""

    def __init__(self, deadline: Deadline) -> None:
        self.requests: list[HttpAttempt] = []
        self.deadline = deadline

    def mark_sent(self) -> None:
        """From here on the present request may arrive."""
        if self.requests:
            self.requests[-1].sent = True


_PROBE: ContextVar[Probe | None] = ContextVar("alerting_probe", default=None)
_SILENT: ContextVar[bool] = ContextVar("alerting_silent", default=False)
_INSTALLING = threading.Lock()


@contextlib.contextmanager
def probing(total: timedelta) -> Iterator[Probe]:
    """Watch all HTTP requests of this thread, for at most `total`."""
    install()
    with deadline(total) as bounded:
        probe = Probe(bounded)
        token = _PROBE.set(probe)
        try:
            yield probe
        finally:
            _PROBE.reset(token)


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
    with _INSTALLING:
        if hasattr(requests.adapters.HTTPAdapter.send, _MARK):
            return
        _guard_loggers()
        network = urllib3.util.connection
        connection = urllib3.connection.HTTPConnection
        connect = _watched_connect(network.create_connection)
        setattr(network, "create_connection", connect)  # noqa: B010 - a patch, not a typo
        setattr(connection, "request", _watched_request(connection.request))  # noqa: B010
        setattr(connection, "_tunnel", _watched_tunnel(connection._tunnel))  # noqa: B010, SLF001
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
    def create_connection(
        address: tuple[str, int],
        timeout: Any = None,
        source_address: Any = None,
        socket_options: Any = None,
    ) -> socket.socket:
        probe = _PROBE.get()
        if probe is None:
            connection: socket.socket = original(address, timeout, source_address, socket_options)
            return connection
        patience = timeout if isinstance(timeout, (int, float)) else None
        return probe.deadline.connect(*address, patience=patience, options=socket_options or ())[0]

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


def _watched_tunnel(original: Any) -> Any:
    @functools.wraps(original)
    def _tunnel(connection: Any) -> None:
        with local.tunnelling() if _PROBE.get() else contextlib.nullcontext():
            original(connection)

    return _tunnel


def _watched_send(original: Any) -> Any:
    broken = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)

    @functools.wraps(original)
    def send(adapter: Any, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        probe = _PROBE.get()
        if probe is None:
            response: requests.Response = original(adapter, request, *args, **kwargs)
            return response
        attempt = HttpAttempt()
        probe.requests.append(attempt)
        try:
            response = local.send(functools.partial(original, adapter), request, *args, **kwargs)
            _read(response, attempt, stream=bool(kwargs.get("stream")))
            if probe.deadline.expired:
                # a connection that we ended looks like an answer that was that short
                attempt.complete, attempt.failure = False, probe.deadline.explain(TimeoutError())
        except broken as error:
            attempt.failure = probe.deadline.explain(error)
            if isinstance(error, LocalFault) and error.unsent:
                attempt.sent = False
            raise
        return response

    return send


def _read(response: requests.Response, attempt: HttpAttempt, *, stream: bool) -> None:
    """Note the answer and, of a body of any size, the first megabyte."""
    attempt.status = response.status_code
    attempt.headers = {key.lower(): value for key, value in response.headers.items()}
    if stream:
        # the plugin reads it in its own way; the status must do
        attempt.complete = True
        return
    body = bytearray()
    try:
        for chunk in response.iter_content(65536):
            body += chunk
            if len(body) > _MAX_BODY:
                break
    finally:
        attempt.body = bytes(body[:_MAX_BODY])
        response.close()
    attempt.complete = True
    setattr(response, "_content", attempt.body)  # noqa: B010 - what .content would have kept
