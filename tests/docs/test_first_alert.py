"""docs/first-alert.md leads to an alert: its blocks are run, in order, against a loopback exchange.

`ALERTING_GOLDEN=write` rewrites the page instead; tests/support/pages.py says what a page may hold.
"""

from __future__ import annotations

import os

import pytest

from alerting.sandbox.exchange import LoopbackExchange
from alerting.sandbox.inbox import Inbox
from tests.support.pages import Shell, rendered, shape
from tests.support.paths import ROOT

pytestmark = pytest.mark.process

PAGE = ROOT / "docs" / "first-alert.md"


def test_the_page_leads_to_an_alert_its_acknowledgement_and_its_end(tmp_path):
    page = PAGE.read_text(encoding="utf-8")
    with LoopbackExchange() as exchange, Inbox() as inbox:
        shell = Shell(tmp_path, exchange, inbox, DESK_URL=inbox.url("desk"))
        now = rendered(shell, page)
        titles = [message.title for message in inbox.received]
    if os.environ.get("ALERTING_GOLDEN") == "write":
        PAGE.write_text(now, encoding="utf-8")
    assert shape(now) == shape(page)
    assert "available-balance-floor" in titles[0]
    assert "CRITICAL" in titles[0]
    assert "RESOLVED" in titles[-1]
