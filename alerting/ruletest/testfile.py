"""Tests for rules: what a test file may say, read strictly, with all problems at once.

A case is a wallet over time, as series of values, and what is to be true or told at some instants.
What a series does not give is derived so that the accounting identities hold.
"""

from __future__ import annotations

import decimal
import enum
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator
from pydantic import Field as Key

from alerting.config.load import Secrets, load_config
from alerting.config.report import Report, keys_of, kind_of, misspelt, read_as
from alerting.config.schema import Section
from alerting.config.values import (
    Amount,
    BadValueError,
    Duration,
    Name,
    PositiveDuration,
    SeverityName,
    Text,
    nearest,
    one_of,
    show,
)
from alerting.config.yaml_reader import MAX_BYTES, Document, Number, complaint, plain, read_bytes
from alerting.config.yaml_reader import Path as KeyPath
from alerting.engine.feeds import SYMBOL_FIELDS, WALLET_FIELDS, Scope
from alerting.engine.model import (
    FailureKind,
    PollFailure,
    PollOutcome,
    Reason,
    Severity,
    Snapshot,
    State,
    SymbolRow,
    WalletRow,
)
from alerting.engine.rules import (
    BLIND,
    CONFIG_INVALID,
    DELIVERY_FAILING,
    RULE_UNDEFINED,
    SUSPECT_DATA,
    Ruleset,
)
from alerting.errors import ConfigError, Problem
from alerting.units import EXACT, format_duration, parse_instant

# An absent key is None to mypy; to pydantic, a written `null` is an error.
if TYPE_CHECKING:
    from typing import Optional as Maybe
else:
    from alerting.config.values import Maybe

MAX_STEPS = 50_000
#: what the API gives as the exchange of every row
EXCHANGE = "EXCHANGE_2"

_DEFAULT_START = datetime(2026, 1, 1, tzinfo=UTC)
# Every instant of a test stays far inside the calendar.
_YEARS = range(1971, 9000)
_LONGEST = timedelta(days=3650)
_TOKEN = re.compile(r"\S+")
_COUNTED = re.compile(r"(.+?)(?:x([0-9]{1,9}))?")


# ── the shape of the file ───────────────────────────────────────────────────


class ExpectedState(enum.Enum):
    """What an alert may be expected to be."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"


def _instant(value: object) -> datetime:
    message = f'{show(value)} is not an instant; write "2026-01-01T00:00:00Z", in quotes'
    if not isinstance(value, str):
        raise BadValueError(message)
    try:
        instant = parse_instant(value)
    except (ValueError, OverflowError):
        raise BadValueError(message) from None
    if instant.year not in _YEARS:
        raise BadValueError(f"{show(value)} is out of range; 1971 to 8999 is allowed")
    return instant


def _money(value: object) -> Decimal:
    amount = _amount(value) if isinstance(value, str) else value
    if not isinstance(amount, Number):
        raise BadValueError(
            f"{show(value)} is not one amount; what changes with time belongs under series"
        )
    return Decimal(amount)


def _amount(text: str) -> Number | None:
    """A number as the file's plain ones: no exponent, no leading zeros, no percent sign."""
    number = None if complaint(text) else plain(text)
    return number if isinstance(number, Number) else None


def _series(value: object) -> str | Number:
    if isinstance(value, Number):
        return value
    if not isinstance(value, str):
        raise BadValueError(f'{show(value)} is not a series; write "1200x4 900x6 _x2", in quotes')
    if not value.strip():
        raise BadValueError("is empty; a series needs at least one value")
    return value


_StateName = Annotated[ExpectedState, BeforeValidator(one_of(ExpectedState))]
_ReasonName = Annotated[Reason, BeforeValidator(one_of(Reason))]
_Instant = Annotated[datetime, BeforeValidator(_instant)]
_Money = Annotated[Decimal, BeforeValidator(_money)]
_Series = Annotated[Any, BeforeValidator(_series)]


class WalletSection(Section):
    """What is the same in every step."""

    base_asset: Name = "USDT"
    total_balance: Maybe[_Money] = None
    total_available_balance: Maybe[_Money] = None
    total_blocked_balance: Maybe[_Money] = None
    total_position_margin: Maybe[_Money] = None
    total_open_order_margin: Maybe[_Money] = None


class SeriesSection(Section):
    """What changes from step to step."""

    total_balance: Maybe[_Series] = None
    total_available_balance: Maybe[_Series] = None
    total_blocked_balance: Maybe[_Series] = None
    total_position_margin: Maybe[_Series] = None
    total_open_order_margin: Maybe[_Series] = None


class RowSection(Section):
    """One symbol's row; a series with `-` takes it out of the answer."""

    base_asset: Maybe[Name] = None
    blocked_balance: Maybe[_Series] = None
    position_margin: Maybe[_Series] = None
    open_order_margin: Maybe[_Series] = None


class ExpectSection(Section):
    """What is true, or told, or not told, at one instant."""

    at: Duration
    alert: Maybe[Text] = None
    state: Maybe[_StateName] = None
    severity: Maybe[SeverityName] = None
    value: Maybe[Amount] = None
    notified: Maybe[Text] = None
    not_notified: Maybe[Text] = None
    reason: Maybe[_ReasonName] = None
    since: Maybe[Duration] = None
    account: Maybe[Text] = None
    base_asset: Maybe[Text] = None
    symbol: Maybe[Text] = None
    exchange: Maybe[Text] = None
    undefined_rule: Maybe[Text] = None


class CaseSection(Section):
    """One test."""

    name: Text
    interval: PositiveDuration = timedelta(seconds=15)
    start: _Instant = _DEFAULT_START
    account: Maybe[Text] = None
    wallet: WalletSection = Key(default_factory=WalletSection)
    series: SeriesSection = Key(default_factory=SeriesSection)
    symbols: dict[Name, RowSection] = Key(default_factory=dict)
    expect: Annotated[list[ExpectSection], Key(min_length=1)]


class TestsSection(Section):
    """The whole file."""

    rules: Text
    tests: Annotated[list[CaseSection], Key(min_length=1)]


# ── what it means ───────────────────────────────────────────────────────────


class Gap(enum.Enum):
    """What a step of a series may have in place of a number."""

    #: the poll of this step failed
    FAILED = "_"
    #: the answer has no such row
    ABSENT = "-"


#: A step of a series.
Cell = Decimal | Gap


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """One field over the steps."""

    cells: tuple[Cell, ...]
    #: what holds after the last cell
    rest: Cell
    #: the same in every step, which says nothing about how many there are
    constant: bool = False

    def at(self, step: int) -> Cell:
        """What the field is in a step, counted from 0."""
        return self.cells[step] if step < len(self.cells) else self.rest


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One symbol's row over the steps."""

    base_asset: str
    tracks: Mapping[str, Track]


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """What all expectations have in common."""

    #: FILE:LINE:COLUMN
    where: str
    at: timedelta
    #: None: any
    alert: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    severity: Severity | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StateExpected(Expectation):
    """An alert is in a state after the last evaluation up to `at`."""

    state: State
    value: Decimal | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ToldExpected(Expectation):
    """A receiver is told in the evaluation at `at`."""

    receiver: str
    reason: Reason | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SilenceExpected(Expectation):
    """A receiver is not told in the evaluation at `at`, nor in any from `since` on."""

    receiver: str
    reason: Reason | None = None
    #: None: only `at` counts
    since: timedelta | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One test, ready to run."""

    name: str
    #: FILE:LINE:COLUMN
    where: str
    account: str
    base_asset: str
    start: datetime
    interval: timedelta
    steps: int
    wallet: Mapping[str, Track]
    rows: Mapping[str, Row]
    expectations: tuple[Expectation, ...]

    def tracks(self) -> Iterator[tuple[str, Track]]:
        """Each field that the file gives, by the name that people see."""
        yield from self.wallet.items()
        for symbol, row in self.rows.items():
            for name, track in row.tracks.items():
                yield f"{symbol} {name}", track

    def outcome(self, step: int) -> PollOutcome:
        """What the poll of a step gives."""
        if any(track.at(step) is Gap.FAILED for _, track in self.tracks()):
            text = "the test says so (_)"
            return PollFailure(account=self.account, kind=FailureKind.UNKNOWN, text=text)
        rows = [
            SymbolRow(
                symbol=symbol,
                base_asset=row.base_asset,
                exchange=EXCHANGE,
                fields=whole_row(_numbers(row.tracks, step)),
            )
            for symbol, row in self.rows.items()
            if not any(track.at(step) is Gap.ABSENT for track in row.tracks.values())
        ]
        own = [row.fields for row in rows if row.base_asset == self.base_asset]
        wallet = whole_wallet(_numbers(self.wallet, step), own)
        return Snapshot(
            account=self.account,
            observed_at=self.start + step * self.interval,
            wallets=(WalletRow(base_asset=self.base_asset, fields=wallet),),
            symbols=tuple(rows),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleTests:
    """A whole test file, valid, with the rules that it tests."""

    path: Path
    ruleset: Ruleset
    cases: tuple[Case, ...]


def _numbers(tracks: Mapping[str, Track], step: int) -> dict[str, Decimal]:
    cells = {name: track.at(step) for name, track in tracks.items()}
    return {name: cell for name, cell in cells.items() if isinstance(cell, Decimal)}


# ── what is not given ───────────────────────────────────────────────────────


def whole_row(given: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """A row's three fields; those not given follow from the identity, order margin being 0."""
    blocked, position, orders = (given.get(name) for name in SYMBOL_FIELDS)
    with decimal.localcontext(EXACT):
        parts = _split(blocked, position, orders, usual_orders=Decimal(0))
    return dict(zip(SYMBOL_FIELDS, parts, strict=True))


def whole_wallet(
    given: Mapping[str, Decimal], rows: Iterable[Mapping[str, Decimal]]
) -> dict[str, Decimal]:
    """A wallet's five fields; what the identities leave open comes from its rows.

    Where neither total nor available is given, nothing is available.
    """
    with decimal.localcontext(EXACT):
        parts = _complete([given.get(name) for name in WALLET_FIELDS], _sums(rows))
    return dict(zip(WALLET_FIELDS, parts, strict=True))


def _complete(
    given: Sequence[Decimal | None], listed: tuple[Decimal, ...]
) -> tuple[Decimal, Decimal, Decimal, Decimal, Decimal]:
    """A wallet's fields in the order of WALLET_FIELDS; `listed` is the sum of its rows."""
    total, available, blocked, position, orders = given
    listed_blocked, listed_position, listed_orders = listed
    if blocked is None and total is not None and available is not None:
        blocked = total - available
    elif blocked is None and position is None and orders is None:
        blocked = listed_blocked
    elif blocked is None and position is None:
        position = listed_position
    blocked, position, orders = _split(blocked, position, orders, usual_orders=listed_orders)
    if total is None:
        total = (available or Decimal(0)) + blocked
    if available is None:
        available = total - blocked
    return total, available, blocked, position, orders


def _sums(rows: Iterable[Mapping[str, Decimal]]) -> tuple[Decimal, ...]:
    listed = list(rows)
    return tuple(sum((row[name] for row in listed), Decimal(0)) for name in SYMBOL_FIELDS)


def _split(
    whole: Decimal | None,
    position: Decimal | None,
    orders: Decimal | None,
    *,
    usual_orders: Decimal,
) -> tuple[Decimal, Decimal, Decimal]:
    """Makes whole = position + orders; values that contradict each other are left as they are."""
    if whole is not None and position is not None:
        return whole, position, whole - position if orders is None else orders
    orders = usual_orders if orders is None else orders
    if whole is not None:
        return whole, whole - orders, orders
    position = Decimal(0) if position is None else position
    return position + orders, position, orders


# ── reading ─────────────────────────────────────────────────────────────────


def load_tests(path: Path) -> RuleTests:
    """The test file at `path`; a ConfigError has all that is wrong with it and with its rules."""
    report = Report(_read(path))
    if not isinstance(report.document.data, dict):
        keys = ", ".join(keys_of(TestsSection))
        kind = kind_of(report.document.data)
        report.value((), f"must be a mapping with the keys {keys}, not {kind}")
        raise ConfigError(report.problems)
    sections = read_as(TestsSection, report)
    ruleset, problems = _rules(report, path, sections.rules)
    _check_names(report, sections.tests)
    cases = [
        _CaseReader(report=report, path=("tests", index), section=each, ruleset=ruleset).read()
        for index, each in enumerate(sections.tests)
    ]
    problems += report.problems
    if problems or ruleset is None:
        raise ConfigError(problems)
    return RuleTests(path=path, ruleset=ruleset, cases=tuple(case for case in cases if case))


def _read(path: Path) -> Document:
    try:
        with path.open("rb") as file:
            document = read_bytes(file.read(MAX_BYTES + 1), file=str(path))
    except FileNotFoundError:
        message = "there is no such file"
    except IsADirectoryError:
        message = "is a directory; a test file is needed"
    except (OSError, ValueError) as error:
        message = f"cannot be read: {getattr(error, 'strerror', None) or 'no usable path'}"
    else:
        if document.data is not None or document.problems:
            return document
        message = "is empty; see rules.example.test.yaml"
    raise ConfigError([Problem(file=str(path), line=1, column=1, path="", message=message)])


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


def _where(report: Report, path: KeyPath) -> str:
    spot = report.document.value(path)
    return f"{report.document.file}:{spot.line}:{spot.column}"


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
        wallet, rows = self._wallet(), self._rows()
        steps = self._steps([*wallet.values(), *_tracks_of(rows)])
        self._check_total(wallet, rows, steps)
        expectations = self._expectations(self._known(account, rows))
        if account is None or self.report.problems:
            return None
        return Case(
            name=section.name,
            where=_where(self.report, self.path),
            account=account,
            base_asset=section.wallet.base_asset,
            start=section.start,
            interval=section.interval,
            steps=steps,
            wallet=wallet,
            rows=rows,
            expectations=expectations,
        )

    def _expectations(self, known: Mapping[str, Iterable[str]]) -> tuple[Expectation, ...]:
        found = [
            _ExpectReader(
                report=self.report,
                path=(*self.path, "expect", index),
                section=each,
                ruleset=self.ruleset,
                known=known,
            ).read()
            for index, each in enumerate(self.section.expect or ())
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

    def _known(self, account: str | None, rows: Mapping[str, Row]) -> dict[str, set[str]]:
        """Label -> the values that it can have in this test."""
        assets = {row.base_asset for row in rows.values()} | {self.section.wallet.base_asset}
        names = {rule.name for rule in self.ruleset.rules} if self.ruleset else set()
        return {
            "account": {account or ""},
            "base_asset": assets,
            "symbol": set(rows),
            "exchange": {EXCHANGE},
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
            for symbol, each in (self.section.symbols or {}).items()
        }

    def _row(self, path: KeyPath, section: RowSection) -> Row:
        tracks = {
            name: self._track((*path, name), getattr(section, name), gaps=tuple(Gap))
            for name in SYMBOL_FIELDS
            if getattr(section, name) is not None
        }
        if not any(self.report.has((*path, name)) for name in SYMBOL_FIELDS):
            self.report.key(path, f"has no field; one of {', '.join(SYMBOL_FIELDS)} is needed")
        return Row(base_asset=section.base_asset or self.section.wallet.base_asset, tracks=tracks)

    def _track(
        self, path: KeyPath, text: str | Number, *, gaps: tuple[Gap, ...] = (Gap.FAILED,)
    ) -> Track:
        if isinstance(text, Number):
            return Track(cells=(), rest=Decimal(text), constant=True)
        cells: list[Cell] = []
        for match in _TOKEN.finditer(text):
            try:
                cells += _cells(match[0], gaps)
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
        if interval is None:
            return 0
        lengths = [len(track.cells) for track in tracks if not track.constant]
        last = max((each.at for each in self.section.expect or () if each.at), default=timedelta(0))
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
        tracks = [*wallet.values(), *_tracks_of(rows)]
        if all(any(track.at(k) is Gap.FAILED for track in tracks) for k in range(steps)):
            return
        both = " and ".join(needed)
        self.report.value(self.path, f"gives neither of {both}; the wallet needs one of them")

    def _places(self, names: Iterable[str]) -> Iterator[tuple[type[Section], KeyPath, str]]:
        for name in names:
            yield WalletSection, (*self.path, "wallet"), name
            yield SeriesSection, (*self.path, "series"), name


def _tracks_of(rows: Mapping[str, Row]) -> list[Track]:
    return [track for row in rows.values() for track in row.tracks.values()]


def _cells(token: str, gaps: tuple[Gap, ...]) -> list[Cell]:
    """The steps that one token of a series stands for."""
    match = _COUNTED.fullmatch(token)
    body, count = (match[1], int(match[2] or 1)) if match else (token, 1)
    if count == 0:
        raise BadValueError(f"{show(token)} is no step at all; the count starts at 1")
    return [_cell(body, token, gaps)] * min(count, MAX_STEPS + 1)


def _cell(body: str, token: str, gaps: tuple[Gap, ...]) -> Cell:
    for gap in Gap:
        if body == gap.value and gap in gaps:
            return gap
        if body == gap.value:
            raise BadValueError(f"{show(token)} is for symbols only: it takes a row away")
    amount = _amount(body)
    if amount is None:
        choices = "1200, 1200x4 (four times), _ (a failed poll)"
        choices += " or - (no row)" if Gap.ABSENT in gaps else ""
        raise BadValueError(f"{show(token)} is no step of a series; write {choices}")
    return Decimal(amount)


# ── expectations ────────────────────────────────────────────────────────────

_KINDS = ("state", "notified", "not_notified")
#: key -> the kinds of expectation that may have it
_ONLY_WITH: Mapping[str, tuple[str, ...]] = {
    "value": ("state",),
    "reason": ("notified", "not_notified"),
    "since": ("not_notified",),
}
_LABELS = ("account", "base_asset", "symbol", "exchange", "undefined_rule")
_SCOPE_LABELS = {
    Scope.ACCOUNT: _LABELS[:1],
    Scope.WALLET: _LABELS[:2],
    Scope.SYMBOL: _LABELS[:4],
}
_BUILTIN_LABELS = {
    BLIND: _LABELS[:1],
    SUSPECT_DATA: _LABELS[:1],
    RULE_UNDEFINED: ("account", "undefined_rule"),
}


@dataclass(kw_only=True, slots=True)
class _ExpectReader:
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
            "where": _where(self.report, self.path),
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
            return ToldExpected(**common, receiver=section.notified or "")
        return SilenceExpected(**common, receiver=section.not_notified or "", since=section.since)

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
            self._check_labels(name, _SCOPE_LABELS[rule.scope])
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
