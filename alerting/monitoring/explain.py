"""`explain`: why a rule is or is not firing, and why a message did or did not go out."""

from __future__ import annotations

import decimal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

from alerting.display import PLAIN, Display
from alerting.engine import routing
from alerting.engine.feeds import FEED_OF, PASSING, POSITIONS, WALLET, Scope
from alerting.engine.identity import fingerprint
from alerting.engine.model import PROGRAM, Alert, Level, Memory, Notified, Severity, State
from alerting.engine.rules import (
    CONFIG_INVALID,
    DELIVERY_FAILING,
    RULE_UNDEFINED,
    Rule,
    Ruleset,
    Threshold,
    Zone,
    classify,
)
from alerting.engine.samples import Sample, account_sample, samples
from alerting.engine.snapshot import Snapshot
from alerting.errors import UsageError
from alerting.exchanges.coinswitch.recorded import snapshot_of
from alerting.messages.phrases import to_clear
from alerting.monitoring.looking_back import RecordedPolls, SeenBack, past_of
from alerting.store.history import PastChange, PastMessage, RecordedPoll
from alerting.terminal import count
from alerting.units import EXACT, format_duration, rfc3339

_CHANGES = 6
_MESSAGES = 8
_ZONES = {
    Zone.BREACH: "in breach",
    Zone.BAND: "between threshold and clear",
    Zone.CLEAR: "clear",
}


class ExplainStore(RecordedPolls, Protocol):
    """What is asked of the state file; each method raises StoreError if it cannot be read."""

    def memory(self, account: str) -> Memory:
        """What is remembered of an account."""

    def last_poll(self, account: str, *, at: datetime, feed: str) -> RecordedPoll | None:
        """The last recorded poll of a feed up to an instant that gave a body."""

    def transitions(self, fingerprint: str, *, until: datetime, most: int) -> Sequence[PastChange]:
        """The last changes of an alert's levels up to an instant, oldest first."""

    def messages_about(
        self, fingerprint: str, *, until: datetime, most: int
    ) -> Sequence[PastMessage]:
        """The last messages about an alert up to an instant, oldest first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked."""

    #: its name, or the id of one of its alerts
    rule: str
    symbol: str | None
    at: datetime
    #: True: about now, so that the memory can be asked too
    present: bool
    #: how numbers are shown
    display: Display = PLAIN
    #: the one alert that it is about; None: all of the rule's
    fingerprint: str | None = None


def explain(ruleset: Ruleset, store: ExplainStore, question: Question) -> Iterator[str]:
    """The lines of the answer, for each account and row that the rule applies to."""
    question = _of_id(ruleset, store, question)
    if question.rule in ruleset.builtin:
        yield from _explain_builtin(ruleset, store, question)
        return
    known = {rule.name: rule for rule in ruleset.rules}
    rule = known.get(question.rule)
    if rule is None:
        names = ", ".join((*known, *ruleset.builtin))
        raise UsageError(f"no rule or alert {question.rule!r}; there are the rules {names}")
    if not rule.enabled:
        yield f"Rule {rule.name} is parked (enabled: false): it is not judged."
    if question.symbol is not None and rule.scope not in PASSING:
        raise UsageError(f"--symbol: rule {rule.name} is per {rule.scope.value}")
    told_any = False
    for account in ruleset.accounts:
        if not rule.accounts.matches(account):
            continue
        memory = store.memory(account)
        at = None if question.present else question.at
        past = past_of(ruleset, rule, store, memory, at=at)
        for sample, seen_at in _samples(ruleset, store, rule, memory, question):
            told_any = True
            seen = SeenBack(ruleset, rule, past, sample, at=seen_at)
            yield from _Answer(ruleset, rule, store, question).lines(memory, seen, seen_at)
            yield ""
    if not told_any:
        yield (
            f"Nothing is recorded up to {_time(question.at)} that rule {rule.name} could be "
            f"judged by{' for ' + question.symbol if question.symbol else ''}."
        )


def _of_id(ruleset: Ruleset, store: ExplainStore, question: Question) -> Question:
    """The question about the rule and the row of an alert, where it names one by its id."""
    if question.rule in {*ruleset.builtin, *(rule.name for rule in ruleset.rules)}:
        return question
    for account in (*ruleset.accounts, PROGRAM):
        for alert in store.memory(account).alerts.values():
            if alert.id == question.rule.lower():
                return replace(question, rule=alert.rule, fingerprint=alert.fingerprint)
    return question


def _is_asked(question: Question, rule: str, labels: Mapping[str, str]) -> bool:
    """Whether the question is about this alert too."""
    return question.fingerprint in {None, fingerprint(rule, labels)}


def _samples(
    ruleset: Ruleset, store: ExplainStore, rule: Rule, memory: Memory, question: Question
) -> Iterator[tuple[Sample, datetime]]:
    if rule.scope is Scope.ACCOUNT:
        for feed in ruleset.feeds_of(memory.account.name):
            sample = account_sample(memory.account, feed, question.at)
            if _is_asked(question, rule.name, sample.labels):
                yield sample, question.at
        return
    feed = FEED_OF[rule.scope]
    snapshot = _recorded(store, memory.account.name, feed, question.at)
    if snapshot is None:
        return
    wallet = snapshot if feed == WALLET else None
    if wallet is None:
        wallet = _recorded(store, memory.account.name, WALLET, question.at)
    fresh = wallet is not None and question.at - wallet.observed_at <= ruleset.blind_after
    totals = {row.base_asset: row.fields for row in wallet.wallets} if wallet and fresh else {}
    with decimal.localcontext(EXACT):
        rows = list(samples(snapshot, rule.scope, totals))
    for sample in rows:
        wanted = question.symbol is None or sample.labels.get("symbol") == question.symbol
        wanted = wanted and _is_asked(question, rule.name, sample.labels)
        if wanted and rule.applies_to(sample.labels):
            yield sample, snapshot.observed_at


def _recorded(store: ExplainStore, account: str, feed: str, at: datetime) -> Snapshot | None:
    """The last recorded snapshot of a feed; None: there is none, or it cannot be read any more."""
    poll = store.last_poll(account, at=at, feed=feed)
    if poll is None or poll.body is None:
        return None
    rates = store.last_poll(account, at=at, feed="instruments") if feed == POSITIONS else None
    return snapshot_of(feed, poll.body, rates.body if rates else None, account=account, at=poll.at)


class _Told:
    """What became of one alert: what it did lately, and what was or was not sent."""

    #: whether its rule's numbers are shown so
    percent = False

    def __init__(self, ruleset: Ruleset, store: ExplainStore, question: Question) -> None:
        self.ruleset = ruleset
        self.store = store
        self.question = question

    def _number(self, value: Decimal, *, apart_from: Decimal | None = None) -> str:
        """As in the messages."""
        show = self.question.display
        return show.number(value, percent=self.percent, apart_from=apart_from)

    def _changes(self, fp: str) -> Iterator[str]:
        changes = self.store.transitions(fp, until=self.question.at, most=_CHANGES)
        yield "  changes    " + ("none recorded" if not changes else "the last ones:")
        for change in changes:
            value = "" if change.value is None else f", value {self._number(Decimal(change.value))}"
            yield (
                f"    {_time(change.at)}  {change.severity.value}: {change.source.value} → "
                f"{change.target.value} ({change.reason}{value})"
            )

    def _routing(self, memory: Memory, alert: Alert, *, at_worst: Severity) -> Iterator[str]:
        now = self.question.at
        if alert.severity is None:
            # where it would go: the worst it could become
            alert = replace(alert, worst=at_worst)
        route = routing.route_of(self.ruleset, alert)
        number = self.ruleset.routes.index(route) + 1
        severity = alert.severity or alert.worst
        name = severity.value if severity else "?"
        receivers = routing.receivers_of(self.ruleset, alert, route)
        yield f"  route      as {name}: number {number}, to {', '.join(receivers)}"
        silence = routing.silence_of(memory.silences, alert, now=now)
        if silence is not None:
            until = _time(silence.ends_at)
            yield f"  silenced   until {until} (silence {silence.id}: {silence.reason})"
        if severity is not None and routing.is_muted(route, severity, now=now):
            yield "  muted      a window of the route covers now; told when it ends, if still true"
        ack = memory.acks.get(alert.fingerprint)
        acked = ack if routing.is_acked(ack, alert, now=now) else None
        if acked is not None:
            end = f", or {_time(acked.until)}" if acked.until else ""
            who = f"{_time(acked.at)} by {acked.author}"
            yield f"  acked      {who}: no reminders until it gets worse{end}"
        if alert.flapping:
            yield "  flapping   it goes up and down; until it settles only a critical is told"
        quiet = "silenced" if silence is not None else "acked" if acked is not None else ""
        for (fp, receiver), entry in memory.notified.items():
            if fp == alert.fingerprint:
                repeat = route.repeat.after(entry.repeats) if receiver in receivers else None
                yield _notified(receiver, entry, repeat, quiet)

    def _messages(self, fp: str) -> Iterator[str]:
        messages = self.store.messages_about(fp, until=self.question.at, most=_MESSAGES)
        yield "  messages   " + ("none recorded" if not messages else "the last ones:")
        yield from (f"    {_message(message)}" for message in messages)


class _Answer(_Told):
    """The answer for one row of a rule of the file."""

    def __init__(
        self, ruleset: Ruleset, rule: Rule, store: ExplainStore, question: Question
    ) -> None:
        super().__init__(ruleset, store, question)
        self.rule = rule
        self.percent = rule.percent

    def lines(self, memory: Memory, seen: SeenBack, seen_at: datetime) -> Iterator[str]:
        """Value, levels, what happened lately, and what was or was not sent."""
        sample = seen.sample
        fp = fingerprint(self.rule.name, sample.labels)
        alert = memory.alerts.get(fp) if self.question.present else None
        alert = alert or Alert(rule=self.rule.name, labels=sample.labels)
        alert = replace(alert, extra_labels=self.rule.labels)
        value = self._value(sample)
        yield f"{self.rule.name}  {'/'.join(sample.labels.values())}  (id {alert.id})"
        number = self._shown(value)
        yield f"  value      {self.rule.value.text} = {number}   (seen {_time(seen_at)})"
        yield from seen.lines()
        yield from self._when(sample)
        for threshold in self.rule.thresholds:
            yield self._level(alert, threshold, value)
        if alert.remedies:
            offers = to_clear(alert.remedies, show=self.question.display)
            yield f"  to clear   {offers.removeprefix('to clear: ')}"
        yield from self._changes(fp)
        if self.question.present:
            yield from self._routing(memory, alert, at_worst=self.rule.thresholds[-1].severity)
        yield from self._messages(fp)

    def _shown(self, value: Decimal | None) -> str:
        """Apart from the line that it is nearest to."""
        if value is None:
            return "no value"
        near = min((each.line for each in self.rule.thresholds), key=lambda line: abs(line - value))
        return self._number(value, apart_from=near)

    def _value(self, sample: Sample) -> Decimal | None:
        with decimal.localcontext(EXACT):
            value = self.rule.value.evaluate(sample.values)
        return value if isinstance(value, Decimal) else None

    def _when(self, sample: Sample) -> Iterator[str]:
        if self.rule.when is not None:
            with decimal.localcontext(EXACT):
                holds = self.rule.when.evaluate(sample.values)
            word = {True: "true", False: "false: never a breach", None: "no value: held"}
            holds = None if holds is None else bool(holds)
            yield f"  when       {self.rule.when.text} is {word[holds]}"

    def _level(self, alert: Alert, threshold: Threshold, value: Decimal | None) -> str:
        sign = ">" if self.rule.direction.value == "above" else "<"
        line = f"  {threshold.severity.value:10} {sign} {self._number(threshold.line)}"
        if threshold.clear != threshold.line:
            line += f", clear at {self._number(threshold.clear)}"
        if value is None:
            line += ": no value, so the state is held"
        else:
            with decimal.localcontext(EXACT):
                line += f": {_ZONES[classify(threshold, self.rule.direction, value)]}"
        if not self.question.present:
            return line
        level = next((each for each in alert.levels if each.severity is threshold.severity), None)
        return line + "; " + _level_state(level, threshold)


# ── built-in alerts ─────────────────────────────────────────────────────────


def _explain_builtin(ruleset: Ruleset, store: ExplainStore, question: Question) -> Iterator[str]:
    """Each alert of a built-in rule of which anything is known; that all is well, where none is."""
    if question.symbol is not None:
        raise UsageError(f"--symbol: {question.rule} is a built-in alert and has no symbols")
    answer, quiet = _BuiltinAnswer(ruleset, store, question), True
    for account, labels in _possible(ruleset, question.rule):
        if not _is_asked(question, question.rule, labels):
            continue
        memory = store.memory(account)
        lines = list(answer.lines(memory, labels))
        quiet = quiet and not lines
        yield from lines
    if quiet:
        yield (
            f"{question.rule} (built-in, {ruleset.builtin[question.rule].severity.value}): nothing "
            f"is wrong, and nothing is recorded up to {_time(question.at)}."
        )


def _possible(ruleset: Ruleset, name: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Account and labels of every alert that a built-in rule can have."""
    if name == CONFIG_INVALID:
        yield PROGRAM, {}
    elif name == DELIVERY_FAILING:
        yield from ((PROGRAM, {"receiver": receiver}) for receiver in ruleset.receivers)
    elif name == RULE_UNDEFINED:
        for account in ruleset.accounts:
            for rule in ruleset.rules:
                yield account, {"account": account, "undefined_rule": rule.name}
    else:
        for account in ruleset.accounts:
            for feed in ruleset.feeds_of(account):
                yield account, {"account": account, "feed": feed}


class _BuiltinAnswer(_Told):
    """The answer for one built-in alert; no lines where it never was."""

    def lines(self, memory: Memory, labels: dict[str, str]) -> Iterator[str]:
        """State, since when, why, what happened lately, and who was told."""
        name = self.question.rule
        fp = fingerprint(name, labels)
        known = memory.alerts.get(fp) if self.question.present else None
        if known is None and not self.store.transitions(fp, until=self.question.at, most=1):
            return
        alert = known or Alert(rule=name, labels=labels)
        yield f"{name}  {'/'.join(labels.values()) or 'the program'}  (id {alert.id})"
        if self.question.present:
            yield f"  state      {_state(alert)}"
            if alert.detail:
                yield f"  why        {alert.detail}"
        yield from self._changes(fp)
        if self.question.present:
            severity = self.ruleset.builtin[name].severity
            yield from self._routing(memory, alert, at_worst=severity)
        yield from self._messages(fp)
        yield ""


def _state(alert: Alert) -> str:
    if alert.severity is None:
        over = f", over since {_time(alert.resolved_at)}" if alert.resolved_at else ""
        return f"inactive: nothing is wrong now{over}"
    since = alert.fired_at if alert.state is State.FIRING else alert.active_at
    when = f" since {_time(since)}" if since else ""
    return f"{alert.state.value} as {alert.severity.value}{when}"


def _notified(receiver: str, entry: Notified, repeat: timedelta | None, quiet: str) -> str:
    """What a receiver was told; `repeat` None: its present route does not lead there."""
    if entry.waiting:
        state = "a message waits to be sent, so no reminder is added"
    elif repeat is None:
        state = "not on its present route: next told when it eases or ends"
    elif quiet:
        state = f"no reminder while it is {quiet}"
    else:
        state = f"next reminder due {_time(entry.at + repeat)}"
    word = "told" if entry.delivered else "not yet reached,"
    return f"  {receiver:10} {word} {entry.severity.value} {_time(entry.at)}; {state}"


def _level_state(level: Level | None, threshold: Threshold) -> str:
    if level is None or level.state is State.INACTIVE:
        return "inactive"
    if level.state is State.PENDING:
        left = format_duration(max(timedelta(0), threshold.for_ - level.breached_for))
        return f"pending, {left} of for: {format_duration(threshold.for_)} left"
    since = _time(level.fired_at) if level.fired_at else "?"
    if level.clear_for is None:
        return f"firing since {since}"
    left = format_duration(max(timedelta(0), threshold.keep_firing_for - level.clear_for))
    return f"firing since {since}, clear, {left} of keep_firing_for left"


def _message(message: PastMessage) -> str:
    tries = count(message.attempts, "attempt")
    text = f"{_time(message.at)}  {message.reason} to {message.receiver}: {message.status}"
    if message.finished_at is not None:
        text += f" {_time(message.finished_at)}"
    text += f" ({tries}"
    if message.status != "sent" and message.last_reason:
        text += f", {message.last_reason}"
    return text + ")"


def _time(instant: datetime) -> str:
    return rfc3339(instant.replace(microsecond=0))
