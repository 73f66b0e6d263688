"""The report: one load tells all that is wrong, and nothing twice."""

from __future__ import annotations

import time

import pytest

from alerting.config.load import Depth
from alerting.config.reload import brief
from alerting.config.report import MOST_TOLD, is_secret
from alerting.config.yaml_reader import read_file
from alerting.errors import ConfigError
from alerting.ruletest.testfile import load_tests
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


# ── very many of something ──────────────────────────────────────────────────

MANY = 8000


def test_of_very_many_problems_the_first_are_told_and_the_rest_counted(load):
    with pytest.raises(ConfigError) as caught:
        load("".join(f"unknown_{number}: 1\n" for number in range(MANY)))
    *told, rest = caught.value.problems
    assert [problem.path for problem in told] == [f"unknown_{n}" for n in range(MOST_TOLD)]
    assert str(rest).endswith(f"rules.yaml: and {MANY - MOST_TOLD} more problems")
    assert brief(caught.value).endswith(f"(and {MANY - 1} more)")


def test_one_problem_too_many_is_counted_too(load):
    lines = messages(load, "".join(f"unknown_{n}: 1\n" for n in range(MOST_TOLD + 1)))
    assert len(lines) == MOST_TOLD + 1
    assert lines[-1].endswith(": and 1 more problem")


def test_as_many_problems_as_are_told_leave_none_to_count(load):
    lines = messages(load, "".join(f"unknown_{n}: 1\n" for n in range(MOST_TOLD)))
    assert len(lines) == MOST_TOLD
    assert "more" not in lines[-1]


def test_what_the_reader_refuses_is_counted_as_well(load):
    lines = messages(load, "poll: {" + ", ".join(["interval: 15s"] * MANY) + "}\n")
    assert len(lines) == MOST_TOLD + 1
    assert lines[-1].endswith(f": and {MANY - 1 - MOST_TOLD} more problems")


def test_very_many_bad_annotations_are_counted(load):
    rules = "".join(
        f"  - {{name: r{n}, per: wallet, value: total_balance, below: 1, annotations: {{summary: '{{{{ x }}}}'}}}}\n"
        for n in range(MOST_TOLD + 5)
    )
    lines = messages(load, rules="rules:\n" + rules, depth=Depth.EVERYTHING)
    assert len(lines) == MOST_TOLD + 1
    assert lines[-1].endswith(": and 5 more problems")


def test_a_test_file_counts_too(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text("".join(f"unknown_{n}: 1\n" for n in range(MANY)))
    assert messages(load_tests, path)[-1].endswith("more problems")


def rules_of(more, count=MANY // 2):
    return "rules:\n" + "".join(
        f"  - {{name: r{n}, per: wallet, value: total_balance, below: 1{more}}}\n"
        for n in range(count)
    )


def routes_of(more, count=MANY // 2):
    routes = "".join(f"  - {{receivers: [desk], {more(n)}}}\n" for n in range(count))
    return "routes:\n" + routes + "  - receivers: [desk]\n"


MUTE = "match: {rule: floor}, mute: [{from: '22:00', to: '07:00', timezone: %s}]"


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param({"extra": "".join(f"x{n}: 1\n" for n in range(MANY))}, id="unknown-keys"),
        pytest.param({"extra": "".join(f"x{n}:\n" for n in range(MANY))}, id="keys-without-value"),
        pytest.param({"rules": rules_of(", clera: 5, accounts: [mian]")}, id="rules-with-two-faults"),
        pytest.param({"rules": "rules:\n" + "  - {}\n" * MANY}, id="empty-rules"),
        pytest.param(
            {"rules": rules_of(""), "routes": routes_of(lambda n: f"match: {{rule: x{n}}}")},
            id="routes-to-rules-that-are-not",
        ),
        pytest.param({"routes": routes_of(lambda _: MUTE % "Asia/Kolkata")}, id="windows"),
        pytest.param({"routes": routes_of(lambda _: MUTE % "Asia/Kolkat")}, id="unknown-zones"),
        pytest.param(
            {"routes": "routes:\n  - receivers: [" + ", ".join(f"x{n}" for n in range(MANY)) + "]\n"},
            id="unknown-receivers",
        ),
        pytest.param(
            {
                "accounts": "accounts:\n"
                + "".join(
                    f"  a{n}: {{api_key: '${{KEY}}', secret_key: '${{SECRET}}', rate_limit: x}}\n"
                    for n in range(MANY // 2)
                )
            },
            id="accounts-with-a-fault",
        ),
    ],
)  # fmt: skip
def test_very_many_are_told_in_little_more_time_than_they_are_read(load, tmp_path, parts):
    """What grows with the square of their number would take a hundred times as long."""
    load()
    began = time.process_time()
    try:
        load(**parts)
    except ConfigError as error:
        assert len(error.problems) <= MOST_TOLD + 1
    took = time.process_time() - began
    began = time.process_time()
    read_file(tmp_path / "rules.yaml", kind="the rules file", example="", secret=is_secret)
    assert took < 3 * (time.process_time() - began) + 1.0


@pytest.mark.parametrize(
    "value",
    ["a" * 900_000, "1" * 900_000 + "x", "1_" * 450_000 + "x", "*a" * 450_000, "[" * 900_000],
)
@pytest.mark.parametrize("place", ["x: {}\n", "templates: {}\n", "deliver_within: '{}'\n"])
def test_a_very_long_value_is_read_in_little_time(load, value, place):
    began = time.process_time()
    lines = messages(load, place.format(value))
    assert time.process_time() - began < 10
    assert all(len(line) < 400 for line in lines)
