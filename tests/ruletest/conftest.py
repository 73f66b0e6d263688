"""Where test files lie, and how they are run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from alerting.ruletest.runner import run_files
from tests.support.rule_tests import DATA


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, with the contract's rules."""
    shutil.copy(DATA / "rules.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder):
    """Runs a test file with this text and returns (passed, lines)."""

    def call(text, *, junit=None, verbose=False):
        (folder / "t.yaml").write_text(text, encoding="utf-8")
        lines = []
        passed = run_files([Path("t.yaml")], say=lines.append, junit=junit, verbose=verbose)
        return passed, lines

    return call
