"""`explain`, together with what it explains: silences and acknowledgements."""

from __future__ import annotations

from tests.support.desk import falling


def test_silence_ack_and_explain(desk):
    desk.exchange.wallet = falling("900")
    desk.once()
    (alert,) = desk.status()["alerts"]
    code, out, _ = desk.run("explain", "available-balance-floor")
    assert code == 0
    assert "available-balance-floor  main/USDT" in out
    assert "warning    < 1000, clear at 1100: in breach; firing since" in out
    assert "route      as warning: number 2, to desk" in out
    assert "firing to desk: sent" in out
    assert desk.run("ack", alert["id"])[0] == 0
    code, out, _ = desk.run("silence", "add", "rule=avail*", "--for", "2h", "--reason", "test")
    assert (code, "rule=avail*" in out) == (0, True)
    (alert,) = desk.status()["alerts"]
    assert (alert["acked"], alert["silenced"]) == (True, True)
    out = desk.run("explain", "available-balance-floor")[1]
    assert "acked" in out
    assert "silenced" in out
    desk.exchange.wallet = falling("200")
    desk.once()
    assert len(desk.titles()) == 1
    assert desk.run("silence", "list")[1].startswith("1  rule=avail*")
    assert desk.run("silence", "remove", "1")[0] == 0
    desk.once()
    assert "escalated" in desk.titles()[1]
