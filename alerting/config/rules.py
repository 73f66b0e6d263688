"""From the file's sections to the engine's rules, with every contradiction reported."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

from alerting.config.report import Report, misspelt
from alerting.config.schema import RuleSection
from alerting.config.values import exact_names, unknown
from alerting.config.yaml_reader import Path
from alerting.engine.expression_text import ExpressionError
from alerting.engine.expressions import Expression, Kind, compile_expression
from alerting.engine.feeds import NAMES, RATIOS, SCOPES, Scope
from alerting.engine.model import Direction, Severity
from alerting.engine.rules import (
    BUILTIN_NAMES,
    ROUTE_LABELS,
    NamePattern,
    Rule,
    Threshold,
)
from alerting.units import ZERO, plain

# above it, it is surely no share: the rule has made a percentage of it by itself
_MOST_OF_A_SHARE = 10
_Ladder = Mapping[Severity, Decimal]


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
        return Rule(
            name=section.name,
            scope=scope,
            value=value,
            direction=Direction.ABOVE if section.above is not None else Direction.BELOW,
            thresholds=thresholds,
            when=when,
            accounts=NamePattern(section.accounts),
            base_assets=NamePattern(section.base_assets),
            symbols=NamePattern(section.symbols),
            labels=section.labels,
            annotations=section.annotations.model_dump(exclude_none=True),
            percent=self._in_percent(path) or _is_share(value, thresholds),
            enabled=section.enabled,
        )

    def _in_percent(self, path: Path) -> bool:
        """Whether a threshold or a `clear` is written with its sign."""
        written = [self.report.raw((*path, key)) for key in ("above", "below", "clear")]
        numbers = [
            n for each in written for n in (each.values() if isinstance(each, dict) else [each])
        ]
        return any(str(number).endswith("%") for number in numbers)

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
        for index, pattern in exact_names(section.accounts):
            if self.accounts is not None and pattern not in self.accounts:
                where = self.report.item((*path, "accounts"), index)
                self.report.value(where, unknown("account", pattern, self.accounts))
        # while `per` cannot be read, nobody knows
        labels = SCOPES[section.per].labels if section.per else None
        for key, label in (("base_assets", "base_asset"), ("symbols", "symbol")):
            if getattr(section, key) and labels is not None and label not in labels:
                those = [each.value for each, spec in SCOPES.items() if label in spec.labels]
                them = " and ".join((", ".join(those[:-1]), those[-1]))
                self.report.key((*path, key), f"is for {them} rules only")

    def _check_labels(self, path: Path, labels: Collection[str]) -> None:
        for label in labels:
            if label in ROUTE_LABELS:
                self.report.key((*path, label), f"every alert has {label!r} already; take another")


def _is_share(value: Expression, thresholds: tuple[Threshold, ...]) -> bool:
    """Whether it compares shares of something, though the file does not write them in percent."""
    lines = (line for each in thresholds for line in (each.line, each.clear))
    shares = bool(value.names) and value.names <= RATIOS
    return shares and all(abs(line) <= _MOST_OF_A_SHARE for line in lines)


def _elsewhere(names: Collection[str]) -> dict[str, str]:
    """Each name that is not among `names` -> the scopes that know it."""
    found: dict[str, list[str]] = {}
    for scope, known in NAMES.items():
        for name in known:
            if name not in names:
                found.setdefault(name, []).append(scope.value)
    return {name: " and ".join(scopes) for name, scopes in found.items()}


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
