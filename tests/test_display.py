"""Numbers and instants as people read them."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.display import PLAIN, Display, Grouping

D = Decimal


@pytest.mark.parametrize(
    ("number", "thousands", "indian"),
    [
        ("1234567.89", "1,234,567.89", "12,34,567.89"),
        ("-1234567.89", "-1,234,567.89", "-12,34,567.89"),
        ("123", "123", "123"),
        ("1000", "1,000", "1,000"),
        ("-100", "-100", "-100"),
        ("100000", "100,000", "1,00,000"),
        ("1234567890", "1,234,567,890", "1,23,45,67,890"),
        ("0.123456", "0.123456", "0.123456"),
        ("1E+6", "1,000,000", "10,00,000"),
    ],
)
def test_digits_are_grouped_as_people_there_read_them(number, thousands, indian):
    assert Display(grouping=Grouping.THOUSANDS).money(D(number)) == thousands
    assert Display(grouping=Grouping.INDIAN).money(D(number)) == indian


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8), st.sampled_from(Grouping))
def test_grouping_loses_no_digit(number, grouping):
    assert D(Display(grouping=grouping).money(number).replace(",", "")) == number


def test_percent_is_grouped_too_and_keeps_a_difference():
    show = Display(grouping=Grouping.THOUSANDS)
    assert show.percent(D("12.5")) == "1,250%"
    assert show.number(D("0.2"), percent=True) == "20%"
    assert show.number(D("0.2"), percent=False) == "0.2"
    assert show.number(D("0.20000001"), percent=True, apart_from=D("0.2")) == "20.000001%"
    assert show.difference(D("-0.0321"), percent=True) == "3.21 points"
    assert show.difference(D("-1234"), percent=False) == "1,234"


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("UTC", "2026-07-01 20:00:05 UTC"),
        ("Asia/Kolkata", "2026-07-02 01:30:05 IST"),
        ("Europe/Berlin", "2026-07-01 22:00:05 CEST"),
    ],
)
def test_an_instant_bears_the_name_of_its_zone(zone, text):
    show = Display(zone=zoneinfo.ZoneInfo(zone))
    assert show.instant(datetime(2026, 7, 1, 20, 0, 5, 999, tzinfo=UTC)) == text


def test_an_instant_at_the_end_of_the_calendar_loses_no_message():
    show = Display(zone=zoneinfo.ZoneInfo("Asia/Kolkata"))
    assert show.instant(datetime.max.replace(tzinfo=UTC)) == "9999-12-31 23:59:59 UTC"


@pytest.mark.parametrize("value", [None, "text", D("NaN"), D("sNaN"), True])
def test_what_is_no_number_is_none(value):
    for show in (PLAIN, Display(grouping=Grouping.INDIAN)):
        assert (show.money(value), show.percent(value)) == ("n/a", "n/a")
    assert PLAIN.instant(value) == "n/a"


@pytest.mark.parametrize("show", [PLAIN, Display(grouping=Grouping.INDIAN)])
def test_a_ratio_to_equity_that_is_used_up(show):
    """Beyond every number, so in no digits."""
    over, under = D("Infinity"), D("-Infinity")
    assert show.percent(over) == "over 100 %"
    assert show.percent(over, 4, apart_from=D("0.8")) == "over 100 %"
    assert show.number(over, percent=True, apart_from=D(1)) == "over 100 %"
    assert show.number(over, percent=False) == show.money("Infinity") == "over 100 %"
    assert show.percent(under) == show.money(under) == "-∞"
    for percent in (True, False):
        assert show.difference(over, percent=percent) == "far"
        assert show.difference(under, percent=percent) == "far"
