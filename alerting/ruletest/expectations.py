"""Reads the entries of `expect`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alerting.config.report import Report, misspelt
from alerting.config.values import nearest, show
from alerting.config.yaml_reader import Path as KeyPath
from alerting.engine.feeds import LABELS, SCOPES, Scope
from alerting.engine.model import Severity, State
from alerting.engine.rules import (
    BLIND,
    CONFIG_INVALID,
    DELIVERY_FAILING,
    RULE_UNDEFINED,
    SUSPECT_DATA,
    Ruleset,
)
from alerting.ruletest.case import Expectation, NotifiedExpected, NotNotifiedExpected, StateExpected
from alerting.ruletest.schema import ExpectedState, ExpectSection
from alerting.units import format_duration


def place_of(report: Report, path: KeyPath) -> str:
    """FILE:LINE:COLUMN of what stands at a path."""
    spot = report.document.value(path)
    return f"{report.document.file}:{spot.line}:{spot.column}"


_KINDS = ("state", "notified", "not_notified")
#: key -> the kinds of expectation that may have it
_ONLY_WITH: Mapping[str, tuple[str, ...]] = {
    "value": ("state",),
    "reason": ("notified", "not_notified"),
    "since": ("not_notified",),
}
_LABELS = (*LABELS, "undefined_rule")
_ACCOUNT_LABELS = SCOPES[Scope.ACCOUNT].labels
_BUILTIN_LABELS = {
    BLIND: _ACCOUNT_LABELS,
    SUSPECT_DATA: _ACCOUNT_LABELS,
    RULE_UNDEFINED: ("account", "undefined_rule"),
}


@dataclass(kw_only=True, slots=True)
class ExpectReader:
    """Turns one entry of `expect` into an expectation."""

    report: Report
    path: KeyPath
    section: ExpectSection
    #: None: cannot be read
    ruleset: Ruleset | None
    #: label -> the values that it can have in this test
    known: Mapping[str, Iterable[str]]

    def read(self) -> Expectation | None:
        """The expectation; of no use if anything was reported."""
        kind = self._kind()
        if kind is None:
            return None
        self._check_keys(kind)
        if self.ruleset is not None:
            self._check_alert(self.ruleset)
            self._check_receiver(kind, self.ruleset)
        section = self.section
        labels = {name: getattr(section, name) for name in _LABELS if getattr(section, name)}
        common: dict[str, Any] = {
            "where": place_of(self.report, self.path),
            "at": section.at,
            "alert": section.alert,
            "labels": labels,
            "severity": section.severity,
        }
        if kind == "state":
            state = section.state and State(section.state.value)
            return StateExpected(**common, state=state or State.INACTIVE, value=section.value)
        common["reason"] = section.reason
        if kind == "notified":
            return NotifiedExpected(**common, receiver=section.notified or "")
        return NotNotifiedExpected(
            **common, receiver=section.not_notified or "", since=section.since
        )

    def _kind(self) -> str | None:
        given = [key for key in _KINDS if self._has(key)]
        if len(given) > 1:
            self.report.key((*self.path, given[1]), f"excludes {given[0]}; write two entries")
            return None
        if given:
            return given[0]
        if not any(misspelt(self.report, ExpectSection, self.path, key) for key in _KINDS):
            self.report.value(self.path, f"expects nothing; one of {', '.join(_KINDS)} is needed")
        return None

    def _has(self, key: str) -> bool:
        return self.report.has((*self.path, key))

    def _check_keys(self, kind: str) -> None:
        for key, kinds in _ONLY_WITH.items():
            if self._has(key) and kind not in kinds:
                self.report.key((*self.path, key), f"goes with {' or '.join(kinds)} only")
        section = self.section
        if kind == "state" and not self._has("alert"):
            self.report.value(self.path, "has a state but no alert; name the rule in alert")
        if section.state is ExpectedState.INACTIVE:
            for key in ("severity", "value"):
                if self._has(key):
                    self.report.key((*self.path, key), "goes with pending and firing only")
        if section.since is not None and section.at is not None and section.since > section.at:
            self.report.value(
                (*self.path, "since"),
                f"{format_duration(section.since)} is after at, {format_duration(section.at)}",
            )
        for label in _LABELS:
            if self._has(label) and not self._has("alert"):
                self.report.key((*self.path, label), "goes with alert only; name the rule")

    def _check_receiver(self, kind: str, ruleset: Ruleset) -> None:
        name = getattr(self.section, kind)
        if kind != "state" and name is not None and name not in ruleset.receivers:
            message = f"unknown receiver {show(name)}{nearest(name, ruleset.receivers)}"
            self.report.value((*self.path, kind), message)

    def _check_alert(self, ruleset: Ruleset) -> None:
        name = self.section.alert
        if name is None:
            return
        path = (*self.path, "alert")
        if name in {DELIVERY_FAILING, CONFIG_INVALID}:
            message = f"{show(name)} is about the program itself, which no test runs"
            self.report.value(path, message)
            return
        rules = {rule.name: rule for rule in ruleset.rules}
        if name in rules:
            rule = rules[name]
            self._check_labels(name, SCOPES[rule.scope].labels)
            self._check_severity(name, [each.severity for each in rule.thresholds])
        elif name in _BUILTIN_LABELS:
            self._check_labels(name, _BUILTIN_LABELS[name])
            self._check_severity(name, [ruleset.builtin[name].severity])
        else:
            message = f"unknown rule {show(name)}{nearest(name, [*rules, *_BUILTIN_LABELS])}"
            self.report.value(path, message)

    def _check_labels(self, alert: str, labels: Sequence[str]) -> None:
        for label in _LABELS:
            value = getattr(self.section, label)
            path = (*self.path, label)
            if self._has(label) and label not in labels:
                message = f"alerts of {alert} have no such label; they have {', '.join(labels)}"
                self.report.key(path, message)
            elif value is not None and value not in self.known[label]:
                hint = nearest(value, self.known[label])
                self.report.value(path, f"this test has no {label} {show(value)}{hint}")

    def _check_severity(self, alert: str, severities: Sequence[Severity]) -> None:
        severity = self.section.severity
        if severity is not None and severity not in severities:
            known = ", ".join(each.value for each in severities)
            message = f"{alert} is never {severity.value}; it is {known}"
            self.report.value((*self.path, "severity"), message)
