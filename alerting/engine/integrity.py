"""Whether a snapshot can be trusted: it holds what it must, and its numbers agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from alerting.engine.feeds import SCOPES, Scope
from alerting.engine.model import Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class Flaw:
    """One way in which a snapshot cannot be trusted."""

    text: str
    #: by how much an identity is off, in units of the asset; None: not a matter of amounts
    amount: Decimal | None = None


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
        found += _broken(Scope.WALLET, wallet.base_asset, wallet.fields, tolerance)
    for row in snapshot.symbols:
        found += _broken(Scope.SYMBOL, row.symbol, row.fields, tolerance)
    return found


def _broken(
    scope: Scope, subject: str, fields: Mapping[str, Decimal], tolerance: Decimal
) -> list[Flaw]:
    found = []
    for whole, first, second in SCOPES[scope].identities:
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
