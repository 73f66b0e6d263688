"""What the operating system gives."""

from __future__ import annotations

import pytest

from alerting.errors import StateBusyError
from alerting.service.process import StateLock
from tests.support.factories import T0


def test_only_one_process_holds_the_lock(tmp_path):
    path = tmp_path / "alerting.db"
    with StateLock(path, now=T0), pytest.raises(StateBusyError, match="pid"):
        with StateLock(path, now=T0):
            pass
    with StateLock(path, now=T0):
        pass
