"""Two files compared."""

from __future__ import annotations

import io
from zoneinfo import ZoneInfo

import pytest

from alerting.engine.mute_windows import Window
from alerting.replay.recording import RecordingError
from alerting.replay.replay import Options, replay
from tests.support.factories import CRITICAL, make_snapshot
from tests.support.replays import (
    floor,
    polls,
    recorded,
    run,
    run_json,
    series,
)


def clock(text):
    """Seconds since T0 of an instant."""
    return None if text is None else (60 * int(text[14:16]) + int(text[17:19]))


def differences(folder, old, new, text):
    found = []
    for line in run_json(folder, new, text, against=old):
        known = clock(line.pop("at"))
        [(kind, document)] = line.items()
        what = document.get("reason", kind)
        sides = []
        for side in (document["old"], document["new"]):
            if side is None:
                sides.append(None)
            elif kind == "message":
                sides.append((clock(side["at"]), side["severity"]))
            else:
                instants = (clock(side["fired_at"]), clock(side["resolved_at"]))
                sides.append((*instants, side["severity"]))
        found.append((known, document["change"], what, *sides))
    return found


W, C = "warning", "critical"


@pytest.mark.parametrize(
    ("old", "new", "text", "expected"),
    [
        pytest.param(floor(), floor(), "1200 900x3 1200", [], id="the-same-rules"),
        pytest.param(
            floor("500"),
            floor("1000"),
            "1200 900x3 1200",
            [
                (60, "new", "episode", None, (15, 60, W)),
                (60, "new", "firing", None, (15, W)),
                (60, "new", "resolved", None, (60, W)),
            ],
            id="a-stricter-rule-makes-a-new-episode",
        ),
        pytest.param(
            floor("1000"),
            floor("1000", for_=60),
            "1200 900x3 1200",
            [
                (60, "gone", "episode", (15, 60, W), None),
                (60, "gone", "firing", (15, W), None),
                (60, "gone", "resolved", (60, W), None),
            ],
            id="a-longer-for-loses-an-episode",
        ),
        pytest.param(
            floor(),
            floor(for_=30, keep=15),
            "1200 900x3 1200x2",
            [
                (45, "moved", "firing", (15, W), (45, W)),
                (75, "moved", "episode", (15, 60, W), (45, 75, W)),
                (75, "moved", "resolved", (60, W), (75, W)),
            ],
            id="later-on-both-ends",
        ),
        pytest.param(
            floor(),
            floor(severity=CRITICAL),
            "1200 900x3 1200",
            [
                (15, "changed", "firing", (15, W), (15, C)),
                (60, "changed", "episode", (15, 60, W), (15, 60, C)),
                (60, "changed", "resolved", (60, W), (60, C)),
            ],
            id="another-severity-at-the-same-time",
        ),
        pytest.param(
            floor(),
            floor(severity=CRITICAL, for_=15),
            "1200 900x3",
            [
                (30, "moved", "firing", (15, W), (30, C)),
                (45, "moved", "episode", (15, None, W), (30, None, C)),
            ],
            id="another-severity-at-another-time",
        ),
        pytest.param(
            floor(repeat=15),
            floor(repeat=30),
            "1200 900x5 1200",
            [
                (45, "gone", "repeat", (30, W), None),
                (75, "gone", "repeat", (60, W), None),
            ],
            id="fewer-repeats",
        ),
        pytest.param(
            floor(repeat=30),
            floor(for_=15, repeat=30),
            "1200 900x5 1200",
            [
                (30, "moved", "firing", (15, W), (30, W)),
                (60, "moved", "repeat", (45, W), (60, W)),
                (90, "moved", "episode", (15, 90, W), (30, 90, W)),
                (90, "gone", "repeat", (75, W), None),
            ],
            id="repeats-move-with-the-first",
        ),
        pytest.param(
            floor(keep=60),
            floor(),
            "1200 900x2 1200 900 1200x5",
            [
                (75, "new", "episode", None, (60, 75, W)),
                (75, "new", "resolved", None, (45, W)),
                (135, "moved", "episode", (15, 135, W), (15, 45, W)),
                (135, "moved", "resolved", (135, W), (75, W)),
                (135, "new", "firing", None, (60, W)),
            ],
            id="one-episode-becomes-two",
        ),
        pytest.param(
            floor("500"),
            floor("1000"),
            "1200 900x3",
            [
                (45, "new", "episode", None, (15, None, W)),
                (45, "new", "firing", None, (15, W)),
            ],
            id="still-firing-at-the-end",
        ),
        pytest.param(
            floor(),
            floor(for_=15),
            "1200 900x3",
            [
                (30, "moved", "firing", (15, W), (30, W)),
                (45, "moved", "episode", (15, None, W), (30, None, W)),
            ],
            id="moved-and-still-firing-at-the-end",
        ),
    ],
)
def test_what_is_new_gone_and_moved(old, new, text, expected, folder):
    assert differences(folder, old, new, text) == expected


def test_a_muted_resolve_is_moved_and_not_gone(folder):
    """What a receiver is still owed is waited for."""
    window = Window(days=frozenset(range(7)), start=1, end=2, zone=ZoneInfo("UTC"))
    muted = floor(options={"mute": (window,)})

    found = differences(folder, floor(), muted, "900x4 1200x8")

    assert found == [(120, "moved", "resolved", (60, W), (120, W))]


def test_another_accounts_poll_decides_nothing(folder):
    window = Window(days=frozenset(range(7)), start=1, end=2, zone=ZoneInfo("UTC"))
    lines = []
    for outcome, at in polls(series("900x4 1200x8")):
        other = make_snapshot(at=at, account="other")
        lines += [recorded(outcome, at), recorded(other, at)]

    found = differences(folder, floor(), floor(options={"mute": (window,)}), lines)

    assert found == [(120, "moved", "resolved", (60, W), (120, W))]


def test_a_second_episode_that_still_fires_is_not_lost_beside_one_that_goes_on(folder):
    """Two episodes under the old rules, one of which has no counterpart."""
    found = differences(folder, floor(), floor(keep=600), "1200 900 1200 900")

    assert found == [
        (45, "moved", "episode", (15, 30, W), (15, None, W)),
        (45, "gone", "episode", (45, None, W), None),
        (45, "gone", "resolved", (30, W), None),
        (45, "gone", "firing", (45, W), None),
    ]


def test_what_is_certain_before_a_bad_line_is_printed(folder):
    """Even while an alert is on, and nothing of what the lines after it could still change."""
    lines = [recorded(*poll) for poll in polls(series("1200 900x5"))]
    out = io.StringIO()
    (folder / "cut").write_text("".join(lines) + "rubbish\n")

    with pytest.raises(RecordingError, match=r"cut:7: "):
        replay(floor(for_=30), Options(file=str(folder / "cut")), against=floor(), out=out)

    [line] = out.getvalue().splitlines()
    assert line.startswith("moved    message  desk: firing of floor main/USDT")


def test_the_text_of_another_severity_has_no_delay(folder):
    lines = run(folder, floor(severity=CRITICAL), "1200 900", against=floor())

    assert (
        lines[:2]
        == """\
changed  message  desk: firing of floor main/USDT  warning → critical  at 2026-01-01T00:00:15Z
changed  episode  floor main/USDT  warning → critical  from 2026-01-01T00:00:15Z to (still firing)
""".splitlines()
    )


def test_the_text_of_a_comparison(folder):
    lines = run(folder, floor(for_=30, keep=15), "1200 900x3 1200x2 900", against=floor())

    assert (
        lines
        == """\
moved    message  desk: firing of floor main/USDT  warning  at 2026-01-01T00:00:15Z → 2026-01-01T00:00:45Z (+30s)
moved    episode  floor main/USDT  warning  from 2026-01-01T00:00:15Z → 2026-01-01T00:00:45Z (+30s) to 2026-01-01T00:01:00Z → 2026-01-01T00:01:15Z (+15s)
moved    message  desk: resolved of floor main/USDT  warning  at 2026-01-01T00:01:00Z → 2026-01-01T00:01:15Z (+15s)
gone     episode  floor main/USDT  warning  from 2026-01-01T00:01:30Z to (still firing)
gone     message  desk: firing of floor main/USDT  warning  at 2026-01-01T00:01:30Z

2026-01-01T00:00:00Z to 2026-01-01T00:01:30Z (1m30s): 7 snapshots and 0 failed polls of 1 account

RULE   EPISODES                     FIRING  MESSAGES  PER WEEK  AT NIGHT
floor     2 → 1  45s (50.0%) → 30s (33.3%)     3 → 2         -     3 → 2

RECEIVER  MESSAGES  PER WEEK  AT NIGHT
desk         3 → 2         -     3 → 2

episodes: 0 new, 1 gone, 1 moved, 0 changed
messages: 0 new, 1 gone, 2 moved, 0 changed
""".splitlines()
    )
