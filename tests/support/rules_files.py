"""Parts of rules files for tests, and what is told of a file that is wrong."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alerting.errors import ConfigError

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "config"
D = Decimal
M = timedelta(minutes=1)
S = timedelta(seconds=1)
SEED = bytes(range(32))
SECRET_KEY = SEED.hex()
API_KEY = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw().hex()
HOOK = "json://localhost:1/hook-token-123"
ENVIRON = {"KEY": API_KEY, "SECRET": SECRET_KEY, "URL": HOOK, "EMPTY": ""}
ACCOUNTS = """accounts:
  main: {api_key: "${KEY}", secret_key: "${SECRET}"}
"""
RECEIVERS = """receivers:
  desk: {url: "${URL}"}
"""
ROUTES = """routes:
  - receivers: [desk]
"""
RULES = """rules:
  - {name: floor, per: wallet, value: total_balance, below: 1000}
"""


def messages(call, *args, **kwargs):
    """The problems that a call raises, with FILE for the file's name."""
    with pytest.raises(ConfigError) as caught:
        call(*args, **kwargs)
    assert caught.value.__cause__ is None
    return [re.sub(r"^.*?\.yaml:", "FILE:", str(problem)) for problem in caught.value.problems]
