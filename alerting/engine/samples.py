"""The values that a snapshot has for the names of feeds.py, row by row.

A name without a value (field absent, division by zero) is None; an expression that needs it is then
"no data".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from alerting.engine.expressions import Values
from alerting.engine.feeds import SYMBOL_FIELDS, WALLET_FIELDS, Scope
from alerting.engine.model import AccountState, Snapshot, SymbolRow, WalletRow


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What one alert of a scope is judged by."""

    #: the labels that identify the alert
    labels: Mapping[str, str]
    values: Values
    #: the row's own API fields, for messages
    fields: Mapping[str, Decimal]


def samples(snapshot: Snapshot, scope: Scope) -> Iterator[Sample]:
    """One sample for each row of a wallet or symbol scope, in the answer's order."""
    if scope is Scope.WALLET:
        listed = _listed(snapshot)
        for wallet in snapshot.wallets:
            yield _wallet_sample(snapshot.account, wallet, listed(wallet.base_asset))
    else:
        wallets = _totals(snapshot.wallets)
        for row in snapshot.symbols:
            yield _symbol_sample(snapshot.account, row, wallets.get(row.base_asset, {}))


#: a row's labels -> its samples; several only where the answer has several rows of one name
ByRow = Mapping[frozenset[tuple[str, str]], list[Sample]]


def by_row(found: Iterable[Sample]) -> ByRow:
    """Samples by the row that they are of, in their order."""
    rows: dict[frozenset[tuple[str, str]], list[Sample]] = {}
    for sample in found:
        rows.setdefault(frozenset(sample.labels.items()), []).append(sample)
    return rows


def account_sample(account: AccountState, now: datetime) -> Sample:
    """The account's own sample, which exists without a snapshot too."""
    age = None
    if account.last_snapshot_at is not None:
        age = seconds(now - account.last_snapshot_at)
    failures = Decimal(account.poll_failures)
    values = {"snapshot_age": age, "poll_failures": failures}
    shown = {name: value for name, value in values.items() if value is not None}
    return Sample(labels={"account": account.name}, values=values, fields=shown)


def seconds(duration: timedelta) -> Decimal:
    """A duration in seconds, exactly; a clock that was set back gives no negative age."""
    microseconds = max(0, duration // timedelta(microseconds=1))
    return Decimal(microseconds) / Decimal(1_000_000)


def _wallet_sample(account: str, wallet: WalletRow, listed: Decimal | None) -> Sample:
    fields = wallet.fields
    values = {
        **dict.fromkeys(WALLET_FIELDS),
        **fields,
        "margin_ratio": _ratio(fields.get("total_blocked_balance"), fields.get("total_balance")),
        "available_ratio": _ratio(
            fields.get("total_available_balance"), fields.get("total_balance")
        ),
        "unlisted_margin": _minus(fields.get("total_blocked_balance"), listed),
    }
    labels = {"account": account, "base_asset": wallet.base_asset}
    return Sample(labels=labels, values=values, fields=fields)


def _symbol_sample(account: str, row: SymbolRow, wallet: Mapping[str, Decimal]) -> Sample:
    blocked = row.fields.get("blocked_balance")
    values = {
        **dict.fromkeys((*SYMBOL_FIELDS, *WALLET_FIELDS)),
        **wallet,
        **row.fields,
        "margin_ratio": _ratio(blocked, wallet.get("total_balance")),
        "concentration": _ratio(blocked, wallet.get("total_blocked_balance")),
    }
    labels = {
        "account": account,
        "base_asset": row.base_asset,
        "symbol": row.symbol,
        "exchange": row.exchange,
    }
    return Sample(labels=labels, values=values, fields={**wallet, **row.fields})


def _totals(wallets: Iterable[WalletRow]) -> dict[str, Mapping[str, Decimal]]:
    """Asset -> its totals; where two rows contradict each other, what they agree in."""
    found: dict[str, Mapping[str, Decimal]] = {}
    for wallet in wallets:
        known = found.get(wallet.base_asset, wallet.fields)
        found[wallet.base_asset] = dict(known.items() & wallet.fields.items())
    return found


def _listed(snapshot: Snapshot) -> Callable[[str], Decimal | None]:
    """From an asset to the margin of all its rows; None: that of some row cannot be known.

    One pass for all assets: an answer may hold thousands of rows of both kinds.
    """
    rows: dict[str, dict[tuple[str, str], Decimal | None]] = {}
    #: None: nobody knows of which asset
    unknown: set[str | None] = set()
    for row in snapshot.symbols:
        known, name = rows.setdefault(row.base_asset, {}), (row.symbol, row.exchange)
        if name in known:
            unknown.add(row.base_asset)
        known[name] = row.fields.get("blocked_balance")
    for flaw in snapshot.flaws:
        labels = flaw.labels or {}
        named = labels.keys() >= {"base_asset", "symbol", "exchange"}
        if flaw.scope is Scope.SYMBOL and not named:
            unknown.add(labels.get("base_asset"))
    sums = {asset: _sum(known.values()) for asset, known in rows.items()}
    return lambda asset: None if unknown & {asset, None} else sums.get(asset, Decimal(0))


def _sum(parts: Iterable[Decimal | None]) -> Decimal | None:
    total = Decimal(0)
    for part in parts:
        if part is None:
            return None
        total += part
    return total


def _ratio(part: Decimal | None, whole: Decimal | None) -> Decimal | None:
    if part is None or whole is None or whole == 0:
        return None
    return part / whole


def _minus(total: Decimal | None, part: Decimal | None) -> Decimal | None:
    return None if total is None or part is None else total - part
