"""Two rule sets over one recording: which episodes and messages are new, gone or moved.

Two episodes of one alert are the same one if they share an instant. A message is compared alert by
alert: what one receiver is told of one alert, for one reason. It is the same at the same instant;
else the next one of its kind from the other side is the same one, moved.
"""

from __future__ import annotations

import enum
import itertools
import math
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import itemgetter

from alerting.engine.evaluation import Evaluation
from alerting.engine.model import Reason, Severity
from alerting.replay.tally import Episode


class Change(enum.Enum):
    """How something differs between the old rules and the new ones."""

    NEW = "new"
    GONE = "gone"
    #: at another time
    MOVED = "moved"
    #: at the same time, with another severity
    CHANGED = "changed"


class Side(enum.Enum):
    """Which rules."""

    OLD = "old"
    NEW = "new"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """One receiver is told of one alert."""

    at: datetime
    receiver: str
    reason: Reason
    fingerprint: str
    rule: str
    labels: Mapping[str, str]
    severity: Severity


Event = Episode | Sent


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One episode or message that is not the same under both rule sets."""

    #: the recorded instant at which this was known
    at: datetime
    change: Change
    #: both of one kind; at least one is there
    old: Event | None
    new: Event | None

    @property
    def either(self) -> Event:
        """The new one, or where there is none the old one."""
        event = self.new or self.old
        assert event is not None
        return event


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluated:
    """What one evaluation came to, under one rule set."""

    evaluation: Evaluation
    opened: list[Episode]
    closed: list[Episode]


#: When something happened; the number orders what happened at one instant.
_Moment = tuple[float, datetime]
_NEVER: _Moment = (math.inf, datetime.max.replace(tzinfo=UTC))


@dataclass(kw_only=True, slots=True)
class _Span:
    """An episode until it ends; a message until its own side sends the next of its kind."""

    event: Event
    start: _Moment
    end: _Moment = _NEVER


#: The two lists to compare.
_Sides = Mapping[Side, list[_Span]]


@dataclass(kw_only=True, slots=True)
class _Course:
    """What both rule sets made of one alert, until nothing can follow under either."""

    account: str
    #: the episodes (None), and the messages by receiver and reason
    kinds: dict[tuple[str, Reason] | None, _Sides] = field(
        default_factory=lambda: defaultdict(lambda: {side: [] for side in Side})
    )


class Comparison:
    """Compares what is over once no alert is on; keeps episodes and messages till then."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._courses: dict[str, _Course] = {}
        #: with the moment at which it was certain, and its own
        self._found: list[tuple[_Moment, _Moment, Difference]] = []

    def take(self, old: Evaluated, new: Evaluated) -> list[Difference]:
        """What is known after both have judged the same poll."""
        sides = {Side.OLD: old, Side.NEW: new}
        at, account = new.evaluation.at, new.evaluation.memory.account.name
        self._add_episodes(sides, account, at)
        self._add_messages(sides, account, at)
        self._compare_finished(sides, account, at)
        return [] if self._courses else self._in_order()

    def finish(self, at: datetime) -> list[Difference]:
        """The rest, when the recording ends."""
        for course in self._courses.values():
            self._compare(course.kinds.pop(None, {}), self._moment(at))
        for course in self._courses.values():
            self._compare_all(course, self._moment(at))
        return self._in_order()

    def cut_off(self) -> list[Difference]:
        """What is known already, where the recording cannot be read any further."""
        for course in self._courses.values():
            self._compare_all(course, _NEVER)
        return self._in_order()

    def _moment(self, at: datetime) -> _Moment:
        return next(self._numbers), at

    def _course(self, fingerprint: str, account: str) -> _Course:
        return self._courses.setdefault(fingerprint, _Course(account=account))

    def _add_episodes(self, sides: Mapping[Side, Evaluated], account: str, at: datetime) -> None:
        for side, evaluated in sides.items():
            for episode in evaluated.closed:
                self._courses[episode.fingerprint].kinds[None][side][-1].end = self._moment(at)
        for side, evaluated in sides.items():
            for episode in evaluated.opened:
                spans = self._course(episode.fingerprint, account).kinds[None][side]
                spans.append(_Span(event=episode, start=self._moment(at)))

    def _add_messages(self, sides: Mapping[Side, Evaluated], account: str, at: datetime) -> None:
        moments: dict[tuple[str, str, Reason], _Moment] = {}
        for side, evaluated in sides.items():
            for sent in _sent(evaluated.evaluation):
                key = (sent.fingerprint, sent.receiver, sent.reason)
                now = moments.setdefault(key, self._moment(at))
                spans = self._course(sent.fingerprint, account).kinds[key[1:]][side]
                if spans:
                    spans[-1].end = now
                spans.append(_Span(event=sent, start=now))

    def _compare_finished(
        self, sides: Mapping[Side, Evaluated], account: str, at: datetime
    ) -> None:
        """Compare the alerts of which nothing can follow under either rule set."""
        if not self._courses:
            return
        owed = {key[0] for each in sides.values() for key in each.evaluation.memory.notified}
        for fingerprint, course in list(self._courses.items()):
            fires = any(spans and spans[-1].end is _NEVER for spans in course.kinds[None].values())
            if course.account == account and not fires and fingerprint not in owed:
                self._compare_all(course, self._moment(at))
                del self._courses[fingerprint]

    def _compare_all(self, course: _Course, end: _Moment) -> None:
        for sides in course.kinds.values():
            self._compare(sides, end)

    def _compare(self, sides: _Sides, end: _Moment) -> None:
        """Spans that share a moment are the same one; the others have no counterpart."""
        left = {side: deque(spans) for side, spans in sides.items()}
        while any(left.values()):
            spans = {side: each[0] for side, each in left.items() if each}
            first = min(spans, key=lambda side: spans[side].end)
            if spans[first].end <= max(span.start for span in spans.values()):
                spans = {first: spans[first]}
            for side in spans:
                left[side].popleft()
            self._add(spans, end)

    def _add(self, spans: Mapping[Side, _Span], end: _Moment) -> None:
        starts = [span.start for span in spans.values()]
        certain = min(end, max(span.end for span in spans.values()))
        events = {side: span.event for side, span in spans.items()}
        old, new = events.get(Side.OLD), events.get(Side.NEW)
        if isinstance(old, Sent) and new:
            certain = max(starts)
        change = _change(old, new)
        if change and certain != _NEVER:
            difference = Difference(at=certain[1], change=change, old=old, new=new)
            self._found.append((certain, min(starts), difference))

    def _in_order(self) -> list[Difference]:
        found = [each[2] for each in sorted(self._found, key=itemgetter(0, 1))]
        self._found.clear()
        return found


def _change(old: Event | None, new: Event | None) -> Change | None:
    if old is None:
        return Change.NEW
    if new is None:
        return Change.GONE
    if _times(old) != _times(new):
        return Change.MOVED
    return None if old.severity is new.severity else Change.CHANGED


def _times(event: Event) -> tuple[datetime | None, ...]:
    if isinstance(event, Sent):
        return (event.at,)
    return (event.fired_at, event.resolved_at)


def _sent(evaluation: Evaluation) -> Iterator[Sent]:
    for notification in evaluation.notifications:
        for item in notification.items:
            yield Sent(
                at=evaluation.at,
                receiver=notification.receiver,
                reason=item.reason,
                fingerprint=item.alert.fingerprint,
                rule=item.alert.rule,
                labels=item.alert.labels,
                severity=item.severity,
            )
