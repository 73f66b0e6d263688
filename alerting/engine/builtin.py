"""The built-in alerts: what they find. They are judged as the alerts of the file's rules are.

Each is a rule with one threshold at zero over the number of things that are wrong, and says in
words what is wrong. `blind`, `delivery-failing` and `config-invalid` breach only when their whole
delay is over, so their threshold has none; the others age by the time that was seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from alerting.engine.feeds import WALLET
from alerting.engine.finding import Finding, Subject
from alerting.engine.lifecycle import Trust
from alerting.engine.model import AccountState, FeedState
from alerting.engine.rules import (
    BLIND,
    CONFIG_INVALID,
    DELIVERY_FAILING,
    RULE_UNDEFINED,
    SUSPECT_DATA,
    Rule,
    Ruleset,
    Threshold,
    Zone,
)
from alerting.engine.samples import Sample, seconds
from alerting.engine.snapshot import Flaw
from alerting.units import ZERO, format_duration, rfc3339

# How many flaws the text names; a message must stay readable.
_MOST_FLAWS = 8
# Snapshots in a row without seen time, before it is trouble: an outage, a restart end with one.
_PATIENCE = 3
_DELAY_IS_OVER = frozenset({BLIND, DELIVERY_FAILING})


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramFacts:
    """What the shell knows about the program itself, for the alerts that no account has."""

    #: receiver -> why it counts as failing
    failing_receivers: Mapping[str, str] = field(default_factory=dict)
    #: the problems of a changed rules file that was not taken over
    config_error: str | None = None


def undefined(
    ruleset: Ruleset,
    rule: Rule,
    account: str,
    samples: Sequence[Sample],
    *,
    observed: timedelta | None,
    trust: Trust,
) -> Finding:
    """A rule has no value for some samples; none: it can be judged for all."""
    detail = ""
    if samples:
        row = samples[0].labels
        which = row.get("symbol") or row.get("base_asset") or account
        more = f" and {len(samples) - 1} more" if len(samples) > 1 else ""
        detail = (
            f"rule {rule.name} cannot be judged for {which}{more}: “{rule.value.text}” has no value"
        )
    labels = {"account": account, "undefined_rule": rule.name}
    return _finding(ruleset, RULE_UNDEFINED, labels, detail, observed=observed, trust=trust)


def suspect_data(
    ruleset: Ruleset, account: str, feed: str, flaws: Sequence[Flaw], *, observed: timedelta
) -> Finding:
    """A snapshot with flaws, or without."""
    detail = "; ".join(flaw.text for flaw in flaws[:_MOST_FLAWS])
    if len(flaws) > _MOST_FLAWS:
        detail += f"; and {len(flaws) - _MOST_FLAWS} more"
    amounts = [abs(flaw.amount) for flaw in flaws if flaw.amount is not None]
    value = max(amounts, default=None)
    labels = {"account": account, "feed": feed}
    found = _finding(ruleset, SUSPECT_DATA, labels, detail, observed=observed, value=value)
    return replace(found, touched=tuple(dict.fromkeys(map(_touched, flaws))))


def _touched(flaw: Flaw) -> str:
    labels = "/".join(value for _, value in sorted((flaw.labels or {}).items()))
    return f"{flaw.scope.value} {labels}".strip()


def blind(
    ruleset: Ruleset, account: AccountState, feed: str, now: datetime, *, waiting: Collection[str]
) -> Finding:
    """How long nothing was seen of a feed, or too little for rules to fire that wait for it."""
    state = account.feed(feed)
    since = state.last_snapshot_at or state.first_polled_at or now
    age = now - since
    detail = ""
    if age >= ruleset.builtin[BLIND].for_:
        why = state.last_error or "no poll was made"
        seen = "last" if state.last_snapshot_at else "none since"
        how_long = timedelta(seconds=age // timedelta(seconds=1))
        when = rfc3339(since.replace(microsecond=0))
        of_what = "" if feed == WALLET else f" of the {feed}"
        detail = f"no snapshot{of_what} for {format_duration(how_long)} ({seen} {when}): {why}"
    elif waiting and state.unaged > _PATIENCE and state.unaged_for > ruleset.blind_after:
        detail = _sees_too_little(ruleset, state, waiting)
    labels = {"account": account.name, "feed": feed}
    return _finding(ruleset, BLIND, labels, detail, value=seconds(age))


def _sees_too_little(ruleset: Ruleset, state: FeedState, waiting: Collection[str]) -> str:
    lasted = timedelta(seconds=state.unaged_for // timedelta(seconds=1))
    return (
        f"{', '.join(sorted(waiting)[:_MOST_FLAWS])} cannot fire, as no `for` can pass: for "
        f"{format_duration(lasted)} a poll has failed between any two snapshots, or they were more "
        f"than {format_duration(ruleset.blind_after)} apart"
    )


def program(ruleset: Ruleset, facts: ProgramFacts, known: set[str]) -> Iterator[Finding]:
    """Each receiver that fails or is `known` to have failed, and a refused rules file."""
    for receiver in sorted(known | set(facts.failing_receivers)):
        why = facts.failing_receivers.get(receiver, "")
        yield _finding(ruleset, DELIVERY_FAILING, {"receiver": receiver}, why)
    yield _finding(ruleset, CONFIG_INVALID, {}, facts.config_error or "")


def _finding(
    ruleset: Ruleset,
    name: str,
    labels: Mapping[str, str],
    detail: str,
    *,
    observed: timedelta | None = None,
    trust: Trust = Trust.GOOD,
    value: Decimal | None = None,
) -> Finding:
    """`detail` is what is wrong; empty: nothing is."""
    settings = ruleset.builtin[name]
    threshold = Threshold(
        severity=settings.severity,
        line=Decimal(0),
        clear=Decimal(0),
        for_=ZERO if name in _DELAY_IS_OVER else settings.for_,
        keep_firing_for=settings.keep_firing_for,
    )
    zone = Zone.BREACH if detail else Zone.CLEAR
    return Finding(
        subject=Subject(name=name, thresholds=(threshold,)),
        labels=labels,
        zone_of=lambda _: zone,
        observed=observed,
        trust=trust,
        value=value,
        detail=detail,
    )
