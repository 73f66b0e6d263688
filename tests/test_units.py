"""Durations, numbers and instants as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.units import (
    EXACT,
    format_duration,
    parse_duration,
    parse_instant,
    parse_number,
    plain,
    rfc3339,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86400),
        ("1h30m", 5400),
        ("0s", 0),
    ],
)
def test_a_duration(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert format_duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    "text",
    ["", "15", "s", "1.5h", "-5m", "5 m", "30m1h", "1m1m", "5M", "٥s", "99999999d", "1h 30m"],
)
def test_no_duration(text):
    with pytest.raises(ValueError, match=r"duration|longer"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**11))
def test_a_duration_reads_as_it_is_written(milliseconds):
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


def test_a_negative_duration_is_written_with_a_sign():
    assert format_duration(timedelta(seconds=-90)) == "-1m30s"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1000", "1000"), ("10_000", "10000"), ("-0.5", "-0.5"), ("+3", "3"), ("20%", "0.20"),
        ("0.000001", "0.000001"), ("12.5%", "0.125"),
    ],
)  # fmt: skip
def test_a_number(text, number):
    assert parse_number(text) == Decimal(number)


@pytest.mark.parametrize(
    "text", ["", "1e3", "nan", ".5", "5.", "1__0", "_1", "1_", "0x10", "１", "%", "1 "]
)
def test_no_number(text):
    with pytest.raises(ValueError, match="not a number"):
        parse_number(text)


@pytest.mark.parametrize(
    ("number", "text"),
    [("-6.778517", "-6.778517"), ("0E-8", "0.00000000"), ("1E+3", "1000"), ("1E-8", "0.00000001")],
)
def test_numbers_are_shown_plainly_and_to_the_last_digit(number, text):
    assert plain(Decimal(number)) == text


def test_an_endless_quotient_is_cut():
    with localcontext(EXACT):
        assert plain(Decimal(1) / Decimal(3)) == "0.333333333333333333"


def test_sums_of_wire_numbers_are_exact():
    with localcontext(EXACT):
        assert (
            str(Decimal("123456789012.123456789012345678") + Decimal("0.000000000000000001"))
            == "123456789012.123456789012345679"
        )


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_reads_as_it_is_written(instant):
    assert parse_instant(rfc3339(instant)) == instant


def test_whole_seconds_have_no_fraction():
    assert rfc3339(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00Z"


def test_a_time_without_zone_is_refused():
    with pytest.raises(ValueError, match="no time zone"):
        parse_instant("2026-01-01T00:00:00")
