"""What the operating system gives: a lock on the state file, signals, systemd's notify socket."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from alerting.errors import LoopError, StateBusyError, StoreError
from alerting.units import format_duration, rfc3339

log = logging.getLogger("alerting")


#: a holder of the lock that does not get on for so long hangs
HANGS_AFTER = timedelta(minutes=5)
_SECOND = timedelta(seconds=1)


# glibc's name for it, in <malloc.h>
_M_ARENA_MAX = -8


def share_one_heap() -> None:
    """Let all threads take memory from one heap, where the C library can be told so.

    glibc gives each thread a heap of its own, and each keeps what the largest work that ever met it
    took: after weeks of reloads and threads that came and went, that is megabytes more every day.
    Python runs one thread at a time, so nobody waits for the one heap.
    """
    # no such library, no such function, a system that forbids calls like this: it works without
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


class HolderHangsError(LoopError):
    """The process that holds the lock on the state does not get on, for so long already."""

    def __init__(self, text: str, *, lasting: timedelta) -> None:
        super().__init__(text)
        self.lasting = lasting


# Far behind every byte that SQLite locks (the 512 from 1 GiB on), and any size of a state file.
_IDENTITY_BYTE = 1 << 62
# Linux has it; elsewhere the lock file must do.
_LOCK_BYTES: int | None = getattr(fcntl, "F_OFD_SETLK", None)


class StateLock:
    """Only one process may poll and send for a state file; a killed holder frees it at once.

    Two locks: on the file `STATE.lock`, which says who holds it and when it last got on (by the
    machine's monotonic clock: one that did not for `longest` hangs), and on a byte of the state
    file itself, which is the same under each of its names (a hard link, a bind mount), also after
    the lock file was deleted. The lock file is never deleted here: a second holder could otherwise
    lock a new one. `holder` is asked who it is where the lock file cannot tell.
    """

    def __init__(
        self,
        state: Path,
        *,
        now: datetime,
        longest: timedelta = HANGS_AFTER,
        monotonic: Callable[[], float] = time.monotonic,
        holder: Callable[[], str | None] = lambda: None,
    ) -> None:
        # resolved: all symbolic links to a file share its lock file
        self._state = real_path(state)
        self._path = self._state.with_name(self._state.name + ".lock")
        self._holder = holder
        #: who holds it from now on
        self.owner = f"pid {os.getpid()} since {rfc3339(now)}"
        self._longest = longest
        self._monotonic = monotonic
        self._fds: list[int] = []

    def __enter__(self) -> Self:
        try:
            self._lock_name()
            self._lock_identity()
        except BaseException:
            self._release()
            raise
        with contextlib.suppress(OSError):
            os.ftruncate(self._fds[0], 0)
        self.renew()
        return self

    def renew(self) -> None:
        """Say that the holder gets on."""
        text = f"{self.owner}\n{self._monotonic():020.3f}\n"
        with contextlib.suppress(OSError):
            # who holds it is a courtesy: on a full disk the lock itself still works
            os.pwrite(self._fds[0], text.encode(), 0)

    def _refusal(self, found: str) -> StateBusyError | HolderHangsError:
        holder, _, got_on = found.partition("\n")
        with contextlib.suppress(ValueError):
            # of another boot, or without an instant: nobody knows
            age = timedelta(seconds=self._monotonic() - float(got_on))
            if age >= self._longest:
                return HolderHangsError(
                    f"the alerting process that works on this state ({holder}) has not got on for "
                    f"{format_duration(timedelta(seconds=age // _SECOND))}: it hangs, and nothing "
                    "is judged or sent until it is ended (kill -9 and its pid)",
                    lasting=age,
                )
        return _busy(holder.strip())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release()

    def _lock_name(self) -> None:
        fd = self._opened(self._path, "lock file")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise self._refusal(os.read(fd, 200).decode("utf-8", "replace")) from error

    def _lock_identity(self) -> None:
        """Lock what the file is, by a lock that neither SQLite nor closing another handle touches.

        A file system without such locks is left with the lock file alone.
        """
        fd = self._opened(self._state, "state file")
        if _LOCK_BYTES is None:
            return
        ask = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, _IDENTITY_BYTE, 1, 0)
        try:
            fcntl.fcntl(fd, _LOCK_BYTES, ask)
        except BlockingIOError as error:
            raise _busy(self._holder() or "") from error
        except OSError as error:
            log.debug("state file %s: no lock on the file itself: %s", self._state, error.strerror)

    def _opened(self, path: Path, what: str) -> int:
        # NONBLOCK: to open a pipe must not hang; NOFOLLOW: a link's target is not ours to write to
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise StoreError(f"{what} {path}: {error.strerror}") from error
        self._fds.append(fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise StoreError(f"{what} {path}: this is no regular file")
        return fd

    def _release(self) -> None:
        while self._fds:
            os.close(self._fds.pop())


def real_path(path: Path) -> Path:
    """Where a file really is, through all symbolic links; it need not exist."""
    return Path(os.path.realpath(path))


def _busy(holder: str) -> StateBusyError:
    return StateBusyError(
        f"another alerting process works on this state ({holder or 'unknown'}); nothing was done"
    )


class Systemd:
    """The service manager's notify socket; does nothing where there is none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")

    def notify(self, state: str) -> None:
        """Send one state line such as `READY=1`; a manager that went away is no error of ours."""
        if not self._address.startswith(("/", "@")):
            return
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            try:
                sock.connect(address)
                sock.sendall(state.encode())
            except OSError:
                return


# A shutdown that hangs longer than this ends the process at once.
_SHUTDOWN_SECONDS = 15.0


class Signals:
    """SIGHUP, SIGTERM and SIGINT, for the main thread of a process."""

    def on_reload(self, ask: Callable[[], None]) -> None:
        """SIGHUP asks for the rules file to be loaded."""
        signal.signal(signal.SIGHUP, lambda *_: ask())

    def on_end(self, stop: Callable[[], None]) -> None:
        """The first SIGTERM or SIGINT stops; a second one ends the process at once."""

        def end(number: int, _frame: FrameType | None) -> None:
            stop()
            signal.signal(number, signal.SIG_DFL)
            last_resort = threading.Timer(_SHUTDOWN_SECONDS, os._exit, args=(0,))
            last_resort.daemon = True
            last_resort.start()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)


class HardEnd:
    """Ends the process with exit code 1 where a block does not end in time.

    Nothing interrupts a thread that hangs, and while the process lives it holds the lock.
    `last_words` gets some seconds, in a thread of its own: it may hang too.
    """

    def __init__(
        self,
        limit: timedelta,
        *,
        last_words: Callable[[timedelta], None],
        words_within: timedelta = timedelta(seconds=15),
        exit_now: Callable[[int], object] = os._exit,
    ) -> None:
        self._limit = limit
        self._last_words = last_words
        self._words_within = words_within
        self._exit_now = exit_now
        self._over = threading.Event()

    def __enter__(self) -> Self:
        with contextlib.suppress(RuntimeError):
            # where no thread is to be had the next process sees how old this one is
            threading.Thread(target=self._wait, name="hard-end", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _wait(self) -> None:
        if self._over.wait(self._limit.total_seconds()):
            return
        try:
            words = threading.Thread(target=self._say, name="last-words", daemon=True)
            words.start()
            words.join(self._words_within.total_seconds())
        finally:
            self._exit_now(1)

    def _say(self) -> None:
        try:
            self._last_words(self._limit)
        except BaseException:
            log.exception("it could not be told that this process ends")
