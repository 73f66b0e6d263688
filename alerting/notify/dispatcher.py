"""Takes messages from the outbox to their receivers, each receiver in a thread of its own."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from alerting.errors import AlertingError, StoreError
from alerting.messages.rendering import Renderer
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
    #: from the evaluation to the end of the attempt
    took: timedelta


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
    ) -> None:
        self._receiver = receiver
        self._store = store
        self._renderer = renderer
        self._build = build
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._retries = retries
        self._notifier: Notifier | None = None

    def deliver_next(self) -> Result | None:
        """Send the most urgent due message and book the outcome; None: nothing is due."""
        row = self._store.claim(self._receiver.name, now=self._clock())
        if row is None:
            return None
        attempt = self._attempt(row)
        now = self._clock()
        self._book(row, attempt, now)
        log.log(
            logging.INFO if attempt.outcome is SendOutcome.ACCEPTED else logging.WARNING,
            "receiver %s: message %d, attempt %d: %s (%s)",
            self._receiver.name,
            row.id,
            row.attempts,
            attempt.outcome.value,
            attempt.reason,
        )
        return Result(receiver=row.receiver, attempt=attempt, took=now - row.created_at)

    def _attempt(self, row: OutboxRow) -> Attempt:
        try:
            if self._notifier is None:
                self._notifier = self._build(self._receiver)
            render = self._renderer.plain if row.simplified else self._renderer.render
            message = render(
                row.notification,
                self._notifier.format,
                maybe_repeat=row.maybe_sent,
                now=self._clock(),
                room=self._notifier.room,
            )
            return self._notifier.send(message)
        except AlertingError as error:
            return Attempt(outcome=SendOutcome.PERMANENT, reason=str(error)[:200])
        except Exception as error:
            # a mistake of ours must not end the thread: then nothing would be sent any more
            log.exception("receiver %s: sending failed in an unforeseen way", row.receiver)
            return Attempt(
                outcome=SendOutcome.UNKNOWN, reason=f"internal error: {type(error).__name__}"
            )

    def _book(self, row: OutboxRow, attempt: Attempt, now: datetime) -> None:
        while True:
            try:
                self._book_once(row, attempt, now)
            except StoreError as error:
                # unbooked it would count as unsent: the state file must come back first
                log.error("receiver %s: %s; trying again", row.receiver, error)  # noqa: TRY400
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


class Dispatcher:
    """A thread per receiver that has something to send; a slow one delays no other."""

    def __init__(
        self,
        workers: Mapping[str, ReceiverWorker],
        *,
        store: Outbox,
        clock: Callable[[], datetime],
        on_result: Callable[[Result], None] = lambda _: None,
        retries: Retries = RETRIES,
    ) -> None:
        self._workers = workers
        self._store = store
        self._clock = clock
        self._on_result = on_result
        self._pause = retries.booking.total_seconds()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._wakers: dict[str, threading.Event] = {}
        self._busy: set[str] = set()

    def wake(self) -> None:
        """Something may be due: start or wake the threads of the receivers concerned."""
        for name in self._workers:
            if not self._may_be_due(name):
                continue
            with self._lock:
                waker = self._wakers.get(name) or self._start(name)
                if waker is not None:
                    waker.set()

    def _start(self, name: str) -> threading.Event | None:
        waker = threading.Event()
        thread = threading.Thread(
            target=self._work, args=(name, waker), name=f"receiver-{name}", daemon=True
        )
        self._busy.add(name)
        try:
            thread.start()
        except RuntimeError as error:
            # no thread to be had just now: whoever wakes next tries again
            log.error("receiver %s: %s", name, error)  # noqa: TRY400
            self._busy.discard(name)
            return None
        self._wakers[name] = waker
        return waker

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
        for waker in list(self._wakers.values()):
            waker.set()

    def _idle(self) -> bool:
        with self._lock:
            if self._busy:
                return False
        if self._stopping.is_set():
            return True
        now = self._clock()
        due = (self._store.next_due(name, now=now) for name in self._workers)
        return not any(at is not None and at <= now for at in due)

    def _work(self, name: str, waker: threading.Event) -> None:
        worker = self._workers[name]
        while not self._stopping.is_set():
            with self._lock:
                self._busy.add(name)
            waker.clear()
            pause = self._deliver_all(name, worker)
            with self._lock:
                self._busy.discard(name)
            if not self._stopping.is_set():
                waker.wait(pause)
        with self._lock:
            self._busy.discard(name)

    def _deliver_all(self, name: str, worker: ReceiverWorker) -> float | None:
        """Send what is due; the seconds until more may be, None: wait to be woken."""
        try:
            while not self._stopping.is_set():
                result = worker.deliver_next()
                if result is None:
                    break
                self._on_result(result)
            due = self._store.next_due(name, now=self._clock())
        except StoreError as error:
            log.error("receiver %s: %s", name, error)  # noqa: TRY400 - a user's disk, not a bug
            return self._pause
        except Exception:
            # the thread must live: without it this receiver would never be told anything again
            log.exception("receiver %s: delivering failed in an unforeseen way", name)
            return self._pause
        if due is None:
            return None
        return max(0.01, (due - self._clock()).total_seconds())
