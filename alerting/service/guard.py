"""The guard: sees from a thread of its own that a loop does not get on, and has it told.

It uses no store and no network, so nothing of what can fail holds it up; the main loop looks at it.
"""

from __future__ import annotations

import threading
from typing import Protocol

from alerting.errors import AlertingError, LoopError
from alerting.loops import Duty, Loop, Loops, Run, Trouble

MAIN = "the main loop"
# Far longer than a look at a few clocks lasts.
_PATIENCE = 30.0


class Tell(Protocol):
    """Tells people past the outbox, once it lasted too long."""

    def __call__(
        self, what: str, error: AlertingError | None, *, duty: Duty, lasting: float
    ) -> None:
        """Something does not get on for so many seconds, or does again (None)."""


class Guard:
    """Looks every second at all loops."""

    def __init__(self, loops: Loops, *, tell: Tell, every: float = 1.0) -> None:
        self._loops = loops
        self._tell = tell
        self._every = every
        self._stopping = threading.Event()
        self._loop: Loop | None = None
        #: what was said not to get on
        self._known: dict[str, Duty] = {}

    def start(self) -> None:
        """Look from now on."""
        self._loop = self._loops.start(
            "the guard", self._watch, duty=Duty.DELIVER, patience=_PATIENCE, replace=True
        )

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        if self._loop is not None:
            self._loop.end()

    def look(self) -> None:
        """Have told what nobody else can tell."""
        troubles = self._loops.look()
        main_hangs = any(trouble.name == MAIN for trouble in troubles)
        found = {t.name: t for t in troubles if self._untold(t, main_hangs=main_hangs)}
        for name in [name for name in self._known if name not in found]:
            self._tell(name, None, duty=self._known.pop(name), lasting=0.0)
        for name, trouble in found.items():
            self._known[name] = trouble.duty
            error = LoopError(f"{trouble} (restart it: a mistake of alerting, or of this machine)")
            self._tell(name, error, duty=trouble.duty, lasting=trouble.lasting)

    def _untold(self, trouble: Trouble, *, main_hangs: bool) -> bool:
        """Accounts are judged blind by the main loop, while that gets on."""
        if trouble.duty is Duty.SHOW:
            return False
        return main_hangs or trouble.duty is not Duty.JUDGE

    def _watch(self, run: Run) -> None:
        while run.wanted and not self._stopping.wait(self._every):
            run.begin()
            self.look()
            run.done()
