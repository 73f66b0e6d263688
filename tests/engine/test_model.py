"""The nouns."""

from __future__ import annotations

import pytest

from alerting.engine.model import Severity


def test_severities_are_ordered():
    assert sorted([Severity.CRITICAL, Severity.INFO, Severity.WARNING]) == list(Severity)
    with pytest.raises(TypeError):
        assert Severity.INFO < 3
