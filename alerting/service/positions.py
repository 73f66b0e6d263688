"""Reads an account's positions: with the rates of their instruments, and how missing ones ended."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from alerting.engine.feeds import INSTRUMENTS, POSITIONS, TRANSACTIONS
from alerting.engine.model import Memory, SeenPosition, State
from alerting.engine.snapshot import Poll, PollFailure, Snapshot
from alerting.errors import StoreError
from alerting.exchanges.coinswitch.instruments import (
    Instruments,
    dump_instruments,
    load_instruments,
    with_instruments,
)
from alerting.exchanges.coinswitch.positions import PositionsClient
from alerting.exchanges.coinswitch.transactions import as_answer
from alerting.exchanges.strict_json import AnswerError
from alerting.store.facts import FactStore
from alerting.store.history import RecordedPoll

log = logging.getLogger("alerting")

#: rates hardly ever change
_FRESH_FOR = timedelta(hours=1)
#: after a failure they are asked for again
_AGAIN_AFTER = timedelta(minutes=1)


class MemoryStore(FactStore, Protocol):
    """What is asked of the state; each method raises StoreError where it cannot be used."""

    def memory(self, account: str) -> Memory:
        """What is remembered of an account."""

    def last_poll(self, account: str, *, at: datetime, feed: str) -> RecordedPoll | None:
        """The last answer of a page up to an instant that is recorded."""


class PositionsReader:
    """A poller of the feed `positions`."""

    def __init__(
        self,
        client: PositionsClient,
        store: MemoryStore | None,
        *,
        account: str,
        clock: Callable[[], datetime],
        record: bool = True,
    ) -> None:
        """`store` None: there is no state file yet. `record`: whether answers are kept."""
        self._client = client
        self._store = store
        self._account = account
        self._clock = clock
        self._record = record
        self._instruments: Instruments = {}
        self._read_at: datetime | None = None
        self._asked_at: datetime | None = None
        #: what is to be recorded with the next poll; it may be that no poll is kept
        self._unrecorded: str | None = None
        #: it was given to a poll, and when the one before had been judged by then
        self._given: tuple[datetime | None] | None = None
        self._load_instruments()

    def poll(self) -> Poll:
        """One reading; never raises for anything outside."""
        memory = self._memory()
        self._refresh_instruments()
        # of no wallet that was read, nobody knows the symbols
        known = memory is not None and memory.account.wallets
        symbols = {each.row.symbol for each in memory.account.rows} if memory and known else None
        if memory is not None and symbols is not None:
            symbols |= {each.row.symbol for each in memory.account.positions}
        poll = self._client.poll(symbols)
        beside: dict[str, str | PollFailure] = {}
        if self._record and (text := self._to_record(memory)) is not None:
            beside[INSTRUMENTS] = text
        if not isinstance(poll.outcome, Snapshot):
            return replace(poll, beside=beside)
        rows = with_instruments(poll.outcome.positions, self._instruments)
        snapshot = replace(poll.outcome, positions=rows)
        ends = self._ends(snapshot, memory)
        if ends is not None:
            beside[TRANSACTIONS] = ends if isinstance(ends, PollFailure) else as_answer(ends)
            liquidated = None if isinstance(ends, PollFailure) else ends
            snapshot = replace(snapshot, liquidated=liquidated)
        return replace(poll, outcome=snapshot, beside=beside)

    def pace(self) -> str:
        """For the next process, as text."""
        return self._client.pace()

    def cancel(self) -> None:
        """End a poll under way at once, and every later one."""
        self._client.cancel()

    def close(self) -> None:
        """Give up the connection; later polls fail."""
        self._client.close()

    # ── how missing ones ended ──────────────────────────────────────────────

    def _ends(
        self, snapshot: Snapshot, memory: Memory | None
    ) -> frozenset[str] | PollFailure | None:
        """Which of the positions that somebody was told of and that are missing were liquidated.

        A PollFailure: the exchange does not say. None: it is not asked, for nobody was told of any.
        """
        missing = list(_missing(snapshot, memory)) if memory is not None else []
        if not missing:
            return None
        symbols = {each.row.symbol for each in missing}
        since = min(each.at for each in missing)
        found = self._client.liquidated(symbols, since)
        if isinstance(found, PollFailure):
            log.warning(
                "account %s: whether %s was liquidated cannot be known: %s",
                self._account,
                ", ".join(sorted(symbols)),
                found,
            )
        return found

    # ── instruments ─────────────────────────────────────────────────────────

    def _refresh_instruments(self) -> None:
        now = self._clock()
        if _is_within(self._read_at, now, _FRESH_FOR) or _is_within(
            self._asked_at, now, _AGAIN_AFTER
        ):
            return
        self._asked_at = now
        found = self._client.instruments()
        if isinstance(found, PollFailure):
            log.warning("account %s: instruments: %s", self._account, found)
            return
        self._instruments, self._read_at = found, now
        text = dump_instruments(found)
        if self._store is not None:
            kept = json.dumps({"at": now.isoformat(), "answer": text})
            with contextlib.suppress(StoreError):  # told by whoever judges
                self._store.set_meta(self._key, kept)
        self._unrecorded, self._given = text, None

    def _to_record(self, memory: Memory | None) -> str | None:
        """The instruments, with each poll until one that has them was judged: so it is recorded."""
        judged = (memory.account.feed(POSITIONS).seen_at,) if memory is not None else self._given
        if self._given is not None and judged != self._given:
            self._unrecorded = None
        self._given = judged if self._unrecorded is not None else None
        return self._unrecorded

    @property
    def _key(self) -> str:
        return f"instruments.{self._account}"

    def _load_instruments(self) -> None:
        """The last good copy; one that cannot be read is none."""
        if self._store is None:
            return
        with contextlib.suppress(StoreError, AnswerError, ValueError, KeyError, TypeError):
            kept = json.loads(self._store.meta(self._key) or "{}")
            self._instruments = load_instruments(kept["answer"])
            self._read_at = datetime.fromisoformat(kept["at"])
            known = self._store.last_poll(self._account, at=self._clock(), feed=INSTRUMENTS)
            # a process that was killed may have kept them without its poll
            if known is None or known.at < self._read_at - _AGAIN_AFTER:
                self._unrecorded = kept["answer"]

    # ── the state file ──────────────────────────────────────────────────────

    def _memory(self) -> Memory | None:
        if self._store is None:
            return None
        try:
            return self._store.memory(self._account)
        except StoreError:
            return None  # told by whoever judges


def _missing(snapshot: Snapshot, memory: Memory) -> list[SeenPosition]:
    """Known positions with an alert that is on, which are not in the answer."""
    listed = {tuple(row.labels.values()) for row in snapshot.positions}
    on = [
        alert.labels
        for alert in memory.alerts.values()
        if alert.state is not State.INACTIVE and "side" in alert.labels
    ]
    return [
        each
        for each in memory.account.positions
        if tuple(each.row.labels.values()) not in listed
        and any(each.row.labels.items() <= labels.items() for labels in on)
    ]


def _is_within(at: datetime | None, now: datetime, span: timedelta) -> bool:
    return at is not None and abs(now - at) < span
