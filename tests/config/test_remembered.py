"""The rules that were last taken over, as the state remembers them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from alerting.config.load import Secrets, load_config, load_remembered
from alerting.config.remembered import KEY, recall, remember
from tests.config.test_load import ROOT

T0 = datetime(2026, 1, 1, tzinfo=UTC)


class Facts(dict):
    writes = 0

    def meta(self, key):
        return self.get(key)

    def set_meta(self, key, value):
        self.writes += 1
        self[key] = value


def test_they_come_back_as_they_were_but_for_their_secrets():
    """The whole example: numbers as they were written, lists, texts with any character."""
    config = load_config(ROOT / "rules.example.yaml", environ={}, secrets=Secrets.IGNORED)
    facts = Facts()
    remember(facts, path=config.path, text=config.kept, now=T0)
    remembered = recall(facts)
    again = load_remembered(remembered)
    assert again.ruleset == config.ruleset
    assert (again.path, remembered.taken_over_at) == (config.path, T0)
    assert again.kept == config.kept


def test_the_same_rules_are_written_once():
    facts = Facts()
    for text in ("a: 1", "a: 1", "a: 2"):
        remember(facts, path=Path("/rules.yaml"), text=text, now=T0)
    assert facts.writes == 2


@pytest.mark.parametrize("text", ["", "[]", "{", '{"path": 1}', '{"path": "p", "at": "x"}'])
def test_what_cannot_be_read_is_not_remembered(text):
    assert recall(Facts({KEY: text})) is None
