"""Figures and remedies of random positions against fractions; bench/risk.py does it at length."""

from __future__ import annotations

from tests.support.risk_proofs import compare_figures, prove_remedies


def test_a_thousand_positions_to_the_last_digit():
    counts = compare_figures(1000, seed=20260302)
    assert (counts["positions"], counts["compared"], counts["different"]) == (1000, 8000, 0)
    # and they are of all kinds
    for kind in ("used up", "no price", "at most 1"):
        assert 20 < counts[kind] < 900, kind


def test_of_a_thousand_alerts_no_remedy_could_be_smaller():
    counts = prove_remedies(1000, seed=20260303)
    assert counts["not clear"] == counts["not the smallest"] == counts["more than available"] == 0
    assert counts["add_margin"] > 150
    assert counts["reduce"] > 50
    assert counts["without"] > 50
    assert counts["most evaluations"] < 100
