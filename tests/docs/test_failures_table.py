"""The tables of failures and of faults in docs/: each row is shown by a test, and told to somebody."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def rows_of(page):
    """The cells of each row whose last one names a test."""
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in rows if row[-1].startswith("`tests/")]


FAILURES = rows_of("monitoring.md")
FAULTS = rows_of("faults.md")


def test_there_are_rows():
    assert len(FAILURES) > 40
    assert len(FAULTS) > 40


@pytest.mark.parametrize("row", FAILURES + FAULTS, ids=lambda row: row[0])
def test_a_row_is_shown_by_a_test_that_exists(row):
    _, right, shown = row
    path, _, name = shown.strip("`| ").partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert right


@pytest.mark.parametrize("row", FAILURES, ids=lambda row: row[0])
def test_a_failure_is_told_to_somebody(row):
    assert "nobody" not in row[1].lower()
