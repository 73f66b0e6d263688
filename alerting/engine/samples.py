"""The values that a snapshot has for the names of feeds.py, row by row.

A name without a value (field absent, division by zero) is None; an expression that needs it is then
"no data".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from alerting.engine import risk
from alerting.engine.expressions import Values
from alerting.engine.feeds import SYMBOL_FIELDS, WALLET_FIELDS, Scope
from alerting.engine.model import AccountState
from alerting.engine.snapshot import PositionRow, Snapshot, SymbolRow, WalletRow


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What one alert of a scope is judged by."""

    #: the labels that identify the alert
    labels: Mapping[str, str]
    values: Values
    #: the row's own API fields, for messages
    fields: Mapping[str, Decimal]


#: asset -> its wallet's fields
Totals = Mapping[str, Mapping[str, Decimal]]


def samples(snapshot: Snapshot, scope: Scope, totals: Totals | None = None) -> Iterator[Sample]:
    """One sample for each row of the scope, in the answer's order.

    `totals`: of the account's wallet, for rows of another feed than that.
    """
    if scope is Scope.WALLET:
        listed = _listed(snapshot)
        for wallet in snapshot.wallets:
            yield _wallet_sample(snapshot.account, wallet, listed(wallet.base_asset))
    elif scope is Scope.SYMBOL:
        wallets = _totals(snapshot.wallets)
        for row in snapshot.symbols:
            yield _symbol_sample(snapshot.account, row, wallets.get(row.base_asset, {}))
    else:
        for position in snapshot.positions:
            asset_fields = (totals or {}).get(position.base_asset, {})
            yield _position_sample(snapshot.account, position, asset_fields)


#: a row's labels -> its samples; several only where the answer has several rows of one name
ByRow = Mapping[frozenset[tuple[str, str]], list[Sample]]


def by_row(found: Iterable[Sample]) -> ByRow:
    """Samples by the row that they are of, in their order."""
    rows: dict[frozenset[tuple[str, str]], list[Sample]] = {}
    for sample in found:
        rows.setdefault(frozenset(sample.labels.items()), []).append(sample)
    return rows


def account_sample(account: AccountState, feed: str, now: datetime) -> Sample:
    """The sample of one feed of an account, which exists without a snapshot too."""
    state, age = account.feed(feed), None
    if state.last_snapshot_at is not None:
        age = seconds(now - state.last_snapshot_at)
    failures = Decimal(state.poll_failures)
    values = {"snapshot_age": age, "poll_failures": failures}
    shown = {name: value for name, value in values.items() if value is not None}
    return Sample(labels={"account": account.name, "feed": feed}, values=values, fields=shown)


def fresh_totals(account: AccountState, now: datetime, *, longest: timedelta) -> Totals:
    """The wallets of an account that were read well, and not longer ago than `longest`."""
    return {
        asset: seen.fields for asset, seen in account.totals.items() if now - seen.at <= longest
    }


def seconds(duration: timedelta) -> Decimal:
    """A duration in seconds, exactly; a clock that was set back gives no negative age."""
    microseconds = max(0, duration // timedelta(microseconds=1))
    return Decimal(microseconds) / Decimal(1_000_000)


def wallet_values(fields: Mapping[str, Decimal], listed: Decimal | None) -> Values:
    """What the names of a wallet stand for; `listed` is the margin of all its rows, where known."""
    return {
        **dict.fromkeys(WALLET_FIELDS),
        **fields,
        "margin_ratio": _ratio(fields.get("total_blocked_balance"), fields.get("total_balance")),
        "available_ratio": _ratio(
            fields.get("total_available_balance"), fields.get("total_balance")
        ),
        "unlisted_margin": _minus(fields.get("total_blocked_balance"), listed),
    }


def symbol_values(fields: Mapping[str, Decimal], wallet: Mapping[str, Decimal]) -> Values:
    """What the names of a symbol row stand for; `wallet` has its asset's totals."""
    blocked = fields.get("blocked_balance")
    return {
        **dict.fromkeys((*SYMBOL_FIELDS, *WALLET_FIELDS)),
        **wallet,
        **fields,
        "margin_ratio": _ratio(blocked, wallet.get("total_balance")),
        "concentration": _ratio(blocked, wallet.get("total_blocked_balance")),
    }


def _wallet_sample(account: str, wallet: WalletRow, listed: Decimal | None) -> Sample:
    labels = {"account": account, "base_asset": wallet.base_asset}
    values = wallet_values(wallet.fields, listed)
    return Sample(labels=labels, values=values, fields=wallet.fields)


def _symbol_sample(account: str, row: SymbolRow, wallet: Mapping[str, Decimal]) -> Sample:
    values = symbol_values(row.fields, wallet)
    labels = {
        "account": account,
        "base_asset": row.base_asset,
        "symbol": row.symbol,
        "exchange": row.exchange,
    }
    return Sample(labels=labels, values=values, fields={**wallet, **row.fields})


def _position_sample(account: str, row: PositionRow, totals: Mapping[str, Decimal]) -> Sample:
    figures = risk.figures(row)
    known = {name: value for name, value in figures.items() if value is not None}
    return Sample(
        labels={"account": account, **row.labels},
        values={**dict.fromkeys(WALLET_FIELDS), **totals, **figures},
        fields={**totals, **known},
    )


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
