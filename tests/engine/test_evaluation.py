"""Section 3 of the contract, sentence by sentence, as timelines.

One token is one step of 15 s: a number is a good snapshot with that available balance, `_` a failed
poll, `?90` a suspect snapshot, `x` a good one in which the rule's expression has no value, `.` no
evaluation at all (the program does not run). The rule is `below: 100`. Expected: the alert's state
after each step: `.` inactive, P pending, F firing.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerting.engine.feeds import Scope
from alerting.engine.model import AccountState, ChangeReason, Direction, State
from tests.support.factories import (
    CRITICAL,
    INFO,
    T0,
    WARNING,
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

STEP = timedelta(seconds=15)
# 0 / margin has no value where the margin is zero, and every identity still holds
VALUE = "total_available_balance + 0 / total_position_margin"


def outcome(token, at):
    if token == "_":
        return make_failure()
    if token == "x":
        return make_snapshot(make_wallet("90", position="0"), at=at)
    if token.startswith("?"):
        return make_snapshot(make_wallet(token[1:], total_balance="7777"), at=at)
    return make_snapshot(make_wallet(token), at=at)


def play(tokens, simulation, step=STEP):
    letters = []
    for number, token in enumerate(tokens.split()):
        at = T0 + number * step
        if token != ".":
            simulation.see(outcome(token, at), at)
        letters.append({"inactive": ".", "pending": "P", "firing": "F"}[simulation.state_of()])
    return "".join(letters)


def simulate(*levels, **kw):
    return Simulation(make_ruleset(make_rule("floor", VALUE, *levels), **kw))


# fmt: off
TIMELINES = [
    # levels of `below: 100`                  tokens                               states
    ("breach-is-strictly-beyond",            {},                                  "100 99.999999999999999999 100", ".F."),
    ("a-value-on-the-threshold-is-safe",     {},                                  "100 100 100",                  "..."),
    ("for-0s-fires-in-the-same-evaluation",  {},                                  "90",                           "F"),
    ("first-breach-is-pending",              {"for_": 30},                        "200 90",                       ".P"),
    ("fires-when-elapsed-equals-for",        {"for_": 30},                        "90 90 90 90",                  "PPFF"),
    ("for-between-two-steps",                {"for_": 31},                        "90 90 90 90",                  "PPPF"),
    ("a-good-sample-ends-pending",           {"for_": 30},                        "90 90 100 90 90 90",           "PP.PPF"),
    ("the-band-ends-pending-too",            {"for_": 30, "clear": "110"},        "90 90 105 90 90 90",           "PP.PPF"),
    ("resolves-on-the-threshold",            {},                                  "90 100",                       "F."),
    ("resolves-on-clear",                    {"clear": "110"},                    "90 110",                       "F."),
    ("stays-firing-in-the-band",             {"clear": "110"},                    "90 100 105 109.99 110",        "FFFF."),
    ("keep-holds-while-elapsed-is-below",    {"keep": 30},                        "90 200 200 200",               "FFF."),
    ("keep-one-tick-longer",                 {"keep": 31},                        "90 200 200 200 200",           "FFFF."),
    ("a-breach-restarts-keep",               {"keep": 30},                        "90 200 200 90 200 200 200",    "FFFFFF."),
    ("the-band-restarts-keep",               {"keep": 30, "clear": "110"},        "90 200 200 105 200 200 200",   "FFFFFF."),
    ("fires-again-after-resolve",            {},                                  "90 200 90",                    "F.F"),
    # a failed poll holds every state
    ("failure-holds-inactive",               {},                                  "200 _ _ 200",                  "...."),
    ("failure-holds-pending",                {"for_": 30},                        "90 _ 100",                     "PP."),
    ("failure-holds-firing",                 {},                                  "90 _ _ _ _ _ _ _ _ _ _ 200",  "FFFFFFFFFFF."),
    ("a-stretch-with-a-failure-counts-not",  {"for_": 30},                        "90 _ 90 90 90",                "PPPPF"),
    ("an-outage-does-not-age-keep",          {"keep": 30},                        "90 200 _ 200 200 200",         "FFFFF."),
    ("failures-between-keep-the-earlier",    {"for_": 30},                        "90 90 _ 90 90",                "PPPPF"),
    # a stopped program does not age an alert either (blind_after is 2 minutes)
    ("a-gap-of-blind-after-counts",          {"for_": 120},                       "90 . . . . . . . 90",          "PPPPPPPPF"),
    ("a-longer-gap-does-not",                {"for_": 120},                       "90 . . . . . . . . 90",        "PPPPPPPPPP"),
    ("a-longer-gap-holds-keep",              {"keep": 120},                       "90 200 . . . . . . . . 200",   "FFFFFFFFFFF"),
    # a suspect snapshot counts as seen
    ("a-suspect-breach-counts",              {},                                  "200 ?90",                      ".F"),
    ("a-suspect-breach-ages-pending",        {"for_": 30},                        "90 ?90 ?90",                   "PPF"),
    ("suspect-data-does-not-end-pending",    {"for_": 30},                        "90 ?200 90",                   "PPF"),
    ("suspect-data-does-not-fire-by-itself", {"for_": 30},                        "90 ?200 ?200 ?200 90",         "PPPPF"),
    ("suspect-data-does-not-resolve",        {},                                  "90 ?200 ?200 200",             "FFF."),
    ("suspect-data-does-not-start-keep",     {"keep": 30},                        "90 ?200 ?200 ?200 200 200 200", "FFFFFF."),
    ("suspect-data-does-not-stop-keep",      {"keep": 30},                        "90 200 ?200 200",              "FFF."),
    ("a-suspect-breach-restarts-keep",       {"keep": 30},                        "90 200 ?90 200 200 200",       "FFFFF."),
    ("suspect-data-ends-no-keep",            {"keep": 30},                        "90 200 ?200 ?200 ?200 200",    "FFFFF."),
    # no value holds the alert
    ("no-value-holds-inactive",              {},                                  "200 x 200",                    "..."),
    ("no-value-holds-pending",               {"for_": 30},                        "90 x x 100",                   "PPP."),
    ("no-value-holds-firing",                {},                                  "90 x x 200",                   "FFF."),
    ("no-value-does-not-age-pending",        {"for_": 30},                        "90 x 90 90 90",                "PPPPF"),
    ("no-value-does-not-age-keep",           {"keep": 30},                        "90 200 x 200 200 200",         "FFFFF."),
]
# fmt: on


@pytest.mark.parametrize(
    ("level", "tokens", "expected"), [pytest.param(*row[1:], id=row[0]) for row in TIMELINES]
)
def test_the_alert_goes_through(level, tokens, expected):
    assert play(tokens, simulate(make_threshold(**level))) == expected


def ladder(**kw):
    return (
        make_threshold(WARNING, "1000", **kw),
        make_threshold(CRITICAL, "250", **kw),
    )


def severities(tokens, simulation):
    found = []
    for number, token in enumerate(tokens.split()):
        at = T0 + number * STEP
        simulation.see(outcome(token, at), at)
        alerts = simulation.states()
        found.append(alerts[0].severity.value[0] if alerts and alerts[0].severity else ".")
    return "".join(found)


@pytest.mark.parametrize(
    ("levels", "tokens", "expected"),
    [
        pytest.param(ladder(), "1200 900 200 900 1200", ".wcw.", id="the-severity-is-the-highest"),
        pytest.param(ladder(), "1200 200 1200", ".c.", id="both-levels-fire-at-once"),
        pytest.param(
            (make_threshold(WARNING, "1000", for_=60), make_threshold(CRITICAL, "250")),
            "900 200 900 900 900",
            "wcwww",
            id="each-level-has-its-own-for",
        ),
        pytest.param(
            (make_threshold(INFO, "1000", clear="2000"), make_threshold(CRITICAL, "250")),
            "200 1500 2000",
            "ci.",
            id="each-level-has-its-own-clear",
        ),
        pytest.param(ladder(keep=30), "200 900 900 900 1200", "cccww", id="critical-keeps-firing"),
    ],
)
def test_each_level_is_a_state_machine_of_its_own(levels, tokens, expected):
    assert severities(tokens, simulate(*levels)) == expected


def test_a_pending_level_shows_only_when_none_fires():
    levels = (make_threshold(WARNING, "1000"), make_threshold(CRITICAL, "250", for_=60))
    simulation = simulate(*levels)
    assert severities("200", simulation) == "w"
    assert [r.state for r in simulation.states()[0].levels] == [State.FIRING, State.PENDING]


def changes(simulation, rule="floor"):
    return [
        (int((t.at - T0).total_seconds()), t.severity.value, t.source.value, t.target.value)
        for t in simulation.transitions
        if t.rule == rule
    ]


def test_every_level_that_changes_is_one_transition():
    simulation = simulate(make_threshold(WARNING, "1000", for_=15), make_threshold(CRITICAL, "250"))
    severities("900 200 900 1200", simulation)
    assert changes(simulation) == [
        (0, "warning", "inactive", "pending"),
        (15, "warning", "pending", "firing"),
        (15, "critical", "inactive", "firing"),
        (30, "critical", "firing", "resolved"),
        (45, "warning", "firing", "resolved"),
    ]


def instants(simulation):
    (alert,) = simulation.states()
    return [
        None if at is None else int((at - T0).total_seconds())
        for at in (alert.active_at, alert.fired_at, alert.resolved_at)
    ]


def test_an_alert_remembers_first_breach_first_firing_and_end():
    levels = (make_threshold(WARNING, "1000", for_=30), make_threshold(CRITICAL, "250", for_=30))
    simulation = simulate(*levels)
    seen, worst = [], []
    for number, token in enumerate("900 900 200 200 200 900 2000".split()):
        simulation.see(outcome(token, T0 + number * STEP), T0 + number * STEP)
        simulation.stuck = {"desk"}  # an alert that was never told is kept until it is over
        if simulation.states():
            seen.append(instants(simulation))
            worst.append(simulation.states()[0].worst)
    assert seen == [[0, None, None]] * 2 + [[0, 30, None]] * 4
    assert worst == [None, None, WARNING, WARNING, CRITICAL, CRITICAL]
    ended = simulation.notifications[-1].items[0].alert
    assert [ended.active_at, ended.fired_at, ended.resolved_at] == [
        T0,
        T0 + 2 * STEP,
        T0 + 6 * STEP,
    ]
    assert (ended.worst, ended.resolved_why) == (CRITICAL, ChangeReason.CLEAR)


def test_a_new_episode_forgets_the_old_one():
    simulation = simulate(make_threshold(WARNING, "1000"), make_threshold(CRITICAL, "250"))
    severities("200 2000 900", simulation)
    (alert,) = simulation.states()
    assert instants(simulation) == [30, 30, None]
    assert (alert.worst, alert.resolved_why) == (WARNING, None)
    episodes = {n.items[0].alert.episode for n in simulation.notifications}
    assert len(episodes) == 2


def test_a_level_still_pending_when_the_alert_resolves_starts_the_next_episode():
    levels = (make_threshold(WARNING, "1000", for_=60), make_threshold(CRITICAL, "250"))
    simulation = simulate(*levels)
    severities("200 900 900 900 900", simulation)
    assert [t.target.value for t in simulation.transitions] == [
        "pending",
        "firing",
        "resolved",
        "firing",
    ]
    assert instants(simulation) == [0, 60, None]


def test_every_transition_says_why():
    simulation = simulate(make_threshold(WARNING, "1000", for_=15), make_threshold(CRITICAL, "250"))
    severities("900 200 900 1200 900 1200", simulation)
    assert [t.reason.value for t in simulation.transitions] == [
        "breach",
        "breach held",
        "breach",
        "clear",
        "clear",
        "breach",
        "clear",
    ]


def test_when_false_is_no_breach():
    rule = make_rule("floor", VALUE, make_threshold(), when="total_position_margin > 50")
    simulation = Simulation(make_ruleset(rule))
    idle = make_snapshot(make_wallet("90", position="10"))
    busy = make_snapshot(make_wallet("90", position="60"))
    states = []
    for number, snapshot in enumerate([idle, busy, idle]):
        simulation.see(snapshot, T0 + number * STEP)
        states.append(simulation.state_of())
    assert states == ["inactive", "firing", "inactive"]


def test_when_without_value_holds():
    rule = make_rule("floor", "total_available_balance", when="1 / total_position_margin > 0")
    simulation = Simulation(make_ruleset(rule))
    simulation.see(make_snapshot(make_wallet("90", position="10")), T0)
    simulation.see(make_snapshot(make_wallet("900", position="0")), T0 + STEP)
    assert simulation.state_of() == "firing"


def test_when_is_judged_before_the_value():
    """A guard against division by zero is what `when` is for."""
    rule = make_rule("floor", "1 / total_position_margin", when="total_position_margin > 0")
    simulation = Simulation(make_ruleset(rule))
    for number in range(20):
        snapshot = make_snapshot(make_wallet("90", position="0"))
        simulation.see(snapshot, T0 + number * STEP)
    assert simulation.states("rule-undefined") == []
    assert simulation.state_of() == "inactive"


# ── rows that go ────────────────────────────────────────────────────────────


def symbol_rule(**kw):
    return make_rule(
        "load",
        "blocked_balance",
        make_threshold(threshold="100", **kw),
        scope=Scope.SYMBOL,
        direction=Direction.ABOVE,
    )


def rows(token):
    """`150` a row with that blocked balance, `-` none, `?-` none in a suspect snapshot.

    The totals hold the row's margin, and no more.
    """
    if token == "_":
        return make_failure()
    value = token.removeprefix("?")
    symbols = [] if value == "-" else [make_symbol("BTCUSDT", value)]
    override = {"total_balance": "7777"} if token.startswith("?") else {}
    wallet = make_wallet(position="0" if value == "-" else value, **override)
    return make_snapshot(wallet, symbols=symbols)


@pytest.mark.parametrize(
    ("level", "tokens", "expected"),
    [
        pytest.param({}, "150 - -", "FF.", id="gone-at-the-second-good-snapshot"),
        pytest.param({"keep": 600}, "150 - -", "FF.", id="gone-does-not-wait-for-keep"),
        pytest.param({}, "150 - 150 - -", "FFFF.", id="back-in-between"),
        pytest.param({}, "150 - ?150 - -", "FFFF.", id="back-in-a-suspect-one"),
        pytest.param({}, "150 - _ -", "FFF.", id="failures-in-between-count-for-nothing"),
        pytest.param({}, "150 - ?- ?- -", "FFFF.", id="suspect-ones-are-not-good-ones"),
        pytest.param({"for_": 600}, "150 - -", "PP.", id="pending-ends-as-well"),
        pytest.param({"for_": 30}, "150 - 150 150 150", "PPPPF", id="an-absent-row-ages-nothing"),
    ],
)
def test_an_absent_row(level, tokens, expected):
    simulation = Simulation(make_ruleset(symbol_rule(**level)))
    letters = ""
    for number, token in enumerate(tokens.split()):
        simulation.see(rows(token), T0 + number * STEP)
        letters += {"inactive": ".", "pending": "P", "firing": "F"}[simulation.state_of("load")]
    assert letters == expected


def test_a_closed_position_resolves_with_reason_gone():
    simulation = Simulation(make_ruleset(symbol_rule()))
    for number, token in enumerate(["150", "-", "-"]):
        simulation.see(rows(token), T0 + number * STEP)
    assert simulation.transitions[-1].reason is ChangeReason.GONE
    assert simulation.notifications[-1].items[0].alert.resolved_why is ChangeReason.GONE


# ── edits of the file ───────────────────────────────────────────────────────


def fired(rule):
    simulation = Simulation(make_ruleset(rule))
    simulation.see(make_snapshot(make_wallet("90")), T0)
    assert simulation.state_of() == "firing"
    return simulation


def test_an_edited_threshold_keeps_the_state():
    simulation = fired(make_rule("floor"))
    simulation.ruleset = make_ruleset(
        make_rule("floor", "total_available_balance", make_threshold(threshold="95"))
    )
    simulation.see(make_snapshot(make_wallet("90")), T0 + STEP)
    assert simulation.state_of() == "firing"
    assert len(simulation.notifications) == 1


def test_a_longer_for_does_not_unfire():
    simulation = fired(make_rule("floor"))
    simulation.ruleset = make_ruleset(
        make_rule("floor", "total_available_balance", make_threshold(for_=3600))
    )
    simulation.see(make_snapshot(make_wallet("90")), T0 + STEP)
    assert simulation.state_of() == "firing"


@pytest.mark.parametrize(
    ("outcome_after", "rules"),
    [
        pytest.param(make_snapshot(make_wallet("90")), [make_rule("other")], id="good"),
        pytest.param(make_failure(), [make_rule("other")], id="failed-poll"),
        pytest.param(None, [make_rule("other")], id="no-poll"),
        pytest.param(
            make_snapshot(make_wallet("90")),
            [make_rule("floor", base_assets=make_route(a="INR").match["a"])],
            id="filtered-out",
        ),
    ],
)
def test_a_removed_rule_resolves_its_alerts(outcome_after, rules):
    simulation = fired(make_rule("floor"))
    simulation.ruleset = make_ruleset(*rules)
    simulation.see(outcome_after, T0 + STEP)
    removed = [t for t in simulation.transitions if t.rule == "floor"][-1]
    assert (removed.target, removed.reason) == (State.RESOLVED, ChangeReason.RULE_REMOVED)
    items = [i for n in simulation.notifications for i in n.items if i.alert.rule == "floor"]
    assert items[-1].alert.resolved_why is ChangeReason.RULE_REMOVED


def test_a_removed_level_ends_alone():
    simulation = Simulation(make_ruleset(make_rule("floor", VALUE, *ladder())))
    simulation.see(make_snapshot(make_wallet("200")), T0)
    simulation.ruleset = make_ruleset(make_rule("floor", VALUE, make_threshold(WARNING, "1000")))
    simulation.see(make_snapshot(make_wallet("200")), T0 + STEP)
    assert simulation.states()[0].severity is WARNING
    assert changes(simulation)[-1] == (15, "critical", "firing", "resolved")


def test_a_removed_account_resolves_its_alerts():
    simulation = fired(make_rule("floor"))
    simulation.ruleset = make_ruleset(make_rule("floor"), accounts=("other",))
    simulation.see(None, T0 + STEP)
    assert [n.reason.value for n in simulation.notifications] == ["firing", "resolved"]
    assert simulation.memory.alerts == {}
    assert simulation.memory.account == AccountState(name="main")


def test_an_account_that_comes_back_begins_anew():
    """It may be another wallet by then: no asset is missed, and nobody was blind meanwhile."""
    simulation = Simulation(make_ruleset(make_rule("floor")))
    simulation.see(make_snapshot(make_wallet("200"), make_wallet("200", base_asset="INR")), T0)
    usual, simulation.ruleset = simulation.ruleset, make_ruleset(accounts=("other",))
    simulation.see(None, T0 + STEP)
    simulation.ruleset = usual
    simulation.see(make_failure(), T0 + 9999 * STEP)
    simulation.see(make_snapshot(make_wallet("200")), T0 + 10_000 * STEP)
    assert simulation.transitions == []


def test_a_rule_that_changes_its_scope_ends_its_alerts():
    simulation = Simulation(make_ruleset(symbol_rule()))
    simulation.see(rows("150"), T0)
    simulation.ruleset = make_ruleset(make_rule("load", "total_blocked_balance"))
    simulation.see(rows("150"), T0 + STEP)
    assert simulation.transitions[-1].reason is ChangeReason.RULE_REMOVED
    assert simulation.memory.alerts == {}


@pytest.mark.parametrize("token", ["90", "_"])
def test_a_single_levels_new_severity_keeps_the_state(token):
    simulation = fired(make_rule("floor"))
    stricter = make_threshold(CRITICAL, "100", for_=300)
    simulation.ruleset = make_ruleset(make_rule("floor", "total_available_balance", stricter))
    simulation.see(outcome(token, T0 + STEP), T0 + STEP)
    assert simulation.states()[0].severity is CRITICAL
    assert [n.reason.value for n in simulation.notifications] == ["firing", "escalated"]


def test_the_clock_set_back_ages_nothing():
    rule = make_rule("floor", "total_available_balance", make_threshold(for_=30))
    simulation = Simulation(make_ruleset(rule))
    for at in (T0, T0 - 60 * S, T0 - 45 * S):
        simulation.see(make_snapshot(make_wallet("90")), at)
    assert simulation.state_of() == "pending"
