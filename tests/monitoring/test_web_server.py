"""Pages over HTTP: real sockets, on loopback."""

from __future__ import annotations

import http.client
import socket
import threading
import time

import pytest

from alerting.errors import UsageError
from alerting.loops import Loops
from alerting.monitoring.web_server import Limits, Page, WebServer, parse_listen
from tests.support.waiting import wait_until
from tests.support.web import ask, port_of, raw


@pytest.fixture
def serve():
    servers = []

    def start(make=lambda: Page(text="hello\n"), **limits):
        server = WebServer("127.0.0.1:0", {"/page": make}, limits=Limits(**limits))
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.close()


# ── where to listen ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("127.0.0.1:9099", ("127.0.0.1", 9099), id="address"),
        pytest.param("localhost:0", ("localhost", 0), id="any-port"),
        pytest.param("[::1]:9099", ("::1", 9099), id="ipv6"),
        pytest.param("0.0.0.0:65535", ("0.0.0.0", 65535), id="all-addresses"),
    ],
)
def test_where_to_listen(text, expected):
    assert parse_listen(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("9099", id="port-alone"),
        pytest.param(":9099", id="no-host-by-mistake-is-not-all-hosts"),
        pytest.param("localhost", id="host-alone"),
        pytest.param("localhost:", id="no-port"),
        pytest.param("localhost:http", id="named-port"),
        pytest.param("localhost:-1", id="negative"),
        pytest.param("localhost:65536", id="too-large"),
        pytest.param("localhost:٩", id="not-ascii"),
        pytest.param("::1:9099", id="ipv6-without-brackets"),
        pytest.param("[]:9099", id="empty-brackets"),
        pytest.param("http://localhost:9099", id="a-url"),
    ],
)
def test_a_malformed_address_is_named(text):
    with pytest.raises(UsageError, match="--listen") as caught:
        parse_listen(text)

    assert repr(text) in str(caught.value)


def test_a_port_in_use_is_a_clear_error():
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"--listen {listen}: Address already in use"):
            WebServer(listen, {})


def test_a_host_that_is_not_there_is_a_clear_error(monkeypatch):
    def unknown(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UsageError, match="--listen nowhere:1: Name or service not known"):
        WebServer("nowhere:1", {})


def test_it_listens_on_ipv6_where_the_machine_has_it():
    try:
        server = WebServer("[::1]:0", {"/page": lambda: Page(text="six\n")})
    except UsageError:
        pytest.skip("no IPv6 here")
    server.start()
    try:
        assert server.address.startswith("http://[::1]:")
        connection = http.client.HTTPConnection("::1", port_of(server), timeout=5)
        connection.request("GET", "/page")
        assert connection.getresponse().read() == b"six\n"
        connection.close()
    finally:
        server.close()


# ── answers ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        pytest.param("GET", "/page", 200, "hello\n", id="get"),
        pytest.param("HEAD", "/page", 200, "", id="head"),
        pytest.param("GET", "/page?x=1", 200, "hello\n", id="with-a-query"),
        pytest.param("GET", "/", 404, "404 Not Found\n", id="root"),
        pytest.param("GET", "/page/", 404, "404 Not Found\n", id="another-path"),
        pytest.param("GET", "/../../etc/passwd", 404, "404 Not Found\n", id="no-files"),
        pytest.param("POST", "/page", 405, "405 Method Not Allowed\n", id="post"),
        pytest.param("DELETE", "/page", 405, "405 Method Not Allowed\n", id="delete"),
    ],
)
def test_only_the_pages_are_served_and_only_to_read(serve, method, path, status, body):
    answer = ask(serve(), path, method)

    assert answer[:2] == (status, body)
    assert answer[2]["Cache-Control"] == "no-store"
    assert answer[2].get("Allow") == ("GET, HEAD" if status == 405 else None)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", b"505", id="version"),
        pytest.param(b"GET /page HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n", b"431", id="headers"),
        pytest.param(b"GET /" + b"x" * 8200 + b" HTTP/1.1\r\n\r\n", b"431", id="long-line"),
        pytest.param(b"a b c d e\r\n\r\n", b"400", id="no-http"),
        pytest.param(b"\x16\x03\x01\x02\x00\n\n", b"400", id="tls"),
    ],
)
def test_what_is_no_request_gets_a_short_refusal(serve, request_, status):
    answer = raw(serve(), request_)

    assert status in answer.split(b"\r\n")[0]
    assert len(answer) < 400
    assert b"<" not in answer


def test_a_flood_of_headers_is_not_read_to_its_end(serve):
    server = serve()
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=5) as connection:
        with pytest.raises(OSError):
            while True:
                connection.sendall(b"x: " + b"y" * 1000 + b"\r\n")
    assert time.monotonic() - began < Limits().patience - 2
    assert ask(server)[0] == 200


def test_an_answer_to_head_has_no_body(serve):
    head, _, body = raw(serve(), b"HEAD /page HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")

    assert b"Content-Length: 6" in head
    assert body == b""


# ── slow and many clients ───────────────────────────────────────────────────


def test_a_slow_client_is_left_after_its_time_however_it_drips(serve):
    server = serve(patience=0.3)
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=5) as connection:
        with pytest.raises(OSError):
            for _ in range(200):
                connection.sendall(b"G")
                time.sleep(0.02)
    assert time.monotonic() - began < 2
    assert ask(server)[0] == 200


def test_a_client_that_says_nothing_is_left(serve):
    began = time.monotonic()

    assert raw(serve(patience=0.3), b"") == b""
    assert time.monotonic() - began < 2


def test_a_client_that_says_nothing_delays_no_other(serve):
    server = serve(patience=2)
    with socket.create_connection(("127.0.0.1", port_of(server))):
        began = time.monotonic()
        assert ask(server)[0] == 200
        assert time.monotonic() - began < 1


def test_a_client_that_does_not_read_is_left(serve):
    asked = threading.Event()

    def make():
        asked.set()
        return Page(text="x" * 50_000_000)

    server = serve(make, patience=0.3)
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=5) as connection:
        connection.sendall(b"GET /page HTTP/1.0\r\n\r\n")
        assert asked.wait(5)
        wait_until(lambda: server._server._room._value == Limits().connections)


def test_connections_beyond_the_limit_are_refused_and_room_comes_back(serve):
    server = serve(patience=0.5)
    slow = [
        socket.create_connection(("127.0.0.1", port_of(server)), timeout=5)
        for _ in range(Limits().connections)
    ]
    try:
        assert raw(server, b"GET /page HTTP/1.0\r\n\r\n") == b""
    finally:
        for connection in slow:
            connection.close()
    wait_until(lambda: b"hello" in raw(server, b"GET /page HTTP/1.0\r\n\r\n"))


def test_a_page_is_made_once_for_many_readers(serve):
    made = []

    def make():
        made.append(1)
        return Page(text="x")

    server = serve(make)
    for _ in range(20):
        ask(server)
    assert len(made) <= 2


def test_a_page_is_made_anew_after_a_while(serve):
    count = iter(range(9))
    server = serve(lambda: Page(text=str(next(count))), keep=0.0)

    assert [ask(server)[1] for _ in range(3)] == ["0", "1", "2"]


def test_a_mistake_of_ours_is_logged_and_the_server_goes_on(serve, caplog):
    pages = iter([ZeroDivisionError(), Page(text="fine")])

    def make():
        page = next(pages)
        if isinstance(page, Exception):
            raise page
        return page

    server = serve(make)
    with pytest.raises(http.client.BadStatusLine):
        ask(server)
    assert ask(server)[1] == "fine"
    assert "a page could not be shown" in caplog.text


def test_closing_frees_the_port_even_before_it_served():
    server = WebServer("127.0.0.1:0", {})
    port = port_of(server)
    server.close()
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_server_that_dies_serves_again(monkeypatch):
    loops, deaths = Loops(), []
    server = WebServer("127.0.0.1:0", {"/": lambda: Page(text="hello\n")})
    actions = server._server.service_actions

    def dies_once():
        if not deaths:
            deaths.append(1)
            raise MemoryError
        actions()

    monkeypatch.setattr(server._server, "service_actions", dies_once)
    server.start(loops)
    wait_until(
        lambda: [str(each) for each in loops.look()] == ["the web server died (MemoryError)"]
    )
    assert ask(server, "/")[0] == 200
    wait_until(lambda: loops.look() == [])
    server.close()
