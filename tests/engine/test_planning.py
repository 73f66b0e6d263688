"""Section 4 of the contract: who is told what, for which reason, in how many messages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerting.engine import evaluation, routing
from alerting.engine.builtin import ProgramFacts
from alerting.engine.feeds import Scope
from alerting.engine.model import Direction
from alerting.engine.rules import BLIND, CONFIG_INVALID, DELIVERY_FAILING, ReceiverPolicy
from tests.support.factories import (
    CRITICAL,
    INFO,
    T0,
    WARNING,
    M,
    S,
    Simulation,
    make_failure,
    make_route,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_symbol,
    make_threshold,
    make_wallet,
)

LADDER = make_rule(
    "floor",
    "total_available_balance",
    make_threshold(INFO, "2000"),
    make_threshold(WARNING, "1000"),
    make_threshold(CRITICAL, "250"),
)


def play(simulation, tokens, *, step=15 * S, start=T0):
    """`_` is a failed poll; a number the available balance."""
    for number, token in enumerate(str(tokens).split()):
        at = start + number * step
        outcome = make_failure() if token == "_" else make_snapshot(make_wallet(token), at=at)
        simulation.see(outcome, at)
    return simulation


def brief(simulation, receiver="desk"):
    return [(at, reason) for at, _, reason, _ in simulation.sent(receiver)]


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        pytest.param("3000 3000", [], id="nothing"),
        pytest.param("900", [(0, "firing")], id="the-first"),
        pytest.param("900 900 900", [(0, "firing")], id="once"),
        pytest.param("900 200", [(0, "firing"), (15, "escalated")], id="a-higher-level"),
        pytest.param("200 900 900", [(0, "firing"), (15, "eased")], id="eased-once"),
        pytest.param(
            "3000 200 900 100",
            [(15, "firing"), (30, "eased"), (45, "escalated")],
            id="a-rise-after-it-eased-is-news",
        ),
        pytest.param(
            "900 200 900 200",
            [(0, "firing"), (15, "escalated"), (30, "eased"), (45, "escalated")],
            id="told-of-critical-before",
        ),
        pytest.param(
            "200 900 1500 900 1500 3000",
            [
                *((0, "firing"), (15, "eased"), (30, "eased")),
                *((45, "escalated"), (60, "eased"), (75, "resolved")),
            ],
            id="each-lower-level",
        ),
        pytest.param("200 1500", [(0, "firing"), (15, "eased")], id="two-levels-down-are-one-news"),
        pytest.param("200 _ _ 900", [(0, "firing"), (45, "eased")], id="failures-ease-nothing"),
        pytest.param(
            "1500 900 200",
            [(0, "firing"), (15, "escalated"), (30, "escalated")],
            id="each-higher-level",
        ),
        pytest.param("900 3000", [(0, "firing"), (15, "resolved")], id="resolved"),
        pytest.param(
            "900 3000 900",
            [(0, "firing"), (15, "resolved"), (30, "firing")],
            id="a-new-episode",
        ),
        pytest.param(
            "200 3000 200",
            [(0, "firing"), (15, "resolved"), (30, "firing")],
            id="a-new-episode-forgets-the-severity",
        ),
        pytest.param("900 _ _ 900", [(0, "firing")], id="failures-send-nothing"),
    ],
)
def test_one_receiver_is_told(tokens, expected):
    assert brief(play(Simulation(make_ruleset(LADDER)), tokens)) == expected


def test_pending_is_never_sent():
    rule = make_rule("floor", "total_available_balance", make_threshold(for_=3600))
    assert play(Simulation(make_ruleset(rule)), "90 90 90").notifications == []


@pytest.mark.parametrize(
    ("repeat", "expected"),
    [
        pytest.param(60, [0, 60, 120], id="on-the-beat"),
        pytest.param(61, [0, 75], id="at-the-first-evaluation-after"),
        pytest.param(15, [0, 15, 30, 45, 60, 75, 90, 105, 120], id="every-evaluation"),
    ],
)
def test_a_firing_alert_is_repeated(repeat, expected):
    ruleset = make_ruleset(LADDER, routes=(make_route("desk", repeat=repeat),))
    simulation = play(Simulation(ruleset), " ".join(["900"] * 9))
    assert [at for at, _ in brief(simulation)] == expected
    assert {reason for _, reason in brief(simulation)[1:]} == {"repeat"}


def test_a_repeat_comes_without_any_poll_too():
    ruleset = make_ruleset(LADDER, routes=(make_route("desk", repeat=60),))
    simulation = play(Simulation(ruleset), "900 _ _ _ _")
    assert brief(simulation) == [(0, "firing"), (60, "repeat")]
    simulation.see(None, T0 + 2 * M)
    assert [n.reason.value for n in simulation.notifications if n.items[0].alert.rule == "floor"][
        -1
    ] == "repeat"


def test_an_escalation_starts_the_repeat_interval_again():
    ruleset = make_ruleset(LADDER, routes=(make_route("desk", repeat=60),))
    simulation = play(Simulation(ruleset), "900 900 200 200 200 200 200")
    assert brief(simulation) == [(0, "firing"), (30, "escalated"), (90, "repeat")]


def test_the_repeat_interval_is_that_of_the_present_route():
    routes = (make_route("desk", severity="critical", repeat=30), make_route("desk", repeat=3600))
    simulation = play(
        Simulation(make_ruleset(LADDER, routes=routes)), "900 900 200 200 200 900 900"
    )
    assert brief(simulation) == [(0, "firing"), (30, "escalated"), (60, "repeat"), (75, "eased")]


def test_that_it_eased_starts_the_repeat_interval_again_and_repeats_show_what_is_now():
    ruleset = make_ruleset(LADDER, routes=(make_route("desk", repeat=30),))
    simulation = play(Simulation(ruleset), "200 900 900 900")
    assert brief(simulation) == [(0, "firing"), (15, "eased"), (45, "repeat")]
    assert simulation.sent()[-1][3] == {"floor": ("repeat", "warning")}


def items(simulation, receiver="desk"):
    return [i for n in simulation.notifications if n.receiver == receiver for i in n.items]


def test_what_was_told_before_is_said_of_each_change():
    simulation = play(Simulation(make_ruleset(LADDER)), "900 200 900 100")
    assert [(i.previous_severity, i.severity) for i in items(simulation)] == [
        (None, WARNING),
        (WARNING, CRITICAL),
        (CRITICAL, WARNING),
        (WARNING, CRITICAL),
    ]


def test_the_end_is_that_of_the_severity_last_told():
    simulation = play(Simulation(make_ruleset(LADDER)), "200 900 3000")
    assert items(simulation)[-1].severity is WARNING


def test_a_repeat_knows_what_was_last_told_and_when():
    ruleset = make_ruleset(LADDER, routes=(make_route("desk", repeat=30),))
    simulation = play(Simulation(ruleset), "900 850 800 750 700")
    assert [(i.previous_value, i.previous_at) for i in items(simulation)] == [
        (None, None),
        (900, T0),
        (800, T0 + 30 * S),
    ]


TWO_ROUTES = (make_route("desk", "phone", severity="critical"), make_route("desk"))


def two_receivers(**kw):
    return Simulation(make_ruleset(LADDER, routes=TWO_ROUTES, receivers=("desk", "phone"), **kw))


def test_a_receiver_that_joins_on_escalation_is_told_firing():
    simulation = play(two_receivers(), "900 200")
    assert brief(simulation) == [(0, "firing"), (15, "escalated")]
    assert brief(simulation, "phone") == [(15, "firing")]


def test_everyone_who_was_told_is_told_of_the_end():
    simulation = play(two_receivers(), "900 200 900 3000")
    assert brief(simulation)[-1] == (45, "resolved")
    assert brief(simulation, "phone") == [(15, "firing"), (30, "eased"), (45, "resolved")]


def test_who_was_told_critical_is_told_that_it_eased_and_is_not_reminded_of_the_rest():
    routes = (make_route("phone", severity="critical"), make_route("desk", repeat=30))
    ruleset = make_ruleset(LADDER, routes=routes, receivers=("desk", "phone"))
    simulation = play(Simulation(ruleset), "200 900 900 900 900 100 900 3000")
    assert brief(simulation, "phone") == [
        *((0, "firing"), (15, "eased"), (75, "escalated")),
        *((90, "eased"), (105, "resolved")),
    ]
    assert brief(simulation, "desk") == [
        *((15, "firing"), (45, "repeat"), (90, "repeat"), (105, "resolved")),
    ]


def test_that_it_eased_goes_wherever_the_routes_point_by_now():
    simulation = play(two_receivers(), "200")
    simulation.ruleset = make_ruleset(
        LADDER, routes=(make_route("desk"),), receivers=("desk", "phone")
    )
    play(simulation, "900 900", start=T0 + 15 * S)
    assert brief(simulation, "phone") == [(0, "firing"), (15, "eased")]


def test_that_it_eased_is_no_end_and_sent_without_send_resolved():
    simulation = Simulation(make_ruleset(LADDER, receivers={"desk": False}))
    assert brief(play(simulation, "200 900 3000")) == [(0, "firing"), (15, "eased")]


def test_only_those_who_were_told_are_told_of_the_end():
    assert brief(play(two_receivers(), "900 3000"), "phone") == []


def test_resolved_goes_wherever_the_routes_point_by_now():
    simulation = play(two_receivers(), "200")
    simulation.ruleset = make_ruleset(
        LADDER, routes=(make_route("desk"),), receivers=("desk", "phone")
    )
    play(simulation, "3000", start=T0 + 15 * S)
    assert brief(simulation, "phone") == [(0, "firing"), (15, "resolved")]


def test_send_resolved_false_is_obeyed_and_forgotten():
    simulation = play(two_receivers(), "200")
    receivers = {"desk": ReceiverPolicy(), "phone": ReceiverPolicy(send_resolved=False)}
    simulation.ruleset = replace(simulation.ruleset, receivers=receivers)
    play(simulation, "3000 200", start=T0 + 15 * S)
    assert brief(simulation, "phone") == [(0, "firing"), (30, "firing")]


def test_a_new_receiver_of_the_present_route_is_told_while_it_fires():
    simulation = play(two_receivers(), "900")
    simulation.ruleset = replace(simulation.ruleset, routes=(make_route("phone"),))
    play(simulation, "900 900", start=T0 + 15 * S)
    assert brief(simulation, "phone") == [(15, "firing")]


# ── a receiver leaves the file, and comes back ──────────────────────────────


def away_and_back(meanwhile, then):
    """phone is told of 200, is away for some samples, and comes back for some more."""
    simulation = play(two_receivers(), "200")
    both = simulation.ruleset
    simulation.ruleset = make_ruleset(LADDER)
    play(simulation, meanwhile, start=T0 + 15 * S)
    simulation.ruleset = both
    play(simulation, then, start=T0 + (1 + len(meanwhile.split())) * 15 * S)
    return simulation


@pytest.mark.parametrize(
    ("meanwhile", "then", "told"),
    [
        pytest.param("200", "200", [], id="nothing-changed"),
        pytest.param("2000 2000", "2000", [(45, "resolved")], id="it-ended"),
        pytest.param("2000 2000 200", "200", [(60, "firing")], id="a-new-episode"),
        pytest.param("200", "2000", [(30, "resolved")], id="it-ends-then"),
    ],
)
def test_a_receiver_that_comes_back_is_told_what_is_true_by_then(meanwhile, then, told):
    simulation = away_and_back(meanwhile, then)
    assert brief(simulation, "phone") == [(0, "firing"), *told]


def test_a_removed_receiver_is_told_nothing():
    simulation = play(two_receivers(), "200")
    simulation.ruleset = make_ruleset(LADDER)
    play(simulation, "200 2000 2000", start=T0 + 15 * S)
    assert brief(simulation, "phone") == [(0, "firing")]


# ── messages that wait, or died ─────────────────────────────────────────────


def test_repeats_do_not_pile_up_behind_an_unsent_message():
    simulation = Simulation(
        make_ruleset(LADDER, routes=(make_route("desk", repeat=15),)), stuck={"desk"}
    )
    play(simulation, "900 900 900 900")
    assert brief(simulation) == [(0, "firing")]


def test_escalation_and_resolve_do_queue_behind_an_unsent_message():
    simulation = Simulation(make_ruleset(LADDER), stuck={"desk"})
    play(simulation, "900 200 3000")
    assert brief(simulation) == [(0, "firing"), (15, "escalated"), (30, "resolved")]


def test_that_it_eased_queues_behind_an_unsent_message():
    simulation = Simulation(make_ruleset(LADDER), stuck={"desk"})
    play(simulation, "200 900 100")
    assert brief(simulation) == [(0, "firing"), (15, "eased"), (30, "escalated")]


def given_up(simulation):
    """The waiting messages were refused for good."""
    told = {key: replace(t, waiting=False) for key, t in simulation.memory.notified.items()}
    simulation.memory = replace(simulation.memory, notified=told)


def test_after_a_dead_message_the_next_one_is_still_firing():
    ruleset = make_ruleset(LADDER, routes=(make_route("desk", repeat=30),))
    simulation = play(Simulation(ruleset, stuck={"desk"}), "900")
    given_up(simulation)
    play(simulation, "900 900 900", start=T0 + 15 * S)
    assert brief(simulation) == [(0, "firing"), (30, "firing")]


@pytest.mark.parametrize("routes", [(make_route("desk"),), TWO_ROUTES], ids=["routed", "no-more"])
def test_who_never_got_anything_is_not_told_that_it_eased_but_of_the_next_critical(routes):
    ruleset = make_ruleset(LADDER, routes=routes, receivers=("desk", "phone"))
    reached = "desk" if len(routes) == 1 else "phone"
    simulation = play(Simulation(ruleset, stuck={reached}), "200")
    given_up(simulation)
    play(simulation, "900 900 100", start=T0 + 15 * S)
    assert brief(simulation, reached) == [(0, "firing"), (45, "firing")]


def test_who_never_got_anything_is_not_told_of_the_end():
    simulation = play(Simulation(make_ruleset(LADDER), stuck={"desk"}), "900")
    given_up(simulation)
    play(simulation, "3000", start=T0 + 15 * S)
    assert brief(simulation) == [(0, "firing")]
    assert simulation.memory.notified == {}


def test_an_escalation_after_a_dead_message_is_the_first():
    simulation = play(Simulation(make_ruleset(LADDER), stuck={"desk"}), "900")
    given_up(simulation)
    play(simulation, "200", start=T0 + 15 * S)
    assert brief(simulation)[-1] == (15, "firing")


@pytest.mark.parametrize(
    ("late", "counts_from"),
    [pytest.param(1 * M, T0, id="prompt"), pytest.param(61 * S, T0 + 61 * S, id="late")],
)
def test_a_late_delivery_starts_the_repeat_interval(late, counts_from):
    assert routing.notified_when(T0, T0 + late) == counts_from


# ── one message ─────────────────────────────────────────────────────────────


def symbol_rules():
    return (
        LADDER,
        make_rule(
            "load",
            "blocked_balance",
            make_threshold(WARNING, "50"),
            make_threshold(CRITICAL, "500"),
            scope=Scope.SYMBOL,
            direction=Direction.ABOVE,
        ),
    )


def test_all_alerts_of_one_evaluation_go_in_one_message_worst_first():
    simulation = Simulation(make_ruleset(*symbol_rules()))
    symbols = [make_symbol("ADAUSDT", "60"), make_symbol("BTCUSDT", "600")]
    simulation.see(make_snapshot(make_wallet("900"), symbols=symbols), T0)
    (message,) = simulation.notifications
    assert [(i.severity.value, i.alert.labels.get("symbol")) for i in message.items] == [
        ("critical", "BTCUSDT"),
        ("warning", None),
        ("warning", "ADAUSDT"),
    ]
    assert (message.reason.value, message.severity) == ("firing", CRITICAL)


def test_news_names_the_message_before_reminders_and_ends():
    ruleset = make_ruleset(*symbol_rules(), routes=(make_route("desk", repeat=15),))
    simulation = Simulation(ruleset)
    simulation.see(make_snapshot(make_wallet("900"), symbols=[make_symbol("A", "60")]), T0)
    simulation.see(
        make_snapshot(make_wallet("3000"), symbols=[make_symbol("A", "600")]), T0 + 15 * S
    )
    message = simulation.notifications[-1]
    assert message.reason.value == "escalated"
    assert [i.reason.value for i in message.items] == ["escalated", "resolved"]
    assert message.items[0].previous_severity is WARNING


def test_that_one_eased_names_the_message_before_reminders_and_ends():
    load = symbol_rules()[1]
    ruleset = make_ruleset(LADDER, load, routes=(make_route("desk", repeat=15),))
    simulation = Simulation(ruleset)
    symbols = [make_symbol("A", "600"), make_symbol("B", "60")]
    simulation.see(make_snapshot(make_wallet("900"), symbols=symbols), T0)
    symbols = [make_symbol("A", "60"), make_symbol("B", "60")]
    simulation.see(make_snapshot(make_wallet("3000"), symbols=symbols), T0 + 15 * S)
    message = simulation.notifications[-1]
    assert [i.reason.value for i in message.items] == ["eased", "repeat", "resolved"]
    assert message.reason.value == "eased"


# ── routes ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("match", "taken"),
    [
        pytest.param({"severity": "critical"}, True, id="severity"),
        pytest.param({"severity": "info"}, False, id="other-severity"),
        pytest.param({"severity": ["info", "critical"]}, True, id="one-of-a-list"),
        pytest.param({"rule": "lo*"}, True, id="glob"),
        pytest.param({"rule": ["*", "!load"]}, False, id="excluded"),
        pytest.param({"account": "main", "symbol": "BTC*"}, True, id="all-match"),
        pytest.param({"account": "main", "symbol": "ETH*"}, False, id="one-does-not"),
        pytest.param({"team": "risk"}, True, id="label-of-the-rule"),
        pytest.param({"team": "other"}, False, id="other-label-of-the-rule"),
        pytest.param({"receiver": "x"}, False, id="label-it-does-not-have"),
    ],
)
def test_the_first_route_that_matches_takes_the_alert(match, taken):
    rule = make_rule(
        "load",
        "blocked_balance",
        make_threshold(CRITICAL, "50"),
        scope=Scope.SYMBOL,
        direction=Direction.ABOVE,
        labels={"team": "risk"},
    )
    routes = (make_route("phone", **match), make_route("desk"))
    simulation = Simulation(make_ruleset(rule, routes=routes, receivers=("desk", "phone")))
    simulation.see(make_snapshot(symbols=[make_symbol("BTCUSDT", "60")]), T0)
    assert [n.receiver for n in simulation.notifications] == ["phone" if taken else "desk"]


# ── built-in alerts ─────────────────────────────────────────────────────────


def messages_about(simulation, rule):
    return [
        (int((n.observed_at - T0).total_seconds()), i.reason.value, i.alert.detail)
        for n in simulation.notifications
        for i in n.items
        if i.alert.rule == rule
    ]


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


def test_a_suspect_snapshot_is_seen():
    simulation = Simulation(make_ruleset())
    for number in range(12):
        simulation.see(make_snapshot(make_wallet(total_balance="1")), T0 + number * 15 * S)
    assert messages_about(simulation, BLIND) == []


@pytest.mark.parametrize(
    ("snapshot", "detail"),
    [
        pytest.param(
            make_snapshot(make_wallet("1000", total_balance="1100.000002")),
            "USDT: total_balance ≠ total_available_balance + total_blocked_balance, off by 0.000002",
            id="total",
        ),
        pytest.param(
            make_snapshot(make_wallet("1000", total_balance="1100.000001")),
            None,
            id="within-tolerance",
        ),
        pytest.param(
            make_snapshot(make_wallet(total_position_margin="99")),
            "USDT: total_blocked_balance ≠ total_position_margin + total_open_order_margin, off by 1",
            id="blocked",
        ),
        pytest.param(
            make_snapshot(symbols=[make_symbol("BTCUSDT", "10", position_margin="11.5")]),
            "BTCUSDT: blocked_balance ≠ position_margin + open_order_margin, off by -1.5",
            id="row",
        ),
        pytest.param(
            make_snapshot(make_wallet(total_open_order_margin=None)),
            "USDT: total_open_order_margin missing",
            id="an-identity-that-cannot-be-checked",
        ),
        pytest.param(
            make_snapshot(symbols=[make_symbol(blocked="77")]), None, id="rows-need-not-sum"
        ),
    ],
)
def test_suspect_data_names_the_identity_and_by_how_much(snapshot, detail):
    simulation = Simulation(make_ruleset())
    simulation.see(snapshot, T0)
    found = messages_about(simulation, "suspect-data")
    assert found == ([(0, "firing", detail)] if detail else [])


def test_a_vanished_settlement_row_is_suspect():
    simulation = Simulation(make_ruleset())
    inr = make_wallet("5", base_asset="INR")
    simulation.see(make_snapshot(make_wallet(), inr), T0)
    simulation.see(make_snapshot(make_wallet()), T0 + 15 * S)
    simulation.see(make_snapshot(make_wallet(), inr), T0 + 30 * S)
    assert messages_about(simulation, "suspect-data") == [
        (15, "firing", "the INR settlement row is gone"),
        (30, "resolved", "the INR settlement row is gone"),
    ]


def test_an_answer_without_any_settlement_row_is_suspect():
    simulation = Simulation(make_ruleset())
    empty = replace(make_snapshot(), wallets=())
    simulation.see(empty, T0)
    assert (
        messages_about(simulation, "suspect-data")[0][2]
        == "the answer holds no settlement asset at all"
    )


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


def test_account_rules_are_judged_on_failed_polls_too():
    rule = make_rule(
        "outage",
        "poll_failures",
        make_threshold(threshold="2"),
        scope=Scope.ACCOUNT,
        direction=Direction.ABOVE,
    )
    simulation = play(Simulation(make_ruleset(rule)), "900 _ _ _ 900")
    assert brief(simulation) == [(45, "firing"), (60, "resolved")]


def test_the_snapshot_age_is_counted_in_seconds_and_ages_with_the_clock():
    rule = make_rule(
        "stale",
        "snapshot_age",
        make_threshold(threshold="20", for_=15),
        scope=Scope.ACCOUNT,
        direction=Direction.ABOVE,
    )
    simulation = play(Simulation(make_ruleset(rule)), "900 _ _ _")
    assert brief(simulation) == [(45, "firing")]
    assert simulation.states("stale")[0].value == 45


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


def test_the_clock_set_back_ages_nothing():
    rule = make_rule("floor", "total_available_balance", make_threshold(for_=30))
    simulation = Simulation(make_ruleset(rule))
    for at in (T0, T0 - 60 * S, T0 - 45 * S):
        simulation.see(make_snapshot(make_wallet("90")), at)
    assert simulation.state_of() == "pending"


# ── what a hostile review found ─────────────────────────────────────────────


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
