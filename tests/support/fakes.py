"""Stand-ins for the ends of the program: each records what it was told, and can be scripted."""

from __future__ import annotations

import threading
from collections import deque
from datetime import timedelta

from alerting.engine.snapshot import Poll, Snapshot
from alerting.messages.formats import Format
from alerting.notify.receivers import Attempt, SendOutcome
from tests.support.factories import T0

ACCEPTED = Attempt(outcome=SendOutcome.ACCEPTED, reason="ok")
REFUSED = Attempt(outcome=SendOutcome.PERMANENT, reason="bad token")
UNREADABLE = Attempt(outcome=SendOutcome.PERMANENT, reason="can't parse", payload_refused=True)
DOWN = Attempt(outcome=SendOutcome.TRANSIENT, reason="connection refused")
TIMED_OUT = Attempt(outcome=SendOutcome.UNKNOWN, reason="read timeout")
BUSY = Attempt(outcome=SendOutcome.TRANSIENT, reason="429", retry_after=timedelta(seconds=17))


def poll_of(outcome, body=None):
    """The poll that gave this outcome."""
    at = outcome.observed_at if isinstance(outcome, Snapshot) else T0
    return Poll(at=at, account=outcome.account, body=body, outcome=outcome)


class FakeClock:
    """Stands still until it is moved."""

    def __init__(self, now=T0):
        self.now = now

    def __call__(self):
        return self.now


class FakeMonotonic:
    """A machine's clock that goes on only when it is moved."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class FakeNotifier:
    """Answers with the scripted attempts, then accepts everything."""

    format = Format.TEXT
    room = None

    def __init__(self, *script):
        self.script = deque(script)
        self.sent = []
        #: sends wait for it while it is cleared
        self.gate = threading.Event()
        self.gate.set()

    def send(self, message):
        self.gate.wait(10)
        attempt = self.script.popleft() if self.script else ACCEPTED
        self.sent.append(message)
        return attempt


class FakePoller:
    """Gives the scripted outcomes; the last one for ever."""

    def __init__(self, *outcomes):
        self.outcomes = deque(outcomes)
        self.polls = 0
        self.cancelled = threading.Event()
        #: polls wait for it while it is cleared
        self.gate = threading.Event()
        self.gate.set()

    def poll(self):
        self.polls += 1
        while not self.gate.wait(0.02):
            if self.cancelled.is_set():
                break
        outcome = self.outcomes.popleft() if len(self.outcomes) > 1 else self.outcomes[0]
        return poll_of(outcome)

    def cancel(self):
        self.cancelled.set()


class FakeSystemd:
    def __init__(self):
        self.said = []

    def notify(self, state):
        self.said.append(state)
