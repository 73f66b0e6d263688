"""What the engine remembers: what is committed is there, what is not never happened."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest

from alerting.engine import evaluation
from alerting.errors import StoreError
from alerting.store.state import Store
from tests.support.factories import (
    CRITICAL,
    T0,
    WARNING,
    S,
    make_failure,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_symbol,
    make_threshold,
)
from tests.support.stores import see


def test_memory_survives_to_the_last_digit(store, path):
    step = see(store, "249.123456789012345678", T0)
    store.close()
    again = Store(path)
    told = {key: replace(entry, waiting=True) for key, entry in step.memory.notified.items()}
    assert again.memory("main") == replace(step.memory, notified=told)
    again.close()


def test_a_memory_with_everything_in_it_survives(store):
    """A symbol rule with pending, firing and clearing levels, labels, annotations, failures."""
    from alerting.engine.feeds import Scope
    from alerting.engine.model import Direction

    rule = make_rule(
        "load",
        "blocked_balance",
        make_threshold(WARNING, "10", keep=60),
        make_threshold(CRITICAL, "20", for_=60),
        scope=Scope.SYMBOL,
        direction=Direction.ABOVE,
        labels={"team": "risk"},
        annotations={"summary": "{{ value }}"},
    )
    ruleset = make_ruleset(rule)
    for number, blocked in enumerate(["30", "5"]):
        snapshot = make_snapshot(symbols=[make_symbol(blocked=blocked)])
        judge = functools.partial(
            evaluation.evaluate, ruleset, outcome=snapshot, now=T0 + number * 15 * S
        )
        step = store.evaluate("main", judge)
    judge = functools.partial(evaluation.evaluate, ruleset, outcome=make_failure(), now=T0 + 30 * S)
    step = store.evaluate("main", judge)
    loaded = store.memory("main")
    assert loaded.alerts == step.memory.alerts
    assert loaded.account == step.memory.account


def test_a_failed_judgement_leaves_nothing(store):
    see(store, "900", T0)
    before = store.memory("main")

    def broken(memory):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.evaluate("main", broken)
    assert store.memory("main") == before


def test_state_and_message_are_one_transaction(path, monkeypatch):
    """The outbox cannot be written: the state must not say that anything was told."""
    store = Store(path)
    store._database._connection.execute("DROP TABLE outbox_alerts")
    with pytest.raises(StoreError):
        see(store, "900", T0)
    assert store._database._connection.execute("SELECT COUNT(*) FROM alerts").fetchone() == (0,)
    assert store._database._connection.execute("SELECT COUNT(*) FROM outbox").fetchone() == (0,)
    store.close()
