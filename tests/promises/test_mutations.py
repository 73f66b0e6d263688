"""Whatever an answer, a rules file or the state file holds: no traceback, no false resolve, no hang.

A twentieth of what bench/mutations.py does. What must come of each is in tests/support: truths.py
and second_reading.py for answers, mutated_rules.py, damages.py.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.support.damages import DAMAGES, damaged_states
from tests.support.mutated_rules import mutated_rules
from tests.support.mutations import mutated_answers

#: another one each day, so that CI looks further than it did yesterday
TODAY = datetime.now(UTC).date().toordinal()


@pytest.mark.parametrize("seed", [1, TODAY], ids=["fixed", "today"])
def test_spoilt_answers_end_nothing_that_goes_on_and_hold_nothing_for_good(tmp_path, seed):
    figures = mutated_answers(250, tmp_path, seed=seed)
    assert figures.problems == {}
    assert figures.counts["answers"] == 250
    # it did look: some of each kind, and alerts that were due
    assert all(figures.counts[k] > 10 for k in ("failed polls", "suspect", "alerts due"))


@pytest.mark.process
@pytest.mark.parametrize("seed", [1, TODAY], ids=["fixed", "today"])
def test_a_spoilt_rules_file_is_taken_or_refused_with_each_place(tmp_path, seed):
    figures = mutated_rules(50, tmp_path, seed=seed)
    assert figures.problems == {}
    assert figures.counts["taken"] > 0
    assert figures.counts["refused"] > 0


@pytest.mark.process
@pytest.mark.parametrize("seed", [1, TODAY], ids=["fixed", "today"])
def test_a_damaged_state_file_works_or_is_told(tmp_path, seed):
    count = 3 if seed == 1 else 2
    # another part of the ways each day
    first = seed * count % len(DAMAGES)
    figures = damaged_states(count, tmp_path, seed=seed, first=first)
    assert figures.problems == {}
    assert figures.counts["damages"] == count
