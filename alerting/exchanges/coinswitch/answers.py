"""An answer of the wallet -> a snapshot, nothing guessed; and what other answers say in short."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from alerting.engine.feeds import SYMBOL_FIELDS, WALLET_FIELDS, Scope
from alerting.engine.snapshot import Snapshot, SymbolRow, WalletRow
from alerting.exchanges.coinswitch.rows import (
    RowReader,
    data_of,
    list_in,
    object_in,
    object_of,
    refuse_many,
    summary,
    wrong,
)
from alerting.exchanges.strict_json import AnswerError, decode, loads, loads_marked, shown
from alerting.redaction import clean

_SERVER_TIME = re.compile(r"[0-9]{12,13}")
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
    data = object_in(data_of(object_of(obj)), "data")
    if _WALLETS not in data:
        raise wrong(f"data.{_WALLETS}: missing")
    reader = _Reader()
    wallets = tuple(reader.wallets(list_in(data[_WALLETS], f"data.{_WALLETS}")))
    symbols = tuple(reader.symbols(data.get("asset")))
    return Snapshot(
        account=account,
        observed_at=observed_at,
        wallets=wallets,
        symbols=symbols,
        flaws=tuple(reader.flaws),
    )


class _Reader(RowReader):
    """Reads the wallet's two lists."""

    def wallets(self, found: list[object]) -> list[WalletRow]:
        """The settlement rows that have a name; AnswerError if nothing of any can be read."""
        rows = []
        for where, raw in self.objects(found, f"data.{_WALLETS}", Scope.WALLET):
            names = self.names(raw, ("base_asset",), where, Scope.WALLET)
            if names is not None:
                fields = self._balances(raw, names)
                rows.append(WalletRow(base_asset=names["base_asset"], fields=fields))
        if found and not any(row.fields for row in rows):
            raise wrong(f"data.{_WALLETS}: nothing in it can be read: {summary(self.flaws)}")
        return rows

    def symbols(self, found: object) -> Iterator[SymbolRow]:
        """The symbol rows that have a full name; a list that is none spoils them all."""
        if found is None:
            return
        if not isinstance(found, list):
            self.flaw(f"data.asset: {shown(found)} is not a list", Scope.SYMBOL, {})
            return
        refuse_many("data.asset", found)
        for where, raw in self.objects(found, "data.asset", Scope.SYMBOL):
            names = self.names(raw, _ROW_NAMES, where, Scope.SYMBOL)
            if names is not None:
                fields = self.amounts(raw, SYMBOL_FIELDS, names["symbol"], Scope.SYMBOL, names)
                yield SymbolRow(**names, fields=fields)

    def _balances(self, raw: Mapping[str, object], names: Mapping[str, str]) -> dict[str, Decimal]:
        where, balances = names["base_asset"], raw.get("balances")
        if not isinstance(balances, dict):
            problem = f"{shown(balances)} is not an object" if "balances" in raw else "missing"
            self.flaw(f"{where}: balances: {problem}", Scope.WALLET, names)
            return {}
        fields = self.amounts(balances, WALLET_FIELDS, where, Scope.WALLET, names)
        if not fields:
            self.flaw(f"{where}: balances: no known balance in it", Scope.WALLET, names)
        return fields


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
