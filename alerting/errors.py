"""Every error that this program raises on purpose.

AlertingError
├── ConfigError      the rules file (or a file that it names) is wrong; carries all problems at once
├── StoreError       the state file cannot be opened, read or written
├── StateBusyError   another process works on the same state
├── LoopError        a part of the running program died, hangs or fails in an unforeseen way
├── LibraryError     a library that is installed is too old
├── NotFoundError    what was asked for does not exist (any more)
├── OutputError     standard output cannot be written
└── UsageError       a command was asked for something that does not exist
"""

from __future__ import annotations

from dataclasses import dataclass


class AlertingError(Exception):
    """The base of all; its text is a sentence for the user and carries no secret."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing wrong with a file, where it stands."""

    #: the file as the user named it
    file: str
    #: 1-based; None: the whole file
    line: int | None = None
    #: 1-based; None: the whole line
    column: int | None = None
    #: dotted path of the key, "" for the file itself
    path: str = ""
    message: str
    #: it stands for so many problems that are not told, after all others of its file
    more: int = 0

    def __str__(self) -> str:
        spot = [str(part) for part in (self.file, self.line, self.column) if part is not None]
        return ": ".join(part for part in (":".join(spot), self.path, self.message) if part)


class ConfigError(AlertingError):
    """The rules file is invalid; `problems` holds everything found, in the file's order."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(
            problems, key=lambda p: (p.file, p.more, p.line or 0, p.column or 0, p.message)
        )
        super().__init__("\n".join(str(problem) for problem in self.problems))


class StoreError(AlertingError):
    """The state file cannot be used."""


class StateBusyError(AlertingError):
    """Another process already polls and sends for this state file."""


class LoopError(AlertingError):
    """A part of the running program does not get on: it died, hangs or fails unforeseen."""


class LibraryError(AlertingError):
    """A library that is installed is too old to be relied on."""


class NotFoundError(AlertingError):
    """What was asked for does not exist (any more)."""


class UsageError(AlertingError):
    """The command cannot be carried out as it was asked for."""


class OutputError(AlertingError):
    """Standard output cannot be written; whoever reads it does not have all."""
