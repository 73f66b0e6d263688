"""A test in words: its expectations, its steps, and the report for CI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from alerting.engine.rules import Ruleset
from alerting.engine.snapshot import PollFailure
from alerting.errors import UsageError
from alerting.ruletest.case import Expectation
from alerting.ruletest.differences import Comparer
from alerting.ruletest.outcome import AlertState, EvaluatedStep, Result
from alerting.ruletest.series import Cell, Gap, Track
from alerting.ruletest.words import notified_text, state_text
from alerting.terminal import count
from alerting.units import format_duration, plain

# A timeline shows so many lines before and after the first difference.
_MOST_ROWS = 30


# ── the timeline ────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """Steps in which nothing is different."""

    label: str
    lines: tuple[str, ...]
    marked: bool = False


def timeline(result: Result, ruleset: Ruleset) -> list[str]:
    """What happened step by step; equal steps are one, `>` marks the first difference."""
    about = [each.expectation for each in result.differences] or list(result.case.expectations)
    case, feeds = result.case, ruleset.feeds_of(result.case.account)
    tracks = {feed: list(case.tracks(feed)) for feed in feeds}
    writer = TimelineWriter(
        comparer=Comparer(case=case, ruleset=ruleset, steps=result.steps),
        about=about,
        moving={feed: [each for each in tracks[feed] if _moves(each[1])] for feed in feeds},
    )
    rows = _shortened(_rows(result, writer))
    fixed = [
        f"{name} {_cell(track.rest)}"
        for feed in feeds
        for name, track in tracks[feed]
        if not _moves(track)
    ]
    if fixed:
        rows.insert(0, _Row(label="throughout", lines=(", ".join(fixed),)))
    width = max(len(row.label) for row in rows)
    return [line for row in rows for line in _row_lines(row, width)]


def _rows(result: Result, writer: TimelineWriter) -> list[_Row]:
    """One for each run of equal steps, and one for the time after the last step."""
    marked = min((each.step for each in result.differences), default=None)
    steps = result.steps
    bodies = [writer.lines(index, step) for index, step in enumerate(steps)]
    rows = []
    first = 0
    for index, body in enumerate(bodies):
        same_again = bodies[index + 1 : index + 2] == [body] and not steps[index].sent
        if same_again and marked not in {index, index + 1}:
            continue
        span = [format_duration(steps[each].at) for each in sorted({first, index})]
        rows.append(_Row(label=" … ".join(span), lines=body, marked=marked == index))
        first = index + 1
    if any(each.at > steps[-1].at for each in writer.about):
        label = f"after {format_duration(steps[-1].at)}"
        marked_end = marked == len(steps)
        rows.append(_Row(label=label, lines=("nothing is polled",), marked=marked_end))
    return rows


@dataclass(frozen=True, kw_only=True, slots=True)
class TimelineWriter:
    """Says what a step was like."""

    comparer: Comparer
    #: their alerts are told of even where they are inactive, and come first
    about: Sequence[Expectation]
    #: feed -> the series that have more than one value
    moving: Mapping[str, Sequence[tuple[str, Track]]]

    def lines(self, index: int, step: EvaluatedStep) -> tuple[str, ...]:
        """The values, the alerts as they stood then, and who was told."""
        values = ", ".join(self._values(index))
        return (
            *([values] if values else []),
            *(state_text(each) for each in self._alerts(index, step)),
            *(notified_text(each) for each in step.sent),
        )

    def _values(self, index: int) -> Iterator[str]:
        case = self.comparer.case
        for feed, tracks in self.moving.items():
            if isinstance(case.outcome(index, feed), PollFailure):
                yield f"the poll of the {feed} failed" if case.positions else "the poll failed"
                continue
            for name, track in tracks:
                yield f"{name} {_cell(track.at(index))}"

    def _alerts(self, index: int, step: EvaluatedStep) -> list[AlertState]:
        """Those in question first, then the file's in its order, then the built-in ones."""
        active = [(each.rule, each.labels) for each in step.alerts]
        quiet = self.comparer.quiet(index, about=self.about)
        alerts = [each for each in quiet if (each.rule, each.labels) not in active]
        first = {each.alert for each in self.about}
        rules = self.comparer.ruleset.rules
        places = {rule.name: place for place, rule in enumerate(rules)}
        return sorted(
            (*alerts, *step.alerts),
            key=lambda each: (
                each.rule not in first,
                places.get(each.rule, len(places)),
                each.rule,
                sorted(each.labels.items()),
            ),
        )


def _shortened(rows: list[_Row]) -> list[_Row]:
    """Only what is around the mark, if there is much."""
    middle = next((index for index, row in enumerate(rows) if row.marked), 0)
    first, last = max(0, middle - _MOST_ROWS), middle + _MOST_ROWS + 1
    shown = rows[first:last]
    if first:
        shown.insert(0, _Row(label="...", lines=(f"{first} more before this",)))
    if last < len(rows):
        shown.append(_Row(label="...", lines=(f"{len(rows) - last} more after this",)))
    return shown


def _moves(track: Track) -> bool:
    return len({*track.cells, track.rest}) > 1


def _cell(cell: Cell) -> str:
    return cell.value if isinstance(cell, Gap) else plain(cell)


def _row_lines(row: _Row, width: int) -> Iterator[str]:
    for index, line in enumerate(row.lines or ("",)):
        mark, label = (">" if row.marked else " ", row.label) if index == 0 else (" ", "")
        yield f"{mark} {label:<{width}}  {line}".rstrip()


# ── JUnit ───────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseRun:
    """What JUnit is told of a case."""

    file: str
    name: str
    seconds: float
    #: expectations that do not hold
    differences: int
    lines: tuple[str, ...]


def write_junit(path: Path, ran: Sequence[CaseRun]) -> None:
    """Write the report; UsageError where that cannot be done."""
    root = ET.Element("testsuites", name="alerting test")
    for file in dict.fromkeys(each.file for each in ran):
        cases = [each for each in ran if each.file == file]
        suite = ET.SubElement(root, "testsuite", {"name": file, **_figures(cases)})
        for case in cases:
            seconds = f"{case.seconds:.3f}"
            place = {"classname": file, "name": case.name, "time": seconds}
            element = ET.SubElement(suite, "testcase", place)
            if case.differences:
                message = f"{count(case.differences, 'expectation')} not met"
                failure = ET.SubElement(element, "failure", message=message)
                failure.text = "\n".join(case.lines)
    root.attrib |= _figures(ran)
    ET.indent(root)
    try:
        ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _figures(ran: Sequence[CaseRun]) -> dict[str, str]:
    failed = sum(each.differences > 0 for each in ran)
    seconds = sum(each.seconds for each in ran)
    figures = {"tests": str(len(ran)), "failures": str(failed), "errors": "0"}
    return {**figures, "time": f"{seconds:.3f}"}
