"""Starts the program many times at little cost: forks of a process that has loaded it already.

A start of the interpreter with all imports takes half a second of a CPU, and nothing that can be
lost happens in it. Each fork is a process of its own that runs `main` from its first line and ends
as the interpreter ends; it shares no file, lock or thread with another.

Run as a program, this module is that process. It reads orders (JSON, a line each) from stdin and says
on stdout who was born and how who ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO


class Child:
    """One start of the program."""

    def __init__(self, pid: int, out: Path) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._out = out
        self._ended = threading.Event()
        # names this process for ever, whoever gets its number later
        self._handle: int | None = None
        with contextlib.suppress(ProcessLookupError):
            self._handle = os.pidfd_open(pid)

    def end(self, returncode: int) -> None:
        """It has ended so; below zero: by a signal."""
        self.returncode = returncode
        self._ended.set()

    def poll(self) -> int | None:
        """How it ended; None: it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> None:
        """Until it ends; raises TimeoutExpired."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("the program", timeout or 0.0)

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self._handle is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def said(self) -> str:
        """Wait for its end; all that it wrote on stdout."""
        self.wait()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        return self._out.read_text(encoding="utf-8")


class Nursery:
    """The process that forks, and its children. `prepare` is code that it runs before them."""

    def __init__(
        self, prepare: str, *, folder: Path, environ: Mapping[str, str], log: BinaryIO
    ) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), prepare],
            cwd=folder,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            bufsize=1,
        )
        self._born: queue.SimpleQueue[Child | None] = queue.SimpleQueue()
        self._children: dict[int, Child] = {}
        self._starts = 0
        self._starting = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, *args: str) -> Child:
        """Start the program with these arguments."""
        with self._starting:
            self._starts += 1
            out = self._folder / f"out-{self._starts % 16}.txt"
            # a child may be killed before it does anything
            out.write_bytes(b"")
            order = json.dumps({"out": str(out), "args": args})
            self._process.stdin.write(f"{order}\n")
            child = self._born.get(timeout=60)
        if child is None:
            raise RuntimeError("the process that forks has ended")
        return child

    def close(self) -> None:
        """End, the children too."""
        self._process.stdin.close()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def _read(self) -> None:
        for line in self._process.stdout:
            what, pid, rest = line.rstrip("\n").split(" ", 2)
            if what == "born":
                child = self._children[int(pid)] = Child(int(pid), Path(rest))
                self._born.put(child)
            else:
                self._children.pop(int(pid)).end(int(rest))
        self._born.put(None)


# ── the process that forks ──────────────────────────────────────────────────


def _say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def _reap(pids: set[int]) -> None:
    while pids:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        pids.discard(pid)
        _say("ended", pid, os.waitstatus_to_exitcode(status))


def _become(order: Mapping, *inherited: int) -> list[str]:
    """Be the child: with files of its own, and no trace of the process that forked."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor in inherited:
        os.close(descriptor)
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(order["out"], os.O_WRONLY | os.O_TRUNC)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.close(null)
    os.close(out)
    return list(order["args"])


def _serve() -> list[str]:
    """Fork on each order; returns in each child, with its arguments."""
    woken, wake = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    pids: set[int] = set()
    text = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 4096)
            _reap(pids)
        if 0 not in ready:
            continue
        more = os.read(0, 65536)
        if not more:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            os._exit(0)
        *lines, text = (text + more).split(b"\n")
        for line in lines:
            order = json.loads(line)
            pid = os.fork()
            if not pid:
                return _become(order, woken, wake)
            pids.add(pid)
            _say("born", pid, order["out"])


def _main() -> int:
    exec(sys.argv[1], {})
    # all that a run needs, so that no fork has to load it
    import alerting.config.load
    import alerting.messages.rendering
    import alerting.notify.apprise
    import alerting.service.supervisor  # noqa: F401
    from alerting.cli.main import main

    if threading.active_count() > 1:
        raise RuntimeError("a thread would be lost in the forks")
    sys.argv[1:] = _serve()
    return main()


if __name__ == "__main__":
    sys.exit(_main())
