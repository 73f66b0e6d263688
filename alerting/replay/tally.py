"""What a replay adds up to: episodes, messages and time, per rule and per receiver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo

from alerting.engine.evaluation import Evaluation
from alerting.engine.feeds import FEEDS, LABELS
from alerting.engine.model import Notification, Severity, State
from alerting.engine.rules import BUILTIN_NAMES, Ruleset
from alerting.engine.snapshot import PollOutcome, Snapshot
from alerting.units import ZERO

_NIGHT_FROM, _NIGHT_TO = 22, 7
_WEEK = timedelta(days=7)
# A rate per week from an hour's recording would say more than is known.
_SHORTEST_FOR_A_RATE = timedelta(days=1)


@dataclass(kw_only=True, slots=True, eq=False)
class Episode:
    """One alert from its first firing until no level fires any more."""

    #: of the alert
    fingerprint: str
    rule: str
    #: those that identify the alert
    labels: Mapping[str, str]
    fired_at: datetime
    #: the highest that fired
    severity: Severity
    #: None: it still fires
    resolved_at: datetime | None = None
    #: the levels that fire now
    levels: set[Severity] = field(default_factory=set)


class Episodes:
    """Finds where episodes start and end; remembers only those that are open."""

    def __init__(self) -> None:
        self._open: dict[str, Episode] = {}

    def take(self, evaluation: Evaluation) -> tuple[list[Episode], list[Episode]]:
        """The episodes that this evaluation opened, and those that it closed."""
        touched: dict[str, Episode] = {}
        for change in evaluation.transitions:
            fp = change.fingerprint
            episode = touched.get(fp) or self._open.get(fp)
            if episode is None:
                episode = Episode(
                    fingerprint=fp,
                    rule=change.rule,
                    labels=_identity(change.rule, change.labels),
                    fired_at=evaluation.at,
                    severity=change.severity,
                )
            touched[fp] = episode
            if change.target is State.FIRING:
                episode.levels.add(change.severity)
                episode.severity = max(episode.severity, change.severity)
            else:
                episode.levels.discard(change.severity)
        return self._opened_and_closed(touched, evaluation.at)

    def _opened_and_closed(
        self, touched: Mapping[str, Episode], at: datetime
    ) -> tuple[list[Episode], list[Episode]]:
        opened, closed = [], []
        for fp, episode in touched.items():
            if episode.levels and fp not in self._open:
                self._open[fp] = episode
                opened.append(episode)
            elif not episode.levels and fp in self._open:
                episode.resolved_at = at
                closed.append(self._open.pop(fp))
        return opened, closed


def _identity(rule: str, labels: Mapping[str, str]) -> Mapping[str, str]:
    """The labels without those that the rule adds; built-in rules add none."""
    if rule in BUILTIN_NAMES:
        return labels
    return {name: labels[name] for name in LABELS if name in labels}


# ── figures ─────────────────────────────────────────────────────────────────


@dataclass(kw_only=True, slots=True)
class Figures:
    """What one rule or receiver comes to."""

    messages: int = 0
    #: of these, between 22:00 and 07:00
    at_night: int = 0
    episodes: int = 0
    #: while at least one alert of the rule fired
    firing: timedelta = ZERO
    #: alerts of the rule that fire now, and since when there are any
    open: int = 0
    open_since: datetime | None = None

    def firing_until(self, now: datetime) -> timedelta:
        """The time that it fired, with what is still going on."""
        return self.firing + (now - self.open_since if self.open_since else ZERO)


@dataclass(kw_only=True, slots=True)
class PollCounts:
    """How one feed was read."""

    snapshots: int = 0
    failures: int = 0


class Tally:
    """Adds up one replay; grows with rules and receivers, never with time."""

    def __init__(self, ruleset: Ruleset, zone: tzinfo) -> None:
        self._zone = zone
        self._episodes = Episodes()
        self.rules = {rule.name: Figures() for rule in ruleset.rules}
        self.receivers = {name: Figures() for name in ruleset.receivers}
        self.accounts: set[str] = set()
        #: of the wallet, and of the positions
        self.polls = {feed: PollCounts() for feed in FEEDS}
        self.first: datetime | None = None
        self.last: datetime | None = None

    def take(
        self, evaluation: Evaluation, outcome: PollOutcome
    ) -> tuple[list[Episode], list[Episode]]:
        """Count one evaluation; gives the episodes that it opened and closed."""
        self.accounts.add(outcome.account)
        counts = self.polls[outcome.feed]
        if isinstance(outcome, Snapshot):
            counts.snapshots += 1
        else:
            counts.failures += 1
        self.first = self.first or evaluation.at
        self.last = evaluation.at
        for notification in evaluation.notifications:
            self._count(notification)
        if not evaluation.transitions:
            return [], []
        opened, closed = self._episodes.take(evaluation)
        for episode in opened:
            self._open(episode, evaluation.at)
        for episode in closed:
            self._close(episode, evaluation.at)
        return opened, closed

    @property
    def span(self) -> timedelta:
        """From the first record to the last."""
        return self.last - self.first if self.first and self.last else ZERO

    def per_week(self, count: int) -> float | None:
        """A count as a rate; None where the recording is too short to tell."""
        if self.span < _SHORTEST_FOR_A_RATE:
            return None
        return count * (_WEEK / self.span)

    def _count(self, notification: Notification) -> None:
        hour = notification.observed_at.astimezone(self._zone).hour
        night = hour >= _NIGHT_FROM or hour < _NIGHT_TO
        rules = dict.fromkeys(item.alert.rule for item in notification.items)
        counted = [self.receivers[notification.receiver], *map(self._rule, rules)]
        for figures in counted:
            figures.messages += 1
            figures.at_night += night

    def _open(self, episode: Episode, at: datetime) -> None:
        figures = self._rule(episode.rule)
        figures.episodes += 1
        figures.open += 1
        figures.open_since = figures.open_since or at

    def _close(self, episode: Episode, at: datetime) -> None:
        figures = self._rule(episode.rule)
        figures.open -= 1
        if not figures.open:
            figures.firing, figures.open_since = figures.firing_until(at), None

    def _rule(self, name: str) -> Figures:
        return self.rules.setdefault(name, Figures())
