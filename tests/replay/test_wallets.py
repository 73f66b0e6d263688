"""The wallets of examples/wallets/: rules.example.yaml is silent in a healthy week, and tells bad days in time."""

from __future__ import annotations

import gzip
import itertools
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import cache
from statistics import mean, pstdev

import pytest

from alerting.engine.model import Severity
from alerting.engine.snapshot import Snapshot
from alerting.replay.recording import read_records
from bench import wallets
from tests.support.paths import ROOT

D = Decimal
M = timedelta(minutes=1)
H = 60 * M
POLL = M
RULES = wallets.example_rules()
BAD_DAYS = list(wallets.BAD_DAYS)
TO_ACT = ("phone", "mail")
#: messages to one receiver in a day that goes wrong; the slow bleed goes on for five hours
MOST = {"slow-bleed": 17, "crash": 8, "one-symbol-grows": 10, "withdrawal": 13, "order-flood": 8}


@cache
def polls(name):
    return tuple(wallets.shipped(name))


@cache
def replayed(name):
    return wallets.replayed(RULES, polls(name))


@cache
def sized(name, size):
    """The same wallet, but so many times as large."""
    lines = itertools.islice(wallets.recording(name, size=size), wallets.DAY)
    return wallets.replayed(RULES, read_records(lines, file=name))


def balances(name):
    """The instant and the USDT wallet of each good poll."""
    for poll in polls(name):
        if isinstance(poll.outcome, Snapshot):
            yield poll.at, poll.outcome.wallets[0].fields


def shares(name, field, of="total_balance"):
    return [(at, each[field] / each[of]) for at, each in balances(name)]


def since(found, holds):
    """The first instant from which something holds."""
    return next(at for at, share in found if holds(share))


def available_below(name, line):
    return since(shares(name, "total_available_balance"), lambda share: share < line)


def first(name, receiver, severity, rule=None):
    """When a receiver was first told of a severity that is as bad, or worse."""
    return next(
        sent.observed_at
        for sent in replayed(name).told
        if sent.receiver == receiver
        for item in sent.items
        if item.severity >= severity and rule in (None, item.alert.rule)
    )


# ── the files ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", wallets.NAMES)
def test_the_shipped_file_is_what_the_script_makes(name):
    shipped = gzip.decompress((wallets.FOLDER / f"{name}.jsonl.gz").read_bytes()).decode()

    assert shipped == "".join(wallets.recording(name))


def test_there_is_no_other_file_and_all_are_small():
    files = sorted(wallets.FOLDER.iterdir())

    assert [file.name for file in files] == sorted(f"{name}.jsonl.gz" for name in wallets.NAMES)
    assert sum(file.stat().st_size for file in files) < 1_000_000


def test_the_healthy_week_is_that_of_a_wallet_that_trades():
    name = "healthy-week"
    totals = [float(each["total_balance"]) for _, each in balances(name)]
    locked = [float(share) for _, share in shares(name, "total_blocked_balance")]
    orders = [each["total_open_order_margin"] for _, each in balances(name)]

    assert replayed(name).tally.span > 7 * 24 * H - 2 * POLL
    assert mean(totals) == pytest.approx(5200, rel=0.02)
    assert mean(locked) == pytest.approx(0.42, abs=0.02)
    assert {row.symbol for poll in polls(name)[:1] for row in poll.outcome.symbols} == set(
        wallets.SYMBOLS
    )
    # it moves by some percent, so that lines close to it would be crossed
    assert pstdev(totals) / mean(totals) > 0.02
    assert max(locked) - min(locked) > 0.1
    assert min(orders) < 0 < max(orders)
    assert len(set(orders)) > 30
    assert replayed(name).tally.polls["wallet"].failures == 6


# ── silence ─────────────────────────────────────────────────────────────────


def test_in_a_healthy_week_nobody_is_told_anything():
    tally = replayed("healthy-week").tally

    assert {name: each.messages for name, each in tally.receivers.items()} == {
        "desk": 0,
        "phone": 0,
        "mail": 0,
    }
    assert {name: each.episodes for name, each in tally.rules.items() if each.episodes} == {}


@pytest.mark.parametrize(
    ("rule", "line"),
    [("symbol-margin-ratio", "0.2"), ("wallet-margin-ratio", "0.45"), ("concentration", "0.45")],
)
def test_the_healthy_week_would_notice_lines_that_are_too_close(rule, line):
    def closer(each):
        if each.name != rule:
            return each
        lowest = replace(each.thresholds[0], line=D(line), clear=D(line))
        return replace(each, thresholds=(lowest, *each.thresholds[1:]))

    ruleset = replace(RULES, rules=tuple(closer(each) for each in RULES.rules))
    told = wallets.replayed(ruleset, polls("healthy-week")[: wallets.DAY]).told

    assert told


@pytest.mark.parametrize("size", [0.1, 20])
def test_a_healthy_wallet_of_another_size_is_silent_too(size):
    assert sized("healthy-week", size).told == []


# ── bad days ────────────────────────────────────────────────────────────────


def test_a_slow_bleed_is_a_warning_hours_before_and_critical_half_an_hour_before_it_is_too_late():
    too_late = available_below("slow-bleed", D("0.05"))

    assert first("slow-bleed", "phone", Severity.WARNING) <= too_late - 2 * H
    assert first("slow-bleed", "phone", Severity.WARNING, "wallet-margin-ratio") <= too_late - 2 * H
    assert first("slow-bleed", "phone", Severity.CRITICAL) <= too_late - 30 * M
    assert first("slow-bleed", "mail", Severity.CRITICAL) <= too_late - 30 * M


def test_that_a_slow_bleed_will_reach_the_floor_is_told_an_hour_before():
    name = "slow-bleed"
    floor = next(at for at, each in balances(name) if each["total_available_balance"] < 100)

    assert floor - 90 * M <= first(name, "desk", Severity.WARNING, "floor-ahead") <= floor - 45 * M
    assert first(name, "desk", Severity.INFO, "drawdown") <= floor - 5 * H


@pytest.mark.parametrize("name", ["crash", "withdrawal"])
def test_a_fall_within_an_hour_is_told_within_minutes(name):
    start = {"crash": 14 * H, "withdrawal": 11 * H}[name]

    told = first(name, "desk", Severity.WARNING, "balance-falls")
    assert wallets.START + start <= told <= wallets.START + start + 5 * M


@pytest.mark.parametrize("receiver", TO_ACT)
def test_a_crash_is_critical_within_two_polls(receiver):
    crossed = available_below("crash", D("0.15"))

    assert crossed <= first("crash", receiver, Severity.CRITICAL) <= crossed + 2 * POLL


def test_one_symbol_is_a_warning_before_it_has_most_of_the_margin_and_critical_before_half_the_wallet():
    name, symbol = "one-symbol-grows", "BTCUSDT"
    rows = [(p.at, {r.symbol: r for r in p.outcome.symbols}[symbol], p) for p in polls(name)]
    locked = [
        (
            at,
            row.fields["blocked_balance"] / poll.outcome.wallets[0].fields["total_blocked_balance"],
        )
        for at, row, poll in rows
    ]
    share = [
        (at, row.fields["blocked_balance"] / poll.outcome.wallets[0].fields["total_balance"])
        for at, row, poll in rows
    ]

    most = since(locked, lambda each: each >= D("0.6"))
    half = since(share, lambda each: each >= D("0.5"))
    assert first(name, "phone", Severity.WARNING, "symbol-margin-ratio") <= most - 30 * M
    assert first(name, "mail", Severity.CRITICAL, "symbol-margin-ratio") <= half - 10 * M


@pytest.mark.parametrize("receiver", TO_ACT)
def test_a_withdrawal_is_critical_within_a_minute(receiver):
    gone = available_below("withdrawal", D("0.1"))

    assert gone <= first("withdrawal", receiver, Severity.CRITICAL) <= gone + M


@pytest.mark.parametrize("receiver", TO_ACT)
def test_an_order_flood_is_critical_within_two_minutes_and_named_within_ten(receiver):
    flood = since(shares("order-flood", "total_open_order_margin"), lambda share: share > D("0.3"))

    assert flood <= first("order-flood", receiver, Severity.CRITICAL) <= flood + 2 * M
    assert first("order-flood", "desk", Severity.INFO, "open-order-pressure") <= flood + 10 * M


@pytest.mark.parametrize("name", BAD_DAYS)
def test_nobody_is_told_too_often_on_a_bad_day(name):
    counts = Counter(sent.receiver for sent in replayed(name).told)

    assert 0 < min(counts[receiver] for receiver in RULES.receivers)
    assert max(counts.values()) <= MOST[name]


@pytest.mark.parametrize("name", BAD_DAYS)
def test_a_bad_day_is_quiet_before_it_goes_wrong_and_over_at_its_end(name):
    tally, told = replayed(name)

    assert told[0].observed_at >= wallets.START + 3 * H
    assert [rule for rule, each in tally.rules.items() if each.open] == []
    for receiver in RULES.receivers:
        last = [sent for sent in told if sent.receiver == receiver][-1]
        assert last.reason.value == "resolved"


@pytest.mark.parametrize("size", [0.1, 20])
@pytest.mark.parametrize("name", ["crash", "one-symbol-grows"])
def test_a_small_and_a_large_wallet_are_told_as_early(name, size):
    def critical(told):
        return next(sent.observed_at for sent in told if sent.severity is Severity.CRITICAL)

    assert abs(critical(sized(name, size).told) - critical(replayed(name).told)) <= POLL


# ── docs/replay.md ──────────────────────────────────────────────────────────


def test_the_pages_table_is_the_one_that_the_script_prints():
    table = wallets.table({name: replayed(name).tally for name in wallets.NAMES})

    assert table in (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")
