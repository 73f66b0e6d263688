"""Single values: what can be written for one, and what cannot."""

from __future__ import annotations

import pytest

from tests.support.rules_files import messages


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mon", {0}),
        ("[sat, sun]", {5, 6}),
        ("mon-fri", {0, 1, 2, 3, 4}),
        ("sat-mon", {5, 6, 0}),
        ("sun-sat", {0, 1, 2, 3, 4, 5, 6}),
        ("[sun-mon, wed]", {6, 0, 2}),
    ],
)
def test_days_of_a_window(load_mute, text, expected):
    assert load_mute(days=text).days == expected


@pytest.mark.parametrize(
    ("start", "end", "minutes"),
    [
        ("00:00", "24:00", (0, 1440)),
        ("22:00", "24:00", (1320, 1440)),
        ("22:00", "00:00", (1320, 1440)),
        ("00:00", "00:01", (0, 1)),
        ("23:59", "00:01", (1439, 1)),
    ],
)
def test_times_of_a_window(load_mute, start, end, minutes):
    window = load_mute(**{"from": f'"{start}"', "to": f"'{end}'"})
    assert (window.start, window.end) == minutes


@pytest.mark.parametrize("text", ["'7:00'", "'07:0'", "'07:60'", "'24:01'", "'25:00'", "'07:00:00'",
                                  "' 07:00'", "7", "0700", "7.30", "true", "'٠٧:٠٠'", "noon"])  # fmt: skip
def test_no_time_of_day(load_mute, text):
    (line,) = messages(load_mute, to=text)
    assert "FILE:7:" in line
    assert "routes.0.mute.0.to" in line


@pytest.mark.parametrize("changes", ["1", "0", "-2", "2.5", "1001", "many", "200%x", "[2]"])
def test_changes_are_a_whole_number(load, changes):
    (line,) = messages(load, f"flapping: {{changes: {changes}}}\n")
    assert "flapping.changes: " in line
