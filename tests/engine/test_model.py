"""The nouns."""

from __future__ import annotations

import pytest

from alerting.engine.model import Severity
from alerting.engine.snapshot import Side


def test_severities_are_ordered():
    assert sorted([Severity.CRITICAL, Severity.INFO, Severity.WARNING]) == list(Severity)
    with pytest.raises(TypeError):
        assert Severity.INFO < 3


def test_a_side_has_a_sign():
    assert [(side.value, side.sign) for side in Side] == [("LONG", 1), ("SHORT", -1)]
