"""`alerting test`: what holds, what is shown where something does not, and that our own tests test."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from alerting.engine.expressions import Kind, compile_expression
from alerting.engine.feeds import NAMES, Scope
from alerting.engine.model import Direction, Severity
from alerting.engine.rules import Flapping, NamePattern, Repeat
from alerting.errors import ConfigError, UsageError
from alerting.ruletest.runner import run_case, run_files
from alerting.ruletest.testfile import load_tests

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data" / "tests"
SHIPPED = ROOT / "rules.example.test.yaml"
D = Decimal
S = timedelta(seconds=1)
M = timedelta(minutes=1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, with the contract's rules."""
    shutil.copy(DATA / "rules.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder):
    """Runs a test file with this text and returns (passed, lines)."""

    def call(text, *, junit=None, verbose=False):
        (folder / "t.yaml").write_text(text, encoding="utf-8")
        lines = []
        passed = run_files([Path("t.yaml")], say=lines.append, junit=junit, verbose=verbose)
        return passed, lines

    return call


def case_of(*expect, series="1200x4 900x6 _x2 1050x2 1200x4", more=""):
    lines = "".join(f"      - {{{each}}}\n" for each in expect)
    return (
        "rules: rules.yaml\ntests:\n  - name: t\n    wallet: {total_balance: 2000}\n"
        f'    series: {{total_available_balance: "{series}"}}\n{more}    expect:\n{lines}'
    )


# ── what holds ──────────────────────────────────────────────────────────────

CONTRACT = """\
rules: rules.yaml            # relative to this file
tests:
  - name: the floor fires once and recovers
    interval: 15s            # one step of the series
    wallet: {base_asset: USDT, total_balance: 2000}     # constants for every step
    series:
      total_available_balance: "1200x4 900x6 _x2 1050x2 1200x4"    # value x count; _ is a failed poll
    expect:
      - {at: 1m30s, alert: available-balance-floor, state: firing, severity: warning}
      - {at: 1m30s, notified: desk, reason: firing}
      - {at: 5m, not_notified: phone}
"""
FLOOR = "alert: available-balance-floor"
SYMBOLS = """\
    symbols:
      BTCUSDT: {blocked_balance: "300x4 500x14"}
      ETHUSDT: {blocked_balance: "300x4 -x14"}
"""


def test_the_contracts_own_example_passes(run):
    assert run(CONTRACT) == (
        True,
        ["t.yaml", "  ok    the floor fires once and recovers", "1 passed, 0 failed"],
    )


@pytest.mark.parametrize(
    "expect",
    [
        pytest.param(f"at: 0s, {FLOOR}, state: inactive", id="inactive"),
        pytest.param(f"at: 1m15s, {FLOOR}, state: pending, severity: warning", id="pending"),
        pytest.param(f"at: 1m29s, {FLOOR}, state: pending", id="between-steps-the-one-before"),
        pytest.param(f"at: 1m30s, {FLOOR}, state: firing, value: 900", id="value"),
        pytest.param(f"at: 1m30s, {FLOOR}, state: firing, value: 900.00", id="value-as-a-number"),
        pytest.param(f"at: 2m40s, {FLOOR}, state: firing", id="a-failed-poll-holds"),
        pytest.param(f"at: 2h, {FLOOR}, state: inactive", id="after-the-end-states-hold"),
        pytest.param(
            f"at: 1m30s, {FLOOR}, state: firing, base_asset: USDT, account: main", id="labels"
        ),
        pytest.param("at: 1m30s, notified: desk", id="told"),
        pytest.param("at: 1m44s, notified: desk", id="told-in-the-step-before"),
        pytest.param("at: 1m30s, notified: desk, reason: firing, severity: warning", id="told-how"),
        pytest.param(f"at: 1m30s, notified: desk, {FLOOR}, base_asset: USDT", id="told-of"),
        pytest.param("at: 3m30s, notified: desk, reason: resolved", id="told-of-the-end"),
        pytest.param("at: 1m15s, not_notified: desk", id="not-told-before"),
        pytest.param("at: 1m45s, not_notified: desk", id="not-told-after"),
        pytest.param(
            "at: 1m30s, not_notified: desk, reason: repeat", id="not-told-for-that-reason"
        ),
        pytest.param("at: 1m30s, not_notified: desk, alert: blind", id="not-told-of-that"),
        pytest.param(
            f"at: 3m29s, not_notified: desk, {FLOOR}, since: 1m31s", id="not-told-between"
        ),
        pytest.param("at: 5m, not_notified: phone, since: 0s", id="never-told"),
        pytest.param("at: 2m, not_notified: desk, since: 2m", id="not-told-from-now-to-now"),
        pytest.param("at: 2h, not_notified: desk", id="after-the-end-nothing-is-sent"),
    ],
)
def test_it_holds_that(run, expect):
    assert run(case_of(expect)) == (True, ["t.yaml", "  ok    t", "1 passed, 0 failed"])


@pytest.mark.parametrize(
    ("expect", "found"),
    [
        pytest.param(
            f"at: 1m30s, {FLOOR}, state: inactive",
            "available-balance-floor USDT is firing, warning, value 900",
            id="another-state",
        ),
        pytest.param(
            f"at: 45s, {FLOOR}, state: firing",
            "available-balance-floor USDT is inactive, value 1200",
            id="inactive",
        ),
        pytest.param(
            f"at: 1m30s, {FLOOR}, state: firing, severity: critical",
            "available-balance-floor USDT is firing, warning, value 900",
            id="another-severity",
        ),
        pytest.param(
            f"at: 1m30s, {FLOOR}, state: firing, value: 900.01",
            "available-balance-floor USDT is firing, warning, value 900",
            id="another-value",
        ),
        pytest.param(
            "at: 1m30s, alert: blind, state: firing",
            "inactive",
            id="a-built-in-alert",
        ),
        pytest.param(
            "at: 1m45s, notified: desk",
            "desk is told nothing then; it is told at 1m30s, 3m30s",
            id="told-at-another-instant",
        ),
        pytest.param(
            "at: 1m30s, notified: phone",
            "phone is told nothing in this test",
            id="never-told",
        ),
        pytest.param(
            "at: 1m30s, notified: desk, reason: resolved",
            "desk is told: firing, available-balance-floor USDT, warning",
            id="another-reason",
        ),
        pytest.param(
            f"at: 1m30s, notified: desk, {FLOOR}, reason: repeat",
            "desk is told: firing, available-balance-floor USDT, warning",
            id="another-reason-for-the-alert",
        ),
        pytest.param(
            "at: 1m30s, notified: desk, severity: critical",
            "desk is told: firing, available-balance-floor USDT, warning",
            id="another-severity-of-the-message",
        ),
        pytest.param(
            "at: 1m30s, notified: desk, alert: blind",
            "desk is told: firing, available-balance-floor USDT, warning",
            id="of-another-alert",
        ),
        pytest.param(
            "at: 5m, notified: desk",
            "nothing is polled after 4m15s, so nothing is sent",
            id="after-the-end",
        ),
        pytest.param(
            "at: 1m40s, not_notified: desk",
            "at 1m30s desk is told: firing, available-balance-floor USDT, warning",
            id="told",
        ),
        pytest.param(
            "at: 2h, not_notified: desk, since: 1m31s",
            "at 3m30s desk is told: resolved, available-balance-floor USDT, warning",
            id="told-in-between",
        ),
    ],
)
def test_it_does_not_hold_that(run, expect, found):
    passed, lines = run(case_of(expect))

    assert not passed
    assert lines[1:4] == [
        "  FAIL  t",
        f"        t.yaml:7:9: expected {expect_in_words(expect)}",
        f"          found: {found}",
    ]
    assert lines[-1] == "0 passed, 1 failed"
    assert sum(line.startswith("      > ") for line in lines) == 1


def expect_in_words(expect):
    """The order of the words is always the same."""
    order = [
        "at",
        "notified",
        "not_notified",
        "since",
        "reason",
        "alert",
        "state",
        "value",
        "severity",
    ]
    pairs = dict(each.split(": ") for each in expect.split(", "))
    return ", ".join(f"{key}: {pairs[key]}" for key in order if key in pairs)


def test_of_several_alerts_the_most_severe_counts(run):
    btc = "alert: symbol-margin-ratio, symbol: BTCUSDT"
    any_ = "alert: symbol-margin-ratio"
    passed, lines = run(
        case_of(
            f"at: 1m, {any_}, state: pending",
            f"at: 2m, {any_}, state: firing, severity: warning",
            f"at: 2m, {btc}, state: firing",
            "at: 2m, alert: symbol-margin-ratio, symbol: ETHUSDT, state: inactive",
            f"at: 2m, notified: desk, {btc}",
            "at: 2m, not_notified: desk, alert: symbol-margin-ratio, symbol: ETHUSDT, since: 0s",
            more=SYMBOLS,
        )
    )

    assert passed, "\n".join(lines)


def test_of_several_alerts_the_milder_does_not_count(run):
    _, lines = run(
        case_of(
            "at: 2m, alert: symbol-margin-ratio, state: pending",
            more=SYMBOLS.replace("300x4 -x14", "300x8 500x10"),
        )
    )

    assert lines[3] == "          found: symbol-margin-ratio BTCUSDT is firing, warning, value 0.25"


def test_an_amount_is_compared_to_the_last_digit(run):
    assert run(case_of(f"at: 1m, {FLOOR}, state: firing, value: 900.004", series="900.004x9"))[0]
    assert not run(case_of(f"at: 1m, {FLOOR}, state: firing, value: 900", series="900.004x9"))[0]


def test_a_quotient_without_end_is_compared_in_the_digits_that_are_written(run):
    def ratio(value):
        expect = f"at: 0s, alert: symbol-margin-ratio, state: firing, value: {value}"
        passed, _ = run(
            "rules: rules.yaml\ntests:\n  - name: t\n    wallet: {total_balance: 3}\n"
            f"    symbols: {{BTCUSDT: {{blocked_balance: 2}}}}\n    expect: [{{{expect}}}]\n"
        )
        return passed

    assert ratio("0.667")
    assert ratio("0.66666666666666666667")
    assert ratio("66.67%")
    assert not ratio("0.666")


def test_blindness_lets_nothing_end(run):
    passed, lines = run(
        case_of(
            "at: 2m45s, alert: blind, state: inactive",
            "at: 3m, alert: blind, state: firing, severity: critical, value: 120",
            f"at: 3m, {FLOOR}, state: firing",
            "at: 3m, notified: phone, alert: blind",
            series="900x5 _x9",
        )
    )

    assert passed, "\n".join(lines)


def test_contradicting_numbers_are_suspect(run):
    passed, lines = run(
        case_of(
            "at: 0s, alert: suspect-data, state: firing, value: 300",
            more="    symbols: {X: {blocked_balance: 900, position_margin: 600, open_order_margin: 0}}\n",
        )
    )

    assert passed, "\n".join(lines)


def test_windows_are_judged_by_the_start(run, folder):
    rules = (DATA / "rules.yaml").read_text(encoding="utf-8")
    window = '    mute: [{from: "22:00", to: "07:00", timezone: Asia/Kolkata}]\n'
    muted = rules.replace("  - receivers: [desk]\n", "  - receivers: [desk]\n" + window)
    assert muted != rules
    (folder / "rules.yaml").write_text(muted, encoding="utf-8")
    text = case_of(
        "at: 1m15s, not_notified: desk, since: 0s",
        "at: 1m30s, notified: desk, reason: firing",
        more='    start: "START"\n',
        series="900x8",
    )

    assert run(text.replace("START", "2026-03-29T06:58:30+05:30"))[0]
    assert not run(text.replace("START", "2026-03-29T06:58:45+05:30"))[0]
    assert not run(text.replace("START", "2026-03-29T12:00:00+05:30"))[0]


# ── what is shown ───────────────────────────────────────────────────────────


def test_a_failure_is_shown_with_its_timeline(run):
    assert run(
        case_of(
            "at: 2m, notified: phone, alert: symbol-margin-ratio, symbol: BTCUSDT",
            "at: 1m, alert: symbol-margin-ratio, state: firing",
            f"at: 10m, {FLOOR}, state: inactive",
            series="1200x4 900x6 _x2 1200",
            more=SYMBOLS,
        )
    )[1] == [
        "t.yaml",
        "  FAIL  t",
        "        t.yaml:10:9: expected at: 2m, notified: phone, alert: symbol-margin-ratio, symbol: BTCUSDT",
        "          found: phone is told nothing in this test",
        "        t.yaml:11:9: expected at: 1m, alert: symbol-margin-ratio, state: firing",
        "          found: symbol-margin-ratio BTCUSDT is pending, warning, value 0.25",
        "        throughout     total_balance 2000",
        "        0s … 45s       total_available_balance 1200, BTCUSDT blocked_balance 300, ETHUSDT blocked_balance 300",
        "                       symbol-margin-ratio BTCUSDT is inactive, value 0.15",
        "                       symbol-margin-ratio ETHUSDT is inactive, value 0.15",
        "      > 1m             total_available_balance 900, BTCUSDT blocked_balance 500, ETHUSDT blocked_balance -",
        "                       symbol-margin-ratio BTCUSDT is pending, warning, value 0.25",
        "                       available-balance-floor USDT is pending, warning, value 900",
        "        1m15s          total_available_balance 900, BTCUSDT blocked_balance 500, ETHUSDT blocked_balance -",
        "                       symbol-margin-ratio BTCUSDT is pending, warning, value 0.25",
        "                       available-balance-floor USDT is pending, warning, value 900",
        "        1m30s          total_available_balance 900, BTCUSDT blocked_balance 500, ETHUSDT blocked_balance -",
        "                       symbol-margin-ratio BTCUSDT is pending, warning, value 0.25",
        "                       available-balance-floor USDT is firing, warning, value 900",
        "                       desk is told: firing, available-balance-floor USDT, warning",
        "        1m45s          total_available_balance 900, BTCUSDT blocked_balance 500, ETHUSDT blocked_balance -",
        "                       symbol-margin-ratio BTCUSDT is pending, warning, value 0.25",
        "                       available-balance-floor USDT is firing, warning, value 900",
        "        2m             total_available_balance 900, BTCUSDT blocked_balance 500, ETHUSDT blocked_balance -",
        "                       symbol-margin-ratio BTCUSDT is firing, warning, value 0.25",
        "                       available-balance-floor USDT is firing, warning, value 900",
        "                       desk is told: firing, symbol-margin-ratio BTCUSDT, warning",
        "        2m15s          total_available_balance 900, BTCUSDT blocked_balance 500, ETHUSDT blocked_balance -",
        "                       symbol-margin-ratio BTCUSDT is firing, warning, value 0.25",
        "                       available-balance-floor USDT is firing, warning, value 900",
        "        2m30s … 2m45s  the poll failed",
        "                       symbol-margin-ratio BTCUSDT is firing, warning, value 0.25",
        "                       available-balance-floor USDT is firing, warning, value 900",
        "        3m             total_available_balance 1200, BTCUSDT blocked_balance 500, ETHUSDT blocked_balance -",
        "                       symbol-margin-ratio BTCUSDT is firing, warning, value 0.25",
        "                       desk is told: resolved, available-balance-floor USDT, warning",
        "        3m15s … 4m15s  total_available_balance 1200, BTCUSDT blocked_balance 500, ETHUSDT blocked_balance -",
        "                       symbol-margin-ratio BTCUSDT is firing, warning, value 0.25",
        "0 passed, 1 failed",
    ]


def test_an_instant_after_the_end_is_shown_after_the_end(run):
    _, lines = run(case_of("at: 5m, notified: desk", series="1200x2"))

    assert lines[-2:] == ["      > after 15s   nothing is polled", "0 passed, 1 failed"]


def test_a_long_timeline_is_shown_around_the_first_difference(run):
    series = " ".join(str(1200 + step) for step in range(200))
    _, lines = run(case_of(f"at: 25m, {FLOOR}, state: firing", series=series))

    assert "70 more before this" in lines[5]
    assert "69 more after this" in lines[-2]
    assert [line for line in lines if line.startswith("      > ")] == [
        "      > 25m         total_available_balance 1300"
    ]


def test_a_condition_that_is_false_is_told(run, folder):
    rules = (DATA / "rules.yaml").read_text(encoding="utf-8")
    (folder / "rules.yaml").write_text(
        rules.replace("    for: 30s\n", "    for: 30s\n    when: total_balance > 5000\n"),
        encoding="utf-8",
    )
    _, lines = run(case_of(f"at: 2m, {FLOOR}, state: firing"))

    assert lines[3].endswith(
        "found: available-balance-floor USDT is inactive, value 900, `when` is false"
    )


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        pytest.param(
            "per: wallet, value: total_balance", "r USDT is inactive, value 2000", id="wallet"
        ),
        pytest.param(
            "per: symbol, value: total_balance, symbols: [BTC*]",
            "r BTCUSDT is inactive, value 2000",
            id="only-rows-of-the-rule",
        ),
        pytest.param(
            "per: symbol, value: blocked_balance / 3",
            "r BTCUSDT is inactive, value 33.333333333333333333; r ETHUSDT is inactive, value 0.333333333333333333",
            id="each-row",
        ),
        pytest.param(
            "per: wallet, value: total_balance / total_open_order_margin",
            "r USDT is inactive",
            id="no-value",
        ),
        pytest.param(
            "per: wallet, value: total_balance, base_assets: INR", "inactive", id="other-asset"
        ),
        pytest.param(
            "per: wallet, value: total_balance, accounts: '!main'", "inactive", id="other-account"
        ),
        pytest.param("per: account, value: poll_failures", "inactive", id="account"),
    ],
)
def test_what_is_inactive_is_shown_with_its_value(run, folder, rule, found):
    rules = (DATA / "rules.yaml").read_text(encoding="utf-8")
    more = f"  - {{name: r, {rule}, above: 999999}}\n"
    (folder / "rules.yaml").write_text(rules + more, encoding="utf-8")
    symbols = "    symbols: {BTCUSDT: {blocked_balance: 100}, ETHUSDT: {blocked_balance: 1}}\n"
    _, lines = run(case_of("at: 1m, alert: r, state: firing", more=symbols))

    assert lines[3] == f"          found: {found}"


@pytest.fixture
def reminding(folder):
    """Rules that remind in every step."""
    rules = (DATA / "rules.yaml").read_text(encoding="utf-8")
    often = rules.replace("repeat_interval: 4h", "repeat_interval: 15s")
    assert often != rules
    (folder / "rules.yaml").write_text(often, encoding="utf-8")


@pytest.mark.usefixtures("reminding")
def test_equal_messages_are_shown_one_by_one(run):
    _, lines = run(case_of(f"at: 0s, {FLOOR}, state: firing", series="900x6"))

    shown = [line[8:18].strip() for line in lines[4:-1]]
    assert [each for each in shown if each] == [
        "throughout",
        "0s",
        "15s",
        "30s",
        "45s",
        "1m",
        "1m15s",
    ]


@pytest.mark.usefixtures("reminding")
@pytest.mark.parametrize(
    ("steps", "instants"),
    [
        pytest.param(7, "30s, 45s, 1m, 1m15s, 1m30s", id="five"),
        pytest.param(8, "30s, 45s, 1m, 1m15s, 1m30s and 1 more", id="six"),
    ],
)
def test_not_all_instants_are_told(run, steps, instants):
    _, lines = run(case_of("at: 0s, notified: desk", series=f"900x{steps}"))

    assert lines[3].endswith(f"found: desk is told nothing then; it is told at {instants}")


def test_the_first_difference_has_a_line_of_its_own(run):
    _, lines = run(case_of(f"at: 2m, {FLOOR}, state: inactive"))

    shown = [line[6:23].rstrip() for line in lines if "total_available_balance 900" in line]
    assert shown == ["  1m … 1m15s", "  1m30s", "  1m45s", "> 2m", "  2m15s"]


def test_a_message_says_that_an_alert_flaps(folder):
    shutil.copy(ROOT / "rules.example.yaml", folder)
    shutil.copy(SHIPPED, folder)
    lines = []
    run_files([Path(SHIPPED.name)], say=lines.append, junit=None, verbose=True)

    assert [line.strip() for line in lines if "flapping" in line][-1] == (
        "desk is told: firing, negative-open-order-margin USDT, info, flapping"
    )


def test_verbose_shows_the_timeline_of_what_passes(run):
    _, lines = run(case_of(f"at: 15s, {FLOOR}, state: inactive", series="1200x2"), verbose=True)

    assert lines == [
        "t.yaml",
        "  ok    t",
        "        throughout  total_balance 2000, total_available_balance 1200",
        "        0s … 15s    available-balance-floor USDT is inactive, value 1200",
        "1 passed, 0 failed",
    ]


def test_a_name_cannot_speak_to_the_terminal(run):
    text = case_of(f"at: 15s, {FLOOR}, state: inactive").replace(
        "name: t", r'name: "\e[31mred\n\a"'
    )

    assert run(text)[1][1] == r"  ok    \x1b[31mred\n\x07"


# ── JUnit ───────────────────────────────────────────────────────────────────


def test_junit_tells_the_same(run, folder):
    text = case_of(f"at: 1m30s, {FLOOR}, state: inactive", "at: 2m, notified: desk")
    text = text.replace("name: t", r'name: "<&\"\u0001>"')
    text += (
        case_of("at: 5m, not_notified: phone").split("tests:\n")[1].replace("name: t", "name: fine")
    )
    _, lines = run(text, junit=folder / "report.xml")

    root = ET.parse(folder / "report.xml").getroot()
    assert {key: root.attrib[key] for key in ("tests", "failures", "errors")} == {
        "tests": "2",
        "failures": "1",
        "errors": "0",
    }
    (suite,) = root
    assert suite.get("name") == "t.yaml"
    bad, good = suite
    assert (bad.get("classname"), bad.get("name")) == ("t.yaml", r'<&"\x01>')
    assert (good.get("name"), list(good)) == ("fine", [])
    (failure,) = bad
    assert failure.get("message") == "2 expectations not met"
    shown = [line.removeprefix("      ") for line in lines[2:-2]]
    assert failure.text.splitlines() == shown


def test_junit_has_one_suite_for_each_file(folder):
    for name in ("a.yaml", "b.yaml"):
        (folder / name).write_text(CONTRACT, encoding="utf-8")
    run_files(
        [Path("a.yaml"), Path("b.yaml")],
        say=lambda _: None,
        junit=folder / "report.xml",
        verbose=False,
    )

    suites = list(ET.parse(folder / "report.xml").getroot())
    assert [(suite.get("name"), suite.get("tests")) for suite in suites] == [
        ("a.yaml", "1"),
        ("b.yaml", "1"),
    ]


def test_a_report_that_cannot_be_written_is_a_usage_error(run, folder):
    with pytest.raises(
        UsageError, match=r"^cannot write .*/none/r.xml: No such file or directory$"
    ):
        run(CONTRACT, junit=folder / "none" / "r.xml")


# ── the command ─────────────────────────────────────────────────────────────


def command(*args, cwd):
    env = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    return subprocess.run(
        [sys.executable, "-m", "alerting", "test", *args],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_exit_code_0_if_all_passed(folder):
    (folder / "t.yaml").write_text(CONTRACT, encoding="utf-8")
    done = command("t.yaml", "--junit", "r.xml", cwd=folder)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("1 passed, 0 failed\n")
    assert ET.parse(folder / "r.xml").getroot().get("tests") == "1"


def test_exit_code_1_if_some_failed(folder):
    (folder / "t.yaml").write_text(CONTRACT.replace("severity: warning", "severity: critical"))
    (folder / "u.yaml").write_text(CONTRACT, encoding="utf-8")
    done = command("t.yaml", "u.yaml", cwd=folder)

    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.endswith("1 passed, 1 failed\n")


def test_exit_code_2_and_every_problem_if_a_file_is_wrong(folder):
    (folder / "t.yaml").write_text(CONTRACT.replace("desk", "desc"), encoding="utf-8")
    (folder / "u.yaml").write_text(CONTRACT, encoding="utf-8")
    rules = (DATA / "rules.yaml").read_text(encoding="utf-8")
    (folder / "wrong.yaml").write_text(
        rules.replace("per: wallet", "per: walet", 1), encoding="utf-8"
    )
    for name in ("v.yaml", "w.yaml"):
        (folder / name).write_text(CONTRACT.replace("rules.yaml", "wrong.yaml"), encoding="utf-8")
    done = command("u.yaml", "t.yaml", "v.yaml", "w.yaml", cwd=folder)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "t.yaml:10:31: tests.0.expect.1.notified: unknown receiver 'desc'; did you mean 'desk'?",
        "wrong.yaml:27:10: rules.0.per: 'walet' is not one of account, wallet, symbol; did you mean 'wallet'?",
    ]


def test_all_that_is_wrong_is_one_error(folder):
    for name in ("a.yaml", "b.yaml"):
        (folder / name).write_text("rules: rules.yaml\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        run_files([Path("a.yaml"), Path("b.yaml")], say=pytest.fail, junit=None, verbose=False)

    assert [str(each) for each in caught.value.problems] == [
        "a.yaml:1:1: tests: is missing",
        "b.yaml:1:1: tests: is missing",
    ]


# ── docs/testing-rules.md ───────────────────────────────────────────────────

PAGE = (ROOT / "docs" / "testing-rules.md").read_text(encoding="utf-8")
OUTPUTS = re.findall(
    r"^```console\n\$ alerting test ([^\n]*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE
)


@pytest.mark.parametrize(("name", "output"), OUTPUTS)
def test_the_documented_output_is_real(folder, name, output):
    shutil.copy(ROOT / "rules.example.yaml", folder)
    block = re.search(rf"^```yaml\n(# {name}\n.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[1]
    (folder / name).write_text(block, encoding="utf-8")
    lines = []
    run_files([Path(name)], say=lines.append, junit=None, verbose=False)

    assert lines == output.splitlines()


def test_the_page_shows_output():
    assert [name for name, _ in OUTPUTS] == ["floor.test.yaml", "wrong.test.yaml"]


# ── rules.example.test.yaml really tests rules.example.yaml ─────────────────

EXAMPLE = load_tests(SHIPPED)
RULES = [rule.name for rule in EXAMPLE.ruleset.rules]
#: a change of the threshold or of `clear` that must be noticed
LITTLE = {
    "available-ratio": D("0.000001"),
    "wallet-margin-ratio": D("0.000001"),
    "symbol-margin-ratio": D("0.000001"),
    "concentration": D("0.00001"),
    "open-order-pressure": D("0.00001"),
    "negative-open-order-margin": D("0.000001"),
    "polls-failing": D(1),
}
#: changes that change nothing: a good poll takes the number of failures to 0 in one step
EQUIVALENT = {"polls-failing": ["info clears later"]}


def passes(ruleset, cases=EXAMPLE.cases):
    return not any(run_case(case, ruleset).differences for case in cases)


def about(name):
    """The cases that name a rule, and those for its route."""
    return [case for case in EXAMPLE.cases if any(each.alert == name for each in case.expectations)]


def with_rule(changed):
    rules = [changed if rule.name == changed.name else rule for rule in EXAMPLE.ruleset.rules]
    return replace(EXAMPLE.ruleset, rules=tuple(rules))


def with_threshold(rule, level, **changes):
    thresholds = [replace(each, **changes) if each is level else each for each in rule.thresholds]
    return with_rule(replace(rule, thresholds=tuple(thresholds)))


def threshold_mutants(rule, level):
    little = LITTLE.get(rule.name, D("0.01"))
    sign = 1 if rule.direction is Direction.ABOVE else -1
    severity = level.severity.value
    clear_follows = level.clear == level.line
    for name, change in (("stricter", -little * sign), ("laxer", little * sign)):
        threshold = level.line + change
        clear = threshold if clear_follows else level.clear
        yield f"{severity} {name}", with_threshold(rule, level, line=threshold, clear=clear)
    for name, change in (("later", -little * sign), ("sooner", little * sign)):
        if not (clear_follows and name == "sooner"):
            yield (
                f"{severity} clears {name}",
                with_threshold(rule, level, clear=level.clear + change),
            )
    yield f"{severity} for longer", with_threshold(rule, level, for_=level.for_ + 15 * S)
    yield (
        f"{severity} keeps longer",
        with_threshold(rule, level, keep_firing_for=level.keep_firing_for + 15 * S),
    )
    if level.for_:
        yield f"{severity} for less", with_threshold(rule, level, for_=level.for_ - 15 * S)
    if level.keep_firing_for:
        yield (
            f"{severity} keeps less",
            with_threshold(rule, level, keep_firing_for=level.keep_firing_for - 15 * S),
        )
    others = [each for each in Severity if each not in {r.severity for r in rule.thresholds}]
    for other in others:
        yield f"{severity} as {other.value}", with_threshold(rule, level, severity=other)
    left = tuple(each for each in rule.thresholds if each is not level)
    if left:
        yield f"no {severity}", with_rule(replace(rule, thresholds=left))


def rule_mutants(rule):
    for level in rule.thresholds:
        yield from threshold_mutants(rule, level)
    kept = tuple(each for each in EXAMPLE.ruleset.rules if each is not rule)
    yield "removed", replace(EXAMPLE.ruleset, rules=kept)
    other = Direction.BELOW if rule.direction is Direction.ABOVE else Direction.ABOVE
    yield "turned round", with_rule(replace(rule, direction=other))
    if rule.when:
        yield "without when", with_rule(replace(rule, when=None))
        when = f"not ({rule.when.text})"
        condition = compile_expression(when, kind=Kind.CONDITION, names=NAMES[rule.scope])
        yield "when not", with_rule(replace(rule, when=condition))
    if rule.base_assets.patterns:
        yield "for all assets", with_rule(replace(rule, base_assets=NamePattern()))
        for name in rule.base_assets.patterns:
            yield f"only for {name}", with_rule(replace(rule, base_assets=NamePattern((name,))))
    if rule.scope is Scope.SYMBOL:
        yield "for no symbol", with_rule(replace(rule, symbols=NamePattern(("!*",))))


def survivors(mutants, cases):
    return [name for name, ruleset in mutants if passes(ruleset, cases)]


def test_the_example_passes_its_tests():
    assert passes(EXAMPLE.ruleset)


def test_there_is_a_test_for_each_rule():
    assert [name for name in RULES if not about(name)] == []


@pytest.mark.parametrize("name", RULES)
def test_each_change_of_a_rule_makes_a_test_fail(name):
    rule = next(rule for rule in EXAMPLE.ruleset.rules if rule.name == name)
    mutants = list(rule_mutants(rule))

    assert len(mutants) >= 6
    assert survivors(mutants, about(name)) == EQUIVALENT.get(name, [])


def route_mutants():
    routes = EXAMPLE.ruleset.routes

    def changed(index, **changes):
        new = [replace(r, **changes) if n == index else r for n, r in enumerate(routes)]
        return replace(EXAMPLE.ruleset, routes=tuple(new))

    for index, route in enumerate(routes):
        for name in route.receivers if len(route.receivers) > 1 else ():
            left = tuple(each for each in route.receivers if each != name)
            yield f"route {index} without {name}", changed(index, receivers=left)
        missing = tuple(name for name in EXAMPLE.ruleset.receivers if name not in route.receivers)
        for name in missing:
            yield f"route {index} with {name}", changed(index, receivers=(*route.receivers, name))
        repeat = route.repeat
        for change in (-M, M):
            later = replace(repeat, first=repeat.first + change)
            yield f"route {index} first {change}", changed(index, repeat=later)
        if repeat.longest:
            yield f"route {index} plain", changed(index, repeat=Repeat(first=repeat.first))
            for change in (-M, M):
                longest = replace(repeat, longest=repeat.longest + change)
                yield f"route {index} max {change}", changed(index, repeat=longest)
    for index in range(len(routes) - 1):
        left = routes[:index] + routes[index + 1 :]
        yield f"no route {index}", replace(EXAMPLE.ruleset, routes=left)


def test_each_change_of_a_route_makes_a_test_fail():
    assert survivors(route_mutants(), EXAMPLE.cases) == []


def setting_mutants():
    ruleset, flapping = EXAMPLE.ruleset, EXAMPLE.ruleset.flapping
    yield "no flapping", replace(ruleset, flapping=None)
    for change in (-1, 1):
        changes = Flapping(changes=flapping.changes + change, within=flapping.within)
        yield f"flapping changes {change}", replace(ruleset, flapping=changes)
        within = Flapping(changes=flapping.changes, within=flapping.within + change * M)
        yield f"flapping within {change}m", replace(ruleset, flapping=within)
    for name, delay in (("blind", 15 * S), ("rule-undefined", 15 * S), ("suspect-data", 15 * S)):
        own = ruleset.builtin[name]
        for change in (-delay, delay):
            if own.for_ + change >= timedelta(0):
                builtin = {**ruleset.builtin, name: replace(own, for_=own.for_ + change)}
                yield f"{name} {change}", replace(ruleset, builtin=builtin)


def test_each_change_of_a_setting_makes_a_test_fail():
    assert survivors(setting_mutants(), EXAMPLE.cases) == []


def test_rows_alone_make_a_wallet_that_is_all_locked(tmp_path):
    (tmp_path / "rules.yaml").write_text(
        """\
accounts: {main: {api_key: a, secret_key: "%s"}}
receivers: {desk: {url: "json://127.0.0.1/"}}
routes: [{receivers: [desk]}]
rules: [{name: load, per: symbol, value: blocked_balance, above: 500}]
"""
        % ("00" * 32),
        encoding="utf-8",
    )
    (tmp_path / "t.yaml").write_text(
        """\
rules: rules.yaml
tests:
  - name: the contract's own symbol row
    symbols: {BTCUSDT: {blocked_balance: "100x4 700x8"}}
    expect:
      - {at: 45s, alert: load, state: inactive}
      - {at: 1m, alert: load, state: firing, symbol: BTCUSDT}
      - {at: 1m, alert: suspect-data, state: inactive}
""",
        encoding="utf-8",
    )
    lines = []
    assert run_files([tmp_path / "t.yaml"], say=lines.append, junit=None, verbose=False), lines
