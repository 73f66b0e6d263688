"""`what-if` in words."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest

from alerting.display import Display, Grouping
from alerting.engine.simulation import Simulation
from alerting.monitoring.what_if import Moves, outlook
from alerting.monitoring.what_if_text import as_text
from tests.monitoring.test_what_if import BTC, CLEARING, LOW, per_position, remembered
from tests.support.configs import make_config
from tests.support.factories import T0, WARNING, M, S, make_rule, make_ruleset, make_threshold
from tests.support.positions import make_position


def shown(ruleset, *memories, moves=None, now=T0 + 5 * S, display=None, **kw):
    config = replace(make_config(), ruleset=ruleset, display=display or Display())
    moves = moves or Moves(others=D("-0.5"))
    found = [outlook(ruleset, memory, moves) for memory in memories]
    return as_text(found, moves, config, now=now, colour=kw.pop("colour", False), **kw).splitlines()


def of_one(rule, *positions, **kw):
    ruleset = make_ruleset(rule)
    return shown(ruleset, remembered(ruleset, *positions), **kw)


@pytest.mark.parametrize(
    ("moves", "line"),
    [
        pytest.param(Moves(named={"A": D("-0.08"), "B": D("0.005")}), "A -8%, B +0.5%", id="named"),
        pytest.param(Moves(named={"A": D(0)}, others=D(1)), "A 0%, all others +100%", id="others"),
        pytest.param(Moves(others=D("-0.05")), "all -5%", id="all"),
        pytest.param(Moves(), "nothing moves", id="none"),
    ],
)
def test_the_first_line_says_what_moves(moves, line):
    assert of_one(per_position(), BTC, moves=moves)[0] == f"IF  {line}"


@pytest.mark.parametrize(
    ("mark", "move", "text"),
    [
        pytest.param("100000", "-0.08", "mark 100000 → 92000  ", id="whole"),
        pytest.param("7", "-0.0801", "mark 7 → 6.44  ", id="two-places-at-least"),
        pytest.param("0.38231", "-0.08", "mark 0.38231 → 0.35173  ", id="as-many-as-it-has"),
        pytest.param("100000", "0", "mark 100000  ", id="not-at-all"),
    ],
)
def test_a_price_has_as_many_places_as_before(mark, move, text):
    row = replace(BTC, fields={**BTC.fields, "mark_price": D(mark)})
    lines = of_one(per_position(), row, moves=Moves(others=D(move)))
    assert text in lines[4]


def test_what_has_no_value_is_said():
    row = make_position(symbol="BTCUSDT", mark_price=None, maint_margin_rate=None)
    assert of_one(per_position(), row)[4] == (
        "    main BTCUSDT LONG  mark n/a  to liquidation n/a  margin ratio n/a  profit n/a"
    )


def test_numbers_are_written_by_display():
    lines = of_one(
        per_position(), BTC, moves=Moves(others=D("0.5")), display=Display(grouping=Grouping.INDIAN)
    )
    assert "mark 1,00,000 → 1,50,000" in lines[4]
    assert lines[4].endswith("profit 0.00 → 5,000.00")


def alert_lines(lines):
    start = next(index for index, line in enumerate(lines) if line.startswith("ALERTS"))
    return lines[start : lines.index("", start)]


@pytest.mark.parametrize(
    ("rule", "row", "move", "count", "line"),
    [
        pytest.param(
            per_position(), BTC, "-0.06", "0 firing now, 1 then",
            "  WARNING  new  price  main/USDT/BTCUSDT/LONG  100000 → 94000 < 95000", id="new",
        ),
        pytest.param(
            per_position(), LOW, "-0.06", "1 firing now, 1 then",
            "  CRITICAL  now warning  price  main/USDT/BTCUSDT/LONG  94000 → 88360 < 90000", id="worse",
        ),
        pytest.param(
            CLEARING, LOW, "0", "1 firing now, 1 then",
            "  WARNING  as now  price  main/USDT/BTCUSDT/LONG  94000 < 95000", id="the-same",
        ),
        pytest.param(
            CLEARING, LOW, "0.1", "1 firing now, 0 then",
            "  clear  now warning  price  main/USDT/BTCUSDT/LONG  94000 → 103400", id="clear",
        ),
        pytest.param(
            per_position("mark_price", make_threshold(WARNING, "95000", for_=60)), LOW, "0",
            "0 firing now, 1 then",
            "  WARNING  now pending  price  main/USDT/BTCUSDT/LONG  94000 < 95000", id="pending",
        ),
        pytest.param(
            per_position("mark_price", make_threshold(WARNING, "95000", for_=60)), LOW, "0.1",
            "0 firing now, 0 then",
            "  clear  now pending  price  main/USDT/BTCUSDT/LONG  94000 → 103400", id="no-more-pending",
        ),
        pytest.param(
            per_position("effective_leverage", make_threshold(WARNING, "100")), BTC, "-0.5",
            "1 firing now, 1 then",
            "  WARNING  as now  price  main/USDT/BTCUSDT/LONG  10 → n/a < 100", id="no-value",
        ),
    ],
)  # fmt: skip
def test_an_alert_is_shown_beside_what_it_is_now(rule, row, move, count, line):
    lines = alert_lines(of_one(rule, row, moves=Moves(others=D(move))))
    assert [" ".join(each.split()) for each in lines] == [
        f"ALERTS {count}",
        " ".join(line.split()),
    ]


def test_a_share_is_written_in_percent():
    rule = replace(
        per_position("liquidation_distance", make_threshold(WARNING, "0.05")), percent=True
    )
    lines = alert_lines(of_one(rule, BTC, moves=Moves(others=D("-0.05"))))
    assert lines[1].endswith("8.69% → 3.88% < 5%")


def test_what_was_read_long_ago_is_marked():
    def seen(now):
        return of_one(per_position(), BTC, now=now, colour=True)[3]

    assert seen(T0 + S) == (
        "  main  \x1b[32mpositions seen 1s ago\x1b[0m, \x1b[32mwallet seen 1s ago\x1b[0m"
    )
    assert "\x1b[31;1mpositions seen 2m ago" in seen(T0 + 2 * M)


def test_each_account_says_what_it_has():
    rule = per_position()
    ruleset = make_ruleset(rule, accounts=("main", "other"))
    blank = Simulation(ruleset)
    never = blank.memory("other")
    assert shown(ruleset, remembered(ruleset), never)[3:5] == [
        "  main   positions seen 5s ago, wallet seen 5s ago  no position is open",
        "  other  positions never seen, wallet never seen",
    ]
    deaf = make_ruleset(make_rule())
    assert (
        shown(deaf, remembered(deaf))[3]
        == "  main  positions are not read: no rule is per: position"
    )


def test_without_alerts_that_is_said():
    assert alert_lines(of_one(per_position(), BTC, moves=Moves())) == [
        "ALERTS  0 firing now, 0 then",
        "  none",
    ]


def test_a_liquidation_is_red():
    (line,) = (
        each for each in of_one(per_position(), BTC, colour=True) if "to liquidation" in each
    )
    assert "8.69% → \x1b[31;1mliquidated\x1b[0m" in line


def test_a_position_that_is_past_it_already_is_so_before_too():
    gone = replace(BTC, fields={**BTC.fields, "mark_price": D(90000)})
    (line,) = (
        each for each in of_one(per_position(), gone, moves=Moves()) if "to liquidation" in each
    )
    assert "to liquidation liquidated  " in line


def test_long_names_leave_room_for_the_numbers():
    rule = per_position(name="a-rule-with-quite-a-long-name")
    lines = alert_lines(of_one(rule, BTC, columns=80))
    assert lines[1].split() == [
        "CRITICAL", "new", "a-rule-with-quite-a…", "main/USDT/BTCUS…", "100000", "→", "50000", "<", "90000",
    ]  # fmt: skip
