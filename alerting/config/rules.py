"""From the file's sections to the engine's rules and routes, with every contradiction reported."""

from __future__ import annotations

import difflib
import zoneinfo
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from alerting.config.report import Report, misspelt
from alerting.config.schema import (
    RepeatSection,
    RouteSection,
    RuleSection,
    WindowSection,
    nearest,
    show,
)
from alerting.config.yaml_reader import Path
from alerting.engine.expressions import Expression, ExpressionError, Kind, compile_expression
from alerting.engine.feeds import NAMES, Scope
from alerting.engine.model import Direction, Severity
from alerting.engine.mute_windows import DAYS, MINUTES_PER_DAY, Window
from alerting.engine.rules import (
    BUILTIN_NAMES,
    ROUTE_LABELS,
    NamePattern,
    Repeat,
    Route,
    Rule,
    Threshold,
)
from alerting.units import ZERO, format_duration, plain

_Ladder = Mapping[Severity, Decimal]
_GLOB = frozenset("*?[")


# ── rules ───────────────────────────────────────────────────────────────────


@dataclass(kw_only=True, slots=True)
class RuleReader:
    """Turns rule sections into rules."""

    report: Report
    #: None: not known, as that section cannot be read
    accounts: Collection[str] | None

    def read(self, sections: list[RuleSection]) -> tuple[Rule, ...]:
        """The rules that are whole; what is wrong with the others is in the report."""
        self._check_names(sections)
        rules = [self._rule(("rules", index), each) for index, each in enumerate(sections)]
        return tuple(rule for rule in rules if rule)

    def _check_names(self, sections: list[RuleSection]) -> None:
        first: dict[str, int] = {}
        for index, section in enumerate(sections):
            path: Path = ("rules", index, "name")
            name = section.name
            if name in BUILTIN_NAMES:
                self.report.value(path, f"{name!r} is the name of a built-in alert; take another")
            elif name in first:
                line = self.report.document.value(("rules", first[name], "name")).line
                self.report.value(path, f"{name!r} is already the name of the rule at line {line}")
            elif name:
                first[name] = index

    def _rule(self, path: Path, section: RuleSection) -> Rule | None:
        scope = section.per
        value = self._expression((*path, "value"), section.value, Kind.NUMBER, scope)
        when = self._expression((*path, "when"), section.when, Kind.CONDITION, scope)
        thresholds = _ThresholdReader(report=self.report, path=path, section=section).read()
        self._check_filters(path, section)
        self._check_labels((*path, "labels"), section.labels)
        if not (value and thresholds and section.name and scope):
            return None
        annotations = (
            section.annotations.model_dump(exclude_none=True) if section.annotations else {}
        )
        return Rule(
            name=section.name,
            scope=scope,
            value=value,
            direction=Direction.ABOVE if section.above is not None else Direction.BELOW,
            thresholds=thresholds,
            when=when,
            accounts=NamePattern(section.accounts or ()),
            base_assets=NamePattern(section.base_assets or ()),
            symbols=NamePattern(section.symbols or ()),
            labels=section.labels or {},
            annotations=annotations,
        )

    def _expression(
        self, path: Path, text: str | None, kind: Kind, scope: Scope | None
    ) -> Expression | None:
        """Compiled for its scope, or for any scope while `per` cannot be read."""
        if text is None:
            return None
        names = NAMES[scope] if scope else tuple(sorted(set().union(*NAMES.values())))
        try:
            return compile_expression(text, kind=kind, names=names, elsewhere=_elsewhere(names))
        except ExpressionError as error:
            self.report.character(path, error.offset, error.message)
            return None

    def _check_filters(self, path: Path, section: RuleSection) -> None:
        for index, pattern in _exact(section.accounts):
            if self.accounts is not None and pattern not in self.accounts:
                message = f"unknown account {show(pattern)}{nearest(pattern, self.accounts)}"
                self.report.value(item(self.report, (*path, "accounts"), index), message)
        if section.base_assets and section.per is Scope.ACCOUNT:
            self.report.key((*path, "base_assets"), "is for wallet and symbol rules only")
        if section.symbols and section.per in {Scope.ACCOUNT, Scope.WALLET}:
            self.report.key((*path, "symbols"), "is for symbol rules only")

    def _check_labels(self, path: Path, labels: Mapping[str, str] | None) -> None:
        for label in labels or {}:
            if label in ROUTE_LABELS:
                self.report.key((*path, label), f"every alert has {label!r} already; take another")


def _elsewhere(names: Collection[str]) -> dict[str, str]:
    """Each name that is not among `names` -> the scopes that know it."""
    found: dict[str, list[str]] = {}
    for scope, known in NAMES.items():
        for name in known:
            if name not in names:
                found.setdefault(name, []).append(scope.value)
    return {name: " and ".join(scopes) for name, scopes in found.items()}


def _exact(patterns: tuple[str, ...] | None) -> Iterator[tuple[int, str]]:
    """The patterns that are plain names, without their `!`, and their indexes."""
    for index, pattern in enumerate(patterns or ()):
        name = pattern.removeprefix("!")
        if not _GLOB & set(name):
            yield index, name


def item(report: Report, path: Path, index: int) -> Path:
    """The path of one name in what may be a list or a single name."""
    return (*path, index) if isinstance(report.raw(path), list) else path


@dataclass(kw_only=True, slots=True)
class _ThresholdReader:
    """The thresholds and delays of one rule, checked against each other."""

    report: Report
    path: Path
    section: RuleSection

    def read(self) -> tuple[Threshold, ...]:
        """From the mildest severity to the worst; empty after a problem."""
        direction = self._direction()
        ladder = self._ladder(direction) if direction else None
        if direction is None or ladder is None:
            return ()
        self._check_order(direction, ladder)
        clears = self._clears(direction, ladder)
        for_ = self._delays("for", self.section.for_, ladder)
        keep = self._delays("keep_firing_for", self.section.keep_firing_for, ladder)
        return tuple(
            Threshold(
                severity=severity,
                line=threshold,
                clear=clears.get(severity, threshold),
                for_=for_.get(severity, ZERO),
                keep_firing_for=keep.get(severity, ZERO),
            )
            for severity, threshold in ladder.items()
        )

    def _direction(self) -> Direction | None:
        keys = [key for key in ("above", "below") if self.report.has((*self.path, key))]
        if len(keys) == 2:
            self.report.key((*self.path, "below"), "excludes above; keep one of the two")
            return None
        if keys:
            return Direction(keys[0])
        if not any(misspelt(self.report, RuleSection, self.path, k) for k in ("above", "below")):
            self.report.value(self.path, "has no threshold; one of above and below is needed")
        return None

    def _ladder(self, direction: Direction) -> dict[Severity, Decimal] | None:
        above, below = self.section.above, self.section.below
        threshold = above if direction is Direction.ABOVE else below
        if threshold is None:
            return None
        if isinstance(threshold, Decimal):
            return {self.section.severity or Severity.WARNING: threshold}
        if self.report.has((*self.path, "severity")):
            self.report.key(
                (*self.path, "severity"),
                f"is for a single threshold; {direction.value} has one per severity already",
            )
        return dict(sorted(threshold.items()))

    def _check_order(self, direction: Direction, ladder: _Ladder) -> None:
        sign = _sign(direction)
        for (mild, first), (bad, second) in pairwise(ladder.items()):
            if (second - first) * sign <= 0:
                wanted = "greater" if sign > 0 else "less"
                self.report.value(
                    (*self.path, direction.value, bad.value),
                    f"{plain(second)} must be {wanted} than the {plain(first)} of {mild.value}",
                )

    def _clears(self, direction: Direction, ladder: _Ladder) -> _Ladder:
        clear, path = self.section.clear, (*self.path, "clear")
        if clear is None:
            return {}
        single = isinstance(self.report.raw((*self.path, direction.value)), dict) is False
        if isinstance(clear, Decimal):
            if not single:
                message = f"must have one number per severity, as {direction.value} has"
                self.report.value(path, message)
                return {}
            ((severity, threshold),) = ladder.items()
            self._check_clear(path, direction, clear, threshold)
            return {severity: clear}
        if single:
            self.report.value(path, f"must be one number, as {direction.value} is")
            return {}
        for severity, number in clear.items():
            at = (*path, severity.value)
            if self._known(at, severity, ladder):
                self._check_clear(at, direction, number, ladder[severity])
        return clear

    def _check_clear(
        self, path: Path, direction: Direction, clear: Decimal, threshold: Decimal
    ) -> None:
        if (clear - threshold) * _sign(direction) > 0:
            wanted = "less" if direction is Direction.ABOVE else "more"
            self.report.value(
                path,
                f"clear {plain(clear)} is beyond the threshold; "
                f"with {direction.value} {plain(threshold)} it must be that or {wanted}",
            )

    def _delays(
        self,
        key: str,
        delay: timedelta | Mapping[Severity, timedelta] | None,
        ladder: _Ladder,
    ) -> Mapping[Severity, timedelta]:
        if not isinstance(delay, Mapping):
            return dict.fromkeys(ladder, delay or ZERO)
        for severity in delay:
            self._known((*self.path, key, severity.value), severity, ladder)
        return delay

    def _known(self, path: Path, severity: Severity, ladder: _Ladder) -> bool:
        if severity in ladder:
            return True
        has = ", ".join(each.value for each in ladder)
        self.report.key(path, f"the rule has no threshold for {severity.value}; it has {has}")
        return False


def _sign(direction: Direction) -> int:
    return 1 if direction is Direction.ABOVE else -1


# ── routes ──────────────────────────────────────────────────────────────────


@dataclass(kw_only=True, slots=True)
class RouteReader:
    """Turns route sections into routes."""

    report: Report
    #: None: not known, as that section cannot be read
    accounts: Collection[str] | None
    receivers: Collection[str] | None

    def read(self, sections: list[RouteSection]) -> tuple[Route, ...]:
        """The routes that are whole; what is wrong with the others is in the report."""
        routes = [self._route(("routes", index), each) for index, each in enumerate(sections)]
        self._check_last(sections)
        return tuple(route for route in routes if route)

    def _route(self, path: Path, section: RouteSection) -> Route | None:
        self._check_receivers((*path, "receivers"), section.receivers or [])
        match = {label: NamePattern(patterns) for label, patterns in (section.match or {}).items()}
        for label, pattern in match.items():
            self._check_match((*path, "match", label), label, pattern.patterns)
        repeat = self._repeat((*path, "repeat_interval"), section.repeat_interval)
        mute = _MuteReader(report=self.report, path=path, section=section).read()
        if not section.receivers or repeat is None:
            return None
        return Route(
            receivers=tuple(section.receivers),
            match=match,
            repeat=repeat,
            mute=mute,
            mute_critical=section.mute_critical,
        )

    def _repeat(self, path: Path, interval: timedelta | RepeatSection) -> Repeat | None:
        if isinstance(interval, timedelta):
            return Repeat(first=interval)
        first, longest = interval.first, interval.longest
        # what cannot be read is None here, whatever its type says
        if first is None:
            return None
        if longest is not None and longest < first:
            self.report.value(
                (*path, "max"),
                f"max {format_duration(longest)} is less than first {format_duration(first)}",
            )
        return Repeat(first=first, factor=interval.factor, longest=longest)

    def _check_last(self, sections: list[RouteSection]) -> None:
        """Exactly the last route takes everything; an unreadable `match` may mean anything."""
        for index, section in enumerate(sections):
            path: Path = ("routes", index)
            last = index == len(sections) - 1
            if last and section.match:
                message = "the last route must match everything; add one without match after it"
                self.report.value((*path, "match"), message)
            elif not last and section.match == {}:
                message = "matches everything, so no route after it is ever reached; move it down"
                self.report.value(path, message)

    def _check_receivers(self, path: Path, names: list[str]) -> None:
        for index, name in enumerate(names):
            if self.receivers is not None and name not in self.receivers:
                message = f"unknown receiver {show(name)}{nearest(name, self.receivers)}"
                self.report.value((*path, index), message)
            elif name in names[:index]:
                self.report.value((*path, index), f"receiver {name!r} is named twice")

    def _check_match(self, path: Path, label: str, patterns: tuple[str, ...]) -> None:
        labels = {*ROUTE_LABELS, *self._rule_labels()}
        if label not in labels:
            self.report.key(path, f"no alert has the label {show(label)}{nearest(label, labels)}")
            return
        known = self._values_of(label)
        for index, name in _exact(patterns):
            if known is not None and name not in known:
                message = f"unknown {label} {show(name)}{nearest(name, known)}"
                self.report.value(item(self.report, path, index), message)

    def _values_of(self, label: str) -> Collection[str] | None:
        """All values that a label can have; None where they are not known beforehand."""
        match label:
            case "severity":
                return [severity.value for severity in Severity]
            case "account":
                return self.accounts
            case "receiver":
                return self.receivers
            case "rule":
                names = [name for name in self._raw_rules("name") if isinstance(name, str)]
                return [*names, *BUILTIN_NAMES]
        return None

    def _rule_labels(self) -> set[str]:
        found = [labels for labels in self._raw_rules("labels") if isinstance(labels, dict)]
        return {label for labels in found for label in labels}

    def _raw_rules(self, key: str) -> list[Any]:
        """What the rules set for `key`, also those rules that are wrong elsewhere."""
        count = len(self.report.raw(("rules",)) or ())
        return [self.report.raw(("rules", index, key)) for index in range(count)]


@dataclass(kw_only=True, slots=True)
class _MuteReader:
    """The windows of one route, and whether they can hold anything back."""

    report: Report
    path: Path
    section: RouteSection

    def read(self) -> tuple[Window, ...]:
        """The windows that are whole; what is wrong with the others is in the report."""
        self._check_critical()
        sections = self.section.mute or []
        # reading the list of zones takes a while, so only where a window needs it
        zones = _zones() if sections else frozenset()
        path = (*self.path, "mute")
        windows = [self._window((*path, i), each, zones) for i, each in enumerate(sections)]
        return tuple(window for window in windows if window)

    def _check_critical(self) -> None:
        path, section = self.path, self.section
        if not self.report.has((*path, "mute")):
            set_alone = self.report.has((*path, "mute_critical"))
            if set_alone and not misspelt(self.report, RouteSection, path, "mute"):
                message = "is of no use without mute, which says when"
                self.report.key((*path, "mute_critical"), message)
        # what cannot be read is None here and may mean anything
        elif section.mute_critical is False and _only_critical(section.match):
            message = (
                "has no effect: the route takes critical alerts only, and they pass through "
                "unless mute_critical is true"
            )
            self.report.key((*path, "mute"), message)

    def _window(self, path: Path, section: WindowSection, zones: Collection[str]) -> Window | None:
        start, end, zone = section.from_, section.to, section.timezone
        days = self._days((*path, "days"), section.days)
        if start is not None and start == end:
            self.report.value(
                (*path, "to"),
                f"{show(self.report.raw((*path, 'to')))} is the same as from; "
                'for whole days, write from: "00:00" and to: "24:00"',
            )
        known = zone is not None and self._zone_is_known((*path, "timezone"), zone, zones)
        if not known or start is None or end is None:
            return None
        return Window(
            days=days,
            start=start,
            end=end or MINUTES_PER_DAY,
            zone=zoneinfo.ZoneInfo(zone),
        )

    def _days(
        self, path: Path, ranges: tuple[int, ...] | list[tuple[int, ...]] | None
    ) -> frozenset[int]:
        found: set[int] = set()
        for index, days in enumerate(ranges if isinstance(ranges, list) else [ranges or ()]):
            twice = found.intersection(days)
            if twice:
                where = (*path, index)
                text = f"{show(self.report.raw(where))} names {DAYS[min(twice)]} a second time"
                self.report.value(where, text)
            found.update(days)
        return frozenset(found)

    def _zone_is_known(self, path: Path, name: str, zones: Collection[str]) -> bool:
        if name in zones:
            return True
        if zones:
            self.report.value(path, f"unknown time zone {show(name)}{_zone_hint(name, zones)}")
        else:
            self.report.value(
                path,
                "this machine has no time zone database; install the system's package tzdata, "
                "or `pip install tzdata`",
            )
        return False


def _only_critical(match: Mapping[str, tuple[str, ...]] | None) -> bool:
    if match is None:
        return False
    severity = NamePattern(match.get("severity", ()))
    taken = [each for each in Severity if severity.matches(each.value)]
    return taken == [Severity.CRITICAL]


def _zones() -> frozenset[str]:
    """All names of the time zone database; empty where there is none."""
    # these two are in the folder, but name no place
    return frozenset(zoneinfo.available_timezones() - {"localtime", "Factory"})


def _zone_hint(name: str, zones: Collection[str]) -> str:
    """The nearest name, also for the city alone; a wrong guess would be worse than none."""
    spelt = {each.rpartition("/")[2].lower(): each for each in sorted(zones)}
    spelt |= {each.lower(): each for each in zones}
    near = difflib.get_close_matches(name.lower().replace(" ", "_"), spelt, n=1, cutoff=0.8)
    if near:
        return f"; did you mean {spelt[near[0]]!r}?"
    return "; write an IANA name, such as Asia/Kolkata or UTC"
