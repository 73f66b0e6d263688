"""What the little servers of this folder have in common: their start, and their end."""

from __future__ import annotations

import contextlib
import http.server
import socket
import socketserver
import ssl
import threading
from types import TracebackType
from typing import Any, Self


class HttpServer(http.server.ThreadingHTTPServer):
    """On 127.0.0.1, with a thread for each connection; `port` 0 is any free one."""

    daemon_threads = True
    # a whole test suite's connections must not pile up in front of a busy machine
    request_queue_size = 64

    def __init__(
        self,
        handler: type[http.server.BaseHTTPRequestHandler],
        *,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self._lock = threading.Condition()
        self._live: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), handler)

    def server_bind(self) -> None:
        """As HTTPServer's, without asking for the machine's own name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def get_request(self) -> tuple[socket.socket, Any]:
        """As the library's; the connection counts as live from now on."""
        sock, address = super().get_request()
        if self._tls is not None:
            # the handshake is the handler thread's: a slow client must not stop the others
            sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._live.add(sock)
        return sock, address

    def shutdown_request(self, request: Any) -> None:
        """As the library's; the connection is over."""
        super().shutdown_request(request)
        with self._lock:
            self._live.discard(request)
            self._lock.notify_all()

    def hang_up(self) -> None:
        """End every connection and wait for its thread to have closed it."""
        with self._lock:
            for sock in self._live:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
            self._lock.wait_for(lambda: not self._live, timeout=2.0)


class Served:
    """Answers while its `with` block lasts; the port is taken when it is made."""

    def __init__(self, server: HttpServer, *, name: str) -> None:
        self._server = server
        self.port = server.server_port
        self._thread = threading.Thread(
            target=server.serve_forever, args=(0.02,), name=name, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()
