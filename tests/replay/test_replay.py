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

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.engine.feeds import Scope
from alerting.engine.model import Direction
from alerting.engine.rules import Flapping
from alerting.errors import UsageError
from alerting.replay.replay import Options, replay, zone_of
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
from tests.support.paths import ROOT
from tests.support.replays import (
    STEP,
    floor,
    polls,
    recorded,
    run_json,
    series,
)

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
        pytest.param(["good.jsonl", "--from", "soon"], 2, "--from 'soon' is not", id="from"),
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
