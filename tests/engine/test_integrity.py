"""What makes a snapshot suspect, and in which words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.factories import (
    T0,
    S,
    Simulation,
    make_ruleset,
    make_snapshot,
    make_symbol,
    make_wallet,
    messages_about,
)


@pytest.mark.parametrize(
    ("snapshot", "detail"),
    [
        pytest.param(
            make_snapshot(make_wallet("1000", total_balance="1100.000002")),
            "USDT: total_balance ≠ total_available_balance + total_blocked_balance, off by 0.000002",
            id="total",
        ),
        pytest.param(
            make_snapshot(make_wallet("1000", total_balance="1100.000001")),
            None,
            id="within-tolerance",
        ),
        pytest.param(
            make_snapshot(make_wallet(total_position_margin="99")),
            "USDT: total_blocked_balance ≠ total_position_margin + total_open_order_margin, off by 1",
            id="blocked",
        ),
        pytest.param(
            make_snapshot(symbols=[make_symbol("BTCUSDT", "10", position_margin="11.5")]),
            "BTCUSDT: blocked_balance ≠ position_margin + open_order_margin, off by -1.5",
            id="row",
        ),
        pytest.param(
            make_snapshot(make_wallet(total_open_order_margin=None)),
            "USDT: total_open_order_margin missing",
            id="an-identity-that-cannot-be-checked",
        ),
        pytest.param(
            make_snapshot(symbols=[make_symbol(blocked="77")]), None, id="rows-need-not-sum"
        ),
    ],
)
def test_suspect_data_names_the_identity_and_by_how_much(snapshot, detail):
    simulation = Simulation(make_ruleset())
    simulation.see(snapshot, T0)
    found = messages_about(simulation, "suspect-data")
    assert found == ([(0, "firing", detail)] if detail else [])


def test_a_vanished_settlement_row_is_suspect():
    simulation = Simulation(make_ruleset())
    inr = make_wallet("5", base_asset="INR")
    simulation.see(make_snapshot(make_wallet(), inr), T0)
    simulation.see(make_snapshot(make_wallet()), T0 + 15 * S)
    simulation.see(make_snapshot(make_wallet(), inr), T0 + 30 * S)
    assert messages_about(simulation, "suspect-data") == [
        (15, "firing", "the INR settlement row is gone"),
        (30, "resolved", "the INR settlement row is gone"),
    ]


def test_an_answer_without_any_settlement_row_is_suspect():
    simulation = Simulation(make_ruleset())
    empty = replace(make_snapshot(), wallets=())
    simulation.see(empty, T0)
    assert (
        messages_about(simulation, "suspect-data")[0][2]
        == "the answer holds no settlement asset at all"
    )
