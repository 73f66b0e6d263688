"""One test, ready to run: what is polled at each step, and what is expected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from alerting.engine.feeds import POSITIONS, WALLET
from alerting.engine.model import Reason, Severity, State
from alerting.engine.rules import Ruleset
from alerting.engine.snapshot import (
    FailureKind,
    PollFailure,
    PollOutcome,
    PositionRow,
    Snapshot,
    SymbolRow,
    WalletRow,
)
from alerting.ruletest.series import (
    Gap,
    Position,
    Row,
    Track,
    whole_position,
    whole_row,
    whole_wallet,
)

#: what the API gives as the exchange of every row
EXCHANGE = "EXCHANGE_2"


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
class NotifiedExpected(Expectation):
    """A receiver is told in the evaluation at `at`."""

    receiver: str
    reason: Reason | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NotNotifiedExpected(Expectation):
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
    #: by their symbols
    rows: Mapping[str, Row]
    positions: Mapping[str, Position]
    expectations: tuple[Expectation, ...]

    def tracks(self, feed: str) -> Iterator[tuple[str, Track]]:
        """Each field of a feed that the file gives, by the name that people see."""
        if feed == POSITIONS:
            for symbol, position in self.positions.items():
                for name, track in position.tracks.items():
                    yield f"{symbol} {position.side.value} {name}", track
            return
        yield from self.wallet.items()
        for symbol, row in self.rows.items():
            for name, track in row.tracks.items():
                yield f"{symbol} {name}", track

    def outcome(self, step: int, feed: str = WALLET) -> PollOutcome:
        """What the poll of a feed gives in a step."""
        if any(track.at(step) is Gap.FAILED for _, track in self.tracks(feed)):
            text = "the test says so (_)"
            return PollFailure(account=self.account, feed=feed, kind=FailureKind.UNKNOWN, text=text)
        return self._positions(step) if feed == POSITIONS else self._wallet(step)

    def _wallet(self, step: int) -> Snapshot:
        rows = [
            SymbolRow(
                symbol=symbol,
                base_asset=row.base_asset,
                exchange=EXCHANGE,
                fields=whole_row(_numbers(row.tracks, step)),
            )
            for symbol, row in self.rows.items()
            if not _absent(row.tracks, step)
        ]
        own = [row.fields for row in rows if row.base_asset == self.base_asset]
        wallet = whole_wallet(_numbers(self.wallet, step), own)
        return Snapshot(
            account=self.account,
            observed_at=self.start + step * self.interval,
            wallets=(WalletRow(base_asset=self.base_asset, fields=wallet),),
            symbols=tuple(rows),
        )

    def _positions(self, step: int) -> Snapshot:
        absent = {symbol for symbol, each in self.positions.items() if _absent(each.tracks, step)}
        return Snapshot(
            account=self.account,
            feed=POSITIONS,
            observed_at=self.start + step * self.interval,
            positions=tuple(
                PositionRow(
                    symbol=symbol,
                    base_asset=each.base_asset,
                    exchange=EXCHANGE,
                    side=each.side,
                    fields=whole_position(_numbers(each.tracks, step)),
                )
                for symbol, each in self.positions.items()
                if symbol not in absent
            ),
            liquidated=frozenset(each for each in absent if self.positions[each].liquidated),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleTests:
    """A whole test file, valid, with the rules that it tests."""

    path: Path
    ruleset: Ruleset
    cases: tuple[Case, ...]


def _absent(tracks: Mapping[str, Track], step: int) -> bool:
    return any(track.at(step) is Gap.ABSENT for track in tracks.values())


def _numbers(tracks: Mapping[str, Track], step: int) -> dict[str, Decimal]:
    cells = {name: track.at(step) for name, track in tracks.items()}
    return {name: cell for name, cell in cells.items() if isinstance(cell, Decimal)}
