"""Why a rule fires or does not, and who was told: all that is recorded, as lines."""

from __future__ import annotations

import functools
import json

import pytest

from alerting.display import PLAIN, Display, Grouping
from alerting.engine import evaluation
from alerting.engine.builtin import ProgramFacts
from alerting.engine.feeds import Scope
from alerting.engine.rules import BUILTIN_NAMES, Flapping
from alerting.engine.snapshot import Poll
from alerting.errors import UsageError
from alerting.exchanges.coinswitch.answers import parse_wallet
from alerting.monitoring.explain import Question, explain
from alerting.sandbox.exchange import wallet_body
from tests.support.factories import (
    CRITICAL,
    INFO,
    T0,
    M,
    S,
    make_failure,
    make_route,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_threshold,
)

FLOOR = make_rule(
    "floor",
    "total_available_balance",
    make_threshold(INFO, for_=60),
    make_threshold(CRITICAL, "1"),
)
RULESET = make_ruleset(FLOOR)


def see(store, available, at, ruleset=RULESET):
    body = json.dumps(wallet_body(total="2000", available=available))
    snapshot = parse_wallet(body.encode(), account="main", observed_at=at)
    judge = functools.partial(evaluation.evaluate, ruleset, outcome=snapshot, now=at)
    poll = Poll(at=at, account="main", body=body, outcome=snapshot)
    store.evaluate("main", judge, poll=poll)


def ask(store, *, at, rule="floor", symbol=None, present=True, ruleset=RULESET, display=PLAIN):
    question = Question(rule=rule, symbol=symbol, at=at, present=present, display=display)
    return list(explain(ruleset, store, question))


def test_an_alert_that_got_worse_and_whose_message_was_refused(store):
    for minutes, available in enumerate(("50", "50", "0.5")):
        see(store, available, T0 + minutes * M)
    row = store.claim("desk", now=T0 + 2 * M)
    store.mark_dead(row, reason="bad token", now=T0 + 2 * M)

    assert ask(store, at=T0 + 3 * M) == [
        "floor  main/USDT  (id hugojv6)",
        "  value      total_available_balance = 0.5   (seen 2026-01-01T00:02:00Z)",
        "  info       < 100: in breach; firing since 2026-01-01T00:01:00Z",
        "  critical   < 1: in breach; firing since 2026-01-01T00:02:00Z",
        "  to clear   deposit 0.50 USDT",
        "  changes    the last ones:",
        "    2026-01-01T00:00:00Z  info: inactive → pending (breach, value 50)",
        "    2026-01-01T00:01:00Z  info: pending → firing (breach held, value 50)",
        "    2026-01-01T00:02:00Z  critical: inactive → firing (breach, value 0.5)",
        "  route      as critical: number 1, to desk",
        "  desk       not yet reached, critical 2026-01-01T00:02:00Z; a message waits to be sent, so no reminder is added",
        "  messages   the last ones:",
        "    2026-01-01T00:01:00Z  firing to desk: dead 2026-01-01T00:02:00Z (1 attempt, bad token)",
        "    2026-01-01T00:02:00Z  escalated to desk: pending (0 attempts)",
        "",
    ]


def test_who_is_not_on_the_present_route_is_said_to_get_no_reminder(store):
    routes = (make_route("phone", severity="critical"), make_route("desk"))
    ruleset = make_ruleset(FLOOR, routes=routes, receivers=("desk", "phone"))
    for seconds, available in ((0, "0.5"), (60, "0.5"), (120, "50")):
        see(store, available, T0 + seconds * S, ruleset)
    row = store.claim("phone", now=T0)
    store.mark_sent(row, reason="ok", now=T0)
    row = store.claim("phone", now=T0 + 2 * M)
    store.mark_sent(row, reason="ok", now=T0 + 2 * M)

    lines = ask(store, at=T0 + 3 * M, ruleset=ruleset)
    assert (
        "  phone      told info 2026-01-01T00:02:00Z; "
        "not on its present route: next told when it eases or ends"
    ) in lines


def test_an_alert_that_flaps_is_said_to_be_told_as_critical_only(store):
    ruleset = make_ruleset(FLOOR, flapping=Flapping(changes=2, within=10 * M))
    for seconds, available in enumerate(("0.5", "50000", "0.5")):
        see(store, available, T0 + seconds * S, ruleset)
    lines = ask(store, at=T0 + M, ruleset=ruleset)
    assert "  flapping   it goes up and down; until it settles only a critical is told" in lines


def test_about_the_past_only_what_was_recorded_counts(store):
    see(store, "50", T0)
    see(store, "0.5", T0 + 2 * M)

    assert ask(store, at=T0 + M, present=False) == [
        "floor  main/USDT  (id hugojv6)",
        "  value      total_available_balance = 50   (seen 2026-01-01T00:00:00Z)",
        "  info       < 100: in breach",
        "  critical   < 1: clear",
        "  changes    the last ones:",
        "    2026-01-01T00:00:00Z  info: inactive → pending (breach, value 50)",
        "  messages   none recorded",
        "",
    ]


def test_an_alerts_id_asks_about_its_row_alone(store):
    total = make_rule("total", "total_balance", make_threshold(INFO, "9000"))
    ruleset = make_ruleset(FLOOR, total)
    see(store, "0.5", T0, ruleset)

    whole = ask(store, at=T0 + M, ruleset=ruleset)
    assert ask(store, at=T0 + M, ruleset=ruleset, rule="HUGOJV6") == whole
    (other,) = [a for a in store.memory("main").alerts.values() if a.rule == "total"]
    assert ask(store, at=T0 + M, ruleset=ruleset, rule=other.id)[0].startswith("total  main/USDT")


def test_an_alerts_id_tells_its_row_from_the_rules_other_rows(store):
    rule = make_rule("row", "blocked_balance", make_threshold(INFO, "9000"), scope=Scope.SYMBOL)
    ruleset = make_ruleset(rule)
    rows = {"BTCUSDT": ("5", "0"), "ETHUSDT": ("5", "0")}
    body = json.dumps(wallet_body(total="2000", rows=rows))
    snapshot = parse_wallet(body.encode(), account="main", observed_at=T0)
    judge = functools.partial(evaluation.evaluate, ruleset, outcome=snapshot, now=T0)
    store.evaluate("main", judge, poll=Poll(at=T0, account="main", body=body, outcome=snapshot))

    for alert in store.memory("main").alerts.values():
        lines = ask(store, at=T0 + M, ruleset=ruleset, rule=alert.id)
        (head,) = [line for line in lines if line.startswith("row  ")]
        assert head.startswith(f"row  main/USDT/{alert.labels['symbol']}/")


def test_numbers_are_written_as_in_the_messages(store):
    ratio = make_rule(
        "floor",
        "available_ratio",
        make_threshold(INFO, "0.5", clear="0.6"),
        percent=True,
    )
    ruleset = make_ruleset(ratio)
    see(store, "999.9999", T0, ruleset)
    lines = ask(store, at=T0 + M, ruleset=ruleset)
    # not as 50%, for that is the line
    assert "  value      available_ratio = 49.999995%   (seen 2026-01-01T00:00:00Z)" in lines
    assert any(line.startswith("  info       < 50%, clear at 60%: in breach") for line in lines)
    assert any("(breach, value 50%)" in line for line in lines)

    see(store, "1234.5", T0 + M)
    grouped = Display(grouping=Grouping.THOUSANDS)
    lines = ask(store, at=T0 + M, display=grouped)
    assert any("total_available_balance = 1,234.5 " in line for line in lines)


def test_where_nothing_is_recorded_it_says_so(store):
    assert ask(store, at=T0) == [
        "Nothing is recorded up to 2026-01-01T00:00:00Z that rule floor could be judged by."
    ]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        pytest.param(
            {"rule": "flor"},
            "no rule or alert 'flor'; there are the rules floor, blind, suspect",
            id="unknown-rule",
        ),
        pytest.param({"symbol": "X"}, "--symbol: rule floor is per wallet", id="no-symbols"),
        pytest.param(
            {"rule": "blind", "symbol": "X"}, "--symbol: blind is a built-in", id="builtin"
        ),
    ],
)
def test_a_question_that_makes_no_sense_is_wrong_usage(store, asked, said):
    with pytest.raises(UsageError, match=said):
        ask(store, at=T0, **asked)


# ── built-in alerts ─────────────────────────────────────────────────────────


def fail(store, at):
    judge = functools.partial(evaluation.evaluate, RULESET, outcome=make_failure(), now=at)
    store.evaluate("main", judge)


def test_blind_says_since_when_why_and_who_was_told(store):
    see(store, "5000", T0)
    fail(store, T0 + 2 * M)
    row = store.claim("desk", now=T0 + 2 * M)
    store.mark_sent(row, reason="ok", now=T0 + 2 * M)

    head, *lines = ask(store, at=T0 + 3 * M, rule="blind")

    assert head.startswith("blind  main/wallet  (id ")
    assert lines == [
        "  state      firing as critical since 2026-01-01T00:02:00Z",
        "  why        no snapshot for 2m (last 2026-01-01T00:00:00Z): network: connection refused",
        "  changes    the last ones:",
        "    2026-01-01T00:02:00Z  critical: inactive → firing (breach, value 120)",
        "  route      as critical: number 1, to desk",
        "  desk       told critical 2026-01-01T00:02:00Z; next reminder due 2026-01-01T04:02:00Z",
        "  messages   the last ones:",
        "    2026-01-01T00:02:00Z  firing to desk: sent 2026-01-01T00:02:00Z (1 attempt)",
        "",
    ]


def test_a_built_in_alert_that_is_over_says_so_and_what_was(store):
    fail(store, T0)
    fail(store, T0 + 2 * M)
    see(store, "5000", T0 + 3 * M)

    lines = ask(store, at=T0 + 4 * M, rule="blind")

    assert any(line.startswith("  state      inactive: nothing is wrong now") for line in lines)
    assert any("critical: firing → resolved" in line for line in lines)
    past = ask(store, at=T0 + 2 * M, rule="blind", present=False)
    assert [line for line in past if "state" in line or "route" in line] == []
    assert any("inactive → firing" in line for line in past)


@pytest.mark.parametrize("rule", BUILTIN_NAMES)
def test_a_built_in_alert_that_never_was_is_said_to_be_fine(store, rule):
    severity = RULESET.builtin[rule].severity.value

    assert ask(store, at=T0, rule=rule) == [
        (
            f"{rule} (built-in, {severity}): nothing is wrong, "
            "and nothing is recorded up to 2026-01-01T00:00:00Z."
        )
    ]


@pytest.mark.parametrize(
    ("rule", "facts", "whom"),
    [
        pytest.param(
            "delivery-failing", {"failing_receivers": {"desk": "bad token"}}, "desk", id="receiver"
        ),
        pytest.param("config-invalid", {"config_error": "bad token"}, "the program", id="file"),
    ],
)
def test_alerts_about_the_program_are_explained_too(store, rule, facts, whom):
    facts = ProgramFacts(**facts)
    judge = functools.partial(evaluation.evaluate_program, RULESET, facts=facts, now=T0)
    store.evaluate("", judge)

    lines = ask(store, at=T0 + M, rule=rule)

    assert lines[0].startswith(f"{rule}  {whom}  (id ")
    assert "  why        bad token" in lines


def test_rule_undefined_names_the_rule_and_waits(store):
    ruleset = make_ruleset(make_rule("share", "total_balance / total_open_order_margin"))
    see(store, "5000", T0, ruleset)

    lines = ask(store, at=T0, rule="rule-undefined", ruleset=ruleset)

    assert lines[0].startswith("rule-undefined  main/share  (id ")
    assert lines[1] == "  state      pending as warning since 2026-01-01T00:00:00Z"


FALL = make_rule("fall", "delta(total_available_balance, 5m)", make_threshold(INFO, "-100"))


def falling(store, ruleset):
    """A poll a minute, each 10 less; the third fails."""
    for minute in range(9):
        at = T0 + minute * M
        if minute != 2:
            see(store, str(1000 - 10 * minute), at, ruleset=ruleset)
        else:
            judge = functools.partial(evaluation.evaluate, ruleset, outcome=make_failure(), now=at)
            poll = Poll(at=at, account="main", outcome=make_failure())
            store.evaluate("main", judge, poll=poll)


def test_what_a_rule_looks_back_on_is_told_with_its_value(store):
    ruleset = make_ruleset(FALL)
    falling(store, ruleset)

    assert ask(store, at=T0 + 8 * M + 3 * S, rule="fall", ruleset=ruleset)[1:4] == [
        "  value      delta(total_available_balance, 5m) = -50   (seen 2026-01-01T00:08:00Z)",
        "  over time  ago(total_available_balance, 5m) = 970   (samples without a gap since 2026-01-01T00:00:00Z)",
        "  info       < -100: clear; inactive",
    ]


def test_of_an_earlier_instant_it_is_made_from_what_was_recorded(store):
    ruleset = make_ruleset(FALL)
    falling(store, ruleset)

    lines = ask(store, at=T0 + 7 * M, rule="fall", ruleset=ruleset, present=False)
    assert (
        lines[1]
        == "  value      delta(total_available_balance, 5m) = -60   (seen 2026-01-01T00:07:00Z)"
    )
    lines = ask(store, at=T0 + 4 * M, rule="fall", ruleset=ruleset, present=False)
    assert lines[1:4] == [
        "  value      delta(total_available_balance, 5m) = no value   (seen 2026-01-01T00:04:00Z)",
        "  over time  ago(total_available_balance, 5m) = no value   (samples without a gap since 2026-01-01T00:00:00Z)",
        "  info       < -100: no value, so the state is held",
    ]


def test_an_answer_that_is_no_wallet_is_no_sample_then_either(store):
    ruleset = make_ruleset(FALL)
    falling(store, ruleset)
    poll = Poll(at=T0 + 9 * M, account="main", body='{"data": 5}', outcome=make_snapshot())
    judge = functools.partial(evaluation.evaluate, ruleset, outcome=make_failure(), now=poll.at)
    store.evaluate("main", judge, poll=poll)
    see(store, "500", T0 + 10 * M, ruleset=ruleset)

    lines = ask(store, at=T0 + 10 * M, rule="fall", ruleset=ruleset, present=False)
    assert (
        lines[1]
        == "  value      delta(total_available_balance, 5m) = -450   (seen 2026-01-01T00:10:00Z)"
    )
