"""Standard streams that are closed, full, gone or narrow: a clear line, and never a traceback."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys

import pytest

from tests.support.desk import falling, wait_until

pytestmark = pytest.mark.process

COMMANDS = {
    "status": "status",
    "status-json": "status --json",
    "check": "check",
    "explain": "explain available-balance-floor",
    "silence-list": "silence list",
    "history": "history export",
    "schema": "schema",
    "help": "--help",
}


@pytest.fixture
def shell(desk):
    """Runs the program in a shell after one cycle; (exit code, standard output, standard error)."""
    desk.exchange.wallet = falling("900")
    assert desk.once()[0] == 0
    assert desk.run("silence", "add", "rule=x*", "--for", "1h", "--reason", "r")[0] == 0

    def call(command, redirection="", **environ):
        program = f"{shlex.quote(sys.executable)} -m alerting -c {shlex.quote(str(desk.path))}"
        done = subprocess.run(
            ["bash", "-c", f"{program} {command} {redirection}"],
            check=False,
            cwd=desk.folder,
            env=desk.environ(**environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        assert "Exception ignored" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    return call


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize(
    ("redirection", "why"),
    [
        pytest.param(">/dev/full", "No space left on device", id="full"),
        pytest.param(">&-", "it is closed", id="closed"),
    ],
)
def test_results_that_cannot_be_written_are_a_failure_that_says_so(
    shell, command, redirection, why
):
    code, _, err = shell(command, redirection)
    assert code == 1
    assert f"alerting: the results could not be written: {why}" in err


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", ">&- 2>&-", "2>/dev/full"])
def test_a_cycle_does_its_whole_work_all_the_same(shell, desk, redirection):
    desk.exchange.wallet = falling("200")
    code, _, _ = shell("run --once", redirection)
    assert code == 0
    assert any("CRITICAL" in title for title in desk.titles())


@pytest.fixture
def stuck():
    """A pipe that is full, and nobody reads it."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 1024)
    os.set_blocking(writer, True)
    yield writer
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("which", ["stdout", "stderr", "both"])
def test_a_cycle_whose_output_nobody_reads_does_its_work_and_ends(desk, stuck, which):
    desk.exchange.wallet = falling("200")
    streams = {"stdout": stuck, "stderr": stuck}
    if which != "both":
        streams = {which: stuck}
    process = desk.start("--log-level", "debug", "run", "--once", **streams)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert any("CRITICAL" in title for title in desk.titles())


@pytest.mark.parametrize("level", ["debug", "info"])
def test_a_daemon_whose_log_nobody_reads_judges_tells_and_ends(desk, stuck, level):
    desk.write(blind_after="1s")
    process = desk.start("--log-level", level, "run", stdout=stuck, stderr=stuck)
    for available, count in (("900", 1), ("200", 2), ("2000", 3)):
        desk.exchange.wallet = falling(available)
        wait_until(lambda count=count: len(desk.titles()) == count)
    # the last resort says what it did in the log, too
    (desk.folder / "alerting.db").unlink()
    (desk.folder / "alerting.db").mkdir()
    wait_until(lambda: any("NOT judged" in title for title in desk.titles()))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_start_that_fails_ends_though_nobody_reads_why(desk, stuck):
    desk.path.write_text("nonsense: 1\n" * 2000, encoding="utf-8")
    process = desk.start("run", stdout=stuck, stderr=stuck)
    process.communicate(timeout=20)
    assert process.returncode == 2


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_errors_that_nobody_can_read_keep_their_exit_code(shell, redirection):
    assert shell("explain nothing", redirection)[:2] == (2, "")
    assert shell("status", redirection)[0] == 0


def test_a_reader_that_has_seen_enough_is_no_failure(shell):
    code, out, err = shell("schema", "| head -c 10; exit ${PIPESTATUS[0]}")
    assert (code, len(out), err) == (0, 10, "")


@pytest.mark.parametrize("command", ["status", "explain available-balance-floor", "check"])
def test_a_narrow_terminal_gets_escapes(shell, command):
    code, out, _ = shell(command, PYTHONIOENCODING="ascii:strict")
    assert code == 0
    assert out.isascii()


def test_a_file_name_cannot_speak_to_the_terminal(shell):
    code, _, err = shell("-c $'\\e[31mred\\nalerting: fine' status")
    assert code == 2
    assert "\x1b" not in err
    assert "\\x1b[31mred" in err
