"""Where the tests of replay work."""

from __future__ import annotations

import pytest


@pytest.fixture
def folder(tmp_path):
    """Where the recording goes."""
    return tmp_path
