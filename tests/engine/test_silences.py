"""Silences, acknowledgements, mutes, flapping, growing repeats: told later, never told wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from decimal import Decimal

import pytest

from alerting.engine.model import Ack, Silence
from alerting.engine.mute_windows import Window
from alerting.engine.rules import Flapping, Repeat
from tests.engine.test_planning import LADDER, brief, play
from tests.support.factories import (
    CRITICAL,
    T0,
    M,
    S,
    Simulation,
    make_route,
    make_ruleset,
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


def test_an_alert_can_be_silenced_by_its_id():
    first = play(Simulation(make_ruleset(LADDER)), "900")
    (alert,) = first.memory.alerts.values()
    assert play(silenced(silence(id=alert.id)), "900").notifications == []


# ── acknowledgement ─────────────────────────────────────────────────────────

REPEATED = make_ruleset(LADDER, routes=(make_route("desk", repeat=30),))


def acked(simulation):
    (alert,) = simulation.states()
    ack = Ack(
        fingerprint=alert.fingerprint, episode=alert.episode, severity=alert.severity,
        at=T0, author="me",
    )  # fmt: skip
    simulation.memory = replace(simulation.memory, acks={alert.fingerprint: ack})
    return simulation


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        pytest.param("900 900 900 900 900", [], id="no-reminders"),
        pytest.param("900 200 200 200", [(30, "escalated"), (60, "repeat")], id="until-it-escalates"),
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


def test_acknowledged_as_critical_a_warning_stays_quiet():
    simulation = acked(play(Simulation(REPEATED), "200"))
    assert brief(play(simulation, "900 900 900 200 200", start=at(1)))[1:] == []


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
    ],
)
def test_a_muted_route(tokens, options, expected):
    assert brief(play(muted(**options), tokens)) == expected


def test_an_end_within_the_window_is_told_after_it():
    simulation = play(muted(), "900 900" + " 3000" * 6, start=T0 - 30 * S)
    assert brief(simulation) == [(-30, "firing"), (60, "resolved")]


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
    assert [(n.reason.value, n.severity) for n in after] == [("escalated", CRITICAL)]


def test_a_critical_alert_that_flaps_is_still_said_again():
    """At 3 a.m. a wallet that is in danger nearly all the time must not be quiet."""
    simulation = flapper(routes=(make_route("desk", repeat=120),))
    play(simulation, "200 3000 " * 4 + "200 200 200 200 3000 " * 8)
    late = [reason for seconds, reason in brief(simulation) if seconds > 180]
    assert set(late) == {"repeat"}
    assert len(late) >= 3


def test_that_it_flaps_is_said_again_if_that_message_died():
    simulation = flapper(routes=(make_route("desk", repeat=120),))
    play(simulation, "200 3000 200 3000")
    simulation.stuck = {"desk"}
    play(simulation, "200", start=at(4))
    told = {key: replace(t, waiting=False) for key, t in simulation.memory.notified.items()}
    simulation.memory = replace(simulation.memory, notified=told)
    play(simulation, "3000 200 200 200 200 200 200 200 200", start=at(5))
    assert brief(simulation)[-1] == (180, "firing")


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
