"""How a feed was read so far, and how much of the time was seen: pure functions on FeedState."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from alerting.engine.model import FeedState
from alerting.engine.snapshot import PollOutcome, Snapshot
from alerting.units import ZERO


def begun(state: FeedState, *, now: datetime) -> FeedState:
    """The clock was set back: what seems to lie ahead counts from now, or nothing would age."""
    first, last = state.first_polled_at, state.last_snapshot_at
    return replace(
        state,
        first_polled_at=now if first is None else min(first, now),
        last_snapshot_at=None if last is None else min(last, now),
    )


def unbroken(before: datetime | None, *, now: datetime, longest: timedelta) -> timedelta:
    """The time since `before`, or zero if that is too long to count as seen."""
    if before is None or not ZERO <= now - before <= longest:
        return ZERO
    return now - before


def observed(
    state: FeedState, outcome: PollOutcome, *, now: datetime, longest: timedelta
) -> timedelta:
    """Of a feed, time was seen between two snapshots without a failed poll."""
    if not isinstance(outcome, Snapshot) or state.poll_failures:
        return ZERO
    return unbroken(state.last_snapshot_at, now=now, longest=longest)


def aged(state: FeedState, seen: timedelta, *, now: datetime) -> FeedState:
    """After a snapshot: the first of several without seen time ends an outage, no trouble yet."""
    last = state.last_snapshot_at
    if last is None:
        return state
    unaged = state.unaged + 1 if seen == ZERO else 0
    lasted = state.unaged_for + (now - last) if state.unaged and unaged else ZERO
    return replace(state, unaged=unaged, unaged_for=lasted)
