"""Health and metrics over HTTP and in a file: real sockets, on loopback."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from alerting.errors import StoreError, UsageError
from alerting.monitoring import web_server as web
from alerting.monitoring.monitor import Monitoring, write_file
from alerting.monitoring.web_server import Page, WebServer, parse_listen
from alerting.sandbox.exchange import LoopbackExchange, Special, wallet_body
from alerting.sandbox.inbox import Inbox
from alerting.store.state import Store
from tests.monitoring.test_prometheus import make_config, parse
from tests.support import servers
from tests.support.desk import Desk
from tests.support.fakes import FakeClock


@pytest.fixture
def serve():
    servers = []

    def start(**pages):
        made = {f"/{path}": make for path, make in pages.items()}
        server = WebServer("127.0.0.1:0", made or {"/page": lambda: Page(text="hello\n")})
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.close()


def wait_until(reached, *, seconds=5):
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def port_of(server):
    return int(server.address.rpartition(":")[2])


def ask(server, path="/page", method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=5)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.getheaders())
    finally:
        connection.close()


def raw(server, data, *, timeout=5):
    """What comes back on a connection that sends these bytes and then waits."""
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=timeout) as connection:
        connection.sendall(data)
        received = bytearray()
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
        return bytes(received)


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
    assert time.monotonic() - began < web._PATIENCE - 2
    assert ask(server)[0] == 200


def test_an_answer_to_head_has_no_body(serve):
    head, _, body = raw(serve(), b"HEAD /page HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")

    assert b"Content-Length: 6" in head
    assert body == b""


# ── slow and many clients ───────────────────────────────────────────────────


def test_a_slow_client_is_left_after_its_time_however_it_drips(serve, monkeypatch):
    monkeypatch.setattr(web, "_PATIENCE", 0.3)
    server = serve()
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=5) as connection:
        with pytest.raises(OSError):
            for _ in range(200):
                connection.sendall(b"G")
                time.sleep(0.02)
    assert time.monotonic() - began < 2
    assert ask(server)[0] == 200


def test_a_client_that_says_nothing_is_left(serve, monkeypatch):
    monkeypatch.setattr(web, "_PATIENCE", 0.3)
    began = time.monotonic()

    assert raw(serve(), b"") == b""
    assert time.monotonic() - began < 2


def test_a_client_that_says_nothing_delays_no_other(serve, monkeypatch):
    monkeypatch.setattr(web, "_PATIENCE", 2)
    server = serve()
    with socket.create_connection(("127.0.0.1", port_of(server))):
        began = time.monotonic()
        assert ask(server)[0] == 200
        assert time.monotonic() - began < 1


def test_a_client_that_does_not_read_is_left(serve, monkeypatch):
    monkeypatch.setattr(web, "_PATIENCE", 0.3)
    asked = threading.Event()

    def make():
        asked.set()
        return Page(text="x" * 50_000_000)

    server = serve(page=make)
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=5) as connection:
        connection.sendall(b"GET /page HTTP/1.0\r\n\r\n")
        assert asked.wait(5)
        wait_until(lambda: server._server._room._value == web._MOST_CONNECTIONS)


def test_connections_beyond_the_limit_are_refused_and_room_comes_back(serve, monkeypatch):
    monkeypatch.setattr(web, "_PATIENCE", 0.5)
    server = serve()
    slow = [
        socket.create_connection(("127.0.0.1", port_of(server)), timeout=5)
        for _ in range(web._MOST_CONNECTIONS)
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

    server = serve(page=make)
    for _ in range(20):
        ask(server)
    assert len(made) <= 2


def test_a_page_is_made_anew_after_a_while(serve, monkeypatch):
    monkeypatch.setattr(web, "_KEEP_SECONDS", 0.0)
    count = iter(range(9))
    server = serve(page=lambda: Page(text=str(next(count))))

    assert [ask(server)[1] for _ in range(3)] == ["0", "1", "2"]


def test_a_mistake_of_ours_is_logged_and_the_server_goes_on(serve, caplog):
    pages = iter([ZeroDivisionError(), Page(text="fine")])

    def make():
        page = next(pages)
        if isinstance(page, Exception):
            raise page
        return page

    server = serve(page=make)
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


# ── what the daemon shows ───────────────────────────────────────────────────


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "alerting.db")
    yield store
    store.close()


@pytest.fixture
def daemon(store, monkeypatch):
    monkeypatch.setattr(web, "_KEEP_SECONDS", 0.0)
    made = []

    def start(stalled=list):
        monitoring = Monitoring(make_config(), store, clock=FakeClock())
        monitoring.start(listen="127.0.0.1:0")
        monitoring.watch(make_config(), stalled=stalled)
        made.append(monitoring)
        return monitoring

    yield start
    for monitoring in made:
        monitoring.stop()


def test_health_and_metrics_of_a_daemon_that_works(daemon):
    server = daemon()._server

    status, body, headers = ask(server, "/healthz")
    assert (status, body) == (200, "ok\n")
    status, body, headers = ask(server, "/metrics")
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert len(parse(body)) > 10


def test_a_stalled_account_makes_it_unhealthy_and_is_named(daemon):
    stalled = []
    server = daemon(lambda: stalled)._server

    assert ask(server, "/healthz")[0] == 200
    stalled.append("main")
    assert ask(server, "/healthz")[:2] == (503, "accounts whose loop does not get on: main\n")
    stalled.clear()
    assert ask(server, "/healthz")[0] == 200


def test_a_state_file_that_cannot_be_read_makes_both_503(daemon, store):
    server = daemon()._server
    store.close()

    for path in ("/healthz", "/metrics"):
        status, body, _ = ask(server, path)
        assert status == 503
        assert "state file" in body


def test_a_state_file_that_cannot_be_written_makes_it_unhealthy_until_it_can(daemon):
    monitoring = daemon()
    monitoring.report("main", StoreError("state file x: disk full"))

    assert ask(monitoring._server, "/healthz")[:2] == (503, "state file x: disk full\n")
    assert ask(monitoring._server, "/metrics")[0] == 200
    monitoring.report("main", None)
    assert ask(monitoring._server, "/healthz")[0] == 200


def test_a_reload_forgets_the_troubles_of_accounts_that_are_gone(daemon):
    monitoring = daemon()
    monitoring.report("removed", StoreError("disk full"))
    monitoring.watch(make_config(), stalled=list)

    assert monitoring.trouble() is None


def test_slow_clients_do_not_delay_a_poll(daemon, store):
    server = daemon()._server
    slow = [
        socket.create_connection(("127.0.0.1", port_of(server)))
        for _ in range(web._MOST_CONNECTIONS)
    ]
    began = time.monotonic()
    store.set_meta("a poll", "books its result")
    assert time.monotonic() - began < 1
    for connection in slow:
        connection.close()


# ── the metrics file ────────────────────────────────────────────────────────


def test_the_file_is_replaced_in_one_step_and_readable_by_the_collector(tmp_path):
    path = tmp_path / "alerting.prom"
    path.write_text("old")
    before = path.open()
    mask = os.umask(0o077)
    try:
        write_file(path, "new\n")
    finally:
        os.umask(mask)
    assert path.read_text() == "new\n"
    assert before.read() == "old", "whoever reads the old one reads all of it"
    before.close()
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "alerting.prom"
    texts = [f"{n}" * 200_000 for n in (1, 2)]
    write_file(path, texts[0])
    stop = threading.Event()

    def write():
        while not stop.is_set():
            for text in texts:
                write_file(path, text)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert all(path.read_text() in texts for _ in range(100))
    finally:
        stop.set()
        thread.join()


def test_a_draft_that_a_dead_process_left_is_used_again(tmp_path):
    path = tmp_path / "alerting.prom"
    (tmp_path / ".alerting.prom.tmp").write_text("longer than the text that replaces it")
    write_file(path, "whole\n")

    assert path.read_text() == "whole\n"
    assert [p.name for p in tmp_path.iterdir()] == ["alerting.prom"]


def test_a_link_in_the_drafts_place_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".alerting.prom.tmp").symlink_to(victim)

    with pytest.raises(OSError):
        write_file(tmp_path / "alerting.prom", "text\n")
    assert victim.read_text() == "mine"


def test_a_file_that_cannot_be_written_is_a_warning_and_no_success(tmp_path, store, caplog):
    path = tmp_path / "nowhere" / "alerting.prom"
    clock = FakeClock()
    monitoring = Monitoring(make_config(), store, clock=clock, metrics_file=path)

    assert monitoring.after_cycle(began=clock()) is False
    warned = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [record.getMessage() for record in warned] == [
        f"metrics file {path}: No such file or directory"
    ]


def test_a_place_that_is_a_folder_leaves_no_draft(tmp_path, store):
    (tmp_path / "folder" / "x").mkdir(parents=True)
    clock = FakeClock()
    monitoring = Monitoring(make_config(), store, clock=clock, metrics_file=tmp_path / "folder")

    assert monitoring.after_cycle(began=clock()) is False
    assert not (tmp_path / ".folder.tmp").exists()


def test_a_metrics_file_needs_a_name(store):
    with pytest.raises(UsageError, match="must name a file"):
        Monitoring(make_config(), store, clock=FakeClock(), metrics_file=Path("/"))


def test_after_a_cycle_the_file_holds_the_metrics(tmp_path, store):
    path = tmp_path / "alerting.prom"
    clock = FakeClock()
    monitoring = Monitoring(make_config(), store, clock=clock, metrics_file=path)

    assert monitoring.after_cycle(began=clock()) is True
    assert parse(path.read_text()) == parse(monitoring.metrics())


def test_the_daemon_writes_the_file_after_each_cycle(tmp_path, store):
    path = tmp_path / "alerting.prom"
    monitoring = Monitoring(make_config(), store, clock=FakeClock(), metrics_file=path)
    monitoring.start(listen=None)
    try:
        for _ in range(2):
            monitoring.report("main", None)
            wait_until(path.exists)
            path.unlink()
    finally:
        monitoring.stop()


# ── as its user runs it ─────────────────────────────────────────────────────


@pytest.fixture
def desk(tmp_path):
    with LoopbackExchange() as exchange, Inbox() as inbox:
        yield Desk(tmp_path, exchange, inbox)


def test_cron_writes_the_metrics_after_a_failed_poll_too(desk):
    path = desk.folder / "alerting.prom"
    desk.exchange.wallet = wallet_body(total="2000", available="900", rows={})
    code, _, _ = desk.run("run", "--once", "--metrics-file", str(path))
    first = path.read_text()
    desk.exchange.script = lambda _: Special(status=503, answer=b"down")
    failed, _, _ = desk.run("run", "--once", "--metrics-file", str(path))
    second = path.read_text()

    assert (code, failed) == (0, 1)
    firing = 'alerting_alerts{rule="available-balance-floor",severity="warning",state="firing"} 1\n'
    assert firing in first
    assert firing in second
    assert 'alerting_messages_sent_total{receiver="desk"} 1\n' in first
    assert 'alerting_consecutive_poll_failures{account="main"} 0\n' in first
    assert 'alerting_consecutive_poll_failures{account="main"} 1\n' in second
    assert parse(first).keys() == parse(second).keys()
    for secret in (desk.exchange.secret_key, desk.exchange.api_key, desk.inbox.url("desk")):
        assert secret not in first + second


def test_cron_that_cannot_write_the_metrics_is_exit_1(desk):
    desk.exchange.wallet = wallet_body(total="2000", available="1500", rows={})
    code, out, err = desk.run("run", "--once", "--metrics-file", "/nowhere/alerting.prom")

    assert code == 1
    assert "1 of 1 account" in out
    assert "metrics file /nowhere/alerting.prom: No such file or directory" in err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        pytest.param(("--listen", "9099"), "must be HOST:PORT", id="malformed"),
        pytest.param(("--once", "--listen", "127.0.0.1:0"), "for the daemon", id="with-once"),
        pytest.param(("--metrics-file", "/"), "must name a file", id="no-file"),
    ],
)
def test_wrong_usage_is_exit_2(desk, args, said):
    code, out, err = desk.run("run", *args)

    assert (code, out) == (2, "")
    assert said in err


def test_the_daemon_serves_pings_and_ends(desk):
    desk.exchange.wallet = wallet_body(total="2000", available="900", rows={})
    with contextlib.closing(servers.HttpServer(servers.Reply(200))) as server:
        url = f"http://127.0.0.1:{server.port}/a-secret-uuid"
        desk.write(more=f'heartbeat: {{url: "{url}"}}\n')
        process = desk.start("run", "--listen", "127.0.0.1:0", "--log-level", "debug")
        said = _until(process.stderr, "health and metrics on")
        port = int(said[-1].rpartition(":")[2])
        wait_until(lambda: server.requests, seconds=20)
        status, body = _get(port, "/healthz")
        metrics = _get(port, "/metrics")[1]
        process.terminate()
        out, err = process.communicate(timeout=20)

    assert process.returncode == 0, err
    assert (status, body) == (200, "ok\n")
    series = parse(metrics)
    assert series["alerting_consecutive_poll_failures", (("account", "main"),)] == 0
    assert [request.line for request in server.requests] == ["GET /a-secret-uuid HTTP/1.1"]
    assert "a-secret-uuid" not in "".join(said) + err + out
    assert "Traceback" not in err


def _until(lines, word):
    seen = []
    for line in lines:
        seen.append(line)
        if word in line:
            return seen
    raise AssertionError("".join(seen))


def _get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
