"""`send-test`: a verdict per receiver."""

from __future__ import annotations


def test_send_test_prints_a_verdict_per_receiver(desk):
    code, out, _ = desk.run("send-test", PHONE_URL="json://127.0.0.1:1/")
    assert code == 1
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["desk"].startswith("accepted")
    assert lines["phone"].startswith("transient")
    assert len(desk.titles()) == 1


def test_send_test_of_an_unknown_receiver_is_wrong_usage(desk):
    code, _, err = desk.run("send-test", "des")
    assert code == 2
    assert "desk, phone" in err
