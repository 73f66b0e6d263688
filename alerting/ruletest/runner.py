"""`test`: the cases of test files through the engine, and what was found instead of the expected.

The engine is the one that `run` uses; only the clock and the receivers are simulated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path

from alerting.engine.feeds import POSITIONS
from alerting.engine.model import Notification, State
from alerting.engine.over_time import Found
from alerting.engine.rules import Ruleset
from alerting.engine.samples import Totals, fresh_totals
from alerting.engine.simulation import Simulation
from alerting.errors import ConfigError
from alerting.redaction import visible
from alerting.ruletest.case import Case, RuleTests
from alerting.ruletest.differences import Comparer
from alerting.ruletest.outcome import AlertState, EvaluatedStep, Result
from alerting.ruletest.report import CaseRun, timeline, write_junit
from alerting.ruletest.testfile import load_tests
from alerting.ruletest.words import expected_text


def run_case(case: Case, ruleset: Ruleset) -> Result:
    """One case, from its first step to its last."""
    simulation = Simulation(ruleset)
    steps: list[EvaluatedStep] = []
    feeds = ruleset.feeds_of(case.account)
    for index in range(case.steps):
        at = index * case.interval
        now = case.start + at
        sent: list[Notification] = []
        over_time: dict[Found, Mapping[str, Decimal | None]] = {}
        for feed in feeds:
            evaluation = simulation.feed(case.outcome(index, feed), at=now)
            sent += evaluation.notifications
            over_time |= evaluation.over_time
        memory = simulation.memory(case.account)
        alerts = tuple(
            AlertState(
                rule=alert.rule,
                labels=alert.labels,
                state=alert.state,
                severity=alert.severity,
                value=alert.value,
            )
            for alert in memory.alerts.values()
            if alert.state is not State.INACTIVE
        )
        totals: Totals = {}
        if POSITIONS in feeds:
            totals = fresh_totals(memory.account, now, longest=ruleset.blind_after)
        steps.append(
            EvaluatedStep(
                at=at, alerts=alerts, sent=tuple(sent), totals=totals, over_time=over_time
            )
        )
    comparer = Comparer(case=case, ruleset=ruleset, steps=steps)
    found = [comparer.difference(each) for each in case.expectations]
    return Result(case=case, steps=tuple(steps), differences=tuple(each for each in found if each))


# ── whole files ─────────────────────────────────────────────────────────────


def run_files(
    paths: Iterable[Path], *, say: Callable[[str], None], junit: Path | None, verbose: bool
) -> bool:
    """Every case of every file, told line by line; True if all passed.

    A ConfigError has all that is wrong with all the files, before anything is run.
    """
    ran: list[CaseRun] = []
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
        write_junit(junit, ran)
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


def _run(case: Case, tests: RuleTests, *, verbose: bool) -> CaseRun:
    started = time.perf_counter()
    result = run_case(case, tests.ruleset)
    lines = []
    for each in result.differences:
        where, expected = visible(each.expectation.where), expected_text(each.expectation)
        lines.append(f"  {where}: expected {expected}")
        lines.append(f"    found: {each.found}")
    if result.differences or verbose:
        lines += timeline(result, tests.ruleset)
    return CaseRun(
        file=visible(str(tests.path)),
        name=visible(case.name),
        seconds=time.perf_counter() - started,
        differences=len(result.differences),
        lines=tuple(lines),
    )
