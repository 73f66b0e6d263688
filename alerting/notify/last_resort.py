"""The last resort: what keeps the program from its work is told to all receivers directly.

Without a state nothing can be judged or queued, without a thread nothing is sent, and silence
would look like safety. So this needs nothing of what can have failed: no store, no template, no
folder for temporary files, no disk, and no thread where none is to be had. Two empty files beside
the state file (or wherever one can be made) remember since when it fails and when that was last
told, so that cron does not tell it every minute. Where they cannot be made, each failing start
tells it: too loud is better than silent.
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
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alerting.engine.model import Alert, Item, Notification, Reason, Severity, State
from alerting.errors import AlertingError, StoreError
from alerting.loops import Duty
from alerting.messages.rendering import Renderer
from alerting.notify.attempts import broken, impossible
from alerting.notify.receivers import LONGEST_SEND, Attempt, SendOutcome, build_notifier
from alerting.notify.settings import ReceiverSettings

log = logging.getLogger("alerting.emergency")

#: being unable to tell is told after this
TELL_AFTER = timedelta(minutes=5)
# Where nobody took it, it is told again after this.
_AGAIN = timedelta(minutes=1)
# Stands where a rule's name does: the first line, on a locked phone, says it all.
_NAME = "{}, alerts are NOT {}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    """What all receivers are to be told."""

    name: str
    text: str
    at: datetime
    receivers: tuple[ReceiverSettings, ...]
    over: bool = False


class Emergency:
    """Tells all receivers what fails for too long, hourly, and when that is over.

    `after` is what is too long for not judging, `every` the hour.
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
        #: by this process or one before it; looked up once, for later the disk may hang
        self._told_at = self._told.at()
        self._told_as = _NAME.format("state file unusable", Duty.JUDGE.value)
        #: nobody took the last message: not again before then
        self._not_before: datetime | None = None
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

    def report(
        self,
        what: str,
        error: AlertingError | None,
        *,
        duty: Duty = Duty.JUDGE,
        lasting: timedelta = timedelta(),
    ) -> None:
        """Something could not do its duty (for so long already), or could (None).

        Waits for nothing, but where no thread is to be had: then for the receivers themselves.
        """
        now = self._clock()
        after = self._after if duty is Duty.JUDGE else TELL_AFTER
        call, over = None, False
        with self._lock:
            if error is None:
                self._since.pop(what, None)
                over = self._open and not self._since
                call = self._take_back(now) if over else None
            else:
                since = self._since.setdefault(what, now - lasting)
                call = self._tell(error, since, now, duty) if now - since >= after else None
        if over:
            self._failing.clear()
            self._told.clear()
        self._send(call)

    def give_up(
        self,
        error: AlertingError,
        *,
        duty: Duty = Duty.JUDGE,
        lasting: timedelta = timedelta(),
        at_once: bool = False,
    ) -> None:
        """End because of it: whoever starts the next process comes here again.

        `at_once`: it ran well before, so maybe nobody starts it again.
        """
        now = self._clock()
        with self._lock:
            since = self._failing.at()
            remembered = since is not None or self._failing.set(now)
            since = since or now
            since = min(since, now - lasting) if lasting else since
            call = None
            # nothing is sent either
            after = min(self._after, TELL_AFTER)
            if at_once or not remembered or not timedelta() <= now - since < after:
                call = self._tell(error, since, now, duty)
        self._send(call)

    @property
    def telling(self) -> bool:
        """Somebody is being told now."""
        return any(thread.is_alive() for thread in self._threads)

    def wait(self, *, at_most: timedelta = LONGEST_SEND) -> None:
        """Let all who are being told now be told, each in the time that its service ordinarily has.

        They are told side by side: it is over after `at_most`, whoever hangs.
        """
        deadline = time.monotonic() + at_most.total_seconds()
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))

    def _tell(
        self, error: AlertingError, since: datetime, now: datetime, duty: Duty
    ) -> _Call | None:
        last = self._told_at
        if last is not None and timedelta() <= now - last < self._every:
            return None
        if self._not_before is not None and now < self._not_before <= now + _AGAIN:
            return None
        self._told_at, self._open = now, True
        undone = f"alerts are NOT being {duty.value}"
        what = "state file unusable" if isinstance(error, StoreError) else "alerting does not work"
        text = f"alerting does not work: {error}; {undone} (since {since:%Y-%m-%d %H:%M:%S} UTC)"
        log.error("%s", text)
        self._told_as = _NAME.format(what, duty.value)
        return self._call(text, now)

    def _take_back(self, now: datetime) -> _Call | None:
        """That it is over, if anybody was told."""
        told, self._open = self._told_at is not None, False
        self._told_at = self._not_before = None
        if not told:
            return None
        text = f"alerting works again with its state file {self._state}; alerts are judged and sent"
        log.warning("%s", text)
        return self._call(text, now, over=True)

    def _call(self, text: str, now: datetime, *, over: bool = False) -> _Call:
        receivers = tuple(self._receivers.values())
        return _Call(name=self._told_as, text=text, at=now, receivers=receivers, over=over)

    def _send(self, call: _Call | None) -> None:
        if call is None:
            return
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        outcomes: list[bool] = []
        alone = []
        for receiver in call.receivers:
            thread = threading.Thread(
                target=self._send_one,
                args=(receiver, call, outcomes),
                name=f"emergency-{receiver.name}",
                daemon=True,
            )
            try:
                thread.start()
            except (RuntimeError, MemoryError):
                # no thread is to be had
                alone.append(receiver)
            else:
                self._threads.append(thread)
        self._send_here(alone, call, outcomes)

    def _send_here(
        self, receivers: list[ReceiverSettings], call: _Call, outcomes: list[bool]
    ) -> None:
        """One after the other, but not longer than all of them side by side would take."""
        deadline = time.monotonic() + LONGEST_SEND.total_seconds()
        for number, receiver in enumerate(receivers):
            left = max(0.0, deadline - time.monotonic()) / (len(receivers) - number)
            self._send_one(receiver, call, outcomes, most=timedelta(seconds=left))

    def _send_one(
        self,
        receiver: ReceiverSettings,
        call: _Call,
        outcomes: list[bool],
        *,
        most: timedelta | None = None,
    ) -> None:
        try:
            attempt = _attempt(receiver, _notification(receiver.name, call), most)
        except BaseException as error:  # noqa: BLE001 - the others are to be told, whatever it is
            attempt = broken(error)
        accepted = attempt.outcome is SendOutcome.ACCEPTED
        outcomes.append(accepted)
        if accepted and self._told_at == call.at:
            # here, where a disk that hangs holds up nobody
            self._told.set(call.at)
        if len(outcomes) == len(call.receivers) and not any(outcomes) and not call.over:
            self._nobody_took_it(call)
        log.log(
            logging.INFO if accepted else logging.WARNING,
            "receiver %s: told directly: %s (%s)",
            receiver.name,
            attempt.outcome.value,
            attempt.reason,
        )

    def _nobody_took_it(self, call: _Call) -> None:
        """It does not count as told: the next report, or the next process, tells it again."""
        with self._lock:
            if self._told_at == call.at:
                self._told_at, self._not_before = None, call.at + _AGAIN


def _notification(receiver: str, call: _Call) -> Notification:
    state = State.RESOLVED if call.over else State.FIRING
    alert = Alert(rule=call.name, labels={}, detail=call.text)
    reason = Reason.RESOLVED if call.over else Reason.FIRING
    item = Item(alert=alert, reason=reason, state=state, severity=Severity.CRITICAL)
    return Notification(
        receiver=receiver,
        account=None,
        reason=reason,
        severity=Severity.CRITICAL,
        observed_at=call.at,
        items=(item,),
    )


def _attempt(
    receiver: ReceiverSettings, notification: Notification, most: timedelta | None
) -> Attempt:
    try:
        notifier = build_notifier(receiver, most=most)
    except AlertingError as error:
        return impossible(error)
    message = Renderer(overrides=None).plain(
        notification,
        notifier.format,
        maybe_repeat=False,
        now=notification.observed_at,
        room=notifier.room,
    )
    return notifier.send(message)


# Works with every disk full or read-only.
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - the stamp is empty, and nobody else's counts


class _Stamp:
    """An instant kept as the time stamp of an empty file: that works on a full disk too."""

    def __init__(self, state: Path, name: str) -> None:
        key = hashlib.sha256(os.fsencode(_whole(state))).hexdigest()[:16]
        elsewhere = f"alerting-{os.geteuid()}-{key}.{name}"
        self._places = (
            state.with_name(f"{state.name}.{name}"),
            *(folder / elsewhere for folder in _folders()),
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


def _whole(state: Path) -> Path:
    """The state file's whole path; in a folder that is gone there is none."""
    try:
        return state.absolute()
    except OSError:
        return state


def _folders() -> tuple[Path, ...]:
    """Where a stamp may go besides: there may be no such place."""
    try:
        found = Path(tempfile.gettempdir())
    except OSError:
        # no folder can be written: full, or read-only
        return (_IN_MEMORY,)
    return found, _IN_MEMORY
