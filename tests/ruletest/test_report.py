"""Expectations, timelines and the JUnit report in words."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from alerting.errors import UsageError
from alerting.ruletest.runner import run_files
from tests.support.paths import ROOT
from tests.support.rule_tests import CONTRACT, DATA, FLOOR, SHIPPED, SYMBOLS, case_of

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
        "                       suspect-data wallet is firing, warning, value 400",
        "                       desk is told: firing, suspect-data wallet, warning",
        "        1m15s          total_available_balance 900, BTCUSDT blocked_balance 500, ETHUSDT blocked_balance -",
        "                       symbol-margin-ratio BTCUSDT is pending, warning, value 0.25",
        "                       available-balance-floor USDT is pending, warning, value 900",
        "                       suspect-data wallet is firing, warning, value 400",
        "        1m30s          total_available_balance 900, BTCUSDT blocked_balance 500, ETHUSDT blocked_balance -",
        "                       symbol-margin-ratio BTCUSDT is pending, warning, value 0.25",
        "                       available-balance-floor USDT is firing, warning, value 900",
        "                       suspect-data wallet is firing, warning, value 400",
        "                       desk is told: firing, available-balance-floor USDT, warning",
        "        1m45s          total_available_balance 900, BTCUSDT blocked_balance 500, ETHUSDT blocked_balance -",
        "                       symbol-margin-ratio BTCUSDT is pending, warning, value 0.25",
        "                       available-balance-floor USDT is firing, warning, value 900",
        "                       suspect-data wallet is firing, warning, value 400",
        "        2m             total_available_balance 900, BTCUSDT blocked_balance 500, ETHUSDT blocked_balance -",
        "                       symbol-margin-ratio BTCUSDT is firing, warning, value 0.25",
        "                       available-balance-floor USDT is firing, warning, value 900",
        "                       suspect-data wallet is firing, warning, value 400",
        "                       desk is told: firing, symbol-margin-ratio BTCUSDT, warning",
        "        2m15s          total_available_balance 900, BTCUSDT blocked_balance 500, ETHUSDT blocked_balance -",
        "                       symbol-margin-ratio BTCUSDT is firing, warning, value 0.25",
        "                       available-balance-floor USDT is firing, warning, value 900",
        "                       suspect-data wallet is firing, warning, value 400",
        "        2m30s … 2m45s  the poll failed",
        "                       symbol-margin-ratio BTCUSDT is firing, warning, value 0.25",
        "                       available-balance-floor USDT is firing, warning, value 900",
        "                       suspect-data wallet is firing, warning, value 400",
        "        3m             total_available_balance 1200, BTCUSDT blocked_balance 500, ETHUSDT blocked_balance -",
        "                       symbol-margin-ratio BTCUSDT is firing, warning, value 0.25",
        "                       desk is told: resolved, available-balance-floor USDT, warning; resolved, suspect-data wallet, warning",
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
        pytest.param(
            'per: wallet, value: "delta(total_balance, 30s)"',
            "r USDT is inactive, value 0",
            id="over-time",
        ),
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
