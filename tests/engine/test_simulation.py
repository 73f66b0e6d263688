"""The engine on a simulated clock, as `replay` and `test` use it."""

from __future__ import annotations

from alerting.engine.simulation import Simulation
from tests.support.factories import T0, M, make_failure, make_ruleset, make_snapshot, make_wallet


def test_it_remembers_each_account_and_lets_strangers_in():
    simulation = Simulation(make_ruleset())
    low = make_snapshot(make_wallet("50"), account="other")

    fired = simulation.feed(low, at=T0)
    again = simulation.feed(low, at=T0 + M)

    assert [n.reason.value for n in fired.notifications] == ["firing"]
    assert again.notifications == ()
    assert all(entry.delivered for entry in simulation.memory("other").notified.values())
    assert simulation.memory("main").alerts == {}


def test_a_failed_poll_is_fed_like_a_good_one():
    simulation = Simulation(make_ruleset())
    assert simulation.feed(make_failure(), at=T0).memory.account.poll_failures == 1
