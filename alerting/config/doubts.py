"""What is valid in a rules file and can never do its work, or always does: warnings.

A pattern that matches nothing, a constant expression, a percentage without its sign, a route that
nothing reaches, hours in which nobody is told. Only what the file itself shows is doubted: which
assets and symbols there are is the exchange's to say, but it writes them in upper case.
"""

from __future__ import annotations

import decimal
import fnmatch
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from alerting.config.report import MOST_TOLD, Report, redacted, told
from alerting.config.values import show
from alerting.config.yaml_reader import Path
from alerting.engine.expressions import Expression
from alerting.engine.feeds import RATIOS, SCOPES
from alerting.engine.model import Severity
from alerting.engine.mute_windows import DAYS, Window
from alerting.engine.routing import is_muted
from alerting.engine.rules import (
    CONFIG_INVALID,
    DELIVERY_FAILING,
    NamePattern,
    Route,
    Rule,
    Ruleset,
)
from alerting.errors import Problem, in_order
from alerting.units import EXACT, plain

#: labels whose values the exchange names, in upper case
_UPPER = frozenset({"base_asset", "symbol", "exchange"})
# Every kind of alert is asked of every route; beyond so many questions it would take seconds.
_MOST_QUESTIONS = 100_000
_MOST_NAMES = 10
# A Monday in winter and one in summer: a window by the clock on the wall moves between them.
_MONDAYS = (datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 7, 6, tzinfo=UTC))


def doubts(ruleset: Ruleset, report: Report) -> list[Problem]:
    """All warnings about a valid file, in its order; of too many the first, and how many more."""
    with decimal.localcontext(EXACT):
        found = [
            *_of_rules(ruleset, report),
            *_of_patterns(ruleset, report),
            *_of_receivers(ruleset, report),
            *_Ways(ruleset, report).doubts(),
        ]
    found = in_order(found)
    return redacted(told(found[:MOST_TOLD], len(found[MOST_TOLD:]), "warning"))


# ── rules ───────────────────────────────────────────────────────────────────


def _of_rules(ruleset: Ruleset, report: Report) -> Iterator[Problem]:
    for index, rule in enumerate(ruleset.rules):
        path: Path = ("rules", index)
        constant = _constant(rule.value)
        if constant:
            yield report.problem((*path, "value"), f"{constant}, so the rule says nothing")
        always = _constant(rule.when) if rule.when else None
        if always:
            so = "is of no use" if always == "is always true" else "keeps the rule from firing"
            yield report.problem((*path, "when"), f"{always}, so it {so}")
        yield from _of_ratios(path, rule, report)


def _constant(expression: Expression) -> str | None:
    """How it is the same whatever is seen; None: it is not."""
    value = expression.constant()
    if value is not None:
        shown = str(value).lower() if isinstance(value, bool) else plain(value)
        return f"is always {shown}"
    return None if expression.names else "never has a value"


def _of_ratios(path: Path, rule: Rule, report: Report) -> Iterator[Problem]:
    """Shares that are held against more than the whole."""
    name = rule.value.text.strip("() \t\r\n")
    line: Path = (*path, rule.direction.value)
    for threshold in rule.thresholds if name in RATIOS else ():
        if threshold.line > 1:
            ladder = isinstance(report.raw(line), dict)
            where = (*line, threshold.severity.value) if ladder else line
            written = report.raw(where)
            percent = "" if str(written).endswith("%") else f"; for a percentage write {written}%"
            yield report.problem(where, f"{name} is a share: 1 is all of it{percent}")
    for key, expression in (("value", rule.value), ("when", rule.when)):
        for share, number, offset in expression.compared if expression else ():
            if share in RATIOS and number > 1:
                spot = report.document.character((*path, key), offset)
                text = f"{share} is a share: 1 is all of it; for {plain(number)}% write "
                text += plain(number.scaleb(-2))
                yield report.problem_at(spot, (*path, key), text)


# ── patterns ────────────────────────────────────────────────────────────────


def _of_patterns(ruleset: Ruleset, report: Report) -> Iterator[Problem]:
    if len(ruleset.rules) * len(ruleset.routes) > _MOST_QUESTIONS:
        return
    known = _known_values(ruleset)
    filters = (("accounts", "account"), ("base_assets", "base_asset"), ("symbols", "symbol"))
    for index, rule in enumerate(ruleset.rules):
        for key, label in filters:
            pattern: NamePattern = getattr(rule, key)
            values = None if label in _UPPER else ruleset.accounts
            yield from _of_pattern(("rules", index, key), label, pattern, values, report)
    for index, route in enumerate(ruleset.routes):
        for label, pattern in route.match.items():
            path: Path = ("routes", index, "match", label)
            yield from _of_pattern(path, label, pattern, known.get(label), report)


def _known_values(ruleset: Ruleset) -> Mapping[str, Collection[str]]:
    """Label -> all values that it can have in this file; none where the exchange names them."""
    # an alert that has no such label has an empty one, and all have a rule and a severity
    found: dict[str, set[str]] = defaultdict(lambda: {""})
    for rule in ruleset.rules:
        for label, text in rule.labels.items():
            found[label].add(text)
    return found | {
        "account": {"", *ruleset.accounts},
        "receiver": {"", *ruleset.receivers},
        "severity": {severity.value for severity in Severity},
        "rule": {*(rule.name for rule in ruleset.rules), *ruleset.builtin},
    }


def _of_pattern(
    path: Path,
    label: str,
    pattern: NamePattern,
    known: Collection[str] | None,
    report: Report,
) -> Iterator[Problem]:
    """`known` are the label's values; None: the exchange names them."""
    wrong = [
        (report.item(path, index), f"{show(text)} matches no {label}{why}")
        for index, text in enumerate(pattern.patterns)
        if (why := _never_matches(text.removeprefix("!"), known))
    ]
    if not wrong and known is not None and not any(map(pattern.matches, known)):
        wrong.append((path, "matches nothing: what it takes is all excluded again"))
    for where, text in wrong:
        yield report.problem(where, text)


def _never_matches(glob: str, known: Collection[str] | None) -> str | None:
    """What is told of a glob that nothing can match; None: something can."""
    if known is None:
        right = _can_be_upper(glob)
        return None if right else f": the exchange writes them in upper case, {glob.upper()}"
    if any(fnmatch.fnmatchcase(value, glob) for value in known):
        return None
    names = sorted(filter(None, known))
    more = ", ..." if len(names) > _MOST_NAMES else ""
    return f"; there are {', '.join(map(show, names[:_MOST_NAMES]))}{more}"


def _can_be_upper(glob: str) -> bool:
    """Whether a glob can match a text without a lower-case letter."""
    letters = [letter for letter in map(chr, range(33, 127)) if not letter.islower()]
    return all(
        any(fnmatch.fnmatchcase(letter, part) for letter in letters)
        if len(part) > 1
        else not part.islower()
        for part in re.findall(r"\[!?\]?[^\]]*\]|.", glob)
    )


# ── receivers and routes ────────────────────────────────────────────────────


def _of_receivers(ruleset: Ruleset, report: Report) -> Iterator[Problem]:
    named = {name for route in ruleset.routes for name in route.receivers}
    for name in ruleset.receivers:
        if name not in named:
            text = "no route leads to it: it is told nothing but that other receivers fail"
            path: Path = ("receivers", name)
            yield report.problem_at(report.document.key(path), path, text)


@dataclass(frozen=True, slots=True)
class _Kind:
    """Alerts that the file tells apart: of one rule, severity and account."""

    severity: Severity
    #: label -> its value; None: the exchange names it
    labels: Mapping[str, str | None]


class _Ways:
    """Which route takes which alerts, and when it is muted."""

    def __init__(self, ruleset: Ruleset, report: Report) -> None:
        self._ruleset = ruleset
        self._report = report
        #: severity -> the routes that can take an alert of it
        self._taken: dict[Severity, set[int]] = {}

    def doubts(self) -> Iterator[Problem]:
        """Routes that nothing reaches, and severities that reach nobody for a while."""
        ruleset = self._ruleset
        rules = len(ruleset.rules) + len(ruleset.builtin)
        size = 3 * rules * (len(ruleset.accounts) + len(ruleset.receivers)) * len(ruleset.routes)
        if size > _MOST_QUESTIONS:
            return
        for kind in self._kinds():
            self._taken.setdefault(kind.severity, set()).update(self._way(kind))
        yield from self._unreached()
        yield from self._hours()

    def _kinds(self) -> Iterator[_Kind]:
        for rule in self._ruleset.rules:
            labels: dict[str, str | None] = dict.fromkeys(SCOPES[rule.scope].labels)
            for account in filter(rule.accounts.matches, self._ruleset.accounts):
                own = {**rule.labels, **labels, "account": account, "rule": rule.name}
                for threshold in rule.thresholds:
                    yield _kind(threshold.severity, own)
        for name, builtin in self._ruleset.builtin.items():
            for known in self._labels_of(name):
                yield _kind(builtin.severity, {"rule": name, **known})

    def _labels_of(self, builtin: str) -> list[dict[str, str]]:
        if builtin == CONFIG_INVALID:
            return [{}]
        if builtin == DELIVERY_FAILING:
            return [{"receiver": name} for name in self._ruleset.receivers]
        return [{"account": name} for name in self._ruleset.accounts]

    def _way(self, kind: _Kind) -> Iterator[int]:
        """The routes that can take it, up to the first that takes it for certain."""
        for index, route in enumerate(self._ruleset.routes):
            if _fits(kind, route):
                yield index
                if all(kind.labels.get(label, "") is not None for label in route.match):
                    return

    def _unreached(self) -> Iterator[Problem]:
        reached = set().union(*self._taken.values())
        known = _known_values(self._ruleset)
        # the last one must be there, whether or not anything is left for it
        for index, route in enumerate(self._ruleset.routes[:-1]):
            told_of = any(
                any(_of_pattern((), label, pattern, known.get(label), self._report))
                for label, pattern in route.match.items()
            )
            if index not in reached and not told_of:
                fits = any(_fits(kind, route) for kind in self._kinds())
                text = (
                    "is never reached: the routes before it take all that it matches"
                    if fits
                    else "matches no alert of this file"
                )
                yield self._report.problem(("routes", index), text)

    def _hours(self) -> Iterator[Problem]:
        """The first hour of a week in which every route of a severity is muted."""
        found: dict[Path, tuple[str, list[str]]] = {}
        for severity, indexes in sorted(self._taken.items()):
            routes = [self._ruleset.routes[index] for index in indexes]
            for path, when, instant in self._starts(indexes):
                if all(is_muted(route, severity, now=instant) for route in routes):
                    found.setdefault(path, (when, []))[1].append(severity.value)
                    break
        for path, (when, severities) in found.items():
            text = f"from {when} on nobody is told of {' and '.join(severities)} alerts"
            yield self._report.problem(path, f"{text}: all routes that take them are muted then")

    def _starts(self, indexes: set[int]) -> Iterator[tuple[Path, str, datetime]]:
        """When the windows of these routes open: where it stands, in words, as an instant."""
        for index in sorted(indexes):
            for number, window in enumerate(self._ruleset.routes[index].mute):
                for day, instant in _openings(window):
                    hour, minute = divmod(window.start, 60)
                    when = f"{DAYS[day]} {hour:02}:{minute:02} ({window.zone})"
                    yield ("routes", index, "mute", number), when, instant


def _kind(severity: Severity, labels: Mapping[str, str | None]) -> _Kind:
    return _Kind(severity, {**labels, "severity": severity.value})


def _fits(kind: _Kind, route: Route) -> bool:
    """Whether the route can take such an alert; a label that it does not have is empty."""
    return all(
        _may_match(pattern)
        if (value := kind.labels.get(label, "")) is None
        else pattern.matches(value)
        for label, pattern in route.match.items()
    )


def _may_match(pattern: NamePattern) -> bool:
    """Whether it can match a name that the exchange gives."""
    including = [glob for glob in pattern.patterns if not glob.startswith("!")]
    return not including or any(map(_can_be_upper, including))


def _openings(window: Window) -> Iterator[tuple[int, datetime]]:
    """The days of a window, and an instant at which it opens on each, in winter and in summer."""
    for day in sorted(window.days):
        for monday in _MONDAYS:
            at = monday.replace(tzinfo=window.zone) + timedelta(days=day, minutes=window.start)
            yield day, at.astimezone(UTC)
