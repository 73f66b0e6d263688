from __future__ import annotations

import pytest

from alerting.store.state import Store
from tests.support.servers import HttpServer


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "alerting.db")
    yield store
    store.close()


@pytest.fixture
def serve():
    """Starts a server that answers as scripted."""
    servers = []

    def start(*script, context=None):
        server = HttpServer(*script, context=context)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()
