"""Recorded answers -> the outcomes that they were, by the feeds that they are of.

What was asked for a snapshot of the positions stands before it, as a line of its own.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from alerting.engine.feeds import INSTRUMENTS, POSITIONS, TRANSACTIONS, WALLET
from alerting.engine.snapshot import PollFailure, PollOutcome, Snapshot
from alerting.exchanges.coinswitch.answers import snapshot_from_object
from alerting.exchanges.coinswitch.instruments import (
    Instruments,
    instruments_from_object,
    with_instruments,
)
from alerting.exchanges.coinswitch.position_answers import positions_from_object
from alerting.exchanges.coinswitch.transactions import liquidated_in
from alerting.exchanges.strict_json import AnswerError, loads_marked

#: what a line may be of
RECORDED_FEEDS = (WALLET, POSITIONS, INSTRUMENTS, TRANSACTIONS)


class RecordedAccount:
    """Reads what was recorded of one account, in its order."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._instruments: Instruments = {}
        #: of the positions that the next snapshot does not have; None: it could not be asked
        self._liquidated: frozenset[str] | None = frozenset()

    def answer(self, feed: str, body: object, *, at: datetime) -> PollOutcome | None:
        """What an answer gave, as `loads_marked` has it; one that is none is a failed poll.

        None: it is no poll of its own, and counts for the positions that come after it.
        """
        try:
            return self._read(feed, body, at)
        except AnswerError as error:
            return self.failure(
                PollFailure(account=self._name, feed=feed, kind=error.kind, text=str(error))
            )

    def failure(self, failure: PollFailure) -> PollFailure | None:
        """A page that gave no answer; None: it is no poll of its own."""
        if failure.feed == TRANSACTIONS:
            self._liquidated = None
        if failure.feed == POSITIONS:
            self._liquidated = frozenset()
        return failure if failure.feed in {WALLET, POSITIONS} else None

    def _read(self, feed: str, body: object, at: datetime) -> Snapshot | None:
        if feed == INSTRUMENTS:
            self._instruments = instruments_from_object(body)
            return None
        if feed == TRANSACTIONS:
            self._liquidated = liquidated_in(body)
            return None
        if feed == WALLET:
            return snapshot_from_object(body, account=self._name, observed_at=at)
        snapshot = positions_from_object(body, account=self._name, observed_at=at)
        liquidated, self._liquidated = self._liquidated, frozenset()
        rows = with_instruments(snapshot.positions, self._instruments)
        return replace(snapshot, positions=rows, liquidated=liquidated)


def snapshot_of(
    feed: str, body: str, instruments: str | None, *, account: str, at: datetime
) -> Snapshot | None:
    """One recorded answer, with the instruments that were known then; None where it is none."""
    recorded = RecordedAccount(account)
    try:
        if instruments is not None:
            recorded.answer(INSTRUMENTS, loads_marked(instruments), at=at)
        found = recorded.answer(feed, loads_marked(body), at=at)
    except AnswerError:
        return None
    return found if isinstance(found, Snapshot) else None
