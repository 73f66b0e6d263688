"""`exchange`: rules can be tried without keys."""

from __future__ import annotations

import json
import re
import signal

import pytest

from tests.support.desk import falling, wait_until

pytestmark = pytest.mark.process


def test_the_exchange_serves_a_wallet_file(desk):
    wallet = desk.folder / "wallet.json"
    wallet.write_text(json.dumps(falling("900")), encoding="utf-8")
    process = desk.start("exchange", "--port", "0", "--wallet", str(wallet))
    try:
        first = process.stdout.readline()
        base_url = re.search(r"http://127\.0\.0\.1:\d+", first).group()
        text = desk.path.read_text(encoding="utf-8")
        desk.path.write_text(text.replace(desk.exchange.base_url, base_url), encoding="utf-8")
        wait_until(lambda: "900" in process.stdout.readline())
        assert desk.once()[0] == 0
        assert len(desk.titles()) == 1
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0
