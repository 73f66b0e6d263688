"""What is printed for people: colours and progress where somebody sees them, tables, counts."""

from __future__ import annotations

import contextlib
import enum
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TextIO

# Below this the bar would be gone before anybody saw it.
_LONG_FILE = 4 * 1024 * 1024
_REDRAW_SECONDS = 0.1
_BAR_WIDTH = 24
_COLOURS = {
    "critical": "31;1",
    "warning": "33;1",
    "info": "36;1",
    "ok": "32",
    "resolved": "32",
    "new": "33;1",
    "gone": "32",
    "moved": "36;1",
    "changed": "36;1",
    "dim": "2",
    "bold": "1",
}


class Paint(enum.Enum):
    """Colours, where somebody sees them."""

    ON = True
    OFF = False

    def __call__(self, text: str, colour: str) -> str:
        """The text in a colour of the table above."""
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self.value else text


def program() -> str:
    """What to type for this program from here: `alerting` where the shell finds that one."""
    called = Path(sys.argv[0])
    if called.name != "alerting":
        # `python -m alerting`, or a test's own name: a script beside this Python, if there is one
        called = Path(sys.executable).with_name("alerting")
    found = shutil.which("alerting")
    if found is not None and (not called.exists() or Path(found).samefile(called)):
        return "alerting"
    if not called.exists():
        return f"{sys.executable} -m alerting"
    with contextlib.suppress(ValueError, OSError):
        near = called.absolute().relative_to(Path.cwd())
        return f"./{near}" if len(near.parts) == 1 else str(near)
    return str(called.absolute())


def count(number: int, noun: str) -> str:
    """`1 message`, `2 messages`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def width(text: str) -> int:
    """How many columns a text takes, colours left out."""
    columns, inside = 0, False
    for character in text:
        if character == "\x1b":
            inside = True
        elif inside:
            inside = character != "m"
        else:
            columns += 1
    return columns


def columns() -> int | None:
    """How wide the terminal is; None: nobody's, and lines may be as long as they are."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else None


def fit(text: str, room: int | None) -> str:
    """The text, cut to so many columns with an ellipsis; its colour ends where it ends."""
    if room is None or width(text) <= room:
        return text
    kept, shown, inside = "", 0, False
    for character in text:
        inside = inside or character == "\x1b"
        if not inside:
            shown += 1
            if shown >= room:
                break
        kept += character
        inside = inside and character != "m"
    return kept + "…" + ("\x1b[0m" if "\x1b" in kept else "")


def table(rows: Iterable[Sequence[str]], *, right_from: int | None = None) -> list[str]:
    """Lines of equally wide columns; those from `right_from` on are set to the right."""
    rows = list(rows)
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for number, (cell, columns) in enumerate(zip(row, widths, strict=True)):
            space = " " * (columns - width(cell))
            to_right = right_from is not None and number >= right_from
            cells.append(space + cell if to_right else cell + space)
        lines.append("  ".join(cells).rstrip())
    return lines


class ProgressBar:
    """How much of a long file is read, on a terminal; at most ten times a second."""

    def __init__(self, stream: TextIO, *, position: Callable[[], int], size: int | None) -> None:
        """`position` says how many of the file's `size` bytes are read; None: nobody knows."""
        self._stream = stream
        self._position = position
        self._size = size or 0
        self._on = stream.isatty() and self._size >= _LONG_FILE
        self._drawn = False
        self._due = 0.0

    def show(self, at: datetime) -> None:
        """What was read last is of this instant."""
        if not self._on or time.monotonic() < self._due:
            return
        share = min(1.0, self._position() / self._size)
        filled = round(share * _BAR_WIDTH)
        bar = "#" * filled + "." * (_BAR_WIDTH - filled)
        self._stream.write(f"\r\x1b[K[{bar}] {share:4.0%}  {at:%Y-%m-%d %H:%M}")
        self._stream.flush()
        self._drawn = True
        self._due = time.monotonic() + _REDRAW_SECONDS

    def clear(self) -> None:
        """Take the bar away, before anything else is printed."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False
