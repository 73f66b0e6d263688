"""The last resort: while the state file cannot be used, every receiver is told so, past the outbox.

Without a state nothing can be judged or queued, and silence would look like safety. Two empty files
beside the state file (or, where none can be made there, in the folder for temporary files) remember
since when it fails and when that was last told, so that cron does not tell it every minute. Where
they cannot be made either, each failing start tells it: too loud is better than silent.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alerting.engine.model import Alert, Item, Notification, Reason, Severity, State
from alerting.errors import AlertingError, StoreError
from alerting.messages.rendering import Renderer
from alerting.notify.receivers import Attempt, SendOutcome, build_notifier
from alerting.notify.settings import ReceiverSettings

log = logging.getLogger("alerting.emergency")

# Stands where a rule's name does: the first line, on a locked phone, says it all.
_NAME = "state file unusable, alerts are NOT judged"


class Emergency:
    """Tells all receivers when the state file fails for too long, hourly, and when that is over.

    `after` is what is too long, `every` the hour.
    """

    def __init__(
        self,
        receivers: Mapping[str, ReceiverSettings],
        state: Path,
        *,
        after: timedelta,
        clock: Callable[[], datetime],
        every: timedelta = timedelta(hours=1),
    ) -> None:
        self._receivers = receivers
        self._state = state
        self._after = after
        self._clock = clock
        self._every = every
        self._failing = _Stamp(state, "failing")
        self._told = _Stamp(state, "told")
        self._lock = threading.Lock()
        #: what fails in this process -> since when
        self._since: dict[str, datetime] = {}
        self._told_at: datetime | None = None
        #: there may be something to take back; at the start, from a process before
        self._open = True
        self._threads: list[threading.Thread] = []

    def take_over(
        self,
        receivers: Mapping[str, ReceiverSettings],
        *,
        after: timedelta,
        watched: Collection[str],
    ) -> None:
        """Go on under a changed rules file; what is not `watched` any more cannot fail."""
        with self._lock:
            self._receivers, self._after = receivers, after
            self._since = {what: at for what, at in self._since.items() if what in watched}

    def report(self, what: str, error: StoreError | None) -> None:
        """Something that needs the state file failed, or worked (None); never waits."""
        now = self._clock()
        with self._lock:
            if error is None:
                self._since.pop(what, None)
                self._take_back()
                return
            since = self._since.setdefault(what, now)
            if now - since >= self._after:
                self._tell(error, since, now)

    def give_up(self, error: StoreError) -> None:
        """End because of it: whoever starts the next process comes here again."""
        now = self._clock()
        with self._lock:
            since = self._failing.at()
            remembered = since is not None or self._failing.set(now)
            since = since or now
            if not remembered or not timedelta() <= now - since < self._after:
                self._tell(error, since, now)

    def wait(self, *, seconds: float) -> None:
        """Give what is being told now a bounded time."""
        deadline = time.monotonic() + seconds
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))

    def _tell(self, error: StoreError, since: datetime, now: datetime) -> None:
        last = self._told_at or self._told.at()
        if last is not None and timedelta() <= now - last < self._every:
            return
        self._told_at, self._open = now, True
        self._told.set(now)
        text = (
            f"alerting cannot write its {error}; alerts are NOT being judged "
            f"(since {since:%Y-%m-%d %H:%M:%S} UTC)"
        )
        log.error("%s", text)
        self._send(text, now, over=False)

    def _take_back(self) -> None:
        """Say that it is over, if anybody was told; a look at the disk only where that may be."""
        if not self._open or self._since:
            return
        self._open = False
        told = self._told_at is not None or self._told.at() is not None
        self._told_at = None
        self._failing.clear()
        self._told.clear()
        if told:
            text = f"alerting can write its state file {self._state} again; alerts are judged"
            log.warning("%s", text)
            self._send(text, self._clock(), over=True)

    def _send(self, text: str, now: datetime, *, over: bool) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        for receiver in self._receivers.values():
            thread = threading.Thread(
                target=_send_one,
                args=(receiver, _notification(receiver.name, text, now, over=over)),
                name=f"emergency-{receiver.name}",
                daemon=True,
            )
            self._threads.append(thread)
            thread.start()


def _notification(receiver: str, text: str, now: datetime, *, over: bool) -> Notification:
    state = State.RESOLVED if over else State.FIRING
    alert = Alert(rule=_NAME, labels={}, detail=text)
    reason = Reason.RESOLVED if over else Reason.FIRING
    item = Item(alert=alert, reason=reason, state=state, severity=Severity.CRITICAL)
    return Notification(
        receiver=receiver,
        account=None,
        reason=reason,
        severity=Severity.CRITICAL,
        observed_at=now,
        items=(item,),
    )


def _send_one(receiver: ReceiverSettings, notification: Notification) -> None:
    attempt = _attempt(receiver, notification)
    accepted = attempt.outcome is SendOutcome.ACCEPTED
    log.log(
        logging.INFO if accepted else logging.WARNING,
        "receiver %s: told directly: %s (%s)",
        receiver.name,
        attempt.outcome.value,
        attempt.reason,
    )


def _attempt(receiver: ReceiverSettings, notification: Notification) -> Attempt:
    try:
        notifier = build_notifier(receiver)
    except AlertingError as error:
        return Attempt(outcome=SendOutcome.PERMANENT, reason=str(error)[:200])
    message = Renderer(overrides=None).plain(
        notification,
        notifier.format,
        maybe_repeat=False,
        now=notification.observed_at,
        room=notifier.room,
    )
    return notifier.send(message)


class _Stamp:
    """An instant kept as the time stamp of an empty file: that works on a full disk too."""

    def __init__(self, state: Path, name: str) -> None:
        key = hashlib.sha256(os.fsencode(state.absolute())).hexdigest()[:16]
        self._places = (
            state.with_name(f"{state.name}.{name}"),
            Path(tempfile.gettempdir()) / f"alerting-{os.geteuid()}-{key}.{name}",
        )

    def at(self) -> datetime | None:
        """The latest instant that was set; None: none is."""
        found = []
        for place in self._places:
            with contextlib.suppress(OSError):
                status = place.lstat()
                # the folder for temporary files is everybody's
                if status.st_uid == os.geteuid():
                    found.append(datetime.fromtimestamp(status.st_mtime, UTC))
        return max(found, default=None)

    def set(self, now: datetime) -> bool:
        """Remember an instant; False: nowhere a file could be made."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        for place in self._places:
            with contextlib.suppress(OSError):
                descriptor = os.open(place, flags, 0o600)
                try:
                    os.utime(descriptor, (now.timestamp(), now.timestamp()))
                finally:
                    os.close(descriptor)
                return True
        return False

    def clear(self) -> None:
        """Forget it."""
        for place in self._places:
            with contextlib.suppress(OSError):
                place.unlink()
