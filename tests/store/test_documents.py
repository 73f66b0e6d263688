"""Documents of the state file."""

from __future__ import annotations

import json

import pytest

from alerting.engine.model import Notification
from alerting.errors import StoreError
from alerting.store import documents


def test_a_notification_that_cannot_be_read_is_an_error_of_the_store():
    text = json.dumps({"severity": "critical", "account": "main", "alerts": [{"rule": "floor"}]})
    with pytest.raises(StoreError, match="a stored Notification cannot be read"):
        documents.load(Notification, text)
