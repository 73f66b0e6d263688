"""Standard streams that nobody reads: nobody waits for them, and what is lost is said."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from alerting import streams
from alerting.streams import Outlet
from tests.support.waiting import wait_until


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    for each in (reader, writer):
        try:
            os.close(each)
        except OSError:
            pass


def outlet(writer, most=4096):
    return Outlet(writer, lost=lambda count: b"%d lost\n" % count, most=most)


def fill(writer):
    """Until it takes nothing more; how many bytes that were."""
    size = 0
    os.set_blocking(writer, False)
    try:
        while True:
            size += os.write(writer, b"x" * 1024)
    except BlockingIOError:
        return size
    finally:
        os.set_blocking(writer, True)


def drained(reader, size):
    """So many bytes of it."""
    data = b""
    while len(data) < size:
        data += os.read(reader, size - len(data))
    return data


def rest(reader, last):
    """All up to a line that ends it."""
    data = b""
    while not data.endswith(last):
        data += os.read(reader, 65536)
    return data.decode().splitlines()


def refuse_threads(monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)


@pytest.mark.parametrize("threads", ["with-a-thread", "without-one"])
def test_what_somebody_reads_is_written_when_write_returns(pipe, threads, monkeypatch):
    reader, writer = pipe
    if threads == "without-one":
        refuse_threads(monkeypatch)
    out = outlet(writer)
    for number in range(100):
        out.write(b"line %d\n" % number)
        assert os.read(reader, 4096) == b"line %d\n" % number


@pytest.mark.parametrize("threads", ["with-a-thread", "without-one"])
def test_a_reader_that_stopped_keeps_nobody_and_what_is_lost_is_said_in_its_place(
    pipe, threads, monkeypatch
):
    reader, writer = pipe
    if threads == "without-one":
        refuse_threads(monkeypatch)
    size = fill(writer)
    out = outlet(writer, most=100)
    began = time.monotonic()
    for number in range(1000):
        out.write(b"line %d\n" % number)
    assert time.monotonic() - began < 5
    drained(reader, size)
    if threads == "with-a-thread":
        *lines, said = rest(reader, b" lost\n")
    else:
        out.write(b"last\n")
        *lines, said, last = rest(reader, b"last\n")
        assert last == "last"
    kept = len(lines)
    assert lines == [f"line {number}" for number in range(kept)]
    assert said == f"{1000 - kept} lost"


def test_many_threads_write_and_no_line_is_torn_or_lost(pipe):
    reader, writer = pipe
    out = outlet(writer, most=1_000_000)

    def write(name):
        for number in range(200):
            out.write(b"%d of %d %s\n" % (number, name, b"." * 100))

    threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    data = b""
    while data.count(b"\n") < 1600:
        data += os.read(reader, 65536)
    for name in range(8):
        mine = [line for line in data.splitlines() if line.split()[2] == b"%d" % name]
        assert [int(line.split()[0]) for line in mine] == list(range(200))


def test_at_the_end_what_waits_is_written(pipe):
    reader, writer = pipe
    size = fill(writer)
    out = outlet(writer)
    out.write(b"one\n")
    out.write(b"two\n")
    ending = threading.Thread(target=out.end, args=(time.monotonic() + 10,))
    ending.start()
    drained(reader, size)
    ending.join()
    assert rest(reader, b"two\n") == ["one", "two"]
    out.write(b"three\n")
    assert rest(reader, b"three\n") == ["three"]


def test_an_end_that_nobody_reads_is_over_in_time(pipe):
    _, writer = pipe
    fill(writer)
    out = outlet(writer)
    out.write(b"one\n")
    began = time.monotonic()
    out.end(began + 0.1)
    out.write(b"two\n")
    assert time.monotonic() - began < 2


def test_a_full_disk_loses_lines_until_it_has_room(tmp_path):
    """The descriptor leads to a full disk first, and then to one with room."""
    full = os.open("/dev/full", os.O_WRONLY)
    out = outlet(full)
    out.write(b"one\n")
    out.write(b"two\n")
    path = tmp_path / "log"
    with path.open("wb") as file:
        os.dup2(file.fileno(), full)
    out.write(b"three\n")
    assert path.read_bytes() == b"2 lost\nthree\n"
    os.close(full)


def test_a_reader_that_is_gone_is_no_error(pipe):
    reader, writer = pipe
    os.close(reader)
    outlet(writer).write(b"one\n")


def test_a_descriptor_that_does_not_wait_loses_nothing(pipe):
    """As a terminal is that another program made so."""
    reader, writer = pipe
    size = fill(writer)
    os.set_blocking(writer, False)
    out = outlet(writer)
    out.write(b"one\n")
    drained(reader, size)
    assert rest(reader, b"one\n") == ["one"]


def test_a_writer_that_dies_is_replaced(pipe, monkeypatch):
    reader, writer = pipe
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    out = outlet(writer)
    with monkeypatch.context() as patch:
        patch.setattr(streams, "_write_whole", lambda *_: (_ for _ in ()).throw(MemoryError()))
        out.write(b"one\n")
        wait_until(lambda: not out._writer.is_alive())
    out.write(b"two\n")
    assert rest(reader, b"two\n") == ["1 lost", "two"]


_FORK = """
import os, time
from alerting.streams import Outlet
out = Outlet(1, lost=lambda count: b"lost")
out.write(b"parent\\n")
child = os.fork()
if child == 0:
    out.write(b"child\\n")
    os._exit(0)
os.waitpid(child, 0)
out.write(b"parent\\n")
"""


@pytest.mark.process
def test_a_child_writes_for_itself():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FORK],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (0, "parent\nchild\nparent\n")


_LEAVE = """
import sys
from alerting import logs, streams
streams.guard_streams()
logs.set_up("info", sys.argv[1])
streams.wait_for_nobody()
import logging
for number in range(300):
    logging.getLogger("alerting").info("line %d", number)
print("the result")
{end}
"""


@pytest.mark.process
@pytest.mark.parametrize("end", ["", "sys.exit(3)", "streams.leave(3)", "1 / 0"])
def test_however_a_process_ends_what_it_wrote_arrives(end):
    done = subprocess.run(
        [sys.executable, "-c", _LEAVE.format(end=end), "text"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    lines = done.stderr.splitlines()
    assert [line.split()[-1] for line in lines[:300]] == [str(number) for number in range(300)]
    assert done.returncode == {"": 0, "1 / 0": 1}.get(end, 3)
    assert ("ZeroDivisionError" in lines[-1]) == (end == "1 / 0")
    # what is still in Python's own buffer is not ours to save where the process is ended hard
    assert done.stdout == ("" if "leave" in end else "the result\n")
