"""An answer of the wallet -> a snapshot, nothing guessed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from alerting.engine.feeds import SYMBOL_FIELDS, WALLET_FIELDS
from alerting.engine.model import FailureKind, Snapshot, SymbolRow, WalletRow
from alerting.exchanges.strict_json import AnswerError, JsonNumber, amount, decode, loads, shown
from alerting.redaction import clean

_SERVER_TIME = re.compile(r"[0-9]{12,13}")
_LONGEST_NAME = 64
# The exchange lists about 550 pairs; more rows than this is an attack or an accident, and
# judging each of a million broken rows would take longer than a poll may.
_MOST_ROWS = 5000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# ── the shape ───────────────────────────────────────────────────────────────


def _name(value: object) -> str:
    if not isinstance(value, str) or isinstance(value, JsonNumber):
        raise ValueError(f"{shown(value)} is not a text")  # noqa: TRY004 - pydantic wants ValueError
    if not value.strip() or len(value) > _LONGEST_NAME or not value.isprintable():
        raise ValueError(f"{shown(value)} is not a name of 1 to {_LONGEST_NAME} characters")
    return value


def _few(value: object) -> object:
    if isinstance(value, list) and len(value) > _MOST_ROWS:
        raise ValueError(f"{len(value)} rows are more than {_MOST_ROWS}")
    return value


_Amount = Annotated[Decimal | None, PlainValidator(amount)]
_Name = Annotated[str, PlainValidator(_name)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Balances(_Model):
    total_balance: _Amount = None
    total_available_balance: _Amount = None
    total_blocked_balance: _Amount = None
    total_position_margin: _Amount = None
    total_open_order_margin: _Amount = None

    @model_validator(mode="after")
    def _not_empty(self) -> _Balances:
        if not _present(self, WALLET_FIELDS):
            raise ValueError("no known balance in it")
        return self


class _Wallet(_Model):
    base_asset: _Name
    balances: _Balances


class _Symbol(_Model):
    symbol: _Name
    base_asset: _Name
    exchange: _Name
    blocked_balance: _Amount = None
    position_margin: _Amount = None
    open_order_margin: _Amount = None


class _Data(_Model):
    base_asset_balances: Annotated[list[_Wallet], BeforeValidator(_few)]
    asset: Annotated[list[_Symbol] | None, BeforeValidator(_few)] = None


class _Answer(_Model):
    data: _Data


def _present(row: _Model, names: Iterable[str]) -> dict[str, Decimal]:
    values = ((name, getattr(row, name)) for name in names)
    return {name: value for name, value in values if value is not None}


# ── snapshots ───────────────────────────────────────────────────────────────


def parse_wallet(body: bytes, *, account: str, observed_at: datetime) -> Snapshot:
    """The body of a wallet_balance answer as a snapshot; AnswerError where it is none."""
    return snapshot_from_object(loads(decode(body)), account=account, observed_at=observed_at)


def snapshot_from_object(obj: object, *, account: str, observed_at: datetime) -> Snapshot:
    """An answer as `loads` gives it as a snapshot; AnswerError where it is none."""
    if not isinstance(obj, dict):
        raise _wrong(f"the answer is {shown(obj)}, not an object")
    if obj.get("data") is None:
        raise _wrong(_no_data(obj))
    try:
        data = _Answer.model_validate(obj).data
    except ValidationError as error:
        raise _wrong(_first_problem(error)) from None
    wallets = tuple(
        WalletRow(base_asset=row.base_asset, fields=_present(row.balances, WALLET_FIELDS))
        for row in data.base_asset_balances
    )
    symbols = tuple(_symbol_row(row) for row in data.asset or ())
    _refuse_twins("data.base_asset_balances", [(row.base_asset,) for row in wallets])
    _refuse_twins("data.asset", [(row.symbol, row.base_asset, row.exchange) for row in symbols])
    return Snapshot(account=account, observed_at=observed_at, wallets=wallets, symbols=symbols)


def message_of(body: bytes) -> str | None:
    """What an error answer says of itself, for showing; None where it is no JSON object."""
    try:
        answer = loads(decode(body))
    except AnswerError:
        return None
    if not isinstance(answer, dict):
        return None
    message = answer.get("message")
    return clean(message) if isinstance(message, str) else ""


def parse_server_time(body: bytes) -> datetime | None:
    """The instant in a `/time` answer; None where it has none."""
    try:
        answer = loads(decode(body))
    except AnswerError:
        return None
    stamp = answer.get("serverTime") if isinstance(answer, dict) else None
    if not isinstance(stamp, str) or not _SERVER_TIME.fullmatch(stamp):
        return None
    return _EPOCH + timedelta(milliseconds=int(stamp))


def _symbol_row(row: _Symbol) -> SymbolRow:
    return SymbolRow(
        symbol=row.symbol,
        base_asset=row.base_asset,
        exchange=row.exchange,
        fields=_present(row, SYMBOL_FIELDS),
    )


def _refuse_twins(path: str, keys: list[tuple[str, ...]]) -> None:
    seen: set[tuple[str, ...]] = set()
    for key in keys:
        if key in seen:
            raise _wrong(f"{path}: two rows of {clean('/'.join(key))}")
        seen.add(key)


def _no_data(answer: Mapping[str, object]) -> str:
    message = answer.get("message")
    said = f': "{clean(message)}"' if isinstance(message, str) and message else ""
    return f"the answer has no data{said}"


def _wrong(text: str) -> AnswerError:
    return AnswerError(FailureKind.WRONG_SHAPE, text)


def _first_problem(error: ValidationError) -> str:
    first, *others = error.errors(include_url=False)
    more = f" (and {len(others)} more)" if others else ""
    return f"{_path(first['loc'])}: {_problem(first)}{more}"


def _path(location: tuple[int | str, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).removeprefix(".")


def _problem(details: ErrorDetails) -> str:
    match details["type"]:
        case "missing":
            return "missing"
        case "value_error":
            return str(details["ctx"]["error"])
        case "list_type":
            return f"{shown(details['input'])} is not a list"
        case _:
            return f"{shown(details['input'])} is not an object"
