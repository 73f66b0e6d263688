"""`history export`: the recorded polls."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from alerting.sandbox.exchange import Special
from tests.support.desk import falling

NEAR = """\
  - {name: near, per: position, value: liquidation_distance, below: 5%, severity: critical}
"""
#: 0.7 % from its liquidation
POSITION = {
    "side": "LONG",
    "position_size": "0.1",
    "avg_entry_price": "100000",
    "position_margin": "400",
    "maint_margin_rate": "0.56",
    "liq_fee_rate": "0.0075",
    "mark_price": "98000",
}


def test_the_history_is_recorded_and_exported(desk):
    for available in ("1500", "900"):
        desk.exchange.wallet = falling(available)
        desk.once()
    desk.exchange.script = lambda _: Special(status=503)
    desk.once()
    code, out, _ = desk.run("history", "export")
    assert code == 0
    records = [json.loads(line) for line in out.splitlines()]
    assert [sorted(record) for record in records] == [["account", "at", "body"]] * 2 + [
        ["account", "at", "error"]
    ]
    balances = records[1]["body"]["data"]["base_asset_balances"][0]["balances"]
    assert balances["total_available_balance"] == "900"
    later = desk.run("history", "export", "--from", records[1]["at"], "--to", records[2]["at"])[1]
    assert [json.loads(line)["at"] for line in later.splitlines()] == [records[1]["at"]]


def test_both_feeds_are_exported_with_what_they_need_and_replay_as_they_were(desk):
    desk.write(more=NEAR)
    desk.exchange.wallet = falling("1500")
    desk.exchange.market.positions = {"BTCUSDT": POSITION}
    desk.once()
    desk.exchange.market.liquidate("BTCUSDT", at=datetime.now(UTC))
    desk.once()
    desk.once()
    records = [json.loads(line) for line in desk.run("history", "export")[1].splitlines()]
    feeds = [record.get("feed", "wallet") for record in records]
    # which page answers first is not ours to say
    assert sorted(feeds) == [
        *["instruments", *["positions"] * 3, *["transactions"] * 2, *["wallet"] * 3]
    ]
    for number, feed in enumerate(feeds):
        if feed in {"instruments", "transactions"}:
            assert (records[number + 1]["at"], feeds[number + 1]) == (
                records[number]["at"],
                "positions",
            )

    last = [record["at"] for record in records if record.get("feed") == "positions"][-1]
    part = [
        json.loads(line) for line in desk.run("history", "export", "--from", last)[1].splitlines()
    ]
    assert (part[0]["feed"], part[0]["at"] < last) == ("instruments", True)
    assert all(record["at"] >= last for record in part[1:])

    file = desk.folder / "export.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    code, out, _ = desk.run("replay", "--json", str(file))
    assert code == 0
    changes = [
        each["transition"] for each in map(json.loads, out.splitlines()) if "transition" in each
    ]
    assert [(each["to"], each["reason"]) for each in changes if each["rule"] == "near"] == [
        ("firing", "breach"),
        ("resolved", "liquidated"),
    ]
    assert "\npositions: 3 snapshots and 0 failed polls\n" in desk.run("replay", str(file))[1]
