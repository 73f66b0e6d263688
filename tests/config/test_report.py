"""The report: one load tells all that is wrong, and nothing twice."""

from __future__ import annotations

import pytest

from tests.support.rules_files import ACCOUNTS, RECEIVERS, ROUTES, RULES, messages


def test_what_is_unreadable_is_complained_of_once(load):
    """Nothing follows from accounts and receivers that cannot be read."""
    lines = messages(
        load,
        accounts="accounts: 5\n",
        receivers="",
        rules=RULES.replace("below: 1000", "below: 1000, accounts: [main]"),
    )
    assert lines == [
        "FILE:1:1: receivers: is missing",
        "FILE:1:11: accounts: must be a mapping (`key: value` lines), not 5",
    ]


@pytest.mark.parametrize("rules", ["5", "true", "text", "{a: 5}", "[]", "[5]"])
def test_routes_are_read_whatever_stands_for_the_rules(load, rules):
    routes = "routes:\n  - {match: {rule: floor}, receivers: [desk]}\n  - receivers: [desk]\n"
    lines = messages(load, routes=routes, rules=f"rules: {rules}\n")
    assert any(": rules" in line for line in lines)


def test_nothing_follows_from_an_unreadable_pace_or_match(load):
    lines = messages(
        load,
        "poll: {interval: x, blind_after: 1s}\nflapping: {changes: 6, within: 10s}\n",
        routes="routes:\n  - {match: {severity: 5}, receivers: [desk]}\n  - receivers: [desk]\n",
    )
    assert [line.split(": ", 2)[1] for line in lines] == [
        "routes.0.match.severity",
        "poll.interval",
    ]


def test_one_unreadable_part_hides_no_other(load_rule):
    lines = messages(
        load_rule, below="x", clear="5", value="nonsens", when="1", labels="{rule: a}", for_="5"
    )
    assert [line.split(": ", 2)[1] for line in lines] == [
        "rules.0.value", "rules.0.below", "rules.0.when", "rules.0.labels.rule", "rules.0.for",
    ]  # fmt: skip


@pytest.mark.parametrize("section", ["accounts", "receivers", "routes", "rules", "poll", "builtin",
                                     "flapping", "heartbeat", "history"])  # fmt: skip
@pytest.mark.parametrize(
    "value", ["5", "text", "[]", "{}", "[5]", "{a: 5}", "[[]]", "{a: {}}", "null", "true"]
)
def test_any_section_may_be_nonsense(load, section, value):
    parts = {"accounts": ACCOUNTS, "receivers": RECEIVERS, "routes": ROUTES, "rules": RULES}
    extra = "" if section in parts else f"{section}: {value}\n"
    given = parts | ({} if extra else {section: f"{section}: {value}\n"})
    if value == "{}" and section in {"poll", "builtin", "flapping", "history"}:
        return
    lines = messages(load, extra, **given)
    assert all(section in line for line in lines if "unknown" not in line)


@pytest.mark.parametrize("key", ["name", "per", "value", "above", "below", "severity", "clear", "for",
                                 "keep_firing_for", "when", "accounts", "base_assets", "symbols",
                                 "labels", "annotations"])  # fmt: skip
@pytest.mark.parametrize(
    "value", ["[]", "{}", "[5]", "{a: 5}", "[[]]", "{a: {}}", "null", "true", "''", '"\\0"']
)
def test_any_key_of_a_rule_may_be_nonsense(load_rule, key, value):
    if value == "{}" and key in {"labels", "annotations"}:
        return
    assert any(f"rules.0.{key}" in line for line in messages(load_rule, **{key: value}))


@pytest.mark.parametrize("key", ["match", "receivers", "repeat_interval", "mute", "mute_critical"])
@pytest.mark.parametrize(
    "value", ["[]", "{}", "[5]", "{a: 5}", "[[]]", "[{}]", "{a: {}}", "null", "true", "''", '"\\0"']
)
def test_any_key_of_a_route_may_be_nonsense(load, key, value):
    if (key, value) in {("match", "{}"), ("mute_critical", "true")}:
        return
    keys = {"receivers": "[desk]", "mute": '[{from: "22:00", to: "07:00", timezone: UTC}]'}
    lines = [f"    {name}: {given}\n" for name, given in (keys | {key: value}).items()]
    routes = "routes:\n  -" + "".join(lines)[3:]
    assert any(f"routes.0.{key}" in line for line in messages(load, routes=routes))


@pytest.mark.parametrize("key", ["days", "from", "to", "timezone"])
@pytest.mark.parametrize(
    "value", ["[]", "{}", "[5]", "{a: 5}", "[[]]", "{a: {}}", "null", "true", "''", '"\\0"']
)
def test_any_key_of_a_window_may_be_nonsense(load_mute, key, value):
    lines = messages(load_mute, **{key: value})
    assert any(f"routes.0.mute.0.{key}" in line for line in lines)
