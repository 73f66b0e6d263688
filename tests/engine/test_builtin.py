"""The built-in alerts: when they fire, what they say, who hears of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerting.engine import evaluation
from alerting.engine.builtin import ProgramFacts
from alerting.engine.feeds import Scope
from alerting.engine.model import Direction
from alerting.engine.rules import BLIND, CONFIG_INVALID, DELIVERY_FAILING
from tests.support.factories import (
    CRITICAL,
    INFO,
    LADDER,
    T0,
    M,
    S,
    Simulation,
    brief,
    make_route,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_symbol,
    make_threshold,
    make_wallet,
    messages_about,
    play,
)


def test_blind_fires_when_no_snapshot_came_for_blind_after_and_says_why():
    simulation = play(Simulation(make_ruleset()), "900 " + "_ " * 9 + "900")
    assert messages_about(simulation, BLIND) == [
        (
            120,
            "firing",
            "no snapshot for 2m (last 2026-01-01T00:00:00Z): network: connection refused",
        ),
        (
            150,
            "resolved",
            "no snapshot for 2m15s (last 2026-01-01T00:00:00Z): network: connection refused",
        ),
    ]


def test_blind_is_critical_and_counts_from_the_first_try():
    simulation = play(Simulation(make_ruleset()), "_ " * 9)
    ((at, _, detail),) = messages_about(simulation, BLIND)
    assert (at, detail.split(":")[0]) == (120, "no snapshot for 2m (none since 2026-01-01T00")
    assert simulation.notifications[0].severity is CRITICAL


def test_blind_needs_no_poll_to_be_noticed():
    simulation = play(Simulation(make_ruleset()), "900")
    simulation.see(None, T0 + 120 * S)
    assert messages_about(simulation, BLIND)[0][2].endswith("no poll was made")


def test_an_alert_that_no_for_lets_fire_is_told_as_blind():
    """Every second poll fails: no stretch counts as seen, and the wallet is below the line."""
    rule = make_rule(
        "floor", "total_available_balance", make_threshold(threshold="1000", for_=30 * S)
    )
    simulation = play(Simulation(make_ruleset(rule)), "900 _ " * 8)
    ((at, reason, detail),) = messages_about(simulation, BLIND)
    assert (at, reason) == (180, "firing")
    assert detail == (
        "floor cannot fire, as no `for` can pass: for 2m30s a poll has failed between any two "
        "snapshots, or they were more than 2m apart"
    )
    play(simulation, "900 900 900 900", start=T0 + 240 * S)
    assert [reason for _, reason, _ in messages_about(simulation, BLIND)] == ["firing", "resolved"]
    assert [reason for _, reason, _ in messages_about(simulation, "floor")] == ["firing"]


def test_polls_more_rare_than_blind_after_are_told_while_an_alert_waits_for_them():
    rule = make_rule(
        "floor", "total_available_balance", make_threshold(threshold="1000", for_=30 * S)
    )
    simulation = play(Simulation(make_ruleset(rule)), "900 900 900 900 900", step=5 * M)
    ((at, _, detail),) = messages_about(simulation, BLIND)
    assert at == 20 * 60
    assert detail.startswith("floor cannot fire, as no `for` can pass: for 15m ")


@pytest.mark.parametrize(
    "polls",
    [
        "5000 _ " * 20,
        "900 _ 900 _ 900 _ 900 900 _ 900 _ 900 _ 900 900 _ 900",
        "5000 _ 900 _ 200 900",
    ],
)
def test_failed_polls_alone_are_not_blindness(polls):
    """Nothing waits, or a `for` passes now and then."""
    rule = make_rule(
        "floor", "total_available_balance", make_threshold(threshold="1000", for_=30 * S)
    )
    assert messages_about(play(Simulation(make_ruleset(rule)), polls), BLIND) == []


def test_a_restart_with_an_alert_that_waits_is_not_blindness():
    rule = make_rule(
        "floor", "total_available_balance", make_threshold(threshold="1000", for_=30 * S)
    )
    simulation = play(Simulation(make_ruleset(rule)), "900 900")
    play(simulation, "900 900 900", start=T0 + 1000 * S)
    assert messages_about(simulation, BLIND) == []


def test_an_account_rule_goes_by_the_clock_and_waits_for_no_snapshot():
    rule = make_rule("failing", "poll_failures", make_threshold(for_=3600 * S), scope=Scope.ACCOUNT)
    simulation = play(Simulation(make_ruleset(rule)), "900 _ " * 20)
    assert messages_about(simulation, BLIND) == []


def test_a_suspect_snapshot_is_seen():
    simulation = Simulation(make_ruleset())
    for number in range(12):
        simulation.see(make_snapshot(make_wallet(total_balance="1")), T0 + number * 15 * S)
    assert messages_about(simulation, BLIND) == []


def test_a_value_that_cannot_be_computed_is_told_after_blind_after():
    rule = make_rule("share", "total_available_balance / total_position_margin", make_threshold())
    simulation = Simulation(make_ruleset(rule))
    for number in range(10):
        position = "0" if number < 9 else "100"
        simulation.see(make_snapshot(make_wallet("20000", position=position)), T0 + number * 15 * S)
    assert messages_about(simulation, "rule-undefined") == [
        (
            120,
            "firing",
            (
                "rule share cannot be judged for USDT: "
                "“total_available_balance / total_position_margin” has no value"
            ),
        ),
        (
            135,
            "resolved",
            (
                "rule share cannot be judged for USDT: "
                "“total_available_balance / total_position_margin” has no value"
            ),
        ),
    ]


def test_undefined_rows_of_a_rule_are_one_alert():
    rule = make_rule("r", "1 / open_order_margin", make_threshold(), scope=Scope.SYMBOL)
    simulation = Simulation(make_ruleset(rule, blind_after=15))
    rows = [make_symbol(name) for name in ("A", "B", "C")]
    for number in range(2):
        simulation.see(make_snapshot(symbols=rows), T0 + number * 15 * S)
    ((_, _, detail),) = messages_about(simulation, "rule-undefined")
    assert detail.startswith("rule r cannot be judged for A and 2 more:")


def test_an_age_without_any_snapshot_is_undefined():
    rule = make_rule(
        "stale", "snapshot_age", make_threshold(), scope=Scope.ACCOUNT, direction=Direction.ABOVE
    )
    simulation = play(Simulation(make_ruleset(rule)), "_ " * 9)
    assert [at for at, *_ in messages_about(simulation, "rule-undefined")] == [120]


def program(simulation, at, **facts):
    step = evaluation.evaluate_program(
        simulation.ruleset, simulation.memory, ProgramFacts(**facts), now=at
    )
    simulation.take(step)


def about_program():
    return Simulation(
        make_ruleset(receivers=("desk", "phone"), routes=(make_route("desk"),)), account=""
    )


def test_a_failing_receiver_is_reported_to_the_others():
    simulation = about_program()
    program(simulation, T0, failing_receivers={"desk": "bad token"})
    program(simulation, T0 + M, failing_receivers={"desk": "bad token"})
    program(simulation, T0 + 2 * M)
    assert [(n.receiver, n.reason.value, n.account) for n in simulation.notifications] == [
        ("phone", "firing", None),
        ("phone", "resolved", None),
    ]
    assert messages_about(simulation, DELIVERY_FAILING)[0][2] == "bad token"


def test_the_route_is_kept_where_it_has_another_receiver():
    simulation = about_program()
    program(simulation, T0, failing_receivers={"phone": "gone"})
    assert [n.receiver for n in simulation.notifications] == ["desk"]


def test_a_refused_rules_file_is_an_alert():
    simulation = about_program()
    program(simulation, T0, config_error="rules.yaml:3:1: bad")
    program(simulation, T0 + M)
    assert [(at, reason) for at, reason, _ in messages_about(simulation, CONFIG_INVALID)] == [
        (0, "firing"),
        (60, "resolved"),
    ]


def with_builtin(ruleset, name, **settings):
    builtin = {**ruleset.builtin, name: replace(ruleset.builtin[name], **settings)}
    return replace(ruleset, builtin=builtin)


@pytest.mark.parametrize("ends", [True, False], ids=["and-it-ends", "and-it-goes-on"])
def test_a_built_in_alert_may_change_its_severity_while_it_fires(ends):
    simulation = Simulation(make_ruleset())
    suspect = make_snapshot(make_wallet(total_balance="1"))
    simulation.see(suspect, T0)
    simulation.ruleset = with_builtin(simulation.ruleset, "suspect-data", severity=CRITICAL)
    simulation.see(make_snapshot() if ends else suspect, T0 + 15 * S)
    about = [(at, reason) for at, reason, _ in messages_about(simulation, "suspect-data")]
    assert about == [(0, "firing"), (15, "resolved" if ends else "escalated")]


def test_so_may_an_alert_about_the_program():
    simulation = about_program()
    program(simulation, T0, config_error="bad", failing_receivers={"desk": "gone"})
    for name in (CONFIG_INVALID, DELIVERY_FAILING):
        simulation.ruleset = with_builtin(simulation.ruleset, name, severity=INFO)
    program(simulation, T0 + M)
    assert [n.reason.value for n in simulation.notifications[-1:]] == ["resolved"]
    assert simulation.memory.alerts == {}


def test_blind_keeps_firing_no_longer_than_it_is_told_to():
    ruleset = with_builtin(make_ruleset(), BLIND, keep_firing_for=30 * S)
    simulation = play(Simulation(ruleset), "900 " + "_ " * 8 + "900 900 900 900")
    assert [(at, r) for at, r, _ in messages_about(simulation, BLIND)] == [
        (120, "firing"),
        (165, "resolved"),
    ]


def test_receivers_that_fail_together_are_reported_to_a_healthy_one():
    ruleset = make_ruleset(
        receivers=("desk", "phone", "mail"), routes=(make_route("desk", "phone"),)
    )
    simulation = Simulation(ruleset, account="")
    program(simulation, T0, failing_receivers={"desk": "revoked", "phone": "revoked"})
    assert {n.receiver for n in simulation.notifications} == {"mail"}


def test_where_all_receivers_fail_each_is_reported_to_the_others():
    simulation = about_program()
    program(simulation, T0, failing_receivers={"desk": "revoked", "phone": "revoked"})
    assert {n.receiver for n in simulation.notifications} == {"desk", "phone"}


def test_a_clock_set_back_does_not_hide_blindness_or_reminders():
    ruleset = make_ruleset(LADDER, routes=(make_route("desk", repeat=60),))
    simulation = play(Simulation(ruleset), "900", start=T0 + 86400 * S)
    play(simulation, "_ " * 10)
    assert {rule for *_, rules in simulation.sent() for rule in rules} == {"floor", BLIND}
    assert [r for _, r in brief(simulation)].count("repeat") == 1


def test_a_clock_set_back_before_the_first_snapshot_does_not_hide_blindness():
    simulation = play(Simulation(make_ruleset()), "_", start=T0 + 86400 * S)
    play(simulation, "_ " * 9)
    assert [at for at, *_ in messages_about(simulation, BLIND)] == [120]
