"""What we rely on in the HTTP libraries."""

from __future__ import annotations

import socket
import threading
import time
from datetime import timedelta

import pytest
import requests

from alerting.net.apprise_probe import probing
from tests.support.servers import HttpServer, Reply


def test_contract_patch_points_see_every_request():
    server = HttpServer(Reply(200, "fine"))
    try:
        with probing(timedelta(seconds=5)) as probe:
            requests.post(f"http://127.0.0.1:{server.port}/", data=b"x", timeout=2)
        requests.post(f"http://127.0.0.1:{server.port}/", data=b"x", timeout=2)
    finally:
        server.close()
    (exchange,) = probe.requests
    assert (exchange.status, exchange.body, exchange.sent) == (200, b"fine", True)
    assert len(server.requests) == 2


def test_a_name_that_never_resolves_ends_in_time(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: release.wait(5))
    started = time.monotonic()
    try:
        with probing(timedelta(seconds=0.2)) as probe, pytest.raises(requests.ConnectTimeout):
            requests.post("http://service.invalid/", data=b"x", timeout=30)
    finally:
        release.set()
    assert time.monotonic() - started < 1.2
    (request,) = probe.requests
    assert (request.sent, request.status) == (False, None)
    assert request.failure == "no complete answer within 0.2 s"
