"""Functions over time: what they give, which samples count, and what is remembered for them."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from alerting.engine import evaluation
from alerting.engine.feeds import Scope
from alerting.engine.model import Direction
from alerting.engine.series import Past, Point, Series, SeriesKey, micros, within
from tests.support.factories import (
    T0,
    D,
    M,
    S,
    Simulation,
    make_failure,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_symbol,
    make_threshold,
    make_wallet,
    messages_about,
    play,
)
from tests.support.over_time import CALLS, RULESET, compare

H = 60 * M
UP, DOWN = Direction.ABOVE, Direction.BELOW
X = "total_available_balance"
LABELS = frozenset({("account", "main"), ("base_asset", "USDT")})


def watching(text, *, line=10**12, direction=DOWN, name="r", **kw):
    """A rule that is always in breach, so that its alert shows its value."""
    return make_rule(name, text, make_threshold(threshold=line), direction=direction, **kw)


def value(simulation, at, name="r"):
    """What the rule was found to be at an instant; None: it was held."""
    found = [a.value for a in simulation.states(name) if a.judged_at == at]
    return found[0] if found else None


def end_of(simulation):
    """The last thing that happened to the rule."""
    return [change for change in simulation.transitions if change.rule == "r"][-1]


def values(text, tokens, *, step=15 * S, **kw):
    """The value of a rule after each token, see `play`."""
    simulation, found = Simulation(make_ruleset(watching(text, **kw))), []
    for number, token in enumerate(tokens.split()):
        at = T0 + number * step
        play(simulation, token, start=at)
        found.append(value(simulation, at))
    return [None if each is None else str(each) for each in found]


def broken(available="100", **kw):
    """A wallet whose available balance is not to be trusted."""
    return make_wallet(available, total_balance="5000", **kw)


# ── what they give ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "tokens", "expected"),
    [
        (f"ago({X}, 30s)", "1 2 3 4 5", [None, None, "1", "2", "3"]),
        (f"ago({X}, 20s)", "1 2 3 4 5", [None, None, "1", "2", "3"]),
        (f"delta({X}, 30s)", "1 2 4 8", [None, None, "3", "6"]),
        (f"ago({X}, 15s)", "1 _ 3 4", [None, None, "1", "3"]),
        (f"max_over_time({X}, 30s)", "9 2 3 1 1", ["9", "9", "3", "3", "1"]),
        (f"max_over_time({X}, 31s)", "9 2 3 1 1", ["9", "9", "9", "3", "3"]),
        (f"min_over_time({X}, 30s)", "1 2 0 4 5", ["1", "1", "0", "0", "4"]),
        (f"avg_over_time({X}, 45s)", "1 2 6 _ 5", ["1", "1.5", "3", None, "5.5"]),
        (f"avg_over_time({X}, 15s)", "1 2 6", ["1", "2", "6"]),
        (f"predict_linear({X}, 1m, 30s)", "1 2 3 5", [None, "4", "5", "7.3"]),
        (f"predict_linear({X}, 15s, 30s)", "1 2 3", [None, None, None]),
        (f"predict_linear({X}, 1m, 0s)", "1 2 3", [None, "2", "3"]),
        (f"{X} - max_over_time({X}, 1m)", "7 9 8", ["0", "0", "-1"]),
        (f"ago({X}, 15s) + ago(total_balance, 15s)", "1 2", [None, "102"]),
    ],
)
def test_what_they_give(text, tokens, expected):
    assert values(text, tokens) == expected


def test_an_average_of_thirds_is_rounded_once():
    """(1/3 + 1/3 + 1/3) / 3 of hundred digits each, and no error that grows with their number."""
    third = "total_available_balance / total_open_order_margin"
    simulation = Simulation(make_ruleset(watching(f"avg_over_time({third}, 1h)")))
    for number in range(100):
        at = T0 + number * 15 * S
        simulation.see(make_snapshot(make_wallet("1", orders="3"), at=at), at)
    assert value(simulation, at) == D("0." + 100 * "3")


@pytest.mark.parametrize(
    ("age", "expected"), [(2 * M, D(1)), (2 * M + timedelta(microseconds=1), None), (M, D(1))]
)
def test_ago_takes_no_sample_older_than_its_window_by_more_than_blind_after(age, expected):
    simulation = Simulation(make_ruleset(watching(f"ago({X}, 1h)"), blind_after=120))
    play(simulation, "1")
    now = T0 + H + age
    play(simulation, "9", start=now)
    assert value(simulation, now) == expected


def test_a_window_is_open_at_its_start_and_closed_at_its_end():
    simulation = Simulation(make_ruleset(watching(f"max_over_time({X}, 1h)")))
    play(simulation, "9")
    play(simulation, "5", start=T0 + H - timedelta(microseconds=1))
    assert value(simulation, T0 + H - timedelta(microseconds=1)) == D(9)
    play(simulation, "4", start=T0 + H)
    assert value(simulation, T0 + H) == D(5)


def test_a_condition_looks_back_too():
    rule = watching(X, when=f"delta({X}, 30s) < 0")
    simulation = play(Simulation(make_ruleset(rule)), "5 5 5")
    assert simulation.state_of("r") == "inactive"
    play(simulation, "4", start=T0 + 45 * S)
    assert simulation.state_of("r") == "firing"


def test_each_row_has_its_own_samples_in_every_scope():
    rules = (
        watching("delta(blocked_balance, 15s)", scope=Scope.SYMBOL, name="s"),
        watching(f"delta({X}, 15s)", name="w"),
        watching("max_over_time(poll_failures, 1m)", scope=Scope.ACCOUNT, name="a"),
    )
    simulation = Simulation(make_ruleset(*rules))
    for number in range(2):
        rows = [
            make_symbol("BTCUSDT", str(10 + number)),
            make_symbol("ETHUSDT", str(50 - 2 * number)),
        ]
        wallets = make_wallet("7"), make_wallet(str(3 + number), base_asset="INR")
        at = T0 + number * 15 * S
        simulation.see(make_snapshot(*wallets, symbols=rows, at=at), at)
    found = {
        (a.rule, *list(a.labels.values())[1:3]): a.value for a in simulation.memory.alerts.values()
    }
    assert found["s", "USDT", "BTCUSDT"] == 1
    assert found["s", "USDT", "ETHUSDT"] == -2
    assert found["w", "USDT"] == 0
    assert found["w", "INR"] == 1
    assert found["a", "wallet"] == 0


def test_what_is_seen_of_an_account_is_seen_in_failed_polls_too():
    """`poll_failures` is about them: as account rules are judged then, samples are taken then."""
    rule = watching("max_over_time(poll_failures, 1m)", scope=Scope.ACCOUNT)
    simulation = play(Simulation(make_ruleset(rule)), "1 _ _ 1 1")
    assert value(simulation, T0 + M) == 2
    play(simulation, "1 1", start=T0 + 75 * S)
    assert value(simulation, T0 + 90 * S) == 0


def test_time_that_passes_without_a_poll_is_no_sample():
    rule = watching("min_over_time(snapshot_age, 1m)", scope=Scope.ACCOUNT)
    simulation = play(Simulation(make_ruleset(rule)), "1 1")
    before = simulation.memory.past
    simulation.take(
        evaluation.evaluate(simulation.ruleset, simulation.memory, None, now=T0 + 30 * S)
    )
    assert simulation.memory.past is before
    assert value(simulation, T0 + 30 * S) == 0


# ── against the definitions ─────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(4))
def test_they_are_what_their_definitions_say_whatever_happens(seed):
    """Holes, suspect data, values that are not there, clocks that go back; bench/over_time.py."""
    memory = evaluation.blank_memory("main")

    def judge(step):
        nonlocal memory
        after = evaluation.evaluate(RULESET, memory, step.outcome, now=step.at)
        memory = evaluation.all_delivered(after.memory)
        return after

    found = list(compare(random.Random(seed), 60, judge))
    assert [each for each in found if each[2] != each[3]] == []
    assert len(found) > 40 * len(CALLS)
    assert 0 < sum(expected is None for _, _, expected, _ in found) < len(found) / 2


# ── suspect data ────────────────────────────────────────────────────────────


def see(simulation, wallet, at, **kw):
    return simulation.see(make_snapshot(wallet, at=at, **kw), at)


def test_a_suspect_fall_is_told_and_ends_nothing():
    rule = watching(f"delta({X}, 1m)", line=-50)
    simulation = play(Simulation(make_ruleset(rule)), "1000 1000 1000 1000 1000 1000")
    see(simulation, broken("900"), T0 + 90 * S)
    assert simulation.state_of("r") == "firing"
    see(simulation, broken("1000"), T0 + 105 * S)
    assert simulation.state_of("r") == "firing"
    play(simulation, "1000", start=T0 + 120 * S)
    assert simulation.state_of("r") == "inactive"


def test_a_suspect_peak_counts_while_the_data_is_suspect_and_not_for_the_whole_window():
    rule = watching(f"max_over_time({X}, 1h)", line=1500, direction=UP)
    simulation = play(Simulation(make_ruleset(rule)), "1000")
    see(simulation, broken("9000"), T0 + 15 * S)
    assert simulation.state_of("r") == "firing"
    see(simulation, broken("1000"), T0 + 30 * S)
    assert value(simulation, T0 + 30 * S) == 9000
    play(simulation, "1000", start=T0 + 45 * S)
    assert end_of(simulation).value == 1000
    assert simulation.state_of("r") == "inactive"


def test_a_suspect_sample_does_not_make_anything_better():
    rule = watching(f"min_over_time({X}, 1h)", line=500, direction=UP)
    simulation = play(Simulation(make_ruleset(rule)), "1000")
    see(simulation, broken("10"), T0 + 15 * S)
    assert value(simulation, T0 + 15 * S) == 1000
    assert simulation.state_of("r") == "firing"


def test_where_all_was_suspect_it_is_better_than_nothing_and_ends_nothing():
    """An identity that does not hold for hours: the fall is told all the same."""
    rule = watching(f"delta({X}, 1m)", line=-50)
    simulation = Simulation(make_ruleset(rule))
    for number in range(6):
        see(simulation, broken("1000"), T0 + number * 15 * S)
    play(simulation, "900", start=T0 + 90 * S)
    assert value(simulation, T0 + 90 * S) == -100
    assert simulation.state_of("r") == "firing"
    # against a suspect sample it has recovered
    play(simulation, "1000", start=T0 + 105 * S)
    assert value(simulation, T0 + 105 * S) == 0
    assert simulation.state_of("r") == "firing"
    # against a good one
    play(simulation, "1000 1000 1000 1000", start=T0 + 120 * S)
    assert simulation.state_of("r") == "inactive"


def test_of_two_rows_of_one_name_the_worse_counts():
    rule = watching("delta(blocked_balance, 15s)", line=50, direction=UP, scope=Scope.SYMBOL)
    simulation = Simulation(make_ruleset(rule))
    see(simulation, make_wallet(), T0, symbols=[make_symbol(blocked="100")])
    twins = [make_symbol(blocked="100"), make_symbol(blocked="300")]
    see(simulation, make_wallet(), T0 + 15 * S, symbols=twins)
    assert value(simulation, T0 + 15 * S) == 200
    # the sample a while ago is the one that can be trusted
    see(simulation, make_wallet(), T0 + 30 * S, symbols=[make_symbol(blocked="130")])
    assert end_of(simulation).value == 30


# ── no data ─────────────────────────────────────────────────────────────────


def undefined(simulation):
    return [(at, reason) for at, reason, _ in messages_about(simulation, "rule-undefined")]


def test_a_rule_whose_history_does_not_reach_back_yet_says_nothing():
    simulation = Simulation(make_ruleset(watching(f"delta({X}, 10m)", line=-50)))
    play(simulation, "1000 " * 45)
    assert undefined(simulation) == []
    assert simulation.state_of("r") == "inactive"


@pytest.mark.parametrize("text", [f"delta({X}, 10m)", f"predict_linear({X}, 10m, 1h)"])
def test_nor_after_a_gap_of_which_blind_has_told(text):
    rule = watching(text, line=-(10**6))
    simulation = Simulation(make_ruleset(rule))
    play(simulation, "1000 " * 60)
    play(simulation, "1000 " * 30, start=T0 + 12 * H)
    assert undefined(simulation) == []


def test_where_the_value_itself_is_missing_it_is_undefined_as_ever():
    text = f"delta({X} / total_balance, 10m)"
    simulation = Simulation(make_ruleset(watching(text, line=-50)))
    for number in range(12):
        see(simulation, make_wallet("0", position="0"), T0 + number * 15 * S)
    assert undefined(simulation) == [(120, "firing")]


def test_where_a_field_is_missing_beside_it_it_is_undefined_as_ever():
    text = f"delta({X}, 10m) + total_position_margin"
    simulation = Simulation(make_ruleset(watching(text, line=-50)))
    for number in range(12):
        wallet = make_wallet("100", total_position_margin=None)
        see(simulation, wallet, T0 + number * 15 * S)
    assert undefined(simulation) == [(120, "firing")]


def test_a_window_that_never_holds_two_samples_is_undefined():
    simulation = Simulation(make_ruleset(watching(f"predict_linear({X}, 15s, 1h)")))
    play(simulation, "1000 " * 12)
    assert undefined(simulation) == [(135, "firing")]


def test_undefined_is_not_over_before_it_can_be_judged_again():
    rule = watching(f"delta({X} / total_balance, 5m)", line=-50)
    simulation = Simulation(make_ruleset(rule))
    for number in range(30):
        see(simulation, make_wallet("0", position="0"), T0 + number * 15 * S)
    assert undefined(simulation) == [(120, "firing")]
    # the value is there again, but not yet for five minutes
    start = T0 + 30 * 15 * S
    play(simulation, "1000 " * 20, start=start)
    assert undefined(simulation) == [(120, "firing")]
    play(simulation, "1000", start=start + 5 * M)
    assert [reason for _, reason in undefined(simulation)] == ["firing", "resolved"]


def test_an_account_s_rule_is_young_too():
    rule = watching("delta(snapshot_age, 10m)", scope=Scope.ACCOUNT, line=-50)
    simulation = play(Simulation(make_ruleset(rule)), "1000 " * 30)
    assert undefined(simulation) == []
    play(simulation, "1000 " * 15, start=T0 + 30 * 15 * S)
    assert simulation.state_of("r") == "inactive"


def test_an_account_s_undefined_rule_is_not_over_before_it_can_be_judged_either():
    rule = watching("delta(snapshot_age, 5m)", scope=Scope.ACCOUNT, line=-50)
    simulation = play(Simulation(make_ruleset(rule)), "_ " * 12)
    assert undefined(simulation) == [(120, "firing")]
    start = T0 + 12 * 15 * S
    play(simulation, "1000 " * 20, start=start)
    assert undefined(simulation) == [(120, "firing")]
    play(simulation, "1000 1000", start=start + 5 * M)
    assert [reason for _, reason in undefined(simulation)] == ["firing", "resolved"]


def test_polls_that_are_just_blind_after_apart_leave_no_gap():
    patience = 120
    series = Series().with_one(Point(0, D(1)), good=True, patience=patience)
    series = series.with_one(Point(120, D(1)), good=False, patience=patience)
    assert series.since == 0
    assert series.with_one(Point(241, D(1)), good=True, patience=patience).since == 241


# ── clocks ──────────────────────────────────────────────────────────────────


def test_samples_ahead_of_a_clock_that_was_set_back_count_as_now():
    simulation = Simulation(make_ruleset(watching(f"predict_linear({X}, 1h, 1h)"), blind_after=120))
    play(simulation, "1 2 3")
    play(simulation, "4", start=T0 - H)
    # all at one instant: there is no line through them
    assert value(simulation, T0 - H) is None
    play(simulation, "2.5", start=T0 - H + 15 * S)
    assert value(simulation, T0 - H + 15 * S) == D("2.5")


def test_and_the_newest_of_one_instant_is_the_last():
    simulation = Simulation(make_ruleset(watching(f"ago({X}, 15s)")))
    play(simulation, "1 2 3")
    play(simulation, "4", start=T0 + 15 * S)
    play(simulation, "5", start=T0 + 30 * S)
    assert value(simulation, T0 + 30 * S) == 4


def test_a_clock_that_jumps_ahead_destroys_nothing():
    """As after a boot with a wrong clock: it is corrected, and the hour before is there."""
    simulation = Simulation(make_ruleset(watching(f"ago({X}, 1h)")))
    for number in range(300):
        play(simulation, str(number), start=T0 + number * 15 * S)
    play(simulation, "7 7 7 7", start=T0 + 400 * 24 * H)
    at = T0 + 300 * 15 * S
    play(simulation, "8", start=at)
    assert value(simulation, at) == 60


def test_what_counts_as_now_is_kept_for_the_window_from_now_on():
    simulation = Simulation(make_ruleset(watching(f"max_over_time({X}, 10m)")))
    play(simulation, "9 " + "1 " * 43)
    back = T0 - 20 * M
    play(simulation, "1 " * 30, start=back)
    assert value(simulation, back + 29 * 15 * S) == 9
    play(simulation, "1", start=back + 10 * M)
    assert value(simulation, back + 10 * M) == 1


def test_a_clock_that_is_set_back_again_and_again_piles_nothing_up():
    simulation = Simulation(make_ruleset(watching(f"max_over_time({X}, 10m)")))
    at = T0
    for number in range(1000):
        play(simulation, "1", start=at)
        at += (-15 if number % 2 else 30) * S
    assert sizes(simulation.memory.past)[X] <= 2 * 48 + 2 * 16


# ── what is remembered ──────────────────────────────────────────────────────


def sizes(past):
    return {
        key.expression: sum(c.sums.size for c in past.series(key).chunks) for key in past.keys()
    }


def test_no_more_is_kept_than_rules_look_back_on():
    rules = (
        watching(f"max_over_time({X}, 10m)", name="a"),
        watching(f"ago({X}, 5m)", name="b"),
        watching("avg_over_time(total_balance, 1m)", name="c"),
        make_rule("d"),
    )
    simulation = Simulation(make_ruleset(*rules))
    for number in range(2000):
        play(simulation, "1000", start=T0 + number * 15 * S)
    # a window and blind_after, and the chunk in which that begins
    kept = sizes(simulation.memory.past)
    assert set(kept) == {X, "total_balance"}
    assert 12 * 4 <= kept[X] <= 12 * 4 + 16 + 2
    assert 3 * 4 <= kept["total_balance"] <= 3 * 4 + 16 + 2


@pytest.mark.parametrize("pause", [15 * S, 5 * M, H])
def test_and_gaps_and_suspect_samples_do_not_pile_up(pause):
    simulation = Simulation(make_ruleset(watching(f"max_over_time({X}, 10m)")))
    for number in range(1500):
        wallet = broken() if number % 3 else make_wallet()
        see(simulation, wallet, T0 + number * pause)
    # at most what fits into a window of seen time, for good and for suspect ones
    assert sizes(simulation.memory.past)[X] <= 12 * 4 + 4 * 16


def test_a_changed_line_or_window_keeps_the_samples_and_a_changed_expression_does_not():
    simulation = Simulation(make_ruleset(watching(f"delta({X}, 1m)", line=-50)))
    play(simulation, "1000 " * 8)
    simulation.ruleset = make_ruleset(watching(f"delta( {X} , 90s )", line=-60))
    play(simulation, "900", start=T0 + 120 * S)
    assert value(simulation, T0 + 120 * S) == -100
    simulation.ruleset = make_ruleset(watching("delta(total_balance, 90s)", line=-60))
    play(simulation, "900", start=T0 + 135 * S)
    assert {key.expression for key in simulation.memory.past.keys()} == {"total_balance"}


def test_a_parked_rule_is_as_if_it_were_not_in_the_file():
    rule = watching(f"delta({X}, 1m)")
    simulation = play(Simulation(make_ruleset(rule)), "1 1 1")
    simulation.ruleset = make_ruleset(replace(rule, enabled=False))
    simulation.see(make_failure(), T0 + 45 * S)
    assert simulation.memory.past.keys() == set()


def test_another_rule_that_asks_for_the_same_goes_on_with_it():
    first, second = watching(f"delta({X}, 1m)"), watching(f"ago({X}, 1m)", name="other")
    simulation = play(Simulation(make_ruleset(first, second)), "1 2 3 4")
    simulation.ruleset = make_ruleset(second)
    play(simulation, "_ 6", start=T0 + 60 * S)
    assert value(simulation, T0 + 75 * S, "other") == 2


def test_only_rows_that_the_rule_applies_to_are_remembered():
    from alerting.engine.rules import NamePattern

    rule = watching("ago(blocked_balance, 1m)", scope=Scope.SYMBOL, symbols=NamePattern(("BTC*",)))
    simulation = Simulation(make_ruleset(rule))
    rows = [make_symbol("BTCUSDT"), make_symbol("ETHUSDT")]
    see(simulation, make_wallet(), T0, symbols=rows)
    assert [dict(key.labels)["symbol"] for key in simulation.memory.past.keys()] == ["BTCUSDT"]


def test_rows_that_it_does_not_apply_to_any_more_are_forgotten():
    from alerting.engine.rules import NamePattern

    rule = watching("ago(blocked_balance, 1m)", scope=Scope.SYMBOL)
    simulation = Simulation(make_ruleset(rule))
    rows = [make_symbol("BTCUSDT"), make_symbol("ETHUSDT")]
    see(simulation, make_wallet(), T0, symbols=rows)
    assert len(simulation.memory.past.keys()) == 2
    simulation.ruleset = make_ruleset(replace(rule, symbols=NamePattern(("BTC*",))))
    see(simulation, make_wallet(), T0 + 15 * S, symbols=rows)
    assert [dict(key.labels)["symbol"] for key in simulation.memory.past.keys()] == ["BTCUSDT"]


def test_a_row_that_is_gone_takes_its_samples_along():
    """At the first answer without it, it may come back; at the second it is closed."""
    rule = watching("ago(blocked_balance, 15s)", scope=Scope.SYMBOL)
    simulation = Simulation(make_ruleset(rule))
    wallet, without = make_wallet(position="100"), make_wallet(position="0")
    see(simulation, wallet, T0, symbols=[make_symbol(blocked="100")])
    see(simulation, without, T0 + 15 * S)
    assert len(simulation.memory.past.keys()) == 1
    see(simulation, without, T0 + 30 * S)
    assert simulation.memory.past.keys() == set()
    see(simulation, wallet, T0 + 45 * S, symbols=[make_symbol(blocked="100")])
    assert value(simulation, T0 + 45 * S) is None


def test_a_row_that_is_missing_keeps_its_samples():
    rule = watching("ago(blocked_balance, 15s)", scope=Scope.SYMBOL)
    simulation = Simulation(make_ruleset(rule))
    see(simulation, make_wallet(position="100"), T0, symbols=[make_symbol(blocked="100")])
    for number in range(1, 5):
        see(simulation, make_wallet(position="100"), T0 + number * 15 * S)
    see(simulation, make_wallet(position="100"), T0 + 75 * S, symbols=[make_symbol(blocked="100")])
    assert value(simulation, T0 + 75 * S) == 100


def test_an_asset_that_is_away_keeps_the_samples_of_its_symbols_until_it_is_gone():
    rule = watching("ago(blocked_balance, 15s)", scope=Scope.SYMBOL)
    simulation = Simulation(make_ruleset(rule))
    usdt, inr = make_wallet(), make_wallet(base_asset="INR")
    row = make_symbol("BTCINR", base_asset="INR")
    see(simulation, usdt, T0, symbols=[])
    simulation.see(make_snapshot(usdt, inr, symbols=[row], at=T0 + 15 * S), T0 + 15 * S)
    see(simulation, usdt, T0 + 30 * S)
    assert len(simulation.memory.past.keys()) == 1
    for number in range(3, 300):
        see(simulation, usdt, T0 + number * 15 * S)
    assert simulation.memory.past.keys() == set()


def test_a_failed_poll_forgets_nothing():
    simulation = play(Simulation(make_ruleset(watching(f"ago({X}, 1m)"))), "1 2 _ _ _ _")
    assert sizes(simulation.memory.past) == {X: 2}


def test_an_account_that_leaves_the_file_is_forgotten():
    simulation = play(Simulation(make_ruleset(watching(f"ago({X}, 1m)"))), "1 2")
    simulation.ruleset = replace(simulation.ruleset, accounts=("other",))
    simulation.take(
        evaluation.evaluate(simulation.ruleset, simulation.memory, None, now=T0 + 30 * S)
    )
    assert simulation.memory.past.keys() == set()


def test_a_value_that_is_not_there_is_no_sample():
    simulation = Simulation(make_ruleset(watching(f"min_over_time({X} / total_balance, 1m)")))
    see(simulation, make_wallet("0", position="0"), T0)
    see(simulation, make_wallet("50", position="50"), T0 + 15 * S)
    assert sizes(simulation.memory.past) == {f"{X} / total_balance": 1}
    assert value(simulation, T0 + 15 * S) == D("0.5")


def test_a_number_beyond_all_amounts_is_no_sample():
    much = "*".join(["total_balance"] * 17)
    simulation = Simulation(make_ruleset(watching(f"avg_over_time(({much})*({much}), 1m)")))
    see(simulation, make_wallet(30 * "9", position="0"), T0)
    assert simulation.memory.past.keys() == set()


def test_a_chunk_that_ends_before_it_says_is_as_if_it_were_not_there():
    (chunk,) = Series().with_one(Point(5, D(1)), good=True, patience=9).good
    assert list(within([replace(chunk, last=8)], 6)) == []


def test_what_is_dropped_and_comes_again_begins_anew():
    key = SeriesKey(X, LABELS)
    simulation = play(Simulation(make_ruleset(watching(f"ago({X}, 1m)"))), "1 2")
    stored = {key: simulation.memory.past.series(key)}
    dropped = Past(stored=stored).after({}, {key})
    assert dropped.series(key).last is None
    assert dropped.keys() == set()
    again = dropped.after(stored, ())
    assert again.series(key).last == micros(T0 + 15 * S)
    assert again.keys() == {key}


def test_what_was_found_is_part_of_the_evaluation():
    simulation = play(Simulation(make_ruleset(watching(f"delta({X}, 15s)"))), "1")
    step = simulation.see(make_snapshot(make_wallet("5"), at=T0 + 15 * S), T0 + 15 * S)
    assert step.over_time == {("r", LABELS): {f"ago({X}, 15s)": Decimal(1)}}
