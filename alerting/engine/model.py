"""The nouns: what is alerting, what is to be told, what is remembered."""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from alerting.engine.identity import fingerprint, short_id
from alerting.engine.remedy import Remedy
from alerting.engine.series import Past
from alerting.engine.snapshot import PositionRow, SymbolRow, WalletRow
from alerting.units import EXACT, ZERO


@functools.total_ordering
class Severity(enum.Enum):
    """How bad; ordered from info to critical."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info up to 2 for critical."""
        return list(Severity).index(self)

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Severity):
            return NotImplemented
        return self.rank < other.rank


class State(enum.Enum):
    """Where a level, or an alert as a whole, stands."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    #: only ever the end of a transition; what is stored afterwards is INACTIVE
    RESOLVED = "resolved"


class Direction(enum.Enum):
    """On which side of the threshold a value is in breach."""

    ABOVE = "above"
    BELOW = "below"


class Reason(enum.Enum):
    """Why a receiver is told."""

    FIRING = "firing"
    ESCALATED = "escalated"
    EASED = "eased"
    REPEAT = "repeat"
    RESOLVED = "resolved"


class ChangeReason(enum.Enum):
    """Why a level changed its state."""

    BREACH = "breach"
    HELD = "breach held"
    CLEAR = "clear"
    GONE = "gone"
    #: the position is gone, and the exchange took a liquidation fee for it
    LIQUIDATED = "liquidated"
    RULE_REMOVED = "rule removed"


#: The pseudo-account of alerts about the program itself.
PROGRAM = ""


# ── what is alerting ────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """One step of an alert's severity ladder; lifecycle.py alone changes it."""

    severity: Severity
    state: State = State.INACTIVE
    #: first breach of this episode
    active_at: datetime | None = None
    #: seen time in breach since active_at, while pending
    breached_for: timedelta = ZERO
    fired_at: datetime | None = None
    #: seen time on the safe side of `clear` while firing; None: not there at the last sample
    clear_for: timedelta | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """One rule × one set of labels, with the memory that its next evaluation needs."""

    rule: str
    #: account; base_asset; symbol and exchange: as far as the rule's scope goes
    labels: Mapping[str, str]
    levels: tuple[Level, ...] = ()
    #: labels of the rule itself, for routing and templates; no part of the identity
    extra_labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    #: last value seen; None where the last evaluation had none
    value: Decimal | None = None
    #: all API fields of its row, at the last evaluation
    values: Mapping[str, Decimal] = field(default_factory=dict)
    #: severity -> (threshold, clear), as the rule had it at the last evaluation
    thresholds: Mapping[Severity, tuple[Decimal, Decimal]] = field(default_factory=dict)
    direction: Direction = Direction.ABOVE
    #: the rule's `value`, as it stands in the file
    expression: str = ""
    #: whether the file writes the rule's numbers in percent
    percent: bool = False
    #: what exactly is wrong, for built-in alerts
    detail: str = ""
    #: when it was last judged with a value
    judged_at: datetime | None = None
    #: good snapshots since its row was last seen
    missed: int = 0
    #: what the flaws of the present episode touched, for `suspect-data`
    touched: tuple[str, ...] = ()
    #: names the present (or last) episode: its first firing in milliseconds since 1970
    episode: int = 0
    #: first breach, first firing and end of the present (or last) episode
    active_at: datetime | None = None
    fired_at: datetime | None = None
    resolved_at: datetime | None = None
    resolved_why: ChangeReason | None = None
    #: worst severity that fired in the present (or last) episode
    worst: Severity | None = None
    #: when it lately began or ceased to fire or changed its severity, as far back as flapping is
    #: looked for; time that was not seen since then has moved them on
    flips: tuple[datetime, ...] = ()
    flapping: bool = False
    #: while it fires: what would clear it, as its row was at the last evaluation
    remedies: tuple[Remedy, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Stable identity: a hash of the rule's name and the labels."""
        return fingerprint(self.rule, self.labels)

    @property
    def id(self) -> str:
        """The short id that people type."""
        return short_id(self.fingerprint)

    @property
    def state(self) -> State:
        """Firing if any level fires, else pending if any is, else inactive."""
        states = {level.state for level in self.levels}
        for state in (State.FIRING, State.PENDING):
            if state in states:
                return state
        return State.INACTIVE

    @property
    def severity(self) -> Severity | None:
        """The highest firing level's severity, else the highest pending one's."""
        of_state = [level.severity for level in self.levels if level.state is self.state]
        return max(of_state) if self.state is not State.INACTIVE else None

    @property
    def shown_labels(self) -> dict[str, str]:
        """The alert's own labels and those that its rule adds."""
        return {**self.extra_labels, **self.labels}

    @property
    def account(self) -> str | None:
        """The account it is about; None for alerts about the program itself."""
        return self.labels.get("account")

    def bounds(self, severity: Severity) -> tuple[Decimal, Decimal] | None:
        """(threshold, clear) of a severity; None where `detail` says what is wrong."""
        return None if self.detail else self.thresholds.get(severity)


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """One level changed its state."""

    at: datetime
    rule: str
    labels: Mapping[str, str]
    severity: Severity
    source: State
    target: State
    value: Decimal | None
    reason: ChangeReason
    #: of the alert
    fingerprint: str


# ── what is to be told ──────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class Notified:
    """What one receiver was last told of one alert."""

    fingerprint: str
    receiver: str
    episode: int
    #: the severity that it was last told
    severity: Severity
    #: when it was last told
    at: datetime
    #: the value that it was last told; None: none, or not known
    value: Decimal | None = None
    #: it was told of the critical that goes on; False once the alert is not critical any more,
    #: whether or not that could be told
    critical: bool = False
    #: a message of this episode was accepted
    delivered: bool = False
    #: a message about this alert still waits in the outbox
    waiting: bool = False
    #: reminders since the last news
    repeats: int = 0
    #: it was told that the alert flaps, and is left in peace until it settles
    flapping: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One alert within a notification, as it stood then."""

    alert: Alert
    reason: Reason
    #: the state to show: firing or resolved
    state: State
    severity: Severity
    #: what the receiver was told before, where that differs
    previous_severity: Severity | None = None
    #: of a repeat: the value that the receiver was last told, and when
    previous_value: Decimal | None = None
    previous_at: datetime | None = None
    #: it goes up and down, and nothing more is said until it settles
    flapping: bool = False

    @property
    def threshold(self) -> Decimal | None:
        """Where the severity begins; None where `detail` says what is wrong."""
        bounds = self.alert.bounds(self.severity)
        return bounds[0] if bounds else None

    @property
    def clear(self) -> Decimal | None:
        """Where the severity ends; None where `detail` says what is wrong."""
        bounds = self.alert.bounds(self.severity)
        return bounds[1] if bounds else None

    @property
    def distance(self) -> Decimal | None:
        """How far the value is past the threshold, negative on the safe side; None without one."""
        value, threshold = self.alert.value, self.threshold
        if value is None or threshold is None:
            return None
        if self.alert.direction is Direction.BELOW:
            value, threshold = threshold, value
        return EXACT.subtract(value, threshold)


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification:
    """Everything that one receiver is told of one account in one evaluation, worst first."""

    receiver: str
    #: None: the program itself
    account: str | None
    reason: Reason
    severity: Severity
    observed_at: datetime
    items: tuple[Item, ...]


# ── what people asked for ────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class Silence:
    """Somebody wants to hear nothing of some alerts for a while."""

    id: int
    #: label (or rule, severity, id) -> glob; all must match
    matchers: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime
    author: str
    reason: str

    @property
    def typed(self) -> str:
        """Its matchers as people type them."""
        return " ".join(f"{key}={glob}" for key, glob in sorted(self.matchers.items()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Ack:
    """Somebody has seen an alert: no reminders until it escalates or resolves, or `until` then."""

    fingerprint: str
    episode: int
    #: how bad it was when it was seen, or has come down to since
    severity: Severity
    at: datetime
    author: str
    #: None: however long the alert fires
    until: datetime | None = None


# ── what is remembered ──────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenRow:
    """A symbol row as it was last read; presence.py forgets it when it is gone."""

    row: SymbolRow
    #: field -> what the totals held beyond the rows before it came
    before: Mapping[str, Decimal] = field(default_factory=dict)
    #: good snapshots without it since then, its margin having left the totals
    missed: int = 0
    #: for how long it was not listed, in answers that list others and are good; None: it is
    away: timedelta | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenPosition:
    """A position as it was last read; it is forgotten when it is gone."""

    row: PositionRow
    at: datetime
    #: good snapshots without it since then, and the seen time in them
    missed: int = 0
    away: timedelta = ZERO


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenTotals:
    """An asset's wallet as it was last read without a flaw in it."""

    at: datetime
    fields: Mapping[str, Decimal]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedState:
    """How one feed of an account was read so far."""

    #: the first evaluation with it; blindness counts from here until a first snapshot
    first_polled_at: datetime | None = None
    #: the last snapshot, good or suspect
    last_snapshot_at: datetime | None = None
    #: in a row
    poll_failures: int = 0
    last_error: str | None = None
    #: the last evaluation of it; from then on it is asked how much of the time was seen
    seen_at: datetime | None = None
    #: snapshots in a row of which none added seen time, and the time between the first and the last
    unaged: int = 0
    unaged_for: timedelta = ZERO


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountState:
    """What the engine remembers of one account between evaluations."""

    name: str
    feeds: Mapping[str, FeedState] = field(default_factory=dict)
    #: settlement assets seen so far; one that vanishes makes a snapshot suspect
    assets: frozenset[str] = frozenset()
    #: those of them that are away -> for how long, in answers that are good otherwise
    away: Mapping[str, timedelta] = field(default_factory=dict)
    #: the settlement rows as they were last read
    wallets: tuple[WalletRow, ...] = ()
    #: asset -> its totals as they were last read well
    totals: Mapping[str, SeenTotals] = field(default_factory=dict)
    #: the symbol rows that are there, or missing but not gone
    rows: tuple[SeenRow, ...] = ()
    #: asset -> field of its rows -> what the totals held beyond the rows, when none was missing
    unlisted: Mapping[str, Mapping[str, Decimal]] = field(default_factory=dict)
    #: the positions that are open, or missing but not gone
    positions: tuple[SeenPosition, ...] = ()

    def feed(self, name: str) -> FeedState:
        """How a feed was read so far; of one that never was, the blank state."""
        return self.feeds.get(name) or FeedState()

    def with_feed(self, name: str, state: FeedState) -> AccountState:
        """The account with another state of one feed."""
        return replace(self, feeds={**self.feeds, name: state})


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """All that the engine knows when an account's evaluation starts."""

    account: AccountState
    #: fingerprint -> alert, of this account
    alerts: Mapping[str, Alert]
    #: (fingerprint, receiver) -> what was told
    notified: Mapping[tuple[str, str], Notified]
    #: those that have not ended yet
    silences: tuple[Silence, ...] = ()
    #: fingerprint -> acknowledgement
    acks: Mapping[str, Ack] = field(default_factory=dict)
    #: the samples that rules look back on
    past: Past = field(default_factory=Past)
