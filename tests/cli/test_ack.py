"""`ack`: which alert is meant, and that it may be acknowledged."""

from __future__ import annotations

import functools

import pytest

from alerting.cli.ack import acknowledge, find_alert
from alerting.engine import evaluation
from alerting.errors import NotFoundError
from alerting.store.state import Store
from tests.support.desk import falling
from tests.support.factories import (
    LADDER,
    T0,
    WARNING,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_threshold,
    make_wallet,
)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "alerting.db")
    yield store
    store.close()


def see(store, available, at):
    outcome = make_snapshot(make_wallet(available), at=at)
    ruleset = make_ruleset(
        LADDER,
        make_rule("slow", "total_available_balance", make_threshold(for_=3600, threshold="1000")),
    )
    store.evaluate("main", functools.partial(evaluation.evaluate, ruleset, outcome=outcome, now=at))


def test_an_alert_is_acknowledged_by_the_beginning_of_its_id(store):
    see(store, "900", T0)
    (floor,) = [a for a in store.memory("main").alerts.values() if a.rule == "floor"]
    alert = find_alert(store, ["main"], floor.id[:3].upper())
    acknowledge(store, alert, by="me", now=T0)
    assert store.memory("main").acks[floor.fingerprint].severity is WARNING


def test_a_pending_alert_cannot_be_acknowledged(store):
    see(store, "900", T0)
    (slow,) = [a for a in store.memory("main").alerts.values() if a.rule == "slow"]
    with pytest.raises(NotFoundError, match="only pending"):
        acknowledge(store, slow, by="me", now=T0)


def test_an_acknowledgement_may_be_for_a_while_and_be_taken_back(real_desk):
    real_desk.exchange.wallet = falling("900")
    real_desk.once()
    (alert,) = real_desk.status()["alerts"]
    code, out, _ = real_desk.run("ack", alert["id"], "--for", "2h")
    assert (code, out.count("or 20")) == (0, 1)
    assert real_desk.status()["alerts"][0]["acked"]
    assert real_desk.run("unack", alert["id"])[0] == 0
    assert not real_desk.status()["alerts"][0]["acked"]
    code, _, err = real_desk.run("unack", alert["id"])
    assert (code, "is not acknowledged" in err) == (1, True)


@pytest.mark.parametrize("length", ["0s", "367d", "2 hours", "x"])
def test_a_while_that_is_none_is_wrong_usage(desk, length):
    code, _, err = desk.run("ack", "x", "--for", length)
    assert (code, "--for" in err) == (2, True)


@pytest.mark.parametrize("typed", ["", "zzzzzzz"])
def test_an_unknown_id_lists_the_known_ones(store, typed):
    see(store, "900", T0)
    with pytest.raises(NotFoundError, match=r"there are: \w{7} \((floor|slow)\), \w{7}"):
        find_alert(store, ["main"], typed)
