"""When an alert has remedies: while it fires, on data that can be trusted, as its row is now."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerting.engine.feeds import Scope
from alerting.engine.model import Direction, Reason, State
from alerting.store import documents
from tests.support.factories import (
    CRITICAL,
    LADDER,
    T0,
    WARNING,
    D,
    S,
    Simulation,
    make_failure,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_symbol,
    make_threshold,
    make_wallet,
    play,
)

FLOOR = make_rule(
    "floor",
    "total_available_balance",
    make_threshold(WARNING, "1000", clear="1100", for_=30),
    make_threshold(CRITICAL, "250", clear="300", keep=30),
)


def simulated(*rules, **kw):
    return Simulation(make_ruleset(*rules, **kw))


def remedies(simulation, rule="floor"):
    (alert,) = simulation.states(rule)
    return [(each.action.value, str(each.amount)) for each in alert.remedies]


def see(simulation, step, *wallets, symbols=()):
    at = T0 + step * 15 * S
    simulation.see(make_snapshot(*wallets, symbols=symbols, at=at), at)
    return simulation


def test_pending_has_none_and_firing_has_what_it_takes_now():
    simulation = play(simulated(FLOOR), "900")
    assert simulation.state_of() == "pending"
    assert remedies(simulation) == []
    see(simulation, 1, make_wallet("900"))
    see(simulation, 2, make_wallet("900"))
    assert (simulation.state_of(), remedies(simulation)) == ("firing", [("deposit", "200.00")])
    see(simulation, 3, make_wallet("950.5"))
    assert remedies(simulation) == [("deposit", "149.50")]


def test_a_critical_alert_is_told_what_ends_the_critical():
    simulation = play(simulated(FLOOR), "200")
    (alert,) = simulation.states()
    assert (alert.state, alert.severity) == (State.FIRING, CRITICAL)
    assert remedies(simulation) == [("deposit", "100.00")]


def test_eased_and_in_the_band_it_still_has_one_and_clear_it_has_none():
    simulation = play(simulated(FLOOR), "200 200 200 400 400 400 1050")
    assert simulation.notifications[-1].reason is Reason.EASED
    assert remedies(simulation) == [("deposit", "50.00")]
    see(simulation, 7, make_wallet("1100"))
    assert simulation.state_of() == "inactive"
    (item,) = simulation.notifications[-1].items
    assert (item.reason, item.alert.remedies) == (Reason.RESOLVED, ())


def test_while_it_waits_to_end_nothing_is_to_be_done():
    rule = make_rule("floor", "total_available_balance", make_threshold(WARNING, "1000", keep=60))
    simulation = play(simulated(rule), "900 1000")
    assert (simulation.state_of(), remedies(simulation)) == ("firing", [])
    see(simulation, 2, make_wallet("999.99"))
    assert remedies(simulation) == [("deposit", "0.01")]


def test_a_repeat_says_what_it_takes_by_then():
    simulation = Simulation(make_ruleset(LADDER))
    tokens = ["200", "190", *["180"] * (4 * 3600 // 15)]
    play(simulation, " ".join(tokens))
    first, last = simulation.notifications
    assert (first.reason, last.reason) == (Reason.FIRING, Reason.REPEAT)
    amounts = [each.items[0].alert.remedies[0].amount for each in (first, last)]
    assert amounts == [D("50.00"), D("70.00")]
    assert documents.load(type(last), documents.dump(last)) == last


def test_a_failed_poll_changes_nothing_of_it():
    simulation = play(simulated(LADDER), "200 _")
    assert remedies(simulation) == [("deposit", "50.00")]


@pytest.mark.parametrize(
    "wallet",
    [
        pytest.param(make_wallet("200", total_balance=D("999")), id="suspect"),
        pytest.param(make_wallet("200", total_balance=None), id="a-field-is-missing"),
        pytest.param(make_wallet(total_available_balance=None), id="no-value"),
    ],
)
def test_on_doubtful_data_nothing_is_offered(wallet):
    simulation = play(simulated(LADDER), "200")
    see(simulation, 1, wallet)
    assert (simulation.state_of(), remedies(simulation)) == ("firing", [])
    see(simulation, 2, make_wallet("200"))
    assert remedies(simulation) == [("deposit", "50.00")]


RATIO = make_rule(
    "ratio",
    "margin_ratio",
    make_threshold(WARNING, "0.2"),
    scope=Scope.SYMBOL,
    direction=Direction.ABOVE,
)
WALLET = make_wallet("500", position="500")
ROW = make_symbol(blocked="300")


def test_a_symbol_row_that_is_missing_is_offered_nothing():
    """Its margin is still in the totals; then it has left them, once, and twice."""
    simulation = see(simulated(RATIO), 0, WALLET, symbols=[ROW])
    assert remedies(simulation, "ratio") == [("deposit", "500.00")]
    see(simulation, 1, WALLET)
    assert (simulation.state_of("ratio"), remedies(simulation, "ratio")) == ("firing", [])
    see(simulation, 2, WALLET, symbols=[ROW])
    assert remedies(simulation, "ratio") == [("deposit", "500.00")]
    left = make_wallet("800", position="200")
    see(simulation, 3, left)
    assert (simulation.state_of("ratio"), remedies(simulation, "ratio")) == ("firing", [])
    see(simulation, 4, left)
    assert simulation.notifications[-1].items[0].alert.resolved_why.value == "gone"
    assert simulation.notifications[-1].items[0].alert.remedies == ()


def test_two_rows_of_one_name_are_offered_nothing():
    simulation = see(simulated(RATIO), 0, WALLET, symbols=[ROW, make_symbol(blocked="250")])
    assert (simulation.state_of("ratio"), remedies(simulation, "ratio")) == ("firing", [])


def test_account_rules_and_built_in_alerts_have_none():
    age = make_rule("age", "poll_failures", scope=Scope.ACCOUNT, direction=Direction.ABOVE)
    age = replace(age, thresholds=(make_threshold(WARNING, "0"),))
    simulation = play(simulated(age), "100")
    for step in range(1, 12):
        at = T0 + step * 15 * S
        simulation.see(make_failure(), at)
    assert {alert.rule for alert in simulation.memory.alerts.values()} == {"age", "blind"}
    assert all(not alert.remedies for alert in simulation.memory.alerts.values())


def test_a_rule_that_is_gone_takes_its_remedies_with_it():
    simulation = play(simulated(LADDER), "200")
    simulation.ruleset = make_ruleset(make_rule("other", "total_balance"))
    see(simulation, 1, make_wallet("200"))
    ended = simulation.notifications[-1].items[0].alert
    assert (ended.resolved_why.value, ended.remedies) == ("rule removed", ())
