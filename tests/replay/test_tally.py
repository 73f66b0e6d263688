"""Figures."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerting.engine.feeds import Scope
from alerting.engine.model import Direction
from alerting.replay.replay import zone_of
from tests.support.factories import (
    T0,
    S,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_symbol,
    make_wallet,
)
from tests.support.replays import (
    STEP,
    floor,
    recorded,
    run,
)


def days_apart(*hours):
    """A breach of 15 minutes that starts at each of these hours, and one poll each 15 minutes."""
    quarter = timedelta(minutes=15)
    for number in range(max(hours) * 4 + 5):
        at = T0 + number * quarter
        low = number % 4 == 0 and number // 4 in hours
        yield recorded(make_snapshot(make_wallet("900" if low else "1200"), at=at), at)


def test_night_is_by_the_clock_on_the_wall(folder):
    # fires and resolves at: 03:00 UTC and 12:00 UTC are 08:30 and 17:30 in India; 18:00 is 23:30
    lines = list(days_apart(3, 12, 18, 30))

    def at_night(zone):
        row = run(folder, floor(), lines, zone=zone_of(zone))[-1]
        return row.split()

    assert at_night("UTC") == ["desk", "8", "43.4", "4"]
    assert at_night("Asia/Kolkata") == ["desk", "8", "43.4", "2"]


@pytest.mark.parametrize(
    ("hour", "minute", "count"),
    [
        pytest.param(21, 59, "0", id="before-night"),
        pytest.param(22, 0, "1", id="night-begins"),
        pytest.param(6, 59, "1", id="night-ends"),
        pytest.param(7, 0, "0", id="after-night"),
    ],
)
def test_night_is_from_22_to_7(hour, minute, count, folder):
    at = T0.replace(hour=hour, minute=minute)
    lines = [recorded(make_snapshot(make_wallet("900"), at=at), at)]

    assert run(folder, floor(), lines)[-1].split() == ["desk", "1", "-", count]


def test_a_message_with_two_alerts_of_a_rule_is_one_message(folder):
    wallets = (make_wallet("900"), make_wallet("900", base_asset="INR"))
    lines = [recorded(make_snapshot(*wallets), T0)]

    rows = run(folder, floor(), lines)

    assert [row.split()[:4] for row in rows if row.startswith("floor ")] == [
        ["floor", "2", "0s", "1"]
    ]


@pytest.mark.parametrize(
    ("seconds", "rate"),
    [pytest.param(86_399, "-", id="short"), pytest.param(86_400, "7.0", id="a-day")],
)
def test_a_rate_needs_a_day(seconds, rate, folder):
    end = T0 + seconds * S
    lines = [recorded(make_snapshot(make_wallet("900"), at=at), at) for at in (T0, end)]

    assert run(folder, floor(repeat=10**6), lines)[-1].split() == ["desk", "1", rate, "1"]


def test_a_rule_fires_while_any_of_its_alerts_does(folder):
    """Two symbols, 15 s apart, 30 s each: 45 s in all."""
    rule = make_rule("big", "blocked_balance", scope=Scope.SYMBOL, direction=Direction.ABOVE)
    amounts = [("900", "9"), ("900", "900"), ("9", "900"), ("9", "9")]
    lines = []
    for number, (first, second) in enumerate(amounts):
        at = T0 + number * STEP
        symbols = [make_symbol("AUSDT", first), make_symbol("BUSDT", second)]
        lines.append(recorded(make_snapshot(symbols=symbols, at=at), at))

    row = next(x for x in run(folder, make_ruleset(rule), lines) if x.startswith("big "))

    assert row.split() == ["big", "2", "45s", "(100.0%)", "4", "-", "4"]


def test_what_only_one_file_has_is_in_the_tables(folder):
    old = make_ruleset(make_rule("before"), receivers=("desk", "pager"))
    new = make_ruleset(make_rule("after"), receivers=("desk", "phone"))

    lines = [line.split() for line in run(folder, new, "900", against=old)]
    rows = {line[0]: line[1:] for line in lines if line}

    assert rows["after"][:3] == ["-", "→", "0"]
    assert rows["before"][:3] == ["0", "→", "-"]
    assert rows["desk"] == ["0", "-", "0"]
    assert rows["phone"] == ["-", "→", "0", "-", "-", "→", "0"]
    assert rows["pager"] == ["0", "→", "-", "-", "0", "→", "-"]
