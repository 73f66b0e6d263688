"""docs/status.md shows `alerting status` on terminals of 80 and 120 columns, as it is drawn today.

`ALERTING_GOLDEN=write` rewrites the screens.
"""

from __future__ import annotations

import functools
import gzip
import json
import os
import re
from dataclasses import replace
from datetime import timedelta

import pytest

from alerting.cli.status import screen
from alerting.config.load import Secrets, load_config
from alerting.engine import evaluation
from alerting.store.state import Store
from alerting.terminal import width
from bench.wallets import shipped
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "status.md"
WALLET = ROOT / "examples" / "wallets" / "slow-bleed.jsonl.gz"
#: hours of the day in which the wallet bleeds
FROM, TO = 9, 15
SCREEN = re.compile(r"(?<=```text\n# )(?P<columns>\d+) columns\n\n.*?(?=\n```)", re.DOTALL)


@pytest.fixture(scope="module")
def bled(tmp_path_factory):
    """The rules, the state after some hours in which a wallet bled, and the instant."""
    config = load_config(ROOT / "rules.example.yaml", environ={}, secrets=Secrets.IGNORED)
    store = Store(tmp_path_factory.mktemp("status") / "alerting.db")
    polls = list(recorded())[FROM * 60 : TO * 60]
    for poll in polls:
        judge = functools.partial(
            evaluation.evaluate, config.ruleset, outcome=poll.outcome, now=poll.at
        )
        store.evaluate(poll.account, judge, poll=poll)
    yield config, store, polls[-1].at + timedelta(seconds=5)
    store.close()


def recorded():
    """The polls with the text of their answers, as the real program stores them."""
    with gzip.open(WALLET, "rt", encoding="utf-8") as lines:
        bodies = [json.dumps(json.loads(line)["body"]) for line in lines]
    for poll, body in zip(shipped("slow-bleed"), bodies, strict=True):
        yield replace(poll, body=body)


def drawn(bled, columns):
    config, store, now = bled
    return screen(config, store, now=now, columns=columns, colour=False)


def test_the_screens_are_drawn_so_today(bled):
    page = PAGE.read_text(encoding="utf-8")

    def again(match):
        columns = int(match["columns"])
        return f"{columns} columns\n\n{drawn(bled, columns)}"

    now = SCREEN.sub(again, page)
    if os.environ.get("ALERTING_GOLDEN") == "write":
        PAGE.write_text(now, encoding="utf-8")
    assert now == page
    assert [int(match["columns"]) for match in SCREEN.finditer(page)] == [80, 120]


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_no_line_is_longer_than_the_terminal(bled, columns):
    assert max(map(width, drawn(bled, columns).splitlines())) <= columns
