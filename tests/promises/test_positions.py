"""Positions, end to end."""

from __future__ import annotations

import json

import pytest

from alerting.exchanges.coinswitch.pages import Endpoint
from alerting.sandbox.exchange import LoopbackExchange, Special
from alerting.sandbox.inbox import Inbox
from tests.support.desk import QuickDesk
from tests.support.factories import S
from tests.support.trading import RATES


@pytest.fixture
def desk(tmp_path):
    with LoopbackExchange() as exchange, Inbox() as inbox:
        yield QuickDesk(tmp_path, exchange, inbox)


RULES = """\
  - name: liquidation-distance
    per: position
    value: liquidation_distance
    below: {warning: 20%, critical: 5%}
"""


def test_a_position_near_its_liquidation_is_told(desk):
    desk.write(more=RULES)
    desk.exchange.market.positions = {
        "BTCUSDT": {
            "side": "LONG",
            "position_size": "0.1",
            "avg_entry_price": "100000",
            "position_margin": "400",
            "maint_margin_rate": "0.56",
            "liq_fee_rate": "0.0075",
            "mark_price": "98000",
        }
    }
    assert desk.once()[0] == 0
    (alert,) = desk.status()["alerts"]
    assert (alert["rule"], alert["severity"], alert["labels"]["side"]) == (
        "liquidation-distance",
        "critical",
        "LONG",
    )
    assert alert["value"].startswith("0.00704081632653")
    assert "liquidation_distance = 0.7% " in desk.run("explain", "liquidation-distance")[1]


# ── a positions page that nobody can go by ──────────────────────────────────


def near_its_end(run, name="BTCUSDT"):
    """A position that is told to be critical: its liquidation is 0.7 % away."""
    run.enter(name, margin=400)
    run.marks[name] = 94_000
    for _ in range(2):
        run.serve()
        run.turn(late=[0.1])
    (near,) = run.alerts("near")
    assert near[:2] == ("firing", "critical")


def hang(handler, special):
    """No answer, and the connection stays until the client has given up."""
    handler.rfile.read()


def body(text):
    return Special(answer=text.encode() if isinstance(text, str) else text)


def safe_and_contradictory(run):
    """The page says that all is well, and in the next field that it is not."""
    _, answer = run.exchange.market.answer(Endpoint.POSITIONS, {"exchange": "EXCHANGE_2"})
    row = {**answer["data"][0], "mark_price": "120000", "liquidation_price": "119999"}
    return body(json.dumps({"data": [row]}))


def half(run):
    _, answer = run.exchange.market.answer(Endpoint.POSITIONS, {"exchange": "EXCHANGE_2"})
    text = json.dumps(answer)
    return body(text[: len(text) // 2])


def an_hour(run, special):
    """The page answers so, whatever is asked for, while the price recovers and the wallet lives."""
    path = Endpoint.POSITIONS.value
    run.exchange.script = lambda asked: special if asked.startswith(path) else None
    for number in range(120):
        run.marks["BTCUSDT"] = 100_000
        run.serve(total=1200 if 40 <= number < 60 else 3000)
        run.turn(late=[0.1])


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(lambda _: Special(status=503), id="down"),
        pytest.param(lambda _: Special(status=404), id="vanished"),
        pytest.param(lambda _: body("{}"), id="empty-object"),
        pytest.param(lambda _: body('{"data": [{"symbol": "BTCUSDT"}]}'), id="half-a-row"),
        pytest.param(half, id="half-an-answer"),
        pytest.param(lambda _: Special(answer=hang), id="hangs"),
    ],
)
def test_an_hour_without_the_positions_resolves_nothing_and_is_told(trading, page):
    run = trading()
    near_its_end(run)
    before = run.changes("near"), run.alerts("near")
    if page(run).answer is hang:
        run.timeouts["positions"] = 0.02 * S
        run.restart()

    an_hour(run, page(run))

    assert (run.changes("near"), run.alerts("near")) == before
    (blind,) = run.alerts("blind")
    assert blind == ("firing", "critical", {"account": "main", "feed": "positions"})
    assert [each[:2] for each in run.changes("floor")] == [
        ("warning", "firing"),
        ("warning", "resolved"),
    ]

    run.timeouts["positions"] = 5 * S
    run.restart()
    run.exchange.script = None
    run.turn(late=[0.1])
    assert run.alerts("near") == run.alerts("blind") == []
    assert {each[2] for each in run.changes("near") if each[1] == "resolved"} == {"clear"}


def test_an_hour_of_positions_that_contradict_themselves_resolves_nothing_and_is_told(trading):
    run = trading()
    near_its_end(run)
    before = run.alerts("near")

    an_hour(run, safe_and_contradictory(run))

    assert run.alerts("near") == before
    assert all(each[1] != "resolved" for each in run.changes("near"))
    (suspect,) = run.alerts("suspect-data")
    assert suspect[2] == {"account": "main", "feed": "positions"}
    assert run.alerts("blind") == []
    assert [each[1] for each in run.changes("floor")] == ["firing", "resolved"]


def test_a_wallet_that_nobody_can_read_holds_no_alert_of_a_position(trading):
    run = trading()
    near_its_end(run)
    run.exchange.script = lambda asked: (
        Special(status=503) if asked.startswith(Endpoint.WALLET_BALANCE.value) else None
    )
    run.marks["BTCUSDT"] = 100_000
    for _ in range(6):
        run.exchange.market.positions = {
            "BTCUSDT": {**run.open["BTCUSDT"], **RATES, "mark_price": "100000"}
        }
        run.turn(late=[0.1])
    assert run.alerts("near") == []
    (blind,) = run.alerts("blind")
    assert blind[2]["feed"] == "wallet"


# ── how a position ends ─────────────────────────────────────────────────────


def ends(run):
    return {each[2] for each in run.changes("near") if each[1] == "resolved"}


def test_a_liquidated_position_resolves_as_that(trading):
    run = trading()
    near_its_end(run)
    run.liquidate("BTCUSDT")
    run.serve()
    run.turn(late=[0.1])
    assert run.alerts("near"), "one answer without it is not enough"
    run.turn(late=[0.1])
    assert run.alerts("near") == []
    assert ends(run) == {"liquidated"}


def test_a_closed_position_resolves_as_gone(trading):
    run = trading()
    near_its_end(run)
    run.leave("BTCUSDT")
    run.serve()
    for _ in range(2):
        run.turn(late=[0.1])
    assert ends(run) == {"gone"}


def test_the_end_is_held_while_nobody_can_say_how_it_came(trading):
    run = trading()
    near_its_end(run)
    run.liquidate("BTCUSDT")
    run.serve()
    run.exchange.script = lambda asked: (
        Special(status=503) if asked.startswith(Endpoint.TRANSACTIONS.value) else None
    )
    for _ in range(10):
        run.turn(late=[0.1])
    (near,) = run.alerts("near")
    assert near[:2] == ("firing", "critical")
    run.exchange.script = None
    run.turn(late=[0.1])
    run.turn(late=[0.1])
    assert run.alerts("near") == []
    assert ends(run) == {"liquidated"}


def test_a_liquidation_is_known_after_a_restart_too(trading):
    run = trading(cron=True)
    near_its_end(run)
    run.liquidate("BTCUSDT")
    run.serve()
    for _ in range(2):
        run.restart()
        run.turn(late=[0.1])
    assert ends(run) == {"liquidated"}


def test_an_older_liquidation_of_the_symbol_is_not_this_ones(trading):
    run = trading()
    near_its_end(run)
    run.liquidate("BTCUSDT")
    for _ in range(3):
        run.serve()
        run.turn(late=[0.1])
    for _ in range(20):
        run.turn(late=[0.1])
    run.enter("BTCUSDT", margin=400)
    run.open["BTCUSDT"]["avg_entry_price"] = "100000"
    run.serve()
    run.turn(late=[0.1])
    run.leave("BTCUSDT")
    run.serve()
    for _ in range(2):
        run.turn(late=[0.1])
    assert [each[2] for each in run.changes("near") if each[1] == "resolved"] == [
        "liquidated",
        "gone",
    ]
