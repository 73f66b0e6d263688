"""The real program in a process of its own, whose clock and mishaps are decided outside of it.

Started by tests/support/week.py: `python -m tests.support.week_program SHARED [arguments of alerting]`.
Replaced are the clock, the machine's uptime, and patience that would be long in a simulated week:
with receivers, with a lock on the state file, and between two looks of the main loop. Where a flag in
the shared memory is set, the next call of one function raises what would end a thread.
"""

from __future__ import annotations

import enum
import functools
import gc
import mmap
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

START = datetime(2026, 1, 5, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PAGE = 4096


class Mishap(enum.IntEnum):
    """What fails once when its flag is set."""

    #: the thread of an account ends
    ACCOUNT = 0
    #: the thread of a receiver ends, after a message and before that is booked
    RECEIVER = 1
    GUARD = 2
    HEARTBEAT = 3
    #: an unforeseen exception ...
    JUDGING = 4
    PRUNING = 5


class Shared:
    """Memory that both share: the time, what the clock is off by, a count of objects, the flags."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_PAGE))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _PAGE)
        self._numbers = memoryview(self._memory)[:24].cast("q")

    def set_passed(self, passed: timedelta) -> None:
        self._numbers[0] = passed // _MICROSECOND

    def set_off(self, off: timedelta) -> None:
        self._numbers[1] = off // _MICROSECOND

    @property
    def passed(self) -> timedelta:
        """Since the start."""
        return self._numbers[0] * _MICROSECOND

    def now(self) -> datetime:
        """What the machine's clock says."""
        return START + (self._numbers[0] + self._numbers[1]) * _MICROSECOND

    @property
    def objects(self) -> int:
        """How many Python objects the program had when it was last asked to count; 0: not yet."""
        return self._numbers[2]

    def set_objects(self, count: int) -> None:
        self._numbers[2] = count

    def order(self, mishap: Mishap) -> None:
        self._memory[24 + mishap] = 1

    def ordered(self, mishap: Mishap) -> bool:
        return bool(self._memory[24 + mishap])

    def take(self, mishap: Mishap) -> bool:
        """Whether it is to happen now; it happens once."""
        if not self._memory[24 + mishap]:
            return False
        self._memory[24 + mishap] = 0
        return True


def _count(shared: Shared) -> None:
    gc.collect()
    shared.set_objects(len(gc.get_objects()))


def _fail(shared: Shared, mishap: Mishap, owner: object, name: str, error: type[BaseException]):
    """Let a function of the program raise when it is called next after the flag was set."""
    real: Callable = getattr(owner, name)

    @functools.wraps(real)
    def maybe(*args, **kwargs):
        if shared.take(mishap):
            raise error(f"mishap {mishap.name}")
        return real(*args, **kwargs)

    setattr(owner, name, maybe)


def _prepare(shared: Shared) -> None:
    from alerting.cli import context
    from alerting.monitoring.heartbeat import Heartbeat
    from alerting.notify import receivers
    from alerting.notify.dispatcher import ReceiverWorker
    from alerting.service import cycle, daemon, supervisor
    from alerting.service.clock import Uptime
    from alerting.service.guard import Guard
    from alerting.store import database
    from alerting.store.state import Store

    context.now = shared.now
    quick = {"read": timedelta(milliseconds=300), "total": timedelta(seconds=1)}
    receivers.MAIL_TIMING = receivers.Timing(**quick)
    receivers.Timing = functools.partial(receivers.Timing, **quick)
    Store.__init__.__kwdefaults__["busy_timeout"] = timedelta(milliseconds=100)
    database._connect = _without_waiting_for_the_disk(database._connect)
    loop = daemon.LoopSettings(
        look_every=0.02, program_every=0.1, prune_every=timedelta(milliseconds=500)
    )
    supervisor.Supervisor = functools.partial(
        supervisor.Supervisor,
        loop=loop,
        uptime=lambda: Uptime(boot="simulated", since=shared.passed),
    )
    _fail(shared, Mishap.ACCOUNT, daemon, "next_due", SystemExit)
    _fail(shared, Mishap.RECEIVER, ReceiverWorker, "_book_once", SystemExit)
    _fail(shared, Mishap.GUARD, Guard, "look", SystemExit)
    _fail(shared, Mishap.HEARTBEAT, Heartbeat, "ping_if_due", SystemExit)
    _fail(shared, Mishap.JUDGING, cycle, "evaluate", MemoryError)
    _fail(shared, Mishap.PRUNING, cycle.Cycle, "prune", RuntimeError)


def _without_waiting_for_the_disk(connect: Callable) -> Callable:
    """What a loss of power would do is not asked here, and each commit waits for the disk."""

    def connected(*args):
        connection = connect(*args)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    return connected


def main() -> int:
    shared = Shared(Path(sys.argv.pop(1)))
    # no thread of its own, which would count among the program's
    signal.signal(signal.SIGUSR2, lambda *_: _count(shared))
    _prepare(shared)
    from alerting.cli.main import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
