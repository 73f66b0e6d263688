"""Two rule sets over one recording: which episodes and messages are new, gone or moved.

Two episodes of one alert are the same one if they share an instant. A message is compared alert by
alert: what one receiver is told of one alert, for one reason. It is the same at the same instant;
else the next one of its kind from the other side is the same one, moved.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

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


@dataclass(kw_only=True, slots=True)
class _Subject:
    """One alert, while anything about it is undecided."""

    account: str
    open: dict[Side, Episode] = field(default_factory=dict)
    #: old and new episode that are the same one; one of them may have ended
    pair: tuple[Episode, Episode] | None = None
    #: (receiver, reason) -> what only one side has told as yet
    waiting: dict[tuple[str, Reason], tuple[Side, Sent]] = field(default_factory=dict)


class Comparison:
    """Streams through both; remembers only what is open, never what is over."""

    def __init__(self) -> None:
        self._subjects: dict[str, _Subject] = {}

    def take(self, old: Evaluated, new: Evaluated) -> Iterator[Difference]:
        """What can be said after both have judged the same record; exhaust it."""
        turns = {Side.OLD: old, Side.NEW: new}
        at, account = new.evaluation.at, new.evaluation.memory.account.name
        yield from self._episodes(turns, account, at)
        yield from self._messages(turns, account, at)
        yield from self._settle(turns, account, at)

    def finish(self, at: datetime) -> Iterator[Difference]:
        """What is undecided when the recording ends."""
        for subject in self._subjects.values():
            if subject.pair:
                yield from _compared(*subject.pair, at)
            else:
                for side, episode in subject.open.items():
                    yield _one_sided(side, episode, at)
        for subject in self._subjects.values():
            yield from _unmatched(subject, at)

    def _subject(self, fingerprint: str, account: str) -> _Subject:
        return self._subjects.setdefault(fingerprint, _Subject(account=account))

    def _episodes(
        self, turns: Mapping[Side, Evaluated], account: str, at: datetime
    ) -> Iterator[Difference]:
        for side, turn in turns.items():
            for episode in turn.closed:
                subject = self._subjects[episode.fingerprint]
                del subject.open[side]
                if subject.pair is None or episode not in subject.pair:
                    yield _one_sided(side, episode, at)
                elif not any(half in subject.open.values() for half in subject.pair):
                    yield from _compared(*subject.pair, at)
                    subject.pair = None
        for side, turn in turns.items():
            for episode in turn.opened:
                subject = self._subject(episode.fingerprint, account)
                subject.open[side] = episode
                if subject.pair is None and len(subject.open) == len(Side):
                    subject.pair = (subject.open[Side.OLD], subject.open[Side.NEW])

    def _messages(
        self, turns: Mapping[Side, Evaluated], account: str, at: datetime
    ) -> Iterator[Difference]:
        told: dict[tuple[str, tuple[str, Reason]], dict[Side, Sent]] = {}
        for side, turn in turns.items():
            for sent in _tellings(turn.evaluation):
                key = (sent.fingerprint, (sent.receiver, sent.reason))
                told.setdefault(key, {})[side] = sent
        for (fingerprint, kind), sides in told.items():
            yield from _matched(self._subject(fingerprint, account), kind, sides, at)

    def _settle(
        self, turns: Mapping[Side, Evaluated], account: str, at: datetime
    ) -> Iterator[Difference]:
        """Where nothing can follow under either rule set, what waits has no counterpart."""
        if not self._subjects:
            return
        owed = {key[0] for turn in turns.values() for key in turn.evaluation.memory.notified}
        for fingerprint, subject in list(self._subjects.items()):
            if subject.account == account and not subject.open and fingerprint not in owed:
                yield from _unmatched(subject, at)
                del self._subjects[fingerprint]


def _compared(old: Event, new: Event, at: datetime) -> Iterator[Difference]:
    if _times(old) != _times(new):
        yield Difference(at=at, change=Change.MOVED, old=old, new=new)
    elif old.severity is not new.severity:
        yield Difference(at=at, change=Change.CHANGED, old=old, new=new)


def _times(event: Event) -> tuple[datetime | None, ...]:
    if isinstance(event, Sent):
        return (event.at,)
    return (event.fired_at, event.resolved_at)


def _one_sided(side: Side, event: Event, at: datetime) -> Difference:
    if side is Side.OLD:
        return Difference(at=at, change=Change.GONE, old=event, new=None)
    return Difference(at=at, change=Change.NEW, old=None, new=event)


def _tellings(evaluation: Evaluation) -> Iterator[Sent]:
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


def _matched(
    subject: _Subject, kind: tuple[str, Reason], sides: Mapping[Side, Sent], at: datetime
) -> Iterator[Difference]:
    """Compare what both sides told now, or what one tells now with what the other told before."""
    before = subject.waiting.pop(kind, None)
    if before is not None and (before[0] in sides):
        # its own side goes on to the next one: there was no counterpart
        yield _one_sided(*before, at)
        before = None
    known = {**sides, **({before[0]: before[1]} if before else {})}
    if len(known) < len(Side):
        [subject.waiting[kind]] = known.items()
        return
    yield from _compared(known[Side.OLD], known[Side.NEW], at)


def _unmatched(subject: _Subject, at: datetime) -> Iterator[Difference]:
    for side, sent in subject.waiting.values():
        yield _one_sided(side, sent, at)
    subject.waiting.clear()
