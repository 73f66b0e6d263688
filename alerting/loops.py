"""Loops that are watched from outside: one that died starts again, one that hangs is named.

A thread cannot tell that it died or hangs. So each loop says when a turn of its work begins and
when it is done, and whoever looks (`Loops.look`, from two threads that look at each other) sees the
rest.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger("alerting.loops")

# A thread that hangs cannot be ended: so many of them are left behind, then the loop only counts
# as hanging.
_MOST_LEFT_BEHIND = 3
# Seconds between two starts of what dies again and again.
_LONGEST_PAUSE = 30


class Duty(enum.Enum):
    """What is not done while a loop does not get on."""

    JUDGE = "judged"
    DELIVER = "delivered"
    #: what shows how the program is: the heartbeat, the metrics, the pages
    SHOW = "shown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """A loop that does not get on."""

    name: str
    duty: Duty
    #: "has not got on for 61 s", "died (MemoryError)"
    text: str
    #: seconds since it last got on
    lasting: float

    def __str__(self) -> str:
        return f"{self.name} {self.text}"


class Pulse:
    """Whether one loop gets on: `begin` and `done` are called by whoever runs it.

    A turn that lasts longer than `patience` (seconds) hangs. Between turns nothing is expected.
    """

    def __init__(
        self, name: str, *, duty: Duty, patience: float, monotonic: Callable[[], float]
    ) -> None:
        self.name = name
        self.duty = duty
        self._patience = patience
        self._monotonic = monotonic
        self._began: float | None = None
        #: when the first turn began that was not done since
        self._ill_since: float | None = None

    def begin(self) -> None:
        """A turn begins, or goes on to its next step: from here on it is waited for."""
        self._began = self._monotonic()

    def done(self) -> None:
        """It ended well: whatever was wrong before is over."""
        self._began = self._ill_since = None

    def look(self) -> Trouble | None:
        """What is wrong, as somebody else sees it; None: nothing."""
        return self._trouble(self._hanging()) if self._hangs() else None

    def _hanging(self) -> str:
        return f"has not got on for {self._hangs():.0f} s"

    def _hangs(self) -> float:
        began = self._began
        lasting = 0.0 if began is None else self._monotonic() - began
        return lasting if lasting >= self._patience else 0.0

    def _trouble(self, text: str) -> Trouble:
        # each is read once: the thread that is looked at may be done at any moment
        now, began, since = self._monotonic(), self._began, self._ill_since
        if since is None:
            self._ill_since = since = now if began is None else began
            log.error("%s %s", self.name, text)
        return Trouble(name=self.name, duty=self.duty, text=text, lasting=now - since)


class Run:
    """One thread of a loop, as its work sees it; left behind, it says nothing any more."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    @property
    def wanted(self) -> bool:
        """Whether to go on; False: the loop ended, or went on without this thread."""
        return self._loop.current(self)

    def begin(self) -> None:
        """As `Pulse.begin`."""
        if self.wanted:
            self._loop.begin()

    def done(self) -> None:
        """As `Pulse.done`."""
        if self.wanted:
            self._loop.done()


class Loop(Pulse):
    """A thread whose `work` goes on while its run is wanted, whatever that raises."""

    def __init__(
        self,
        name: str,
        work: Callable[[Run], object],
        *,
        duty: Duty,
        patience: float,
        replace: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name, duty=duty, patience=patience, monotonic=monotonic)
        self._work = work
        #: a thread that hangs is left behind for a new one
        self._replace = replace
        self._run: Run | None = None
        self._thread: threading.Thread | None = None
        self._ended = False
        self._left_behind: list[threading.Thread] = []
        #: why its last thread died, and how many did since it last got on
        self._died_of = ""
        self._deaths = 0
        self._started_at = 0.0
        self._looking = threading.Lock()

    @property
    def over(self) -> bool:
        """It ended, as it was to: nobody needs to look at it any more."""
        return self._ended

    @property
    def running(self) -> bool:
        """Its thread is there."""
        return self._thread is not None and self._thread.is_alive()

    def current(self, run: Run) -> bool:
        """Whether this is the thread that does the work."""
        return run is self._run and not self._ended

    def start(self) -> None:
        """Start its thread; where none is to be had, `look` tries again."""
        self._run = run = Run(self)
        self._began = None
        self._started_at = self._monotonic()
        thread = threading.Thread(target=self._go, args=(run,), name=self.name, daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            self._died_of = str(error)
            self._deaths += 1
            self._thread = None
        else:
            self._thread = thread

    def end(self) -> None:
        """Begin nothing more; what is under way ends by itself."""
        self._ended = True

    def join(self, seconds: float) -> None:
        """Wait for what is under way."""
        if self._thread is not None:
            self._thread.join(seconds)

    def look(self) -> Trouble | None:
        """What is wrong; starts again what died, and what hangs where that can be done."""
        with self._looking:
            if self._ended:
                return None
            if self._thread is None or not self._thread.is_alive():
                return self._revive()
            if self._hangs():
                return self._leave_behind(self._thread)
            if self._ill_since is not None:
                return self._trouble("has not got on since it was started again")
            return None

    def done(self) -> None:
        """As `Pulse.done`."""
        super().done()
        self._deaths = 0

    def _revive(self) -> Trouble:
        trouble = self._trouble(f"died ({self._died_of})")
        # at once, then more and more rarely
        pause = min(self._deaths - 1, _LONGEST_PAUSE)
        if self._monotonic() - self._started_at >= pause:
            log.warning("%s is started again", self.name)
            self.start()
        return trouble

    def _leave_behind(self, thread: threading.Thread) -> Trouble:
        trouble = self._trouble(self._hanging())
        self._left_behind = [each for each in self._left_behind if each.is_alive()]
        if self._replace and len(self._left_behind) < _MOST_LEFT_BEHIND:
            log.warning("%s goes on in another thread", self.name)
            self._left_behind.append(thread)
            self.start()
        return trouble

    def _go(self, run: Run) -> None:
        try:
            self._work(run)
        except BaseException as error:
            if run is self._run:
                self._died_of = type(error).__name__
                self._deaths += 1
            with contextlib.suppress(BaseException):
                # without memory not even this works, and it must not hide the death
                log.critical("%s failed in an unforeseen way", self.name, exc_info=error)
        else:
            # it returned: somebody asked it to
            self._ended = self._ended or run is self._run


class Loops:
    """All loops of a process; may be looked at from any thread."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._pulses: list[Pulse] = []

    def pulse(self, name: str, *, duty: Duty, patience: float) -> Pulse:
        """Something that has a thread already."""
        pulse = Pulse(name, duty=duty, patience=patience, monotonic=self._monotonic)
        with self._lock:
            self._pulses.append(pulse)
        return pulse

    def start(
        self,
        name: str,
        work: Callable[[Run], object],
        *,
        duty: Duty,
        patience: float,
        replace: bool = False,
    ) -> Loop:
        """Start a loop; it is looked at until it ends."""
        loop = Loop(
            name,
            work,
            duty=duty,
            patience=patience,
            replace=replace,
            monotonic=self._monotonic,
        )
        loop.start()
        with self._lock:
            self._pulses.append(loop)
        return loop

    def forget(self, pulse: Pulse) -> None:
        """It is over."""
        with self._lock:
            self._pulses = [each for each in self._pulses if each is not pulse]

    def look(self) -> list[Trouble]:
        """Start again what died; everything that does not get on."""
        with self._lock:
            self._pulses = [p for p in self._pulses if not (isinstance(p, Loop) and p.over)]
            found = [pulse.look() for pulse in self._pulses]
        return [trouble for trouble in found if trouble is not None]
