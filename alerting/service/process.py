"""What the operating system gives: signals, an end in time, systemd's notify socket, one heap."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import FrameType
from typing import Self

from alerting.streams import leave

log = logging.getLogger("alerting")

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
            last_resort = threading.Timer(_SHUTDOWN_SECONDS, leave, args=(0,))
            last_resort.daemon = True
            last_resort.start()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)


class HardEnd:
    """Ends the process with exit code 1 where a block does not end in time.

    Nothing interrupts a thread that hangs, and while the process lives it holds the lock.
    `last_words` gets `words_within`, in a thread of its own: it may hang too.
    """

    def __init__(
        self,
        limit: timedelta,
        *,
        last_words: Callable[[timedelta], None],
        words_within: timedelta,
        exit_now: Callable[[int], object] = leave,
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
