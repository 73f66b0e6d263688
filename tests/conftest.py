"""What all tests share: no proxies, no surprises from the environment."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ("ALERTING_CONFIG", "ALERTING_STATE", "NOTIFY_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
