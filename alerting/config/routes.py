"""From the file's sections to the engine's routes and mute windows, contradictions reported."""

from __future__ import annotations

import functools
import zoneinfo
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from alerting.config import timezones
from alerting.config.report import Report, misspelt
from alerting.config.schema import RepeatSection, RouteSection, WindowSection
from alerting.config.values import exact_names, nearest, show, unknown
from alerting.config.yaml_reader import Path
from alerting.engine.model import Severity
from alerting.engine.mute_windows import DAYS, MINUTES_PER_DAY, Window
from alerting.engine.rules import BUILTIN_NAMES, ROUTE_LABELS, NamePattern, Repeat, Route
from alerting.units import format_duration


@dataclass(kw_only=True, slots=True)
class RouteReader:
    """Turns route sections into routes."""

    report: Report
    #: None: not known, as that section cannot be read
    accounts: Collection[str] | None
    receivers: Collection[str] | None
    #: that a route may match
    _labels: Collection[str] = field(init=False)
    _values: Mapping[str, Collection[str] | None] = field(init=False)
    _zones: Callable[[], frozenset[str]] = field(init=False)

    def __post_init__(self) -> None:
        self._labels = {*ROUTE_LABELS, *self._rule_labels()}
        self._values = self._known_values()
        # reading the list of zones takes a while: only where a window needs it, and once
        self._zones = functools.cache(timezones.names)

    def read(self, sections: list[RouteSection]) -> tuple[Route, ...]:
        """The routes that are whole; what is wrong with the others is in the report."""
        routes = [self._route(("routes", index), each) for index, each in enumerate(sections)]
        self._check_last(sections)
        return tuple(route for route in routes if route)

    def _route(self, path: Path, section: RouteSection) -> Route | None:
        self._check_receivers((*path, "receivers"), section.receivers)
        match = {label: NamePattern(patterns) for label, patterns in section.match.items()}
        for label, pattern in match.items():
            self._check_match((*path, "match", label), label, pattern.patterns)
        repeat = self._repeat((*path, "repeat_interval"), section.repeat_interval)
        mute = _MuteReader(report=self.report, path=path, section=section, zones=self._zones).read()
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
            if not self.report.readable((*path, "match")):
                continue
            if last and section.match:
                message = "the last route must match everything; add one without match after it"
                self.report.value((*path, "match"), message)
            elif not last and not section.match:
                message = "matches everything, so no route after it is ever reached; move it down"
                self.report.value(path, message)

    def _check_receivers(self, path: Path, names: list[str]) -> None:
        seen = set()
        for index, name in enumerate(names):
            if self.receivers is not None and name not in self.receivers:
                self.report.value((*path, index), unknown("receiver", name, self.receivers))
            elif name in seen:
                self.report.value((*path, index), f"receiver {name!r} is named twice")
            seen.add(name)

    def _check_match(self, path: Path, label: str, patterns: tuple[str, ...]) -> None:
        labels = self._labels
        if label not in labels:
            self.report.key(
                path, lambda: f"no alert has the label {show(label)}{nearest(label, labels)}"
            )
            return
        known = self._values.get(label)
        for index, name in exact_names(patterns):
            if known is not None and name not in known:
                self.report.value(self.report.item(path, index), unknown(label, name, known))

    def _known_values(self) -> dict[str, Collection[str] | None]:
        """Label -> all values that it can have; None where they are not known beforehand."""
        names = [name for name in self._raw_rules("name") if isinstance(name, str)]
        return {
            "severity": [severity.value for severity in Severity],
            "account": None if self.accounts is None else frozenset(self.accounts),
            "receiver": None if self.receivers is None else frozenset(self.receivers),
            "rule": frozenset([*names, *BUILTIN_NAMES]),
        }

    def _rule_labels(self) -> set[str]:
        found = [labels for labels in self._raw_rules("labels") if isinstance(labels, dict)]
        return {label for labels in found for label in labels}

    def _raw_rules(self, key: str) -> list[Any]:
        """What the rules set for `key`, also those rules that are wrong elsewhere."""
        rules = self.report.raw(("rules",))
        count = len(rules) if isinstance(rules, list) else 0
        return [self.report.raw(("rules", index, key)) for index in range(count)]


@dataclass(kw_only=True, slots=True)
class _MuteReader:
    """The windows of one route, and whether they can hold anything back."""

    report: Report
    path: Path
    section: RouteSection
    #: all names of the time zone database
    zones: Callable[[], frozenset[str]]

    def read(self) -> tuple[Window, ...]:
        """The windows that are whole; what is wrong with the others is in the report."""
        self._check_critical()
        sections = self.section.mute
        zones = self.zones() if sections else frozenset()
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
        elif (
            not section.mute_critical
            and self.report.readable((*path, "mute_critical"))
            and _only_critical(section.match)
        ):
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
        if zone is None or not self._zone_is_known((*path, "timezone"), zone, zones):
            return None
        if start is None or end is None:
            return None
        return Window(
            days=days,
            start=start,
            end=end or MINUTES_PER_DAY,
            zone=zoneinfo.ZoneInfo(zone),
        )

    def _days(self, path: Path, ranges: tuple[int, ...] | list[tuple[int, ...]]) -> frozenset[int]:
        found: set[int] = set()
        for index, days in enumerate(ranges if isinstance(ranges, list) else [ranges]):
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
        self.report.value(path, lambda: timezones.problem(name, zones))
        return False


def _only_critical(match: Mapping[str, tuple[str, ...]]) -> bool:
    severity = NamePattern(match.get("severity", ()))
    taken = [each for each in Severity if severity.matches(each.value)]
    return taken == [Severity.CRITICAL]
