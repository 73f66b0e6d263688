"""The second feed: positions are judged by themselves, and how they end is told as it was.

A step is an answer of the positions page, 15 s after the one before, while the wallet is read in
between. The rule is `liquidation_distance below 50%`: a distance of 41 % is near, one of 80 % far.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerting.engine import evaluation
from alerting.engine.builtin import ProgramFacts
from alerting.engine.feeds import Scope, in_order
from alerting.engine.model import PROGRAM, ChangeReason, Reason, Severity, State
from alerting.engine.rules import Flapping
from alerting.engine.snapshot import FailureKind as Kind
from alerting.engine.snapshot import Flaw, PollFailure, Side, Snapshot
from alerting.store import documents
from tests.support.factories import (
    T0,
    WARNING,
    D,
    M,
    S,
    Simulation,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_threshold,
    make_wallet,
)
from tests.support.positions import make_position

FLOOR = make_rule("floor", "total_available_balance", make_threshold(threshold="100"))
NEAR = make_rule(
    "near",
    "liquidation_distance",
    make_threshold(WARNING, "0.5"),
    scope=Scope.POSITION,
    percent=True,
)
BTC = {"symbol": "BTCUSDT"}


def position(far=False, **kw):
    """Entered and marked at 100, one of it: what is left of the margin is the distance."""
    margin = "82" if far else "43"
    row = make_position(
        position_size="1",
        position_value="100",
        avg_entry_price="100",
        mark_price="100",
        position_margin=margin,
        maint_margin_rate="1.25",
        liq_fee_rate="0.0075",
        liquidation_price=str(102 - int(margin)),
        **BTC | kw,
    )
    if row.side is Side.SHORT:
        fields = {**row.fields, "liquidation_price": D(98 + int(margin))}
        row = replace(row, fields=fields)
    return row


def answer(*rows, at=T0, flaws=(), **kw):
    return Snapshot(
        account="main", feed="positions", observed_at=at, positions=rows, flaws=flaws, **kw
    )


class World:
    """One account with two feeds; its memory goes through its stored form after each answer."""

    def __init__(self, *rules, **kw):
        self.simulation = Simulation(make_ruleset(*(rules or (FLOOR, NEAR)), **kw))
        self.at = T0

    def see(self, outcome, *, step=15 * S):
        self.simulation.see(outcome, self.at)
        memory = self.simulation.memory
        account = documents.load(type(memory.account), documents.dump(memory.account))
        self.simulation.memory = replace(memory, account=account)
        self.at += step
        return self

    def positions(self, *rows, **kw):
        return self.see(answer(*rows, at=self.at, **kw))

    def fails(self, feed="positions", **kw):
        failure = PollFailure(account="main", feed=feed, kind=Kind.NETWORK, text="refused")
        return self.see(failure, **kw)

    def wallet(self, available="1000"):
        return self.see(make_snapshot(make_wallet(available), at=self.at))

    def state(self, rule="near", **labels):
        (alert,) = [
            a for a in self.simulation.states(rule) if a.labels.items() >= labels.items()
        ] or [None]
        return "none" if alert is None else alert.state.value

    def ends(self):
        return [
            (change.rule, change.reason)
            for change in self.simulation.transitions
            if change.target is State.RESOLVED
        ]


# ── judging ─────────────────────────────────────────────────────────────────


def test_a_position_is_an_alert_of_its_own_with_its_side():
    world = World().positions(position(), position(far=True, symbol="ETHUSDT"))
    (alert,) = world.simulation.states("near")
    assert alert.labels == {
        "account": "main",
        "base_asset": "USDT",
        "symbol": "BTCUSDT",
        "exchange": "EXCHANGE_2",
        "side": "LONG",
    }
    assert (alert.state, alert.value) == (State.FIRING, D("0.41"))
    assert alert.values["equity"] == 43


def test_a_position_that_turns_round_is_a_new_alert():
    world = World().positions(position())
    world.positions(position(side=Side.SHORT)).positions(position(side=Side.SHORT))
    assert world.state(side="SHORT") == "firing"
    assert world.ends() == [("near", ChangeReason.GONE)]


def test_amounts_of_the_wallet_are_those_that_were_last_read_well():
    share = make_rule(
        "share", "position_margin / total_available_balance", make_threshold(threshold="0.5"),
        scope=Scope.POSITION,
    )  # fmt: skip
    world = World(share).positions(position())
    assert world.state("rule-undefined") == "pending", "no wallet was read yet"
    world.wallet("100").positions(position())
    assert (world.state("share"), world.state("rule-undefined")) == ("firing", "none")
    world.see(make_snapshot(make_wallet("10", total_balance="1"), at=world.at))
    assert world.positions(position()).simulation.states("share")[0].value == D("0.43")
    for _ in range(9):
        world.fails("wallet").positions(position())
    assert world.state("rule-undefined") == "firing", "a wallet is not believed for ever"
    assert world.state("share") == "firing"


def test_without_the_instruments_rates_what_needs_them_has_no_value():
    rates = {"maint_margin_rate": None, "liq_fee_rate": None}
    bare = make_position(**BTC, **rates)
    loss = make_rule("loss", "margin_loss", make_threshold(threshold="1"), scope=Scope.POSITION)
    world = World(NEAR, loss).positions(bare)
    assert world.state("rule-undefined") == "pending"
    assert world.state("loss") == "firing"


# ── each feed by itself ─────────────────────────────────────────────────────


def test_a_failing_page_holds_its_own_alerts_and_no_others():
    world = World().positions(position()).wallet("50")
    assert (world.state("near"), world.state("floor")) == ("firing", "firing")
    for _ in range(6):
        world.fails().wallet("1000")
    assert world.ends() == [("floor", ChangeReason.CLEAR)]
    assert world.state("near") == "firing"
    for _ in range(6):
        world.fails("wallet").positions(position(far=True))
    # the positions are seen again, so they are not blind any more either
    assert set(world.ends()[1:]) == {("blind", ChangeReason.CLEAR), ("near", ChangeReason.CLEAR)}


def test_each_feed_goes_blind_by_itself_and_says_which():
    world = World().positions(position(far=True))
    for _ in range(10):
        world.fails().wallet()
    (blind,) = [a for a in world.simulation.states("blind") if a.state is State.FIRING]
    assert blind.labels == {"account": "main", "feed": "positions"}
    assert "no snapshot of the positions for" in blind.detail
    assert "refused" in blind.detail


def test_account_rules_have_a_row_for_each_feed():
    failing = make_rule(
        "failing", "0 - poll_failures", make_threshold(threshold="-1"), scope=Scope.ACCOUNT
    )
    world = World(failing, NEAR).wallet()
    world.fails().fails()
    (alert,) = world.simulation.states("failing")
    assert alert.labels == {"account": "main", "feed": "positions"}


def test_time_that_one_feed_saw_ages_no_alert_of_the_other():
    slow = replace(NEAR, thresholds=(make_threshold(WARNING, "0.5", for_=60),))
    world = World(slow).positions(position())
    for _ in range(3):
        world.wallet()
    world.fails()
    for _ in range(3):
        world.wallet()
    assert world.positions(position()).state() == "pending"
    for _ in range(4):
        world.positions(position())
    assert world.state() == "firing"


def test_without_a_position_rule_there_is_no_such_feed():
    world = World().positions(position(far=True))
    for _ in range(10):
        world.fails()
    assert world.state("blind", feed="positions") == "firing"
    world.simulation.ruleset = make_ruleset(FLOOR)
    world.wallet()
    assert ("blind", ChangeReason.RULE_REMOVED) in world.ends()
    assert set(world.simulation.memory.account.feeds) == {"wallet"}
    assert world.simulation.memory.account.positions == ()
    # an answer that was under way then changes nothing
    world.positions(position())
    assert set(world.simulation.memory.account.feeds) == {"wallet"}


def test_a_settlement_row_that_is_gone_for_good_ends_no_position():
    world = World(FLOOR, NEAR, forget_after=30 * S).wallet().positions(position())
    inr = make_wallet(base_asset="INR")
    world.see(make_snapshot(make_wallet(), inr, at=world.at))
    for _ in range(6):
        world.see(make_snapshot(inr, at=world.at))
    assert world.simulation.memory.account.assets == {"INR"}
    assert world.state() == "firing"


# ── what cannot be trusted ──────────────────────────────────────────────────

LABELS = {"base_asset": "USDT", "symbol": "BTCUSDT", "exchange": "EXCHANGE_2", "side": "LONG"}


@pytest.mark.parametrize(
    ("fields", "times"),
    [
        pytest.param({"liquidation_price": "18"}, 1, id="another-price"),
        pytest.param({"last_price": "0"}, 1, id="a-price-of-zero"),
        pytest.param({}, 2, id="two-rows-of-one-name"),
    ],
)
def test_a_suspect_position_resolves_nothing(fields, times):
    row = position(far=True)
    odd = replace(row, fields={**row.fields, **{k: D(v) for k, v in fields.items()}})
    rows = [odd] * times
    world = World().positions(position()).positions(*rows)
    assert world.state() == "firing"
    (suspect,) = world.simulation.states("suspect-data")
    assert suspect.labels == {"account": "main", "feed": "positions"}
    assert "BTCUSDT" in suspect.detail


def test_a_row_that_cannot_be_read_is_not_missing():
    flaw = Flaw(text="BTCUSDT: position_size: null", scope=Scope.POSITION, labels=LABELS)
    world = World().positions(position())
    for _ in range(4):
        world.positions(flaws=(flaw,))
    assert (world.state(), world.ends()) == ("firing", [])
    world.positions().positions()
    assert ("near", ChangeReason.GONE) in world.ends()


# ── how it ends ─────────────────────────────────────────────────────────────


def test_gone_at_the_second_good_answer_without_it():
    world = World().positions(position()).positions()
    assert world.state() == "firing"
    assert world.positions().ends() == [("near", ChangeReason.GONE)]
    assert world.simulation.memory.account.positions == ()


def test_a_position_that_comes_back_is_not_gone():
    world = World().positions(position()).positions().positions(position()).positions()
    assert (world.state(), world.ends()) == ("firing", [])


def test_a_liquidation_is_told_as_critical_to_all_who_were_told():
    receivers = {"desk": True, "quiet": False}
    world = World(receivers=receivers).positions(position())
    taken = frozenset({"BTCUSDT"})
    world.positions(liquidated=taken).positions(liquidated=taken)
    assert world.ends() == [("near", ChangeReason.LIQUIDATED)]
    told = world.simulation.notifications[-2:]
    assert [n.receiver for n in told] == ["desk", "quiet"]
    assert {n.severity for n in told} == {Severity.CRITICAL}
    assert {n.reason for n in told} == {Reason.RESOLVED}


def test_a_liquidation_stands_before_what_begins_to_fire_with_it():
    taken, eth = frozenset({"BTCUSDT"}), {"symbol": "ETHUSDT"}
    world = World().positions(position(), position(far=True, **eth))
    world.positions(position(far=True, **eth), liquidated=taken)
    world.positions(position(**eth), liquidated=taken)
    (told,) = world.simulation.notifications[1:]
    assert (told.severity, told.reason) == (Severity.CRITICAL, Reason.FIRING)
    assert [(i.alert.labels["symbol"], i.severity) for i in told.items] == [
        ("BTCUSDT", Severity.CRITICAL),
        ("ETHUSDT", Severity.WARNING),
    ]


def test_an_end_of_which_too_little_is_known_is_held_and_not_for_ever():
    world = World(FLOOR, NEAR, forget_after=2 * M).positions(position())
    for _ in range(8):
        world.positions(liquidated=None)
        assert world.state() == "firing"
    world.positions(liquidated=frozenset({"BTCUSDT"}))
    assert world.ends() == [("near", ChangeReason.LIQUIDATED)]

    world = World(FLOOR, NEAR, forget_after=2 * M).positions(position())
    for _ in range(12):
        world.positions(liquidated=None)
    assert world.ends() == [("near", ChangeReason.GONE)]


def test_a_liquidation_of_one_symbol_is_none_of_another():
    eth = position(symbol="ETHUSDT")
    world = World().positions(position(), eth)
    for _ in range(2):
        world.positions(liquidated=frozenset({"ETHUSDT"}))
    assert sorted(reason.value for _, reason in world.ends()) == ["gone", "liquidated"]


def test_flapping_counts_the_time_that_its_own_feed_saw():
    """An outage of the positions makes no calm of a position's alert, whatever the wallet sees."""
    flapping = Flapping(changes=2, within=3 * M)
    world = World(FLOOR, NEAR, flapping=flapping)
    for far in (False, True, False, True):
        world.positions(position(far=far))
    (alert,) = world.simulation.states("near")
    assert alert.flapping
    for _ in range(16):
        world.fails().wallet()
    world.positions(position(far=True))
    assert world.simulation.states("near")[0].flapping


def test_labels_are_read_from_the_widest_to_the_narrowest():
    labels = {"side": "LONG", "symbol": "X", "exchange": "E", "account": "main", "team": "a"}
    assert in_order(labels) == ["main", "X", "LONG", "a"]


def test_the_programs_own_alerts_flap_by_the_time_in_which_it_was_awake():
    ruleset = make_ruleset(flapping=Flapping(changes=2, within=10 * M))
    memory, at = evaluation.blank_memory(PROGRAM), T0
    for failing in (True, False, True, False, False):
        facts = ProgramFacts(failing_receivers={"desk": "refused"} if failing else {})
        step = evaluation.evaluate_program(ruleset, memory, facts, now=at)
        memory = evaluation.all_delivered(step.memory)
        at += 15 * S if failing else 9 * M  # it slept longer than `blind_after`
    (alert,) = memory.alerts.values()
    assert alert.flapping
