"""Which rows are there, which are missing, and which are gone.

A symbol row is gone when two good answers in a row lack it and its margin has left the wallet's
totals. While the totals still hold it (what they hold beyond the listed rows has grown by more than
half of it, and is not what it was before the row came), the row is only missing, which is a flaw.
What the totals hold beyond the rows moves for other reasons too, so a missing row of which nothing
is alerting is forgotten after as long as a settlement row is; one with an alert on is held.
A settlement row that is away is a flaw of its asset; when it has stayed away for long enough, in
answers that are good otherwise, it is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from alerting.engine import integrity
from alerting.engine.feeds import MARGINS, Scope
from alerting.engine.integrity import Doubts, row_labels
from alerting.engine.lifecycle import Trust
from alerting.engine.model import AccountState, SeenRow, SeenTotals
from alerting.engine.rules import Rule
from alerting.engine.snapshot import Flaw, Snapshot, SymbolRow
from alerting.units import ZERO

# A position whose row is missing from so many good snapshots counts as closed.
GONE_AFTER = 2

_BLOCKED = "blocked_balance"
#: a symbol row's asset, symbol and exchange
RowKey = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """What a snapshot is, in the light of what is remembered of its account."""

    #: with a row for each that is there but cannot be read
    snapshot: Snapshot
    flaws: tuple[Flaw, ...]
    doubts: Doubts
    #: the account with the rows and assets that it has by now
    account: AccountState
    #: labels of what is not there and not gone either
    absent: tuple[Mapping[str, str], ...]
    #: settlement assets that are gone for good
    gone: frozenset[str] = frozenset()
    #: labels of rows that are not there, of whose end too little is known
    held: frozenset[frozenset[tuple[str, str]]] = frozenset()

    def trust(self, rule: Rule, labels: Mapping[str, str]) -> Trust:
        """How far a rule's value for a row can be trusted."""
        if self.held and frozenset(labels.items()) in self.held:
            return Trust.SUSPECT
        return self.doubts.sample(labels, rule.names) if self.flaws else Trust.GOOD


def look(
    snapshot: Snapshot,
    account: AccountState,
    *,
    tolerance: Decimal,
    observed: timedelta,
    forget_after: timedelta,
    alerting: Collection[RowKey] = (),
) -> Sighting:
    """Compare a snapshot with what is remembered; `observed` is seen time since the one before.

    `alerting` are the symbol rows that an alert which is on is about.
    """
    known = {_key(each.row): each for each in account.rows}
    found = integrity.flaws(snapshot, known_assets=account.assets, tolerance=tolerance)
    snapshot = _completed(snapshot, known.values(), Doubts(found))
    rows = _Rows(snapshot, account, known, Doubts(found))
    rows.forget(observed=observed, after=forget_after, but=alerting)
    missing = list(rows.missing())
    found += missing
    away = _away(snapshot, account, found, observed)
    gone = frozenset(asset for asset, since in away.items() if since >= forget_after)
    over = {integrity.gone(asset).text for asset in gone}
    flaws = tuple(flaw for flaw in found if flaw.text not in over)
    present = {wallet.base_asset for wallet in snapshot.wallets}
    kept = [each for each in rows.kept(missing) if each.row.base_asset not in gone]
    account = replace(
        account,
        wallets=snapshot.wallets,
        totals=_totals(snapshot, account, Doubts(flaws), gone),
        assets=account.assets - gone | present,
        away={asset: since for asset, since in away.items() if asset not in gone},
        rows=tuple(kept),
        unlisted={a: each for a, each in rows.unlisted(missing).items() if a not in gone},
    )
    listed = {_key(row) for row in snapshot.symbols}
    absent = [{"base_asset": asset} for asset in account.away]
    absent += [row_labels(each.row) for each in kept if _key(each.row) not in listed]
    return Sighting(
        snapshot=snapshot,
        flaws=flaws,
        doubts=Doubts(flaws),
        account=account,
        absent=tuple({"account": account.name, **labels} for labels in absent),
        gone=gone,
    )


class _Rows:
    """The symbol rows of one snapshot beside those that are remembered."""

    def __init__(
        self,
        snapshot: Snapshot,
        account: AccountState,
        known: Mapping[RowKey, SeenRow],
        doubts: Doubts,
    ) -> None:
        self._account = account
        self._known = dict(known)
        self._doubts = doubts
        self._listed: dict[RowKey, SymbolRow] = {}
        #: rows that were missing for so long that they are forgotten
        self._forgotten: set[RowKey] = set()
        #: assets with a row that is there, but not known exactly
        self._guessed: set[str] = set()
        for row in snapshot.symbols:
            key = _key(row)
            self._listed[key] = row
            if doubts.row(row_labels(row)) is Trust.SUSPECT:
                self._guessed.add(row.base_asset)
                # as it was last read well; of a new one, what can be read
                self._listed[key] = known[key].row if key in known else row
        rows: dict[str, list[Mapping[str, Decimal]]] = {}
        for row in self._listed.values():
            rows.setdefault(row.base_asset, []).append(row.fields)
        self._now = {
            wallet.base_asset: _beyond(wallet.fields, rows.get(wallet.base_asset, ()))
            for wallet in snapshot.wallets
            # only where the totals are whole and agree, they can tell anything
            if doubts.asset(wallet.base_asset) is Trust.GOOD
        }

    def forget(self, *, observed: timedelta, after: timedelta, but: Collection[RowKey]) -> None:
        """Count for how long rows are missing, in answers that are good otherwise."""
        others = {asset for asset, _, _ in self._listed}
        for key in self._known.keys() - self._listed.keys():
            seen = self._known[key]
            asset = seen.row.base_asset
            # a list that is lost as a whole says of no row that it is gone
            listed = asset in others and asset in self._now
            if not listed or self._doubts.rows_of(asset) is Trust.SUSPECT:
                continue
            away = ZERO if seen.away is None else seen.away + observed
            self._known[key] = replace(seen, away=away)
            if away >= after and key not in but:
                self._forgotten.add(key)

    def missing(self) -> Iterator[Flaw]:
        """A flaw for each row that is not there while its margin is still in the totals."""
        for key, seen in self._known.items():
            if key in self._listed or key in self._forgotten:
                continue
            if seen.row.base_asset in self._now:
                yield from self._held(seen)

    def kept(self, missing: Iterable[Flaw]) -> Iterator[SeenRow]:
        """The rows to remember: all that are there, and those that are missing but not gone."""
        for key, row in self._listed.items():
            known = self._known.get(key)
            yield SeenRow(row=row, before=known.before if known else self._before(row.base_asset))
        held = Doubts(missing)
        for key, seen in self._known.items():
            if key in self._listed:
                continue
            judged = self._doubts.asset(seen.row.base_asset) is Trust.GOOD
            if not judged or held.row(row_labels(seen.row)) is Trust.SUSPECT:
                yield seen
            elif seen.missed + 1 < GONE_AFTER:
                yield replace(seen, missed=seen.missed + 1)

    def unlisted(self, missing: Iterable[Flaw]) -> dict[str, Mapping[str, Decimal]]:
        """What the totals hold beyond the rows; as before, where a row is missing or guessed.

        A row whose margin has left the totals says nothing against them, though it is not gone yet.
        """
        before = self._account.unlisted
        unknown = {(flaw.labels or {}).get("base_asset") for flaw in missing}
        unknown |= self._guessed & before.keys()
        news = {asset: self._learned(asset) for asset in self._now if asset not in unknown}
        return {**before, **news}

    def _learned(self, asset: str) -> Mapping[str, Decimal]:
        """A row that has only just come may be a mistake: with it, nothing moves away from zero."""
        now, before = self._now[asset], self._account.unlisted.get(asset)
        new = any(key not in self._known for key in self._listed if key[0] == asset)
        return now if not new or before is None else _nearer_to_zero(before, now)

    def _before(self, asset: str) -> Mapping[str, Decimal]:
        """What the totals held beyond the rows before this answer; at first, what they hold now.

        Where they held less than nothing, by no more than they do with the row: it may have been
        one odd answer that said so, and with it no row could ever leave the totals again. Flawed
        totals say nothing of it at all.
        """
        before, now = self._account.unlisted.get(asset), self._now.get(asset, {})
        return now if before is None else _nearer_to_zero(before, now)

    def _held(self, seen: SeenRow) -> Iterator[Flaw]:
        row, now = seen.row, self._now[seen.row.base_asset]
        last = self._account.unlisted.get(row.base_asset, {})
        for total, name in MARGINS.items():
            margin = row.fields.get(name, Decimal(0))
            # orders that reduce make a row's margin smaller than its parts
            if name != _BLOCKED and abs(margin) <= abs(row.fields.get(_BLOCKED, Decimal(0))):
                continue
            grown = now[name] - last.get(name, Decimal(0))
            # of a row that never was in the totals they hold nothing, however it came and went
            sign = Decimal(1).copy_sign(margin)
            beyond = sign * now[name] - min(Decimal(0), sign * seen.before.get(name, Decimal(0)))
            if 2 * min(sign * grown, beyond) > abs(margin) > 0:
                text = (
                    f"{row.symbol}: the row is missing, but its {name} of {margin:f} is still in "
                    f"{total}, which holds {grown:f} more than before beyond its rows"
                )
                yield Flaw(text=text, amount=grown, scope=Scope.SYMBOL, labels=row_labels(row))
                return


def _beyond(
    totals: Mapping[str, Decimal], rows: Collection[Mapping[str, Decimal]]
) -> dict[str, Decimal]:
    """What totals hold beyond the rows."""
    return {
        name: totals[total] - sum((row.get(name, Decimal(0)) for row in rows), Decimal(0))
        for total, name in MARGINS.items()
    }


def _nearer_to_zero(
    before: Mapping[str, Decimal], now: Mapping[str, Decimal]
) -> dict[str, Decimal]:
    """What was before, moved towards what is now, but not away from zero."""
    return {name: sorted((before[name], Decimal(0), now[name]))[1] for name in now}


def _completed(snapshot: Snapshot, known: Iterable[SeenRow], doubts: Doubts) -> Snapshot:
    """With an empty row for each that is known and there, but cannot be read."""
    listed = {_key(row) for row in snapshot.symbols}
    unread = [
        replace(each.row, fields={})
        for each in known
        if _key(each.row) not in listed and doubts.row(row_labels(each.row)) is Trust.SUSPECT
    ]
    return replace(snapshot, symbols=(*snapshot.symbols, *unread)) if unread else snapshot


def _totals(
    snapshot: Snapshot, account: AccountState, doubts: Doubts, gone: Collection[str]
) -> dict[str, SeenTotals]:
    """Each asset's wallet as it was last read well."""
    kept = {asset: seen for asset, seen in account.totals.items() if asset not in gone}
    return kept | {
        wallet.base_asset: SeenTotals(at=snapshot.observed_at, fields=wallet.fields)
        for wallet in snapshot.wallets
        if doubts.asset(wallet.base_asset) is Trust.GOOD
    }


def _away(
    snapshot: Snapshot, account: AccountState, found: Iterable[Flaw], observed: timedelta
) -> dict[str, timedelta]:
    """For how long each settlement row that is known has been away from good answers."""
    missing = account.assets - {wallet.base_asset for wallet in snapshot.wallets}
    # while rows of it are listed, the asset is not gone
    listed = {row.base_asset for row in snapshot.symbols}
    good = {flaw.text for flaw in found} == {integrity.gone(asset).text for asset in missing}
    return {
        asset: account.away[asset] + (observed if good and asset not in listed else ZERO)
        if asset in account.away
        else ZERO
        for asset in missing
    }


def _key(row: SymbolRow) -> RowKey:
    return row.base_asset, row.symbol, row.exchange
