"""What the tests of the promises share."""

from __future__ import annotations

import pytest

from alerting.sandbox.exchange import LoopbackExchange
from tests.support.trading import Trading


@pytest.fixture
def trading(tmp_path):
    """Makes the program on a simulated machine, with an exchange of its own."""
    with LoopbackExchange() as exchange:
        made = []

        def make(**how):
            made.append(Trading(tmp_path, exchange, **how))
            return made[-1]

        yield make
        for each in made:
            each.end()
