"""The states of one rung, and every transition between them. Nothing else changes a rung.

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
   (f) a failed poll, no value, a row missing once: no arrow at all; the rung is not called.

(a) The first breach. With `for: 0s` the rung goes on through (c) in the same evaluation.
(b) Any good sample that does not breach, the band included. A suspect one does not count here.
(c) Time counts only where it was seen: `stretch` is zero after a failed poll or a long gap.
(d) It holds while the clear time is below keep_firing_for. A suspect sample never resolves.
(e) In breach or in the band the clear timer is forgotten: the same episode goes on.
(g) By `end`: the position was closed, or the rule is gone from the file.
RESOLVED is the end of a transition; what is stored afterwards is INACTIVE.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from alerting.model import ChangeReason, Rung, State
from alerting.rules import RungRule, Verdict
from alerting.units import ZERO


class Trust(enum.Enum):
    """How far the data behind a verdict can be relied on."""

    GOOD = "good"
    #: a breach in it counts, but it ends nothing
    SUSPECT = "suspect"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What happened to a rung in one evaluation."""

    rung: Rung
    source: State
    target: State
    reason: ChangeReason


def advance(
    rung: Rung,
    verdict: Verdict,
    rule: RungRule,
    *,
    now: datetime,
    stretch: timedelta,
    trust: Trust,
) -> tuple[Rung, Change | None]:
    """The rung after one sample; `stretch` is the seen time since the sample before."""
    if rung.state is State.FIRING:
        return _advance_firing(rung, verdict, rule, stretch=stretch, trust=trust)
    if verdict is Verdict.BREACH:
        return _advance_breach(rung, rule, now=now, stretch=stretch)
    if rung.state is State.PENDING:
        if trust is Trust.SUSPECT:
            return replace(rung, breached_for=rung.breached_for + stretch), None
        return _changed(rung, Rung(severity=rung.severity), State.INACTIVE, ChangeReason.CLEAR)
    return rung, None


def end(rung: Rung, reason: ChangeReason) -> tuple[Rung, Change | None]:
    """The rung after its row or its rule went away."""
    if rung.state is State.INACTIVE:
        return rung, None
    target = State.RESOLVED if rung.state is State.FIRING else State.INACTIVE
    return _changed(rung, Rung(severity=rung.severity), target, reason)


def _advance_breach(
    rung: Rung, rule: RungRule, *, now: datetime, stretch: timedelta
) -> tuple[Rung, Change | None]:
    pending = rung.state is State.PENDING
    # the time before the first breach was not spent in breach
    breached_for = rung.breached_for + stretch if pending else ZERO
    active_at = rung.active_at if pending else now
    if breached_for >= rule.for_:
        fired = Rung(severity=rung.severity, state=State.FIRING, active_at=active_at, fired_at=now)
        reason = ChangeReason.HELD if pending else ChangeReason.BREACH
        return _changed(rung, fired, State.FIRING, reason)
    waiting = replace(rung, state=State.PENDING, active_at=active_at, breached_for=breached_for)
    if pending:
        return waiting, None
    return _changed(rung, waiting, State.PENDING, ChangeReason.BREACH)


def _advance_firing(
    rung: Rung, verdict: Verdict, rule: RungRule, *, stretch: timedelta, trust: Trust
) -> tuple[Rung, Change | None]:
    if verdict is not Verdict.CLEAR:
        return replace(rung, clear_for=None), None
    if trust is Trust.SUSPECT:
        # it may not start the timer nor end the episode, but it does not break the time seen
        if rung.clear_for is None:
            return rung, None
        return replace(rung, clear_for=rung.clear_for + stretch), None
    clear_for = ZERO if rung.clear_for is None else rung.clear_for + stretch
    if clear_for < rule.keep_firing_for:
        return replace(rung, clear_for=clear_for), None
    return _changed(rung, Rung(severity=rung.severity), State.RESOLVED, ChangeReason.CLEAR)


def _changed(before: Rung, after: Rung, target: State, reason: ChangeReason) -> tuple[Rung, Change]:
    return after, Change(rung=after, source=before.state, target=target, reason=reason)
