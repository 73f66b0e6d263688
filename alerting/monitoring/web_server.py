"""A few pages over HTTP on the daemon's side; slow or many readers hold up nothing else."""

from __future__ import annotations

import io
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from alerting.errors import UsageError
from alerting.loops import Duty, Loop, Loops, Run

log = logging.getLogger("alerting.web")

_MAX_HEAD = 8192
_SHUTDOWN_POLL = 0.1
# Seconds; taking one request lasts moments, its answer has a thread of its own.
_STUCK = 30.0
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How far the server goes along with its clients."""

    #: seconds; a request must be here, and its answer gone, within so many each
    patience: float = 5.0
    #: at the same time
    connections: int = 8
    #: seconds; a page is made at most so often, however often it is asked for
    keep: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One answer."""

    text: str
    status: int = HTTPStatus.OK
    content_type: str = _TEXT


def parse_listen(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `[::1]:PORT` as host and port; UsageError for anything else."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host.strip("[]") or (":" in host and not bracketed):
        raise UsageError(
            f"--listen {text!r} must be HOST:PORT, as 127.0.0.1:9099, [::1]:9099 or, for all "
            "addresses of this machine, 0.0.0.0:9099"
        )
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise UsageError(f"--listen {text!r}: the port {port!r} must be a number from 0 to 65535")
    return (host[1:-1] if bracketed else host), int(port)


class WebServer:
    """Serves pages by path; the port is taken when it is made, answers begin with `start`."""

    def __init__(
        self, listen: str, pages: Mapping[str, Callable[[], Page]], *, limits: Limits | None = None
    ) -> None:
        limits = limits or Limits()
        kept = {path: _Kept(make, limits.keep) for path, make in pages.items()}
        self._server = _bind(listen, kept, limits)
        self._loop: Loop | None = None

    @property
    def address(self) -> str:
        """Where it listens, as a URL; with the real port where 0 was asked for."""
        host, port = self._server.server_address[:2]
        name = f"[{host!s}]" if self._server.address_family == socket.AF_INET6 else str(host)
        return f"http://{name}:{port}"

    def start(self, loops: Loops | None = None) -> None:
        """Answer from now on, in threads of its own; the one that listens is among the `loops`."""
        loops = loops or Loops()
        self._loop = loops.start("the web server", self._serve, duty=Duty.SHOW, patience=_STUCK)

    def close(self) -> None:
        """Free the port; answers under way are cut off when the process ends."""
        if self._loop is not None:
            self._loop.end()
            if self._loop.running:
                self._server.shutdown()
                self._loop.join(_STUCK)
        self._server.server_close()

    def _serve(self, run: Run) -> None:
        self._server.run = run
        self._server.serve_forever(_SHUTDOWN_POLL)


def _bind(listen: str, pages: Mapping[str, Callable[[], Page]], limits: Limits) -> _Server:
    host, port = parse_listen(listen)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--listen {listen}: {_words(error)}") from error
    problem: OSError | None = None
    for family, _, _, _, address in found:
        try:
            return _Server(family, address, pages, limits)
        except OSError as error:
            # localhost may mean ::1 on a machine without IPv6: the next address may do
            problem = problem or error
    raise UsageError(f"--listen {listen}: {_words(problem)}") from problem


def _words(error: Exception | None) -> str:
    return getattr(error, "strerror", None) or "this is no host"


class _Kept:
    """A page that is made at most once in a while, by one reader for all."""

    def __init__(self, make: Callable[[], Page], seconds: float) -> None:
        self._make = make
        self._seconds = seconds
        self._lock = threading.Lock()
        self._page: Page | None = None
        self._made_at = 0.0

    def __call__(self) -> Page:
        with self._lock:
            if self._page is None or time.monotonic() - self._made_at >= self._seconds:
                self._page = self._make()
                self._made_at = time.monotonic()
            return self._page


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # with the library's 5, a sixth client at once waits a second for its SYN to be sent again
    request_queue_size = 32
    run: Run | None = None

    def __init__(
        self, family: int, address: Any, pages: Mapping[str, Callable[[], Page]], limits: Limits
    ) -> None:
        self.address_family = family
        self.pages = pages
        self.patience = limits.patience
        self._room = threading.BoundedSemaphore(limits.connections)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """As HTTPServer's, without asking a name server for this machine's name."""
        socketserver.TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)

    def service_actions(self) -> None:
        """Called between two requests: it gets on."""
        if self.run is not None:
            self.run.done()
            self.run.begin()

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for it if there is room; else the client may come again."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            # no thread can be started
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A client that went away is its own affair; all else is a mistake of ours."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            log.debug("a client went away or was too slow")
            return
        log.error("a page could not be shown", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def setup(self) -> None:
        patience = self.server.patience
        super().setup()
        self.rfile.close()
        self._head = _read_head(self.connection, patience)
        self.rfile = io.BytesIO(self._head)
        # sendall takes this for the whole answer
        self.connection.settimeout(patience)

    def handle(self) -> None:
        if len(self._head) <= _MAX_HEAD:
            self.handle_one_request()
            return
        self.requestline, self.request_version, self.command = "", self.default_request_version, ""
        self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def do_GET(self) -> None:
        make = self.server.pages.get(self.path.partition("?")[0])
        if make is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self._answer(make())

    do_HEAD = do_GET  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """In plain text; what the base class does not know how to do is not allowed here."""
        del message, explain
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:
            status = HTTPStatus.METHOD_NOT_ALLOWED
        self._answer(Page(status=status, text=f"{status.value} {status.phrase}\n"))

    def _answer(self, page: Page) -> None:
        body = page.text.encode("utf-8", "replace")
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if page.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        return "alerting"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        log.debug(format, *args)


def _read_head(connection: socket.socket, patience: float) -> bytes:
    """The request up to its empty line, in bounded time and size; TimeoutError if it is slow."""
    deadline = time.monotonic() + patience
    head = bytearray()
    while len(head) <= _MAX_HEAD and b"\r\n\r\n" not in head and b"\n\n" not in head:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        chunk = connection.recv(4096)
        if not chunk:
            break
        head += chunk
    return bytes(head)
