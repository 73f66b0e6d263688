"""The two ways in which a command is run here."""

from __future__ import annotations

import pytest

from alerting.sandbox.exchange import LoopbackExchange
from alerting.sandbox.inbox import Inbox
from tests.support.desk import Desk, QuickDesk


@pytest.fixture
def desk(tmp_path):
    """Commands run in this process."""
    with LoopbackExchange() as exchange, Inbox() as inbox:
        yield QuickDesk(tmp_path, exchange, inbox)


@pytest.fixture
def real_desk(tmp_path):
    """Every command is a process."""
    with LoopbackExchange() as exchange, Inbox() as inbox:
        yield Desk(tmp_path, exchange, inbox)
