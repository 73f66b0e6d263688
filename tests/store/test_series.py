"""The samples that rules look back on, in the state file."""

from __future__ import annotations

import contextlib
import functools
import random
import sqlite3

import pytest

from alerting.engine import evaluation
from alerting.engine.feeds import Scope
from alerting.engine.model import Direction, State
from alerting.engine.series import Point
from alerting.engine.snapshot import Snapshot
from alerting.errors import StoreError
from alerting.store.state import Store
from tests.support.factories import (
    T0,
    WARNING,
    D,
    M,
    S,
    make_failure,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_threshold,
    make_wallet,
)
from tests.support.over_time import RULESET, compare
from tests.support.positions import make_position

H = 60 * M
X = "total_available_balance"
HOUR = make_ruleset(make_rule("r", f"delta({X}, 1h)", make_threshold(threshold="100000")))


def poll(store, available, at, ruleset=HOUR, **kw):
    wallet = make_wallet(available, **kw) if available is not None else None
    outcome = make_failure() if wallet is None else make_snapshot(wallet, at=at)
    judge = functools.partial(evaluation.evaluate, ruleset, outcome=outcome, now=at)
    return store.evaluate("main", judge)


def query(path, text, *values):
    with sqlite3.connect(path) as connection:
        return connection.execute(text, values).fetchall()


def points(store):
    """expression -> its samples, oldest first."""
    past = store.memory("main").past
    return {
        key.expression: [point for chunk in past.series(key).chunks for point in chunk.points()]
        for key in past.keys()
    }


def test_they_are_there_after_a_restart_to_the_last_digit(store, path):
    numbers = [D("1.10"), D("249.123456789012345678"), D("-0"), D("1E+3")]
    for number, available in enumerate(numbers):
        poll(store, available, T0 + number * 15 * S)
    store.close()
    again = Store(path)
    found = points(again)[X]
    again.close()
    assert [str(each.value) for each in found] == [str(each) for each in numbers]
    assert [each.at - found[0].at for each in found] == [0, 15 * 10**6, 30 * 10**6, 45 * 10**6]


@pytest.mark.parametrize("seed", range(3))
def test_a_restart_anywhere_changes_nothing(path, seed):
    """With a real file that is opened anew at random; bench/over_time.py does the same at length."""
    dice, store = random.Random(f"restarts {seed}"), Store(path)

    def judge(step):
        nonlocal store
        if dice.random() < 0.4:
            store.close()
            store = Store(path)
        return store.evaluate(
            "main",
            functools.partial(evaluation.evaluate, RULESET, outcome=step.outcome, now=step.at),
        )

    found = list(compare(dice, 30, judge))
    store.close()
    assert [each for each in found if each[2] != each[3]] == []
    assert len(found) > 1000


def test_what_a_poll_adds_is_appended_and_the_rest_stays_as_it_is(store, path):
    for number in range(16):
        poll(store, number, T0 + number * 15 * S)
    before = query(path, "SELECT number, samples FROM samples ORDER BY number")
    changed = []
    store._database._connection.set_trace_callback(changed.append)
    poll(store, 16, T0 + 16 * 15 * S)
    store._database._connection.set_trace_callback(None)
    after = query(path, "SELECT number, samples FROM samples ORDER BY number")
    assert after[0] == before[0]
    assert [number for number, _ in after] == [1, 2]
    written = [text for text in changed if "INTO samples" in text or "INTO chunks" in text]
    assert len(written) == 2


def test_only_the_chunk_in_which_the_window_begins_is_read(store, path):
    """Of an hour's samples those of one chunk, whatever else is there."""
    for number in range(300):
        poll(store, number, T0 + number * 15 * S)
    read = []
    store._database._connection.set_trace_callback(read.append)
    poll(store, 300, T0 + 300 * 15 * S)
    store._database._connection.set_trace_callback(None)
    assert len([text for text in read if text.startswith("SELECT c.first_at, s.samples")]) == 1


def test_what_is_too_old_is_deleted(store, path):
    for number in range(600):
        poll(store, number, T0 + number * 15 * S)
    kept = points(store)[X]
    assert 240 + 8 <= len(kept) <= 240 + 8 + 20
    (chunks,), (samples,) = (
        query(path, "SELECT COUNT(*) FROM chunks"),
        query(path, "SELECT COUNT(*) FROM samples"),
    )
    assert chunks == samples


def test_what_no_rule_asks_for_is_deleted(store, path):
    poll(store, 1, T0)
    poll(store, None, T0 + 15 * S, make_ruleset())
    for table in ("series", "chunks", "samples"):
        assert query(path, f"SELECT * FROM {table}") == []


def test_rules_that_look_back_on_nothing_store_nothing(store, path):
    poll(store, 1, T0, make_ruleset())
    assert query(path, "SELECT * FROM series") == []


def test_a_gap_is_remembered(store, path):
    poll(store, 1, T0)
    poll(store, 1, T0 + 3 * M)
    poll(store, 1, T0 + 4 * M)
    (since,) = query(path, "SELECT since FROM series")[0]
    assert since == points(store)[X][1].at


def test_suspect_samples_stay_apart(store):
    poll(store, 1, T0)
    poll(store, 2, T0 + 15 * S, total_balance="77")
    poll(store, 3, T0 + 30 * S)
    past = store.memory("main").past
    (series,) = map(past.series, past.keys())
    good, suspect = (
        [p.value for c in each for p in c.points()] for each in (series.good, series.suspect)
    )
    assert (good, suspect) == ([1, 3], [2])


def test_a_clock_that_is_corrected_moves_them(store):
    for number in range(20):
        poll(store, number, T0 + number * 15 * S)
    before, by = points(store)[X], -3 * H
    store.clock_moved(by, now=T0 - 2 * H)
    moved = points(store)[X]
    shift = 3 * 3600 * 10**6
    assert moved == [Point(each.at - shift, each.value) for each in before]
    step = poll(store, 100, T0 + 20 * 15 * S + by)
    assert step.memory.past.series(next(iter(step.memory.past.keys()))).since == moved[0].at


def test_samples_ahead_of_the_clock_are_written_anew_as_of_now(store):
    for number in range(20):
        poll(store, number, T0 + number * 15 * S)
    poll(store, 20, T0 + 150 * S)
    found = points(store)[X]
    start = found[0].at
    assert [(each.at - start) // 10**6 for each in found] == [*range(0, 150, 15), *[150] * 11]
    assert [each.value for each in found] == list(range(21))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE chunks SET sums = '1 2 3'",
        "UPDATE chunks SET sums = replace(sums, '1', 'x')",
        "UPDATE chunks SET sums = 'NaN ' || sums",
        "UPDATE chunks SET first_at = 'long ago'",
        "UPDATE chunks SET sums = '-' || sums",
        "UPDATE samples SET samples = samples || '5 '",
        "UPDATE samples SET samples = ''",
        "UPDATE samples SET samples = 'x 1 '",
        "UPDATE samples SET samples = '0 NaN '",
        "DELETE FROM samples",
        "UPDATE series SET labels = '[]'",
        "UPDATE series SET labels = '{\"account\": 1}'",
        "UPDATE series SET labels = 'x'",
        "UPDATE series SET since = 'x'",
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_so(path, damage):
    store = Store(path)
    for number in range(4):
        poll(store, number, T0 + number * 25 * M)
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute(damage)
    store = Store(path)
    with pytest.raises(StoreError, match="account 'main'"):
        poll(store, 1, T0 + 100 * M)
    store.close()


def test_a_judgement_that_is_cut_off_leaves_them_as_they_were(store, path):
    for number in range(4):
        poll(store, number, T0 + number * 15 * S)
    before = points(store)

    def cut_off(memory):
        evaluation.evaluate(HOUR, memory, make_snapshot(make_wallet("9")), now=T0 + M)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.evaluate("main", cut_off)
    assert points(store) == before


# ── a ratio to equity that is used up ───────────────────────────────────────

RATIO = "maintenance_margin_ratio"


@pytest.mark.parametrize(
    ("value", "used_up", "afterwards", "fires"),
    [
        (f"max_over_time({RATIO}, 1h)", "Infinity", "Infinity", ["firing"] * 2),
        (f"min_over_time({RATIO}, 1h)", None, None, []),
        (f"avg_over_time({RATIO}, 1h)", "Infinity", "Infinity", ["firing"] * 2),
        (f"predict_linear({RATIO}, 1h, 1h)", "Infinity", "Infinity", ["firing"] * 2),
        # given is what it was then
        (f"delta({RATIO}, 15s)", None, "Infinity", ["firing"]),
        (f"ago({RATIO}, 15s)", None, "Infinity", ["firing"]),
    ],
)
def test_a_ratio_to_equity_that_is_used_up_is_a_sample_like_any_other(
    tmp_path, value, used_up, afterwards, fires
):
    """It is infinite, on the worst day: with it in the state file all must go on."""
    rule = make_rule(
        "looks-back",
        value,
        make_threshold(WARNING, "0.9"),
        scope=Scope.POSITION,
        direction=Direction.ABOVE,
    )
    ruleset, gave, firing = make_ruleset(rule), [], []
    for number, mark in enumerate(("100", "100", "50", "100")):
        at = T0 + number * 15 * S
        row = make_position(
            position_size="1",
            position_value="100",
            avg_entry_price="100",
            mark_price=mark,
            position_margin="43",
            maint_margin_rate="1.25",
            liq_fee_rate="0.0075",
            liquidation_price="59",
        )
        seen = Snapshot(account="main", feed="positions", observed_at=at, positions=(row,))
        judge = functools.partial(evaluation.evaluate, ruleset, outcome=seen, now=at)
        with contextlib.closing(Store(tmp_path / "alerting.db")) as store:
            step = store.evaluate("main", judge)
        ((given,),) = (tuple(each.values()) for each in step.over_time.values())
        gave.append(given)
        alerts = [each for each in step.memory.alerts.values() if each.rule == rule.name]
        firing += [each.state.value for each in alerts if each.state is State.FIRING]
    assert firing == fires
    usual = D(2) / D(43)
    for found, expected in zip(gave[2:], (used_up, afterwards), strict=True):
        if expected is None:
            assert abs(found - usual) < D("1e-20")
        else:
            assert found == D(expected)
