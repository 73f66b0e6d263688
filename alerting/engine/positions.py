"""Which positions are there, which are missing, which are gone, and which cannot be trusted.

A position is gone when two good answers in a row lack it. Where the exchange could not be asked
whether it was liquidated, its end is held: told as closed, that would be the last word on it. After
as long as a settlement row is missed for, it is gone all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from alerting.engine import risk
from alerting.engine.feeds import Scope
from alerting.engine.integrity import Doubts, twins
from alerting.engine.lifecycle import Trust
from alerting.engine.model import AccountState, SeenPosition
from alerting.engine.presence import GONE_AFTER, Sighting
from alerting.engine.snapshot import Flaw, PositionRow, Snapshot


def look(
    snapshot: Snapshot, account: AccountState, *, observed: timedelta, forget_after: timedelta
) -> Sighting:
    """Compare a snapshot with what is remembered; `observed` is seen time since the one before."""
    flaws = (*snapshot.flaws, *_flaws(snapshot))
    doubts = Doubts(flaws)
    at = snapshot.observed_at
    listed = {_key(row): SeenPosition(row=row, at=at) for row in snapshot.positions}
    kept, held = list(listed.values()), set()
    for seen in account.positions:
        if _key(seen.row) in listed:
            continue
        labels = {"account": account.name, **seen.row.labels}
        if doubts.sample(labels, ()) is Trust.SUSPECT:
            kept.append(seen)
            continue
        away = seen.away + observed
        unsure = snapshot.liquidated is None and away < forget_after
        # an answer that is held does not count, as it does not for its alerts: forgotten before
        # they end, nobody would ask any more how it ended
        missing = replace(seen, missed=seen.missed + (not unsure), away=away)
        if unsure:
            held.add(frozenset(labels.items()))
        if unsure or missing.missed < GONE_AFTER:
            kept.append(missing)
    absent = [each.row for each in kept if _key(each.row) not in listed]
    return Sighting(
        snapshot=snapshot,
        flaws=flaws,
        doubts=doubts,
        account=replace(account, positions=tuple(kept)),
        absent=tuple({"account": account.name, **row.labels} for row in absent),
        held=frozenset(held),
    )


def _flaws(snapshot: Snapshot) -> Iterator[Flaw]:
    yield from twins(Scope.POSITION, [row.labels for row in snapshot.positions])
    for row in snapshot.positions:
        for text in risk.doubts(row):
            yield Flaw(text=text, scope=Scope.POSITION, labels=row.labels)


def _key(row: PositionRow) -> tuple[str, ...]:
    return tuple(row.labels.values())
