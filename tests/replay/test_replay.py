"""`replay`: the same engine over a recording, what it prints, and what differs between two files."""

from __future__ import annotations

import gc
import gzip
import io
import json
import os
import re
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.engine.feeds import Scope
from alerting.engine.model import Direction, Poll
from alerting.engine.mute_windows import Window
from alerting.engine.rules import Flapping
from alerting.errors import UsageError
from alerting.replay.recording import OpenRecording, write_record
from alerting.replay.replay import Options, ProgressBar, replay, zone_of
from alerting.units import plain, rfc3339
from tests.support.factories import (
    CRITICAL,
    INFO,
    T0,
    WARNING,
    S,
    Simulation,
    make_failure,
    make_route,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_symbol,
    make_threshold,
    make_wallet,
)

ROOT = Path(__file__).resolve().parents[2]
STEP = 15 * S


def body_of(snapshot):
    """The answer that gives this snapshot."""
    wallets = [
        {"base_asset": w.base_asset, "balances": {k: str(v) for k, v in w.fields.items()}}
        for w in snapshot.wallets
    ]
    rows = [
        {"symbol": r.symbol, "base_asset": r.base_asset, "exchange": r.exchange}
        | {k: str(v) for k, v in r.fields.items()}
        for r in snapshot.symbols
    ]
    return json.dumps({"data": {"base_asset_balances": wallets, "asset": rows}})


def recorded(outcome, at):
    text = {"error": str(outcome)} if hasattr(outcome, "kind") else {"body": body_of(outcome)}
    return write_record(at=at, account=outcome.account, **text) + "\n"


def polls(series):
    """A poll each 15 s: an available balance, or None for a failed one."""
    for number, available in enumerate(series):
        at = T0 + number * STEP
        if available is None:
            yield make_failure(), at
        else:
            yield make_snapshot(make_wallet(available), at=at), at


def series(text):
    """`1200x2 _ 900` as a list of amounts."""
    for part in text.split():
        value, _, count = part.partition("x")
        yield from [None if value == "_" else value] * int(count or 1)


@pytest.fixture
def folder(tmp_path):
    """Where the recording goes."""
    return tmp_path


def run(folder, ruleset, text, *, against=None, **options):
    file = folder / "recording.jsonl"
    lines = text if isinstance(text, list) else [recorded(*poll) for poll in polls(series(text))]
    file.write_text("".join(lines), encoding="utf-8")
    out = io.StringIO()
    replay(ruleset, Options(file=str(file), **options), against=against, out=out)
    return out.getvalue().splitlines()


def run_json(folder, ruleset, text, **options):
    return [json.loads(line) for line in run(folder, ruleset, text, json=True, **options)]


FLOOR = make_rule(
    "floor",
    "total_available_balance",
    make_threshold(WARNING, "1000", for_=30),
    make_threshold(CRITICAL, "250"),
    labels={"topic": "money"},
)
RULES = make_ruleset(
    FLOOR,
    routes=(make_route("desk", "phone", severity="critical"), make_route("desk")),
    receivers=("desk", "phone"),
)
#: falls below 1000, then below 250, a poll fails, and it recovers
FALL = "1200x2 900x3 200 _ 1200x2"


# ── what is printed ─────────────────────────────────────────────────────────


def test_the_json_lines_are_the_contracts(folder):
    labels = {"topic": "money", "account": "main", "base_asset": "USDT"}
    alert = {"id": "hugojv6", "rule": "floor", "labels": labels}

    def transition(at, severity, source, target, value, reason):
        change = {"rule": "floor", "labels": labels, "severity": severity}
        change |= {"from": source, "to": target, "value": value, "reason": reason}
        return {"at": f"2026-01-01T00:{at}Z", "transition": change}

    def notification(at, receiver, severity, reason):
        told = {"receiver": receiver, "reason": reason, "account": "main"}
        told["alerts"] = [alert | {"severity": severity, "reason": reason}]
        return {"at": f"2026-01-01T00:{at}Z", "notification": told}

    assert run_json(folder, RULES, FALL) == [
        transition("00:30", "warning", "inactive", "pending", "900", "breach"),
        transition("01:00", "warning", "pending", "firing", "900", "breach held"),
        notification("01:00", "desk", "warning", "firing"),
        transition("01:15", "critical", "inactive", "firing", "200", "breach"),
        notification("01:15", "desk", "critical", "escalated"),
        notification("01:15", "phone", "critical", "firing"),
        transition("01:45", "warning", "firing", "resolved", "1200", "clear"),
        transition("01:45", "critical", "firing", "resolved", "1200", "clear"),
        notification("01:45", "desk", "critical", "resolved"),
        notification("01:45", "phone", "critical", "resolved"),
    ]


def test_the_text_is_readable_at_a_glance(folder):
    assert (
        run(folder, RULES, FALL)
        == """\
2026-01-01T00:00:30Z  inactive → pending  warning   floor             main/USDT  900 < 1000  breach
2026-01-01T00:01:00Z  pending → firing    warning   floor             main/USDT  900 < 1000  breach held
2026-01-01T00:01:00Z  => desk: firing     warning floor main/USDT hugojv6
2026-01-01T00:01:15Z  inactive → firing   critical  floor             main/USDT  200 < 250  breach
2026-01-01T00:01:15Z  => desk: escalated  critical floor main/USDT hugojv6
2026-01-01T00:01:15Z  => phone: firing    critical floor main/USDT hugojv6
2026-01-01T00:01:45Z  firing → resolved   warning   floor             main/USDT  1200  clear
2026-01-01T00:01:45Z  firing → resolved   critical  floor             main/USDT  1200  clear
2026-01-01T00:01:45Z  => desk: resolved   critical floor main/USDT hugojv6
2026-01-01T00:01:45Z  => phone: resolved  critical floor main/USDT hugojv6

2026-01-01T00:00:00Z to 2026-01-01T00:02:00Z (2m): 8 snapshots and 1 failed poll of 1 account

RULE   EPISODES       FIRING  MESSAGES  PER WEEK  AT NIGHT
floor         1  45s (37.5%)         5         -         5

RECEIVER  MESSAGES  PER WEEK  AT NIGHT
desk             3         -         3
phone            2         -         2
""".splitlines()
    )


def test_a_terminal_gets_colours():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        line = "".join(recorded(*poll) for poll in polls(series("100")))
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line.encode())))
        replay(RULES, Options(file="-"), out=out)

    assert "\x1b[31;1minactive → firing   critical\x1b[0m  floor" in out.getvalue()


def test_without_a_file_to_write_to_it_is_standard_output(folder, capsys):
    (folder / "f").write_text("")
    replay(RULES, Options(file=str(folder / "f")))

    assert capsys.readouterr().out.startswith("no polls")


def test_many_alerts_in_one_message_are_counted(folder):
    rows = [make_symbol(f"{name}USDT", "900") for name in "ABCDE"]
    rule = make_rule("big", "blocked_balance", scope=Scope.SYMBOL, direction=Direction.ABOVE)
    snapshot = make_snapshot(make_wallet("9000", position="4500"), symbols=rows)

    lines = run(folder, make_ruleset(rule), [recorded(snapshot, T0)])

    [told] = [line for line in lines if "=>" in line]
    assert told.count("warning big main/USDT/") == 3
    assert told.endswith(", and 2 more")


def test_an_empty_recording_says_so(folder):
    assert run(folder, RULES, []) == ["no polls in this recording, or none within --from and --to"]
    assert run(folder, RULES, [], against=RULES)[0].startswith("no polls in this recording")
    assert run(folder, RULES, [], json=True) == []


def test_limits_take_the_first_instant_and_leave_the_last(folder):
    found = run_json(folder, RULES, FALL, since=T0 + 75 * S, until=T0 + 105 * S)

    assert {line["at"] for line in found} == {"2026-01-01T00:01:15Z"}


def test_after_the_upper_limit_nothing_is_read(folder):
    lines = [recorded(*poll) for poll in polls(["1", "1"])] + ["rubbish\n"]

    assert run_json(folder, RULES, lines, until=T0 + STEP)


def test_an_account_that_the_rules_file_does_not_name_is_judged_too(folder):
    snapshot = make_snapshot(make_wallet("100"), account="other")

    lines = run_json(folder, RULES, [recorded(snapshot, T0)])

    assert {line["transition"]["labels"]["account"] for line in lines if "transition" in line} == {
        "other"
    }


# ── the same engine ─────────────────────────────────────────────────────────

ANY_RULES = make_ruleset(
    make_rule(
        "floor",
        "total_available_balance",
        make_threshold(INFO, "950", clear="1000", for_=15),
        make_threshold(CRITICAL, "300", clear="400", keep=30),
    ),
    make_rule(
        "share",
        "blocked_balance / total_available_balance",
        scope=Scope.SYMBOL,
        direction=Direction.ABOVE,
        labels={"topic": "x"},
    ),
    make_rule(
        "polls",
        "poll_failures",
        make_threshold(WARNING, "1"),
        scope=Scope.ACCOUNT,
        direction=Direction.ABOVE,
    ),
    routes=(
        make_route("desk", "phone", severity="critical", repeat=30),
        make_route("desk", repeat=60),
    ),
    receivers={"desk": True, "phone": False},
    blind_after=45,
    flapping=Flapping(changes=4, within=timedelta(minutes=3)),
)


@st.composite
def recordings(draw):
    found, at = [], T0
    for _ in range(draw(st.integers(1, 25))):
        at += draw(st.sampled_from([S, STEP, STEP, STEP, 60 * S]))
        if draw(st.integers(0, 5)) == 0:
            found.append((make_failure(), at))
            continue
        amounts = st.sampled_from(
            ["0", "100", "299.99999999", "300", "350", "400", "949.9", "1000"]
        )
        wallet = make_wallet(draw(amounts), position="200")
        if draw(st.integers(0, 7)) == 0:
            wallet = make_wallet("500", position="200", total_balance="9")
        symbols = [make_symbol(blocked=draw(amounts))] if draw(st.booleans()) else []
        found.append((make_snapshot(wallet, symbols=symbols, at=at), at))
    return found


def expected_lines(ruleset, found):
    """What the tests' own simulation gives, as the contract writes it."""
    simulation = Simulation(ruleset)
    for outcome, at in found:
        step = simulation.see(outcome, at)
        for t in step.transitions:
            yield {
                "at": rfc3339(at),
                "transition": {
                    "rule": t.rule,
                    "labels": dict(t.labels),
                    "severity": t.severity.value,
                    "from": t.source.value,
                    "to": t.target.value,
                    "value": None if t.value is None else plain(t.value),
                    "reason": t.reason.value,
                },
            }
        for n in step.notifications:
            alerts = [
                {
                    "id": i.alert.id,
                    "rule": i.alert.rule,
                    "labels": {**i.alert.extra_labels, **i.alert.labels},
                    "severity": i.severity.value,
                    "reason": i.reason.value,
                }
                for i in n.items
            ]
            told = {"receiver": n.receiver, "reason": n.reason.value, "account": n.account}
            yield {"at": rfc3339(at), "notification": told | {"alerts": alerts}}


@settings(max_examples=60, deadline=None)
@given(found=recordings())
def test_a_replay_gives_what_the_live_engine_gave(found, tmp_path_factory):
    lines = [recorded(*poll) for poll in found]

    assert run_json(tmp_path_factory.mktemp("r"), ANY_RULES, lines) == list(
        expected_lines(ANY_RULES, found)
    )


@settings(max_examples=40, deadline=None)
@given(found=recordings())
def test_rules_against_themselves_never_differ(found, tmp_path_factory):
    lines = [recorded(*poll) for poll in found]

    assert run_json(tmp_path_factory.mktemp("r"), ANY_RULES, lines, against=ANY_RULES) == []


@settings(max_examples=60, deadline=None)
@given(found=recordings())
def test_differences_and_one_side_make_up_the_other_side(found, tmp_path_factory):
    """Old messages, less those gone and with those moved, plus the new ones: the new messages."""
    folder = tmp_path_factory.mktemp("r")
    lines = [recorded(*poll) for poll in found]
    slower = replace(
        ANY_RULES,
        rules=(
            make_rule("floor", "total_available_balance", make_threshold(WARNING, "400", for_=30)),
            *ANY_RULES.rules[1:2],
        ),
    )

    def sent(ruleset):
        return sorted(
            (line["at"], told["receiver"], alert["reason"], alert["id"])
            for line in run_json(folder, ruleset, lines)
            for told in [line.get("notification", {"alerts": []})]
            for alert in told["alerts"]
        )

    old, new = sent(ANY_RULES), sent(slower)
    for line in run_json(folder, slower, lines, against=ANY_RULES):
        if m := line.get("message"):
            key = (m["receiver"], m["reason"], m["id"])
            if m["old"]:
                old.remove((m["old"]["at"], *key))
            if m["new"]:
                old.append((m["new"]["at"], *key))
    assert sorted(old) == new


# ── two files compared ──────────────────────────────────────────────────────


def floor(threshold="1000", *, for_=0, keep=0, severity=WARNING, repeat=3600, **route):
    level = make_threshold(severity, threshold, for_=for_, keep=keep)
    rule = make_rule("floor", "total_available_balance", level)
    return make_ruleset(rule, routes=(make_route("desk", repeat=repeat, **route),))


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


# ── figures ─────────────────────────────────────────────────────────────────


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


# ── progress ────────────────────────────────────────────────────────────────


class Terminal(io.StringIO):
    def isatty(self):
        return True


def watch(stream, size):
    recording = OpenRecording(lines=iter(()), position=lambda: size // 4, size=size)
    bar = ProgressBar(stream, recording)
    records = [Poll(at=T0, account="main", outcome=make_failure()) for _ in range(1000)]
    assert list(bar.watch(records)) == records
    bar.clear()
    return stream.getvalue()


def test_a_long_file_on_a_terminal_shows_a_bar_that_goes_away():
    text = watch(Terminal(), 8 * 1024 * 1024)

    assert text.startswith("\r\x1b[K[######..................]  25%  2026-01-01 00:00")
    assert text.endswith("\r\x1b[K")
    assert text.count("%") == 1  # a thousand records take less than a tenth of a second


@pytest.mark.parametrize(
    ("stream", "size"),
    [
        pytest.param(io.StringIO(), 8 * 1024 * 1024, id="no-terminal"),
        pytest.param(Terminal(), 1024, id="short"),
    ],
)
def test_nothing_is_drawn_where_nobody_needs_it(stream, size):
    assert watch(stream, size) == ""


# ── memory ──────────────────────────────────────────────────────────────────


class Collector(io.StringIO):
    """Takes each line, and lets go of what the interpreter only keeps for reuse."""

    def write(self, _line):
        gc.collect()


def peak_of(folder, count, against):
    """The most memory in use; the interpreter's own caches fill in the first run."""
    lines = [recorded(*poll) for poll in polls(["900", "1200", "1200", None] * count)]
    file = folder / "recording.jsonl"
    file.write_text("".join(lines), encoding="utf-8")
    del lines
    peaks = []
    gc.collect()
    gc.freeze()  # what was there before is not looked through each time
    try:
        for _ in range(2):
            tracemalloc.start()
            replay(floor(), Options(file=str(file), json=True), against=against, out=Collector())
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    finally:
        gc.unfreeze()
    return min(peaks)


@pytest.mark.parametrize(
    "against",
    [pytest.param(None, id="one-file"), pytest.param(floor(for_=30, keep=30), id="two-files")],
)
def test_memory_does_not_grow_with_the_length(against, folder):
    short, long = peak_of(folder, 20, against), peak_of(folder, 120, against)

    assert long < short + 15_000


# ── errors and the command line ─────────────────────────────────────────────

RULES_FILE = """\
accounts:
  main: {api_key: "${NOBODY_SETS_THIS}", secret_key_file: /none}
receivers:
  desk: {url: "${NOR_THIS}"}
routes:
  - receivers: [desk]
rules:
  - {name: floor, per: wallet, value: total_available_balance, below: 1000}
"""


@pytest.fixture
def command(tmp_path):
    (tmp_path / "rules.yaml").write_text(RULES_FILE)
    (tmp_path / "old.yaml").write_text(RULES_FILE.replace("1000", "500"))
    (tmp_path / "broken.yaml").write_text("rules: [")
    lines = [recorded(*poll) for poll in polls(series("1200 900x3 1200"))]
    (tmp_path / "good.jsonl").write_text("".join(lines))
    (tmp_path / "bad.jsonl").write_text(lines[0] + '{"at": "today"}\n')

    def call(*args, **options):
        environ = {**os.environ, "PYTHONPATH": str(ROOT)} | options.pop("environ", {})
        return subprocess.run(
            [sys.executable, "-m", "alerting", "replay", *args],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            timeout=60,
            check=False,
            **options,
        )

    return call


def test_the_command_needs_no_secrets_and_no_state(command, tmp_path):
    done = command("good.jsonl", "--json")

    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, b"")
    assert [next(iter(line.keys() - {"at"})) for line in lines] == [
        "transition",
        "notification",
        "transition",
        "notification",
    ]
    assert not list(tmp_path.glob("*.db*"))


def test_the_command_reads_standard_input_and_packed_files(command, tmp_path):
    raw = (tmp_path / "good.jsonl").read_bytes()
    (tmp_path / "good.jsonl.gz").write_bytes(gzip.compress(raw))
    plain_out = command("good.jsonl", "--json").stdout

    assert command("-", "--json", input=raw).stdout == plain_out
    assert command("good.jsonl.gz", "--json").stdout == plain_out != b""


def test_the_command_compares_and_limits(command):
    limits = ("--from", "2026-01-01T00:00:15Z", "--to", "2026-01-01T00:01:00Z")
    done = command("good.jsonl", "--against", "old.yaml", *limits)

    assert done.returncode == 0
    assert "to 2026-01-01T00:00:45Z (30s): 3 snapshots" in done.stdout.decode()
    assert "episodes: 1 new, 0 gone, 0 moved, 0 changed" in done.stdout.decode()


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        pytest.param(["bad.jsonl"], 1, "alerting: bad.jsonl:2: ", id="bad-line"),
        pytest.param(["none"], 1, "alerting: none: there is no such file", id="no-file"),
        pytest.param(["good.jsonl", "--from", "now"], 2, "--from 'now' is not", id="from"),
        pytest.param(
            ["good.jsonl", "--timezone", "Kolkata"], 2, "'Kolkata' is no known time zone", id="zone"
        ),
        pytest.param(["good.jsonl", "--against", "broken.yaml"], 2, "broken.yaml:1:", id="against"),
        pytest.param(["good.jsonl", "-c", "none.yaml"], 2, "none.yaml:1:1:", id="no-rules"),
        pytest.param([], 2, "the following arguments are required: FILE", id="no-argument"),
    ],
)
def test_what_cannot_be_done_is_said_without_a_traceback(args, code, message, command):
    done = command(*args)

    assert done.returncode == code
    assert message in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_what_stands_before_a_bad_line_is_printed(command, tmp_path):
    lines = [recorded(*poll) for poll in polls(["900"])]
    (tmp_path / "late.jsonl").write_text("".join(lines) + "rubbish\n")

    done = command("late.jsonl", "--json")

    assert (done.returncode, len(done.stdout.splitlines())) == (1, 2)


def test_a_reader_that_has_seen_enough_ends_it_quietly(tmp_path, command):
    lines = [recorded(*poll) for poll in polls(["900", "1200"] * 500)]
    (tmp_path / "long.jsonl").write_text("".join(lines))
    script = f"{sys.executable} -m alerting replay long.jsonl | head -n 1"
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert (done.stderr, len(done.stdout.splitlines())) == (b"", 1)


def test_a_terminal_without_arrows_is_no_reason_to_stop(command):
    done = command("good.jsonl", environ={"PYTHONIOENCODING": "latin-1"})

    assert done.returncode == 0
    assert b"inactive \\u2192 firing" in done.stdout


def test_an_unknown_zone_is_refused_whatever_it_looks_like():
    for name in ("../etc/passwd", "/etc/passwd", "", "Mars/Base", "Asia", "a\0b"):
        with pytest.raises(UsageError):
            zone_of(name)


# ── docs/replay.md ──────────────────────────────────────────────────────────

PAGE = ROOT / "docs" / "replay.md"
NIGHT = T0.replace(hour=21, minute=50)
HEAD = RULES_FILE[: RULES_FILE.index("rules:")]


def documented_calls():
    """Each command of the page with the output that stands under it."""
    text = PAGE.read_text(encoding="utf-8")
    for call, output in re.findall(
        r"^```console\n\$ alerting replay (.*)\n([^`]*)```$", text, re.MULTILINE
    ):
        yield pytest.param(call.split(), output, id=call)


@pytest.mark.parametrize(("args", "output"), list(documented_calls()))
def test_the_page_shows_what_the_program_prints(args, output, command, tmp_path):
    rules = re.search(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    (tmp_path / "rules.yaml").write_text(HEAD + rules)
    old = rules.replace("warning: 1000", "warning: 950")
    old = old.replace("{warning: 30s, critical: 0s}", "30s")
    (tmp_path / "old.yaml").write_text(HEAD + old)
    found = list(polls(series("1200x40 960x6 1200x20 940x4 200x4 _x2 240 400x4 1300x40")))
    lines = [recorded(outcome, at - T0 + NIGHT) for outcome, at in found]
    (tmp_path / "night.jsonl").write_text("".join(lines))
    (tmp_path / "cut.jsonl").write_text(lines[0] + lines[1][:90])

    done = command(*args)

    printed = (done.stdout + done.stderr).decode()
    if os.environ.get("ALERTING_GOLDEN") == "write":
        text = PAGE.read_text(encoding="utf-8")
        call = f"$ alerting replay {' '.join(args)}\n"
        PAGE.write_text(text.replace(f"{call}{output}```", f"{call}{printed}```"), encoding="utf-8")
    else:
        assert printed == output
