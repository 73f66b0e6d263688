"""Routes; silences, acknowledgements, mutes, flapping, repeats: told later, never told wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta
from decimal import Decimal

import pytest

from alerting.engine import routing
from alerting.engine.feeds import Scope
from alerting.engine.model import Ack, Direction, Silence
from alerting.engine.mute_windows import Window
from alerting.engine.rules import Flapping, Repeat
from tests.support.factories import (
    CRITICAL,
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
    play,
)

STEP = 15 * S


def at(steps):
    return T0 + steps * STEP


def silence(*, start=0, end=1000, **matchers):
    return Silence(
        id=1, matchers=matchers or {"rule": "*"}, starts_at=at(start), ends_at=at(end),
        author="me", reason="moving funds",
    )  # fmt: skip


def silenced(*silences, **kw):
    simulation = Simulation(make_ruleset(LADDER, **kw))
    simulation.memory = replace(simulation.memory, silences=silences)
    return simulation


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


# ── silences ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("tokens", "window", "expected"),
    [
        pytest.param("900 900 900 900", (0, 2), [(30, "firing")], id="told-when-it-ends"),
        pytest.param("900 3000 3000 3000", (0, 2), [], id="over-before-it-ends"),
        pytest.param(
            "900 900 3000 3000 3000",
            (1, 4),
            [(0, "firing"), (60, "resolved")],
            id="ended-meanwhile",
        ),
        pytest.param(
            "900 200 200 200", (1, 3), [(0, "firing"), (45, "escalated")], id="worse-meanwhile"
        ),
        pytest.param("900 200 900 900", (1, 3), [(0, "firing")], id="worse-and-back-meanwhile"),
        pytest.param(
            "200 900 900 900", (1, 3), [(0, "firing"), (45, "eased")], id="better-meanwhile"
        ),
        pytest.param(
            "200 200 200 200", (1, 3), [(0, "firing")], id="the-critical-that-was-told-goes-on"
        ),
        pytest.param(
            "200 900 100 100",
            (1, 3),
            [(0, "firing"), (45, "escalated")],
            id="critical-anew-meanwhile",
        ),
        pytest.param(
            "200 3000 100 100",
            (1, 3),
            [(0, "firing"), (45, "firing")],
            id="critical-in-another-episode",
        ),
        pytest.param(
            "200 900 100 900 900",
            (1, 3),
            [(0, "firing"), (45, "eased")],
            id="critical-anew-and-back",
        ),
        pytest.param(
            "900 3000 900 900 900", (1, 3), [(0, "firing"), (45, "firing")], id="another-episode"
        ),
    ],
)
def test_a_silenced_alert_is_judged_on_and_told_afterwards(tokens, window, expected):
    simulation = silenced(silence(start=window[0], end=window[1]))
    assert brief(play(simulation, tokens)) == expected


@pytest.mark.parametrize(
    ("matchers", "quiet"),
    [
        pytest.param({"rule": "flo*"}, True, id="glob"),
        pytest.param({"rule": "floor", "account": "main"}, True, id="all-match"),
        pytest.param({"rule": "floor", "account": "other"}, False, id="one-does-not"),
        pytest.param({"severity": "warning"}, True, id="severity"),
        pytest.param({"symbol": "BTC*"}, False, id="label-it-does-not-have"),
    ],
)
def test_all_matchers_must_match(matchers, quiet):
    assert (play(silenced(silence(**matchers)), "900").notifications == []) is quiet


def test_who_is_not_on_the_route_any_more_is_told_that_it_eased_in_another_episode_too():
    routes = (make_route("phone", severity="critical"), make_route("desk"))
    simulation = silenced(silence(start=1, end=3), routes=routes, receivers=("desk", "phone"))
    play(simulation, "200 3000 900 900 3000")
    assert brief(simulation, "phone") == [(0, "firing"), (45, "eased"), (60, "resolved")]
    (item,) = [i for n in simulation.notifications for i in n.items if i.reason.value == "eased"]
    assert item.previous_severity is CRITICAL


def test_an_alert_can_be_silenced_by_its_id():
    first = play(Simulation(make_ruleset(LADDER)), "900")
    (alert,) = first.memory.alerts.values()
    assert play(silenced(silence(id=alert.id)), "900").notifications == []


# ── acknowledgement ─────────────────────────────────────────────────────────

REPEATED = make_ruleset(LADDER, routes=(make_route("desk", repeat=30),))


def acked(simulation, until=None):
    (alert,) = simulation.states()
    ack = Ack(
        fingerprint=alert.fingerprint, episode=alert.episode, severity=alert.severity,
        at=T0, author="me", until=until,
    )  # fmt: skip
    simulation.memory = replace(simulation.memory, acks={alert.fingerprint: ack})
    return simulation


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        pytest.param("900 900 900 900 900", [], id="no-reminders"),
        pytest.param("900 200 200 200", [(30, "escalated"), (60, "repeat")], id="until-it-escalates"),
        pytest.param(
            "900 200 900 900 900 900",
            [(30, "escalated"), (45, "eased"), (75, "repeat")],
            id="escalating-ends-it-for-good",
        ),
        pytest.param(
            "1500 1500 1500 900 900 900",
            [(15, "eased"), (60, "escalated"), (90, "repeat")],
            id="it-comes-down-with-the-alert",
        ),
        pytest.param("3000", [(15, "resolved")], id="the-end-is-told"),
        pytest.param(
            "3000 900 900 900", [(15, "resolved"), (30, "firing"), (60, "repeat")],
            id="a-new-episode-is-not-acknowledged",
        ),
    ],
)  # fmt: skip
def test_an_acknowledged_alert(tokens, expected):
    simulation = acked(play(Simulation(REPEATED), "900"))
    assert brief(play(simulation, tokens, start=at(1)))[1:] == expected


@pytest.mark.parametrize(
    ("until", "expected"),
    [(3, [(45, "repeat"), (75, "repeat")]), (4, [(60, "repeat")]), (99, [])],
)
def test_an_acknowledgement_for_a_while_is_over_then(until, expected):
    """Reminders are due every 30 s."""
    simulation = acked(play(Simulation(REPEATED), "900"), until=at(until))
    assert brief(play(simulation, "900 900 900 900 900", start=at(1)))[1:] == expected
    assert bool(simulation.memory.acks) == (expected == [])


def test_acknowledged_as_critical_it_eases_without_reminders_until_it_is_critical_again():
    simulation = acked(play(Simulation(REPEATED), "200"))
    play(simulation, "900 900 900 900 200 200 200 900 900 900", start=at(1))
    assert brief(simulation)[1:] == [
        *((15, "eased"), (75, "escalated"), (105, "repeat")),
        *((120, "eased"), (150, "repeat")),
    ]
    assert simulation.memory.acks == {}


def test_an_escalation_that_a_silence_holds_back_ends_it_too():
    simulation = acked(play(Simulation(REPEATED), "900"))
    simulation.memory = replace(simulation.memory, silences=(silence(start=1, end=4),))
    assert brief(play(simulation, "900 200 900 900 900", start=at(1)))[1:] == [(60, "repeat")]


def test_what_was_not_looked_at_leaves_an_acknowledgement_as_it_is():
    """Those of other accounts, and of an episode that is over."""
    simulation = acked(play(Simulation(REPEATED), "900"))
    (ack,) = simulation.memory.acks.values()
    acks = {ack.fingerprint: replace(ack, episode=1), "of-another-account": ack}
    simulation.memory = replace(simulation.memory, acks=acks)
    play(simulation, "200 3000", start=at(1))
    assert simulation.memory.acks == acks


# ── mutes ───────────────────────────────────────────────────────────────────

#: T0 is a Thursday, 00:00 UTC
NIGHT = Window(days=frozenset(range(7)), start=0, end=1, zone=UTC)


def muted(**options):
    route = make_route("desk", options={"mute": (NIGHT,), **options})
    return Simulation(make_ruleset(LADDER, routes=(route,)))


@pytest.mark.parametrize(
    ("tokens", "options", "expected"),
    [
        pytest.param("900 900 900 900 900", {}, [(60, "firing")], id="told-when-the-window-ends"),
        pytest.param("900 3000 3000 3000 3000", {}, [], id="over-before"),
        pytest.param("200", {}, [(0, "firing")], id="critical-passes"),
        pytest.param("900 200", {}, [(15, "firing")], id="escalation-to-critical-passes"),
        pytest.param(
            "200 200 200 200 200", {"mute_critical": True}, [(60, "firing")], id="unless-muted-too"
        ),
        pytest.param(
            "200 3000",
            {},
            [(0, "firing"), (15, "resolved")],
            id="so-does-the-end-of-a-critical-one",
        ),
        pytest.param("200 900", {}, [(0, "firing"), (15, "eased")], id="and-that-it-eased"),
        pytest.param(
            "200 900 100",
            {},
            [(0, "firing"), (15, "eased"), (30, "escalated")],
            id="and-that-it-is-critical-again",
        ),
        pytest.param(
            "200 900 3000 3000 3000",
            {},
            [(0, "firing"), (15, "eased"), (60, "resolved")],
            id="the-end-of-what-was-a-warning-does-not",
        ),
    ],
)
def test_a_muted_route(tokens, options, expected):
    assert brief(play(muted(**options), tokens)) == expected


def test_an_end_within_the_window_is_told_after_it():
    simulation = play(muted(), "900 900" + " 3000" * 6, start=T0 - 30 * S)
    assert brief(simulation) == [(-30, "firing"), (60, "resolved")]


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        pytest.param("200 900 100 100 100 100", "escalated", id="critical-anew"),
        pytest.param("200 3000 100 100 100 100", "firing", id="in-another-episode"),
        pytest.param("200 900 900 900 900 900", "eased", id="better"),
        pytest.param("900 200 200 200 200 200", "escalated", id="worse"),
    ],
)
def test_what_a_mute_of_everything_held_back_is_told_at_its_end(tokens, expected):
    simulation = play(muted(mute_critical=True), tokens, start=T0 - 15 * S)
    assert brief(simulation) == [(-15, "firing"), (60, expected)]


def test_a_mute_of_warnings_holds_no_news_of_the_critical_that_other_receivers_were_told():
    """Each severity's own route says when it is quiet; that critical is over is news of critical."""
    routes = (
        make_route("phone", severity="critical"),
        make_route("desk", options={"mute": (NIGHT,), "mute_critical": True}),
    )
    ruleset = make_ruleset(LADDER, routes=routes, receivers=("desk", "phone"))
    simulation = play(Simulation(ruleset), "200 900 900 900 900")
    assert brief(simulation, "phone") == [(0, "firing"), (15, "eased")]
    assert brief(simulation, "desk") == [(60, "firing")]


# ── reminders that grow rarer ───────────────────────────────────────────────


@pytest.mark.parametrize(
    ("repeat", "expected"),
    [
        pytest.param(Repeat(first=30 * S, factor=Decimal(2)), [30, 90, 210], id="doubling"),
        pytest.param(
            Repeat(first=30 * S, factor=Decimal(2), longest=M),
            [30, 90, 150, 210, 270],
            id="bounded",
        ),
        pytest.param(Repeat(first=M), [60, 120, 180, 240], id="plain"),
    ],
)
def test_reminders(repeat, expected):
    ruleset = make_ruleset(LADDER, routes=(make_route("desk", repeat=repeat),))
    simulation = play(Simulation(ruleset), " ".join(["900"] * 20))
    assert [seconds for seconds, reason in brief(simulation) if reason == "repeat"] == expected


def test_news_start_the_reminders_anew():
    repeat = Repeat(first=30 * S, factor=Decimal(4))
    ruleset = make_ruleset(LADDER, routes=(make_route("desk", repeat=repeat),))
    simulation = play(Simulation(ruleset), "900 900 900 900 200 200 200")
    assert brief(simulation)[1:] == [(30, "repeat"), (60, "escalated"), (90, "repeat")]


@pytest.mark.parametrize(
    ("late", "counts_from"),
    [pytest.param(1 * M, T0, id="prompt"), pytest.param(61 * S, T0 + 61 * S, id="late")],
)
def test_a_late_delivery_starts_the_repeat_interval(late, counts_from):
    assert routing.notified_when(T0, T0 + late) == counts_from


# ── flapping ────────────────────────────────────────────────────────────────


def flapper(changes=4, within=10 * M, **kw):
    return Simulation(make_ruleset(LADDER, flapping=Flapping(changes=changes, within=within), **kw))


UP_AND_DOWN = "900 3000 " * 6


def test_a_flapping_alert_is_told_once_and_then_left_in_peace():
    simulation = play(flapper(), UP_AND_DOWN)
    assert [reason for _, reason in brief(simulation)] == ["firing", "resolved"] * 2 + ["firing"]
    assert [n.items[0].flapping for n in simulation.notifications] == [False] * 4 + [True]


@pytest.mark.parametrize(
    ("settles_as", "expected"),
    [pytest.param("3000", "resolved", id="over"), pytest.param("900", "firing", id="still-firing")],
)
def test_when_it_settles_the_difference_is_told(settles_as, expected):
    simulation = play(flapper(), UP_AND_DOWN)
    before = len(simulation.notifications)
    play(simulation, " ".join([settles_as] * 45), start=at(12))
    after = simulation.notifications[before:]
    assert [n.reason.value for n in after] == [expected]
    assert not after[0].items[0].flapping


def test_an_escalation_to_critical_is_never_held_back():
    simulation = play(flapper(), UP_AND_DOWN)
    before = len(simulation.notifications)
    play(simulation, "200 3000 200", start=at(12))
    after = simulation.notifications[before:]
    assert [(n.reason.value, n.severity) for n in after] == [
        ("escalated", CRITICAL),
        ("firing", CRITICAL),
    ]


def test_a_critical_alert_that_flaps_is_still_said_again():
    """At 3 a.m. a wallet that is in danger nearly all the time must not be quiet."""
    simulation = flapper(routes=(make_route("desk", repeat=30),))
    play(simulation, "200 3000 " * 4 + "200 200 200 200 3000 " * 2)
    late = [told for told in brief(simulation) if told[0] >= 120]
    assert late == [(120, "firing"), (150, "repeat"), (195, "firing"), (225, "repeat")]


@pytest.mark.parametrize(
    ("between", "expected"),
    [
        pytest.param("3000", "firing", id="in-another-episode"),
        pytest.param("900", "escalated", id="in-the-same-one"),
    ],
)
def test_critical_for_good_is_told_at_once_though_an_older_one_was_told(between, expected):
    """However long the repeat interval: what was told was another critical."""
    simulation = play(flapper(), "200 3000 " * 4 + "200 200")
    assert brief(simulation)[-1] == (120, "firing")
    play(simulation, f"{between} {between} 200 200 200 200", start=at(10))
    assert brief(simulation)[-2:] == [(120, "firing"), (180, expected)]


def test_going_up_and_down_between_severities_is_flapping_too():
    simulation = play(flapper(), "900 1500 " * 6)
    assert brief(simulation) == [
        *((0, "firing"), (15, "eased"), (30, "escalated"), (45, "eased"), (60, "escalated")),
    ]
    assert simulation.notifications[-1].items[0].flapping
    play(simulation, " ".join(["1500"] * 45), start=at(12))
    assert brief(simulation)[5:] == [(735, "eased")]


def test_between_severities_as_well_critical_is_never_held_back():
    simulation = play(flapper(), "900 200 " * 6)
    assert [reason for _, reason in brief(simulation)][4:] == ["eased"] + ["escalated"] * 4
    assert {n.severity for n in simulation.notifications[5:]} == {CRITICAL}


def test_that_it_flapped_once_does_not_keep_quiet_that_it_flaps_again():
    simulation = play(flapper(), "900 3000 900 3000 900" + " 900" * 45)
    settled = len(simulation.notifications)
    assert simulation.notifications[-1].items[0].flapping
    again = silence(start=50, end=58)
    simulation.memory = replace(simulation.memory, silences=(again,))
    play(simulation, "3000 900 3000 900 3000 900 3000 900 900 900", start=at(50))
    (message,) = simulation.notifications[settled:]
    assert (message.reason.value, message.items[0].flapping) == ("firing", True)


def test_that_it_flaps_is_said_again_if_that_message_died():
    simulation = flapper(routes=(make_route("desk", repeat=120),))
    play(simulation, "200 3000 200 3000")
    simulation.stuck = {"desk"}
    play(simulation, "200", start=at(4))
    told = {key: replace(t, waiting=False) for key, t in simulation.memory.notified.items()}
    simulation.memory = replace(simulation.memory, notified=told)
    play(simulation, "200 200 200 200 200 200 200 200 200", start=at(5))
    assert brief(simulation)[-1] == (180, "firing")


def test_a_critical_after_a_message_of_flapping_that_died_is_the_first():
    simulation = play(flapper(), "900 3000 900 3000")
    simulation.stuck = {"desk"}
    play(simulation, "900", start=at(4))
    told = {key: replace(t, waiting=False) for key, t in simulation.memory.notified.items()}
    simulation.memory = replace(simulation.memory, notified=told)
    play(simulation, "900 200", start=at(5))
    assert brief(simulation)[-2:] == [(60, "firing"), (90, "firing")]


def test_while_it_flaps_no_critical_goes_where_its_route_does_not_lead_any_more():
    simulation = play(flapper(receivers=("desk", "phone")), "200 3000 " * 3 + "200")
    phone = brief(simulation, "phone")
    simulation.ruleset = replace(simulation.ruleset, routes=(make_route("desk"),))
    play(simulation, "3000 200 900 200 200", start=at(7))
    assert brief(simulation, "phone") == phone
    assert brief(simulation)[-1] == (150, "escalated")


@pytest.mark.parametrize(
    "outage",
    [
        pytest.param("_ " * 50, id="failed-polls"),
        pytest.param("", id="the-program-was-stopped"),
    ],
)
def test_time_that_was_not_seen_settles_nothing(outage):
    """Else it would be RESOLVED in the middle of it, on a value that happened to be fine."""
    simulation = play(flapper(), UP_AND_DOWN)
    before = len(simulation.notifications)
    play(simulation, outage + "3000 900 3000 3000", start=at(62 if not outage else 12))
    floor = [
        n.reason
        for n in simulation.notifications[before:]
        if any(item.alert.rule == LADDER.name for item in n.items)
    ]
    assert floor == []


def test_a_clock_set_back_neither_settles_nor_prolongs_flapping():
    simulation = play(flapper(), UP_AND_DOWN)
    before = len(simulation.notifications)
    play(simulation, "3000 " * 45, start=at(12 - 240))
    after = simulation.notifications[before:]
    assert [n.reason.value for n in after] == ["resolved"]
    assert timedelta(minutes=6) < after[0].observed_at - at(12 - 240) < timedelta(minutes=10)


def test_an_alert_that_ends_by_a_clock_set_back_lasted_no_less_than_nothing():
    simulation = play(Simulation(make_ruleset(LADDER)), "3000 900 900")
    hour = 240
    play(simulation, "900 3000", start=at(-hour))
    (item,) = simulation.notifications[-1].items
    assert item.alert.resolved_at == at(-hour + 1)
    assert (item.alert.active_at, item.alert.fired_at) == (at(-hour), at(-hour))


def test_a_new_episode_never_has_an_old_ones_name():
    simulation = play(flapper(changes=100), "900 3000")
    play(simulation, "900", start=at(0))
    first, *_, last = simulation.notifications
    assert last.items[0].alert.episode > first.items[0].alert.episode
    assert last.reason.value == "firing"


def test_few_changes_are_no_flapping():
    simulation = play(flapper(changes=12), UP_AND_DOWN)
    assert len(simulation.notifications) == 12


def test_slow_changes_are_no_flapping():
    simulation = play(flapper(within=40 * S), UP_AND_DOWN)
    assert len(simulation.notifications) == 12


def test_without_the_setting_nothing_is_remembered_of_changes():
    simulation = play(Simulation(make_ruleset(LADDER)), UP_AND_DOWN)
    assert len(simulation.notifications) == 12
    assert simulation.memory.alerts == {}


def test_switching_it_off_forgets_the_changes():
    simulation = play(flapper(), UP_AND_DOWN + "900")
    simulation.ruleset = make_ruleset(LADDER)
    play(simulation, "900", start=at(13))
    (alert,) = simulation.memory.alerts.values()
    assert (alert.flips, alert.flapping) == ((), False)
