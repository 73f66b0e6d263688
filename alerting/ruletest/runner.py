"""`test`: the cases of test files through the engine, and what was found instead of the expected.

The engine is the one that `run` uses; only the clock and the receivers are simulated.
"""

from __future__ import annotations

import decimal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree as ET

from alerting.engine import samples as metrics
from alerting.engine.feeds import Scope
from alerting.engine.model import Item, Notification, PollFailure, Severity, Snapshot, State
from alerting.engine.rules import Rule, Ruleset
from alerting.engine.simulation import Simulation
from alerting.errors import ConfigError, UsageError
from alerting.ruletest.testfile import (
    Case,
    Cell,
    Expectation,
    Gap,
    RuleTests,
    SilenceExpected,
    StateExpected,
    ToldExpected,
    Track,
    load_tests,
)
from alerting.units import EXACT, format_duration, plain

_RANKS = {State.INACTIVE: 0, State.PENDING: 1, State.FIRING: 2}
# A quotient without end has about 100 digits; amounts have at most 30 places.
_MOST_PLACES = 30
# A timeline shows so many lines before and after the first difference.
_MOST_ROWS = 30
_MOST_INSTANTS = 5


# ── one case ────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertState:
    """One alert as it stood after one evaluation."""

    rule: str
    labels: Mapping[str, str]
    state: State
    severity: Severity | None = None
    value: Decimal | None = None
    #: the rule's condition is false, which keeps it inactive
    excused: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluatedStep:
    """One evaluation; alerts that are inactive are not in it."""

    at: timedelta
    alerts: tuple[AlertState, ...]
    sent: tuple[Notification, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """An expectation that does not hold."""

    expectation: Expectation
    #: what was found instead
    found: str
    #: index of the moment that shows it; after the last one, how many there are
    moment: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One case that was run."""

    case: Case
    moments: tuple[EvaluatedStep, ...]
    #: in the file's order
    differences: tuple[Difference, ...]


def run_case(case: Case, ruleset: Ruleset) -> Result:
    """One case, from its first step to its last."""
    simulation = Simulation(ruleset)
    moments: list[EvaluatedStep] = []
    for index in range(case.steps):
        at = index * case.interval
        step = simulation.feed(case.outcome(index), at=case.start + at)
        alerts = tuple(
            AlertState(
                rule=alert.rule,
                labels=alert.labels,
                state=alert.state,
                severity=alert.severity,
                value=alert.value,
            )
            for alert in step.memory.alerts.values()
            if alert.state is not State.INACTIVE
        )
        moments.append(EvaluatedStep(at=at, alerts=alerts, sent=step.notifications))
    judge = _Judge(case=case, ruleset=ruleset, moments=moments)
    found = [judge.difference(each) for each in case.expectations]
    return Result(
        case=case, moments=tuple(moments), differences=tuple(each for each in found if each)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Judge:
    """Compares what is expected with what is there."""

    case: Case
    ruleset: Ruleset
    moments: Sequence[EvaluatedStep]

    def difference(self, expected: Expectation) -> Difference | None:
        """None if the expectation holds."""
        if isinstance(expected, StateExpected):
            return self._state(expected)
        if isinstance(expected, ToldExpected):
            return self._told(expected)
        if isinstance(expected, SilenceExpected):
            return self._silence(expected)
        raise TypeError(expected)

    def _state(self, expected: StateExpected) -> Difference | None:
        step = min(expected.at // self.case.interval, len(self.moments) - 1)
        alerts = [
            each
            for each in self.moments[step].alerts
            if _is_about(expected, each.rule, each.labels)
        ]
        worst = max((_rank(each) for each in alerts), default=None)
        alerts = [each for each in alerts if _rank(each) == worst]
        if any(_holds(expected, each) for each in alerts):
            return None
        if not alerts and expected.state is State.INACTIVE:
            return None
        alerts = alerts or _quiet(self.case, self.ruleset, step, about=[expected])
        text = "; ".join(state_text(each) for each in alerts) or "inactive"
        return Difference(expectation=expected, found=text, moment=step)

    def _told(self, expected: ToldExpected) -> Difference | None:
        step = expected.at // self.case.interval
        if step >= len(self.moments):
            last = format_duration(self.moments[-1].at)
            found = f"nothing is polled after {last}, so nothing is sent"
            return Difference(expectation=expected, found=found, moment=len(self.moments))
        if any(_is_told(expected, each) for each in self.moments[step].sent):
            return None
        found = self._instead(expected.receiver, self.moments[step])
        return Difference(expectation=expected, found=found, moment=step)

    def _instead(self, receiver: str, then: EvaluatedStep) -> str:
        """What the receiver is told then, or else when it is told anything."""
        messages = [each for each in then.sent if each.receiver == receiver]
        if messages:
            return "; ".join(told_text(each) for each in messages)
        instants = [
            format_duration(moment.at)
            for moment in self.moments
            for each in moment.sent
            if each.receiver == receiver
        ]
        if not instants:
            return f"{receiver} is told nothing in this test"
        left = len(instants) - _MOST_INSTANTS
        more = f" and {left} more" if left > 0 else ""
        told = ", ".join(instants[:_MOST_INSTANTS])
        return f"{receiver} is told nothing then; it is told at {told}{more}"

    def _silence(self, expected: SilenceExpected) -> Difference | None:
        last = expected.at // self.case.interval
        first = last
        if expected.since is not None:
            # rounded up: the first step at `since` or after it
            first = -(-expected.since // self.case.interval)
        for step in range(first, min(last + 1, len(self.moments))):
            for each in self.moments[step].sent:
                if _is_told(expected, each):
                    at = format_duration(self.moments[step].at)
                    found = f"at {at} {told_text(each)}"
                    return Difference(expectation=expected, found=found, moment=step)
        return None


def _is_about(expected: Expectation, rule: str, labels: Mapping[str, str]) -> bool:
    return rule == expected.alert and expected.labels.items() <= labels.items()


def _rank(standing: AlertState) -> tuple[int, int]:
    return _RANKS[standing.state], standing.severity.rank if standing.severity else 0


def _holds(expected: StateExpected, standing: AlertState) -> bool:
    return (
        standing.state is expected.state
        and expected.severity in {None, standing.severity}
        and (expected.value is None or _is_value(expected.value, standing.value))
    )


def _is_value(expected: Decimal, found: Decimal | None) -> bool:
    """Equal; a quotient without end need only agree in the digits that are written."""
    if found is None or _places(found) <= _MOST_PLACES:
        return expected == found
    return expected == found.quantize(Decimal(1).scaleb(-_places(expected)), context=EXACT)


def _places(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _is_told(expected: ToldExpected | SilenceExpected, message: Notification) -> bool:
    if message.receiver != expected.receiver:
        return False
    if expected.alert is None:
        reasons, severities = {None, message.reason}, {None, message.severity}
        return expected.reason in reasons and expected.severity in severities
    return any(
        _is_about(expected, item.alert.rule, item.alert.labels)
        and expected.reason in {None, item.reason}
        and expected.severity in {None, item.severity}
        for item in message.items
    )


def _quiet(
    case: Case, ruleset: Ruleset, step: int, *, about: Iterable[Expectation]
) -> list[AlertState]:
    """The alerts that expectations name as if inactive, with the values that their rules have."""
    outcome = case.outcome(step)
    if isinstance(outcome, PollFailure):
        return []
    return [
        standing
        for rule in ruleset.rules
        for standing in _judged(rule, outcome)
        if any(_is_about(each, rule.name, standing.labels) for each in about)
    ]


def _judged(rule: Rule, snapshot: Snapshot) -> Iterator[AlertState]:
    if rule.scope is Scope.ACCOUNT or not rule.accounts.matches(snapshot.account):
        return
    with decimal.localcontext(EXACT):
        for sample in metrics.samples(snapshot, rule.scope):
            if not rule.base_assets.matches(sample.labels["base_asset"]):
                continue
            if "symbol" in sample.labels and not rule.symbols.matches(sample.labels["symbol"]):
                continue
            value = rule.value.evaluate(sample.values)
            yield AlertState(
                rule=rule.name,
                labels=sample.labels,
                state=State.INACTIVE,
                value=value if isinstance(value, Decimal) else None,
                excused=rule.when is not None and rule.when.evaluate(sample.values) is False,
            )


# ── words ───────────────────────────────────────────────────────────────────


def state_text(standing: AlertState) -> str:
    """`floor USDT is firing, warning, value 900`."""
    severity = f", {standing.severity.value}" if standing.severity else ""
    value = "" if standing.value is None else f", value {plain(standing.value)}"
    excused = ", `when` is false" if standing.excused else ""
    subject = _subject(standing.rule, standing.labels)
    return f"{subject} is {standing.state.value}{severity}{value}{excused}"


def told_text(message: Notification) -> str:
    """`desk is told: firing, floor USDT, warning`."""
    items = "; ".join(_item_text(each) for each in message.items)
    return f"{message.receiver} is told: {items}"


def _item_text(item: Item) -> str:
    flapping = ", flapping" if item.flapping else ""
    subject = _subject(item.alert.rule, item.alert.labels)
    return f"{item.reason.value}, {subject}, {item.severity.value}{flapping}"


def _subject(rule: str, labels: Mapping[str, str]) -> str:
    """The rule, and the label that tells its alerts apart."""
    for name in ("symbol", "undefined_rule", "base_asset"):
        if name in labels:
            return f"{rule} {labels[name]}"
    return rule


def expected_text(expected: Expectation) -> str:
    """The expectation, in the words of the file."""
    words: dict[str, object] = {"at": format_duration(expected.at)}
    if isinstance(expected, ToldExpected):
        words["notified"] = expected.receiver
    if isinstance(expected, SilenceExpected):
        words["not_notified"] = expected.receiver
        words["since"] = None if expected.since is None else format_duration(expected.since)
    if isinstance(expected, ToldExpected | SilenceExpected):
        words["reason"] = expected.reason and expected.reason.value
    words["alert"] = expected.alert
    words |= expected.labels
    if isinstance(expected, StateExpected):
        words["state"] = expected.state.value
        words["value"] = None if expected.value is None else plain(expected.value)
    words["severity"] = expected.severity and expected.severity.value
    return ", ".join(f"{name}: {word}" for name, word in words.items() if word is not None)


def visible(text: str) -> str:
    """`text` with every character escaped that a terminal or XML would not show."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in text
    )


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
    teller = TimelineWriter(
        case=result.case,
        ruleset=ruleset,
        about=about,
        moving=[(name, track) for name, track in result.case.tracks() if _moves(track)],
    )
    rows = _shortened(_rows(result, teller))
    fixed = [
        f"{name} {_cell(track.rest)}" for name, track in result.case.tracks() if not _moves(track)
    ]
    if fixed:
        rows.insert(0, _Row(label="throughout", lines=(", ".join(fixed),)))
    width = max(len(row.label) for row in rows)
    return [line for row in rows for line in _row_lines(row, width)]


def _rows(result: Result, teller: TimelineWriter) -> list[_Row]:
    """One for each stretch of equal steps, and one for the time after the last step."""
    marked = min((each.moment for each in result.differences), default=None)
    moments = result.moments
    bodies = [teller.lines(step, moment) for step, moment in enumerate(moments)]
    rows = []
    first = 0
    for step, body in enumerate(bodies):
        same_again = bodies[step + 1 : step + 2] == [body] and not moments[step].sent
        if same_again and marked not in {step, step + 1}:
            continue
        span = [format_duration(moments[each].at) for each in sorted({first, step})]
        rows.append(_Row(label=" … ".join(span), lines=body, marked=marked == step))
        first = step + 1
    if any(each.at > moments[-1].at for each in teller.about):
        label = f"after {format_duration(moments[-1].at)}"
        marked_end = marked == len(moments)
        rows.append(_Row(label=label, lines=("nothing is polled",), marked=marked_end))
    return rows


@dataclass(frozen=True, kw_only=True, slots=True)
class TimelineWriter:
    """Says what a step was like."""

    case: Case
    ruleset: Ruleset
    #: their alerts are told of even where they are inactive, and come first
    about: Sequence[Expectation]
    #: the series that have more than one value
    moving: Sequence[tuple[str, Track]]

    def lines(self, step: int, moment: EvaluatedStep) -> tuple[str, ...]:
        """The values, the alerts as they stood then, and who was told."""
        values = ", ".join(f"{name} {_cell(track.at(step))}" for name, track in self.moving)
        if isinstance(self.case.outcome(step), PollFailure):
            values = "the poll failed"
        return (
            *([values] if values else []),
            *(state_text(each) for each in self._alerts(step, moment)),
            *(told_text(each) for each in moment.sent),
        )

    def _alerts(self, step: int, moment: EvaluatedStep) -> list[AlertState]:
        """Those in question first, then the file's in its order, then the built-in ones."""
        active = [(each.rule, each.labels) for each in moment.alerts]
        quiet = _quiet(self.case, self.ruleset, step, about=self.about)
        alerts = [each for each in quiet if (each.rule, each.labels) not in active]
        first = {each.alert for each in self.about}
        places = {rule.name: place for place, rule in enumerate(self.ruleset.rules)}
        return sorted(
            (*alerts, *moment.alerts),
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


# ── whole files ─────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ran:
    """What JUnit is told of a case."""

    file: str
    name: str
    seconds: float
    #: expectations that do not hold
    differences: int
    lines: tuple[str, ...]


def run_files(
    paths: Iterable[Path], *, say: Callable[[str], None], junit: Path | None, verbose: bool
) -> bool:
    """Every case of every file, told line by line; True if all passed.

    A ConfigError has all that is wrong with all the files, before anything is run.
    """
    ran: list[_Ran] = []
    for tests in _load(paths):
        say(visible(str(tests.path)))
        for case in tests.cases:
            ran.append(_run(case, tests, verbose=verbose))
            say(f"  {'FAIL' if ran[-1].differences else 'ok  '}  {visible(case.name)}")
            for line in ran[-1].lines:
                say(f"      {line}")
    failed = sum(each.differences > 0 for each in ran)
    say(f"{len(ran) - failed} passed, {failed} failed")
    if junit is not None:
        _write_junit(junit, ran)
    return failed == 0


def _load(paths: Iterable[Path]) -> list[RuleTests]:
    loaded, problems = [], []
    for path in paths:
        try:
            loaded.append(load_tests(path))
        except ConfigError as error:
            problems += [each for each in error.problems if each not in problems]
    if problems:
        raise ConfigError(problems)
    return loaded


def _run(case: Case, tests: RuleTests, *, verbose: bool) -> _Ran:
    started = time.perf_counter()
    result = run_case(case, tests.ruleset)
    lines = []
    for each in result.differences:
        where, expected = visible(each.expectation.where), expected_text(each.expectation)
        lines.append(f"  {where}: expected {expected}")
        lines.append(f"    found: {each.found}")
    if result.differences or verbose:
        lines += timeline(result, tests.ruleset)
    return _Ran(
        file=visible(str(tests.path)),
        name=visible(case.name),
        seconds=time.perf_counter() - started,
        differences=len(result.differences),
        lines=tuple(lines),
    )


def _write_junit(path: Path, ran: Sequence[_Ran]) -> None:
    root = ET.Element("testsuites", name="alerting test")
    for file in dict.fromkeys(each.file for each in ran):
        cases = [each for each in ran if each.file == file]
        suite = ET.SubElement(root, "testsuite", {"name": file, **_figures(cases)})
        for case in cases:
            seconds = f"{case.seconds:.3f}"
            place = {"classname": file, "name": case.name, "time": seconds}
            element = ET.SubElement(suite, "testcase", place)
            if case.differences:
                plural = "" if case.differences == 1 else "s"
                message = f"{case.differences} expectation{plural} not met"
                failure = ET.SubElement(element, "failure", message=message)
                failure.text = "\n".join(case.lines)
    root.attrib |= _figures(ran)
    ET.indent(root)
    try:
        ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _figures(ran: Sequence[_Ran]) -> dict[str, str]:
    failed = sum(each.differences > 0 for each in ran)
    seconds = sum(each.seconds for each in ran)
    figures = {"tests": str(len(ran)), "failures": str(failed), "errors": "0"}
    return {**figures, "time": f"{seconds:.3f}"}
