"""The states of one level, and every transition between them. Nothing else changes a level.

                      (b) not in breach, good data
                   ┌────────────────────────────────┐
                   ▼                                │
   ┌──────────┐  (a) breach   ┌─────────┐  (c) breach seen ≥ for   ┌────────┐
   │ INACTIVE │──────────────▶│ PENDING │─────────────────────────▶│ FIRING │──┐ (e) breach or
   └──────────┘               └─────────┘                          └────────┘◀─┘     band: stay,
        ▲  ▲                       │ (g) gone, rule removed          │  │            clear timer
        │  └───────────────────────┘                                 │  │            starts again
        │            (d) at or beyond `clear`, seen ≥ keep_firing_for│  │ (g) gone,
        └──────────────────────── RESOLVED ◀─────────────────────────┘  │     rule removed
                                      ▲                                 │
                                      └─────────────────────────────────┘
   (f) a failed poll, no value, a row missing once: no arrow at all; the level is not called.

(a) The first breach. With `for: 0s` the level goes on through (c) in the same evaluation.
(b) Any good sample that does not breach, the band included. A suspect one does not count here.
(c) Time counts only where it was seen: `observed` is zero after a failed poll or a long gap.
(d) It holds while the clear time is below keep_firing_for. A suspect sample never resolves.
(e) In breach or in the band the clear timer is forgotten: the same episode goes on.
(g) By `end`: the position was closed, or the rule is gone from the file.
RESOLVED is the end of a transition; what is stored afterwards is INACTIVE.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from alerting.engine.model import ChangeReason, Level, State
from alerting.engine.rules import Threshold, Zone
from alerting.units import ZERO


class Trust(enum.Enum):
    """How far the data behind a zone can be relied on."""

    GOOD = "good"
    #: a breach in it counts, but it ends nothing
    SUSPECT = "suspect"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What happened to a level in one evaluation."""

    level: Level
    source: State
    target: State
    reason: ChangeReason


def advance(
    level: Level,
    zone: Zone,
    threshold: Threshold,
    *,
    now: datetime,
    observed: timedelta,
    trust: Trust,
) -> tuple[Level, Change | None]:
    """The level after one sample; `observed` is the seen time since the sample before."""
    if level.state is State.FIRING:
        return _advance_firing(level, zone, threshold, observed=observed, trust=trust)
    if zone is Zone.BREACH:
        return _advance_breach(level, threshold, now=now, observed=observed)
    if level.state is State.PENDING:
        if trust is Trust.SUSPECT:
            return replace(level, breached_for=level.breached_for + observed), None
        return _changed(level, Level(severity=level.severity), State.INACTIVE, ChangeReason.CLEAR)
    return level, None


def end(level: Level, reason: ChangeReason) -> tuple[Level, Change | None]:
    """The level after its row or its rule went away."""
    if level.state is State.INACTIVE:
        return level, None
    target = State.RESOLVED if level.state is State.FIRING else State.INACTIVE
    return _changed(level, Level(severity=level.severity), target, reason)


def _advance_breach(
    level: Level, threshold: Threshold, *, now: datetime, observed: timedelta
) -> tuple[Level, Change | None]:
    pending = level.state is State.PENDING
    # the time before the first breach was not spent in breach
    breached_for = level.breached_for + observed if pending else ZERO
    active_at = level.active_at if pending else now
    if breached_for >= threshold.for_:
        fired = Level(
            severity=level.severity, state=State.FIRING, active_at=active_at, fired_at=now
        )
        reason = ChangeReason.HELD if pending else ChangeReason.BREACH
        return _changed(level, fired, State.FIRING, reason)
    waiting = replace(level, state=State.PENDING, active_at=active_at, breached_for=breached_for)
    if pending:
        return waiting, None
    return _changed(level, waiting, State.PENDING, ChangeReason.BREACH)


def _advance_firing(
    level: Level, zone: Zone, threshold: Threshold, *, observed: timedelta, trust: Trust
) -> tuple[Level, Change | None]:
    if zone is not Zone.CLEAR:
        return replace(level, clear_for=None), None
    if trust is Trust.SUSPECT:
        # it may not start the timer nor end the episode, but it does not break the time seen
        if level.clear_for is None:
            return level, None
        return replace(level, clear_for=level.clear_for + observed), None
    clear_for = ZERO if level.clear_for is None else level.clear_for + observed
    if clear_for < threshold.keep_firing_for:
        return replace(level, clear_for=clear_for), None
    return _changed(level, Level(severity=level.severity), State.RESOLVED, ChangeReason.CLEAR)


def _changed(
    before: Level, after: Level, target: State, reason: ChangeReason
) -> tuple[Level, Change]:
    return after, Change(level=after, source=before.state, target=target, reason=reason)
