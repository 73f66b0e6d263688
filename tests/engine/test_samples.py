"""Names and values: the API's own fields, and the derived ones."""

from __future__ import annotations

import time
from dataclasses import replace
from decimal import Decimal, localcontext

import pytest

from alerting.engine.feeds import NAMES, Scope
from alerting.engine.model import Direction
from alerting.engine.samples import samples
from alerting.engine.snapshot import Flaw
from alerting.units import EXACT
from tests.support.factories import (
    D,
    Simulation,
    brief,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_symbol,
    make_threshold,
    make_wallet,
    play,
)


def values_of(snapshot, scope):
    with localcontext(EXACT):
        (sample,) = samples(snapshot, scope)
    return sample.values


def test_every_name_has_a_value_or_none():
    snapshot = make_snapshot(symbols=[make_symbol()])
    for scope in (Scope.WALLET, Scope.SYMBOL):
        assert set(values_of(snapshot, scope)) == set(NAMES[scope])


def test_wallet_values():
    values = values_of(
        make_snapshot(
            make_wallet("600", position="410", orders="-10"), symbols=[make_symbol(blocked="150")]
        ),
        Scope.WALLET,
    )
    assert values["margin_ratio"] == D("0.4")
    assert values["available_ratio"] == D("0.6")
    assert values["unlisted_margin"] == D("250")


def test_the_documented_residual():
    """The exchange's own example lists less than it has blocked."""
    wallet = make_wallet("60910.77418715", position="56.83032573", orders="-6.778517")
    row = make_symbol("DOGEUSDT", "50.04968529", orders="0.00008854")
    values = values_of(make_snapshot(wallet, symbols=[row]), Scope.WALLET)
    assert values["unlisted_margin"] == D("0.00212344")


def test_symbol_values():
    values = values_of(
        make_snapshot(make_wallet("600", position="400"), symbols=[make_symbol(blocked="100")]),
        Scope.SYMBOL,
    )
    assert values["margin_ratio"] == D("0.1")
    assert values["concentration"] == D("0.25")
    assert values["total_available_balance"] == D("600")


@pytest.mark.parametrize(
    ("wallet", "row", "scope", "name"),
    [
        pytest.param(
            make_wallet("0", position="0"), None, Scope.WALLET, "margin_ratio", id="zero-total"
        ),
        pytest.param(
            make_wallet(total_balance=None), None, Scope.WALLET, "available_ratio", id="absent"
        ),
        pytest.param(
            make_wallet(total_blocked_balance=None),
            None,
            Scope.WALLET,
            "unlisted_margin",
            id="no-total",
        ),
        pytest.param(
            make_wallet("9", position="0"),
            make_symbol(),
            Scope.SYMBOL,
            "concentration",
            id="nothing-blocked",
        ),
        pytest.param(
            make_wallet(base_asset="INR"),
            make_symbol(),
            Scope.SYMBOL,
            "margin_ratio",
            id="other-asset",
        ),
    ],
)
def test_no_value(wallet, row, scope, name):
    snapshot = make_snapshot(wallet, symbols=[row] if row else [])
    assert values_of(snapshot, scope)[name] is None


def test_an_unlisted_margin_needs_every_row():
    row = make_symbol()
    del row.fields["blocked_balance"]
    assert values_of(make_snapshot(symbols=[row]), Scope.WALLET)["unlisted_margin"] is None


def test_thousands_of_rows_of_both_kinds_are_judged_in_one_pass():
    """A poll is judged in a transaction: seconds in it would hold up every other thread."""
    count = 4000
    snapshot = make_snapshot(
        *(make_wallet(base_asset=f"A{number}") for number in range(count)),
        symbols=[make_symbol(base_asset=f"A{number}") for number in range(count)],
    )
    broken = tuple(Flaw(text="?", scope=Scope.SYMBOL, labels={"symbol": "X"}) for _ in range(count))
    began = time.process_time()
    for flaws, unlisted in (((), 0), (broken, None)):
        found = list(samples(replace(snapshot, flaws=flaws), Scope.WALLET))
        assert {sample.values["unlisted_margin"] for sample in found} == {unlisted}
    assert time.process_time() - began < 1  # it was 5 s and more


def test_assets_are_never_added_up():
    snapshot = make_snapshot(
        make_wallet("600", position="400"),
        make_wallet("5", position="5", base_asset="INR"),
        symbols=[make_symbol(blocked="100"), make_symbol("BTCINR", "3", base_asset="INR")],
    )
    with localcontext(EXACT):
        unlisted = [s.values["unlisted_margin"] for s in samples(snapshot, Scope.WALLET)]
    assert unlisted == [Decimal(300), Decimal(2)]


# ── the account ─────────────────────────────────────────────────────────────


def test_account_rules_are_judged_on_failed_polls_too():
    rule = make_rule(
        "outage",
        "poll_failures",
        make_threshold(threshold="2"),
        scope=Scope.ACCOUNT,
        direction=Direction.ABOVE,
    )
    simulation = play(Simulation(make_ruleset(rule)), "900 _ _ _ 900")
    assert brief(simulation) == [(45, "firing"), (60, "resolved")]


def test_the_snapshot_age_is_counted_in_seconds_and_ages_with_the_clock():
    rule = make_rule(
        "stale",
        "snapshot_age",
        make_threshold(threshold="20", for_=15),
        scope=Scope.ACCOUNT,
        direction=Direction.ABOVE,
    )
    simulation = play(Simulation(make_ruleset(rule)), "900 _ _ _")
    assert brief(simulation) == [(45, "firing")]
    assert simulation.states("stale")[0].value == 45
