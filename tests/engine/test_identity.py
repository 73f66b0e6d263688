"""Ids that people read out and type."""

from __future__ import annotations

from alerting.engine.identity import short_id


def test_ids_are_short_and_typable():
    assert short_id("ff" * 32) == "7777777"
