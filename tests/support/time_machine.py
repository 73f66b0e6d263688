"""A machine whose wall clock somebody keeps setting: a daemon or cron on it, in simulated time."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

from alerting.messages.formats import Format
from alerting.messages.rendering import Renderer
from alerting.notify.dispatcher import Dispatcher, ReceiverWorker
from alerting.notify.settings import ReceiverSettings
from alerting.redaction import Secret
from alerting.service.clock import SteadyClock, Uptime
from alerting.service.cycle import Cycle
from alerting.store.state import Store
from tests.support.factories import T0
from tests.support.fakes import ACCEPTED, DOWN, poll_of
from tests.support.rig import failed, seen


class Machine:
    """Real time passes by `sleep`; the wall clock is that and what it is `off` by."""

    def __init__(self):
        self.passed = timedelta(0)
        self.off = timedelta(0)
        self.boots = 1
        self.booted = timedelta(0)

    def wall(self):
        return T0 + self.passed + self.off

    def uptime(self):
        return Uptime(boot=f"boot {self.boots}", since=self.passed - self.booted)

    def sleep(self, seconds):
        self.passed += timedelta(seconds=seconds)

    def reboot(self):
        self.boots += 1
        self.booted = self.passed


class Desk:
    """A receiver that is up or down, and keeps what it took: (seconds since the start, title)."""

    format = Format.TEXT
    room = None

    def __init__(self, machine):
        self.machine = machine
        self.up = True
        self.tried = []
        self.took = []
        self.texts = []

    def send(self, message):
        at = self.machine.passed.total_seconds()
        self.tried.append(at)
        if not self.up:
            return DOWN
        self.took.append((at, message.title))
        self.texts.append(message.body)
        return ACCEPTED


class Program:
    """The real store, engine, cycle, outbox and worker on such a machine."""

    def __init__(self, path, machine, ruleset, *, cron, desk):
        self.path, self.machine, self.ruleset, self.cron = path, machine, ruleset, cron
        self.desk = desk
        self.start()

    def start(self):
        """A new process."""
        self.store = Store(self.path)
        # thousands of simulated seconds: what a loss of power would do is not asked here
        self.store._database._connection.execute("PRAGMA synchronous = OFF")
        self.clock = SteadyClock(self.machine.wall, self.machine.uptime)
        self.clock.resume(self.store)
        self.store.recover()
        self.worker = ReceiverWorker(
            ReceiverSettings(name="desk", url=Secret("json://127.0.0.1/")),
            store=self.store,
            renderer=Renderer(overrides=None),
            build=lambda _: self.desk,
            clock=self.clock,
            rng=random.Random(1),
        )
        dispatcher = Dispatcher({}, store=self.store, clock=self.clock)
        self.cycle = Cycle(
            ruleset=self.ruleset,
            store=self.store,
            dispatcher=dispatcher,
            clock=self.clock,
            keep_history=timedelta(days=30),
        )

    def end(self):
        self.store.close()

    def poll(self, available, *, interval=None, due=None):
        """One cycle; "_" is a failed poll. It was due so long after the start; None: now."""
        if self.cron:
            self.end()
            self.start()
        self.clock.keep(self.store)
        outcome = failed() if available == "_" else seen(available)
        poll = poll_of(outcome, None if available == "_" else "{}")
        step = None if self.cron else interval
        late = timedelta(0) if due is None else self.machine.passed - due
        self.cycle.judge(replace(poll, due=self.clock() - late, interval=step))
        self.cycle.housekeep()
        self.deliver()
        self.cycle.prune()

    def deliver(self):
        while self.worker.deliver_next() is not None:
            pass

    def wait(self, seconds, *, step=1):
        """Time passes; what becomes due is sent."""
        for _ in range(round(seconds / step)):
            self.machine.sleep(step)
            if not self.cron:
                self.clock.keep(self.store)
                self.deliver()

    def history(self):
        return len(list(self.store.history()))
