"""Positions in a test: what they mean, how they are judged and shown, what is wrong with them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from alerting.engine.snapshot import FailureKind, PositionRow, Side, Snapshot
from alerting.errors import ConfigError
from alerting.ruletest.testfile import load_tests
from tests.support.paths import ROOT
from tests.support.rule_tests import DATA

D = Decimal

RULES = """
  - name: liquidation-distance
    per: position
    value: liquidation_distance
    below: {warning: 5%, critical: 2%}

  - name: locked
    per: position
    value: position_margin / total_balance
    above: 10%

  - name: deaf
    per: account
    value: poll_failures
    above: 1

  - name: lowest
    per: wallet
    value: min_over_time(total_balance, 1h)
    below: 1
"""
BTC = (
    "side: LONG, position_size: 0.1, avg_entry_price: 100000, position_margin: 400, "
    "maint_margin_rate: 0.56, liq_fee_rate: 0.0075"
)
TAKEN = 'mark_price: "100000x4 98000x4 97000x2 -x3", liquidated: true'
ANY = "at: 0s, not_notified: desk"


def text_of(positions, *expect, more="    wallet: {total_balance: 2000}\n", rules="rules.yaml"):
    """A test file of one case with these positions."""
    rows = "".join(f"      {each}\n" for each in positions)
    lines = "".join(f"      - {{{each}}}\n" for each in expect or [ANY])
    return f"rules: {rules}\ntests:\n  - name: t\n{more}    positions:\n{rows}    expect:\n{lines}"


def btc(more, fields=BTC):
    return [f"BTCUSDT: {{{fields}, {more}}}"]


@pytest.fixture(autouse=True)
def rules(folder):
    """The contract's rules and some per position."""
    text = (DATA / "rules.yaml").read_text(encoding="utf-8")
    (folder / "rules.yaml").write_text(text + RULES, encoding="utf-8")


@pytest.fixture
def load(folder):
    """The only case of a file with this text."""

    def call(text):
        (folder / "t.yaml").write_text(text, encoding="utf-8")
        (case,) = load_tests(folder / "t.yaml").cases
        return case

    return call


@pytest.fixture
def problems(folder, load):
    """All that is wrong with this text."""

    def call(text):
        with pytest.raises(ConfigError) as caught:
            load(text)
        return [str(each).replace(f"{folder}/", "") for each in caught.value.problems]

    return call


# ── what a step gives ───────────────────────────────────────────────────────


def test_the_contracts_own_position_is_read(load):
    case = load(text_of(btc('mark_price: "100000x4 98000x8"')))

    snapshot = case.outcome(4, "positions")
    assert case.steps == 12
    assert snapshot == Snapshot(
        account="main",
        feed="positions",
        observed_at=datetime(2026, 1, 1, 0, 1, tzinfo=UTC),
        positions=(
            PositionRow(
                symbol="BTCUSDT",
                base_asset="USDT",
                exchange="EXCHANGE_2",
                side=Side.LONG,
                fields={
                    "position_size": D("0.1"),
                    "avg_entry_price": D(100000),
                    "position_margin": D(400),
                    "mark_price": D(98000),
                    "maint_margin_rate": D("0.56"),
                    "liq_fee_rate": D("0.0075"),
                    "position_value": D(10000),
                    "last_price": D(98000),
                },
            ),
        ),
    )
    assert case.outcome(4).positions == ()


def test_what_is_given_is_not_derived_and_the_reported_figures_have_the_pages_names(load):
    more = (
        "mark_price: 5, last_price: 4, position_value: 3, leverage: 2, reported_maint_margin: 6, "
        "reported_unrealised_pnl: 7, reported_liquidation_price: 8"
    )
    (row,) = load(text_of(btc(more))).outcome(0, "positions").positions

    assert {"last_price": D(4), "position_value": D(3), "leverage": D(2)}.items() <= (
        row.fields.items()
    )
    assert {"maint_margin": D(6), "unrealised_pnl": D(7), "liquidation_price": D(8)}.items() <= (
        row.fields.items()
    )


def test_what_cannot_be_derived_is_not_in_the_answer(load):
    (row,) = (
        load(text_of(["ETHINR: {side: SHORT, position_size: 1}"])).outcome(0, "positions").positions
    )

    assert (row.side, row.base_asset) == (Side.SHORT, "INR")
    assert row.fields == {"position_size": D(1)}


def test_a_failed_poll_is_of_the_positions_alone(load):
    case = load(
        text_of(
            btc('mark_price: "1 _ 1"'),
            more='    series: {total_balance: "1x2 _"}\n',
        )
    )

    failed = [
        [isinstance(case.outcome(step, feed), Snapshot) for step in range(3)]
        for feed in ("wallet", "positions")
    ]
    assert failed == [[True, True, False], [True, False, True]]
    failure = case.outcome(1, "positions")
    assert (failure.feed, failure.kind) == ("positions", FailureKind.UNKNOWN)


@pytest.mark.parametrize(
    ("liquidated", "expected"),
    [
        pytest.param("", [set(), set(), set()], id="closed"),
        pytest.param(", liquidated: true", [set(), {"BTCUSDT"}, {"BTCUSDT"}], id="liquidated"),
    ],
)
def test_a_position_is_absent_where_a_series_says_so(load, liquidated, expected):
    case = load(
        text_of([*btc(f'mark_price: "1 -x2"{liquidated}'), "ETHUSDT: {side: LONG, mark_price: 1}"])
    )

    steps = [case.outcome(step, "positions") for step in range(3)]
    assert [[row.symbol for row in each.positions] for each in steps] == [
        ["BTCUSDT", "ETHUSDT"],
        ["ETHUSDT"],
        ["ETHUSDT"],
    ]
    assert [each.liquidated for each in steps] == expected


# ── how it is judged ────────────────────────────────────────────────────────

DISTANCE = "alert: liquidation-distance"


@pytest.mark.parametrize(
    "expect",
    [
        pytest.param(f"at: 45s, {DISTANCE}, state: firing, severity: warning", id="state"),
        pytest.param(
            f"at: 1m, {DISTANCE}, state: firing, severity: critical, side: LONG, symbol: BTCUSDT",
            id="labels",
        ),
        pytest.param(f"at: 1m, notified: desk, {DISTANCE}, reason: escalated", id="told-of-it"),
        pytest.param("at: 1m, notified: phone, severity: critical", id="told"),
        # the wallet's evaluation of this step tells nothing, that of the positions does
        pytest.param("at: 0s, notified: desk, alert: locked", id="told-by-the-second-evaluation"),
        # and here it is the wallet's that tells
        pytest.param(
            "at: 1m15s, notified: desk, alert: available-balance-floor", id="told-by-the-first"
        ),
        pytest.param("at: 1m15s, notified: phone, alert: available-balance-floor", id="to-phone"),
        pytest.param("at: 1m, alert: locked, state: firing, value: 0.2", id="totals-of-the-wallet"),
        pytest.param("at: 3m15s, alert: locked, state: inactive, side: LONG", id="gone"),
        pytest.param(
            "at: 30m, alert: blind, state: inactive, feed: positions", id="no-positions-is-seen"
        ),
        pytest.param(
            f"at: 2m30s, not_notified: desk, reason: resolved, {DISTANCE}, since: 0s",
            id="absent-once-holds",
        ),
        pytest.param(f"at: 2m45s, notified: desk, reason: resolved, {DISTANCE}", id="resolved"),
    ],
)
def test_it_holds_that(run, expect):
    series = '    series: {total_balance: 2000, total_available_balance: "1200x3 200x30"}\n'
    passed, lines = run(text_of(btc(TAKEN), expect, more=series))
    assert passed, lines


def test_failing_positions_hold_the_positions_alone(run):
    passed, lines = run(
        text_of(
            btc('mark_price: "98000x2 _x2 98000"'),
            "at: 30s, alert: deaf, state: inactive",
            "at: 45s, alert: deaf, state: firing, feed: positions, value: 2",
            "at: 45s, alert: deaf, state: inactive, feed: wallet",
            f"at: 45s, {DISTANCE}, state: firing",
        )
    )
    assert passed, lines


def test_totals_of_a_wallet_that_was_not_read_count_for_blind_after(run):
    passed, lines = run(
        text_of(
            btc('mark_price: "98000x20"'),
            "at: 2m, alert: locked, state: firing, value: 0.2",
            "at: 4m45s, alert: rule-undefined, undefined_rule: locked, state: firing",
            more='    series: {total_balance: "2000 _x19"}\n',
        )
    )
    assert passed, lines


def test_a_test_without_positions_has_none_open(run):
    text = text_of(
        [], "at: 20m, alert: blind, state: inactive", f"at: 0s, {DISTANCE}, state: inactive"
    )
    passed, lines = run(text.replace("    positions:\n", ""))
    assert passed, lines


def test_the_pages_example_holds(run):
    page = (ROOT / "docs" / "testing-rules.md").read_text(encoding="utf-8")
    passed, lines = run(
        re.search(r"^# position.test.yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)[1]
    )
    assert passed, lines


# ── how it is shown ─────────────────────────────────────────────────────────


def test_a_timeline_shows_both_feeds_of_a_step_as_one(run):
    series = '    series: {total_balance: "2000x5 _ 2000x6"}\n'
    taken = 'mark_price: "100000x4 98000x3 _ 97000x2 -x2", liquidated: true'
    passed, lines = run(
        text_of(
            btc(taken),
            f"at: 2m45s, {DISTANCE}, state: firing",
            f"at: 0s, {DISTANCE}, state: inactive",
            "at: 15s, notified: phone",
            more=series,
        )
    )

    assert not passed
    timeline = next(index for index, line in enumerate(lines) if "throughout" in line)
    assert lines[timeline + 1 :] == [
        "      > 0s          total_balance 2000, BTCUSDT LONG mark_price 100000",
        "                    liquidation-distance BTCUSDT LONG is firing, warning, value 0.0269",
        "                    locked BTCUSDT LONG is firing, warning, value 0.2",
        "                    desk is told: firing, liquidation-distance BTCUSDT LONG, warning; firing, locked BTCUSDT LONG, warning",
        "        15s … 45s   total_balance 2000, BTCUSDT LONG mark_price 100000",
        "                    liquidation-distance BTCUSDT LONG is firing, warning, value 0.0269",
        "                    locked BTCUSDT LONG is firing, warning, value 0.2",
        "        1m          total_balance 2000, BTCUSDT LONG mark_price 98000",
        "                    liquidation-distance BTCUSDT LONG is firing, critical, value 0.007040816326530612",
        "                    locked BTCUSDT LONG is firing, warning, value 0.2",
        "                    desk is told: escalated, liquidation-distance BTCUSDT LONG, critical",
        "                    phone is told: firing, liquidation-distance BTCUSDT LONG, critical",
        "                    mail is told: firing, liquidation-distance BTCUSDT LONG, critical",
        "        1m15s       the poll of the wallet failed, BTCUSDT LONG mark_price 98000",
        "                    liquidation-distance BTCUSDT LONG is firing, critical, value 0.007040816326530612",
        "                    locked BTCUSDT LONG is firing, warning, value 0.2",
        "        1m30s       total_balance 2000, BTCUSDT LONG mark_price 98000",
        "                    liquidation-distance BTCUSDT LONG is firing, critical, value 0.007040816326530612",
        "                    locked BTCUSDT LONG is firing, warning, value 0.2",
        "        1m45s       total_balance 2000, the poll of the positions failed",
        "                    liquidation-distance BTCUSDT LONG is firing, critical, value 0.007040816326530612",
        "                    locked BTCUSDT LONG is firing, warning, value 0.2",
        "        2m … 2m15s  total_balance 2000, BTCUSDT LONG mark_price 97000",
        "                    liquidation-distance BTCUSDT LONG is firing, critical, value -0.003195876288659794",
        "                    locked BTCUSDT LONG is firing, warning, value 0.2",
        "        2m30s       total_balance 2000, BTCUSDT LONG mark_price -",
        "                    liquidation-distance BTCUSDT LONG is firing, critical, value -0.003195876288659794",
        "                    locked BTCUSDT LONG is firing, warning, value 0.2",
        "        2m45s       total_balance 2000, BTCUSDT LONG mark_price -",
        "                    desk is told: resolved (liquidated), liquidation-distance BTCUSDT LONG, critical; resolved (liquidated), locked BTCUSDT LONG, critical",
        "                    phone is told: resolved (liquidated), liquidation-distance BTCUSDT LONG, critical",
        "                    mail is told: resolved (liquidated), liquidation-distance BTCUSDT LONG, critical",
        "0 passed, 1 failed",
    ]
    assert "          found: phone is told nothing then; it is told at 1m, 2m45s" in lines


def test_a_positions_value_is_shown_where_its_alert_is_inactive(run):
    _, lines = run(
        text_of(
            btc("mark_price: 110000"),
            f"at: 0s, {DISTANCE}, state: firing",
            "at: 0s, alert: locked, state: pending",
            more="    wallet: {total_balance: 8000}\n",
        )
    )
    distance = "liquidation-distance BTCUSDT LONG is inactive, value 0.115363636363636364"
    assert [line for line in lines if "is inactive" in line] == [
        f"          found: {distance}",
        "          found: locked BTCUSDT LONG is inactive, value 0.05",
        f"      > 0s          {distance}",
        "                    locked BTCUSDT LONG is inactive, value 0.05",
    ]


def test_what_a_wallet_rule_looks_back_on_is_shown_where_positions_are_read_too(run):
    _, lines = run(text_of(btc("mark_price: 110000"), "at: 0s, alert: lowest, state: firing"))
    assert "          found: lowest USDT is inactive, value 2000" in lines


def test_a_step_in_which_both_feeds_tell_is_one_instant(run):
    _, lines = run(
        text_of(
            btc("mark_price: 100000"),
            "at: 15s, notified: desk",
            more="    wallet: {total_balance: 2000, total_open_order_margin: -1}\n",
        )
    )
    assert sum("desk is told: firing" in line for line in lines) == 2
    assert "          found: desk is told nothing then; it is told at 0s" in lines


# ── what is wrong with one ──────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        pytest.param(
            ["BTCUSDT: {position_size: 1}"],
            ["t.yaml:6:16: tests.0.positions.BTCUSDT.side: is missing"],
            id="no-side",
        ),
        pytest.param(
            ["BTCUSDT: {side: LNG, position_size: 1}"],
            [
                (
                    "t.yaml:6:23: tests.0.positions.BTCUSDT.side: 'LNG' is not one of LONG, SHORT; "
                    "did you mean 'LONG'?"
                )
            ],
            id="another-side",
        ),
        pytest.param(
            ["BTCUSDT: {side: LONG}"],
            [
                (
                    "t.yaml:6:7: tests.0.positions.BTCUSDT: has no field; one of leverage, "
                    "position_size, position_value, position_margin, avg_entry_price, mark_price, "
                    "last_price, maint_margin_rate, liq_fee_rate, reported_maint_margin, "
                    "reported_unrealised_pnl, reported_liquidation_price is needed"
                )
            ],
            id="no-field",
        ),
        pytest.param(
            ["BTCUSDT: {side: LONG, mark_prise: 1, position_size: 1}"],
            [
                (
                    "t.yaml:6:29: tests.0.positions.BTCUSDT.mark_prise: unknown key; "
                    "did you mean 'mark_price'?"
                )
            ],
            id="misspelt",
        ),
        pytest.param(
            btc('mark_price: "1 2o"', fields="side: LONG"),
            [
                (
                    "t.yaml:6:44: tests.0.positions.BTCUSDT.mark_price: '2o' is no step of a series; "
                    "write 1200, 1200x4 (four times), _ (a failed poll) or - (no row)"
                )
            ],
            id="no-step",
        ),
        pytest.param(
            btc("mark_price: 1, liquidated: true", fields="side: LONG"),
            [
                (
                    "t.yaml:6:44: tests.0.positions.BTCUSDT.liquidated: needs a step without the "
                    "position; write - in one of its series"
                )
            ],
            id="liquidated-and-never-absent",
        ),
        pytest.param(
            ["BTC USDT: {side: LONG, mark_price: 1}"],
            [
                (
                    "t.yaml:6:7: tests.0.positions.BTC USDT: 'BTC USDT' is not a name; it must match "
                    "[A-Za-z0-9][A-Za-z0-9_.-]*"
                )
            ],
            id="no-symbol",
        ),
    ],
)
def test_it_is_refused_with_its_place(problems, positions, expected):
    assert problems(text_of(positions)) == expected


def test_labels_are_those_of_the_test(problems):
    found = problems(
        text_of(
            btc("mark_price: 1"),
            f"at: 0s, {DISTANCE}, state: firing, symbol: BTCUSD",
            f"at: 0s, {DISTANCE}, state: firing, side: SHORT",
            f"at: 0s, {DISTANCE}, state: firing, feed: positions",
        )
    )
    assert [each.partition(" ")[2] for each in found] == [
        "tests.0.expect.0.symbol: this test has no symbol 'BTCUSD'; did you mean 'BTCUSDT'?",
        "tests.0.expect.1.side: this test has no side 'SHORT'; known: LONG",
        (
            "tests.0.expect.2.feed: alerts of liquidation-distance have no such label; "
            "they have account, base_asset, symbol, exchange, side"
        ),
    ]


def test_positions_that_no_rule_reads_are_refused(folder, problems):
    (folder / "rules.yaml").write_bytes((DATA / "rules.yaml").read_bytes())
    assert problems(text_of(btc("mark_price: 1"))) == [
        (
            "t.yaml:5:5: tests.0.positions: nobody reads them: no enabled rule is per: position "
            "for account main"
        )
    ]
