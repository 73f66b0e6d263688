"""Warnings: what is valid and can never do its work, or always does; and what is not doubted."""

from __future__ import annotations

import pytest

from alerting.config import doubts
from alerting.config.load import Depth
from alerting.config.report import MOST_TOLD
from tests.support.rules_files import RULES

ROUTE = "routes:\n  - {{{}, receivers: [desk]}}\n  - receivers: [desk]\n"
NIGHT = "{from: '22:00', to: '07:00', timezone: Asia/Kolkata}"
DAY = "{from: '07:00', to: '22:00', timezone: Asia/Kolkata}"


@pytest.fixture
def warned(load):
    """The warnings of a file made of the usual parts, without its name."""

    def run(**parts):
        config = load(depth=Depth.RECEIVERS, **parts)
        return [each.as_warning().partition("rules.yaml:")[2] for each in config.warnings]

    return run


def rule(**keys):
    keys = {"name": "r", "per": "symbol", "value": "blocked_balance", "above": 1} | keys
    lines = [f"{key}: {value}" for key, value in keys.items() if value is not None]
    return "rules:\n  - {" + ", ".join(lines) + "}\n"


def test_the_usual_parts_are_not_doubted(warned):
    assert warned() == []


# ── patterns ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (
            '{severity: "crit*l2"}',
            "severity: 'crit*l2' matches no severity; there are 'critical', 'info', 'warning'",
        ),
        ("{account: 'x*'}", "account: 'x*' matches no account; there are 'main'"),
        ("{receiver: ['x*']}", "receiver.0: 'x*' matches no receiver; there are 'desk'"),
        ("{rule: ['floor', '!flour*']}", "rule.1: '!flour*' matches no rule; "),
        ("{topic: leverge}", "topic: 'leverge' matches no topic; there are 'leverage'"),
        ("{symbol: btcusdt}", "symbol: 'btcusdt' matches no symbol: the exchange writes them in upper case, BTCUSDT"),
        ("{base_asset: '[a-z]*'}", "base_asset: '[a-z]*' matches no base_asset: "),
        ("{exchange: 'Ex*'}", "exchange: 'Ex*' matches no exchange: "),
        ("{severity: ['*', '!*']}", "severity: matches nothing: what it takes is all excluded again"),
    ],
)  # fmt: skip
def test_a_pattern_of_a_route_that_matches_nothing_is_a_warning(warned, match, expected):
    rules = RULES.replace("1000}", "1000, labels: {topic: leverage}}")
    (line,) = warned(routes=ROUTE.format(f"match: {match}"), rules=rules)
    assert f": warning: routes.0.match.{expected}" in line


@pytest.mark.parametrize(
    "match",
    [
        "{severity: 'crit*l'}", "{account: '*'}", "{account: '!main'}", "{rule: '*nd'}",
        "{topic: '[kl]ev*'}", "{topic: '!leverage'}", "{symbol: 'BTC*'}", "{symbol: '[!a-z]TC*'}",
        "{symbol: '1000?*'}", "{base_asset: ['*', '!INR']}", "{exchange: EXCHANGE_2}",
        "{severity: ['*', '!info']}", "{symbol: '['}",
    ],
)  # fmt: skip
def test_a_pattern_that_something_matches_is_not_doubted(warned, match):
    rules = rule(above="{warning: 1, critical: 2}", labels="{topic: leverage}")
    assert warned(routes=ROUTE.format(f"match: {match}"), rules=rules) == []


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("accounts", '["x*"]', "accounts.0: 'x*' matches no account; there are 'main'"),
        ("accounts", '["*", "!main"]', "accounts: matches nothing: what it takes is all excluded"),
        ("symbols", "[BTCUSDT, ethusdt]", "symbols.1: 'ethusdt' matches no symbol: "),
        ("base_assets", "usdt", "base_assets: 'usdt' matches no base_asset: "),
    ],
)  # fmt: skip
def test_a_filter_of_a_rule_that_matches_nothing_is_a_warning(warned, key, value, expected):
    (line,) = warned(rules=rule(**{key: value}))
    assert line.startswith("8:")
    assert f": warning: rules.0.{expected}" in line


def test_a_filter_that_can_match_is_not_doubted(warned):
    rules = rule(accounts="['m*', '!x']", symbols="['*', '!BTC*']", base_assets="USDT")
    with pytest.raises(Exception, match="unknown account 'x'"):
        warned(rules=rules)
    assert warned(rules=rules.replace(", '!x'", "")) == []


# ── rules ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"value": '"1000"'}, "value: is always 1000, so the rule says nothing"),
        ({"value": '"max(1, 2) * 3"'}, "value: is always 6, so the rule says nothing"),
        ({"value": "1 / (1 - 1)"}, "value: never has a value, so the rule says nothing"),
        ({"when": "1 > 2"}, "when: is always false, so it keeps the rule from firing"),
        ({"when": "total_balance > 0 or 2 > 1"}, "when: is always true, so it is of no use"),
        ({"when": "1 / (1 - 1) > 0"}, "when: never has a value, so it keeps the rule from firing"),
    ],
)
def test_a_constant_is_a_warning(warned, keys, expected):
    assert [line.partition("warning: ")[2] for line in warned(rules=rule(**keys))] == [
        f"rules.0.{expected}"
    ]


@pytest.mark.parametrize("when", ["total_balance > 0", "total_balance > 0 or 1 > 2"])
def test_a_condition_that_depends_on_what_is_seen_is_not_doubted(warned, when):
    assert warned(rules=rule(when=when)) == []


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"value": "margin_ratio", "above": 40}, "above: margin_ratio is a share: 1 is all of it; for a percentage write 40%"),
        ({"value": "(concentration)", "above": "{info: 60%, critical: 80}"}, "above.critical: concentration is a share: 1 is all of it; for a percentage write 80%"),
        ({"value": "margin_ratio", "below": "150%", "above": None}, "below: margin_ratio is a share: 1 is all of it"),
        ({"when": "margin_ratio > 40"}, "when: margin_ratio is a share: 1 is all of it; for 40% write 0.40"),
        ({"when": "1 > 0 and 12.5 <= margin_ratio"}, "when: margin_ratio is a share: 1 is all of it; for 12.5% write 0.125"),
    ],
)  # fmt: skip
def test_a_percentage_without_its_sign_is_a_warning(warned, keys, expected):
    (line,) = warned(rules=rule(**keys))
    assert line.partition("warning: ")[2] == f"rules.0.{expected}"


def test_the_warning_points_at_the_number(warned):
    when = "margin_ratio > 40"
    (line,) = warned(rules=rule(when=when))
    column = rule(when=when).splitlines()[1].index("40}") + 1
    assert line.startswith(f"8:{column}: ")


@pytest.mark.parametrize(
    "keys",
    [
        {"value": "margin_ratio", "above": 1},
        {"value": "margin_ratio * 100", "above": 40},
        {
            "value": "blocked_balance",
            "above": 40,
            "when": "margin_ratio > 1 and total_balance > 40",
        },
        {"value": "blocked_balance", "when": "margin_ratio > concentration"},
    ],
)
def test_what_may_be_more_than_one_is_not_doubted(warned, keys):
    assert warned(rules=rule(**keys)) == []


# ── receivers, routes, hours ────────────────────────────────────────────────


def test_a_receiver_that_no_route_names_is_a_warning(warned):
    receivers = "receivers:\n  desk: {url: json://h/}\n  lone: {url: json://h/}\n"
    (line,) = warned(receivers=receivers)
    assert line.startswith("5:3: warning: receivers.lone: no route leads to it")


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("{rule: r, severity: info}", "matches no alert of this file"),
        ("{rule: r, account: '!main'}", "matches no alert of this file"),
        ("{rule: blind, symbol: 'BTC*'}", "matches no alert of this file"),
        ("{severity: critical, receiver: '?*'}", None),
        ("{rule: r, symbol: 'BTC*'}", None),
        ("{rule: config-invalid, account: '!main'}", None),
        ("{rule: suspect-data, account: main}", None),
    ],
)
def test_a_route_that_no_alert_can_take_is_a_warning(warned, match, expected):
    lines = warned(routes=ROUTE.format(f"match: {match}"), rules=rule())
    assert lines == ([f"6:5: warning: routes.0: {expected}"] if expected else [])


def test_a_route_behind_one_that_takes_all_of_its_alerts_is_a_warning(warned):
    routes = (
        "routes:\n  - {match: {severity: 'w*'}, receivers: [desk]}\n"
        "  - {match: {rule: r}, receivers: [desk]}\n"
        "  - {match: {rule: blind}, receivers: [desk]}\n  - receivers: [desk]\n"
    )
    assert warned(routes=routes, rules=rule()) == [
        "7:5: warning: routes.1: is never reached: the routes before it take all that it matches"
    ]


def test_a_route_behind_one_that_takes_some_symbols_is_not_doubted(warned):
    routes = (
        "routes:\n  - {match: {symbol: 'BTC*'}, receivers: [desk]}\n"
        "  - {match: {rule: r}, receivers: [desk]}\n  - receivers: [desk]\n"
    )
    assert warned(routes=routes, rules=rule()) == []


def test_the_last_route_must_be_there_and_is_not_doubted(warned):
    routes = "routes:\n  - {match: {severity: '*'}, receivers: [desk]}\n  - receivers: [desk]\n"
    assert warned(routes=routes) == []


@pytest.mark.parametrize(
    ("route", "last", "expected"),
    [
        pytest.param(
            "match: {severity: critical}", f"mute: [{NIGHT}]",
            "7:13: warning: routes.1.mute.0: from mon 22:00 (Asia/Kolkata) on nobody is told of "
            "warning alerts: all routes that take them are muted then",
            id="lesser-ones-at-night",
        ),
        pytest.param(
            "match: {severity: warning}", f"mute: [{NIGHT}], mute_critical: true",
            "7:13: warning: routes.1.mute.0: from mon 22:00 (Asia/Kolkata) on nobody is told of "
            "critical alerts: all routes that take them are muted then",
            id="critical-at-night",
        ),
        pytest.param(
            f"match: {{rule: r}}, mute: [{DAY}]", f"mute: [{NIGHT}]", None, id="one-after-the-other"
        ),
        pytest.param(
            f"match: {{rule: r}}, mute: [{DAY}]",
            "mute: [{days: sun, from: '10:00', to: '10:01', timezone: UTC}]",
            "7:13: warning: routes.1.mute.0: from sun 10:00 (UTC) on nobody is told of warning "
            "alerts: all routes that take them are muted then",
            id="both-for-a-minute",
        ),
        pytest.param(
            "match: {rule: r}, mute: [{from: '22:00', to: '04:00', timezone: UTC}]",
            # in winter this opens when the other one ends, in summer an hour before
            "mute: [{from: '05:00', to: '06:00', timezone: Europe/Berlin}]",
            "7:13: warning: routes.1.mute.0: from mon 05:00 (Europe/Berlin) on nobody is told of "
            "warning alerts: all routes that take them are muted then",
            id="in-summer-only",
        ),
    ],
)  # fmt: skip
def test_an_hour_in_which_a_severity_reaches_nobody_is_a_warning(warned, route, last, expected):
    routes = f"routes:\n  - {{{route}, receivers: [desk]}}\n  - {{{last}, receivers: [desk]}}\n"
    lines = warned(routes=routes, rules=rule())
    assert lines == ([expected] if expected else [])


def test_a_route_that_can_match_nothing_does_not_count_as_open(warned):
    routes = (
        "routes:\n  - {match: {symbol: 'btc*'}, receivers: [desk]}\n"
        f"  - {{receivers: [desk], mute: [{NIGHT}]}}\n"
    )
    pattern, hour = warned(routes=routes, rules=rule())
    assert "'btc*' matches no symbol" in pattern
    assert "nobody is told of warning alerts" in hour


# ── as a whole ──────────────────────────────────────────────────────────────


def test_of_very_many_warnings_the_first_are_told_and_the_rest_counted(warned):
    keys = ", ".join(f"l{number}: one" for number in range(MOST_TOLD + 3))
    other = keys.replace(": one", ": two")
    lines = warned(routes=ROUTE.format(f"match: {{{other}}}"), rules=rule(labels=f"{{{keys}}}"))
    assert len(lines) == MOST_TOLD + 1
    assert lines[-1] == " warning: and 3 more warnings"


def test_a_warning_shows_no_secret(load):
    # a piece of the receiver's URL, and no pattern that could match
    token = "hook-token-123"
    (warning,) = load(rules=rule(symbols=token), depth=Depth.RECEIVERS).warnings
    assert token not in str(warning)


def test_a_file_too_large_to_be_asked_everything_is_read_all_the_same(warned, monkeypatch):
    routes = ROUTE.format("match: {rule: r, severity: 'x*'}")
    assert warned(routes=routes, rules=rule())
    monkeypatch.setattr(doubts, "_MOST_QUESTIONS", 0)
    assert warned(routes=routes, rules=rule()) == []


def test_cron_looks_for_none(load):
    assert load(rules=rule(when="1 > 2"), depth=Depth.STRUCTURE).warnings == ()
