"""Routes, reminders and mute windows: what their sections become, and what is refused."""

from __future__ import annotations

import re
import sys
import zoneinfo
from datetime import timedelta

import pytest

from alerting.engine.mute_windows import Window
from alerting.engine.rules import Repeat
from tests.support.rules_files import D, M, messages


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("{account: mian}", "unknown account 'mian'; did you mean 'main'?"),
        ("{receiver: dsk}", "unknown receiver 'dsk'; did you mean 'desk'?"),
        ("{rule: blnd}", "unknown rule 'blnd'; did you mean 'blind'?"),
        ("{severity: '!warn'}", "unknown severity 'warn'; did you mean 'warning'?"),
    ],
)
def test_a_route_that_could_never_match_is_refused(load, match, expected):
    routes = f"routes:\n  - {{match: {match}, receivers: [desk]}}\n  - receivers: [desk]\n"
    (line,) = messages(load, routes=routes)
    assert line.endswith(expected)


@pytest.mark.parametrize(
    "match",
    ["{account: 'm*'}", "{rule: blind}", "{rule: [floor, suspect-data]}", "{symbol: DOGEUSDT}",
     "{severity: 'crit*'}", "{receiver: desk, base_asset: USDT, exchange: EXCHANGE_2}"],
)  # fmt: skip
def test_a_route_may_match_any_label(load, match):
    load(routes=f"routes:\n  - {{match: {match}, receivers: [desk]}}\n  - receivers: [desk]\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("15m", Repeat(first=15 * M), id="plain"),
        pytest.param("{first: 15m}", Repeat(first=15 * M, factor=D(2)), id="factor-by-default"),
        pytest.param(
            "{first: 15m, factor: 1.5, max: 4h}",
            Repeat(first=15 * M, factor=D("1.5"), longest=240 * M),
            id="all",
        ),
        pytest.param(
            "{first: 1h, factor: 1, max: 1h}",
            Repeat(first=60 * M, factor=D(1), longest=60 * M),
            id="least-factor-and-max",
        ),
        pytest.param(
            "{first: 1h, factor: 100}", Repeat(first=60 * M, factor=D(100)), id="largest-factor"
        ),
    ],
)
def test_a_repeat_interval(load_route, text, expected):
    assert load_route(repeat_interval=text).repeat == expected


def test_reminders_of_any_valid_kind_have_a_time(load_route):
    """The longest first delay and the largest factor, further than anybody waits."""
    repeat = load_route(repeat_interval="{first: 3650d, factor: 100}").repeat
    assert repeat.after(1) == timedelta(days=365_000)


def test_a_window(load_mute):
    assert load_mute() == Window(
        days=frozenset(range(7)),
        start=22 * 60,
        end=7 * 60,
        zone=zoneinfo.ZoneInfo("Asia/Kolkata"),
    )


@pytest.mark.parametrize("start", ["00:00", "12:30"])
def test_a_window_that_ends_where_it_starts_is_refused(load_mute, start):
    (line,) = messages(load_mute, **{"from": f'"{start}"', "to": f'"{start}"'})
    expected = 'is the same as from; for whole days, write from: "00:00" and to: "24:00"'
    assert line.endswith(f"routes.0.mute.0.to: '{start}' {expected}")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("asia/kolkata", "did you mean 'Asia/Kolkata'?"),
        ("kolkata", "did you mean 'Asia/Kolkata'?"),
        ("Europe/Berlln", "did you mean 'Europe/Berlin'?"),
        ("Lord Howe", "did you mean 'Australia/Lord_Howe'?"),
        ("America", "write an IANA name, such as Asia/Kolkata or UTC"),
        ("localtime", "write an IANA name, such as Asia/Kolkata or UTC"),
        ("right/UTC", "write an IANA name, such as Asia/Kolkata or UTC"),
        ("/etc/localtime", "write an IANA name, such as Asia/Kolkata or UTC"),
        ("'+05:30'", "write an IANA name, such as Asia/Kolkata or UTC"),
        (r'"a\0b"', "write an IANA name, such as Asia/Kolkata or UTC"),
        ("x" * 300, "write an IANA name, such as Asia/Kolkata or UTC"),
    ],
)
def test_a_time_zone_that_does_not_exist_is_refused(load_mute, text, hint):
    (line,) = messages(load_mute, timezone=text)
    assert re.search(r"routes\.0\.mute\.0\.timezone: unknown time zone '.*'; ", line)
    assert line.endswith(f"; {hint}")


@pytest.fixture
def no_zones(tmp_path, monkeypatch):
    """A machine without time zones: neither the system's nor the package tzdata."""
    monkeypatch.setitem(sys.modules, "tzdata", None)
    zoneinfo.reset_tzpath(to=[str(tmp_path)])
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath()


def test_a_machine_without_time_zones_is_told_what_to_install(no_zones, load_mute):
    (line,) = messages(load_mute)
    assert line.endswith(
        "routes.0.mute.0.timezone: this machine has no time zone database; "
        "install the system's package tzdata, or `pip install tzdata`"
    )


def test_without_a_window_no_time_zone_is_looked_for(no_zones, monkeypatch, load):
    monkeypatch.delattr(zoneinfo, "available_timezones")
    load()


@pytest.mark.parametrize(
    ("match", "extra", "refused"),
    [
        pytest.param("{severity: critical}", "", True, id="critical-only"),
        pytest.param("{severity: ['!info', '!warning']}", "", True, id="critical-is-left"),
        pytest.param("{severity: critical}", "mute_critical: true", False, id="muted-as-well"),
        pytest.param("{severity: [critical, warning]}", "", False, id="and-warning"),
        pytest.param("{account: main}", "", False, id="any-severity"),
    ],
)  # fmt: skip
def test_a_mute_of_a_route_that_takes_only_critical_needs_mute_critical(
    load, match, extra, refused
):
    window = '{from: "22:00", to: "07:00", timezone: UTC}'
    routes = (
        f"routes:\n  - match: {match}\n    receivers: [desk]\n    mute: [{window}]\n    {extra}\n"
        "  - receivers: [desk]\n"
    )
    if refused:
        (line,) = messages(load, routes=routes)
        assert "routes.0.mute: has no effect" in line
    else:
        assert load(routes=routes).ruleset.routes[0].mute


def test_mute_critical_arrives(load_route):
    mute = '[{from: "22:00", to: "07:00", timezone: UTC}]'
    assert not load_route(mute=mute).mute_critical
    assert load_route(mute=mute, mute_critical="true").mute_critical


@pytest.mark.parametrize("value", ["true", "false"])
def test_mute_critical_without_mute_is_refused(load_route, value):
    assert len(messages(load_route, mute_critical=value)) == 1


def test_a_misspelt_mute_is_complained_of_once(load_route):
    (line,) = messages(load_route, mutes="[]", mute_critical="true")
    assert line == "FILE:7:5: routes.0.mutes: unknown key; did you mean 'mute'?"
