"""What holds, and what is found instead."""

from __future__ import annotations

import pytest

from tests.support.rule_tests import CONTRACT, DATA, FLOOR, SYMBOLS, case_of

# ── what holds ──────────────────────────────────────────────────────────────


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
