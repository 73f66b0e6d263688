"""`check --online`: whether the exchange and the receivers' services answer; nothing is sent."""

from __future__ import annotations

import json

from alerting.sandbox.exchange import Special


def online(desk, **environ):
    return desk.run("check", "--online", **environ)


def test_it_says_what_each_account_and_receiver_answers(desk):
    code, out, err = online(desk)

    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "1 rule, 2 receivers, 2 routes",
        "account main: read, USDT total 2000",
        "receiver desk: 127.0.0.1 is reached; only a message shows the rest: send-test",
        "receiver phone: 127.0.0.1 is reached; only a message shows the rest: send-test",
    ]
    assert desk.inbox.received == []
    assert [seen.path for seen in desk.exchange.requests] == [
        "/trade/api/v2/futures/wallet_balance"
    ]


def test_it_makes_no_state(desk):
    online(desk)
    assert not (desk.folder / "alerting.db").exists()


def test_one_that_fails_is_exit_1_and_is_named(desk):
    desk.exchange.script = lambda _: Special(status=503, answer=json.dumps({}).encode())
    code, out, _ = online(desk, PHONE_URL="json://127.0.0.1:1/hidden-path")

    assert code == 1
    _, account, first, second = out.splitlines()
    assert account.startswith("account main: FAILED: exchange down: ")
    assert first.startswith("receiver desk: 127.0.0.1 is reached")
    assert second == "receiver phone: FAILED: not reached: connection refused"
    assert "hidden-path" not in out


def test_wrong_keys_are_told_as_that_and_stay_hidden(desk):
    wrong = "ab" * 32
    code, out, err = online(desk, SECRET_KEY=wrong)
    assert code == 1
    assert "account main: FAILED: credentials: " in out
    assert wrong not in out + err


def test_an_invalid_file_asks_nobody(desk):
    desk.write(more="    thresold: 3\n")
    code, _, _ = online(desk)
    assert code == 1
    assert desk.exchange.requests == []


def test_the_pause_that_the_exchange_asked_for_holds_here_too(desk):
    desk.exchange.script = [Special(status=429, headers={"Retry-After": "120"}, answer=b"{}")]
    assert desk.once()[0] == 1
    asked = len(desk.exchange.requests)

    code, out, _ = online(desk)
    assert code == 1
    assert "account main: FAILED: rate limit" in out
    assert len(desk.exchange.requests) == asked
