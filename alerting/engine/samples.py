"""What can be measured: the names that expressions may use, and their values in a snapshot.

All names are the API's own field names, plus the few derived ones below. A name without a value
(field absent, division by zero) is None; an expression that needs it is then "no data".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from alerting.engine.model import AccountState, Snapshot, SymbolRow, WalletRow
from alerting.engine.rules import Scope

#: A name's value; None where it has none.
Values = Mapping[str, Decimal | None]

WALLET_FIELDS = (
    "total_balance",
    "total_available_balance",
    "total_blocked_balance",
    "total_position_margin",
    "total_open_order_margin",
)
SYMBOL_FIELDS = ("blocked_balance", "position_margin", "open_order_margin")

#: What `value` and `when` may name, per scope.
NAMES: Mapping[Scope, tuple[str, ...]] = {
    Scope.WALLET: (*WALLET_FIELDS, "margin_ratio", "available_ratio", "unlisted_margin"),
    Scope.SYMBOL: (*SYMBOL_FIELDS, *WALLET_FIELDS, "margin_ratio", "concentration"),
    Scope.ACCOUNT: ("snapshot_age", "poll_failures"),
}


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
        for wallet in snapshot.wallets:
            yield _wallet_sample(snapshot, wallet)
    else:
        wallets = {wallet.base_asset: wallet.fields for wallet in snapshot.wallets}
        for row in snapshot.symbols:
            yield _symbol_sample(snapshot.account, row, wallets.get(row.base_asset, {}))


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


def _wallet_sample(snapshot: Snapshot, wallet: WalletRow) -> Sample:
    fields = wallet.fields
    listed = [
        row.fields.get("blocked_balance")
        for row in snapshot.symbols
        if row.base_asset == wallet.base_asset
    ]
    values = {
        **dict.fromkeys(WALLET_FIELDS),
        **fields,
        "margin_ratio": _ratio(fields.get("total_blocked_balance"), fields.get("total_balance")),
        "available_ratio": _ratio(
            fields.get("total_available_balance"), fields.get("total_balance")
        ),
        "unlisted_margin": _minus_sum(fields.get("total_blocked_balance"), listed),
    }
    labels = {"account": snapshot.account, "base_asset": wallet.base_asset}
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


def _ratio(part: Decimal | None, whole: Decimal | None) -> Decimal | None:
    if part is None or whole is None or whole == 0:
        return None
    return part / whole


def _minus_sum(total: Decimal | None, parts: list[Decimal | None]) -> Decimal | None:
    known = [part for part in parts if part is not None]
    if total is None or len(known) < len(parts):
        return None
    return total - sum(known, Decimal(0))


# ── accounting identities ───────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class Flaw:
    """One way in which a snapshot cannot be trusted."""

    text: str
    #: by how much an identity is off, in units of the asset; None: not a matter of amounts
    amount: Decimal | None = None


_WALLET_IDENTITIES = (
    ("total_balance", "total_available_balance", "total_blocked_balance"),
    ("total_blocked_balance", "total_position_margin", "total_open_order_margin"),
)
_SYMBOL_IDENTITIES = (("blocked_balance", "position_margin", "open_order_margin"),)


def flaws(snapshot: Snapshot, *, known_assets: frozenset[str], tolerance: Decimal) -> list[Flaw]:
    """Everything that makes a snapshot suspect; rows that do not sum to the totals are normal."""
    found = []
    present = {wallet.base_asset for wallet in snapshot.wallets}
    if not present and not known_assets:
        found.append(Flaw(text="the answer holds no settlement asset at all"))
    found.extend(
        Flaw(text=f"the {asset} settlement row is gone") for asset in sorted(known_assets - present)
    )
    for wallet in snapshot.wallets:
        found += _broken(wallet.base_asset, wallet.fields, _WALLET_IDENTITIES, tolerance)
    for row in snapshot.symbols:
        found += _broken(row.symbol, row.fields, _SYMBOL_IDENTITIES, tolerance)
    return found


def _broken(
    subject: str,
    fields: Mapping[str, Decimal],
    identities: tuple[tuple[str, str, str], ...],
    tolerance: Decimal,
) -> list[Flaw]:
    found = []
    for whole, first, second in identities:
        missing = [name for name in (whole, first, second) if name not in fields]
        if missing:
            # an identity that cannot be checked is as little a reason for trust as a broken one
            found.append(Flaw(text=f"{subject}: {', '.join(missing)} missing"))
            continue
        off = fields[whole] - fields[first] - fields[second]
        if abs(off) > tolerance:
            found.append(
                Flaw(text=f"{subject}: {whole} ≠ {first} + {second}, off by {off:f}", amount=off)
            )
    return found
