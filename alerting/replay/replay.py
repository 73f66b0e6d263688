"""`replay`: recorded polls through the engine on a simulated clock, and what would have been sent.

With two rule sets, what differs between them. All of it streams: a line is printed when it is
known, and nothing is kept that is over.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from alerting.engine.evaluation import Evaluation
from alerting.engine.identity import short_id
from alerting.engine.model import Item, Notification, Poll, Transition
from alerting.engine.rules import Ruleset
from alerting.engine.simulation import Simulation
from alerting.errors import UsageError
from alerting.replay import report
from alerting.replay.comparison import Comparison, Difference, Evaluated, Event, Sent
from alerting.replay.recording import OpenRecording, open_recording, read_records
from alerting.replay.tally import Tally
from alerting.terminal import Paint
from alerting.units import plain, rfc3339

# Below this the bar would be gone before anybody saw it.
_LONG_FILE = 4 * 1024 * 1024
_REDRAW_SECONDS = 0.1
_BAR_WIDTH = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What `replay` was asked for."""

    #: `-` is standard input
    file: str
    json: bool = False
    #: the first instant that counts, and the first that does not any more
    since: datetime | None = None
    until: datetime | None = None
    #: for "at night"
    zone: tzinfo = UTC


def zone_of(name: str) -> tzinfo:
    """An IANA time zone; UsageError for any other name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        allowed = "write a name such as Asia/Kolkata, Europe/Berlin or UTC"
        raise UsageError(f"--timezone {name!r} is no known time zone; {allowed}") from None


def replay(
    ruleset: Ruleset, options: Options, *, against: Ruleset | None = None, out: TextIO | None = None
) -> None:
    """Print what the rules make of the recording, or how that differs from `against`."""
    out = out or sys.stdout
    if isinstance(out, io.TextIOWrapper):
        # a terminal that cannot show a sign is no reason to stop
        out.reconfigure(errors="backslashreplace")
    paint = Paint.ON if out.isatty() else Paint.OFF
    with open_recording(options.file) as recording:
        bar = ProgressBar(sys.stderr, recording)
        read = read_records(recording.lines, file=options.file)
        records = _within(bar.watch(read), options)
        if against is None:
            lines = _replayed(ruleset, records, options, paint)
        else:
            lines = _compared(against, ruleset, records, options, paint)
        try:
            for line in lines:
                bar.clear()
                out.write(line + "\n")
        finally:
            bar.clear()
            out.flush()


def _within(records: Iterable[Poll], options: Options) -> Iterator[Poll]:
    for record in records:
        if options.until is not None and record.at >= options.until:
            return
        if options.since is None or record.at >= options.since:
            yield record


def _replayed(
    ruleset: Ruleset, records: Iterable[Poll], options: Options, paint: Paint
) -> Iterator[str]:
    tally = Tally(ruleset, options.zone)
    lines = report.StepLines(ruleset, paint)
    show = _json_lines if options.json else lines.of
    for turn in _turns(Simulation(ruleset), tally, records):
        if turn.evaluation.transitions or turn.evaluation.notifications:
            yield from show(turn.evaluation)
    if not options.json:
        yield from report.summary([tally], paint)


def _compared(
    old: Ruleset, new: Ruleset, records: Iterable[Poll], options: Options, paint: Paint
) -> Iterator[str]:
    tallies = [Tally(old, options.zone), Tally(new, options.zone)]
    counts = report.DifferenceCounts()
    for difference in _differences([old, new], tallies, records):
        counts.add(difference)
        if options.json:
            yield _difference_json(difference)
        else:
            yield report.difference_line(difference, paint)
    if not options.json:
        yield from report.summary(tallies, paint)
        yield from counts.lines()


def _turns(simulation: Simulation, tally: Tally, records: Iterable[Poll]) -> Iterator[Evaluated]:
    for record in records:
        evaluation = simulation.feed(record.outcome, at=record.at)
        opened, closed = tally.take(evaluation, record.outcome)
        yield Evaluated(evaluation=evaluation, opened=opened, closed=closed)


def _differences(
    rulesets: list[Ruleset], tallies: list[Tally], records: Iterable[Poll]
) -> Iterator[Difference]:
    comparison = Comparison()
    simulations = [Simulation(ruleset) for ruleset in rulesets]
    at: datetime | None = None
    for record in records:
        at = record.at
        turns: list[Evaluated] = []
        for simulation, tally in zip(simulations, tallies, strict=True):
            turns += _turns(simulation, tally, [record])
        yield from comparison.take(turns[0], turns[1])
    if at is not None:
        yield from comparison.finish(at)


# ── JSON ────────────────────────────────────────────────────────────────────


def _json_lines(evaluation: Evaluation) -> Iterator[str]:
    at = rfc3339(evaluation.at)
    for change in evaluation.transitions:
        yield json.dumps({"at": at, "transition": _transition_json(change)})
    for notification in evaluation.notifications:
        yield json.dumps({"at": at, "notification": _notification_json(notification)})


def _transition_json(change: Transition) -> dict[str, Any]:
    return {
        "rule": change.rule,
        "labels": dict(change.labels),
        "severity": change.severity.value,
        "from": change.source.value,
        "to": change.target.value,
        "value": None if change.value is None else plain(change.value),
        "reason": change.reason.value,
    }


def _notification_json(notification: Notification) -> dict[str, Any]:
    return {
        "receiver": notification.receiver,
        "reason": notification.reason.value,
        "account": notification.account,
        "alerts": [_item_json(item) for item in notification.items],
    }


def _item_json(item: Item) -> dict[str, Any]:
    return {
        "id": item.alert.id,
        "rule": item.alert.rule,
        "labels": item.alert.shown_labels,
        "severity": item.severity.value,
        "reason": item.reason.value,
    }


def _difference_json(difference: Difference) -> str:
    old, new, either = difference.old, difference.new, difference.either
    kind = "episode"
    subject: dict[str, Any] = {
        "id": short_id(either.fingerprint),
        "rule": either.rule,
        "labels": dict(either.labels),
    }
    if isinstance(either, Sent):
        kind = "message"
        subject |= {"receiver": either.receiver, "reason": either.reason.value}
    sides = {"old": old and _side_json(old), "new": new and _side_json(new)}
    document = {"change": difference.change.value, **subject, **sides}
    return json.dumps({"at": rfc3339(difference.at), kind: document})


def _side_json(side: Event) -> dict[str, Any]:
    if isinstance(side, Sent):
        return {"at": rfc3339(side.at), "severity": side.severity.value}
    return {
        "fired_at": rfc3339(side.fired_at),
        "resolved_at": rfc3339(side.resolved_at) if side.resolved_at else None,
        "severity": side.severity.value,
    }


# ── progress ────────────────────────────────────────────────────────────────


class ProgressBar:
    """How much of a long file is read, on a terminal; at most ten times a second."""

    def __init__(self, stream: TextIO, recording: OpenRecording) -> None:
        self._stream = stream
        self._recording = recording
        self._on = stream.isatty() and (recording.size or 0) >= _LONG_FILE
        self._drawn = False
        self._due = 0.0

    def watch(self, records: Iterable[Poll]) -> Iterator[Poll]:
        """The records, while the bar moves."""
        for record in records:
            if self._on and time.monotonic() >= self._due:
                self._draw(record.at)
            yield record

    def clear(self) -> None:
        """Take the bar away, before anything else is printed."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False

    def _draw(self, at: datetime) -> None:
        share = min(1.0, self._recording.position() / (self._recording.size or 1))
        filled = round(share * _BAR_WIDTH)
        bar = "#" * filled + "." * (_BAR_WIDTH - filled)
        self._stream.write(f"\r\x1b[K[{bar}] {share:4.0%}  {at:%Y-%m-%d %H:%M}")
        self._stream.flush()
        self._drawn = True
        self._due = time.monotonic() + _REDRAW_SECONDS
