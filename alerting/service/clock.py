"""The program's clock: the wall clock, as long as it goes as time passes.

Whoever sets a machine's clock moves no time. Between two looks at it the wall clock must have gone
as far as the machine's uptime has; where it has not, it jumped, and the program goes on by the
uptime. A jump that stands for a while was a correction: it is taken over, and all that is stored as
an instant from which time is counted moves with it (`clock_moved`). So no jump ages anything, and
one that is taken back was never there.

Uptime is comparable between processes of one boot, so cron is as sure of its clock as the daemon
is. After a boot only the state file remains to be compared with: a clock that is behind what was
seen was set back; one that is ahead is believed, since the machine may have been off.
"""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from alerting.errors import StoreError
from alerting.store.documents import from_micros, to_micros
from alerting.store.facts import FactStore
from alerting.units import format_duration

log = logging.getLogger("alerting")

#: The wall clock may be corrected by so much at once without being asked.
TOLERANCE = timedelta(seconds=2)
#: A clock that jumped is believed again after so long.
STOOD = timedelta(minutes=5)

_KEY = "clock"
_MICROSECOND = timedelta(microseconds=1)


class ClockStore(FactStore, Protocol):
    """What is asked of the state file; each method raises StoreError if it cannot be used."""

    def evaluations(self) -> Mapping[str, datetime]:
        """When each account was last evaluated."""

    def clock_moved(self, by: timedelta, *, now: datetime) -> None:
        """Move all from which time is counted with the clock, that says `now` from now on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Uptime:
    """How long the machine has been up; grows as time passes, whoever sets the clock."""

    #: names the boot; empty: uptimes of two processes cannot be compared
    boot: str
    since: timedelta


def uptime() -> Uptime:
    """The machine's, sleep included where the system counts it."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return Uptime(boot=_boot(), since=time.clock_gettime_ns(clock) // 1000 * _MICROSECOND)


@functools.cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Doubt:
    """A wall clock that jumped."""

    #: when the machine was started, by that clock
    started: datetime
    #: the uptime when it was first seen
    since: timedelta


class SteadyClock:
    """Says what time it is; one per process, shared by its threads."""

    def __init__(self, wall: Callable[[], datetime], uptime: Callable[[], Uptime] = uptime) -> None:
        #: the machine's own, for who must know it: the exchange
        self.wall = wall
        self._uptime = uptime
        self._lock = threading.Lock()
        self._boot = ""
        #: when the machine was started, by the clock that is believed; None: not looked yet
        self._started: datetime | None = None
        self._doubt: _Doubt | None = None
        #: it jumped and came back: what was stored by it meanwhile lies ahead
        self._returned = False
        self._kept = ""

    def __call__(self) -> datetime:
        """The present."""
        with self._lock:
            return self._look()[0]

    def resume(self, store: ClockStore) -> None:
        """Go on from what earlier processes knew of the clock; StoreError as the store."""
        now = self()
        text = store.meta(_KEY)
        known = _read(text) if text else None
        if known is not None and self._boot and known[0] == self._boot:
            with self._lock:
                _, self._started, self._doubt = known
        else:
            seen = max(store.evaluations().values(), default=now)
            if seen - now > TOLERANCE:
                log.warning("the clock is %s behind what was seen", format_duration(seen - now))
                store.clock_moved(now - seen, now=now)
        self.keep(store)

    def keep(self, store: ClockStore) -> None:
        """Take over a jump that stood for long enough, and remember; StoreError as the store."""
        with self._lock:
            now, up, started = self._look()
            doubt = self._doubt
        if doubt is not None and up - doubt.since >= STOOD:
            by = doubt.started - started
            store.clock_moved(by, now=now + by)
            started = doubt.started
            with self._lock:
                self._started, self._doubt = started, None
            log.warning("the clock has stood %s off for long: it is believed now", _signed(by))
        elif self._returned and doubt is None:
            store.clock_moved(timedelta(0), now=now)
            self._returned = False
        text = self._text(started)
        if text != self._kept:
            store.set_meta(_KEY, text)
            self._kept = text

    def _look(self) -> tuple[datetime, timedelta, datetime]:
        """The instant that is believed, the uptime, and when the machine was started by that."""
        wall, uptime = self.wall(), self._uptime()
        self._boot, up = uptime.boot, uptime.since
        started = wall - up
        believed = started if self._started is None else self._started
        if abs(started - believed) <= TOLERANCE:
            if self._doubt is not None:
                self._doubt, self._returned = None, True
                log.warning("the clock came back")
            self._started = started
            return wall, up, started
        if self._doubt is None or abs(started - self._doubt.started) > TOLERANCE:
            log.warning(
                "the clock jumped by %s; going on by elapsed time until it has stood for %s",
                _signed(started - believed),
                format_duration(STOOD),
            )
            self._doubt = _Doubt(started=started, since=up)
        return _milliseconds(believed + up), up, believed

    def _text(self, started: datetime) -> str:
        """What is remembered; the same again while nothing of it changes by much."""
        with self._lock:
            doubt = self._doubt
        if self._kept:
            # the two clocks are not read at one instant: a hair's difference is no news
            before = _read(self._kept)
            if before is not None and abs(before[1] - started) < TOLERANCE / 4:
                started = before[1]
        return json.dumps(
            {
                "boot": self._boot,
                "started": to_micros(started),
                "doubt": None
                if doubt is None
                else [to_micros(doubt.started), doubt.since // _MICROSECOND],
            }
        )


def _read(text: str) -> tuple[str, datetime, _Doubt | None] | None:
    """(boot, started, doubt); None: not readable, so nothing is known."""
    try:
        known = json.loads(text)
        doubt = known["doubt"] and _Doubt(
            started=from_micros(known["doubt"][0]), since=known["doubt"][1] * _MICROSECOND
        )
        return str(known["boot"]), from_micros(known["started"]), doubt
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None


def keep_safely(clock: SteadyClock, store: ClockStore) -> None:
    """As `keep`; the state file's errors are told by whoever judges."""
    try:
        clock.keep(store)
    except StoreError as error:
        log.error("%s; trying again", error)  # noqa: TRY400 - a user's disk, not a bug


def _milliseconds(instant: datetime) -> datetime:
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def _signed(length: timedelta) -> str:
    """Whole seconds: the two clocks are not read at one instant, so less says nothing."""
    whole = timedelta(seconds=round(length.total_seconds()))
    return ("" if whole < timedelta(0) else "+") + format_duration(whole)
