"""`history export`: the recorded polls."""

from __future__ import annotations

import json

from alerting.sandbox.exchange import Special
from tests.support.desk import falling


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
