"""Instants and durations as people type them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerting.cli.arguments import instant, lasting
from alerting.errors import UsageError
from alerting.units import rfc3339
from tests.support.factories import T0

NOW = T0 + timedelta(hours=12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-01T06:30:00Z", "2026-01-01T06:30:00Z"),
        ("2026-01-01T06:30:00+05:30", "2026-01-01T01:00:00Z"),
        ("2025-12-31", "2025-12-31T00:00:00Z"),
        ("2h", "2026-01-01T10:00:00Z"),
        ("1d30m", "2025-12-31T11:30:00Z"),
        ("now", "2026-01-01T12:00:00Z"),
    ],
)
def test_an_instant(text, expected):
    assert rfc3339(instant("--at", text, now=NOW)) == expected


def test_an_instant_that_is_not_given():
    assert instant("--at", None, now=NOW) is None


@pytest.mark.parametrize(
    "text", ["", "2026-13-01", "yesterday", "2 h", "900000d", "2026-01-01T06:30"]
)
def test_what_is_no_instant_says_what_is(text):
    with pytest.raises(UsageError, match=r"--at .* is not an instant such as .*, 2h .* or now"):
        instant("--at", text, now=NOW)


def test_a_duration_from_now_on():
    assert lasting("--for", "1h30m") == timedelta(minutes=90)


@pytest.mark.parametrize("text", ["0s", "366d1ms", "two hours"])
def test_what_lasts_no_time_or_for_ever_is_refused(text):
    with pytest.raises(UsageError, match="--for "):
        lasting("--for", text)
