"""The shape of a test file: its sections, and what a single value may be."""

from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator
from pydantic import Field as Key

from alerting.config.schema import Section
from alerting.config.values import (
    Amount,
    BadValueError,
    Duration,
    Name,
    PositiveDuration,
    SeverityName,
    Text,
    one_of,
    show,
)
from alerting.config.yaml_reader import Number, complaint, plain
from alerting.engine.model import Reason
from alerting.engine.snapshot import Side
from alerting.units import parse_instant

# An absent key is None to mypy; to pydantic, a written `null` is an error.
if TYPE_CHECKING:
    from typing import Optional as Maybe
else:
    from alerting.config.values import Maybe


_DEFAULT_START = datetime(2026, 1, 1, tzinfo=UTC)
# Every instant of a test stays far inside the calendar.
_YEARS = range(1971, 9000)


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
    amount = amount_of(value) if isinstance(value, str) else value
    if not isinstance(amount, Number):
        raise BadValueError(
            f"{show(value)} is not one amount; what changes with time belongs under series"
        )
    return Decimal(amount)


def amount_of(text: str) -> Number | None:
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
_SideName = Annotated[Side, BeforeValidator(one_of(Side))]
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


class PositionSection(Section):
    """One symbol's position; a series with `-` takes it out of the answer."""

    side: _SideName
    position_size: Maybe[_Series] = None
    avg_entry_price: Maybe[_Series] = None
    position_margin: Maybe[_Series] = None
    mark_price: Maybe[_Series] = None
    maint_margin_rate: Maybe[_Series] = None
    liq_fee_rate: Maybe[_Series] = None
    leverage: Maybe[_Series] = None
    position_value: Maybe[_Series] = None
    last_price: Maybe[_Series] = None
    reported_maint_margin: Maybe[_Series] = None
    reported_unrealised_pnl: Maybe[_Series] = None
    reported_liquidation_price: Maybe[_Series] = None
    #: where it is absent, the exchange took a liquidation fee for it
    liquidated: bool = False


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
    side: Maybe[Text] = None
    feed: Maybe[Text] = None
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
    positions: dict[Name, PositionSection] = Key(default_factory=dict)
    expect: Annotated[list[ExpectSection], Key(min_length=1)]


class TestsSection(Section):
    """The whole file."""

    rules: Text
    tests: Annotated[list[CaseSection], Key(min_length=1)]
