"""Whether a snapshot can be trusted: it holds what it must, and its numbers agree.

A flaw belongs to what it touches: a row, an asset with its symbols, or the whole account. All else
in the same answer is judged as ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

from alerting.engine.feeds import PASSING, SCOPES, Scope
from alerting.engine.lifecycle import Trust
from alerting.engine.snapshot import Flaw, Snapshot, SymbolRow


def flaws(snapshot: Snapshot, *, known_assets: frozenset[str], tolerance: Decimal) -> list[Flaw]:
    """What makes a snapshot suspect by itself; rows that do not sum to the totals are normal."""
    found = []
    present = {wallet.base_asset for wallet in snapshot.wallets}
    if not present:
        text = "the answer holds no settlement asset at all"
        found.append(Flaw(text=text, scope=Scope.ACCOUNT))
    found += [gone(asset) for asset in sorted(known_assets - present)]
    found += snapshot.flaws
    told = Doubts(snapshot.flaws)
    for scope, rows in _rows(snapshot):
        found += twins(scope, [labels for labels, _ in rows])
        for labels, fields in rows:
            found += _broken(scope, labels, fields, tolerance, told=told)
    return found


def gone(asset: str) -> Flaw:
    """The flaw of a settlement row that was there and is not."""
    text = f"the {asset} settlement row is gone"
    return Flaw(text=text, scope=Scope.WALLET, labels={"base_asset": asset})


def row_labels(row: SymbolRow) -> dict[str, str]:
    """What tells a symbol row from all others of its account."""
    return {"base_asset": row.base_asset, "symbol": row.symbol, "exchange": row.exchange}


class Doubts:
    """What the flaws of one snapshot touch; asked for every row and rule, so it is an index."""

    def __init__(self, found: Iterable[Flaw]) -> None:
        self._everything = False
        self._assets: set[str] = set()
        self._all_symbols = False
        #: symbol -> labels of its flawed rows, as far as they are known
        self._symbols: dict[str, list[Mapping[str, str]]] = {}
        #: assets with a flawed symbol row; None: nobody knows which asset
        self._of_rows: set[str | None] = set()
        for flaw in found:
            self._add(flaw)

    def _add(self, flaw: Flaw) -> None:
        labels = flaw.labels
        if flaw.scope is Scope.ACCOUNT:
            self._everything = True
        elif flaw.scope in PASSING:
            self._of_rows.add(labels.get("base_asset") if labels else None)
            if labels:
                self._symbols.setdefault(labels["symbol"], []).append(labels)
            elif labels is not None:
                self._all_symbols = True
        elif labels:
            self._assets.add(labels["base_asset"])

    def asset(self, asset: str | None) -> Trust:
        """How far an asset's totals can be trusted; None: of no asset in particular."""
        touched = self._everything or asset in self._assets
        return Trust.SUSPECT if touched else Trust.GOOD

    def row(self, labels: Mapping[str, str]) -> Trust:
        """How far a symbol row can be trusted, its totals left aside."""
        flawed = self._symbols.get(labels["symbol"], ())
        touched = self._all_symbols or any(each.items() <= labels.items() for each in flawed)
        return Trust.SUSPECT if touched else Trust.GOOD

    def rows_of(self, asset: str) -> Trust:
        """How far that can be trusted to which every symbol row of an asset counts."""
        touched = asset in self._of_rows or None in self._of_rows
        return Trust.SUSPECT if touched else Trust.GOOD

    def sample(self, labels: Mapping[str, str], names: Iterable[str]) -> Trust:
        """How far a rule's value for a row can be trusted, by the names that the rule uses."""
        asset = labels["base_asset"]
        if self.asset(asset) is Trust.SUSPECT:
            return Trust.SUSPECT
        if "symbol" in labels:
            return self.row(labels)
        from_rows = SCOPES[Scope.WALLET].from_rows
        return self.rows_of(asset) if any(name in from_rows for name in names) else Trust.GOOD


_Row = tuple[dict[str, str], Mapping[str, Decimal]]


def _rows(snapshot: Snapshot) -> Iterator[tuple[Scope, Sequence[_Row]]]:
    wallets = [({"base_asset": each.base_asset}, each.fields) for each in snapshot.wallets]
    yield Scope.WALLET, wallets
    yield Scope.SYMBOL, [(row_labels(row), row.fields) for row in snapshot.symbols]


def twins(scope: Scope, rows: Sequence[Mapping[str, str]]) -> Iterator[Flaw]:
    """Two rows of one name: nobody knows which of them counts."""
    counts = Counter(tuple(labels.items()) for labels in rows)
    for labels, count in counts.items():
        if count > 1:
            name = dict(labels)
            text = f"{_subject(scope, name)}: {count} rows of it"
            yield Flaw(text=text, scope=scope, labels=name)


def _broken(
    scope: Scope,
    labels: Mapping[str, str],
    fields: Mapping[str, Decimal],
    tolerance: Decimal,
    *,
    told: Doubts,
) -> Iterator[Flaw]:
    subject = _subject(scope, labels)
    for whole, first, second in SCOPES[scope].identities:
        missing = [name for name in (whole, first, second) if name not in fields]
        if missing:
            # an identity that cannot be checked is as little a reason for trust as a broken one
            if told.sample(labels, ()) is Trust.GOOD:
                text = f"{subject}: {', '.join(missing)} missing"
                yield Flaw(text=text, scope=scope, labels=labels)
            continue
        off = fields[whole] - fields[first] - fields[second]
        if abs(off) > tolerance:
            text = f"{subject}: {whole} ≠ {first} + {second}, off by {off:f}"
            yield Flaw(text=text, amount=off, scope=scope, labels=labels)


def _subject(scope: Scope, labels: Mapping[str, str]) -> str:
    return labels["symbol" if scope in PASSING else "base_asset"]
