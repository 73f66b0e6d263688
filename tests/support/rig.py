"""A cycle on a real state file, with receivers, pollers and a clock that are scripted."""

from __future__ import annotations

from alerting.engine.snapshot import FailureKind, PollFailure
from alerting.messages.rendering import Renderer
from alerting.notify.dispatcher import Dispatcher, ReceiverWorker
from alerting.notify.settings import ReceiverSettings
from alerting.redaction import Secret
from alerting.service.cycle import Cycle
from alerting.service.once import run_once
from alerting.store.state import Store
from tests.support.factories import (
    CRITICAL,
    WARNING,
    make_rule,
    make_snapshot,
    make_threshold,
    make_wallet,
)
from tests.support.fakes import FakeClock, FakePoller

LADDER = make_rule(
    "floor",
    "total_available_balance",
    make_threshold(WARNING, "1000"),
    make_threshold(CRITICAL, "250"),
)


def seen(available, account="main"):
    return make_snapshot(make_wallet(available), account=account)


def failed(account="main"):
    return PollFailure(account=account, kind=FailureKind.NETWORK, text="no route to host")


class BrokenPoller(FakePoller):
    """Fails in a way that a poller never should, now and then."""

    def poll(self):
        outcome = super().poll()
        if self.polls % 2:
            raise RuntimeError("can't start new thread")
        return outcome


class Rig:
    """Store, dispatcher and cycle on fakes."""

    def __init__(self, path, notifiers, ruleset, clock=None):
        self.store = Store(path)
        self.clock = clock or FakeClock()
        self.results = []
        workers = {
            name: ReceiverWorker(
                ReceiverSettings(name=name, url=Secret("json://127.0.0.1/")),
                store=self.store,
                renderer=Renderer(overrides=None),
                build=lambda receiver: notifiers[receiver.name],
                clock=self.clock,
            )
            for name in notifiers
        }
        dispatcher = Dispatcher(
            workers, store=self.store, clock=self.clock, on_result=self.results.append
        )
        self.cycle = Cycle(
            ruleset=ruleset, store=self.store, dispatcher=dispatcher, clock=self.clock
        )

    def once(self, **pollers):
        return run_once(self.cycle, pollers, self.results)
