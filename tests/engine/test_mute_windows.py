"""Mute windows by the clock on the wall: gaps, folds, midnight, leap days, the week's end."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alerting.engine.mute_windows import DAYS, MINUTES_PER_DAY, Window
from alerting.units import parse_instant

KOLKATA = "Asia/Kolkata"  # +05:30, never moves
NEW_YORK = "America/New_York"  # 2026: 02:00 → 03:00 on 8 March, 02:00 → 01:00 on 1 November
LORD_HOWE = "Australia/Lord_Howe"  # 2026: 02:00 → 01:30 on 5 April, 02:00 → 02:30 on 4 October
AZORES = "Atlantic/Azores"  # 2026: 00:00 → 01:00 on 29 March, 01:00 → 00:00 on 25 October
CAIRO = "Africa/Cairo"  # 2026: 00:00 → 01:00 on Friday 24 April, 24:00 → 23:00 on 29 October
MINUTE = timedelta(minutes=1)


def minutes(text):
    hours, _, rest = text.partition(":")
    return int(hours) * 60 + int(rest)


def window(days, start, end, zone):
    """`mon sat` as days, or `daily`."""
    numbers = range(7) if days == "daily" else [DAYS.index(day) for day in days.split()]
    return Window(
        days=frozenset(numbers), start=minutes(start), end=minutes(end), zone=ZoneInfo(zone)
    )


NIGHT = window("daily", "22:00", "07:00", KOLKATA)
GAP = window("sun", "02:00", "03:00", NEW_YORK)
FROM_GAP = window("sun", "02:30", "04:00", NEW_YORK)
INTO_GAP = window("sun", "01:00", "02:30", NEW_YORK)
FOLD = window("sun", "01:30", "01:45", NEW_YORK)
FOLD_HOUR = window("sun", "01:00", "02:00", NEW_YORK)
HALF_GAP = window("sun", "02:15", "03:00", LORD_HOWE)
HALF_FOLD = window("sun", "01:45", "03:00", LORD_HOWE)
TO_MIDNIGHT = window("sat", "22:00", "00:30", AZORES)
AT_MIDNIGHT = window("sun", "00:00", "01:00", AZORES)
EVENING = window("thu", "22:00", "24:00", CAIRO)
WEEKEND = window("sat sun", "00:00", "24:00", NEW_YORK)
MONDAY = window("mon", "00:00", "24:00", KOLKATA)
SUNDAY_NIGHT = window("sun", "22:00", "07:00", KOLKATA)
FRIDAY_NIGHT = window("fri", "22:00", "07:00", NEW_YORK)
LEAP = window("tue", "00:00", "24:00", KOLKATA)
LEAP_NIGHT = window("mon", "23:00", "01:00", NEW_YORK)
NEW_YEAR = window("thu", "23:00", "01:00", LORD_HOWE)


@pytest.mark.parametrize(
    ("tested", "instant", "inside"),
    [
        # the plain case: the start is in it, the end is not; seconds and their parts count
        pytest.param(NIGHT, "2026-06-10T16:29:59.999999Z", False, id="before-the-start"),
        pytest.param(NIGHT, "2026-06-10T16:30:00Z", True, id="at-the-start"),
        pytest.param(NIGHT, "2026-06-10T18:29:59Z", True, id="before-midnight"),
        pytest.param(NIGHT, "2026-06-10T18:30:00Z", True, id="at-midnight"),
        pytest.param(NIGHT, "2026-06-11T01:29:59.999999Z", True, id="before-the-end"),
        pytest.param(NIGHT, "2026-06-11T01:30:00Z", False, id="at-the-end"),
        pytest.param(NIGHT, "2026-06-10T22:00:00+05:30", True, id="an-instant-of-another-zone"),
        pytest.param(NIGHT, "2026-06-10T22:00:00-04:00", False, id="not-the-instant-s-own-clock"),
        # 8 March 2026, New York: after 01:59 EST comes 03:00 EDT
        pytest.param(GAP, "2026-03-08T06:59:59Z", False, id="gap-before"),
        pytest.param(GAP, "2026-03-08T07:00:00Z", False, id="gap-swallows-the-whole-window"),
        pytest.param(GAP, "2026-03-15T06:30:00Z", True, id="gap-not-the-week-after"),
        pytest.param(FROM_GAP, "2026-03-08T06:59:59Z", False, id="gap-before-a-start-in-it"),
        pytest.param(FROM_GAP, "2026-03-08T07:00:00Z", True, id="gap-start-in-it-starts-after-it"),
        pytest.param(FROM_GAP, "2026-03-08T07:59:59Z", True, id="gap-keeps-the-end"),
        pytest.param(FROM_GAP, "2026-03-08T08:00:00Z", False, id="gap-end-by-the-new-clock"),
        pytest.param(INTO_GAP, "2026-03-08T06:59:59Z", True, id="gap-up-to-it"),
        pytest.param(INTO_GAP, "2026-03-08T07:00:00Z", False, id="gap-end-in-it-ends-before-it"),
        # 1 November 2026, New York: after 01:59 EDT comes 01:00 EST
        pytest.param(FOLD, "2026-11-01T05:29:59Z", False, id="fold-before"),
        pytest.param(FOLD, "2026-11-01T05:30:00Z", True, id="fold-first-time"),
        pytest.param(FOLD, "2026-11-01T05:45:00Z", False, id="fold-after-the-first-time"),
        pytest.param(FOLD, "2026-11-01T06:30:00Z", True, id="fold-second-time"),
        pytest.param(FOLD, "2026-11-01T06:44:59Z", True, id="fold-second-time-to-the-end"),
        pytest.param(FOLD, "2026-11-01T06:45:00Z", False, id="fold-after-the-second-time"),
        pytest.param(FOLD_HOUR, "2026-11-01T05:00:00Z", True, id="fold-hour-begins"),
        pytest.param(FOLD_HOUR, "2026-11-01T06:00:00Z", True, id="fold-hour-goes-on"),
        pytest.param(FOLD_HOUR, "2026-11-01T06:59:59Z", True, id="fold-hour-lasts-two"),
        pytest.param(FOLD_HOUR, "2026-11-01T07:00:00Z", False, id="fold-hour-ends"),
        # Lord Howe moves by half an hour: 4 October 2026, 01:59 +10:30 → 02:30 +11:00
        pytest.param(HALF_GAP, "2026-10-03T15:29:59Z", False, id="half-hour-gap-before"),
        pytest.param(HALF_GAP, "2026-10-03T15:30:00Z", True, id="half-hour-gap-starts-after-it"),
        pytest.param(HALF_GAP, "2026-10-03T16:00:00Z", False, id="half-hour-gap-end"),
        # 5 April 2026, 01:59 +11:00 → 01:30 +10:30
        pytest.param(HALF_FOLD, "2026-04-04T14:44:59Z", False, id="half-hour-fold-before"),
        pytest.param(HALF_FOLD, "2026-04-04T14:45:00Z", True, id="half-hour-fold-first-time"),
        pytest.param(HALF_FOLD, "2026-04-04T15:00:00Z", False, id="half-hour-fold-clock-is-back"),
        pytest.param(HALF_FOLD, "2026-04-04T15:15:00Z", True, id="half-hour-fold-second-time"),
        pytest.param(HALF_FOLD, "2026-04-04T16:29:59Z", True, id="half-hour-fold-to-the-end"),
        pytest.param(HALF_FOLD, "2026-04-04T16:30:00Z", False, id="half-hour-fold-end"),
        # changes at midnight itself; 29 March 2026, Azores: Saturday 23:59 → Sunday 01:00
        pytest.param(TO_MIDNIGHT, "2026-03-29T00:59:59Z", True, id="midnight-gap-before"),
        pytest.param(TO_MIDNIGHT, "2026-03-29T01:00:00Z", False, id="midnight-gap-ends-it"),
        pytest.param(AT_MIDNIGHT, "2026-03-29T01:00:00Z", False, id="midnight-gap-swallows-it"),
        # 25 October 2026: Sunday 00:59 → Sunday 00:00
        pytest.param(TO_MIDNIGHT, "2026-10-25T00:29:59Z", True, id="midnight-fold-first-time"),
        pytest.param(TO_MIDNIGHT, "2026-10-25T00:30:00Z", False, id="midnight-fold-over"),
        pytest.param(TO_MIDNIGHT, "2026-10-25T01:29:59Z", True, id="midnight-fold-second-time"),
        pytest.param(AT_MIDNIGHT, "2026-10-25T01:59:59Z", True, id="midnight-fold-two-hours"),
        pytest.param(AT_MIDNIGHT, "2026-10-25T02:00:00Z", False, id="midnight-fold-end"),
        # 29 October 2026, Cairo: Thursday 23:59 → Thursday 23:00, so Thursday comes back
        pytest.param(EVENING, "2026-10-29T20:30:00Z", True, id="day-that-comes-back-first"),
        pytest.param(EVENING, "2026-10-29T21:59:59Z", True, id="day-that-comes-back-second"),
        pytest.param(EVENING, "2026-10-29T22:00:00Z", False, id="day-that-comes-back-over"),
        # days are those of the place, and belong to the day on which the window starts
        pytest.param(WEEKEND, "2026-06-06T03:59:59Z", False, id="friday-there-saturday-in-utc"),
        pytest.param(WEEKEND, "2026-06-06T04:00:00Z", True, id="saturday-there"),
        pytest.param(WEEKEND, "2026-06-08T03:59:59Z", True, id="sunday-there-monday-in-utc"),
        pytest.param(WEEKEND, "2026-06-08T04:00:00Z", False, id="monday-there"),
        pytest.param(MONDAY, "2026-06-07T18:29:59Z", False, id="week-not-yet-started"),
        pytest.param(MONDAY, "2026-06-07T18:30:00Z", True, id="week-starts-sunday-in-utc"),
        pytest.param(MONDAY, "2026-06-08T18:29:59Z", True, id="monday-to-its-end"),
        pytest.param(MONDAY, "2026-06-08T18:30:00Z", False, id="tuesday"),
        pytest.param(
            SUNDAY_NIGHT, "2026-06-07T00:00:00Z", False, id="sunday-morning-is-saturday-s"
        ),
        pytest.param(SUNDAY_NIGHT, "2026-06-07T16:30:00Z", True, id="sunday-night"),
        pytest.param(SUNDAY_NIGHT, "2026-06-08T01:29:59Z", True, id="goes-on-into-the-new-week"),
        pytest.param(SUNDAY_NIGHT, "2026-06-08T01:30:00Z", False, id="ends-in-the-new-week"),
        pytest.param(SUNDAY_NIGHT, "2026-06-08T16:30:00Z", False, id="monday-night"),
        pytest.param(FRIDAY_NIGHT, "2026-06-05T08:00:00Z", False, id="friday-morning"),
        pytest.param(FRIDAY_NIGHT, "2026-06-06T08:00:00Z", True, id="saturday-morning"),
        pytest.param(FRIDAY_NIGHT, "2026-06-07T08:00:00Z", False, id="sunday-morning"),
        # 29 February 2028 is a Tuesday
        pytest.param(LEAP, "2028-02-28T18:29:59Z", False, id="leap-day-before"),
        pytest.param(LEAP, "2028-02-28T18:30:00Z", True, id="leap-day"),
        pytest.param(LEAP, "2028-02-29T18:29:59Z", True, id="leap-day-to-its-end"),
        pytest.param(LEAP, "2028-02-29T18:30:00Z", False, id="the-first-of-march"),
        pytest.param(LEAP_NIGHT, "2028-02-29T05:59:59Z", True, id="into-the-leap-day"),
        pytest.param(LEAP_NIGHT, "2028-02-29T06:00:00Z", False, id="over-on-the-leap-day"),
        pytest.param(LEAP_NIGHT, "2028-03-01T05:00:00Z", False, id="not-out-of-the-leap-day"),
        # 31 December 2026 is a Thursday
        pytest.param(NEW_YEAR, "2026-12-31T12:00:00Z", True, id="new-year-before"),
        pytest.param(NEW_YEAR, "2026-12-31T13:59:59Z", True, id="new-year-after"),
        pytest.param(NEW_YEAR, "2026-12-31T14:00:00Z", False, id="new-year-over"),
    ],
)
def test_a_window_goes_by_the_clock_on_the_wall(tested, instant, inside):
    # not parse_instant: that would turn every instant into UTC
    assert tested.covers(datetime.fromisoformat(instant)) is inside


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        (KOLKATA, "2026-03-08", 24),
        (KOLKATA, "2028-02-29", 24),
        (NEW_YORK, "2026-03-08", 23),
        (NEW_YORK, "2026-11-01", 25),
        (NEW_YORK, "2028-02-29", 24),
        (LORD_HOWE, "2026-10-04", 23.5),
        (LORD_HOWE, "2026-04-05", 24.5),
        (AZORES, "2026-03-29", 23),
        (AZORES, "2026-10-25", 25),
        (CAIRO, "2026-10-29", 25),
    ],
)
def test_a_whole_day_is_as_long_as_it_is_there(zone, day, hours):
    tested = window(DAYS[date.fromisoformat(day).weekday()], "00:00", "24:00", zone)
    start = parse_instant(f"{day}T00:00:00Z") - timedelta(days=2)
    covered = sum(tested.covers(start + number * MINUTE) for number in range(4 * MINUTES_PER_DAY))
    assert covered == hours * 60


# ── against a walk through every minute ─────────────────────────────────────

EVERY_DAY = st.dates(date(2020, 1, 1), date(2035, 12, 31))
TRANSITIONS = [
    (NEW_YORK, date(2026, 3, 8)), (NEW_YORK, date(2026, 11, 1)),
    (LORD_HOWE, date(2026, 4, 5)), (LORD_HOWE, date(2026, 10, 4)),
    (AZORES, date(2026, 3, 29)), (AZORES, date(2026, 10, 25)),
    (CAIRO, date(2026, 4, 24)), (CAIRO, date(2026, 10, 29)),
]  # fmt: skip
PLACES = st.one_of(
    st.sampled_from(TRANSITIONS),
    st.tuples(st.sampled_from([KOLKATA, NEW_YORK, LORD_HOWE, AZORES, CAIRO]), EVERY_DAY),
)


def local_day(zone, day):
    """Each minute in UTC, in order, at which the clock there shows this day."""
    around = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=1)
    instants = (around + number * MINUTE for number in range(3 * MINUTES_PER_DAY))
    return [instant for instant in instants if instant.astimezone(zone).date() == day]


def shown_in(tested, day):
    """What a wall clock shows while the windows that touch this day are open, minute by minute."""
    length = (tested.end - tested.start) % MINUTES_PER_DAY or MINUTES_PER_DAY
    shown = set()
    for starts_on in (day - timedelta(days=1), day):
        if starts_on.weekday() in tested.days:
            midnight = datetime(starts_on.year, starts_on.month, starts_on.day)
            start = midnight + tested.start * MINUTE
            shown |= {start + number * MINUTE for number in range(length)}
    return shown


@settings(max_examples=60, deadline=None)
@given(
    place=PLACES,
    days=st.frozensets(st.integers(0, 6), min_size=1),
    start=st.integers(0, MINUTES_PER_DAY - 1),
    end=st.integers(1, MINUTES_PER_DAY),
    second=st.integers(0, 59),
)
@example(place=TRANSITIONS[0], days=frozenset({6}), start=150, end=240, second=0)
@example(place=TRANSITIONS[1], days=frozenset({5}), start=1380, end=90, second=0)
@example(place=TRANSITIONS[2], days=frozenset({6}), start=105, end=180, second=0)
@example(place=TRANSITIONS[4], days=frozenset({5}), start=1320, end=30, second=59)
@example(place=TRANSITIONS[7], days=frozenset({3}), start=0, end=1440, second=0)
@example(place=(KOLKATA, date(2028, 2, 29)), days=frozenset({0}), start=1439, end=1439, second=0)
def test_covers_agrees_with_a_walk_through_the_day(place, days, start, end, second):
    name, day = place
    zone = ZoneInfo(name)
    tested = Window(days=days, start=start, end=end, zone=zone)
    shown = shown_in(tested, day)
    walk = local_day(zone, day)
    expected = {at for at in walk if at.astimezone(zone).replace(tzinfo=None) in shown}
    assert {at for at in walk if tested.covers(at + timedelta(seconds=second))} == expected
