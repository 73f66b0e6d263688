"""A webhook receiver on this machine: where the demo's and the tests' messages arrive."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from alerting.sandbox.server import HttpServer, Served

_LARGEST = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """One message as it arrived."""

    #: the path of the URL that it was sent to, without slashes around it
    box: str
    title: str
    message: str


class Inbox(Served):
    """Accepts what Apprise's json:// sends, while its `with` block lasts.

    `on_message` is called in the server's thread for each one. `status` is what it answers.
    """

    def __init__(self, on_message: Callable[[Received], None] = lambda _: None) -> None:
        self.status = 200
        self._on_message = on_message
        self._lock = threading.Lock()
        self._received: list[Received] = []
        inbox = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = min(int(self.headers.get("Content-Length", "0")), _LARGEST)
                status = inbox.take(self.path, json.loads(self.rfile.read(length)))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        super().__init__(HttpServer(Handler), name="inbox")

    def url(self, box: str) -> str:
        """The Apprise URL of one box of this inbox."""
        return f"json://127.0.0.1:{self.port}/{box}"

    @property
    def received(self) -> list[Received]:
        """Everything accepted so far, in order."""
        with self._lock:
            return list(self._received)

    def take(self, path: str, document: dict[str, Any]) -> int:
        """Book one message; the status to answer."""
        status = self.status
        if status == 200:
            message = Received(
                box=path.strip("/"), title=document["title"], message=document["message"]
            )
            with self._lock:
                self._received.append(message)
            self._on_message(message)
        return status
