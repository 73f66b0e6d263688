"""Takes messages from the outbox to their receivers, each receiver in a thread of its own."""

from __future__ import annotations

import functools
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from alerting.errors import AlertingError, LoopError, StoreError
from alerting.loops import Duty, Loop, Loops, Run
from alerting.messages.rendering import Renderer
from alerting.notify.attempts import broken, impossible
from alerting.notify.receivers import Attempt, Notifier, SendOutcome
from alerting.notify.settings import ReceiverSettings
from alerting.store.outbox import LONGEST_HOLD, OutboxRow

log = logging.getLogger("alerting.delivery")


@dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """When what went wrong is tried again."""

    #: after the first attempt; each later pause is twice the one before ...
    first: timedelta = timedelta(seconds=5)
    #: ... up to this
    longest: timedelta = timedelta(minutes=5)
    #: between two tries to book a result in the state file
    booking: timedelta = timedelta(seconds=1)


RETRIES = Retries()
# Seconds that one message may take, far beyond a send's own deadline: what takes longer hangs.
_TURN = 120.0


class OnState(Protocol):
    """Told whether a loop could do its work: None, or why not."""

    def __call__(self, what: str, error: AlertingError | None, /) -> None:
        """Never waits."""


def loop_name(receiver: str) -> str:
    """What a receiver's loop is called wherever it is spoken of."""
    return f"receiver {receiver}"


class NotifierFactory(Protocol):
    """Builds the notifier of a receiver; raises AlertingError if it could never work."""

    def __call__(self, receiver: ReceiverSettings, /) -> Notifier:
        """Build one."""


class Outbox(Protocol):
    """What delivering needs of the store; any of it may raise StoreError."""

    def next_due(self, receiver: str, *, now: datetime | None = None) -> datetime | None:
        """When `claim` may find something next."""

    def claim(self, receiver: str, *, now: datetime) -> OutboxRow | None:
        """The most urgent due message, booked as being sent."""

    def mark_sent(self, row: OutboxRow, *, reason: str, now: datetime) -> None:
        """It was accepted."""

    def mark_retry(
        self, row: OutboxRow, *, reason: str, next_at: datetime, maybe_sent: bool
    ) -> None:
        """It is tried again."""

    def mark_simplified(self, row: OutboxRow, *, reason: str, now: datetime) -> None:
        """It is tried again at once, as the plainest text."""

    def mark_dead(self, row: OutboxRow, *, reason: str, now: datetime) -> None:
        """It is given up."""

    def hold_receiver(self, receiver: str, *, until: datetime) -> None:
        """The service wants to be left alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One attempt that ended."""

    receiver: str
    attempt: Attempt


class ReceiverWorker:
    """Delivers one receiver's messages, one at a time."""

    def __init__(
        self,
        receiver: ReceiverSettings,
        *,
        store: Outbox,
        renderer: Renderer,
        build: NotifierFactory,
        clock: Callable[[], datetime],
        rng: random.Random | None = None,
        retries: Retries = RETRIES,
        on_state: OnState = lambda _what, _error: None,
    ) -> None:
        self._receiver = receiver
        self._store = store
        self._renderer = renderer
        self._build = build
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._retries = retries
        self._on_state = on_state
        self._notifier: Notifier | None = None
        #: claimed, and not booked yet
        self._sending: OutboxRow | None = None

    def take_up(self) -> None:
        """Go on after a thread that died or hangs: what it was sending may have arrived."""
        row, self._notifier = self._sending, None
        if row is not None:
            reason = "the thread that was sending it died or hangs"
            self._store.mark_retry(row, reason=reason, next_at=self._clock(), maybe_sent=True)
            self._sending = None

    def deliver_next(self, gets_on: Callable[[], None] = lambda: None) -> Result | None:
        """Send the most urgent due message and book the outcome; None: nothing is due.

        `gets_on` is called as often as something was done.
        """
        row = self._store.claim(self._receiver.name, now=self._clock())
        if row is None:
            return None
        self._sending = row
        attempt = self._attempt(row)
        now = self._clock()
        self._book(row, attempt, now, gets_on)
        if self._sending is row:
            self._sending = None
        log.log(
            logging.INFO if attempt.outcome is SendOutcome.ACCEPTED else logging.WARNING,
            "receiver %s: message %d, attempt %d: %s (%s)",
            self._receiver.name,
            row.id,
            row.attempts,
            attempt.outcome.value,
            attempt.reason,
        )
        return Result(receiver=row.receiver, attempt=attempt)

    def _attempt(self, row: OutboxRow) -> Attempt:
        try:
            # its own name: `take_up` of the next thread may take the sender away meanwhile
            notifier = self._notifier or self._build(self._receiver)
            self._notifier = notifier
            render = self._renderer.plain if row.simplified else self._renderer.render
            message = render(
                row.notification,
                notifier.format,
                maybe_repeat=row.maybe_sent,
                now=self._clock(),
                room=notifier.room,
            )
            return notifier.send(message)
        except AlertingError as error:
            return impossible(error)
        except BaseException as error:
            # a mistake of ours must not end the thread: then nothing would be sent any more; nor
            # must a library that calls sys.exit
            log.exception("receiver %s: sending failed in an unforeseen way", row.receiver)
            return broken(error)

    def _book(
        self, row: OutboxRow, attempt: Attempt, now: datetime, gets_on: Callable[[], None]
    ) -> None:
        while True:
            gets_on()
            try:
                self._book_once(row, attempt, now)
            except StoreError as error:
                # unbooked it would count as unsent: the state file must come back first
                log.error("receiver %s: %s; trying again", row.receiver, error)  # noqa: TRY400
                self._on_state(loop_name(row.receiver), error)
                time.sleep(self._retries.booking.total_seconds())
            else:
                return

    def _book_once(self, row: OutboxRow, attempt: Attempt, now: datetime) -> None:
        reason = attempt.reason
        if attempt.outcome is SendOutcome.ACCEPTED:
            self._store.mark_sent(row, reason=reason, now=now)
        elif attempt.outcome is SendOutcome.PERMANENT:
            if attempt.payload_refused and not row.simplified:
                self._store.mark_simplified(row, reason=reason, now=now)
            else:
                self._store.mark_dead(row, reason=reason, now=now)
        else:
            unknown = attempt.outcome is SendOutcome.UNKNOWN
            delay = min(attempt.retry_after or self.backoff(row.attempts), LONGEST_HOLD)
            if attempt.retry_after:
                self._store.hold_receiver(row.receiver, until=now + delay)
            self._store.mark_retry(row, reason=reason, next_at=now + delay, maybe_sent=unknown)

    def backoff(self, attempts: int) -> timedelta:
        """The pause after so many attempts: 5 s, 10 s ... 5 minutes, up to a fifth more or less."""
        doublings = min(attempts - 1, 10)
        delay = min(self._retries.first * (1 << doublings), self._retries.longest)
        return delay * self._rng.uniform(0.8, 1.2)


@dataclass(kw_only=True, slots=True)
class _Lane:
    """One receiver's thread, once it had something to send."""

    loop: Loop | None = None
    waker: threading.Event = field(default_factory=threading.Event)
    #: something may be due or is being sent
    busy: bool = True


class Dispatcher:
    """A thread per receiver that has something to send; a slow one delays no other.

    The threads are `loops`: whoever looks at those sees one that died or hangs.
    """

    def __init__(
        self,
        workers: Mapping[str, ReceiverWorker],
        *,
        store: Outbox,
        clock: Callable[[], datetime],
        on_result: Callable[[Result], None] = lambda _: None,
        retries: Retries = RETRIES,
        loops: Loops | None = None,
        on_state: OnState = lambda _what, _error: None,
    ) -> None:
        self._workers = workers
        self._store = store
        self._clock = clock
        self._on_result = on_result
        self._pause = retries.booking.total_seconds()
        self._loops = loops or Loops()
        self._on_state = on_state
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._lanes: dict[str, _Lane] = {}

    def wake(self) -> None:
        """Something may be due: start or wake the threads of the receivers concerned."""
        for name in self._workers:
            if not self._may_be_due(name):
                continue
            with self._lock:
                lane = self._lanes.get(name)
                if lane is None:
                    self._start(name)
                else:
                    lane.waker.set()
                    self._look(lane)

    def _start(self, name: str) -> None:
        lane = self._lanes[name] = _Lane()
        lane.loop = self._loops.start(
            loop_name(name),
            functools.partial(self._work, name, lane),
            duty=Duty.DELIVER,
            patience=_TURN,
            replace=True,
        )

    def _look(self, lane: _Lane) -> None:
        if lane.loop is not None and lane.loop.look() is not None:
            # another thread takes it up
            lane.busy = not self._stopping.is_set() or lane.busy

    def _may_be_due(self, name: str) -> bool:
        try:
            return self._store.next_due(name) is not None
        except StoreError:
            # its thread asks again until the state file answers: what is committed must go out
            return True

    def drain(self, *, seconds: float) -> bool:
        """Wait until nothing is due or being sent; False: it took too long."""
        deadline = time.monotonic() + seconds
        while not self._idle():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        return True

    def stop(self) -> None:
        """Let the threads end after what they are sending now."""
        self._stopping.set()
        with self._lock:
            for lane in self._lanes.values():
                lane.waker.set()

    def _idle(self) -> bool:
        with self._lock:
            for lane in self._lanes.values():
                self._look(lane)
            if any(lane.busy for lane in self._lanes.values()):
                return False
        if self._stopping.is_set():
            return True
        now = self._clock()
        due = (self._store.next_due(name, now=now) for name in self._workers)
        return not any(at is not None and at <= now for at in due)

    def _work(self, name: str, lane: _Lane, run: Run) -> None:
        worker = self._workers[name]
        taken_up = False
        # what a thread before this one left is taken up even while all of them end
        while run.wanted and not (taken_up and self._stopping.is_set()):
            with self._lock:
                lane.busy = True
            lane.waker.clear()
            run.begin()
            try:
                if not taken_up:
                    worker.take_up()
                    taken_up = True
                pause = self._deliver_all(worker, name, run)
            except StoreError as error:
                log.error("receiver %s: %s", name, error)  # noqa: TRY400 - a user's disk, not a bug
                pause = self._failed(name, error)
            except Exception as error:
                # the thread must live: without it this receiver would never be told anything again
                log.exception("receiver %s: delivering failed in an unforeseen way", name)
                text = f"delivering to {name} fails ({type(error).__name__})"
                pause = self._failed(name, LoopError(text))
            if not run.wanted:
                return
            run.done()
            with self._lock:
                lane.busy = False
            if not self._stopping.is_set():
                lane.waker.wait(pause)
        with self._lock:
            lane.busy = lane.busy and not run.wanted

    def _failed(self, name: str, error: AlertingError) -> float:
        self._on_state(loop_name(name), error)
        return self._pause

    def _deliver_all(self, worker: ReceiverWorker, name: str, run: Run) -> float | None:
        """Send what is due; the seconds until more may be, None: wait to be woken."""
        while run.wanted and not self._stopping.is_set():
            run.begin()
            result = worker.deliver_next(run.begin)
            if result is None:
                break
            self._on_result(result)
        due = self._store.next_due(name, now=self._clock())
        self._on_state(loop_name(name), None)
        if due is None:
            return None
        return max(0.01, (due - self._clock()).total_seconds())
