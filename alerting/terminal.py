"""What is printed for people: colours where somebody sees them, tables, counted words."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

_COLOURS = {
    "critical": "31;1",
    "warning": "33;1",
    "info": "36;1",
    "ok": "32",
    "resolved": "32;1",
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
