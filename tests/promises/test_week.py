"""Memory, handles and threads stay flat: a third of a simulated day, from one fault into the next.

A twentieth of what `python bench/week.py` does.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.week import INTERVAL, Sample, a_world, judge

pytestmark = pytest.mark.process

DAYS, DAY = 2, timedelta(hours=4)


@pytest.fixture(scope="module")
def week(tmp_path_factory):
    with a_world(tmp_path_factory.mktemp("week"), day=DAY, seed=20261125) as world:
        found = world.run(DAYS)
    print(found.table(), found.largest(), found.counts, f"{found.seconds:.1f} s", sep="\n")
    return found


def test_a_third_of_a_day_of_faults_leaves_nothing_behind(week):
    assert week.problems == []


def test_the_run_was_worth_it(week):
    """It polled, told, reloaded, and threads of it died."""
    assert week.counts["polls"] > DAYS * (DAY / INTERVAL)
    assert week.counts["messages"] > 100
    assert week.counts["mails"] > 10
    assert week.counts["reloads"] >= 4 * DAYS
    assert week.counts["mishaps"] == 6 * DAYS
    assert week.counts["threads started again"] >= 2 * DAYS
    assert week.counts["odd answers"] > 20


# ── the judge itself ────────────────────────────────────────────────────────

MIB = 1 << 20


def day(**differs):
    usual = {"rss": 80 * MIB, "handles": 12, "threads": 14, "size": 4 * MIB}
    usual |= {"objects": 73_000, "reach": timedelta(hours=5), "records": 1000}
    return Sample(**{"at": 9 * DAY, **usual, **differs})


@pytest.mark.parametrize(
    ("differs", "wrong"),
    [
        pytest.param({}, None, id="flat"),
        pytest.param({"rss": 83 * MIB}, None, id="a-little-memory"),
        pytest.param({"rss": 85 * MIB}, "memory grew from 80.0 to 85.0 MiB", id="memory"),
        pytest.param({"handles": 13}, "handles grew from 12 to 13", id="handles"),
        pytest.param({"threads": 15}, "threads grew from 14 to 15", id="threads"),
        pytest.param({"objects": 74_000}, None, id="a-few-objects"),
        pytest.param({"objects": 75_000}, "objects grew from 73000 to 75000", id="objects"),
        pytest.param(
            {"reach": timedelta(hours=8)},
            "polls of 8:00:00 ago are recorded, 4:00:00 are to be kept",
            id="history",
        ),
        pytest.param(
            {"reach": timedelta(hours=8), "at": 2 * DAY}, None, id="not-sure-of-the-clock"
        ),
        pytest.param({"size": 5 * MIB}, "the state file grew from 4.00 to 5.00 MiB", id="file"),
        pytest.param({"size": 5 * MIB, "records": 1500}, None, id="a-file-with-more-in-it"),
    ],
)
def test_the_judge_tells_growth_from_none(differs, wrong):
    assert judge([day(), day(), day(**differs)], kept=DAY) == ([wrong] if wrong else [])
