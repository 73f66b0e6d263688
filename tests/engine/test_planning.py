"""Section 4 of the contract: who is told what, for which reason, in how many messages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerting.engine.feeds import Scope
from alerting.engine.model import Direction
from alerting.engine.rules import ReceiverPolicy
from tests.support.factories import (
    CRITICAL,
    LADDER,
    T0,
    WARNING,
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
    play,
)


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
