"""Test files: what each one means, and the exact line for everything that is wrong with one."""

from __future__ import annotations

import re

import pytest

from alerting.errors import ConfigError
from alerting.ruletest.testfile import load_tests
from tests.support.rule_tests import DATA

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
        "FILE:10:41: tests.0.expect.1.reason: 'fire' is not one of firing, escalated, eased, repeat, resolved; did you mean 'firing'?",
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
        "FILE:6:38: tests.0.series.total_available_balance: '-x2' is for symbols and positions: it takes a row away",
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
        "FILE:8:42: tests.0.expect.0.reason: 'fired' is not one of firing, escalated, eased, repeat, resolved",
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
