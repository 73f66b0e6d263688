"""Which clients go on after a reload, and at whose pace a new one starts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from alerting.engine.snapshot import PollFailure, Snapshot
from alerting.exchanges.coinswitch.wire import utc_now
from alerting.sandbox.exchange import LoopbackExchange
from alerting.service.build import build_clients, build_cycle
from alerting.store.state import Store
from tests.support.configs import make_config


@pytest.fixture
def exchange():
    with LoopbackExchange() as running:
        yield running


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "alerting.db")
    yield store
    store.close()


def config_of(exchange, **changes):
    account = replace(exchange.account(), **{"rate_requests": 2} | changes)
    return make_config(accounts={"main": account})


def test_a_client_whose_settings_are_as_before_goes_on(exchange, store):
    before, after = config_of(exchange), config_of(exchange)
    old = build_clients(before, store, clock=utc_now)
    new = build_clients(after, store, clock=utc_now, keep=old, before=before)
    assert new == old
    new["main"].close()


@pytest.mark.parametrize("change", ["account", "timeout", "removed"])
def test_a_client_that_does_not_go_on_is_closed(exchange, store, change):
    before = config_of(exchange)
    after = {
        "account": config_of(exchange, rate_requests=3),
        "timeout": replace(before, poll=replace(before.poll, timeout=timedelta(seconds=3))),
        "removed": replace(before, accounts={}),
    }[change]
    old = build_clients(before, store, clock=utc_now)
    new = build_clients(after, store, clock=utc_now, keep=old, before=before)
    assert old["main"].poll().outcome.text == "cancelled"
    for client in new.values():
        assert isinstance(client.poll().outcome, Snapshot)
        client.close()


def test_what_an_evaluation_committed_is_the_next_clients_pace(exchange, store):
    config = config_of(exchange)
    for expected in (Snapshot, Snapshot, PollFailure):
        clients = build_clients(config, store, clock=utc_now)
        cycle = build_cycle(config, store, clock=utc_now, clients=clients)
        poll = clients["main"].poll()
        cycle.judge(poll)
        assert isinstance(poll.outcome, expected)
        clients["main"].close()
