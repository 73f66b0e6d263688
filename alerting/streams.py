"""Standard output and standard error: closed, full, narrow, or read by nobody.

A pipe whose reader has stopped (a log collector that hangs, a terminal that is held) keeps whoever
writes to it, and so every thread that logs. A program that watches something hands what it writes
to a thread of its own (`wait_for_nobody`): while somebody reads, all of it arrives in its order;
while nobody does, some of it waits and the rest is dropped, and how much that was is said in its
place as soon as somebody reads again.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

from alerting.errors import OutputError

# Whoever writes waits so many seconds until it is written, so that nothing is lost where the
# process is killed next, and both streams keep their order in one file ...
_PATIENCE = 0.2
# ... and then not for so many times as long: a slow reader costs a hundredth of the time. Shorter
# waits than a moment do not count.
_PAUSES = 100
_MOMENT = 0.01
# Bytes that wait for who reads them.
_MOST_WAITING = 1024 * 1024
# What takes anything at all takes so many bytes (terminals; pipes and sockets take more).
_ROOM = 256
# For what still waits when the process ends, in seconds.
_LAST_SECONDS = 2.0


class Outlet:
    """Writes to a descriptor from a thread of its own: nobody waits long for who reads it.

    Where no thread is to be had, whoever writes does it, as far as there is room. `lost` words how
    many lines were lost. What cannot be written for an error is lost too, and tried anew with the
    next piece: a full disk may have room again.
    """

    def __init__(
        self, number: int, *, lost: Callable[[int], bytes], most: int = _MOST_WAITING
    ) -> None:
        self._number = number
        self._most = most
        self._words = lost
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        # re-entrant: a signal's handler may write while its own thread does
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        #: (bytes, lines that are lost with them)
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._size = self._taken = self._done = self._lost = 0
        self._busy = self._ending = False
        self._writer: threading.Thread | None = None
        self._wait_from = 0.0

    def write(self, data: bytes) -> None:
        """Take a piece: it is written now, or soon, or lost."""
        # a thread that the end of the interpreter froze may keep the lock for ever
        if not self._lock.acquire(timeout=_PATIENCE if self._ending else -1):
            return
        try:
            self._take(data)
            if self._ending or not self._has_writer():
                self._write_what_fits()
            else:
                self._changed.notify_all()
                self._wait(self._taken)
        finally:
            self._lock.release()

    def end(self, deadline: float) -> None:
        """Wait for what waits, until that instant (monotonic); what comes later has no thread."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
            writer = self._writer
        if writer is not None:
            writer.join(max(0.0, deadline - time.monotonic()))
        while self._waiting and time.monotonic() < deadline and not self._busy:
            with self._changed:
                self._write_what_fits()
            _takes(self._number, milliseconds=10)

    def _take(self, data: bytes) -> None:
        lines = data.count(b"\n")
        if self._size + len(data) > self._most:
            self._lost += lines
            return
        self._say_lost()
        self._append(data, lines)

    def _say_lost(self) -> None:
        if self._lost:
            lost, self._lost = self._lost, 0
            self._append(self._words(lost), lost)

    def _append(self, data: bytes, lines: int) -> None:
        self._waiting.append((data, lines))
        self._size += len(data)
        self._taken += 1

    def _wait(self, number: int) -> None:
        began = time.monotonic()
        if began < self._wait_from:
            return
        self._changed.wait_for(lambda: self._done >= number, _PATIENCE)
        waited = time.monotonic() - began
        if waited > _MOMENT:
            self._wait_from = began + (1 + _PAUSES) * waited

    def _has_writer(self) -> bool:
        if self._writer is not None and self._writer.is_alive():
            return True
        self._busy = False
        writer = threading.Thread(
            target=self._run, name=f"alerting-output-{self._number}", daemon=True
        )
        try:
            writer.start()
        except (RuntimeError, MemoryError):
            return False
        self._writer = writer
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ending)
                if not self._waiting:
                    return
                data, lines = self._waiting.popleft()
                self._busy = True
            written = False
            try:
                with contextlib.suppress(OSError):
                    _write_whole(self._number, data)
                    written = True
            finally:
                with self._changed:
                    self._busy = False
                    self._finish(len(data), 0 if written else lines)

    def _finish(self, size: int, lost: int) -> None:
        """A piece is written, or lost."""
        self._size -= size
        self._done += 1
        self._lost += lost
        if not lost and not self._waiting:
            self._say_lost()
        self._changed.notify_all()

    def _write_what_fits(self) -> None:
        while self._waiting and not self._busy:
            data, lines = self._waiting.popleft()
            try:
                rest = _write_some(self._number, data)
            except OSError:
                self._finish(len(data), lines)
            else:
                if rest:
                    self._waiting.appendleft((rest, lines))
                    self._size -= len(data) - len(rest)
                    return
                self._finish(len(data), 0)


def _write_whole(number: int, data: Any) -> None:
    """Wait for whoever reads it, where the descriptor itself does not wait too."""
    left = memoryview(data).cast("B")
    while left:
        try:
            left = left[os.write(number, left) :]
        except BlockingIOError:
            _takes(number, milliseconds=None)


def _write_some(number: int, data: bytes) -> bytes:
    """Write as much as there is room for; what is left."""
    with contextlib.suppress(BlockingIOError):
        while data and _takes(number, milliseconds=0):
            data = data[os.write(number, data[:_ROOM]) :]
    return data


def _takes(number: int, *, milliseconds: int | None) -> bool:
    """Wait until it can be written, or is broken, at most so long; None: however long."""
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    return bool(poll.poll(milliseconds))


class _Descriptor(io.RawIOBase):
    """A descriptor that is written; after its first error the rest is dropped."""

    def __init__(self, number: int, why: str | None, *, silent: bool) -> None:
        super().__init__()
        self._number = number
        #: why it cannot be written; None: it can, as far as anybody knows
        self._why = why
        self._silent = silent
        self._told = False
        #: who writes for it, so that nobody waits
        self.outlet: Outlet | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return self._why is None and os.isatty(self._number)

    def wait_for_nobody(self) -> None:
        """From now on no write waits or fails."""
        self._silent = True
        if self._why is None and self.outlet is None:
            self.outlet = Outlet(self._number, lost=lambda count: _lost_as(count).encode())

    def write(self, data: Any, /) -> int:
        size = memoryview(data).nbytes
        if self.outlet is not None:
            self.outlet.write(bytes(data))
            return size
        if self._told:
            return size
        try:
            if self._why is None:
                # all of it: the text layer above standard error does not ask how much it was
                _write_whole(self._number, data)
                return size
        except BrokenPipeError:
            self._told = True
            raise
        except OSError as error:
            self._why = error.strerror
        self._told = True
        if self._silent:
            return size
        raise OutputError(f"the results could not be written: {self._why}")


def _plain(count: int) -> str:
    return f"{count} lines were dropped here: nobody read them\n"


_lost_as: Callable[[int], str] = _plain
# Those that stand for the process's own standard output and error.
_ours: list[_Descriptor] = []


def guard_streams() -> None:
    """Let no closed, full or narrow standard stream end the program with a traceback.

    What is written to standard output and does not arrive is an OutputError; to standard error, it
    is lost. A closed one leads nowhere, so that no file that is opened later takes its number.
    """
    closed = _open_missing()
    if sys.stdout is sys.__stdout__:
        sys.stdout = _guarded(1, sys.stdout, closed, silent=False)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _guarded(2, sys.stderr, closed, silent=True)


def wait_for_nobody() -> None:
    """From now on nobody who writes to a standard stream waits for who reads it.

    For what watches: a command that prints results waits, as any does. When the process ends, what
    waits gets two seconds.
    """
    for each in _ours:
        each.wait_for_nobody()
    atexit.unregister(_end)
    atexit.register(_end)


def word_loss(words: Callable[[int], str]) -> None:
    """How to say, in a line, that so many lines were lost."""
    global _lost_as  # noqa: PLW0603 - the process has one log
    _lost_as = words


def leave(code: int) -> NoReturn:
    """End the process at once, whatever hangs; what was written before still arrives."""
    try:
        _end()
    finally:
        os._exit(code)


def _end() -> None:
    deadline = time.monotonic() + _LAST_SECONDS
    for each in _ours:
        if each.outlet is not None:
            each.outlet.end(deadline)


def _open_missing() -> set[int]:
    missing = set()
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            missing.add(number)
            # the lowest free number is taken, and all below are in use by now
            os.open(os.devnull, os.O_RDWR)
    return missing


def _guarded(number: int, stream: TextIO | None, closed: set[int], *, silent: bool) -> TextIO:
    why = "it is closed" if number in closed else None
    encoding = stream.encoding if stream is not None else "utf-8"
    with contextlib.suppress(OSError, OutputError, AttributeError):
        stream.flush()  # type: ignore[union-attr]
    raw = _Descriptor(number, why, silent=silent)
    _ours.append(raw)
    # Standard error has no buffer: it would have a lock, and a thread that the end of the
    # interpreter stops there would keep it, which ends the process by an abort.
    buffer: Any = raw if silent else io.BufferedWriter(raw)
    return io.TextIOWrapper(
        buffer,
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=silent or raw.isatty(),
    )
