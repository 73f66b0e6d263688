"""A state file with a rule that is easily broken, for the tests of the store."""

from __future__ import annotations

import functools

from alerting.engine import evaluation
from tests.support.factories import (
    CRITICAL,
    WARNING,
    make_failure,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_threshold,
    make_wallet,
)

LADDER = make_rule(
    "floor",
    "total_available_balance",
    make_threshold(WARNING, "1000"),
    make_threshold(CRITICAL, "250"),
)


def see(store, available, at, *, ruleset=None, account="main", poll=None):
    """Evaluate a snapshot with so much left to trade with; None: a failed poll."""
    judge = functools.partial(
        evaluation.evaluate,
        ruleset or make_ruleset(LADDER),
        outcome=make_snapshot(make_wallet(available), at=at, account=account)
        if available is not None
        else make_failure(account=account),
        now=at,
    )
    return store.evaluate(account, judge, poll=poll)


def reasons(row):
    """Why a claimed message is sent, per alert."""
    return [item.reason.value for item in row.notification.items]
