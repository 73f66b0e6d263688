"""One evaluation: (rules, snapshot or failure, memory, now) -> what is true, and who is told.

A pure function. `run`, `run --once`, `replay`, `test` and `demo` all end here.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from alerting.engine import builtin, finding, planning, presence, samples
from alerting.engine.builtin import ProgramFacts
from alerting.engine.feeds import FEEDS, Scope
from alerting.engine.finding import Finding
from alerting.engine.lifecycle import Trust
from alerting.engine.model import (
    AccountState,
    ChangeReason,
    Flaw,
    Memory,
    Notification,
    PollFailure,
    PollOutcome,
    Snapshot,
    State,
    Transition,
)
from alerting.engine.presence import Sighting
from alerting.engine.rules import (
    BLIND,
    DELIVERY_FAILING,
    RULE_UNDEFINED,
    SUSPECT_DATA,
    Rule,
    Ruleset,
    Zone,
)
from alerting.engine.samples import Sample
from alerting.engine.working_set import WorkingSet
from alerting.units import EXACT, ZERO


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The outcome of one evaluation."""

    at: datetime
    memory: Memory
    transitions: tuple[Transition, ...]
    notifications: tuple[Notification, ...]


def evaluate(
    ruleset: Ruleset, memory: Memory, outcome: PollOutcome | None, *, now: datetime
) -> Evaluation:
    """Judge one account; `outcome` None means that time passed without a poll."""
    with decimal.localcontext(EXACT):
        work = _Evaluator(ruleset, memory, now)
        work.count_seen_time(outcome)
        work.drop_removed_rules()
        if memory.account.name not in ruleset.accounts:
            # should the name come back, it may be another wallet
            work.account = AccountState(name=memory.account.name)
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
        work.count_time_awake()
        work.match_builtins()
        work.judge_program(facts)
        return work.finish()


class _Evaluator:
    """What one evaluation takes in, rule by rule; the alerts themselves are the working set's."""

    def __init__(self, ruleset: Ruleset, memory: Memory, now: datetime) -> None:
        self.ruleset = ruleset
        self.now = now
        self.memory = memory
        self.account = memory.account
        self.work = WorkingSet(memory.alerts, now)
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

    def count_seen_time(self, outcome: PollOutcome | None) -> None:
        """Of an account, time was seen between two snapshots without a failed poll."""
        last = self.account.last_snapshot_at
        if isinstance(outcome, Snapshot) and last is not None:
            if self.account.poll_failures == 0:
                self.observed = self._unbroken(last)
            self._count_unaged(self.now - last)
        self._pass_unseen_time()

    def _count_unaged(self, stretch: timedelta) -> None:
        """The first of several such snapshots ends an outage or a pause: no trouble yet."""
        before = self.account.unaged
        unaged = before + 1 if self.observed == ZERO else 0
        lasted = self.account.unaged_for + stretch if before and unaged else ZERO
        self.account = replace(self.account, unaged=unaged, unaged_for=lasted)

    def count_time_awake(self) -> None:
        """Of the program, all the time was seen in which it was judging."""
        self.observed = self._unbroken(self.account.seen_at)
        self._pass_unseen_time()

    def _pass_unseen_time(self) -> None:
        last = self.account.seen_at
        if last is not None:
            self.work.move_flips(self.now - last - self.observed)
        self.account = replace(self.account, seen_at=self.now)

    def take_snapshot(self, snapshot: Snapshot) -> None:
        """A snapshot arrived: judge every rule over its rows."""
        before = self.account
        seen = presence.look(
            snapshot,
            before,
            tolerance=self.ruleset.tolerance,
            observed=self.observed,
            forget_after=self.ruleset.forget_after,
            alerting=self.work.rows_on(),
        )
        for scope in FEEDS["wallet"]:
            rows = samples.by_row(samples.samples(seen.snapshot, scope))
            for rule in self._rules(scope):
                self._judge_rule(rule, rows, seen, before.last_snapshot_at)
        self.work.end_asset(seen.gone)
        self._judge_suspect_data(seen.flaws)
        self.account = replace(
            seen.account,
            wallets=snapshot.wallets,
            last_snapshot_at=self.now,
            poll_failures=0,
            last_error=None,
        )

    def take_failure(self, failure: PollFailure) -> None:
        """A poll failed: every state holds."""
        failures = self.account.poll_failures + 1
        self.account = replace(self.account, poll_failures=failures, last_error=str(failure))

    def judge_account(self) -> None:
        """What can be judged without a snapshot: the account rules and `blind`."""
        for rule in self._rules(Scope.ACCOUNT):
            sample = samples.account_sample(self.account, self.now)
            known = self.work.known(rule.name, sample.labels)
            observed = self._unbroken(known.judged_at if known else None)
            undefined = [] if self._judge_sample(rule, sample, Trust.GOOD, observed) else [sample]
            self._judge_undefined(rule, undefined, None, Trust.GOOD)
        # asked only where time does not pass: nearly always it does
        waiting = self._waiting() if self.account.unaged else frozenset()
        self._apply_builtin(builtin.blind(self.ruleset, self.account, self.now, waiting=waiting))

    def _waiting(self) -> frozenset[str]:
        """Rules with an alert that is pending and needs seen time to fire."""
        by_the_clock = {BLIND, *(rule.name for rule in self._rules(Scope.ACCOUNT))}
        pending = {a.rule for a in self.work.alerts.values() if a.state is State.PENDING}
        return frozenset(pending - by_the_clock)

    def judge_program(self, facts: ProgramFacts) -> None:
        """Failing receivers and a refused rules file, each one alert."""
        known = {alert.labels["receiver"] for alert in self.work.of_rule(DELIVERY_FAILING)}
        for each in builtin.program(self.ruleset, facts, known):
            self._apply_builtin(each)

    def finish(self) -> Evaluation:
        """Plan the notifications and keep only what still matters."""
        self.work.update_flapping(self.ruleset.flapping)
        alerts = self.work.alerts
        memory = replace(self.memory, account=self.account, alerts=alerts)
        plan = planning.plan(self.ruleset, memory, now=self.now)
        open_alerts = {fp for fp, _ in plan.notified}
        kept = {
            fp: alert
            for fp, alert in alerts.items()
            if alert.state is not State.INACTIVE or alert.flips or fp in open_alerts
        }
        return Evaluation(
            at=self.now,
            memory=replace(memory, alerts=kept, notified=plan.notified, acks=plan.acks),
            transitions=tuple(self.work.transitions),
            notifications=plan.notifications,
        )

    def drop_removed_rules(self) -> None:
        """End the alerts and the levels that the rules file does not know any more."""
        rules = {rule.name: rule for rule in self.ruleset.rules if rule.enabled}
        known_account = self.account.name in self.ruleset.accounts
        for alert in list(self.work.alerts.values()):
            subject = alert.labels.get("undefined_rule", alert.rule)
            rule = rules.get(subject)
            is_builtin = alert.rule in self.ruleset.builtin and subject == alert.rule
            applies = rule is not None and (subject != alert.rule or rule.applies_to(alert.labels))
            if not known_account or not (is_builtin or applies):
                self.work.end(alert, ChangeReason.RULE_REMOVED)
            elif rule is not None and subject == alert.rule:
                self.work.match_thresholds(alert, {each.severity for each in rule.thresholds})
        self.match_builtins()

    def match_builtins(self) -> None:
        """Move built-in alerts to the severity that the rules file gives them by now."""
        for alert in list(self.work.alerts.values()):
            if alert.rule in self.ruleset.builtin:
                self.work.match_thresholds(alert, {self.ruleset.builtin[alert.rule].severity})

    # ── rules of the file ───────────────────────────────────────────────────

    def _rules(self, scope: Scope) -> Iterable[Rule]:
        for rule in self.ruleset.rules:
            if rule.enabled and rule.scope is scope and rule.accounts.matches(self.account.name):
                yield rule

    def _judge_rule(
        self, rule: Rule, rows: samples.ByRow, seen: Sighting, before: datetime | None
    ) -> None:
        undefined, least = [], Trust.GOOD
        for twins in rows.values():
            sample = twins[0] if len(twins) == 1 else finding.worst(rule, twins)
            if not rule.applies_to(sample.labels):
                continue
            trust = seen.trust(rule, sample.labels)
            least = trust if trust is Trust.SUSPECT else least
            known = self.work.known(rule.name, sample.labels)
            # time counts only if the alert was judged at both of its ends
            seen_before = known is not None and known.judged_at == before
            observed = self.observed if seen_before else ZERO
            if not self._judge_sample(rule, sample, trust, observed):
                undefined.append(sample)
        if any(rule.applies_to(labels) for labels in seen.absent):
            least = Trust.SUSPECT  # of what is not there, nobody can say that it has a value again
        self._judge_undefined(rule, undefined, self.observed, least)
        if rule.scope is Scope.SYMBOL:
            self.work.count_missing_rows(rule.name, rows, lambda labels: seen.trust(rule, labels))

    def _judge_sample(self, rule: Rule, sample: Sample, trust: Trust, observed: timedelta) -> bool:
        """False: the expression has no value; the alert holds as it is."""
        wanted = True if rule.when is None else rule.when.evaluate(sample.values)
        value = rule.value.evaluate(sample.values)
        number = value if isinstance(value, Decimal) else None
        if wanted is None or (wanted and number is None):
            known = self.work.known(rule.name, sample.labels)
            if known is not None:
                self.work.touch(known)
            return False
        zone_of = finding.zones(rule, number if wanted else None)
        quiet = all(zone_of(threshold) is not Zone.BREACH for threshold in rule.thresholds)
        if quiet and rule.name not in self.work.known_rules:
            return True  # what nearly always happens: nothing was, and nothing is
        found = finding.of_rule(rule, sample, zone_of, value=number, observed=observed, trust=trust)
        self.work.apply(found, observed=observed)
        return True

    # ── built-in alerts ─────────────────────────────────────────────────────

    def _judge_undefined(
        self, rule: Rule, undefined: list[Sample], observed: timedelta | None, trust: Trust
    ) -> None:
        if undefined or RULE_UNDEFINED in self.work.known_rules:
            self._apply_builtin(
                builtin.undefined(
                    self.ruleset, rule, self.account.name, undefined, observed=observed, trust=trust
                )
            )

    def _judge_suspect_data(self, flaws: Sequence[Flaw]) -> None:
        if flaws or SUSPECT_DATA in self.work.known_rules:
            name = self.account.name
            found = builtin.suspect_data(self.ruleset, name, flaws, observed=self.observed)
            self._apply_builtin(found)

    def _apply_builtin(self, found: Finding) -> None:
        """As any finding, but nothing is remembered of what never was wrong."""
        known = self.work.known(found.subject.name, found.labels)
        if not found.detail and known is None:
            return
        observed = found.observed
        if observed is None:
            observed = self._unbroken(known.judged_at if known else None)
        self.work.apply(found, observed=observed)

    def _unbroken(self, before: datetime | None) -> timedelta:
        """The time since `before`, or zero if that is too long to count as seen."""
        if before is None or not ZERO <= self.now - before <= self.ruleset.blind_after:
            return ZERO
        return self.now - before


def all_delivered(memory: Memory) -> Memory:
    """The memory after every waiting message was accepted at once: where nothing is really sent."""
    notified = {
        key: replace(entry, waiting=False, delivered=entry.delivered or entry.waiting)
        for key, entry in memory.notified.items()
    }
    return replace(memory, notified=notified)


def blank_memory(account: str) -> Memory:
    """The memory of an account that was never seen."""
    return Memory(account=AccountState(name=account), alerts={}, notified={})
