"""One evaluation: (rules, snapshot or failure, memory, now) -> what is true, and who is told.

A pure function. `run`, `run --once`, `replay`, `test` and `demo` all end here.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from alerting.engine import lifecycle, routing
from alerting.engine import samples as metrics
from alerting.engine.lifecycle import Change, Trust
from alerting.engine.model import (
    AccountState,
    Alert,
    ChangeReason,
    Direction,
    Level,
    Memory,
    Notification,
    Notified,
    PollFailure,
    PollOutcome,
    Severity,
    Snapshot,
    State,
    Transition,
    fingerprint,
)
from alerting.engine.rules import (
    BLIND,
    CONFIG_INVALID,
    DELIVERY_FAILING,
    RULE_UNDEFINED,
    SUSPECT_DATA,
    BuiltinRule,
    Rule,
    Ruleset,
    Scope,
    Threshold,
    Zone,
    classify,
)
from alerting.engine.samples import Sample
from alerting.units import EXACT, ZERO, format_duration, rfc3339

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# A position whose row is missing from so many good snapshots counts as closed.
_GONE_AFTER = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The outcome of one evaluation."""

    at: datetime
    memory: Memory
    transitions: tuple[Transition, ...]
    notifications: tuple[Notification, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramFacts:
    """What the shell knows about the program itself, for the alerts that no account has."""

    #: receiver -> why it counts as failing
    failing_receivers: Mapping[str, str] = field(default_factory=dict)
    #: the problems of a changed rules file that was not taken over
    config_error: str | None = None


def evaluate(
    ruleset: Ruleset, memory: Memory, outcome: PollOutcome | None, *, now: datetime
) -> Evaluation:
    """Judge one account; `outcome` None means that time passed without a poll."""
    with decimal.localcontext(EXACT):
        work = _Evaluator(ruleset, memory, now)
        work.drop_removed_rules()
        if memory.account.name not in ruleset.accounts:
            return work.finish()
        if isinstance(outcome, Snapshot):
            work.take_snapshot(outcome)
        elif isinstance(outcome, PollFailure):
            work.take_failure(outcome)
        work.judge_account()
        return work.finish()


def evaluate_program(
    ruleset: Ruleset, memory: Memory, facts: ProgramFacts, *, now: datetime
) -> Evaluation:
    """Judge the program itself: failing receivers and a refused rules file."""
    with decimal.localcontext(EXACT):
        work = _Evaluator(ruleset, memory, now)
        work.match_builtins()
        work.judge_program(facts)
        return work.finish()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Subject:
    """What the evaluation of one alert needs of its rule, be it the file's or built in."""

    name: str
    thresholds: tuple[Threshold, ...]
    direction: Direction = Direction.ABOVE
    expression: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Finding:
    """What one evaluation found for one alert."""

    labels: Mapping[str, str]
    #: where the value stands beside each threshold
    zone_of: Callable[[Threshold], Zone]
    observed: timedelta
    trust: Trust = Trust.GOOD
    value: Decimal | None = None
    fields: Mapping[str, Decimal] = field(default_factory=dict)
    detail: str = ""


class _Evaluator:
    """The working set of one evaluation; everything that leaves it is frozen again."""

    def __init__(self, ruleset: Ruleset, memory: Memory, now: datetime) -> None:
        self.ruleset = ruleset
        self.now = now
        self.memory = memory
        self.account = memory.account
        self.alerts = dict(memory.alerts)
        #: rules with an alert that is remembered; all others are quick to judge
        self.known_rules = {alert.rule for alert in memory.alerts.values()}
        self.transitions: list[Transition] = []
        if self.account.first_polled_at is None:
            self.account = replace(self.account, first_polled_at=now)
        self._clamp_to_now()
        #: seen time since the snapshot before, for alerts that were judged in it
        self.observed = ZERO

    def _clamp_to_now(self) -> None:
        """The clock was set back: what seems to lie ahead counts from now, or nothing would age."""
        first, last = self.account.first_polled_at, self.account.last_snapshot_at
        if first is not None and first > self.now:
            self.account = replace(self.account, first_polled_at=self.now)
        if last is not None and last > self.now:
            self.account = replace(self.account, last_snapshot_at=self.now)

    # ── inputs ──────────────────────────────────────────────────────────────

    def take_snapshot(self, snapshot: Snapshot) -> None:
        """A snapshot arrived: judge every wallet and symbol rule."""
        before = self.account
        flaws = metrics.flaws(
            snapshot, known_assets=before.assets, tolerance=self.ruleset.tolerance
        )
        trust = Trust.SUSPECT if flaws else Trust.GOOD
        if before.poll_failures == 0:
            self.observed = self._unbroken(before.last_snapshot_at)
        for scope in (Scope.WALLET, Scope.SYMBOL):
            samples = list(metrics.samples(snapshot, scope))
            for rule in self._rules(scope):
                self._judge_rule(rule, samples, trust, before.last_snapshot_at)
        self._judge_suspect_data(flaws)
        assets = before.assets | {wallet.base_asset for wallet in snapshot.wallets}
        self.account = replace(
            before, last_snapshot_at=self.now, poll_failures=0, last_error=None, assets=assets
        )

    def take_failure(self, failure: PollFailure) -> None:
        """A poll failed: every state holds."""
        failures = self.account.poll_failures + 1
        self.account = replace(self.account, poll_failures=failures, last_error=str(failure))

    def judge_account(self) -> None:
        """What can be judged without a snapshot: the account rules and `blind`."""
        for rule in self._rules(Scope.ACCOUNT):
            sample = metrics.account_sample(self.account, self.now)
            known = self._known(rule, sample)
            observed = self._unbroken(known.judged_at if known else None)
            undefined = [] if self._judge_sample(rule, sample, Trust.GOOD, observed) else [sample]
            self._judge_undefined(rule, undefined, None, Trust.GOOD)
        self._judge_blind()

    def judge_program(self, facts: ProgramFacts) -> None:
        """Failing receivers and a refused rules file, each one alert."""
        known = {
            alert.labels["receiver"]
            for alert in self.alerts.values()
            if alert.rule == DELIVERY_FAILING
        }
        for receiver in sorted(known | set(facts.failing_receivers)):
            why = facts.failing_receivers.get(receiver)
            self._judge_builtin(DELIVERY_FAILING, {"receiver": receiver}, why, immediate=True)
        self._judge_builtin(CONFIG_INVALID, {}, facts.config_error, immediate=True)

    def finish(self) -> Evaluation:
        """Plan the notifications and keep only what still matters."""
        alerts = {fp: self._update_flapping(alert) for fp, alert in self.alerts.items()}
        memory = replace(self.memory, account=self.account, alerts=alerts)
        plan = routing.plan(self.ruleset, memory, now=self.now)
        open_alerts = {fp for fp, _ in plan.notified}
        kept = {
            fp: alert
            for fp, alert in alerts.items()
            if alert.state is not State.INACTIVE or alert.flips or fp in open_alerts
        }
        return Evaluation(
            at=self.now,
            memory=replace(memory, alerts=kept, notified=plan.notified),
            transitions=tuple(self.transitions),
            notifications=plan.notifications,
        )

    def _update_flapping(self, alert: Alert) -> Alert:
        """Look at how often the alert went up and down lately."""
        flapping = self.ruleset.flapping
        if flapping is None:
            return replace(alert, flips=(), flapping=False) if alert.flips else alert
        recent = tuple(at for at in alert.flips if ZERO <= self.now - at < flapping.within)
        # it must calm down well below where it started, or flapping itself would flap
        most = flapping.changes // 2 if alert.flapping else flapping.changes
        return replace(alert, flips=recent, flapping=len(recent) > most)

    def drop_removed_rules(self) -> None:
        """End the alerts and the levels that the rules file does not know any more."""
        rules = {rule.name: rule for rule in self.ruleset.rules}
        known_account = self.account.name in self.ruleset.accounts
        for alert in list(self.alerts.values()):
            subject = alert.labels.get("undefined_rule", alert.rule)
            rule = rules.get(subject)
            builtin = alert.rule in self.ruleset.builtin and subject == alert.rule
            applies = rule is not None and (subject != alert.rule or _applies(rule, alert.labels))
            if not known_account or not (builtin or applies):
                self._end(alert, ChangeReason.RULE_REMOVED)
            elif rule is not None and subject == alert.rule:
                self._match_thresholds(alert, {each.severity for each in rule.thresholds})
        self.match_builtins()

    def match_builtins(self) -> None:
        """Move built-in alerts to the severity that the rules file gives them by now."""
        for alert in list(self.alerts.values()):
            if alert.rule in self.ruleset.builtin:
                self._match_thresholds(alert, {self.ruleset.builtin[alert.rule].severity})

    def _match_thresholds(self, alert: Alert, wanted: Collection[Severity]) -> None:
        """Keep an alert's states under a changed ladder; severity is no part of its identity."""
        if {level.severity for level in alert.levels} <= set(wanted):
            return
        if len(alert.levels) == 1 and len(wanted) == 1:
            (severity,) = wanted
            level = replace(alert.levels[0], severity=severity)
            self.alerts[alert.fingerprint] = replace(alert, levels=(level,))
        else:
            self._end(alert, ChangeReason.RULE_REMOVED, keep=wanted)

    # ── rules of the file ───────────────────────────────────────────────────

    def _rules(self, *scopes: Scope) -> Iterable[Rule]:
        for rule in self.ruleset.rules:
            if rule.scope in scopes and rule.accounts.matches(self.account.name):
                yield rule

    def _judge_rule(
        self, rule: Rule, samples: list[Sample], trust: Trust, before: datetime | None
    ) -> None:
        undefined = []
        for sample in samples:
            if not _applies(rule, sample.labels):
                continue
            known = self._known(rule, sample)
            # a observed counts only if the alert was judged at both of its ends
            seen_before = known is not None and known.judged_at == before
            observed = self.observed if seen_before else ZERO
            if not self._judge_sample(rule, sample, trust, observed):
                undefined.append(sample)
        self._judge_undefined(rule, undefined, self.observed, trust)
        if trust is Trust.GOOD and rule.scope is Scope.SYMBOL:
            self._count_missing_rows(rule, samples)

    def _known(self, rule: Rule, sample: Sample) -> Alert | None:
        if rule.name not in self.known_rules:
            return None
        return self.alerts.get(fingerprint(rule.name, sample.labels))

    def _judge_sample(self, rule: Rule, sample: Sample, trust: Trust, observed: timedelta) -> bool:
        """False: the expression has no value; the alert holds as it is."""
        wanted = True if rule.when is None else rule.when.evaluate(sample.values)
        value = rule.value.evaluate(sample.values)
        number = value if isinstance(value, Decimal) else None
        if wanted is None or (wanted and number is None):
            self._touch(rule, sample)
            return False
        zone_of = _zones(rule, number if wanted else None)
        quiet = all(zone_of(threshold) is not Zone.BREACH for threshold in rule.thresholds)
        if quiet and rule.name not in self.known_rules:
            return True  # what nearly always happens: nothing was, and nothing is
        self._apply(
            _subject(rule),
            _Finding(
                labels=sample.labels,
                zone_of=zone_of,
                observed=observed,
                trust=trust,
                value=number,
                fields=sample.fields,
            ),
        )
        return True

    def _touch(self, rule: Rule, sample: Sample) -> None:
        """The row is there, though it cannot be judged: it is not missing."""
        known = self._known(rule, sample)
        if known is not None:
            self.alerts[known.fingerprint] = replace(known, missed=0)

    def _count_missing_rows(self, rule: Rule, samples: list[Sample]) -> None:
        present = [sample.labels for sample in samples]
        for alert in [a for a in self.alerts.values() if a.rule == rule.name]:
            if alert.labels in present:
                continue
            missed = replace(alert, missed=alert.missed + 1)
            self.alerts[alert.fingerprint] = missed
            if missed.missed >= _GONE_AFTER:
                self._end(missed, ChangeReason.GONE)

    # ── built-in alerts ─────────────────────────────────────────────────────

    def _judge_undefined(
        self, rule: Rule, undefined: list[Sample], observed: timedelta | None, trust: Trust
    ) -> None:
        detail = None
        if undefined:
            row = undefined[0].labels
            which = row.get("symbol") or row.get("base_asset") or self.account.name
            more = f" and {len(undefined) - 1} more" if len(undefined) > 1 else ""
            detail = (
                f"rule {rule.name} cannot be judged for {which}{more}: "
                f"“{rule.value.text}” has no value"
            )
        labels = {"account": self.account.name, "undefined_rule": rule.name}
        self._judge_builtin(RULE_UNDEFINED, labels, detail, observed=observed, trust=trust)

    def _judge_suspect_data(self, flaws: list[metrics.Flaw]) -> None:
        detail = "; ".join(flaw.text for flaw in flaws) or None
        amounts = [abs(flaw.amount) for flaw in flaws if flaw.amount is not None]
        value = max(amounts, default=None)
        labels = {"account": self.account.name}
        self._judge_builtin(SUSPECT_DATA, labels, detail, observed=self.observed, value=value)

    def _judge_blind(self) -> None:
        since = self.account.last_snapshot_at or self.account.first_polled_at or self.now
        delay = self.ruleset.builtin[BLIND].for_
        age = self.now - since
        detail = None
        if age >= delay:
            why = self.account.last_error or "no poll was made"
            seen = "last" if self.account.last_snapshot_at else "none since"
            how_long = timedelta(seconds=age // timedelta(seconds=1))
            when = rfc3339(since.replace(microsecond=0))
            detail = f"no snapshot for {format_duration(how_long)} ({seen} {when}): {why}"
        labels = {"account": self.account.name}
        value = metrics.seconds(age)
        self._judge_builtin(BLIND, labels, detail, immediate=True, value=value)

    def _judge_builtin(
        self,
        name: str,
        labels: Mapping[str, str],
        detail: str | None,
        *,
        observed: timedelta | None = None,
        trust: Trust = Trust.GOOD,
        immediate: bool = False,
        value: Decimal | None = None,
    ) -> None:
        """`detail` is what is wrong, None if nothing is; `immediate`: its delay is already over.

        `observed` None: what it is about can be seen at any time, not only in snapshots.
        """
        if detail is None and name not in self.known_rules:
            return
        known = self.alerts.get(fingerprint(name, labels))
        if detail is None and known is None:
            return
        if observed is None:
            observed = self._unbroken(known.judged_at if known else None)
        settings = self.ruleset.builtin[name]
        zone = Zone.BREACH if detail is not None else Zone.CLEAR
        self._apply(
            _builtin_subject(name, settings, immediate=immediate),
            _Finding(
                labels=labels,
                zone_of=lambda _: zone,
                observed=observed,
                trust=trust,
                value=value,
                detail=detail or (known.detail if known else ""),
            ),
        )

    # ── one alert ───────────────────────────────────────────────────────────

    def _unbroken(self, before: datetime | None) -> timedelta:
        """The time since `before`, or zero if that is too long to count as seen."""
        if before is None or not ZERO <= self.now - before <= self.ruleset.blind_after:
            return ZERO
        return self.now - before

    def _apply(self, subject: _Subject, finding: _Finding) -> None:
        """Advance every level of one alert and book what changed."""
        fp = fingerprint(subject.name, finding.labels)
        alert = self.alerts.get(fp) or Alert(rule=subject.name, labels=finding.labels)
        known = {level.severity: level for level in alert.levels}
        alert = replace(
            alert,
            extra_labels=subject.labels,
            annotations=subject.annotations,
            value=finding.value,
            values=finding.fields,
            thresholds={r.severity: (r.line, r.clear) for r in subject.thresholds},
            direction=subject.direction,
            expression=subject.expression,
            detail=finding.detail,
            judged_at=self.now,
            missed=0,
        )
        levels, changes = [], []
        for threshold in subject.thresholds:
            level, change = lifecycle.advance(
                known.get(threshold.severity) or Level(severity=threshold.severity),
                finding.zone_of(threshold),
                threshold,
                now=self.now,
                observed=finding.observed,
                trust=finding.trust,
            )
            levels.append(level)
            changes += [change] if change else []
        self._store_changes(alert, levels, changes)

    def _end(self, alert: Alert, reason: ChangeReason, *, keep: Collection[Severity] = ()) -> None:
        """End the levels whose severity is not in `keep`."""
        levels, changes = [], []
        for level in alert.levels:
            if level.severity in keep:
                levels.append(level)
                continue
            ended, change = lifecycle.end(level, reason)
            levels.append(ended)
            changes += [change] if change else []
        self._store_changes(alert, levels, changes)

    def _store_changes(self, alert: Alert, levels: list[Level], changes: list[Change]) -> None:
        before, after = alert.state, replace(alert, levels=tuple(levels))
        if before is not State.FIRING and after.state is not State.INACTIVE:
            active = [r.active_at for r in levels if r.state is not State.INACTIVE and r.active_at]
            after = replace(after, active_at=min(active))
        if before is not State.FIRING and after.state is State.FIRING:
            after = self._begin_episode(after)
        if after.state is State.FIRING and after.severity is not None:
            after = replace(after, worst=max(after.worst or after.severity, after.severity))
        if before is State.FIRING and after.state is not State.FIRING:
            after = replace(after, resolved_at=self.now, resolved_why=changes[-1].reason)
        if (before is State.FIRING) is not (after.state is State.FIRING):
            after = replace(after, flips=(*after.flips, self.now))
        self.alerts[after.fingerprint] = after
        self.transitions += [self._transition(after, change) for change in changes]

    def _begin_episode(self, alert: Alert) -> Alert:
        return replace(
            alert,
            fired_at=self.now,
            episode=(self.now - _EPOCH) // _MILLISECOND,
            resolved_at=None,
            resolved_why=None,
            worst=None,
        )

    def _transition(self, alert: Alert, change: Change) -> Transition:
        return Transition(
            at=self.now,
            rule=alert.rule,
            labels=alert.shown_labels,
            severity=change.level.severity,
            source=change.source,
            target=change.target,
            value=alert.value,
            reason=change.reason,
            fingerprint=alert.fingerprint,
        )


def all_delivered(memory: Memory) -> Memory:
    """The memory after every waiting message was accepted at once: where nothing is really sent."""
    notified = {
        key: replace(entry, waiting=False, delivered=entry.delivered or entry.waiting)
        for key, entry in memory.notified.items()
    }
    return replace(memory, notified=notified)


_LABELS = {
    Scope.ACCOUNT: {"account"},
    Scope.WALLET: {"account", "base_asset"},
    Scope.SYMBOL: {"account", "base_asset", "symbol", "exchange"},
}


def _applies(rule: Rule, labels: Mapping[str, str]) -> bool:
    if labels.keys() != _LABELS[rule.scope]:
        return False  # the rule was made for another scope since
    if not (rule.accounts.patterns or rule.base_assets.patterns or rule.symbols.patterns):
        return True  # as most rules are; this is asked for each row of each snapshot
    return (
        rule.accounts.matches(labels.get("account", ""))
        and ("base_asset" not in labels or rule.base_assets.matches(labels["base_asset"]))
        and ("symbol" not in labels or rule.symbols.matches(labels["symbol"]))
    )


def _zones(rule: Rule, value: Decimal | None) -> Callable[[Threshold], Zone]:
    """Where the value stands, per threshold; None: `when` is false, which is never a breach."""
    if value is None:
        return lambda _: Zone.CLEAR
    return lambda threshold: classify(threshold, rule.direction, value)


def _subject(rule: Rule) -> _Subject:
    return _Subject(
        name=rule.name,
        thresholds=rule.thresholds,
        direction=rule.direction,
        expression=rule.value.text,
        labels=rule.labels,
        annotations=rule.annotations,
    )


def _builtin_subject(name: str, settings: BuiltinRule, *, immediate: bool) -> _Subject:
    threshold = Threshold(
        severity=settings.severity,
        line=Decimal(0),
        clear=Decimal(0),
        for_=ZERO if immediate else settings.for_,
        keep_firing_for=settings.keep_firing_for,
    )
    return _Subject(name=name, thresholds=(threshold,))


def blank_memory(account: str) -> Memory:
    """The memory of an account that was never seen."""
    notified: dict[tuple[str, str], Notified] = {}
    return Memory(account=AccountState(name=account), alerts={}, notified=notified)
