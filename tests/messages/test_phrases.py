"""Numbers, times and lengths in words."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from alerting.messages import phrases
from tests.support.messages import NOW, firing


@pytest.mark.parametrize(
    ("filter_", "value", "text"),
    [
        (phrases.money, Decimal("60910.77418715"), "60910.77418715"),
        (phrases.money, Decimal("1E+3"), "1000"),
        (phrases.money, Decimal("-0.000000000000000001"), "-0.000000000000000001"),
        (phrases.money, None, "n/a"),
        (phrases.money, Decimal("NaN"), "n/a"),
        (phrases.money, "text", "n/a"),
        (phrases.percent, Decimal("0.35"), "35%"),
        (phrases.percent, Decimal("0.38215"), "38.22%"),
        (phrases.percent, Decimal("0.0000001"), "0.00001%"),
        (phrases.percent, Decimal("-1.5"), "-150%"),
        (phrases.percent, None, "n/a"),
        (phrases.duration, timedelta(seconds=90), "1m30s"),
        (phrases.duration, timedelta(days=2, hours=3, minutes=4), "2d3h"),
        (phrases.duration, Decimal(90), "1m30s"),
        (phrases.duration, timedelta(0), "0s"),
        (phrases.duration, None, "n/a"),
        (phrases.duration, Decimal("1e30"), "n/a"),
        (phrases.instant, NOW, "2026-01-01 00:12:30 UTC"),
        (phrases.instant, None, "n/a"),
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


def test_labels_that_the_rule_adds_stand_among_the_others_by_name():
    item = firing(
        labels={"account": "main", "base_asset": "USDT", "exchange": "X", "symbol": "BTCUSDT"},
        extra_labels={"desk": "night", "team": "risk"},
    )
    line = phrases.describe(item, now=NOW)["label_line"]
    assert line == (
        "account main · base_asset USDT · desk night · exchange X · symbol BTCUSDT · team risk"
    )
