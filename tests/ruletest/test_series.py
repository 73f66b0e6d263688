"""What a wallet's series leave open follows from the accounting identities."""

from __future__ import annotations

import decimal
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.engine import integrity
from alerting.engine.feeds import SYMBOL_FIELDS, WALLET_FIELDS
from alerting.engine.snapshot import Snapshot, SymbolRow, WalletRow
from alerting.ruletest.series import whole_row, whole_wallet
from alerting.units import EXACT

D = Decimal


@pytest.mark.parametrize(
    ("given_", "rows", "expected"),
    [
        pytest.param({"T": 2000}, [], "2000 2000 0 0 0", id="nothing-blocked"),
        pytest.param({"T": 2000, "A": 900}, [], "2000 900 1100 1100 0", id="blocked-from-total"),
        pytest.param({"A": 900, "B": 100}, [], "1000 900 100 100 0", id="total"),
        pytest.param({"T": 2000, "P": 7}, [], "2000 1993 7 7 0", id="from-position-margin"),
        pytest.param({"T": 2000, "O": 7}, [], "2000 1993 7 0 7", id="from-order-margin"),
        pytest.param({"T": 2000, "A": 900, "P": 600}, [], "2000 900 1100 600 500", id="orders"),
        pytest.param({"T": 2000, "A": 900, "O": -1}, [], "2000 900 1100 1101 -1", id="position"),
        pytest.param({"T": 50}, [(3, 2, 1), (4, 4, 0)], "50 43 7 6 1", id="sum-of-the-rows"),
        pytest.param(
            {"T": 50, "O": 9}, [(3, 2, 1), (4, 4, 0)], "50 35 15 6 9", id="rows-and-orders"
        ),
        pytest.param({"T": 50, "B": 9}, [(3, 2, 1)], "50 41 9 8 1", id="more-than-the-rows"),
        pytest.param({"T": 9, "A": 1, "B": 2}, [], "9 1 2 2 0", id="contradicting-totals"),
        pytest.param({"T": 9, "B": 2, "P": 3, "O": 4}, [], "9 7 2 3 4", id="contradicting-margins"),
    ],
)
def test_a_wallet_is_completed(given_, rows, expected):
    names = dict(zip("TABPO", WALLET_FIELDS, strict=True))
    wallet = whole_wallet(
        {names[key]: D(value) for key, value in given_.items()},
        [dict(zip(SYMBOL_FIELDS, map(D, row), strict=True)) for row in rows],
    )

    assert [wallet[name] for name in WALLET_FIELDS] == [D(each) for each in expected.split()]


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        pytest.param({"b": 5}, "5 5 0", id="no-orders"),
        pytest.param({"p": 5}, "5 5 0", id="from-position-margin"),
        pytest.param({"o": 5}, "5 0 5", id="only-orders"),
        pytest.param({"b": 5, "o": -1}, "5 6 -1", id="position"),
        pytest.param({"b": 5, "p": 3}, "5 3 2", id="orders"),
        pytest.param({"p": 5, "o": 1}, "6 5 1", id="blocked"),
        pytest.param({"b": 1, "p": 1, "o": 1}, "1 1 1", id="contradiction"),
        pytest.param(
            {"p": "123456789012.123456789012345678", "o": "0.000000000000000001"},
            "123456789012.123456789012345679 123456789012.123456789012345678 0.000000000000000001",
            id="thirty-digits",
        ),
    ],
)
def test_a_row_is_completed(given_, expected):
    names = dict(zip("bpo", SYMBOL_FIELDS, strict=True))
    row = whole_row({names[key]: D(value) for key, value in given_.items()})

    assert [row[name] for name in SYMBOL_FIELDS] == [D(each) for each in expected.split()]


amounts = st.decimals(min_value=-(10**12), max_value=10**12, places=18)


def some_of(full, needed):
    """Any part of a mapping that has at least one of the needed keys."""
    return (
        st.sets(st.sampled_from(sorted(full)), min_size=1)
        .filter(lambda s: s & set(needed))
        .map(lambda keys: {key: full[key] for key in keys})
    )


@st.composite
def true_rows(draw):
    position, orders = draw(amounts), draw(amounts)
    with decimal.localcontext(EXACT):
        parts = (position + orders, position, orders)
    full = dict(zip(SYMBOL_FIELDS, parts, strict=True))
    return draw(some_of(full, SYMBOL_FIELDS))


@st.composite
def true_wallets(draw):
    """Part of a wallet whose numbers agree, and parts of its rows."""
    available_, position, orders = draw(amounts), draw(amounts), draw(amounts)
    with decimal.localcontext(EXACT):
        blocked = position + orders
        parts = (available_ + blocked, available_, blocked, position, orders)
    full = dict(zip(WALLET_FIELDS, parts, strict=True))
    return draw(some_of(full, WALLET_FIELDS[:2])), draw(st.lists(true_rows(), max_size=3))


def flaws(wallet, rows):
    snapshot = Snapshot(
        account="main",
        observed_at=datetime(2026, 1, 1, tzinfo=UTC),
        wallets=(WalletRow(base_asset="USDT", fields=wallet),),
        symbols=tuple(
            SymbolRow(symbol=f"S{n}", base_asset="USDT", exchange="E", fields=row)
            for n, row in enumerate(rows)
        ),
    )
    with decimal.localcontext(EXACT):
        return integrity.flaws(snapshot, known_assets=frozenset(), tolerance=D(0))


@given(true_wallets())
def test_what_is_derived_keeps_every_identity_to_the_last_digit(parts):
    given_wallet, given_rows = parts
    rows = [whole_row(row) for row in given_rows]
    wallet = whole_wallet(given_wallet, rows)

    assert flaws(wallet, rows) == []


@given(
    st.dictionaries(st.sampled_from(WALLET_FIELDS), amounts, min_size=1).filter(
        lambda given_: set(given_) & set(WALLET_FIELDS[:2])
    ),
    st.lists(st.dictionaries(st.sampled_from(SYMBOL_FIELDS), amounts, min_size=1), max_size=2),
)
def test_what_is_given_is_never_changed(given_wallet, given_rows):
    rows = [whole_row(row) for row in given_rows]
    wallet = whole_wallet(given_wallet, rows)

    assert given_wallet.items() <= wallet.items()
    assert all(row.items() <= whole.items() for row, whole in zip(given_rows, rows, strict=True))
    assert set(wallet) == set(WALLET_FIELDS)
