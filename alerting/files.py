"""Whole files that somebody named in a rules file or on the command line, read without surprises.

Opening a named pipe waits for a writer and /dev/zero has no end: only a regular file is read, and
of that no more than its reader allows.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_NO_FILES: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "is a directory"),
    (stat.S_ISFIFO, "is a pipe and no file"),
    (stat.S_ISSOCK, "is a socket and no file"),
    (stat.S_ISCHR, "is a device and no file"),
    (stat.S_ISBLK, "is a device and no file"),
)


class UnreadableError(Exception):
    """Nothing is read from a path; the text says why, as in `PATH: is a directory`."""


class MissingFileError(UnreadableError):
    """There is no file of this name."""


class NoFileError(UnreadableError):
    """What has this name is no regular file."""


def open_file(path: Path) -> BinaryIO:
    """A regular file, open for reading, to be closed; raises UnreadableError, and never waits."""
    try:
        # looked at first, as merely opening some devices does something
        _refuse_no_file(path.stat().st_mode)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError as error:
        raise MissingFileError(_cannot(error)) from None
    except (OSError, ValueError) as error:
        raise UnreadableError(_cannot(error)) from None
    try:
        # and again, as it may be another one by now
        _refuse_no_file(os.fstat(descriptor).st_mode)
    except UnreadableError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_whole(path: Path, *, most: int) -> bytes:
    """All bytes of a regular file, if it has no more than `most`; UnreadableError otherwise."""
    with open_file(path) as file:
        try:
            raw = file.read(most + 1)
        except OSError as error:
            raise UnreadableError(_cannot(error)) from None
    if len(raw) > most:
        raise UnreadableError(f"is larger than {_size(most)}")
    return raw


def read_text(path: Path, *, most: int) -> str:
    """As `read_whole`, as text in UTF-8."""
    try:
        return read_whole(path, most=most).decode("utf-8")
    except UnicodeDecodeError:
        raise UnreadableError("is not text in UTF-8") from None


def no_file(mode: int) -> str | None:
    """What stands where a file is needed, by its st_mode; None: a regular file."""
    if stat.S_ISREG(mode):
        return None
    return next((text for is_kind, text in _NO_FILES if is_kind(mode)), "is no file")


def why_unread(error: OSError | ValueError) -> str:
    """Why a file cannot be opened or read, in the system's words."""
    return getattr(error, "strerror", None) or "this is no usable path"


def _cannot(error: OSError | ValueError) -> str:
    return f"cannot be read: {why_unread(error)}"


def _refuse_no_file(mode: int) -> None:
    wrong = no_file(mode)
    if wrong:
        raise NoFileError(wrong)


def _size(most: int) -> str:
    return f"{most // 1024} KiB" if most < 1024 * 1024 else f"{most // (1024 * 1024)} MiB"
