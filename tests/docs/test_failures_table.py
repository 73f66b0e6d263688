"""The table of single failures in docs/monitoring.md: each row is shown by a test, and told to somebody."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
TABLE = TEXT.partition("| failure | who is told, when | shown by |")[2].partition("\n\n")[0]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in TABLE.splitlines()
    if line.startswith("| ") and "---" not in line
]


def test_there_are_rows():
    assert len(ROWS) > 40


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row_is_shown_by_a_test_that_exists(row):
    _, told, shown = row
    path, _, name = shown.strip("`| ").partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert told


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_failure_is_told_to_somebody(row):
    assert "nobody" not in row[1].lower()
