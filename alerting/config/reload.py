"""Takes over a changed rules file while the daemon runs; an invalid one is told and left out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from alerting.config.settings import Config
from alerting.engine.rules import Rule
from alerting.errors import AlertingError, ConfigError, LoopError

log = logging.getLogger("alerting")

_Signature = tuple[int, int, int] | None


class Reloader:
    """Notices that the file changed, or that somebody asked (SIGHUP), and loads it.

    It is made before the file is loaded for the first time: what changes from then on is news.
    """

    def __init__(self, path: Path, load: Callable[[], Config]) -> None:
        self._path = path
        self._load = load
        self._asked = threading.Event()
        self._taken = self._before = self._signature()

    def ask(self) -> None:
        """Load at the next check whether it changed or not; safe in a signal handler."""
        self._asked.set()

    def check(self) -> Config | AlertingError | None:
        """The new configuration, or what is wrong with it; None: nothing new."""
        before, self._before = self._before, self._signature()
        # a file that is being written is left alone until it stands still for one check
        changed = self._before != self._taken and self._before == before
        if not changed and not self._asked.is_set():
            return None
        self._asked.clear()
        self._taken = self._before
        try:
            return self._load()
        except AlertingError as error:
            log.error("the rules file is not taken over: %s", brief(error))  # noqa: TRY400
            return error
        except Exception as error:
            # a mistake of ours: whoever changed the file must hear that it is not in use
            log.exception("the rules file is not taken over")
            return LoopError(f"reading it fails in an unforeseen way ({type(error).__name__})")

    def _signature(self) -> _Signature:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


def brief(error: AlertingError) -> str:
    """The first problem, and how many more there are."""
    if not isinstance(error, ConfigError):
        return str(error)
    more = sum(problem.more or 1 for problem in error.problems) - 1
    return str(error.problems[0]) + (f" (and {more} more)" if more else "")


def differences(old: Config, new: Config) -> Iterator[str]:
    """What a reload changes, one line for each rule, account and receiver."""
    yield from _changes("rule", _by_name(old.ruleset.rules), _by_name(new.ruleset.rules))
    yield from _changes("account", old.accounts, new.accounts)
    yield from _changes("receiver", old.receivers, new.receivers)
    if old.ruleset.routes != new.ruleset.routes:
        yield "routes: changed"
    if old.poll != new.poll:
        yield "poll: changed"


def _changes(kind: str, old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[str]:
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in new:
            yield f"{kind} {name}: removed"
        elif name not in old:
            yield f"{kind} {name}: added"
        elif old[name] != new[name]:
            yield f"{kind} {name}: changed"


def _by_name(rules: tuple[Rule, ...]) -> dict[str, Rule]:
    return {rule.name: rule for rule in rules}
