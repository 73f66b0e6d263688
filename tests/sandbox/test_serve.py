from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from datetime import timedelta

import pytest

from alerting.errors import UsageError
from alerting.exchanges.account import AccountSettings
from alerting.exchanges.coinswitch.client import WalletClient
from alerting.exchanges.coinswitch.positions import PositionsClient
from alerting.redaction import Secret
from alerting.sandbox.exchange import (
    DEMO_API_KEY,
    DEMO_SECRET_KEY,
    LoopbackExchange,
    wallet_body,
)
from alerting.sandbox.serve import _read_wallet, serve_exchange
from tests.support.paths import ROOT
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


WITH_POSITION = {
    **wallet_body(total="2000", available="900"),
    "positions": {
        "BTCUSDT": {
            "side": "LONG",
            "position_size": 0.1,
            "avg_entry_price": 100000,
            "position_margin": 400,
            "mark_price": 98000,
        }
    },
    "instruments": {"BTCUSDT": {"maint_margin_rate": 0.56, "liq_fee_rate": 0.0075}},
}
AS_YAML = """\
data:
  base_asset_balances:
    - base_asset: USDT
      balances: {total_balance: 2000, total_available_balance: 900.10, total_blocked_balance: 1}
positions:
  BTCUSDT: {side: LONG, position_size: 0.1, avg_entry_price: 100000, position_margin: 400, mark_price: 98000}
instruments:
  BTCUSDT: {maint_margin_rate: 0.56, liq_fee_rate: 0.0075}
"""


def account_at(base_url):
    return AccountSettings(
        name="main",
        api_key=Secret(DEMO_API_KEY),
        secret_key=Secret(DEMO_SECRET_KEY),
        base_url=base_url,
    )


def what_it_serves(printed):
    """The wallet's available balance, the positions and the instruments, as a client reads them."""
    base_url = re.search(r"http://127\.0\.0\.1:[0-9]+", printed).group()
    timeout = timedelta(seconds=5)
    with (
        contextlib.closing(WalletClient(account_at(base_url), timeout=timeout)) as wallet,
        contextlib.closing(PositionsClient(account_at(base_url), timeout=timeout)) as positions,
    ):
        rows, rates = positions.poll().outcome.positions, positions.instruments()
        balances = wallet.poll().outcome.wallets[0].fields
        return str(balances["total_available_balance"]), rows, rates


@pytest.mark.parametrize(
    ("name", "text", "available"),
    [
        pytest.param("wallet.json", json.dumps(WITH_POSITION), "900", id="json"),
        pytest.param("wallet.yaml", AS_YAML, "900.10", id="yaml"),
        pytest.param("wallet.yml", json.dumps(WITH_POSITION), "900", id="json as yaml"),
    ],
)
def test_a_wallet_file_has_positions_and_instruments(tmp_path, capsys, name, text, available):
    wallet, output = tmp_path / name, Output(capsys)
    wallet.write_text(text)
    with served(wallet):
        wait_until(lambda: output.has("position: BTCUSDT LONG, mark price 98000\n"))
        found, [row], rates = what_it_serves(output.text)
    assert found == available
    assert (row.symbol, str(row.fields["position_margin"])) == ("BTCUSDT", "400")
    assert str(row.fields["liquidation_price"]) == "97310"
    assert str(rates["BTCUSDT"].maint_margin_rate) == "0.56"


def test_numbers_of_a_position_keep_every_digit(tmp_path, capsys):
    wallet, output = tmp_path / "wallet.json", Output(capsys)
    text = json.dumps(WITH_POSITION).replace("0.1,", "0.100000000000000000000001,")
    wallet.write_text(text)
    with served(wallet):
        wait_until(lambda: output.has("mark price 98000\n"))
        _, [row], _ = what_it_serves(output.text)
    assert str(row.fields["position_size"]) == "0.100000000000000000000001"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        pytest.param(
            "w.json",
            '{"positions": {"BTCUSDT": {}}}',
            "w.json: positions.BTCUSDT.side: None is",
            id="side",
        ),
        pytest.param("w.json", '{"positions": null}', "positions: None is not a map", id="null"),
        pytest.param("w.json", '{"instruments": {"B": {}}}', "instruments.B: has", id="rates"),
        pytest.param("w.json", "[" * 100_000, "not JSON: maximum recursion", id="deep"),
        pytest.param(
            "w.yaml",
            "positions: {B: {side: on}}\n",
            "w.yaml:1:23: positions.B.side: 'on' is",
            id="yaml",
        ),
        pytest.param("w.yaml", "positions: [\n", "w.yaml:", id="no yaml"),
        pytest.param("w.yaml", "[]\n", "an object such as the API answers with", id="list"),
    ],
)
def test_positions_that_cannot_be_served_are_wrong_usage(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        serve_exchange(port=0, wallet=path, stop=threading.Event())


def test_a_position_that_is_broken_for_a_moment_keeps_the_last_good_one(tmp_path, capsys):
    wallet, output = tmp_path / "wallet.yaml", Output(capsys)
    wallet.write_text(AS_YAML)
    with served(wallet) as thread:
        wait_until(lambda: output.has("mark price 98000\n"))
        wallet.write_text(AS_YAML.replace("LONG", "BOTH"))
        wait_until(lambda: output.has("the last good one is served on\n"))
        wallet.write_text(AS_YAML[:-20] + "\n  x: on\n]")
        wait_until(lambda: output.text.count("served on") + output.has("\x00") == 2)
        assert thread.is_alive()
        wallet.write_text(AS_YAML.replace("98000", "97500"))
        wait_until(lambda: output.has("mark price 97500\n"))


@pytest.mark.parametrize("name", ["wallet.json", "wallet.yaml", None])
def test_the_sample_and_the_tide_have_a_position(tmp_path, capsys, name):
    output = Output(capsys)
    with served(None if name is None else tmp_path / name):
        wait_until(lambda: output.has("position: BTCUSDT LONG, mark price 97000\n"))
        _, [row], rates = what_it_serves(output.text)
    assert str(row.fields["position_margin"]) == "300"
    assert set(rates) == {"BTCUSDT"}


def test_the_documented_wallet_file_is_one(tmp_path):
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```yaml\n(positions:.*?)```", page, re.DOTALL)
    path = tmp_path / "wallet.yaml"
    path.write_text(block)
    with LoopbackExchange() as exchange:
        _read_wallet(path).serve(exchange)
        client = PositionsClient(exchange.account(), timeout=timedelta(seconds=5))
        with contextlib.closing(client):
            [row] = client.poll().outcome.positions
            assert set(client.instruments()) == {"BTCUSDT", "ETHUSDT"}
    assert row.symbol == "BTCUSDT"
