"""Health, metrics and heartbeat put together, and as the program's user gets them."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from alerting.errors import LoopError, StoreError, UsageError
from alerting.loops import Loops
from alerting.monitoring.monitor import Follower, Monitoring, write_file
from alerting.monitoring.web_server import Limits
from alerting.sandbox.exchange import LoopbackExchange, Special, wallet_body
from alerting.sandbox.inbox import Inbox
from tests.support.configs import make_config, see, watching
from tests.support.desk import Desk
from tests.support.exposition import parse
from tests.support.factories import T0, M
from tests.support.fakes import FakeClock
from tests.support.servers import HttpServer, Reply, hang
from tests.support.waiting import wait_until
from tests.support.web import ask, port_of

# ── what the daemon shows ───────────────────────────────────────────────────


@pytest.fixture
def daemon(store):
    made = []

    def start(stalled=list):
        limits = Limits(keep=0.0)
        monitoring = Monitoring(make_config(), store, clock=FakeClock(), limits=limits)
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
    assert ask(server, "/healthz")[:2] == (503, "loops that do not get on: main\n")
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
        for _ in range(Limits().connections)
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
            monitoring.nudge()
            wait_until(path.exists)
            path.unlink()
    finally:
        monitoring.stop()


# ── the heartbeat delays nothing ───────────────────────────────────────────────────────


def test_a_hanging_server_delays_no_cycle_and_no_shutdown(store, serve):
    server = serve(hang)
    monitoring = Monitoring(watching(server), store, clock=FakeClock())
    see(store)
    monitoring.start(listen="127.0.0.1:0")
    began = time.monotonic()
    monitoring.nudge()
    wait_until(lambda: server.requests)
    for _ in range(20):
        see(store)
        monitoring.nudge()
        assert monitoring.trouble() is None
    monitoring.stop()
    assert time.monotonic() - began < 3
    assert len(server.requests) == 1


def test_the_daemon_pings_after_a_cycle_and_only_then(store, serve):
    server, clock = serve(Reply(200)), FakeClock()
    monitoring = Monitoring(watching(server), store, clock=clock)
    see(store)
    monitoring.start(listen=None)
    try:
        time.sleep(0.1)
        assert server.requests == []
        monitoring.nudge()
        wait_until(lambda: store.meta("heartbeat.last_ping_at"))
        clock.now = T0 + 10 * M
        monitoring.nudge()
        time.sleep(0.1)
        assert len(server.requests) == 1, "the snapshot is too old by now"
    finally:
        monitoring.stop()


def test_cron_pings_at_the_end_of_its_cycle(store, serve):
    server, clock = serve(Reply(200)), FakeClock()
    see(store)

    assert Monitoring(watching(server), store, clock=clock).after_cycle(began=T0)
    assert len(server.requests) == 1


def test_cron_does_not_ping_for_an_account_that_this_cycle_did_not_read(store, serve):
    server, clock = serve(Reply(200)), FakeClock(T0 + M)
    see(store)

    assert Monitoring(watching(server), store, clock=clock).after_cycle(began=T0 + M)
    assert server.requests == []


def test_cron_waits_for_a_hanging_server_no_longer_than_it_must(store, serve):
    patience = timedelta(seconds=0.3)
    monitoring = Monitoring(watching(serve(hang)), store, clock=FakeClock(), patience=patience)
    see(store)
    began = time.monotonic()

    assert monitoring.after_cycle(began=T0), "it is a warning, nothing else"
    assert time.monotonic() - began < 2


# ── after each cycle ──────────────────────────────────────────────────────


def test_a_state_file_that_cannot_be_used_does_not_end_the_thread(caplog):
    results = iter([StoreError("disk full"), None])
    done = threading.Event()

    def work():
        result = next(results)
        if result is not None:
            raise result
        done.set()

    follower = Follower(work, name="heartbeat")
    follower.nudge()
    wait_until(lambda: "disk full" in caplog.text)
    follower.nudge()
    assert done.wait(5)
    follower.stop()


def test_cycles_that_end_during_the_work_are_one():
    gate, runs = threading.Event(), []

    def work():
        runs.append(1)
        gate.wait(5)

    follower = Follower(work, name="x")
    follower.nudge()
    wait_until(lambda: runs)
    for _ in range(50):
        follower.nudge()
    gate.set()
    wait_until(lambda: len(runs) == 2)
    time.sleep(0.05)
    assert len(runs) == 2
    follower.stop()


@pytest.mark.parametrize("error", [SystemExit, MemoryError])
def test_whatever_ends_a_followers_thread_it_starts_again(error):
    loops, done, fails = Loops(), threading.Event(), [error]

    def work():
        if fails:
            raise fails.pop()
        done.set()

    follower = Follower(work, name="the heartbeat", loops=loops)
    follower.nudge()
    wait_until(
        lambda: [str(each) for each in loops.look()] == [f"the heartbeat died ({error.__name__})"]
    )
    follower.nudge()
    assert done.wait(5)
    wait_until(lambda: loops.look() == [])
    follower.stop()


def in_trouble(monitoring, how):
    if how == "loops-stalled":
        monitoring.watch(monitoring._config, stalled=lambda: ["receiver desk"])
    elif how == "claims-fail":
        monitoring.report("receiver desk", StoreError("disk I/O error"))
    else:
        monitoring.report("main", LoopError("judging account main fails (MemoryError)"))


@pytest.mark.parametrize("how", ["loops-stalled", "claims-fail", "judging-fails"])
def test_alive_but_silent_stops_the_heartbeat_and_the_health(store, serve, how):
    server = serve(Reply(200))
    limits = Limits(keep=0.0)
    monitoring = Monitoring(watching(server), store, clock=FakeClock(), limits=limits)
    see(store)
    monitoring.start(listen="127.0.0.1:0")
    try:
        in_trouble(monitoring, how)
        monitoring._ping_if_due(monitoring._heartbeat(timedelta()))
        assert server.requests == []
        assert ask(monitoring._server, "/healthz")[0] == 503
        monitoring.watch(watching(server), stalled=list)
        monitoring._ping_if_due(monitoring._heartbeat(timedelta()))
        assert len(server.requests) == 1
        assert ask(monitoring._server, "/healthz")[0] == 200
    finally:
        monitoring.stop()


# ── as its user runs it ─────────────────────────────────────────────────────


@pytest.fixture
def desk(tmp_path):
    with LoopbackExchange() as exchange, Inbox() as inbox:
        yield Desk(tmp_path, exchange, inbox)


@pytest.mark.process
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
    assert 'alerting_consecutive_poll_failures{account="main",feed="wallet"} 0\n' in first
    assert 'alerting_consecutive_poll_failures{account="main",feed="wallet"} 1\n' in second
    assert parse(first).keys() == parse(second).keys()
    for secret in (desk.exchange.secret_key, desk.exchange.api_key, desk.inbox.url("desk")):
        assert secret not in first + second


@pytest.mark.process
def test_cron_that_cannot_write_the_metrics_is_exit_1(desk):
    desk.exchange.wallet = wallet_body(total="2000", available="1500", rows={})
    code, out, err = desk.run("run", "--once", "--metrics-file", "/nowhere/alerting.prom")

    assert code == 1
    assert "1 of 1 account" in out
    assert "metrics file /nowhere/alerting.prom: No such file or directory" in err


@pytest.mark.process
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


@pytest.mark.process
def test_the_daemon_serves_pings_and_ends(desk):
    desk.exchange.wallet = wallet_body(total="2000", available="900", rows={})
    with contextlib.closing(HttpServer(Reply(200))) as server:
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
    assert (
        series["alerting_consecutive_poll_failures", (("account", "main"), ("feed", "wallet"))] == 0
    )
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
