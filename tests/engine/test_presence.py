"""Flaws belong to what they touch, and a row is gone when its margin has left the totals.

An answer is written as `BTC 800 ETH 100 | 900`: rows with their margins, and what the wallet's
totals hold. The memory goes through its stored form after every answer, as after a restart.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from alerting.engine.feeds import Scope
from alerting.engine.model import AccountState, Ack, Alert, Direction
from alerting.engine.snapshot import Flaw, WalletRow
from alerting.exchanges.coinswitch.answers import parse_wallet
from alerting.store import documents
from tests.support.broken_answers import HEALTHY, flawed_answers
from tests.support.factories import (
    T0,
    D,
    M,
    S,
    Simulation,
    make_failure,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_symbol,
    make_threshold,
    make_wallet,
)

STEP = 15 * S
LETTERS = {"inactive": ".", "pending": "P", "firing": "F"}

FLOOR = make_rule("floor", "total_available_balance", make_threshold(threshold="100"))


def above(name, value, threshold="50", *, scope=Scope.SYMBOL, **kw):
    limit = make_threshold(threshold=threshold)
    return make_rule(name, value, limit, scope=scope, direction=Direction.ABOVE, **kw)


LOAD = above("load", "blocked_balance")


class World:
    """One account, answer by answer."""

    def __init__(self, *rules, **kw):
        self.simulation = Simulation(make_ruleset(*(rules or (FLOOR, LOAD)), **kw))
        self.at = T0

    def see(self, outcome, step=STEP):
        self.simulation.see(outcome, self.at)
        self.at += step
        memory = self.simulation.memory
        self.simulation.memory = replace(
            memory,
            account=documents.load(AccountState, documents.dump(memory.account)),
            alerts={
                fp: documents.load(Alert, documents.dump(alert))
                for fp, alert in memory.alerts.items()
            },
        )

    def state(self, rule="load", **labels):
        found = [
            alert.state.value
            for alert in self.simulation.states(rule)
            if labels.items() <= alert.labels.items()
        ]
        assert len(found) <= 1
        return LETTERS[found[0] if found else "inactive"]

    def btc(self):
        return self.state(symbol="BTCUSDT")

    def told(self, rule):
        """[(seconds, reason, detail)]"""
        return [
            (int((n.observed_at - T0).total_seconds()), item.reason.value, item.alert.detail)
            for n in self.simulation.notifications
            for item in n.items
            if item.alert.rule == rule
        ]

    def ends(self, rule):
        changes = [t for t in self.simulation.transitions if t.rule == rule]
        return [t.reason.value for t in changes if t.source.value == "firing"]


def answer(text, *, available="1000", flaws=()):
    listed, total = text.split("|")
    words = listed.split()
    rows = [
        make_symbol(f"{name}USDT", margin)
        for name, margin in zip(words[::2], words[1::2], strict=True)
    ]
    wallet = make_wallet(available, position=total.strip())
    return replace(make_snapshot(wallet, symbols=rows), flaws=tuple(flaws))


def letters(texts, *, symbol="BTCUSDT"):
    world, found = World(), ""
    for text in texts:
        world.see(make_failure() if text == "_" else answer(text))
        found += world.state(symbol=symbol)
    return found


# ── symbol rows ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        pytest.param(["BTC 800|800", "|0", "|0"], "FF.", id="closed"),
        pytest.param(["BTC 800|800", *["|800"] * 9], "F" * 10, id="the-list-is-empty"),
        pytest.param(["BTC 800|800", "|401", "|401", "|401"], "FFFF", id="more-than-half"),
        pytest.param(["BTC 800|800", "|400", "|400"], "FF.", id="half"),
        pytest.param(["BTC 800|800", "|800", "|0", "|0"], "FFF.", id="closed-while-missing"),
        pytest.param(["BTC 800|800", "|800", "BTC 800|800", "|0", "|0"], "FFFF.", id="and-back"),
        pytest.param(["BTC 800|800", "|0", "|800", "|0"], "FFF.", id="not-missing-in-between"),
        pytest.param(["BTC 800|800", "|0", "_", "|0"], "FFF.", id="a-failure-in-between"),
        pytest.param(["BTC 800|1800", "|1000", "|1000"], "FF.", id="others-were-never-listed"),
        pytest.param(["BTC 800|1800", "|1800", "|1800"], "FFF", id="and-they-are-not-its-own"),
        pytest.param(
            ["BTC 800 ETH 100|900", "ETH 900|900", "ETH 900|900"], "FF.", id="another-one-grows"
        ),
        pytest.param(
            ["BTC 800 ETH 100|900", "|900", "|900"], "FFF", id="several-at-once-all-still-there"
        ),
        pytest.param(
            ["BTC 800 ETH 100|900", "|100", "|100"], "FF.", id="several-at-once-this-one-closed"
        ),
        pytest.param(
            ["BTC 800 ETH 900|1700", "|900", "|900", "ETH 900|900", "ETH 900|900"],
            "FFFF.",
            id="the-other-one-may-be-this-one-until-it-is-back",
        ),
        pytest.param(
            ["BTC 800 ETH 900|1700", "BTC 800|1700", "|1700", "|800", "|800", "ETH 0|800"],
            "FFFFFF",
            id="the-other-one-was-missing-before-and-is-closed",
        ),
        pytest.param(
            ["BTC 800|800", "BTC 80|80", "|80", "|80", "|30", "|30"], "FFFFF.", id="as-last-known"
        ),
    ],
)
def test_a_row_is_gone_when_its_margin_has_left_the_totals(texts, expected):
    assert letters(texts) == expected


def test_a_missing_row_is_told_and_so_is_its_end():
    world = World()
    for text in ["BTC 800|800", "|800", "|800", "BTC 800|800"]:
        world.see(answer(text))
    text = (
        "BTCUSDT: the row is missing, but its blocked_balance of 800 is still in "
        "total_blocked_balance, which holds 800 more than before beyond its rows"
    )
    assert world.told("suspect-data") == [(15, "firing", text), (45, "resolved", text)]
    assert world.simulation.notifications[1].items[0].alert.value == D(800)


def test_a_healthy_accounts_list_that_is_lost_is_told_too():
    world = World(FLOOR)
    for text in ["BTC 800|800", "|800"]:
        world.see(answer(text))
    assert world.state("suspect-data") == "F"


@pytest.mark.parametrize(
    ("row", "totals", "rule"),
    [
        pytest.param(
            make_symbol("BTCUSDT", "0", orders="-90"),
            {"position": "90", "orders": "-90"},
            "position_margin",
            id="orders-that-reduce-all-of-it",
        ),
        pytest.param(
            make_symbol("BTCUSDT", "-20", orders="-100"),
            {"position": "80", "orders": "-100"},
            "position_margin",
            id="less-than-nothing",
        ),
        pytest.param(
            make_symbol("BTCUSDT", "90", orders="90"),
            {"position": "0", "orders": "90"},
            "open_order_margin",
            id="nothing-but-orders",
        ),
        pytest.param(
            make_symbol("BTCUSDT", "-90", orders="-90"),
            {"position": "0", "orders": "-90"},
            "-open_order_margin",
            id="less-than-nothing-but-orders",
        ),
    ],
)
def test_orders_are_margin_too(row, totals, rule):
    world = World(above("load", rule))
    world.see(make_snapshot(make_wallet(**totals), symbols=[row]))
    for _ in range(3):
        world.see(make_snapshot(make_wallet(**totals)))
        assert (world.btc(), world.state("suspect-data")) == ("F", "F")
    for expected in "F.":
        world.see(make_snapshot(make_wallet(position="0")))
        assert (world.btc(), world.state("suspect-data")) == (expected, ".")


def test_a_row_without_margin_has_nothing_to_leave():
    world = World(above("load", "total_available_balance"))
    for text, expected in [("BTC 0|0", "F"), ("|7", "F"), ("|7", ".")]:
        world.see(answer(text))
        assert world.btc() == expected
    assert world.told("suspect-data") == []


@pytest.mark.parametrize(
    "totals",
    [
        pytest.param(make_wallet(position="0", total_balance="7"), id="contradicting"),
        pytest.param(make_wallet(position="0", total_open_order_margin=None), id="incomplete"),
        pytest.param(make_wallet(position="0", base_asset="INR"), id="of-another-asset"),
    ],
)
def test_totals_with_flaws_say_nothing_of_a_row(totals):
    world = World()
    world.see(answer("BTC 800|800"))
    for _ in range(4):
        world.see(make_snapshot(totals))
        assert world.btc() == "F"
    # and it is not forgotten meanwhile
    world.simulation.notifications.clear()
    for _ in range(3):
        world.see(answer("|800"))
        assert world.btc() == "F"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        pytest.param(
            ["ETH 90|90", "BTC 800 ETH 90|90", "BTC 800 ETH 90|90", "ETH 90|90", "ETH 90|90"],
            ".FFF.",
            id="it-never-was-in-the-totals",
        ),
        pytest.param(
            ["ETH 90|890", "BTC 800 ETH 90|890", "ETH 90|890", "ETH 90|890", "ETH 90|90"],
            ".FFFF",
            id="it-was-there-before-it-was-listed",
        ),
        pytest.param(
            ["ETH 90|-10", "BTC 80 ETH 90|70", "ETH 90|70", "ETH 90|70", "ETH 90|-10"],
            ".FFFF",
            id="the-rows-hold-more-than-the-totals",
        ),
        pytest.param(["BTC 80|-20", "|-20", "|-20"], "FFF", id="from-the-first-answer-on"),
        pytest.param(
            ["ETH 90|90", "SOL 70 ETH 90|90", "BTC 90|90", "ETH 90|90", "ETH 90|90"],
            "..FF.",
            id="another-mistake-before-it-is-no-measure",
        ),
        pytest.param(
            ["SOL 70 ETH 90|160", "SOL 70 ETH 90|0", "BTC 80 ETH 90|170", *["ETH 90|90"] * 2],
            "..FF.",
            id="what-the-totals-lacked-once-is-no-measure",
        ),
        pytest.param(
            ["SOL 70 ETH 90|160", "SOL 70 ETH 90|0", "BTC 80 ETH 90|170", *["ETH 90|170"] * 3],
            "..FFFF",
            id="and-when-they-do-hold-it-it-is-missing",
        ),
        pytest.param(
            ["ETH 90|890", "BTC 800 ETH 90|890", *["ETH 90|890"] * 3],
            ".FFFF",
            id="what-was-listed-once-is",
        ),
    ],
)
def test_what_never_was_in_the_totals_does_not_have_to_leave_them(texts, expected):
    assert letters(texts) == expected


def test_a_missing_row_of_which_nothing_alerts_is_forgotten_after_an_hour():
    """What the totals hold beyond the rows may grow for good; an account is not held by that."""
    world = World()
    world.see(answer("BTC 40 ETH 30|70"), M)
    for _ in range(60):
        world.see(answer("ETH 30|70"), M)
        assert world.state("suspect-data") == "F"
    world.see(answer("ETH 30|70"), M)
    assert world.state("suspect-data") == "."
    world.see(answer("ETH 30|70"), M)
    account = world.simulation.memory.account
    assert [each.row.symbol for each in account.rows] == ["ETHUSDT"]
    # it counts from then on as one that never was listed
    assert account.unlisted["USDT"]["blocked_balance"] == 40
    world.see(answer("BTC 800 ETH 30|830"), M)
    world.see(answer("ETH 30|830"), M)
    assert (world.btc(), world.state("suspect-data")) == ("F", "F")


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param("BTC 800 ETH 30|830", answer("ETH 30|830"), id="an-alert-of-it-is-on"),
        pytest.param("BTC 40 ETH 30|70", answer("|70"), id="the-list-is-lost"),
        pytest.param(
            "BTC 40 ETH 30|70",
            answer("ETH 30|70", flaws=[Flaw(text="a row", scope=Scope.SYMBOL, labels=None)]),
            id="a-row-that-may-be-it",
        ),
        pytest.param(
            "BTC 40 ETH 30|70",
            make_snapshot(make_wallet(total_balance="7"), symbols=[make_symbol("ETHUSDT", "30")]),
            id="flawed-totals",
        ),
    ],
)
def test_a_missing_row_is_held_for_as_long_as_it_takes_where(first, then):
    world = World()
    world.see(answer(first), M)
    state = world.btc()
    for _ in range(150):
        world.see(then, M)
    assert (world.btc(), world.state("suspect-data")) == (state, "F")
    assert "BTCUSDT" in {each.row.symbol for each in world.simulation.memory.account.rows}


def test_a_row_with_a_flaw_is_no_measure_for_what_is_missing():
    """Its own numbers contradict each other, and the next answer lacks another row."""
    world = World()
    world.see(answer("BTC 800 ETH 90|890"))
    rows = [
        make_symbol("BTCUSDT", "-1", position_margin="800"),
        make_symbol("ETHUSDT", "90000", position_margin="90"),
    ]
    world.see(make_snapshot(make_wallet(position="890"), symbols=rows))
    for _ in range(3):
        world.see(answer("BTC 800|890"))
        assert world.state(symbol="ETHUSDT") == "F"


def test_a_row_that_came_with_flawed_totals_is_measured_by_good_ones():
    """They lacked everything before, so that any row would seem to be still in them."""
    world = World()
    world.see(answer("ETH 90|90"))
    world.see(answer("ETH 90|-910"))
    rows = [make_symbol("BTCUSDT", "800"), make_symbol("ETHUSDT", "90")]
    flawed = make_snapshot(make_wallet(position="890", total_balance="7"), symbols=rows)
    world.see(flawed)
    world.see(answer("ETH 90|90"))
    assert world.btc() == "F"
    world.see(answer("ETH 90|90"))
    assert world.btc() == "."
    # and where they do hold it, it is missing
    world.see(flawed)
    for _ in range(3):
        world.see(answer("ETH 90|890"))
        assert world.btc() == "F"


def test_a_row_of_an_asset_that_nobody_knows_is_forgotten():
    """One answer calls an asset by another name; nothing may be held for good."""
    world = World(above("free", "total_available_balance"))
    stray = make_symbol("BTCUSDT", "800", base_asset="USDX")
    world.see(make_snapshot(make_wallet(position="800"), symbols=[stray]))
    for _ in range(9):
        world.see(make_snapshot(make_wallet(position="800"), symbols=[stray]))
    assert world.state("rule-undefined") == "F"
    for expected in "F.":
        world.see(answer("|800"))
        assert world.state("rule-undefined") == expected
    assert world.simulation.memory.account.rows == ()


def test_what_is_remembered_does_not_grow():
    world = World()
    for number in range(30):
        world.see(answer(f"X{number} 800|800"))
    assert len(world.simulation.memory.account.rows) == 2


# ── one bad row ─────────────────────────────────────────────────────────────

NAMELESS = Flaw(text="data.asset[0].symbol: …", scope=Scope.SYMBOL, labels=None)
HALF = Flaw(text="data.asset[0].exchange: …", scope=Scope.SYMBOL, labels={"symbol": "BTCUSDT"})
ALL = Flaw(text="data.asset: …", scope=Scope.SYMBOL, labels={})


@pytest.mark.parametrize("flaw", [NAMELESS, HALF, ALL], ids=["nameless", "half", "list"])
def test_everything_else_is_judged_as_usual(flaw):
    world = World()
    rest = "" if flaw is ALL else "ETH 10"
    world.see(answer("BTC 800 ETH 90|890", available="90"))
    world.see(answer(f"{rest}|810", available="90", flaws=[flaw]))
    world.see(answer(f"{rest}|810", available="2000", flaws=[flaw]))
    assert (world.state("floor"), world.btc()) == (".", "F")
    assert world.state(symbol="ETHUSDT") == ("F" if flaw is ALL else ".")
    world.see(answer(f"{rest}|810", available="90", flaws=[flaw]))
    assert (world.state("floor"), world.btc()) == ("F", "F")
    assert len(world.told("suspect-data")) == (2 if flaw is NAMELESS else 1) - (flaw is NAMELESS)


@pytest.mark.parametrize("flaw", [HALF, ALL], ids=["half", "list"])
def test_a_row_that_cannot_be_read_is_no_data_and_not_missing(flaw):
    world = World()
    world.see(answer("BTC 800|800"))
    for _ in range(9):
        # its margin has even left the totals
        world.see(answer("|0", flaws=[flaw]))
    assert world.btc() == "F"
    assert [(at, reason) for at, reason, _ in world.told("rule-undefined")] == [(135, "firing")]
    assert "cannot be judged for BTCUSDT" in world.told("rule-undefined")[0][2]
    world.see(answer("|0"))
    # nobody can say that a row that is not there has a value again
    assert (world.btc(), world.state("rule-undefined")) == ("F", "F")
    world.see(answer("|0"))
    assert (world.btc(), world.ends("load"), world.state("rule-undefined")) == (".", ["gone"], ".")


def test_a_number_that_cannot_be_read_blinds_only_what_needs_it():
    bad = b'"blocked_balance": "%s"' % b"50.04968529"
    world = World(LOAD, above("margin", "position_margin"), above("total", "total_balance"))
    healthy = parse_wallet(HEALTHY, account="main", observed_at=T0)
    body = HEALTHY.replace(bad, b'"blocked_balance": ""')
    assert body != HEALTHY
    flawed = parse_wallet(body, account="main", observed_at=T0)
    world.see(healthy)
    for _ in range(9):
        world.see(flawed)
    undefined = [
        alert.labels["undefined_rule"] for alert in world.simulation.states("rule-undefined")
    ]
    assert undefined == ["load"]
    assert [world.state(name) for name in ("load", "margin", "total")] == ["F", "F", "F"]
    assert world.told("suspect-data")[0][2] == 'DOGEUSDT: blocked_balance: "" is not a number'


def test_a_row_that_is_there_but_flawed_neither_resolves_nor_hides_a_breach():
    world = World()
    for margin, expected in [("800", "F"), ("10", "F"), ("10", "F"), ("800", "F")]:
        row = make_symbol("BTCUSDT", margin, open_order_margin="5")
        world.see(make_snapshot(make_wallet(position="800"), symbols=[row]))
        assert world.btc() == expected
    assert world.state("floor") == "."


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param("BTC 800 ETH 90 ETH 91", id="twins"),
        pytest.param("BTC 800 ETH 90 ETH 91 ETH 92", id="triplets"),
    ],
)
def test_what_was_only_guessed_is_no_measure_for_what_is_missing(rows):
    """The rows in doubt change unseen, and all is well again: nothing may be held for good."""
    world = World()
    world.see(answer("BTC 800 ETH 90|890"))
    for _ in range(3):
        world.see(answer(f"{rows}|800"))
        assert (world.btc(), world.state(symbol="ETHUSDT")) == ("F", "F")
    world.see(answer("BTC 800|800"))
    world.see(answer("BTC 800|800"))
    assert (world.btc(), world.state(symbol="ETHUSDT")) == ("F", ".")
    assert world.state("suspect-data") == "."


@pytest.mark.parametrize(
    ("margins", "expected"),
    [
        pytest.param(("10", "800"), "F", id="one-of-them-breaches"),
        pytest.param(("800", "10"), "F", id="whichever-comes-first"),
        pytest.param(("10", "20"), ".", id="none-does"),
    ],
)
@pytest.mark.parametrize("when", [None, "blocked_balance > 30"])
def test_of_two_rows_of_one_name_the_worse_counts(margins, expected, when):
    world = World(above("load", "blocked_balance", when=when), FLOOR)
    rows = [make_symbol("BTCUSDT", each) for each in margins]
    world.see(make_snapshot(make_wallet("90", position="800"), symbols=rows))
    assert (world.btc(), world.state("floor")) == (expected, "F")
    assert world.told("suspect-data") == [(0, "firing", "BTCUSDT: 2 rows of it")]


def test_two_rows_of_one_name_end_nothing_and_count_once():
    world = World(
        make_rule("low", "blocked_balance", make_threshold(threshold="50"), scope=Scope.SYMBOL),
        above("share", "1 / blocked_balance", "1"),
    )
    world.see(answer("BTC 40|40"))
    for _ in range(9):
        world.see(answer("BTC 700 BTC 0|700", available="90"))
    assert (world.state("low"), world.state("share")) == ("F", ".")
    # 1 / 700 can be judged: it is the only one of both that has a value
    assert world.told("rule-undefined") == []
    # what the rows hold is not known, so the other's margin cannot be told from theirs
    world.see(answer("BTC 700 BTC 0|40"))
    assert world.state("low") == "F"


def test_two_settlement_rows_of_one_asset_give_what_they_agree_in():
    rule = above("total", "total_position_margin + blocked_balance", "1000")
    world = World(FLOOR, rule, above("free", "total_available_balance", "1"))
    wallets = [make_wallet("90", position="800"), make_wallet("200", position="800")]
    for _ in range(10):
        world.see(make_snapshot(*wallets, symbols=[make_symbol("BTCUSDT", "800")]))
    assert (world.state("floor"), world.state("total")) == ("F", "F")
    undefined = [
        alert.labels["undefined_rule"] for alert in world.simulation.states("rule-undefined")
    ]
    assert undefined == ["free"]
    world.see(make_snapshot(make_wallet("200", position="800")))
    assert world.state("floor") == "."


@pytest.mark.parametrize(
    "body", [pytest.param(body, id=name) for name, _, _, body in flawed_answers()]
)
def test_no_flawed_answer_ends_what_it_touches(body):
    """The wallet of the documentation, in which every rule breaches all the time."""
    rules = [above(name, name, "0") for name in ("blocked_balance", "position_margin")]
    rules += [above("total", "total_balance", "0", scope=Scope.WALLET)]
    world = World(*rules)
    healthy = parse_wallet(HEALTHY, account="main", observed_at=T0)
    world.see(healthy)
    for _ in range(4):
        world.see(parse_wallet(body, account="main", observed_at=T0))
        told = [alert.detail for alert in world.simulation.states("suspect-data")]
        assert len(told[0]) < 1000
    world.see(healthy)
    assert [world.ends(rule.name) for rule in rules] == [[], [], []]
    # a name that another row had is known by now, and is forgotten again
    for _ in range(300):
        world.see(healthy)
    assert world.state("suspect-data") == "."


# ── what counts in the rows ─────────────────────────────────────────────────


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(["BTC 800|810"] * 3, id="rows-that-agree"),
        pytest.param(["BTC 800|810", "|810", "|810"], id="a-missing-row"),
    ],
)
def test_what_every_row_counts_in_is_as_doubtful_as_they_are(texts):
    low = make_rule("low", "unlisted_margin", make_threshold(threshold="50"))
    world = World(low, FLOOR)
    for text in texts:
        world.see(answer(text, available="90"))
    world.see(answer(texts[-1], available="2000"))
    assert (world.state("low"), world.state("floor")) == ("F", ".")


@pytest.mark.parametrize(
    ("flaws", "rows", "expected"),
    [
        pytest.param([], "BTC 800", "F", id="none"),
        pytest.param([NAMELESS], "BTC 800", ".", id="nameless"),
        pytest.param([HALF], "", ".", id="half"),
        pytest.param([ALL], "", ".", id="list"),
        pytest.param([], "BTC 800 BTC 800", ".", id="twins"),
        pytest.param(
            [replace(HALF, labels={"symbol": "X", "base_asset": "INR"})], "BTC 800", "F", id="other"
        ),
    ],
)
def test_unlisted_margin_has_no_value_where_rows_cannot_be_read(flaws, rows, expected):
    world = World(above("unlisted", "unlisted_margin", "50", scope=Scope.WALLET))
    world.see(answer(f"{rows}|900", flaws=flaws))
    assert world.state("unlisted") == expected


# ── settlement rows ─────────────────────────────────────────────────────────

INR = make_wallet("5", position="70", base_asset="INR")
COIN = make_symbol("COININR", "70", base_asset="INR")


def both(available="1000", *, symbols=(COIN,)):
    return make_snapshot(make_wallet(available), INR, symbols=symbols)


def usdt(available="1000", **kw):
    return make_snapshot(make_wallet(available, **kw))


def inr(world):
    return world.state("floor", base_asset="INR"), world.state("load", base_asset="INR")


def test_a_settlement_row_that_is_gone_is_suspect_for_its_asset_alone():
    world = World()
    world.see(both())
    assert inr(world) == ("F", "F")
    for available, expected in [("90", "F"), ("1000", "."), ("90", "F"), ("1000", ".")]:
        world.see(usdt(available))
        assert (world.state("floor", base_asset="USDT"), *inr(world)) == (expected, "F", "F")


@pytest.mark.parametrize("step", [15 * S, M])
def test_after_an_hour_it_is_gone_for_good_and_so_are_its_alerts(step):
    world = World()
    world.see(both(), step)
    for _ in range(M * 60 // step):
        world.see(usdt(), step)
        assert inr(world) == ("F", "F")
    world.see(usdt(), step)
    assert inr(world) == (".", ".")
    assert (world.ends("floor"), world.ends("load")) == (["gone"], ["gone"])
    at = int((step + 60 * M).total_seconds())
    assert [each[:2] for each in world.told("suspect-data")] == [
        (int(step.total_seconds()), "firing"),
        (at, "resolved"),
    ]
    account = world.simulation.memory.account
    assert (account.assets, account.away, account.rows) == (frozenset({"USDT"}), {}, ())
    assert set(account.unlisted) == {"USDT"}
    world.see(both())
    assert inr(world) == ("F", "F")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(make_failure(), id="failed-polls"),
        pytest.param(usdt(total_balance="7"), id="other-flaws"),
        pytest.param(make_snapshot(make_wallet(), symbols=[COIN]), id="its-rows-are-listed"),
        pytest.param(replace(make_snapshot(), wallets=()), id="no-settlement-row-at-all"),
        pytest.param(
            replace(make_snapshot(), flaws=(Flaw(text="a row", scope=Scope.WALLET, labels=None),)),
            id="a-row-that-may-be-it",
        ),
    ],
)
def test_only_answers_that_are_good_otherwise_count(other):
    world = World(FLOOR)
    world.see(both(symbols=()), M)
    for _ in range(150):
        world.see(other, M)
    for _ in range(59):
        world.see(usdt(), M)
        assert world.state("floor", base_asset="INR") == "F"
    for _ in range(3):
        world.see(usdt(), M)
    assert world.state("floor", base_asset="INR") == "."


def test_the_hour_can_be_set_and_starts_again_when_the_row_was_back():
    world = World(FLOOR, forget_after=45 * S)
    seen = ""
    for snapshot in [both(), usdt(), usdt(), both(), usdt(), usdt(), usdt(), usdt()]:
        world.see(snapshot)
        seen += world.state("floor", base_asset="INR")
    assert seen == "FFFFFFF."


def test_two_assets_may_be_away_at_once():
    world = World(FLOOR, forget_after=45 * S)
    eur = make_wallet("5", base_asset="EUR")
    world.see(make_snapshot(make_wallet(), INR, eur))
    for _ in range(4):
        world.see(usdt())
    assert [world.state("floor", base_asset=each) for each in ("INR", "EUR")] == [".", "."]


def test_an_unreadable_settlement_row_is_no_data_for_it_alone():
    world = World()
    blank = replace(both("90"), wallets=(make_wallet("90"), WalletRow(base_asset="INR", fields={})))
    world.see(both("90"))
    for _ in range(9):
        world.see(blank)
    world.see(replace(blank, wallets=(make_wallet("900"), blank.wallets[1])))
    assert (world.state("floor", base_asset="USDT"), *inr(world)) == (".", "F", "F")
    assert "cannot be judged for INR" in world.told("rule-undefined")[0][2]


# ── what is told ────────────────────────────────────────────────────────────


def test_an_acknowledged_flaw_hides_no_other():
    world = World(FLOOR)
    world.see(both())
    world.see(usdt())
    [alert] = world.simulation.states("suspect-data")
    ack = Ack(
        fingerprint=alert.fingerprint,
        episode=alert.episode,
        severity=alert.severity,
        at=world.at,
        author="me",
    )
    world.simulation.memory = replace(world.simulation.memory, acks={alert.fingerprint: ack})
    for _ in range(3):
        world.see(usdt())
    world.see(usdt(total_balance="7"))
    world.see(usdt(total_balance="8"))
    world.see(usdt())
    world.see(usdt(total_balance="7"))
    assert [each[:2] for each in world.told("suspect-data")] == [(15, "firing"), (75, "firing")]
    assert "USDT: total_balance ≠" in world.told("suspect-data")[1][2]


def test_the_text_is_short_and_counts_the_rest():
    rows = [make_symbol(f"S{n:03}", "10", open_order_margin="5") for n in range(300)]
    world = World(FLOOR)
    world.see(make_snapshot(symbols=rows))
    text = world.told("suspect-data")[0][2]
    assert text.endswith("; and 292 more")
    assert len(text) < 1500
    [alert] = world.simulation.states("suspect-data")
    assert len(alert.touched) == 200
    world.see(make_snapshot(symbols=[make_symbol("NEW", "10", open_order_margin="5")]))
    assert len(world.told("suspect-data")) == 1


def test_a_recorded_null_list_resolves_nothing():
    """The very input: `asset` missing, null or `[]` while the totals hold 800."""
    wallet = {
        "base_asset": "USDT",
        "balances": {
            "total_balance": "1800",
            "total_available_balance": "1000",
            "total_blocked_balance": "800",
            "total_position_margin": "800",
            "total_open_order_margin": "0",
        },
    }
    row = {
        "symbol": "BTCUSDT",
        "base_asset": "USDT",
        "exchange": "EXCHANGE_2",
        "blocked_balance": "800",
        "position_margin": "800",
        "open_order_margin": "0",
    }
    world = World()
    data = {"base_asset_balances": [wallet]}
    for lists in ({"asset": [row]}, {}, {"asset": None}, {"asset": []}, {}, {}):
        body = json.dumps({"data": {**data, **lists}}).encode()
        world.see(parse_wallet(body, account="main", observed_at=T0))
        assert world.btc() == "F"
    assert world.state("suspect-data") == "F"
