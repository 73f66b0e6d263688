"""One evaluation: (rules, snapshot or failure, memory, now) -> what is true, and who is told.

A pure function. `run`, `run --once`, `replay`, `test` and `demo` all end here.
"""

from __future__ import annotations

import decimal
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from alerting.engine import builtin, finding, planning, positions, presence, samples, seen_time
from alerting.engine.builtin import ProgramFacts
from alerting.engine.feeds import FEED_OF, FEEDS, PASSING, POSITIONS, WALLET, Scope
from alerting.engine.finding import Finding
from alerting.engine.lifecycle import Trust
from alerting.engine.model import (
    PROGRAM,
    AccountState,
    Alert,
    ChangeReason,
    Memory,
    Notification,
    State,
    Transition,
)
from alerting.engine.over_time import Found, Lookout
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
from alerting.engine.snapshot import Flaw, PollFailure, PollOutcome, Snapshot
from alerting.engine.working_set import WorkingSet
from alerting.units import EXACT, ZERO


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The outcome of one evaluation."""

    at: datetime
    memory: Memory
    transitions: tuple[Transition, ...]
    notifications: tuple[Notification, ...]
    #: what the functions over time gave
    over_time: Mapping[Found, Mapping[str, Decimal | None]] = field(default_factory=dict)


def evaluate(
    ruleset: Ruleset,
    memory: Memory,
    outcome: PollOutcome | None,
    *,
    now: datetime,
    read: Collection[str] = tuple(FEEDS),
) -> Evaluation:
    """Judge one account; `outcome` None means that time passed without a poll.

    `read`: the feeds that there are. Of one that the rules ask for and that is not among them,
    nothing is said: nobody tries to read it.
    """
    with decimal.localcontext(EXACT):
        feeds = tuple(feed for feed in ruleset.feeds_of(memory.account.name) if feed in read)
        work = _Evaluator(ruleset, memory, now, feeds=feeds)
        if outcome is not None and outcome.feed not in work.feeds:
            outcome = None  # it was asked for when the rules were others
        work.count_seen_time(outcome)
        work.drop_removed_rules()
        if memory.account.name not in ruleset.accounts:
            # should the name come back, it may be another wallet
            work.account = AccountState(name=memory.account.name)
            work.lookout.forget_all()
            return work.finish()
        work.lookout.polled = outcome is not None
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
        work = _Evaluator(ruleset, memory, now, feeds=(PROGRAM,))
        work.count_time_awake()
        work.match_builtins()
        work.judge_program(facts)
        return work.finish()


class _Evaluator:
    """What one evaluation takes in, rule by rule; the alerts themselves are the working set's."""

    def __init__(
        self, ruleset: Ruleset, memory: Memory, now: datetime, *, feeds: tuple[str, ...]
    ) -> None:
        self.ruleset = ruleset
        self.now = now
        self.memory = memory
        self.feeds = feeds
        states = {feed: seen_time.begun(memory.account.feed(feed), now=now) for feed in feeds}
        # of a feed that nobody asks for any more nothing is remembered
        open_ = memory.account.positions if POSITIONS in feeds else ()
        self.account = replace(memory.account, feeds=states, positions=open_)
        self.work = WorkingSet(memory.alerts, now)
        self.lookout = Lookout(memory.past, now=now, patience=ruleset.blind_after)
        #: seen time since the snapshot before of the same feed, for alerts that were judged in it
        self.observed = ZERO

    def _change(self, feed: str, **fields: Any) -> None:
        self.account = self.account.with_feed(feed, replace(self.account.feed(feed), **fields))

    # ── inputs ──────────────────────────────────────────────────────────────

    def count_seen_time(self, outcome: PollOutcome | None) -> None:
        """How much of the time was seen; without an outcome, of no feed any."""
        if outcome is not None:
            state, longest = self.account.feed(outcome.feed), self.ruleset.blind_after
            self.observed = seen_time.observed(state, outcome, now=self.now, longest=longest)
            if isinstance(outcome, Snapshot):
                state = seen_time.aged(state, self.observed, now=self.now)
                self.account = self.account.with_feed(outcome.feed, state)
        for feed in self.feeds if outcome is None else (outcome.feed,):
            self._pass_unseen_time(feed)

    def count_time_awake(self) -> None:
        """Of the program, all the time was seen in which it was judging."""
        self.observed = self._unbroken(self.account.feed(PROGRAM).seen_at)
        self._pass_unseen_time(PROGRAM)

    def _pass_unseen_time(self, feed: str) -> None:
        last = self.account.feed(feed).seen_at
        if last is not None:
            unseen = self.now - last - self.observed
            rules = self.ruleset.rules
            self.work.move_flips(unseen, of=lambda alert: _feed_of(alert, rules) == feed)
        self._change(feed, seen_at=self.now)

    def take_snapshot(self, snapshot: Snapshot) -> None:
        """A snapshot arrived: judge every rule over its rows."""
        before = self.account.feed(snapshot.feed)
        seen = self._look(snapshot)
        totals = samples.fresh_totals(self.account, self.now, longest=self.ruleset.blind_after)
        for scope in FEEDS[snapshot.feed]:
            rows = samples.by_row(samples.samples(seen.snapshot, scope, totals))
            for rule in self._rules(scope):
                self._judge_rule(rule, rows, seen, before.last_snapshot_at)
            self.lookout.forget_gone(scope, present=rows, absent=seen.absent)
        self.work.end_asset(seen.gone)
        self._judge_suspect_data(snapshot.feed, seen.flaws)
        self.account = seen.account
        self._change(snapshot.feed, last_snapshot_at=self.now, poll_failures=0, last_error=None)

    def _look(self, snapshot: Snapshot) -> Sighting:
        """How far each row can be trusted, and the account with what it has by now."""
        account, observed, forget_after = self.account, self.observed, self.ruleset.forget_after
        if snapshot.feed == POSITIONS:
            return positions.look(snapshot, account, observed=observed, forget_after=forget_after)
        return presence.look(
            # by the clock that its age is told by: the exchange's answer has the machine's
            replace(snapshot, observed_at=self.now),
            account,
            tolerance=self.ruleset.tolerance,
            observed=observed,
            forget_after=forget_after,
            alerting=self.work.rows_on(),
        )

    def take_failure(self, failure: PollFailure) -> None:
        """A poll failed: every state holds."""
        failures = self.account.feed(failure.feed).poll_failures + 1
        self._change(failure.feed, poll_failures=failures, last_error=str(failure))

    def judge_account(self) -> None:
        """What can be judged without a snapshot: the account rules and `blind`."""
        for rule in self._rules(Scope.ACCOUNT):
            for feed in self.feeds:
                self._judge_feed(rule, feed)
        for feed in self.feeds:
            # asked only where time does not pass: nearly always it does
            waiting = self._waiting(feed) if self.account.feed(feed).unaged else frozenset()
            found = builtin.blind(self.ruleset, self.account, feed, self.now, waiting=waiting)
            self._apply_builtin(found)

    def _judge_feed(self, rule: Rule, feed: str) -> None:
        sample = samples.account_sample(self.account, feed, self.now)
        known = self.work.known(rule.name, sample.labels)
        observed = self._unbroken(known.judged_at if known else None)
        sample, trust = self.lookout.judged(rule, [sample], Trust.GOOD)
        judged = self._judge_sample(rule, sample, trust, observed)
        young = not judged and self.lookout.is_young(rule, sample)
        undefined = [] if judged or young else [sample]
        self._judge_undefined(rule, undefined, None, Trust.SUSPECT if young else Trust.GOOD)

    def _waiting(self, feed: str) -> frozenset[str]:
        """Rules of a feed with an alert that is pending and needs seen time to fire."""
        by_the_clock = {BLIND, *(rule.name for rule in self._rules(Scope.ACCOUNT))}
        pending = {
            alert.rule
            for alert in self.work.alerts.values()
            if alert.state is State.PENDING and _feed_of(alert, self.ruleset.rules) == feed
        }
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
        self.lookout.forget_unasked(self.ruleset.rules)
        memory = replace(self.memory, account=self.account, alerts=alerts, past=self.lookout.past())
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
            over_time=self.lookout.found,
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
            unread = alert.labels.get("feed", self.feeds[0]) not in self.feeds
            if not known_account or unread or not (is_builtin or applies):
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
            if not rule.applies_to(twins[0].labels):
                continue
            trust = seen.trust(rule, twins[0].labels)
            sample, trust = self.lookout.judged(rule, twins, trust, doubts=seen.doubts)
            least = trust if trust is Trust.SUSPECT else least
            known = self.work.known(rule.name, sample.labels)
            # time counts only if the alert was judged at both of its ends
            seen_before = known is not None and known.judged_at == before
            observed = self.observed if seen_before else ZERO
            if self._judge_sample(rule, sample, trust, observed):
                continue
            if self.lookout.is_young(rule, sample):
                least = Trust.SUSPECT  # no reason to cry yet, and none to say that it is judged
            else:
                undefined.append(sample)
        if any(rule.applies_to(labels) for labels in seen.absent):
            least = Trust.SUSPECT  # of what is not there, nobody can say that it has a value again
        self._judge_undefined(rule, undefined, self.observed, least)
        if rule.scope in PASSING:
            self.work.count_missing_rows(
                rule.name,
                rows,
                lambda labels: seen.trust(rule, labels),
                liquidated=seen.snapshot.liquidated or (),
            )

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

    def _judge_suspect_data(self, feed: str, flaws: Sequence[Flaw]) -> None:
        if flaws or SUSPECT_DATA in self.work.known_rules:
            name = self.account.name
            found = builtin.suspect_data(self.ruleset, name, feed, flaws, observed=self.observed)
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
        return seen_time.unbroken(before, now=self.now, longest=self.ruleset.blind_after)


def _feed_of(alert: Alert, rules: Iterable[Rule]) -> str:
    """The feed whose snapshots an alert is judged by; the program itself is as if it were one."""
    if alert.account is None:
        return PROGRAM
    if "feed" in alert.labels:
        return alert.labels["feed"]
    name = alert.labels.get("undefined_rule", alert.rule)
    rule = next((rule for rule in rules if rule.name == name), None)
    return FEED_OF.get(rule.scope, WALLET) if rule is not None else WALLET


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
