"""What the operating system gives: a lock on the state file, signals, systemd's notify socket."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from alerting.errors import StateBusyError, StoreError
from alerting.units import rfc3339


class StateLock:
    """Only one process may poll and send for a state file; a killed holder frees it at once.

    The lock file is never deleted: a second holder could otherwise lock a new one.
    """

    def __init__(self, state: Path, *, now: datetime) -> None:
        self._path = state.with_name(state.name + ".lock")
        self._now = now
        self._fd = -1

    def __enter__(self) -> Self:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"lock file {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(fd, 200).decode("utf-8", "replace").strip() or "unknown"
            os.close(fd)
            raise StateBusyError(
                f"another alerting process works on this state ({holder}); nothing was done"
            ) from error
        with contextlib.suppress(OSError):
            # who holds it is a courtesy: on a full disk the lock itself still works
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"pid {os.getpid()} since {rfc3339(self._now)}\n".encode(), 0)
        self._fd = fd
        return self

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
