"""What a case means."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from alerting.engine.model import Reason, Severity
from alerting.engine.snapshot import FailureKind, PollFailure
from alerting.ruletest.case import NotifiedExpected, NotNotifiedExpected
from alerting.ruletest.series import MAX_STEPS
from alerting.ruletest.testfile import load_tests
from tests.support.rule_tests import DATA

D = Decimal


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
