"""Rules: what their sections become."""

from __future__ import annotations

from decimal import Decimal

import pytest

from alerting.engine.feeds import NAMES, Scope
from alerting.engine.model import Direction, Severity
from alerting.engine.rules import NamePattern as Names
from tests.support.rules_files import D, M, S, messages

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL


def test_a_ladder_becomes_levels_from_mild_to_worst(load_rule):
    rule = load_rule(
        value="margin_ratio",
        below=None,
        above="{critical: 35%, info: 0.1, warning: '20%'}",
        clear="{critical: 30%, info: 10%}",
        for_="{warning: 1m, critical: 0s}",
        keep_firing_for="2m",
    )
    assert rule.direction is Direction.ABOVE
    levels = [(r.severity, r.line, r.clear, r.for_, r.keep_firing_for) for r in rule.thresholds]
    assert levels == [
        (INFO, D("0.1"), D("0.10"), 0 * S, 2 * M),
        (WARNING, D("0.20"), D("0.20"), M, 2 * M),
        (CRITICAL, D("0.35"), D("0.30"), 0 * S, 2 * M),
    ]
    assert all(type(level.line) is Decimal for level in rule.thresholds)


def test_a_single_threshold_takes_severity_clear_and_delays_of_its_shape(load_rule):
    rule = load_rule(below="-5", clear="-5.0", severity="critical", for_="{critical: 1m}")
    (level,) = rule.thresholds
    assert (level.severity, level.line, level.clear, level.for_) == (CRITICAL, -5, -5, M)


def test_a_minimal_rule_has_the_documented_defaults(load_rule):
    rule = load_rule()
    assert (rule.name, rule.scope, rule.value.text) == ("r", Scope.WALLET, "total_balance")
    assert (rule.direction, rule.when) == (Direction.BELOW, None)
    assert (rule.accounts, rule.base_assets, rule.symbols) == (Names(), Names(), Names())
    assert (rule.labels, rule.annotations) == ({}, {})
    (level,) = rule.thresholds
    assert (level.severity, level.line, level.clear) == (WARNING, 1000, 1000)
    assert (level.for_, level.keep_firing_for) == (0 * S, 0 * S)


def test_filters_take_a_list_or_one_text(load_rule):
    rule = load_rule(
        per="symbol", accounts="'m*'", base_assets="[USDT, '!INR']", symbols='"!BTCDOMUSDT"'
    )
    assert rule.accounts == Names(("m*",))
    assert rule.base_assets == Names(("USDT", "!INR"))
    assert rule.symbols == Names(("!BTCDOMUSDT",))


def test_texts_of_a_rule_are_taken_as_they_are(load_rule):
    rule = load_rule(
        value='"5"',
        when="total_balance > 0",
        labels="{team: 'a ${HOME} b'}",
        annotations="{summary: '{{ value }}', runbook: 'https://x/${Y}'}",
    )
    assert (rule.value.text, rule.when.text) == ("5", "total_balance > 0")
    assert rule.labels == {"team": "a ${HOME} b"}
    assert rule.annotations == {"summary": "{{ value }}", "runbook": "https://x/${Y}"}


def test_a_plain_number_is_an_expression(load_rule):
    assert load_rule(value="10_000").value.text == "10_000"


@pytest.mark.parametrize("scope", list(Scope))
def test_every_name_of_a_scope_can_be_used(load_rule, scope):
    for name in NAMES[scope]:
        assert load_rule(per=scope.value, value=name).value.names == {name}


def test_a_rule_without_a_readable_scope_is_checked_with_all_names(load_rule):
    lines = messages(load_rule, per="wallt", value="concentration - snapshot_ag")
    assert [line.split(": ", 2)[1] for line in lines] == ["rules.0.per", "rules.0.value"]
