"""What the tests of a cycle and of its two ways to run share."""

from __future__ import annotations

import pytest

from tests.support.factories import make_ruleset
from tests.support.rig import LADDER, Rig


@pytest.fixture
def rig(tmp_path):
    rigs = []

    def make(ruleset=None, clock=None, **notifiers):
        rig = Rig(tmp_path / "alerting.db", notifiers, ruleset or make_ruleset(LADDER), clock)
        rigs.append(rig)
        return rig

    yield make
    for rig in rigs:
        rig.store.close()
