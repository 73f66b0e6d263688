"""What no timeline of test_evaluation.py reaches."""

from __future__ import annotations

from alerting.engine import lifecycle
from alerting.engine.model import ChangeReason, Level, Severity


def test_an_inactive_level_cannot_end():
    level = Level(severity=Severity.INFO)
    assert lifecycle.end(level, ChangeReason.GONE) == (level, None)
