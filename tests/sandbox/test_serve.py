from __future__ import annotations

import contextlib
import json
import socket
import threading

import pytest

from alerting.errors import UsageError
from alerting.sandbox.exchange import DEMO_API_KEY, wallet_body
from alerting.sandbox.serve import serve_exchange
from tests.support.waiting import wait_until


class Output:
    """What was printed, while it is being printed."""

    def __init__(self, capsys):
        self.capsys, self.text = capsys, ""

    def has(self, word):
        self.text += self.capsys.readouterr().out
        return word in self.text


def test_it_invites_and_follows_the_file_until_it_is_stopped(tmp_path, capsys):
    wallet, stop, output = tmp_path / "wallet.json", threading.Event(), Output(capsys)
    wallet.write_text(json.dumps(wallet_body(total="2000", available="900")))
    thread = threading.Thread(
        target=serve_exchange, kwargs={"port": 0, "wallet": wallet, "stop": stop}
    )
    thread.start()
    try:
        wait_until(lambda: output.has("wallet: 900 USDT available\n"))
        draft = tmp_path / "draft.json"
        draft.write_text(json.dumps({"data": {}}))
        draft.replace(wallet)
        wait_until(lambda: output.has("wallet: as in the file\n"))
    finally:
        stop.set()
        thread.join(5)
    assert not thread.is_alive()
    assert f"api_key: {DEMO_API_KEY}\n" in output.text
    assert f"The wallet: {wallet}. Ctrl-C ends it.\n" in output.text


def test_a_port_in_use_is_wrong_usage():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} cannot be used: Address already in use"):
            serve_exchange(port=port, wallet=None, stop=threading.Event())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(None, "cannot be written: No such file", id="no-folder"),
        pytest.param("{", "not JSON", id="no-json"),
        pytest.param("[]", "an object such as the API answers with is expected", id="no-object"),
    ],
)
def test_a_wallet_that_cannot_be_served_is_wrong_usage(tmp_path, text, said):
    path = tmp_path / ("wallet.json" if text is not None else "nowhere/wallet.json")
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=said):
        serve_exchange(port=0, wallet=path, stop=threading.Event())


@contextlib.contextmanager
def served(wallet):
    stop = threading.Event()
    thread = threading.Thread(
        target=serve_exchange, kwargs={"port": 0, "wallet": wallet, "stop": stop}
    )
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(5)


def test_a_file_that_is_broken_for_a_moment_keeps_the_last_good_wallet(tmp_path, capsys):
    wallet, output = tmp_path / "wallet.json", Output(capsys)
    wallet.write_text(json.dumps(wallet_body(total="2000", available="900")))
    with served(wallet) as thread:
        wait_until(lambda: output.has("wallet: 900 USDT available\n"))
        wallet.write_text("{")
        wait_until(lambda: output.has("the last good one is served on\n"))
        assert thread.is_alive()
        wallet.write_text(json.dumps(wallet_body(total="2000", available="800")))
        wait_until(lambda: output.has("wallet: 800 USDT available\n"))
    assert output.text.count("served on") == 1


def test_a_wallet_file_that_is_missing_is_made_to_be_edited(tmp_path, capsys):
    wallet, output = tmp_path / "wallet.json", Output(capsys)
    with served(wallet):
        wait_until(lambda: output.has("wallet: 1700.00 USDT available\n"))
    assert json.loads(wallet.read_text())["data"]["asset"][0]["symbol"] == "BTCUSDT"
