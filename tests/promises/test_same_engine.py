"""What `run` did and what `replay` of its history says it would have done are the same."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from alerting.engine.feeds import Scope
from alerting.engine.model import Direction, Notification
from alerting.engine.rules import Flapping, Repeat
from alerting.engine.simulation import Simulation
from alerting.engine.snapshot import FailureKind, PollFailure
from alerting.exchanges.coinswitch.answers import parse_wallet
from alerting.replay.recording import read_records, write_record
from alerting.sandbox.exchange import wallet_body
from alerting.store.documents import load, to_micros
from alerting.units import rfc3339
from tests.support.factories import (
    CRITICAL,
    T0,
    WARNING,
    make_route,
    make_rule,
    make_ruleset,
    make_threshold,
)
from tests.support.fakes import FakeClock, FakeNotifier, poll_of
from tests.support.rig import Rig

RULESET = make_ruleset(
    make_rule(
        "floor",
        "total_available_balance",
        make_threshold(WARNING, "1000", clear="1100", for_=30, keep=30),
        make_threshold(CRITICAL, "250"),
    ),
    make_rule(
        "load",
        "margin_ratio",
        make_threshold(WARNING, "0.2"),
        scope=Scope.SYMBOL,
        direction=Direction.ABOVE,
    ),
    make_rule("fall", "delta(total_available_balance, 1m)", make_threshold(WARNING, "-500")),
    make_rule(
        "ahead",
        "predict_linear(total_available_balance, 1m, 1m)",
        make_threshold(WARNING, "-300", for_=15),
    ),
    routes=(
        make_route("desk", "phone", severity="critical", repeat=60),
        make_route("desk", repeat=Repeat(first=timedelta(minutes=1), factor=2)),
    ),
    receivers=("desk", "phone"),
    flapping=Flapping(changes=6, within=timedelta(minutes=30)),
    blind_after=60,
)

#: available balance, and whether a symbol row is there; "_" a failed poll, "?" a broken identity
SCRIPT = (
    "1500 900 900 900r 200r 200r _ _ _ _ _ 200 900 ?1500 1500 1500 1500r 900r 1500 900 900 900 "
    "200 1500 200 1500 200 1500 200 1500 200 1500 1500 1500 900 900 900 900 900 900 900"
).split()


class Wallet:
    """A poller whose answers are real bodies, read as the client reads them."""

    def __init__(self, token, clock):
        self.token, self.clock = token, clock

    def poll(self):
        token = self.token
        if token == "_":
            text = "no route to host"
            return poll_of(PollFailure(account="main", kind=FailureKind.NETWORK, text=text))
        available = token.strip("?r")
        rows = {"BTCUSDT": ("450.123456789012", "-0.000000000001")} if "r" in token else {}
        body = wallet_body(total="2000.000000000000", available=available, rows=rows)
        if "?" in token:
            body["data"]["base_asset_balances"][0]["balances"]["total_balance"] = "1999"
        text = json.dumps(body)
        snapshot = parse_wallet(text.encode(), account="main", observed_at=self.clock())
        return poll_of(snapshot, text)

    def cancel(self):
        pass


@pytest.fixture
def live(tmp_path):
    """A cron run of the script with uneven intervals; its rig afterwards."""
    clock = FakeClock()
    notifiers = {"desk": FakeNotifier(), "phone": FakeNotifier()}
    rig = Rig(tmp_path / "alerting.db", notifiers, RULESET, clock)
    rig.cycle.keep_history = timedelta(days=30)
    for number, token in enumerate(SCRIPT):
        jitter = timedelta(milliseconds=(number * 37) % 90)
        clock.now = T0 + number * timedelta(seconds=15) + jitter
        wallet = Wallet(token, clock)
        rig.cycle.judge(wallet.poll())
        assert rig.cycle.dispatcher.drain(seconds=5)
    yield rig
    rig.cycle.dispatcher.stop()
    rig.store.close()


def number(value):
    return None if value is None else str(value)


def told(notification):
    return [
        rfc3339(notification.observed_at),
        notification.receiver,
        notification.reason.value,
        [(item.alert.id, item.reason.value, item.severity.value) for item in notification.items],
    ]


def test_a_recorded_run_replays_as_it_was(live):
    recording = [
        write_record(at=p.at, account=p.account, body=p.body, error=p.error)
        for p in live.store.history()
    ]
    assert len(recording) == len(SCRIPT)

    simulation = Simulation(RULESET)
    changes, messages = [], []
    for record in read_records(recording, file="history"):
        step = simulation.feed(record.outcome, at=record.at)
        changes += [
            (
                to_micros(c.at),
                c.rule,
                c.severity.value,
                c.source.value,
                c.target.value,
                number(c.value),
            )
            for c in step.transitions
        ]
        messages += [told(n) for n in step.notifications]

    query = live.store._database._connection.execute
    lived_changes = query(
        "SELECT at, rule, severity, source, target, value FROM transitions ORDER BY id"
    ).fetchall()
    lived_messages = [
        told(load(Notification, row[0]))
        for row in query("SELECT notification FROM outbox ORDER BY id")
    ]
    assert lived_changes == changes
    assert lived_messages == messages
    reasons = {reason for _, _, reason, _ in messages}
    assert reasons == {"firing", "escalated", "eased", "repeat", "resolved"}
    assert {"blind", "suspect-data", "floor", "load"} <= {row[1] for row in lived_changes}
