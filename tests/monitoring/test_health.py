"""What is wrong, by whose limits; the heartbeat's are in test_heartbeat.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerting.engine.model import AccountState
from alerting.engine.rules import ReceiverPolicy
from alerting.monitoring.health import Health, Trouble, failing_receivers, look
from tests.support.configs import make_config, see
from tests.support.factories import T0, M, S
from tests.support.overviews import make_health

RULESET = make_config().ruleset


def said(problems):
    return [(each.trouble, str(each)) for each in problems]


def test_before_anything_ran_only_the_accounts_are_wrong(store):
    for health in (look(RULESET, None, now=T0), look(RULESET, store, now=T0)):
        assert health == Health(
            accounts={"main": AccountState(name="main")},
            failing={"desk": None},
            feeds={"main": ("wallet",)},
        )
        assert said(health.of_accounts(read_since=T0)) == [
            (Trouble.NEVER_READ, "account main was never read")
        ]
        assert said(health.of_receivers(waiting_since=T0)) == said(health.of_program()) == []


def test_stalled_loops_are_worse_than_a_state_file_that_cannot_be_used():
    health = Health(stalled=["main", "second"], errors=["state file x: disk full"])

    assert said(health.of_program()) == [
        (Trouble.LOOPS_STALLED, "loops that do not get on: main, second"),
        (Trouble.STATE_UNUSABLE, "state file x: disk full"),
    ]


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        pytest.param(T0 + 45 * S, [Trouble.NEVER_READ], id="at-the-limit"),
        pytest.param(T0 + 46 * S, [Trouble.READ_LONG_AGO, Trouble.NEVER_READ], id="older"),
    ],
)
def test_how_old_is_too_old_is_the_presenters_affair(since, expected):
    assert [each.trouble for each in make_health().of_accounts(read_since=since)] == expected


@pytest.mark.parametrize(
    ("waited", "failing"),
    [
        pytest.param(5 * M - S, False, id="not-yet"),
        pytest.param(5 * M, True, id="for-the-time-of-delivery-failing"),
    ],
)
def test_without_a_limit_that_of_delivery_failing_counts(store, waited, failing):
    see(store, "0.5")
    now = T0 + waited

    assert bool(failing_receivers(RULESET, store, now=now)) is failing
    assert (look(RULESET, store, now=now).failing["desk"] is not None) is failing
    assert failing_receivers(RULESET, store, now=now, overdue=M) == {
        "desk": "1 critical waiting since 00:00:00 UTC: no attempt has ended yet"
    }


def test_a_receiver_that_left_the_rules_file_is_nobodys_trouble(store):
    see(store, "0.5")
    without = replace(RULESET, receivers={"phone": ReceiverPolicy()})

    assert failing_receivers(without, store, now=T0 + 9 * M) == {}
    assert list(look(without, store, now=T0 + 9 * M).of_receivers(waiting_since=T0 + 9 * M)) == []
