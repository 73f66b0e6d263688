"""A replay for people to read: a line for each event, and a summary in tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from alerting.display import PLAIN, Display
from alerting.engine.evaluation import Evaluation
from alerting.engine.feeds import WALLET
from alerting.engine.model import Direction, Item, Notification, Severity, State, Transition
from alerting.engine.rules import BUILTIN_NAMES, Ruleset
from alerting.replay.comparison import Change, Difference, Event, Sent
from alerting.replay.tally import Figures, PollCounts, Tally
from alerting.terminal import Paint, count, table
from alerting.units import ZERO, format_duration, plain, rfc3339

_MOST_ALERTS = 3
_MOST_PLACES = 8
_STATES_WIDTH = len("inactive → pending")
_SEVERITY_WIDTH = len("critical")


# ── one evaluation ──────────────────────────────────────────────────────────


class StepLines:
    """The lines of an evaluation; columns are as wide as the rules' names need."""

    def __init__(self, ruleset: Ruleset, paint: Paint, display: Display = PLAIN) -> None:
        self._paint = paint
        self._display = display
        self._percent = {rule.name: rule.percent for rule in ruleset.rules}
        names = [*BUILTIN_NAMES, *(rule.name for rule in ruleset.rules)]
        self._width = max(map(len, names))
        #: (rule, severity) -> the sign of a breach, and where it begins
        self._lines = {
            (rule.name, threshold.severity): (sign, threshold.line)
            for rule in ruleset.rules
            for sign in ("<" if rule.direction is Direction.BELOW else ">",)
            for threshold in rule.thresholds
        }

    def of(self, evaluation: Evaluation) -> Iterator[str]:
        """One line for each transition, then one for each notification."""
        at = rfc3339(evaluation.at)
        for change in evaluation.transitions:
            yield f"{at}  {self._transition(change)}"
        for notification in evaluation.notifications:
            yield f"{at}  {self._notification(notification)}"

    def _transition(self, change: Transition) -> str:
        states = f"{change.source.value} → {change.target.value}".ljust(_STATES_WIDTH)
        severity = change.severity.value.ljust(_SEVERITY_WIDTH)
        colour = _state_colour(change.target, change.severity)
        sign, line = self._lines.get((change.rule, change.severity), ("", None))
        value = ""
        if change.value is not None:
            value = f"  {self._number(change.value, change.rule, apart_from=line)}"
            if line is not None and change.target in (State.PENDING, State.FIRING):
                value += f" {sign} {self._number(line, change.rule)}"
        return (
            f"{self._paint(f'{states}  {severity}', colour)}  {change.rule.ljust(self._width)}  "
            f"{_where(change.labels)}{value}  {self._paint(change.reason.value, 'dim')}"
        )

    def _number(self, number: Decimal, rule: str, *, apart_from: Decimal | None = None) -> str:
        """As messages write it, though an amount not digit for digit."""
        if self._percent.get(rule) or number.is_infinite():
            return self._display.percent(number, apart_from=apart_from)
        return self._display.money(_short(number)) + ("…" if _is_long(number) else "")

    def _notification(self, notification: Notification) -> str:
        shown = [self._item(item) for item in notification.items[:_MOST_ALERTS]]
        if len(notification.items) > _MOST_ALERTS:
            shown.append(f"and {len(notification.items) - _MOST_ALERTS} more")
        sent = f"=> {notification.receiver}: {notification.reason.value}"
        return f"{sent.ljust(_STATES_WIDTH)}  {', '.join(shown)}"

    def _item(self, item: Item) -> str:
        over = item.state is State.RESOLVED
        colour = "resolved" if over else item.severity.value
        what = f"{item.severity.value} {item.alert.rule} {_where(item.alert.labels)}"
        return f"{self._paint(what, colour)} {self._paint(item.alert.id, 'dim')}"


def _state_colour(state: State, severity: Severity) -> str:
    if state is State.FIRING:
        return severity.value
    return "resolved" if state is State.RESOLVED else "dim"


def subject(labels: Mapping[str, str]) -> list[str]:
    """What tells an alert from the others of its rule, from the widest to the narrowest."""
    names = ("account", "feed", "base_asset", "symbol", "side", "undefined_rule", "receiver")
    return [labels[name] for name in names if name in labels]


def _where(labels: Mapping[str, str]) -> str:
    return "/".join(subject(labels))


def _short(number: Decimal) -> str:
    whole, _, places = plain(number).partition(".")
    return f"{whole}.{places[:_MOST_PLACES]}" if places else whole


def _is_long(number: Decimal) -> bool:
    return len(plain(number).partition(".")[2]) > _MOST_PLACES


# ── differences ─────────────────────────────────────────────────────────────


def difference_line(difference: Difference, paint: Paint) -> str:
    """What is new, gone, moved or changed, and when."""
    change, either = difference.change.value, difference.either
    severity = _both(difference, lambda side: side.severity.value)
    if isinstance(either, Sent):
        kind, who = "message", f"{either.receiver}: {either.reason.value} of "
        when = f"at {_both(difference, _start)}{_delay(difference, _start)}"
    else:
        kind, who = "episode", ""
        when = f"from {_both(difference, _start)}{_delay(difference, _start)}"
        when += f" to {_both(difference, _end)}{_delay(difference, _end)}"
    head = paint(f"{change:<7}  {kind}", change)
    return f"{head}  {who}{either.rule} {_where(either.labels)}  {severity}  {when}"


def _start(side: Event) -> datetime | None:
    return side.at if isinstance(side, Sent) else side.fired_at


def _end(side: Event) -> datetime | None:
    return None if isinstance(side, Sent) else side.resolved_at


def _both(difference: Difference, pick: Callable[[Event], str | datetime | None]) -> str:
    """What both sides have, as `old → new` where that differs."""
    texts = []
    for side in (difference.old, difference.new):
        found = None if side is None else pick(side)
        text = rfc3339(found) if isinstance(found, datetime) else found or "(still firing)"
        if side is not None and text not in texts:
            texts.append(text)
    return " → ".join(texts)


def _delay(difference: Difference, pick: Callable[[Event], datetime | None]) -> str:
    instants = [pick(side) for side in (difference.old, difference.new) if side is not None]
    known = [instant for instant in instants if instant is not None]
    if len(known) < 2 or known[0] == known[1]:
        return ""
    delay = known[1] - known[0]
    return f" ({'+' if delay > ZERO else ''}{format_duration(delay)})"


class DifferenceCounts:
    """How much differs, for the end."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Change]] = Counter()

    def add(self, difference: Difference) -> None:
        """Count one more."""
        kind = "messages" if isinstance(difference.either, Sent) else "episodes"
        self._counts[kind, difference.change] += 1

    def lines(self) -> Iterator[str]:
        """One line for episodes and one for messages; all changes are named, zero too."""
        yield ""
        for kind in ("episodes", "messages"):
            counts = [f"{self._counts[kind, change]} {change.value}" for change in Change]
            yield f"{kind}: {', '.join(counts)}"


# ── summary ─────────────────────────────────────────────────────────────────


def summary(tallies: list[Tally], paint: Paint) -> Iterator[str]:
    """Tables of rules and receivers; with two tallies (old, new) what differs as `old → new`."""
    latest = tallies[-1]
    if latest.first is None or latest.last is None:
        yield "no polls in this recording, or none within --from and --to"
        return
    yield ""
    days = format_duration(timedelta(seconds=int(latest.span.total_seconds())))
    polls = _polls(latest.polls[WALLET])
    accounts = count(len(latest.accounts), "account")
    yield f"{rfc3339(latest.first)} to {rfc3339(latest.last)} ({days}): {polls} of {accounts}"
    for feed, counts in latest.polls.items():
        if feed != WALLET and counts != PollCounts():
            yield f"{feed}: {_polls(counts)}"
    yield ""
    rules = [
        (name, *_changes([_rule_cells(tally, tally.rules.get(name)) for tally in tallies]))
        for name in _names([tally.rules for tally in tallies])
    ]
    yield from _table(
        ("RULE", "EPISODES", "FIRING", "MESSAGES", "PER WEEK", "AT NIGHT"), rules, paint
    )
    yield ""
    receivers = [
        (name, *_changes([_cells(tally, tally.receivers.get(name)) for tally in tallies]))
        for name in _names([tally.receivers for tally in tallies])
    ]
    yield from _table(("RECEIVER", "MESSAGES", "PER WEEK", "AT NIGHT"), receivers, paint)


def _polls(counts: PollCounts) -> str:
    return f"{count(counts.snapshots, 'snapshot')} and {count(counts.failures, 'failed poll')}"


def _names(groups: list[dict[str, Figures]]) -> list[str]:
    """The new file's names in its order, then those that only the old one has."""
    return list(dict.fromkeys(name for group in reversed(groups) for name in group))


def _rule_cells(tally: Tally, figures: Figures | None) -> tuple[str, ...]:
    if figures is None or tally.last is None:
        return ("-",) * 5
    firing = figures.firing_until(tally.last)
    time = format_duration(timedelta(seconds=int(firing.total_seconds())))
    if firing and tally.span:
        time += f" ({firing / tally.span:.1%})"
    return (str(figures.episodes), time, *_cells(tally, figures))


def _cells(tally: Tally, figures: Figures | None) -> tuple[str, ...]:
    if figures is None:
        return ("-",) * 3
    rate = tally.per_week(figures.messages)
    per_week = "-" if rate is None else f"{rate:.1f}"
    return (str(figures.messages), per_week, str(figures.at_night))


def _changes(sides: list[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(" → ".join(dict.fromkeys(cells)) for cells in zip(*sides, strict=True))


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]], paint: Paint) -> Iterator[str]:
    """The first column to the left, numbers to the right."""
    head, *lines = table([header, *rows], right_from=1)
    yield paint(head, "dim")
    yield from lines
