"""`replay`: recorded polls through the engine on a simulated clock, and what would have been sent.

With two rule sets, what differs between them. Polls stream: one is read, judged and let go.
"""

from __future__ import annotations

import io
import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from alerting.display import PLAIN, Display
from alerting.engine.evaluation import Evaluation
from alerting.engine.identity import short_id
from alerting.engine.model import Item, Notification, Transition
from alerting.engine.rules import Ruleset
from alerting.engine.simulation import Simulation
from alerting.engine.snapshot import Poll
from alerting.errors import UsageError
from alerting.replay import report
from alerting.replay.comparison import Comparison, Difference, Evaluated, Event, Sent
from alerting.replay.recording import RecordingError, open_recording, read_records
from alerting.replay.tally import Tally
from alerting.terminal import Paint, ProgressBar
from alerting.units import plain, rfc3339

#: a run reads each of its feeds for the first time within so long
_START = timedelta(minutes=2)


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
    #: how numbers are shown to people
    display: Display = PLAIN


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
        bar = ProgressBar(sys.stderr, position=recording.position, size=recording.size)
        polls = _within(read_records(recording.lines, file=options.file), options, bar)
        if against is None:
            lines = _replayed(ruleset, polls, options, paint)
        else:
            lines = _compared(against, ruleset, polls, options, paint)
        try:
            for line in lines:
                bar.clear()
                out.write(line + "\n")
        finally:
            bar.clear()
            out.flush()


def _within(polls: Iterable[Poll], options: Options, bar: ProgressBar) -> Iterator[Poll]:
    for poll in polls:
        bar.show(poll.at)
        if options.until is not None and poll.at >= options.until:
            return
        if options.since is None or poll.at >= options.since:
            yield poll


def _begun(polls: Iterator[Poll], simulations: Iterable[Simulation]) -> Iterator[Poll]:
    """The same polls; before the first, the simulations know the feeds that are being read.

    So does a run: a feed that fails from the start on is blind by the start, not by its first poll.
    """
    first: deque[Poll] = deque()
    broken: RecordingError | None = None
    try:
        for poll in polls:
            first.append(poll)
            if poll.at - first[0].at > _START:
                break
    except RecordingError as error:
        broken = error
    for account, feed in {(poll.account, poll.feed) for poll in first}:
        for simulation in simulations:
            simulation.expect(account, feed)
    while first:
        yield first.popleft()  # and let go
    if broken is not None:
        raise broken
    yield from polls


def _replayed(
    ruleset: Ruleset, polls: Iterator[Poll], options: Options, paint: Paint
) -> Iterator[str]:
    tally = Tally(ruleset, options.zone)
    lines = report.StepLines(ruleset, paint, options.display)
    show = _json_lines if options.json else lines.of
    simulation = Simulation(ruleset)
    for poll in _begun(polls, [simulation]):
        evaluation = _evaluated(simulation, tally, poll).evaluation
        if evaluation.transitions or evaluation.notifications:
            yield from show(evaluation)
    if not options.json:
        yield from report.summary([tally], paint)


def _compared(
    old: Ruleset, new: Ruleset, polls: Iterator[Poll], options: Options, paint: Paint
) -> Iterator[str]:
    tallies = [Tally(old, options.zone), Tally(new, options.zone)]
    counts = report.DifferenceCounts()
    for difference in _differences([old, new], tallies, polls):
        counts.add(difference)
        if options.json:
            yield _difference_json(difference)
        else:
            yield report.difference_line(difference, paint)
    if not options.json:
        yield from report.summary(tallies, paint)
        yield from counts.lines()


def _evaluated(simulation: Simulation, tally: Tally, poll: Poll) -> Evaluated:
    evaluation = simulation.feed(poll.outcome, at=poll.at)
    opened, closed = tally.take(evaluation, poll.outcome)
    return Evaluated(evaluation=evaluation, opened=opened, closed=closed)


def _differences(
    rulesets: list[Ruleset], tallies: list[Tally], polls: Iterator[Poll]
) -> Iterator[Difference]:
    comparison = Comparison()
    simulations = list(map(Simulation, rulesets))
    sides = list(zip(simulations, tallies, strict=True))
    at: datetime | None = None
    try:
        for poll in _begun(polls, simulations):
            at = poll.at
            yield from comparison.take(*(_evaluated(*side, poll) for side in sides))
    except RecordingError:
        yield from comparison.cut_off()
        raise
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
