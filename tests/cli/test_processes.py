"""The program as its user runs it: real processes, a loopback exchange, a loopback inbox."""

from __future__ import annotations

import fcntl
import os
import platform
import signal
import subprocess
import sys
import time

import pytest

from alerting.cli import context
from alerting.service.lock import StateLock
from tests.support.desk import TIGHTER, falling, wait_until

pytestmark = pytest.mark.process


def test_no_log_level_shows_a_secret(real_desk):
    real_desk.exchange.wallet = falling("200")
    token = "S3CRETTOKEN12345"
    _code, out, err = real_desk.run(
        "run", "--once", "--log-level", "debug", PHONE_URL=f"json://127.0.0.1:1/{token}"
    )
    stored = (real_desk.folder / "alerting.db").read_bytes()
    for secret in (token, real_desk.exchange.secret_key, real_desk.exchange.api_key):
        assert secret not in out + err
        assert secret.encode() not in stored


def test_a_second_run_on_the_same_state_exits_0_and_says_so(real_desk):
    first = real_desk.start("run")
    try:
        wait_until(lambda: real_desk.exchange.requests)
        code, _, err = real_desk.once()
        assert (code, "another alerting process" in err) == (0, True)
    finally:
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=20)


@pytest.mark.parametrize("link", ["hardlink_to", "symlink_to"])
def test_a_second_run_on_the_same_state_under_another_name_does_nothing(real_desk, link):
    real_desk.exchange.wallet = falling("900")
    state = real_desk.folder / "alerting.db"
    other = real_desk.folder / "other" / "name.db"
    first = real_desk.start("run")
    try:
        wait_until(real_desk.titles)
        other.parent.mkdir()
        getattr(other, link)(state)
        real_desk.exchange.wallet = falling("200")
        code, out, err = real_desk.run("--state", str(other), "run", "--once")
    finally:
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=20)
    assert (code, out) == (0, "")
    assert f"another alerting process works on this state (pid {first.pid} since 20" in err
    assert real_desk.run("--state", str(other), "run", "--once")[:1] == (0,)
    assert len(real_desk.titles()) == len(set(real_desk.titles()))


def test_a_changed_state_is_refused_and_told(real_desk):
    daemon = real_desk.start("run")
    wait_until(lambda: real_desk.exchange.requests)
    real_desk.write(more=TIGHTER + "state: other.db\n")
    wait_until(lambda: any("config-invalid" in title for title in real_desk.titles()))
    (message,) = real_desk.inbox.received
    daemon.send_signal(signal.SIGTERM)
    _, err = daemon.communicate(timeout=20)
    assert "other.db now, and" in message.message
    assert "takes a restart" in err
    assert not (real_desk.folder / "other.db").exists()


def test_sighup_during_the_start_does_not_end_the_daemon(real_desk):
    real_desk.exchange.wallet = falling("900")
    daemon = real_desk.start("run")
    lock = real_desk.folder / "alerting.db.lock"
    wait_until(lock.exists)
    daemon.send_signal(signal.SIGHUP)
    wait_until(real_desk.titles)
    daemon.send_signal(signal.SIGTERM)
    daemon.communicate(timeout=20)
    assert daemon.returncode == 0


def test_nothing_to_send_imports_neither_apprise_nor_jinja(real_desk):
    code = (
        "import sys; from alerting.cli.main import main; code = main(sys.argv[1:]);"
        "print(sorted({'apprise', 'jinja2', 'smtplib'} & set(sys.modules)), code)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, "-c", str(real_desk.path), "run", "--once"],
        cwd=real_desk.folder,
        env=real_desk.environ(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert out.splitlines()[-1] == "[] 0"


def test_the_daemon_tells_and_ends_with_exit_0(real_desk):
    real_desk.exchange.wallet = falling("2000")
    daemon = real_desk.start("run")
    wait_until(lambda: real_desk.exchange.requests)
    for available, count in (("900", 1), ("200", 2), ("2000", 3)):
        real_desk.exchange.wallet = falling(available)
        wait_until(lambda count=count: len(real_desk.titles()) == count)
    daemon.send_signal(signal.SIGTERM)
    out, err = daemon.communicate(timeout=20)
    assert daemon.returncode == 0
    assert "Traceback" not in out + err
    assert "critical inactive -> firing (breach)" in err


def test_sighup_takes_a_changed_rules_file_over(real_desk):
    real_desk.exchange.wallet = falling("1500")
    old = real_desk.path.stat()
    daemon = real_desk.start("run")
    wait_until(lambda: real_desk.exchange.requests)
    real_desk.write(more=TIGHTER)
    os.utime(real_desk.path, ns=(old.st_atime_ns, old.st_mtime_ns))
    daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: any("tighter" in title for title in real_desk.titles()))
    daemon.send_signal(signal.SIGTERM)
    _, err = daemon.communicate(timeout=20)
    assert daemon.returncode == 0
    assert "rule tighter: added" in err


def test_the_environment_names_file_and_state(real_desk):
    state = real_desk.folder / "elsewhere.db"
    process = subprocess.run(
        [sys.executable, "-m", "alerting", "run", "--once"],
        cwd="/",
        env=real_desk.environ(ALERTING_CONFIG=str(real_desk.path), ALERTING_STATE=str(state)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (process.returncode, state.exists()) == (0, True)


def test_a_second_run_behind_one_that_hangs_is_exit_1_and_tells(real_desk):
    """The holder was stopped 10 minutes ago: each later run would end with exit 0 for ever."""
    real_desk.exchange.wallet = falling("900")
    with (real_desk.folder / "alerting.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"pid 4711 since 2026-01-01T00:00:00Z\n{time.monotonic() - 600:020.3f}\n")
        lock.flush()
        code, out, err = real_desk.run("run", "--once")
        again = real_desk.run("run", "--once")[0]
        daemon = real_desk.run("run")[0]
    assert (code, again, daemon, out) == (1, 1, 1, "")
    assert "pid 4711 since 2026-01-01T00:00:00Z) has not got on for 10m" in err
    assert [title.split()[0] for title in real_desk.titles()] == ["CRITICAL"]
    assert "alerts are NOT judged" in real_desk.titles()[0]
    assert real_desk.run("run", "--once")[0] == 0
    wait_until(lambda: len(real_desk.titles()) == 3)
    words = sorted(title.split()[0] for title in real_desk.titles())
    assert words == ["CRITICAL", "RESOLVED", "WARNING"]


def test_a_run_behind_one_that_hangs_and_lost_its_lock_file_is_exit_1_and_tells(real_desk):
    real_desk.exchange.wallet = falling("900")
    state = real_desk.folder / "alerting.db"
    assert real_desk.once()[0] == 0
    with StateLock(state, now=context.now()):
        (real_desk.folder / "alerting.db.lock").unlink()
        first = real_desk.once()
        # as a run of 10 minutes ago would have noted it
        mark = f"\nbehind {state.stat().st_mtime_ns} {time.monotonic() - 600:.3f}\n"
        (real_desk.folder / "alerting.db.lock").write_text(mark)
        code, out, err = real_desk.once()
    assert (first[0], code, out) == (0, 1, "")
    assert "has not got on for 10m" in err
    wait_until(lambda: any("alerts are NOT judged" in title for title in real_desk.titles()))
    assert real_desk.once()[0] == 0


@pytest.mark.parametrize("how", ["once", "daemon"])
def test_started_in_a_deleted_folder_it_works(real_desk, how):
    real_desk.exchange.wallet = falling("900")
    gone = real_desk.folder / "gone"
    gone.mkdir()
    command = f"rmdir {gone} && exec {sys.executable} -m alerting -c {real_desk.path} run"
    process = subprocess.Popen(
        ["/bin/sh", "-c", command + (" --once" if how == "once" else "")],
        cwd=gone,
        env=real_desk.environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(real_desk.titles)
    if how == "daemon":
        process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in err


def test_a_daemon_whose_folder_is_deleted_before_its_first_message_tells(real_desk):
    real_desk.exchange.wallet = falling("2000")
    gone = real_desk.folder / "gone"
    gone.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "alerting", "-c", str(real_desk.path), "run"],
        cwd=gone,
        env=real_desk.environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: real_desk.exchange.requests)
    gone.rmdir()
    real_desk.exchange.wallet = falling("900")
    wait_until(real_desk.titles)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, "Traceback" in err) == (0, False)


@pytest.mark.parametrize("option", ["-c", "--state"])
def test_a_relative_path_in_a_deleted_folder_is_a_sentence(real_desk, option):
    gone = real_desk.folder / "gone"
    gone.mkdir()
    paths = {"-c": str(real_desk.path), "--state": str(real_desk.folder / "x.db")}
    paths[option] = "here.yaml"
    words = " ".join(f"{name} {path}" for name, path in paths.items())
    process = subprocess.run(
        ["/bin/sh", "-c", f"rmdir {gone} && exec {sys.executable} -m alerting {words} run --once"],
        cwd=gone,
        env=real_desk.environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2
    assert "here.yaml cannot be found" in process.stderr
    assert "Traceback" not in process.stderr


HEAPS = """
import ctypes, sys, threading
from alerting.service import supervisor

def report(*_args, **_more):
    gate = threading.Barrier(6)
    def take():
        kept = [bytes(2000) for _ in range(100)]
        gate.wait()
        gate.wait()
    threads = [threading.Thread(target=take) for _ in range(5)]
    for thread in threads:
        thread.start()
    gate.wait()
    library = ctypes.CDLL(None)
    library.fdopen.restype = ctypes.c_void_p
    library.malloc_info(0, ctypes.c_void_p(library.fdopen(1, b"w")))
    library.fflush(None)
    gate.wait()

supervisor.Supervisor.run = report
from alerting.cli.main import main
sys.exit(main())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_the_daemons_threads_share_one_heap(real_desk):
    """Each heap keeps what the largest work in it took: many of them grow for weeks."""
    process = subprocess.run(
        [sys.executable, "-c", HEAPS, "-c", str(real_desk.path), "run"],
        check=False,
        env=real_desk.environ(),
        cwd=real_desk.folder,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert process.stdout.count("<heap nr=") == 1, process.stderr


HANGING = """
import sys, threading
from datetime import timedelta
from alerting.service import supervisor
from {module} import {owner}
supervisor._CYCLE_EXTRA = timedelta(seconds=1.5)
{owner}.{method} = lambda *_args, **_more: threading.Event().wait()
from alerting.cli.main import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("module", "owner", "method"),
    [
        pytest.param(
            "alerting.exchanges.coinswitch.client", "WalletClient", "poll", id="while-polling"
        ),
        pytest.param("alerting.store.database", "Database", "transaction", id="while-committing"),
    ],
)
def test_a_cycle_that_hangs_ends_with_exit_1_and_is_told(real_desk, module, owner, method):
    real_desk.write(blind_after="500ms", interval="100ms", timeout="50ms")
    real_desk.exchange.wallet = falling("900")
    script = HANGING.format(module=module, owner=owner, method=method)

    def cycle():
        return subprocess.run(
            [sys.executable, "-c", script, "-c", str(real_desk.path), "run", "--once"],
            env=real_desk.environ(),
            cwd=real_desk.folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    first = cycle()
    assert (first.returncode, real_desk.titles()) == (1, [])
    assert "this cycle did not end within 1s650ms: it hangs" in first.stderr
    assert cycle().returncode == 1
    assert "alerts are NOT judged" in real_desk.titles()[0]
