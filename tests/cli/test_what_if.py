"""`what-if`: what would fire if the mark prices moved, asked of the state file alone."""

from __future__ import annotations

import json

import pytest

from tests.support.desk import falling

POSITIONS = """\
  - name: liquidation-distance
    per: position
    value: liquidation_distance
    below: {warning: 5%, critical: 2%}
    clear: {warning: 8%, critical: 3%}
"""
RATES = {"maint_margin_rate": "0.56", "liq_fee_rate": "0.0075"}
BTC = {
    "side": "LONG",
    "position_size": "0.1",
    "avg_entry_price": "100000",
    "position_margin": "1000",
    "mark_price": "98000",
    **RATES,
}
ETH = {
    **BTC,
    "side": "SHORT",
    "position_size": "2",
    "avg_entry_price": "4000",
    "mark_price": "3900",
}


@pytest.fixture
def leveraged(desk):
    """A desk that has read two positions, of which nothing fires."""
    desk.write(more=POSITIONS, interval="5s")
    desk.exchange.wallet = falling("1700")
    desk.exchange.market.positions = {"BTCUSDT": BTC, "ETHUSDT": ETH}
    assert desk.once()[0] == 0
    return desk


def test_it_shows_the_positions_and_the_alerts_before_and_after(leveraged):
    code, out, err = leveraged.run("what-if", "BTCUSDT=-5%")

    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:3] == ["IF  BTCUSDT -5%", "", "POSITIONS"]
    assert lines[3].startswith("  main  positions seen ")
    assert lines[4:] == [
        (
            "    main BTCUSDT LONG   mark 98000 → 93100  to liquidation 6.83% → 1.92%  "
            "margin ratio 16.38% → 42.26%  profit -200.00 → -690.00"
        ),
        (
            "    main ETHUSDT SHORT  mark 3900           to liquidation 14.04%         "
            "margin ratio 8.73%            profit 200.00"
        ),
        "",
        "ALERTS  0 firing now, 1 then",
        "  CRITICAL  new  liquidation-distance  main/USDT/BTCUSDT/LONG  6.83% → 1.92% < 2%",
        "",
        "Rows of wallets, symbols and accounts do not move with the mark price.",
        "`for` and `keep_firing_for` are left aside. Nothing was stored or sent.",
    ]


def test_it_fits_the_terminal(leveraged, monkeypatch):
    monkeypatch.setattr("alerting.terminal.columns", lambda: 80)
    lines = leveraged.run("what-if", "BTCUSDT=-25%")[1].splitlines()

    assert max(map(len, lines)) <= 80
    assert lines[4:10] == [
        "    main BTCUSDT LONG",
        "      mark 98000 → 73500         to liquidation 6.83% → liquidated",
        "      profit -200.00 → -2650.00  margin ratio 16.38% → over 100 %",
        "    main ETHUSDT SHORT",
        "      mark 3900                  to liquidation 14.04%",
        "      profit 200.00              margin ratio 8.73%",
    ]


def test_it_moves_all_others_too(leveraged):
    out = leveraged.run("what-if", "BTCUSDT=0%", "ALL=+20%")[1]

    assert "IF  BTCUSDT 0%, all others +20%" in out
    assert "mark 98000  " in out
    assert "mark 3900 → 4680 " in out


def test_it_is_a_document_for_programs(leveraged):
    document = json.loads(leveraged.run("what-if", "--json", "ALL=-5%")[1])

    assert document["moves"] == {"ALL": "-0.05"}
    account = document["accounts"]["main"]
    assert list(account["last_snapshot_at"]) == ["wallet", "positions"]
    btc, eth = account["positions"]
    assert (btc["symbol"], btc["side"], btc["move"], btc["liquidated"]) == (
        "BTCUSDT",
        "LONG",
        "-0.05",
        False,
    )
    assert (btc["before"]["mark_price"], btc["after"]["mark_price"]) == ("98000", "93100.00")
    assert btc["after"]["unrealised_pnl"] == "-690"
    assert btc["after"]["reported_unrealised_pnl"] is None
    assert eth["after"]["unrealised_pnl"] == "590"
    (alert,) = account["alerts"]
    assert alert["rule"] == "liquidation-distance"
    assert alert["labels"]["symbol"] == "BTCUSDT"
    assert alert["now"] == {
        "state": "inactive",
        "severity": None,
        "value": btc["before"]["liquidation_distance"],
    }
    assert alert["then"] == {
        "severity": "critical",
        "value": btc["after"]["liquidation_distance"],
        "threshold": "0.02",
    }


def test_rules_that_look_back_read_what_is_remembered(desk):
    low = "  - {name: low, per: position, value: 'min_over_time(mark_price, 1h)', below: 95000}\n"
    desk.write(more=low, interval="5s")
    desk.exchange.market.positions = {"BTCUSDT": BTC}
    desk.once()

    assert "98000 → 93100 < 95000" in desk.run("what-if", "ALL=-5%")[1]
    assert "  none\n" in desk.run("what-if", "ALL=5%")[1]


def test_it_stores_and_sends_nothing_and_asks_nobody(leveraged):
    before = [path.read_bytes() for path in sorted(leveraged.folder.glob("alerting.db*"))]
    asked = len(leveraged.exchange.requests)
    leveraged.run("what-if", "ALL=-50%")

    assert [path.read_bytes() for path in sorted(leveraged.folder.glob("alerting.db*"))] == before
    assert len(leveraged.exchange.requests) == asked
    assert leveraged.inbox.received == []


def test_it_needs_no_secret_and_no_valid_rules_file(leveraged):
    leveraged.path.write_text(leveraged.path.read_text(encoding="utf-8") + "  - nonsense\n")
    code, out, err = leveraged.run("what-if", "ALL=-5%", API_KEY="", SECRET_KEY="", DESK_URL="")

    assert (code, "critical" in out.lower()) == (0, True)
    assert "going by the rules that were taken over" in err


@pytest.mark.parametrize(
    ("moves", "message"),
    [
        pytest.param(["BTCUSDT"], "'BTCUSDT' is no move; write BTCUSDT=-8%, or ALL=-5% for all others", id="no-move"),
        pytest.param(["=-8%"], "'=-8%' is no move; write BTCUSDT=-8%, or ALL=-5% for all others", id="no-symbol"),
        pytest.param(["BTCUSDT=-8"], "'BTCUSDT=-8': '-8' is not a percentage; write -8%, +5% or 0.5%", id="no-percent-sign"),
        pytest.param(["BTCUSDT=8e1%"], "'BTCUSDT=8e1%': '8e1%' is not a percentage; write -8%, +5% or 0.5%", id="no-number"),
        pytest.param(["BTCUSDT=-100%"], "'BTCUSDT=-100%': no price falls to 0 or below; more than -100% is allowed", id="to-zero"),
        pytest.param(["ALL=-8%", "ALL=-9%"], "'ALL=-9%': ALL is moved already; keep one of the two", id="twice"),
        pytest.param(["BTCUSD=-8%"], "no position in 'BTCUSD' is open; did you mean 'BTCUSDT'?", id="unknown"),
        pytest.param(["XRPINR=-8%"], "no position in 'XRPINR' is open; known: BTCUSDT, ETHUSDT", id="far-from-all"),
    ],
)  # fmt: skip
def test_wrong_usage_is_told(leveraged, moves, message):
    assert leveraged.run("what-if", *moves) == (2, "", f"alerting: {message}\n")


def test_where_nothing_is_open_nothing_can_move(desk):
    desk.write(more=POSITIONS, interval="5s")
    desk.once()

    code, out, _ = desk.run("what-if", "ALL=-5%")
    assert (
        code,
        "no position is open" in out,
        "ALERTS  0 firing now, 0 then\n  none\n" in out,
    ) == (
        0,
        True,
        True,
    )
    assert desk.run("what-if", "BTCUSDT=-5%")[2] == (
        "alerting: no position in 'BTCUSDT' is open; there is none at all\n"
    )


def test_positions_that_were_never_read_cannot_move(desk):
    code, out, err = desk.run("what-if", "ALL=-5%")
    assert (code, out, "there is no state file" in err) == (2, "", True)
    desk.once()
    assert desk.run("what-if", "ALL=-5%")[2] == (
        "alerting: no rule is per: position, so no positions are read\n"
    )
    desk.write(more=POSITIONS, interval="5s")
    assert desk.run("what-if", "ALL=-5%")[2] == (
        "alerting: no positions were read yet; `alerting run` reads them\n"
    )
