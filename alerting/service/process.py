"""What the operating system gives: a lock on the state file, signals, systemd's notify socket."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import socket
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


class HolderHangsError(LoopError):
    """The process that holds the lock on the state does not get on, for so long already."""

    def __init__(self, text: str, *, lasting: timedelta) -> None:
        super().__init__(text)
        self.lasting = lasting


class StateLock:
    """Only one process may poll and send for a state file; a killed holder frees it at once.

    The lock file is never deleted: a second holder could otherwise lock a new one. It says when its
    holder last got on, by the machine's monotonic clock: one that did not for `longest` hangs.
    """

    def __init__(
        self,
        state: Path,
        *,
        now: datetime,
        longest: timedelta = HANGS_AFTER,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = state.with_name(state.name + ".lock")
        self._now = now
        self._longest = longest
        self._monotonic = monotonic
        self._fd = -1

    def __enter__(self) -> Self:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"lock file {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            found = os.read(fd, 200).decode("utf-8", "replace")
            os.close(fd)
            raise self._refusal(found) from error
        self._fd = fd
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)
        self.renew()
        return self

    def renew(self) -> None:
        """Say that the holder gets on."""
        text = f"pid {os.getpid()} since {rfc3339(self._now)}\n{self._monotonic():020.3f}\n"
        with contextlib.suppress(OSError):
            # who holds it is a courtesy: on a full disk the lock itself still works
            os.pwrite(self._fd, text.encode(), 0)

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
        who = holder.strip() or "unknown"
        return StateBusyError(
            f"another alerting process works on this state ({who}); nothing was done"
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)


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


class Signals:
    """SIGHUP, SIGTERM and SIGINT, for the main thread of a process."""

    def __init__(self, *, shutdown_seconds: float = 15.0) -> None:
        #: a shutdown that hangs longer than this ends the process at once
        self._shutdown_seconds = shutdown_seconds

    def on_reload(self, ask: Callable[[], None]) -> None:
        """SIGHUP asks for the rules file to be loaded."""
        signal.signal(signal.SIGHUP, lambda *_: ask())

    def on_end(self, stop: Callable[[], None]) -> None:
        """The first SIGTERM or SIGINT stops; a second one ends the process at once."""

        def end(number: int, _frame: FrameType | None) -> None:
            stop()
            signal.signal(number, signal.SIG_DFL)
            last_resort = threading.Timer(self._shutdown_seconds, os._exit, args=(0,))
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
