"""Tests for rules: what a test file may say, read strictly, with all problems at once.

A case is a wallet over time, as series of values, and what is to be true or told at some instants.
What a series does not give is derived so that the accounting identities hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from alerting.config.load import Secrets, load_config
from alerting.config.report import Report, keys_of, kind_of, misspelt, read_as
from alerting.config.schema import Section
from alerting.config.values import BadValueError, nearest, show
from alerting.config.yaml_reader import Number, read_file
from alerting.config.yaml_reader import Path as KeyPath
from alerting.engine.feeds import (
    FEEDS,
    INSTRUMENT_FIELDS,
    POSITION_FIELDS,
    POSITIONS,
    REPORTED,
    SYMBOL_FIELDS,
    WALLET_FIELDS,
)
from alerting.engine.rules import Ruleset
from alerting.errors import ConfigError, Problem
from alerting.exchanges.coinswitch.position_answers import settlement_asset
from alerting.ruletest.case import EXCHANGE, Case, Expectation, RuleTests
from alerting.ruletest.expectations import ExpectReader, place_of
from alerting.ruletest.schema import (
    CaseSection,
    PositionSection,
    RowSection,
    SeriesSection,
    TestsSection,
    WalletSection,
)
from alerting.ruletest.series import MAX_STEPS, Cell, Gap, Position, Row, Track, cells_of
from alerting.units import format_duration

_LONGEST = timedelta(days=3650)
_POSITION_FIELDS = (*POSITION_FIELDS, *INSTRUMENT_FIELDS, *REPORTED)
_TOKEN = re.compile(r"\S+")


def load_tests(path: Path) -> RuleTests:
    """The test file at `path`; a ConfigError has all that is wrong with it and with its rules."""
    report = Report(read_file(path, kind="a test file", example="rules.example.test.yaml"))
    if not isinstance(report.document.data, dict):
        keys = ", ".join(keys_of(TestsSection))
        kind = kind_of(report.document.data)
        report.value((), f"must be a mapping with the keys {keys}, not {kind}")
        raise ConfigError(report.told())
    sections = read_as(TestsSection, report)
    ruleset, problems = _rules(report, path, sections.rules)
    _check_names(report, sections.tests)
    cases = [
        _CaseReader(report=report, path=("tests", index), section=each, ruleset=ruleset).read()
        for index, each in enumerate(sections.tests)
    ]
    problems += report.told()
    if problems or ruleset is None:
        raise ConfigError(problems)
    return RuleTests(path=path, ruleset=ruleset, cases=tuple(case for case in cases if case))


def _rules(report: Report, path: Path, name: str | None) -> tuple[Ruleset | None, list[Problem]]:
    """The rules, or what is wrong with their file; neither if the test file names none."""
    if name is None:
        return None, []
    rules = path.parent / name
    try:
        found = rules.exists()
    except OSError:
        # a name that is too long, a folder that may not be looked into
        found = False
    if not found:
        report.value(("rules",), f"there is no file {show(name)} beside this one")
        return None, []
    try:
        return load_config(rules, environ={}, secrets=Secrets.IGNORED).ruleset, []
    except ConfigError as error:
        return None, list(error.problems)


def _check_names(report: Report, cases: Sequence[CaseSection]) -> None:
    first: dict[str, int] = {}
    for index, case in enumerate(cases):
        if case.name in first:
            line = report.document.value(("tests", first[case.name], "name")).line
            message = f"{show(case.name)} is already the name of the test at line {line}"
            report.value(("tests", index, "name"), message)
        elif case.name:
            first[case.name] = index


@dataclass(kw_only=True, slots=True)
class _CaseReader:
    """Turns one test's section into a case; what cannot be read is in the report."""

    report: Report
    path: KeyPath
    section: CaseSection
    #: None: cannot be read
    ruleset: Ruleset | None

    def read(self) -> Case | None:
        """The case; of no use if anything was reported."""
        section = self.section
        account = self._account()
        wallet, rows, positions = self._wallet(), self._rows(), self._positions(account)
        steps = self._steps([*wallet.values(), *_tracks_of(rows), *_tracks_of(positions)])
        self._check_total(wallet, rows, steps)
        expectations = self._expectations(self._known(account, rows, positions))
        if account is None or self.report.problems:
            return None
        return Case(
            name=section.name,
            where=place_of(self.report, self.path),
            account=account,
            base_asset=section.wallet.base_asset,
            start=section.start,
            interval=section.interval,
            steps=steps,
            wallet=wallet,
            rows=rows,
            positions=positions,
            expectations=expectations,
        )

    def _expectations(self, known: Mapping[str, Iterable[str]]) -> tuple[Expectation, ...]:
        found = [
            ExpectReader(
                report=self.report,
                path=(*self.path, "expect", index),
                section=each,
                ruleset=self.ruleset,
                known=known,
            ).read()
            for index, each in enumerate(self.section.expect)
        ]
        return tuple(each for each in found if each)

    def _account(self) -> str | None:
        if self.ruleset is None:
            return None
        known, name = self.ruleset.accounts, self.section.account
        if name is not None and name not in known:
            message = f"unknown account {show(name)}{nearest(name, known)}"
            self.report.value((*self.path, "account"), message)
        return name or known[0]

    def _known(
        self, account: str | None, rows: Mapping[str, Row], positions: Mapping[str, Position]
    ) -> dict[str, Iterable[str]]:
        """Label -> the values that it can have in this test."""
        assets = {self.section.wallet.base_asset}
        assets |= {row.base_asset for row in rows.values()}
        assets |= {each.base_asset for each in positions.values()}
        names = {rule.name for rule in self.ruleset.rules} if self.ruleset else set()
        return {
            "account": {account or ""},
            "base_asset": assets,
            "symbol": {*rows, *positions},
            "exchange": {EXCHANGE},
            "side": {each.side.value for each in positions.values() if each.side},
            "feed": self.ruleset.feeds_of(account or "") if self.ruleset else FEEDS,
            "undefined_rule": names,
        }

    # ── series ──────────────────────────────────────────────────────────────

    def _wallet(self) -> dict[str, Track]:
        tracks = {}
        for name in WALLET_FIELDS:
            constant = getattr(self.section.wallet, name)
            path = (*self.path, "series", name)
            if constant is not None and self.report.has(path):
                self.report.key(path, "is in wallet already; keep one of the two")
            elif constant is not None:
                tracks[name] = Track(cells=(), rest=constant, constant=True)
            elif getattr(self.section.series, name) is not None:
                tracks[name] = self._track(path, getattr(self.section.series, name))
        return tracks

    def _rows(self) -> dict[str, Row]:
        return {
            symbol: self._row((*self.path, "symbols", symbol), each)
            for symbol, each in self.section.symbols.items()
        }

    def _row(self, path: KeyPath, section: RowSection) -> Row:
        tracks = self._tracks(path, section, SYMBOL_FIELDS)
        return Row(base_asset=section.base_asset or self.section.wallet.base_asset, tracks=tracks)

    def _positions(self, account: str | None) -> dict[str, Position]:
        path = (*self.path, "positions")
        feeds = self.ruleset.feeds_of(account) if self.ruleset and account else FEEDS
        if self.section.positions and POSITIONS not in feeds:
            message = f"nobody reads them: no enabled rule is per: position for account {account}"
            self.report.key(path, message)
        return {
            symbol: self._position((*path, symbol), symbol, each)
            for symbol, each in self.section.positions.items()
        }

    def _position(self, path: KeyPath, symbol: str, section: PositionSection) -> Position:
        tracks = self._tracks(path, section, _POSITION_FIELDS)
        if section.liquidated and not any(Gap.ABSENT in each.cells for each in tracks.values()):
            message = "needs a step without the position; write - in one of its series"
            self.report.key((*path, "liquidated"), message)
        return Position(
            base_asset=settlement_asset(symbol),
            side=section.side,
            tracks=tracks,
            liquidated=section.liquidated,
        )

    def _tracks(self, path: KeyPath, section: Section, fields: Sequence[str]) -> dict[str, Track]:
        """Those of the fields that a row gives, which must be one at least."""
        if not any(self.report.has((*path, name)) for name in fields):
            self.report.key(path, f"has no field; one of {', '.join(fields)} is needed")
        return {
            name: self._track((*path, name), getattr(section, name), gaps=tuple(Gap))
            for name in fields
            if getattr(section, name) is not None
        }

    def _track(
        self, path: KeyPath, text: str | Number, *, gaps: tuple[Gap, ...] = (Gap.FAILED,)
    ) -> Track:
        if isinstance(text, Number):
            return Track(cells=(), rest=Decimal(text), constant=True)
        cells: list[Cell] = []
        for match in _TOKEN.finditer(text):
            try:
                cells += cells_of(match[0], gaps)
            except BadValueError as error:
                self.report.character(path, match.start(), str(error))
            if len(cells) > MAX_STEPS:
                message = f"has more than {MAX_STEPS} steps; write a longer interval"
                self.report.character(path, match.start(), message)
                break
        known = [cell for cell in cells if cell is not Gap.FAILED]
        return Track(cells=tuple(cells), rest=known[-1] if known else Gap.FAILED)

    def _steps(self, tracks: Iterable[Track]) -> int:
        """As many as the longest series has; without any, up to the last instant expected."""
        interval = self.section.interval
        lengths = [len(track.cells) for track in tracks if not track.constant]
        last = max((each.at for each in self.section.expect if each.at), default=timedelta(0))
        steps = max(lengths) if lengths else last // interval + 1
        path = (*self.path, "interval")
        if steps > MAX_STEPS and not lengths:
            message = f"makes {steps} steps up to the last instant; at most {MAX_STEPS} are allowed"
            self.report.value(path, message)
        elif steps * interval > _LONGEST:
            self.report.value(path, f"makes the series longer than {format_duration(_LONGEST)}")
        return steps

    def _check_total(
        self, wallet: Mapping[str, Track], rows: Mapping[str, Row], steps: int
    ) -> None:
        needed = WALLET_FIELDS[:2]
        if any(name in wallet for name in needed) or rows:
            return  # rows alone make a wallet in which everything is locked
        if any(misspelt(self.report, *place) for place in self._places(needed)):
            return
        if all(any(track.at(k) is Gap.FAILED for track in wallet.values()) for k in range(steps)):
            return
        both = " and ".join(needed)
        self.report.value(self.path, f"gives neither of {both}; the wallet needs one of them")

    def _places(self, names: Iterable[str]) -> Iterator[tuple[type[Section], KeyPath, str]]:
        for name in names:
            yield WalletSection, (*self.path, "wallet"), name
            yield SeriesSection, (*self.path, "series"), name


def _tracks_of(rows: Mapping[str, Row] | Mapping[str, Position]) -> list[Track]:
    return [track for row in rows.values() for track in row.tracks.values()]
