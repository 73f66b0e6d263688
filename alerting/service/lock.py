"""The lock on the state file: one process polls and sends for it, and one that hangs is seen."""

from __future__ import annotations

import contextlib
import enum
import fcntl
import logging
import os
import stat
import struct
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from alerting.errors import LoopError, StateBusyError, StoreError
from alerting.units import format_duration, rfc3339

log = logging.getLogger("alerting")

#: a holder of the lock that does not get on for so long hangs
HANGS_AFTER = timedelta(minutes=5)
_SECOND = timedelta(seconds=1)
# Seconds between two marks on the state file itself: a write to the disk each.
_TOUCH_EVERY = 30.0
# Far behind every byte that SQLite locks (the 512 from 1 GiB on), and any size of a state file.
_IDENTITY_BYTE = 1 << 62
# Linux has it; elsewhere the lock file must do.
_LOCK_BYTES: int | None = getattr(fcntl, "F_OFD_SETLK", None)


class HolderHangsError(LoopError):
    """The process that holds the lock on the state does not get on, for so long already."""

    def __init__(self, holder: str, *, lasting: timedelta) -> None:
        super().__init__(
            f"the alerting process that works on this state ({holder}) has not got on for "
            f"{format_duration(timedelta(seconds=lasting // _SECOND))}: it hangs, and nothing "
            "is judged or sent until it is ended (kill -9 and its pid)"
        )
        self.lasting = lasting


class _Lock(enum.Enum):
    """What came of asking for the lock on a file itself."""

    OURS = "ours"
    TAKEN = "taken"
    #: the file system has no such locks
    NONE = "none"


class StateLock:
    """Only one process may poll and send for a state file; a killed holder frees it at once.

    Two locks: on the file `STATE.lock`, which says who holds it and when it last got on (by the
    machine's monotonic clock: one that did not for `longest` hangs), and on a byte of the state
    file itself, which is the same under each of its names (a hard link, a bind mount), also after
    the lock file was deleted. The lock file is never deleted here: a second holder could otherwise
    lock a new one. `holder` is asked who it is where the lock file cannot tell.

    Where the lock file is not the holder's (deleted, replaced, under another name), the state
    file's time stamp shows whether the holder gets on: it sets it now and then. Whoever comes
    behind it notes the stamp in the lock file that it found; the same stamp after `longest` means
    that the holder hangs.
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
        #: of the lock file, and of the state file
        self._name_fd = self._state_fd = -1
        self._itself = _Lock.NONE
        self._touch_due = 0.0
        #: of state files that were replaced and still have a name, and what came of locking them:
        #: to close one would end SQLite's locks on it
        self._left: list[tuple[int, _Lock]] = []

    def __enter__(self) -> Self:
        try:
            self._acquire()
        except BaseException:
            self._release()
            raise
        self._touch_due = self._monotonic()
        with contextlib.suppress(OSError):
            os.ftruncate(self._name_fd, 0)
        self._say()
        return self

    def _acquire(self) -> None:
        self._name_fd = _opened(self._path, "lock file")
        if not _lock_whole(self._name_fd):
            raise self._refusal(os.read(self._name_fd, 200).decode("utf-8", "replace"))
        self._state_fd = _opened(self._state, "state file")
        self._itself = self._lock_itself(self._state_fd)
        if self._itself is _Lock.TAKEN:
            raise self._behind_another_name()

    def renew(self) -> bool:
        """Say that the holder gets on; False: another process works on the state by now.

        A lock file that was deleted or replaced is made anew, and a state file that was replaced
        is locked as well: otherwise a second process could start on the new ones.
        """
        named = self._follow_name()
        if not _is_named(self._state, self._state_fd, missing=True):
            self._follow_state()
        # a run that is being refused holds the lock file for a moment, never the file itself
        held = self._itself is _Lock.OURS or (named and self._itself is _Lock.NONE)
        if held:
            self._say()
        return held

    def _say(self) -> None:
        now = self._monotonic()
        with contextlib.suppress(OSError):
            # who holds it is a courtesy: on a full disk the lock itself still works
            os.pwrite(self._name_fd, f"{self.owner}\n{now:020.3f}\n".encode(), 0)
        if now >= self._touch_due:
            self._touch_due = now + _TOUCH_EVERY
            with contextlib.suppress(OSError):
                os.utime(self._state_fd)

    def _follow_name(self) -> bool:
        """Hold the lock file that has the name now; False: another process does."""
        if _is_named(self._path, self._name_fd, missing=False):
            return True
        try:
            fd = _opened(self._path, "lock file")
        except StoreError:
            # nobody else can lock this either
            return True
        if not _lock_whole(fd):
            os.close(fd)
            return False
        os.close(self._name_fd)
        self._name_fd = fd
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)
        log.warning("lock file %s was deleted or replaced; it is made anew", self._path)
        return True

    def _follow_state(self) -> None:
        back = next((each for each in self._left if _is_named(self._state, each[0])), None)
        if back is not None:
            # it was moved away and is put back: our own lock on it would keep us out
            self._left.remove(back)
            fd, itself = back
        else:
            try:
                fd = _opened(self._state, "state file", create=False)
            except StoreError:
                return
            itself = self._lock_itself(fd)
        self._left.append((self._state_fd, self._itself))
        self._state_fd, self._itself = fd, itself
        self._forget_nameless()

    def _forget_nameless(self) -> None:
        """Let go of files that have no name any more: nobody else can open, so lock, them."""
        nameless = [each for each in self._left if not os.fstat(each[0]).st_nlink]
        for each in nameless:
            self._left.remove(each)
            os.close(each[0])

    def _refusal(self, found: str) -> StateBusyError | HolderHangsError:
        """Why the lock file's holder keeps us out, by what it wrote there."""
        holder, _, got_on = found.partition("\n")
        with contextlib.suppress(ValueError):
            # of another boot, or without an instant: nobody knows
            return self._kept_out(holder, timedelta(seconds=self._monotonic() - float(got_on)))
        return _busy(holder.strip())

    def _behind_another_name(self) -> StateBusyError | HolderHangsError:
        """Why whoever holds the state file itself keeps us out: the lock file is ours."""
        holder = self._holder() or "unknown"
        stamp = os.fstat(self._state_fd).st_mtime_ns
        return self._kept_out(holder, self._unchanged_for(stamp))

    def _unchanged_for(self, stamp: int) -> timedelta:
        """How long the state file has had this time stamp, as far as our lock file knows."""
        now = self._monotonic()
        found = os.pread(self._name_fd, 200, 0).decode("utf-8", "replace").split()
        with contextlib.suppress(ValueError, IndexError):
            if found[:2] == ["behind", str(stamp)] and float(found[2]) <= now:
                return timedelta(seconds=now - float(found[2]))
        try:
            # the first line, which names a holder, stays empty
            os.ftruncate(self._name_fd, 0)
            os.pwrite(self._name_fd, f"\nbehind {stamp} {now:.3f}\n".encode(), 0)
        except OSError:
            # a full disk: all that is left is the wall clock
            return timedelta(microseconds=(time.time_ns() - stamp) // 1000)
        return timedelta()

    def _kept_out(self, holder: str, age: timedelta) -> StateBusyError | HolderHangsError:
        return HolderHangsError(holder, lasting=age) if age >= self._longest else _busy(holder)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release()

    def _lock_itself(self, fd: int) -> _Lock:
        """Lock what the file is, by a lock that neither SQLite nor closing another handle touches.

        A file system without such locks is left with the lock file alone.
        """
        if _LOCK_BYTES is None:
            return _Lock.NONE
        ask = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, _IDENTITY_BYTE, 1, 0)
        try:
            fcntl.fcntl(fd, _LOCK_BYTES, ask)
        except BlockingIOError:
            return _Lock.TAKEN
        except OSError as error:
            log.debug("state file %s: no lock on the file itself: %s", self._state, error.strerror)
            return _Lock.NONE
        return _Lock.OURS

    def _release(self) -> None:
        for fd in (self._name_fd, self._state_fd, *(fd for fd, _ in self._left)):
            if fd >= 0:
                os.close(fd)
        self._name_fd = self._state_fd = -1
        self._left.clear()


def real_path(path: Path) -> Path:
    """Where a file really is, through all symbolic links; it need not exist."""
    return Path(os.path.realpath(path))


def _opened(path: Path, what: str, *, create: bool = True) -> int:
    # NONBLOCK: to open a pipe must not hang; NOFOLLOW: a link's target is not ours to write to
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(path, flags | (os.O_CREAT if create else 0), 0o600)
    except OSError as error:
        raise StoreError(f"{what} {path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise StoreError(f"{what} {path}: this is no regular file")
    return fd


def _lock_whole(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_named(path: Path, fd: int, *, missing: bool = False) -> bool:
    """Whether the path names this file; `missing`: what to say if it names none."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(fd))
    except FileNotFoundError:
        return missing
    except OSError:
        # nobody knows, so nothing changed
        return True


def _busy(holder: str) -> StateBusyError:
    return StateBusyError(
        f"another alerting process works on this state ({holder or 'unknown'}); nothing was done"
    )
