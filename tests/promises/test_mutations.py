"""A twentieth of what `python bench/mutations.py` does: nothing breaks, lies or goes silent."""

from __future__ import annotations

import json
import random

import pytest

from tests.support.mutated_answers import Story, Verdicts, wallet
from tests.support.mutations import try_answers, try_rules_files, try_state_files

pytestmark = pytest.mark.process
SEED = 20261125


def test_500_mutated_answers_resolve_nothing_miss_nothing_and_hold_nothing_for_good(tmp_path):
    done = try_answers(tmp_path, 500, SEED)
    assert done.problems == ()


def test_100_mutated_rules_files_are_refused_with_places_or_work(tmp_path):
    done = try_rules_files(tmp_path, 100, SEED)
    assert done.problems == ()


def test_5_damages_of_the_state_file_are_told_or_cost_nothing(tmp_path):
    done = try_state_files(tmp_path, 5, SEED)
    assert done.problems == ()


# ── the oracle itself ───────────────────────────────────────────────────────


def told(monkeypatch, mutate):
    """The verdicts on a story whose answers are broken in one way."""
    monkeypatch.setattr("tests.support.mutated_answers.Mutator.mutate", mutate)
    verdicts = Verdicts()
    for seed in range(5):
        Story(seed, verdicts).tell()
    return verdicts


def test_a_story_without_mutations_is_judged_truly(monkeypatch):
    done = told(monkeypatch, lambda _, body: json.dumps(body).encode())
    assert (done.problems, done.answers > 10) == ([], True)


def test_a_lie_that_agrees_with_itself_is_seen_as_a_false_resolve(monkeypatch):
    done = told(
        monkeypatch, lambda _, body: json.dumps(wallet(random.Random(1), bad=False)).encode()
    )
    assert {text.split()[2] for text in done.false_resolves} >= {"floor", "locked", "load"}


def test_what_raises_is_seen(monkeypatch):
    done = told(monkeypatch, lambda *_: None)
    assert done.tracebacks
