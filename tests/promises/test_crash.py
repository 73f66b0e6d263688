"""Promise 1 under kill -9: every due notification arrives, in order, and a surplus one is marked.

A twentieth of what `python bench/crash.py --kills 1000` does.
"""

from __future__ import annotations

import pytest

from tests.support.crash import Arrival, Figures, Ledger, Note, compare, crash_all

pytestmark = pytest.mark.process


def note(number):
    return Note("main", "floor", "firing", "warning", str(number))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    figures = crash_all({"daemon": 25, "cron": 25}, tmp_path_factory.mktemp("crash"), seed=20261122)
    for mode, each in figures.items():
        print(f"{mode}: {each}")
    return figures


@pytest.mark.parametrize("mode", ["daemon", "cron"])
def test_random_kills_lose_nothing_and_repeat_nothing_unmarked(results, mode):
    figures = results[mode]
    assert figures.problems == []
    assert (figures.lost, figures.unmarked, figures.disordered, figures.unexpected) == (0, 0, 0, 0)
    assert figures.arrived == figures.due


def test_the_run_was_worth_it(results):
    """Enough was killed, enough was due, and repeats did happen."""
    total = Figures()
    for figures in results.values():
        total.add(figures)
    assert total.kills >= 50
    assert total.due > 100
    assert total.marked > 0


# ── the judge itself ────────────────────────────────────────────────────────

FINE = {}


@pytest.mark.parametrize(
    ("arrivals", "wrong"),
    [
        pytest.param("1 2 3", FINE, id="as-due"),
        pytest.param("1 1* 2 3 3* 3*", {"marked": 3}, id="marked-repeats"),
        pytest.param("1* 2 3", {"needless": 1}, id="a-first-one-that-is-marked"),
        pytest.param("1 1 2 3", {"unmarked": 1}, id="an-unmarked-repeat"),
        pytest.param("1 3", {"lost": 1}, id="lost"),
        pytest.param("", {"lost": 3}, id="all-lost"),
        pytest.param("1 3 2", {"disordered": 1}, id="out-of-order"),
        pytest.param("1 2 1* 3", {"disordered": 1, "marked": 1}, id="an-old-one-after-a-new-one"),
        pytest.param("1 2 3 9", {"unexpected": 1}, id="never-due"),
    ],
)
def test_the_judge_tells_right_from_wrong(arrivals, wrong):
    figures = Figures()
    got = [Arrival(note(text.strip("*")), "*" in text) for text in arrivals.split()]
    compare([note(1), note(2), note(3)], got, figures)
    names = ("lost", "unmarked", "marked", "needless", "disordered", "unexpected")
    assert {name: getattr(figures, name) for name in names if getattr(figures, name)} == wrong
    assert bool(figures.problems) == bool(set(wrong) - {"marked", "needless"})


@pytest.mark.parametrize(
    ("levels", "desk", "phone"),
    [
        pytest.param([0, 0], [], [], id="quiet"),
        pytest.param([1, 1, 0], ["firing warning", "resolved warning"], [], id="a-warning"),
        pytest.param(
            [1, 2, 1, 2, 0],
            [
                *("firing warning", "escalated critical", "eased warning"),
                *("escalated critical", "resolved critical"),
            ],
            ["firing critical", "eased warning", "escalated critical", "resolved critical"],
            id="up-and-down",
        ),
        pytest.param(
            [2, 0, 2],
            ["firing critical", "resolved critical", "firing critical"],
            ["firing critical", "resolved critical", "firing critical"],
            id="two-episodes",
        ),
    ],
)
def test_the_ledger_follows_the_contract(levels, desk, phone):
    ledger = Ledger()
    for number, level in enumerate(levels):
        ledger.step("main", "floor", level, str(number))
    for receiver, expected in (("desk", desk), ("phone", phone)):
        due = ledger.due.get((receiver, "main", "floor"), [])
        assert [f"{n.reason} {n.severity}" for n in due] == expected
