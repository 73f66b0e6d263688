"""What was seen of an account: the rows of a page, and how a reading of it failed."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from alerting.engine.feeds import WALLET, Scope


class Side(enum.Enum):
    """Which way a position earns: with a rising price, or with a falling one."""

    LONG = "LONG"
    SHORT = "SHORT"

    @property
    def sign(self) -> int:
        """+1 for LONG, -1 for SHORT."""
        return 1 if self is Side.LONG else -1


class FailureKind(enum.Enum):
    """Why a poll gave no snapshot."""

    CREDENTIALS = "credentials"
    CLOCK = "clock"
    RATE_LIMIT = "rate limit"
    EXCHANGE_DOWN = "exchange down"
    NETWORK = "network"
    NOT_JSON = "not JSON"
    WRONG_SHAPE = "wrong shape"
    #: a recorded failure whose kind was not kept
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class WalletRow:
    """The balances of one settlement asset."""

    base_asset: str
    #: API field name -> amount in base_asset; a field that the answer lacks is not in it
    fields: Mapping[str, Decimal]


@dataclass(frozen=True, kw_only=True, slots=True)
class SymbolRow:
    """The margin that one symbol holds."""

    symbol: str
    base_asset: str
    exchange: str
    #: API field name -> amount in base_asset; a field that the answer lacks is not in it
    fields: Mapping[str, Decimal]


@dataclass(frozen=True, kw_only=True, slots=True)
class PositionRow:
    """One open position."""

    symbol: str
    #: the settlement asset
    base_asset: str
    exchange: str
    side: Side
    #: API field name -> number, as the page says it: its signs and scale are not repaired here.
    #: The instrument's `maint_margin_rate` (percent) and `liq_fee_rate` (a fraction) are among
    #: them, where they are known; a field that the answer lacks is not
    fields: Mapping[str, Decimal]

    @property
    def labels(self) -> dict[str, str]:
        """What tells it from all others of its account."""
        return {
            "base_asset": self.base_asset,
            "symbol": self.symbol,
            "exchange": self.exchange,
            "side": self.side.value,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Flaw:
    """One way in which a snapshot cannot be trusted, and what it touches."""

    text: str
    #: by how much, in units of the asset; None: not a matter of amounts
    amount: Decimal | None = None
    #: ACCOUNT: all of the answer; WALLET: an asset with its symbols; SYMBOL: symbol rows alone
    scope: Scope
    #: of what it touches, as far as they are known; None: of a row that nobody can name
    labels: Mapping[str, str] | None = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """One reading of one feed of an account; the rows of other feeds are empty."""

    account: str
    feed: str = WALLET
    observed_at: datetime
    wallets: tuple[WalletRow, ...] = ()
    symbols: tuple[SymbolRow, ...] = ()
    positions: tuple[PositionRow, ...] = ()
    #: symbols of positions that are gone for which the exchange took a liquidation fee; None: it
    #: could not be asked
    liquidated: frozenset[str] | None = frozenset()
    #: what of the answer could not be read
    flaws: tuple[Flaw, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PollFailure:
    """A poll that gave no snapshot, and why; `text` carries no secret."""

    account: str
    feed: str = WALLET
    kind: FailureKind
    text: str
    #: the service asked to be left alone for so long (Retry-After)
    retry_after: timedelta | None = None

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.text}"


#: What one poll gave.
PollOutcome = Snapshot | PollFailure


@dataclass(frozen=True, kw_only=True, slots=True)
class Poll:
    """One reading of one feed of an account: what it gave, and the answer it was read from."""

    #: when it ended
    at: datetime
    account: str
    feed: str = WALLET
    #: the answer's text, as it came; None where there was none
    body: str | None = None
    outcome: PollOutcome
    #: what else was asked for it: the page -> what it answered, or why it did not
    beside: Mapping[str, str | PollFailure] = field(default_factory=dict)
    #: when it was to begin, and the schedule's interval; None: not known
    due: datetime | None = None
    interval: timedelta | None = None
