"""What the reader of the positions gives to a poll for the record: instruments, transactions."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerting.engine.feeds import INSTRUMENTS, TRANSACTIONS
from alerting.exchanges.coinswitch.pages import Endpoint
from alerting.sandbox.exchange import LoopbackExchange, Special
from tests.support.trading import Trading

HOUR = timedelta(hours=1)


@pytest.fixture
def run(tmp_path):
    with LoopbackExchange() as exchange:
        trading = Trading(tmp_path, exchange)
        trading.enter("BTCUSDT", margin=400)
        trading.marks["BTCUSDT"] = 94_000
        trading.serve()
        yield trading
        trading.end()


def recorded(run, feed):
    return [poll for poll in run.store.history() if poll.feed == feed]


def test_instruments_are_recorded_when_they_were_read_and_then_hourly(run):
    for _ in range(3):
        run.turn(late=[0.1])
    assert len(recorded(run, INSTRUMENTS)) == 1
    run.machine.passed += HOUR
    run.turn(late=[0.1])
    run.turn(late=[0.1])
    first, second = recorded(run, INSTRUMENTS)
    assert second.at - first.at > HOUR


def test_instruments_are_recorded_by_polls_that_are_rarer_than_they_are_read(run):
    for _ in range(3):
        run.turn(late=[0.1])
        run.machine.passed += HOUR
    assert len(recorded(run, INSTRUMENTS)) == 3


def test_instruments_go_with_each_poll_until_one_was_judged(run):
    reader = run.clients["positions"]
    assert [INSTRUMENTS in reader.poll().beside for _ in range(2)] == [True, True]
    run.turn(late=[0.1])
    assert INSTRUMENTS not in reader.poll().beside
    assert len(recorded(run, INSTRUMENTS)) == 1


def test_instruments_of_a_process_that_died_before_it_judged_are_recorded_by_the_next(run):
    run.clients["positions"].poll()
    run.restart()
    run.exchange.script_page(Endpoint.INSTRUMENT_INFO, [Special(status=503)] * 9)
    run.turn(late=[0.1])
    run.restart()
    run.turn(late=[0.1])
    assert len(recorded(run, INSTRUMENTS)) == 1
    (rates,) = [each.row.fields for each in run.store.memory("main").account.positions]
    assert "liq_fee_rate" in rates


def test_how_a_position_ended_is_recorded_with_the_poll_that_lacks_it(run):
    run.turn(late=[0.1])
    run.turn(late=[0.1])
    run.liquidate("BTCUSDT")
    run.serve()
    run.exchange.script_page(Endpoint.TRANSACTIONS, [Special(status=503)])
    for _ in range(3):
        run.turn(late=[0.1])
    failed, *others = recorded(run, TRANSACTIONS)
    assert failed.error == "exchange down: the exchange answers 503"
    assert {each.body for each in others} == {
        '{"data": [{"symbol": "BTCUSDT", "type": "LIQUIDATION_FEE"}]}'
    }
    polls = {each.at for each in recorded(run, "positions")}
    assert {failed.at, *(each.at for each in others)} <= polls


def test_nothing_is_kept_of_a_history_that_is_off(run):
    run.cycle.keep_history = timedelta(0)
    run.turn(late=[0.1])
    assert list(run.store.history()) == []
