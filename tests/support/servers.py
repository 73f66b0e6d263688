"""Real servers on loopback for the notifiers' tests: HTTPS and SMTP that behave as scripted."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


@dataclass(frozen=True)
class Reply:
    """A whole HTTP answer."""

    status: int = 200
    body: bytes | str | dict[str, Any] = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        body = self.body
        if isinstance(body, dict):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        headers = {"Content-Length": str(len(body)), "Connection": "close", **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} X\r\n{lines}\r\n".encode() + body

    def __call__(self, connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(self.encode())


def hang(connection: socket.socket, stop: threading.Event) -> None:
    """Take the request and say nothing."""
    stop.wait(30)


def hang_up(connection: socket.socket, stop: threading.Event) -> None:
    """Take the request and close the connection."""


def drip(connection: socket.socket, stop: threading.Event) -> None:
    """Send an answer so slowly that no single wait is long."""
    with contextlib.suppress(OSError):
        for byte in b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 10_000:
            if stop.wait(0.02):
                return
            connection.sendall(bytes([byte]))


def drip_body(connection: socket.socket, stop: threading.Event) -> None:
    """Send the head at once and the body byte by byte."""
    with contextlib.suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
        while not stop.wait(0.02):
            connection.sendall(b"o")


Behaviour = Callable[[socket.socket, threading.Event], None]


@dataclass
class Request:
    """What arrived."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


class Server:
    """Accepts on loopback and handles each connection in a thread of its own."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._stop = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self.port: int = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(5)
        self._socket.close()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(10)
            if self._context is None:
                self.handle(connection)
                return
            with self._context.wrap_socket(connection, server_side=True) as secured:
                self.handle(secured)

    def handle(self, connection: socket.socket) -> None:
        raise NotImplementedError


class HttpServer(Server):
    """Answers requests with the script's behaviours in turn; the last one repeats."""

    def __init__(self, *script: Behaviour, context: ssl.SSLContext | None = None) -> None:
        self.script = list(script)
        self.requests: list[Request] = []
        super().__init__(context)

    def handle(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            line = stream.readline().decode().strip()
            headers = {}
            for raw in iter(stream.readline, b"\r\n"):
                name, _, value = raw.decode().partition(":")
                headers[name.strip().lower()] = value.strip()
            body = stream.read(int(headers.get("content-length", "0")))
            self.requests.append(Request(line, headers, body))
            behaviour = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            behaviour(connection, self._stop)


class SilentServer(Server):
    """Accepts and never says a word: no TLS handshake, no greeting."""

    def handle(self, connection: socket.socket) -> None:
        self._stop.wait(30)


class RawSmtpServer(Server):
    """SMTP without aiosmtpd, for what it cannot do: drop or hang at a chosen point."""

    def __init__(self, *, at: str, then: str) -> None:
        self.at, self.then = at, then
        self.received: list[bytes] = []
        super().__init__()

    def handle(self, connection: socket.socket) -> None:
        with connection.makefile("rwb", buffering=0) as stream:
            stream.write(b"220 raw\r\n")
            while line := stream.readline():
                verb = line.split()[0].upper().decode()
                if verb == self.at and verb != "DATA":
                    return self._end()
                if verb != "DATA":
                    stream.write(b"250 fine\r\n")
                    continue
                stream.write(b"354 go on\r\n")
                data = b"".join(iter(stream.readline, b".\r\n"))
                self.received.append(data)
                if self.at == "DATA":
                    return self._end()
                stream.write(b"250 taken\r\n")
        return None

    def _end(self) -> None:
        if self.then == "hang":
            self._stop.wait(30)


class Inbox:
    """An aiosmtpd handler that refuses as told and keeps what it accepted."""

    def __init__(self, *, rcpt: Mapping[str, str] | None = None, data: str = "250 taken") -> None:
        self.rcpt = dict(rcpt or {})
        self.data = data
        self.messages: list[tuple[list[str], bytes]] = []

    async def handle_RCPT(self, server, session, envelope, address, options):
        answer = self.rcpt.get(address, "250 fine")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server, session, envelope):
        if self.data.startswith("250"):
            self.messages.append((list(envelope.rcpt_tos), envelope.content))
        return self.data


def _authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=data.password == b"right-password", handled=False)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def smtp_server(
    inbox: Inbox,
    *,
    starttls: ssl.SSLContext | None = None,
    implicit: ssl.SSLContext | None = None,
) -> Iterator[int]:
    """A real SMTP server; yields its port. Logins want the password `right-password`."""
    controller = Controller(
        inbox,
        hostname="127.0.0.1",
        port=free_port(),
        ssl_context=implicit,
        tls_context=starttls,
        authenticator=_authenticate,
        auth_require_tls=starttls is not None,
        decode_data=False,
    )
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


class Network:
    """Stands for DNS: known names lead to loopback ports, all others do not exist."""

    def __init__(self) -> None:
        self.ports: dict[str, int | None] = {}
        self._real = socket.getaddrinfo

    def __call__(self, host, port, *args, **kwargs):
        name = host.decode() if isinstance(host, bytes) else host
        if name in self.ports:
            target = self.ports[name] or port
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(target)))]
        if name in {"127.0.0.1", "localhost"}:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(port)))]
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class Certificates:
    """A certificate authority of the test's own, and one that nobody trusts."""

    def __init__(self) -> None:
        self.authority = trustme.CA()
        self.stranger = trustme.CA()

    def context(self, *names: str, trusted: bool = True) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issuer = self.authority if trusted else self.stranger
        issuer.issue_cert(*names).configure_cert(context)
        return context
