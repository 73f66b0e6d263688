"""docs/commands.md shows every command with its real output: each block is run again and compared.

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

PAGE = ROOT / "docs" / "commands.md"


@pytest.fixture
def shell(tmp_path):
    with LoopbackExchange() as exchange, Inbox() as inbox:
        yield Shell(tmp_path, exchange, inbox)


def test_every_block_shows_what_the_program_prints(shell):
    page = PAGE.read_text(encoding="utf-8")
    now = rendered(shell, page)
    if os.environ.get("ALERTING_GOLDEN") == "write":
        PAGE.write_text(now, encoding="utf-8")
    assert shape(now) == shape(page)


def test_every_command_is_on_the_page():
    from alerting.cli.main import _parser

    page = PAGE.read_text(encoding="utf-8")
    commands = next(
        action.choices for action in _parser()._actions if isinstance(action.choices, dict)
    )
    assert [name for name in commands if f"\n$ alerting {name}" not in page] == ["demo", "exchange"]
