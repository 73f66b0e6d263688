"""Numbers, times and lengths in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from alerting.display import PLAIN
from alerting.engine.model import Reason, State
from alerting.messages import phrases
from alerting.messages.formats import Format
from alerting.messages.rendering import Renderer
from tests.support.messages import NOW, builtin, firing, notification_of, over, ratio, repeated


@pytest.mark.parametrize(
    ("filter_", "value", "text"),
    [
        (PLAIN.money, Decimal("60910.77418715"), "60910.77418715"),
        (PLAIN.money, Decimal("1E+3"), "1000"),
        (PLAIN.money, Decimal("-0.000000000000000001"), "-0.000000000000000001"),
        (PLAIN.money, None, "n/a"),
        (PLAIN.money, Decimal("NaN"), "n/a"),
        (PLAIN.money, "text", "n/a"),
        (PLAIN.percent, Decimal("0.35"), "35%"),
        (PLAIN.percent, Decimal("0.38215"), "38.22%"),
        (PLAIN.percent, Decimal("0.0000001"), "0.00001%"),
        (PLAIN.percent, Decimal("-1.5"), "-150%"),
        (PLAIN.percent, None, "n/a"),
        (phrases.duration, timedelta(seconds=90), "1m30s"),
        (phrases.duration, timedelta(days=2, hours=3, minutes=4), "2d3h"),
        (phrases.duration, Decimal(90), "1m30s"),
        (phrases.duration, timedelta(0), "0s"),
        # the clock was set back in between
        (phrases.duration, timedelta(minutes=-59), "0s"),
        (phrases.duration, None, "n/a"),
        (phrases.duration, Decimal("1e30"), "n/a"),
        (PLAIN.instant, NOW, "2026-01-01 00:12:30 UTC"),
        (PLAIN.instant, None, "n/a"),
    ],
)
def test_filters_never_fail(filter_, value, text):
    assert filter_(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (NOW - timedelta(minutes=12), "12m ago"),
        (NOW - timedelta(days=3, hours=2, minutes=1), "3d2h ago"),
        (NOW, "just now"),
        (NOW + timedelta(seconds=30), "in 30s"),
        (timedelta(hours=1), "1h ago"),
        (None, "n/a"),
    ],
)
def test_ago(value, text):
    assert phrases.ago(value, now=NOW) == text


def test_what_began_ahead_of_now_by_a_clock_set_back_begins_now():
    hour = timedelta(hours=1)
    item = firing(fired_at=NOW + hour, active_at=NOW + hour)
    assert phrases.describe(item, now=NOW)["since"].endswith("(just now)")


def test_what_ended_before_it_began_by_a_clock_set_back_lasted_no_time():
    item = firing(fired_at=NOW + timedelta(minutes=59), active_at=NOW, resolved_at=NOW)
    ended = replace(item, state=State.RESOLVED, reason=Reason.RESOLVED)
    assert phrases.describe(ended, now=NOW)["since"].endswith("(just now) after 0s")


def test_labels_that_the_rule_adds_stand_among_the_others_by_name():
    item = firing(
        labels={"account": "main", "base_asset": "USDT", "exchange": "X", "symbol": "BTCUSDT"},
        extra_labels={"desk": "night", "team": "risk"},
    )
    line = phrases.describe(item, now=NOW)["label_line"]
    assert line == (
        "account main · base_asset USDT · desk night · exchange X · symbol BTCUSDT · team risk"
    )


def change(item):
    return phrases.describe(item, now=NOW)["change"]


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (repeated(firing(value="241.07"), "261.48"), "repeat, down 20.41 in 15m"),
        (repeated(firing(value="241.07"), "200", minutes=90), "repeat, up 41.07 in 1h30m"),
        (repeated(firing(value="-5"), "-4.5"), "repeat, down 0.5 in 15m"),
        (repeated(ratio(value="0.3821"), "0.36"), "repeat, up 2.21 points in 15m"),
        (repeated(firing(value="241.07"), "241.070"), "repeat, unchanged in 15m"),
        (repeated(firing(value="241.07"), "241.07", read=False), "repeat, not read since"),
        # told late: what was read before it arrived was not in it
        (repeated(firing(value="241.07"), "250", read=False), "repeat, down 8.93"),
        (repeated(builtin(), "3"), "repeat"),
        (firing(reason="repeat"), "repeat"),
        (
            repeated(firing(value="4", severity="warning", previous_severity="critical"), "5"),
            "repeat, before: critical, down 1 in 15m",
        ),
        (firing(reason="eased", previous_severity="critical"), "eased from critical"),
        (firing(reason="escalated"), "escalated"),
    ],
)
def test_a_repeat_says_how_the_value_moved_since_the_receiver_was_told(item, text):
    assert change(item) == text


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (firing(severity="warning"), "flapping, quiet until it settles"),
        (firing(severity="warning", reason="eased"), "flapping, quiet until it settles"),
        (firing(), "flapping"),
        (
            firing(reason="escalated", previous_severity="warning"),
            "escalated from warning, flapping",
        ),
        (repeated(firing(value="5"), "6"), "repeat, down 1 in 15m, flapping"),
    ],
)
def test_a_critical_alert_that_flaps_is_not_said_to_be_quiet(item, text):
    assert change(replace(item, flapping=True)) == text


def test_a_liquidation_is_no_recovery():
    lost = over(ratio(severity="critical"), why="liquidated")
    data = phrases.describe(lost, now=NOW, show=PLAIN)
    assert (data["status"], data["marker"]) == ("LIQUIDATED", "🔴")
    assert data["headline"].endswith(": position closed by the exchange")
    message = Renderer(overrides=None).render(
        notification_of(lost), Format.TEXT, maybe_repeat=False, now=NOW
    )
    assert message.title.startswith("LIQUIDATED symbol-margin-ratio DOGEUSDT: position closed by")
    assert not message.resolved
