"""Test files: what each one means, and the exact line for everything that is wrong with one."""

from __future__ import annotations

import decimal
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.engine import integrity
from alerting.engine.feeds import SYMBOL_FIELDS, WALLET_FIELDS
from alerting.engine.model import (
    FailureKind,
    PollFailure,
    Reason,
    Severity,
    Snapshot,
    SymbolRow,
    WalletRow,
)
from alerting.errors import ConfigError
from alerting.ruletest.case import NotifiedExpected, NotNotifiedExpected
from alerting.ruletest.series import MAX_STEPS, whole_row, whole_wallet
from alerting.ruletest.testfile import load_tests
from alerting.units import EXACT

DATA = Path(__file__).parents[1] / "data" / "tests"
D = Decimal

# one file per fault, named after it
FAULTS = {
    "alert-of-the-program": [
        "FILE:8:25: tests.0.expect.0.alert: 'delivery-failing' is about the program itself, which no test runs",
    ],
    "builtin-with-a-severity-it-has-not": [
        "FILE:8:57: tests.0.expect.0.severity: blind is never info; it is critical",
    ],
    "duplicate-key": [
        "FILE:5:5: tests.0.wallet: is set twice; first at line 4, column 5",
    ],
    "empty": [
        "FILE:1:1: is empty; see rules.example.test.yaml",
    ],
    "expects-nothing": [
        "FILE:8:9: tests.0.expect.0: expects nothing; one of state, notified, not_notified is needed",
    ],
    "expects-too-late": [
        "FILE:3:5: tests.0.interval: makes 17280001 steps up to the last instant; at most 50000 are allowed",
    ],
    "expects-two-things": [
        "FILE:8:65: tests.0.expect.0.notified: excludes state; write two entries",
    ],
    "field-constant-and-series": [
        "FILE:6:7: tests.0.series.total_available_balance: is in wallet already; keep one of the two",
    ],
    "interval-without-unit": [
        "FILE:4:15: tests.0.interval: 15 has no unit; write 15s, 5m, 2h or 1d",
    ],
    "interval-zero": [
        "FILE:4:15: tests.0.interval: 0s is not allowed; it must be longer than that",
    ],
    "label-of-another-scope": [
        "FILE:8:65: tests.0.expect.0.symbol: alerts of available-balance-floor have no such label; they have account, base_asset",
    ],
    "label-without-alert": [
        "FILE:8:34: tests.0.expect.0.symbol: goes with alert only; name the rule",
    ],
    "lasts-too-long": [
        "FILE:4:15: tests.0.interval: makes the series longer than 3650d",
    ],
    "many-faults": [
        "FILE:4:15: tests.0.interval: 15 has no unit; write 15s, 5m, 2h or 1d",
        "FILE:7:33: tests.0.series.total_available_balance: '12oo' is no step of a series; write 1200, 1200x4 (four times), _ (a failed poll)",
        "FILE:9:25: tests.0.expect.0.alert: unknown rule 'floor'; known: available-balance-floor, blind, negative-open-order-margin, rule-undefined, suspect-data, symbol-margin-ratio",
        "FILE:9:39: tests.0.expect.0.state: 'firng' is not one of inactive, pending, firing; did you mean 'firing'?",
        "FILE:10:14: tests.0.expect.1.at: 1 has no unit; write 1s, 5m, 2h or 1d",
        "FILE:10:27: tests.0.expect.1.notified: unknown receiver 'desc'; did you mean 'desk'?",
        "FILE:10:41: tests.0.expect.1.reason: 'fire' is not one of firing, escalated, repeat, resolved; did you mean 'firing'?",
    ],
    "misspelt-field": [
        "FILE:6:7: tests.0.series.total_availabel_balance: unknown key; did you mean 'total_available_balance'?",
    ],
    "misspelt-key": [
        "FILE:5:5: tests.0.serie: unknown key; did you mean 'series'?",
    ],
    "name-twice": [
        "FILE:10:11: tests.1.name: 't' is already the name of the test at line 3",
    ],
    "no-expectations": [
        "FILE:7:13: tests.0.expect: is empty; at least one is needed",
    ],
    "no-instant": [
        "FILE:8:9: tests.0.expect.0.at: is missing",
    ],
    "no-rules": [
        "FILE:1:1: rules: is missing",
    ],
    "no-tests": [
        "FILE:2:8: tests: is empty; at least one is needed",
    ],
    "not-a-mapping": [
        "FILE:1:1: must be a mapping with the keys rules, tests, not a list",
    ],
    "reason-of-a-state": [
        "FILE:8:65: tests.0.expect.0.reason: goes with notified or not_notified only",
    ],
    "row-bad-token": [
        "FILE:8:41: tests.0.symbols.BTCUSDT.blocked_balance: 'gone' is no step of a series; write 1200, 1200x4 (four times), _ (a failed poll) or - (no row)",
    ],
    "row-empty": [
        "FILE:8:7: tests.0.symbols.BTCUSDT: has no field; one of blocked_balance, position_margin, open_order_margin is needed",
    ],
    "row-unknown-field": [
        "FILE:8:39: tests.0.symbols.BTCUSDT.margin: unknown key; known: base_asset, blocked_balance, open_order_margin, position_margin",
    ],
    "rules-file-missing": [
        "FILE:1:8: rules: there is no file 'rule.yaml' beside this one",
    ],
    "rules-file-wrong": [
        "wrong-rules.yaml:22:17: routes.1.receivers.0: unknown receiver 'desc'; did you mean 'desk'?",
        "wrong-rules.yaml:29:38: rules.0.below.critical: 2500 must be less than the 1000 of warning",
        "wrong-rules.yaml:30:38: rules.0.clear.critical: clear 300 is beyond the threshold; with below 2500 it must be that or more",
    ],
    "series-a-list": [
        'FILE:6:32: tests.0.series.total_available_balance: a list is not a series; write "1200x4 900x6 _x2", in quotes',
    ],
    "series-bad-token": [
        "FILE:6:40: tests.0.series.total_available_balance: '90o0' is no step of a series; write 1200, 1200x4 (four times), _ (a failed poll)",
    ],
    "series-count-zero": [
        "FILE:6:33: tests.0.series.total_available_balance: '1200x0' is no step at all; the count starts at 1",
    ],
    "series-empty": [
        "FILE:6:32: tests.0.series.total_available_balance: is empty; a series needs at least one value",
    ],
    "series-leading-zero": [
        "FILE:6:38: tests.0.series.total_available_balance: '010' is no step of a series; write 1200, 1200x4 (four times), _ (a failed poll)",
    ],
    "series-on-two-lines": [
        "FILE:8:9: tests.0.series.total_available_balance: '1e3x2' is no step of a series; write 1200, 1200x4 (four times), _ (a failed poll)",
    ],
    "series-percent": [
        "FILE:6:38: tests.0.series.total_available_balance: '20%' is no step of a series; write 1200, 1200x4 (four times), _ (a failed poll)",
    ],
    "series-row-gap": [
        "FILE:6:38: tests.0.series.total_available_balance: '-x2' is for symbols only: it takes a row away",
    ],
    "series-too-long": [
        "FILE:6:40: tests.0.series.total_available_balance: has more than 50000 steps; write a longer interval",
    ],
    "severity-of-inactive": [
        "FILE:8:67: tests.0.expect.0.severity: goes with pending and firing only",
        "FILE:8:87: tests.0.expect.0.value: goes with pending and firing only",
    ],
    "severity-that-it-never-has": [
        "FILE:8:78: tests.0.expect.0.severity: negative-open-order-margin is never critical; it is info",
    ],
    "since-after-at": [
        "FILE:8:45: tests.0.expect.0.since: 1m30s is after at, 1m",
    ],
    "since-of-a-message": [
        "FILE:8:34: tests.0.expect.0.since: goes with not_notified only",
    ],
    "start-not-quoted": [
        "FILE:4:12: tests.0.start: '2026-01-01T00:00:00Z' is ambiguous (YAML 1.1 reads a date); put it in quotes",
    ],
    "start-out-of-range": [
        "FILE:4:12: tests.0.start: '9999-12-31T00:00:00Z' is out of range; 1971 to 8999 is allowed",
    ],
    "start-without-zone": [
        "FILE:4:12: tests.0.start: '2026-01-01T00:00:00' is not an instant; write \"2026-01-01T00:00:00Z\", in quotes",
    ],
    "state-resolved": [
        "FILE:8:57: tests.0.expect.0.state: 'resolved' is not one of inactive, pending, firing",
    ],
    "state-without-alert": [
        "FILE:8:9: tests.0.expect.0: has a state but no alert; name the rule in alert",
    ],
    "symbol-with-space": [
        "FILE:8:7: tests.0.symbols.BTC USDT: 'BTC USDT' is not a name; it must match [A-Za-z0-9][A-Za-z0-9_.-]*",
    ],
    "test-without-name": [
        "FILE:3:5: tests.0.name: is missing",
    ],
    "unknown-account": [
        "FILE:4:14: tests.0.account: unknown account 'mian'; did you mean 'main'?",
    ],
    "unknown-alert": [
        "FILE:8:25: tests.0.expect.0.alert: unknown rule 'available-balance-flor'; did you mean 'available-balance-floor'?",
    ],
    "unknown-label": [
        "FILE:9:61: tests.0.expect.0.symbl: unknown key; did you mean 'symbol'?",
    ],
    "unknown-reason": [
        "FILE:8:42: tests.0.expect.0.reason: 'fired' is not one of firing, escalated, repeat, resolved",
    ],
    "unknown-receiver": [
        "FILE:8:28: tests.0.expect.0.notified: unknown receiver 'desc'; did you mean 'desk'?",
    ],
    "unknown-receiver-not-notified": [
        "FILE:8:32: tests.0.expect.0.not_notified: unknown receiver 'pager'; known: desk, mail, phone",
    ],
    "unknown-severity": [
        "FILE:8:75: tests.0.expect.0.severity: 'criticl' is not one of info, warning, critical; did you mean 'critical'?",
    ],
    "unknown-state": [
        "FILE:8:57: tests.0.expect.0.state: 'fireing' is not one of inactive, pending, firing; did you mean 'firing'?",
    ],
    "unknown-symbol": [
        "FILE:9:69: tests.0.expect.0.symbol: this test has no symbol 'BTCUSD'; did you mean 'BTCUSDT'?",
    ],
    "value-not-a-number": [
        "FILE:8:72: tests.0.expect.0.value: 'nine' is not a number; write 1000, 10_000, 0.25 or 25%",
    ],
    "value-of-a-message": [
        "FILE:8:34: tests.0.expect.0.value: goes with state only",
    ],
    "wallet-value-a-series": [
        "FILE:4:29: tests.0.wallet.total_balance: '2000x4' is not one amount; what changes with time belongs under series",
    ],
    "wallet-without-total-in-one-step": [
        "FILE:3:5: tests.0: gives neither of total_balance and total_available_balance; the wallet needs one of them",
    ],
    "wallet-without-total": [
        "FILE:3:5: tests.0: gives neither of total_balance and total_available_balance; the wallet needs one of them",
    ],
}


def problems(path):
    with pytest.raises(ConfigError) as caught:
        load_tests(path)
    assert caught.value.__cause__ is None
    own = re.escape(str(path))
    return [
        re.sub(r"^.*/", "", re.sub(f"^{own}:", "FILE:", str(problem)))
        if str(problem).startswith(str(DATA / "wrong-rules.yaml"))
        else re.sub(f"^{own}:", "FILE:", str(problem))
        for problem in caught.value.problems
    ]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_is_refused_with(fault):
    assert problems(DATA / f"{fault}.yaml") == FAULTS[fault]


def test_each_faulty_file_is_in_the_table():
    others = {"good", "rules", "wrong-rules", "failing"}
    assert {path.stem for path in DATA.glob("*.yaml")} - others == set(FAULTS)


def test_a_file_that_is_not_there_is_told(tmp_path):
    path = tmp_path / "none.yaml"
    assert problems(path) == ["FILE:1:1: there is no such file"]


def test_a_directory_is_no_test_file(tmp_path):
    assert problems(tmp_path) == ["FILE:1:1: is a directory; a test file is needed"]


def test_a_name_that_no_file_can_have_is_no_rules_file(tmp_path):
    path = tmp_path / "t.yaml"
    case = "  - {name: t, wallet: {total_balance: 1}, expect: [{at: 0s, not_notified: desk}]}\n"
    path.write_text(f"rules: {'x' * 300}\ntests:\n{case}", encoding="utf-8")

    assert problems(path) == [f"FILE:1:8: rules: there is no file '{'x' * 57}...' beside this one"]


def test_the_rules_are_read_without_their_secrets(monkeypatch):
    for name in ("COINSWITCH_API_KEY", "COINSWITCH_SECRET_KEY", "SLACK_URL"):
        monkeypatch.delenv(name, raising=False)

    assert [case.name for case in load_tests(DATA / "good.yaml").cases] == ["t"]


# ── what a case means ───────────────────────────────────────────────────────


@pytest.fixture
def load(tmp_path):
    """The only case of a file with these lines."""

    def run(text, rules="rules.yaml"):
        (tmp_path / "rules.yaml").write_bytes((DATA / rules).read_bytes())
        path = tmp_path / "t.yaml"
        path.write_text(f"rules: rules.yaml\ntests:\n  - name: t\n{text}", encoding="utf-8")
        (case,) = load_tests(path).cases
        return case

    return run


SOMETHING = "    expect: [{at: 0s, not_notified: desk}]\n"


def available(case):
    """What each step gives as the available balance; None for a failed poll."""
    outcomes = [case.outcome(step) for step in range(case.steps)]
    return [
        None if isinstance(each, PollFailure) else each.wallets[0].fields["total_available_balance"]
        for each in outcomes
    ]


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        pytest.param('"1200"', [1200], id="one-value-is-one-step"),
        pytest.param('"1200x3 900"', [1200, 1200, 1200, 900], id="a-count"),
        pytest.param('"1200 _x2 900 _"', [1200, None, None, 900, None], id="failed-polls"),
        pytest.param('"1_000.50x2"', [D("1000.50")] * 2, id="grouped-digits"),
        pytest.param('"-5 +5"', [-5, 5], id="signs"),
        pytest.param('"0x2 1"', [0, 0, 1], id="zero-twice-is-no-hexadecimal"),
        pytest.param('"_x2"', [None, None], id="nothing-but-failed-polls"),
        pytest.param('" 1 \\n 2 "', [1, 2], id="any-white-space"),
        pytest.param('"0.123456789012345678"', [D("0.123456789012345678")], id="all-digits"),
    ],
)
def test_a_series_is(load, series, expected):
    case = load(f"    series: {{total_available_balance: {series}}}\n{SOMETHING}")

    assert available(case) == expected


@pytest.mark.parametrize(
    ("shorter", "expected"),
    [
        pytest.param('"5 6"', [5, 6, 6, 6], id="keeps-its-last-value"),
        pytest.param('"5 _"', [5, None, 5, 5], id="keeps-the-last-value-before-a-failed-poll"),
        pytest.param("7", [7, 7, 7, 7], id="is-a-number-without-quotes"),
        pytest.param('"_"', [None] * 4, id="has-no-value-to-keep"),
    ],
)
def test_a_series_that_is_shorter_than_the_longest(load, shorter, expected):
    case = load(
        f"    series: {{total_available_balance: {shorter}, total_position_margin: '1x4'}}\n"
        + SOMETHING
    )

    assert available(case) == expected


def test_a_poll_fails_where_any_series_says_so(load):
    case = load(
        "    wallet: {total_balance: 9}\n"
        "    symbols: {BTCUSDT: {blocked_balance: '1 _ 1'}, ETHUSDT: {blocked_balance: '1x2 _'}}\n"
        + SOMETHING
    )

    assert available(case) == [7, None, None]
    assert case.outcome(1).kind is FailureKind.UNKNOWN


def test_a_row_is_absent_where_its_series_says_so(load):
    case = load(
        "    wallet: {total_balance: 9}\n"
        "    symbols: {BTCUSDT: {blocked_balance: '1x2 -'}, ETHUSDT: {blocked_balance: '2x5'}}\n"
        + SOMETHING
    )

    rows = [[row.symbol for row in case.outcome(step).symbols] for step in range(case.steps)]
    assert rows == [["BTCUSDT", "ETHUSDT"]] * 2 + [["ETHUSDT"]] * 3
    assert available(case) == [6, 6, 7, 7, 7]


def test_a_row_is_absent_where_any_of_its_series_says_so(load):
    case = load(
        "    wallet: {total_balance: 9}\n"
        "    symbols: {BTCUSDT: {blocked_balance: '1 -', open_order_margin: '1x2'}}\n" + SOMETHING
    )

    assert [len(case.outcome(step).symbols) for step in range(2)] == [1, 0]


def test_without_any_series_the_constants_last_until_the_last_instant(load):
    case = load(
        "    wallet: {total_balance: 5}\n"
        "    expect: [{at: 1m, not_notified: desk}, {at: 44s, not_notified: desk}]\n"
    )

    assert available(case) == [5] * 5


def test_what_is_not_said_is_usual(load):
    case = load("    wallet: {total_balance: 5}\n" + SOMETHING)

    assert (case.account, case.base_asset) == ("main", "USDT")
    assert (case.interval, case.start) == (timedelta(seconds=15), datetime(2026, 1, 1, tzinfo=UTC))


def test_the_usual_account_is_the_first(tmp_path):
    rules = (DATA / "rules.yaml").read_text(encoding="utf-8")
    _, accounts, rest = re.split(r"(?m)^(?=accounts:|receivers:)", rules)
    second = accounts.replace("accounts:\n", "").replace("main", "other")
    (tmp_path / "two.yaml").write_text(accounts + second + rest, encoding="utf-8")
    (tmp_path / "t.yaml").write_text(
        "rules: two.yaml\ntests:\n"
        f"  - name: a\n    wallet: {{total_balance: 5}}\n{SOMETHING}"
        f"  - name: b\n    wallet: {{total_balance: 5}}\n    account: other\n{SOMETHING}",
        encoding="utf-8",
    )

    assert [case.account for case in load_tests(tmp_path / "t.yaml").cases] == ["main", "other"]


def test_what_is_said_counts(load):
    case = load(
        '    interval: 1m\n    start: "2026-03-29T00:30:00+05:30"\n    account: main\n'
        "    wallet: {base_asset: INR, total_balance: 5}\n"
        "    symbols: {BTCINR: {blocked_balance: 1}, BTCUSDT: {blocked_balance: 2, base_asset: USDT}}\n"
        "    expect: [{at: 1m, not_notified: desk}]\n"
    )

    snapshot = case.outcome(1)
    assert snapshot.account == "main"
    assert snapshot.observed_at == datetime(2026, 3, 28, 19, 1, tzinfo=UTC)
    assert [wallet.base_asset for wallet in snapshot.wallets] == ["INR"]
    assert [(row.symbol, row.base_asset) for row in snapshot.symbols] == [
        ("BTCINR", "INR"),
        ("BTCUSDT", "USDT"),
    ]
    assert snapshot.wallets[0].fields["total_blocked_balance"] == 1


def test_expectations_are_read_as_they_stand(load):
    case = load(
        "    wallet: {total_balance: 5}\n    symbols: {BTCUSDT: {blocked_balance: 1}}\n"
        "    expect:\n"
        "      - {at: 1m, notified: desk, reason: repeat, severity: info}\n"
        "      - {at: 2m, not_notified: phone, since: 0s, alert: symbol-margin-ratio, symbol: BTCUSDT}\n"
    )

    told, silence = case.expectations
    assert told == NotifiedExpected(
        where=told.where,
        at=timedelta(minutes=1),
        receiver="desk",
        reason=Reason.REPEAT,
        severity=Severity.INFO,
    )
    assert silence == NotNotifiedExpected(
        where=silence.where,
        at=timedelta(minutes=2),
        receiver="phone",
        since=timedelta(0),
        alert="symbol-margin-ratio",
        labels={"symbol": "BTCUSDT"},
    )
    assert [each.where.rsplit("/", 1)[-1] for each in case.expectations] == [
        "t.yaml:7:9",
        "t.yaml:8:9",
    ]


def test_the_longest_series_is_allowed(load):
    case = load(f"    series: {{total_balance: '1x{MAX_STEPS}'}}\n{SOMETHING}")

    assert case.steps == MAX_STEPS


# ── what is not given ───────────────────────────────────────────────────────


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
