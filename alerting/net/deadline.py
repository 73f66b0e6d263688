"""One deadline for whatever happens on the wire, and a way to end it from another thread.

A socket's own timeout bounds each single wait, and nothing bounds a look-up of a name; an answer
that comes byte by byte outlasts both. A `Deadline` holds a handle on every live socket and shuts
it down when the time is up.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from alerting.net import failures
from alerting.net.hosts import is_address


class _Lookup:
    """A name being resolved in a thread, because nothing can interrupt getaddrinfo."""

    def __init__(self, host: str, port: int, finished: threading.Condition) -> None:
        self.where = (host, port)
        self.done = False
        self.addresses: list[Any] = []
        self.error: OSError | None = None
        self._finished = finished
        try:
            threading.Thread(target=self._run, name="alerting-dns", daemon=True).start()
        except RuntimeError:
            # no thread is to be had: better to wait for the name without a limit than to know none
            self._run()

    def _run(self) -> None:
        try:
            self.addresses = socket.getaddrinfo(*self.where, type=socket.SOCK_STREAM)
        except OSError as error:
            self.error = error
        except UnicodeError as error:
            self.error = OSError("no name of a host")
            self.error.__cause__ = error
        with self._finished:
            self.done = True
            self._finished.notify_all()


class Deadline:
    """Ends whatever its owner does on the wire: when the time is up, or when it is cancelled."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.cancelled = False
        self.expired = False
        #: connections opened so far
        self.opened = 0
        self._limit = timedelta()
        self._monotonic = monotonic
        self._changed = threading.Condition()
        # Duplicates of the live sockets. TLS takes a socket's descriptor away from its object, and
        # http.client drops its reference while the body is still read; a duplicate outlives both.
        self._handles: set[socket.socket] = set()
        self._released: set[socket.socket] = set()
        self._lookup: _Lookup | None = None
        self._round = 0
        self._active = False
        self._until = 0.0

    @contextmanager
    def within(self, limit: timedelta) -> Iterator[None]:
        """From here to the end of the block, nothing waits on the wire beyond `limit`."""
        seconds = limit.total_seconds()
        with self._changed:
            self._round += 1
            self._limit, self._active, self.expired = limit, True, False
            self._until = self._monotonic() + seconds
        timer = threading.Timer(seconds, self._expire, [self._round])
        timer.name, timer.daemon = "alerting-deadline", True
        with suppress(RuntimeError):
            # no thread is to be had: each single wait is bounded by its socket all the same
            timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self._changed:
                self._active = False
                self._close_released()

    def cancel(self) -> None:
        """End what is under way, and all that comes after it."""
        with self._changed:
            self.cancelled = True
            self._shut_down()

    def close(self) -> None:
        """Let go of the connections as they are, and open no more."""
        with self._changed:
            self.cancelled = True
            self._released |= self._handles
            self._close_released()

    def remaining(self) -> float:
        """Seconds left, never 0: that would mean "do not wait" to a socket."""
        return max(0.001, self._until - self._monotonic())

    @property
    def stopped(self) -> bool:
        """The deadline has passed, or somebody cancelled."""
        return self.cancelled or self.expired

    def explain(self, error: BaseException) -> str:
        """Say in a few words, without any URL, what broke."""
        # a wait of the socket's own may end some moments before the timer's thread gets its turn
        if self.expired or self._monotonic() >= self._until:
            return failures.unfinished(error, limit=f"{self._limit.total_seconds():g} s")
        return failures.explain(error)

    def connect(
        self,
        host: str,
        port: int,
        *,
        patience: float | None = None,
        options: Iterable[tuple[Any, ...]] = (),
    ) -> tuple[socket.socket, socket.socket]:
        """Connect to the first address that answers; OSError where none does.

        Gives the socket, and the handle that `release` takes when the socket is closed. `patience`
        (seconds) bounds each try, and each later wait on the socket.
        """
        failed: OSError = OSError("no address")
        addresses = self._resolve(host.strip("[]"), port)
        for index, address in enumerate(addresses):
            # a share each: a black hole must not eat the time of the address after it
            share = self.remaining() / (len(addresses) - index)
            try:
                sock, handle = self._connected(address, min(share, patience or share), options)
            except OSError as error:
                failed = error
                continue
            if patience is not None:
                sock.settimeout(patience)
            return sock, handle
        raise failed

    def release(self, handle: socket.socket) -> None:
        """The connection is closed; a body may still be read from it until the block ends."""
        with self._changed:
            self._released.add(handle)
            if not self._active:
                self._close_released()

    def _resolve(self, host: str, port: int) -> list[Any]:
        if is_address(host):
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with self._changed:
            lookup = self._lookup
            if lookup is None or lookup.done or lookup.where != (host, port):
                lookup = self._lookup = _Lookup(host, port, self._changed)
            self._changed.wait_for(lambda: lookup.done or self.stopped)
        if not lookup.done:
            raise TimeoutError("name not resolved in time")
        if lookup.error is not None:
            raise lookup.error
        return lookup.addresses

    def _connected(
        self, address: tuple[Any, ...], seconds: float, options: Iterable[tuple[Any, ...]]
    ) -> tuple[socket.socket, socket.socket]:
        family, kind, protocol, _, target = address
        sock = socket.socket(family, kind, protocol)
        handle = None
        try:
            handle = self._hold(sock)
            for option in options:
                sock.setsockopt(*option)
            sock.settimeout(seconds)
            sock.connect(target)
        except OSError:
            sock.close()
            if handle is not None:
                self.release(handle)
            raise
        return sock, handle

    def _hold(self, sock: socket.socket) -> socket.socket:
        with self._changed:
            if self.stopped:
                raise TimeoutError("no time left to connect")
            # requests follow one another: what was released before is read to its end by now
            self._close_released()
            handle = sock.dup()
            self._handles.add(handle)
            self.opened += 1
            return handle

    def _expire(self, round_number: int) -> None:
        with self._changed:
            # a timer that comes too late must not end the next round
            if self._active and round_number == self._round:
                self.expired = True
                self._shut_down()

    def _shut_down(self) -> None:
        for handle in self._handles:
            with suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)
        self._changed.notify_all()

    def _close_released(self) -> None:
        for handle in self._released:
            handle.close()
        self._handles -= self._released
        self._released.clear()


@contextmanager
def deadline(limit: timedelta) -> Iterator[Deadline]:
    """A deadline for one block, at whose end its connections are let go."""
    own = Deadline()
    try:
        with own.within(limit):
            yield own
    finally:
        own.close()
