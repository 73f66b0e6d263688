"""An answer of the wallet -> a snapshot, nothing guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from alerting.engine.feeds import SYMBOL_FIELDS, WALLET_FIELDS, Scope
from alerting.engine.model import FailureKind, Flaw, Snapshot, SymbolRow, WalletRow
from alerting.exchanges.strict_json import (
    AnswerError,
    JsonNumber,
    amount,
    decode,
    loads,
    loads_marked,
    refuse_twice,
    shown,
)
from alerting.redaction import clean

_SERVER_TIME = re.compile(r"[0-9]{12,13}")
_LONGEST_NAME = 64
# The exchange lists about 550 pairs; more rows than this is an attack or an accident, and
# judging each of a million broken rows would take longer than a poll may.
_MOST_ROWS = 5000
_WALLETS = "base_asset_balances"
_ROW_NAMES = ("symbol", "base_asset", "exchange")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# ── snapshots ───────────────────────────────────────────────────────────────


def parse_wallet(body: bytes, *, account: str, observed_at: datetime) -> Snapshot:
    """The body of a wallet_balance answer as a snapshot; AnswerError where it is none."""
    answer = loads_marked(decode(body))
    return snapshot_from_object(answer, account=account, observed_at=observed_at)


def snapshot_from_object(obj: object, *, account: str, observed_at: datetime) -> Snapshot:
    """An answer as `loads_marked` gives it as a snapshot; AnswerError where it is none.

    What cannot be read in a row is a flaw of the row; the rest of the answer is as good as ever.
    """
    data = _data(obj)
    reader = _Reader()
    wallets = tuple(reader.wallets(_list(data, _WALLETS)))
    symbols = tuple(reader.symbols(data.get("asset")))
    return Snapshot(
        account=account,
        observed_at=observed_at,
        wallets=wallets,
        symbols=symbols,
        flaws=tuple(reader.flaws),
    )


def _data(obj: object) -> Mapping[str, object]:
    if not isinstance(obj, dict):
        raise _wrong(f"the answer is {shown(obj)}, not an object")
    refuse_twice(obj)
    data = obj.get("data")
    if data is None:
        raise _wrong(_no_data(obj))
    if not isinstance(data, dict):
        raise _wrong(f"data: {shown(data)} is not an object")
    refuse_twice(data)
    return data


def _list(data: Mapping[str, object], name: str) -> list[object]:
    if name not in data:
        raise _wrong(f"data.{name}: missing")
    rows = data[name]
    if not isinstance(rows, list):
        raise _wrong(f"data.{name}: {shown(rows)} is not a list")
    _refuse_many(name, rows)
    return rows


def _refuse_many(name: str, rows: list[object]) -> None:
    if len(rows) > _MOST_ROWS:
        raise _wrong(f"data.{name}: {len(rows)} rows are more than {_MOST_ROWS}")


class _Reader:
    """Reads row by row, and keeps what it cannot read as a flaw of what it could read so far."""

    def __init__(self) -> None:
        self.flaws: list[Flaw] = []

    def wallets(self, found: list[object]) -> list[WalletRow]:
        """The settlement rows that have a name; AnswerError if nothing of any can be read."""
        rows = []
        for where, raw in self._objects(found, f"data.{_WALLETS}", Scope.WALLET):
            names = self._names(raw, ("base_asset",), where, Scope.WALLET)
            if names is not None:
                fields = self._balances(raw, names)
                rows.append(WalletRow(base_asset=names["base_asset"], fields=fields))
        if found and not any(row.fields for row in rows):
            raise _wrong(f"data.{_WALLETS}: nothing in it can be read: {_summary(self.flaws)}")
        return rows

    def symbols(self, found: object) -> Iterator[SymbolRow]:
        """The symbol rows that have a full name; a list that is none spoils them all."""
        if found is None:
            return
        if not isinstance(found, list):
            self._flaw(f"data.asset: {shown(found)} is not a list", Scope.SYMBOL, {})
            return
        _refuse_many("asset", found)
        for where, raw in self._objects(found, "data.asset", Scope.SYMBOL):
            names = self._names(raw, _ROW_NAMES, where, Scope.SYMBOL)
            if names is not None:
                fields = self._amounts(raw, SYMBOL_FIELDS, names["symbol"], Scope.SYMBOL, names)
                yield SymbolRow(**names, fields=fields)

    def _objects(
        self, found: list[object], path: str, scope: Scope
    ) -> Iterator[tuple[str, Mapping[str, object]]]:
        for number, raw in enumerate(found):
            where = f"{path}[{number}]"
            if isinstance(raw, dict):
                yield where, raw
            else:
                self._flaw(f"{where}: {shown(raw)} is not an object", scope, None)

    def _names(
        self, raw: Mapping[str, object], wanted: Sequence[str], where: str, scope: Scope
    ) -> dict[str, str] | None:
        """The row's names; None: not all of them can be read, and a flaw says so."""
        names, problems = {}, []
        for key in wanted:
            try:
                names[key] = _name(raw[key])
            except KeyError:
                problems.append(f"{where}.{key}: missing")
            except ValueError as error:
                problems.append(f"{where}.{key}: {error}")
        if not problems:
            return names
        # without its own name a row is nobody's; the totals tell whose margin is not listed
        self._flaw("; ".join(problems), scope, names if wanted[0] in names else None)
        return None

    def _balances(self, raw: Mapping[str, object], names: Mapping[str, str]) -> dict[str, Decimal]:
        where, balances = names["base_asset"], raw.get("balances")
        if not isinstance(balances, dict):
            problem = f"{shown(balances)} is not an object" if "balances" in raw else "missing"
            self._flaw(f"{where}: balances: {problem}", Scope.WALLET, names)
            return {}
        fields = self._amounts(balances, WALLET_FIELDS, where, Scope.WALLET, names)
        if not fields:
            self._flaw(f"{where}: balances: no known balance in it", Scope.WALLET, names)
        return fields

    def _amounts(
        self,
        raw: Mapping[str, object],
        wanted: Sequence[str],
        where: str,
        scope: Scope,
        names: Mapping[str, str],
    ) -> dict[str, Decimal]:
        fields = {}
        for key in wanted:
            try:
                number = amount(raw.get(key))
            except ValueError as error:
                self._flaw(f"{where}: {key}: {error}", scope, names)
                continue
            if number is not None:
                fields[key] = number
        return fields

    def _flaw(self, text: str, scope: Scope, labels: Mapping[str, str] | None) -> None:
        self.flaws.append(Flaw(text=text, scope=scope, labels=labels))


def _name(value: object) -> str:
    if not isinstance(value, str) or isinstance(value, JsonNumber):
        raise ValueError(f"{shown(value)} is not a text")  # noqa: TRY004 - as amount() says it
    if not value.strip() or len(value) > _LONGEST_NAME or not value.isprintable():
        raise ValueError(f"{shown(value)} is not a name of 1 to {_LONGEST_NAME} characters")
    return value


def _summary(flaws: Sequence[Flaw]) -> str:
    more = f" (and {len(flaws) - 1} more)" if len(flaws) > 1 else ""
    return f"{flaws[0].text}{more}"


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


def _no_data(answer: Mapping[str, object]) -> str:
    message = answer.get("message")
    said = f': "{clean(message)}"' if isinstance(message, str) and message else ""
    return f"the answer has no data{said}"


def _wrong(text: str) -> AnswerError:
    return AnswerError(FailureKind.WRONG_SHAPE, text)
