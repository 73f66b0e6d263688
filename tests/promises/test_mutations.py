"""Whatever an answer, a rules file or the state file holds: no traceback, no false resolve, no hang.

A twentieth of what bench/mutations.py does, with seeds that stay: what a new seed finds is found by
the long run. What must come of each is in tests/support: truths.py and second_reading.py for
answers, mutated_rules.py, damages.py.
"""

from __future__ import annotations

import pytest

from tests.support.damages import damaged_states
from tests.support.mutated_rules import mutated_rules
from tests.support.mutations import mutated_answers


@pytest.mark.parametrize("seed", [1, 2])
def test_spoilt_answers_end_nothing_that_goes_on_and_hold_nothing_for_good(tmp_path, seed):
    figures = mutated_answers(250, tmp_path, seed=seed)
    assert figures.problems == {}
    assert figures.counts["answers"] == 250
    # it did look: some of each kind, and alerts that were due
    assert all(figures.counts[k] > 10 for k in ("failed polls", "suspect", "alerts due"))


@pytest.mark.process
def test_a_spoilt_rules_file_is_taken_or_refused_with_each_place(tmp_path):
    figures = mutated_rules(100, tmp_path, seed=1)
    assert figures.problems == {}
    assert min(figures.counts["taken"], figures.counts["refused"]) > 5


@pytest.mark.process
@pytest.mark.parametrize("first", [3, 6, 10, 12, 15])
def test_a_damaged_state_file_works_or_is_told(tmp_path, first):
    """Cut short, two pages swapped, no table, a version that is not its own, another file."""
    figures = damaged_states(1, tmp_path, seed=1, first=first)
    assert figures.problems == {}
    assert figures.counts["damages"] == 1
