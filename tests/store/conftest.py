"""One new state file per test."""

from __future__ import annotations

import pytest

from alerting.store.state import Store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "alerting.db"


@pytest.fixture
def store(path):
    store = Store(path)
    yield store
    store.close()
