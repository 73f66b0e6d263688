"""The last day in one line."""

from __future__ import annotations

import functools
import json
from datetime import timedelta

import pytest

from alerting.cli.sparkline import bars, sparklines
from alerting.display import Display, Grouping
from alerting.engine import evaluation
from alerting.engine.snapshot import Poll
from alerting.sandbox.exchange import wallet_body
from alerting.store.state import Store
from tests.support.factories import T0, D, make_failure, make_ruleset, make_snapshot


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        pytest.param(["0", "7"], "▁█", id="from-lowest-to-highest"),
        pytest.param(["0", "1", "2", "3", "4", "5", "6", "7"], "▁▂▃▄▅▆▇█", id="in-eight-steps"),
        pytest.param(["5", "5"], "▄▄", id="nothing-moves"),
        pytest.param(["-1", None, "1"], "▁ █", id="a-gap"),
        pytest.param([None], " ", id="nothing-known"),
    ],
)
def test_bars(points, expected):
    assert bars([None if p is None else D(p) for p in points]) == expected


def test_the_last_day_of_a_wallet(tmp_path):
    store = Store(tmp_path / "alerting.db")
    ruleset = make_ruleset()
    for hours, available in ((23, "1900"), (12, "200"), (0, "1000")):
        now = T0 + timedelta(hours=24 - hours)
        body = json.dumps(wallet_body(total="2000", available=available))
        judge = functools.partial(evaluation.evaluate, ruleset, outcome=make_failure(), now=now)
        poll = Poll(at=now, account="main", body=body, outcome=make_snapshot(at=now))
        store.evaluate("main", judge, poll=poll)
    end = T0 + timedelta(hours=24)
    show = Display(grouping=Grouping.THOUSANDS)
    lines = list(sparklines(store, "main", show, now=end, points=48))
    narrow = list(sparklines(store, "main", show, now=end, points=20))
    store.close()
    assert [(what, line.replace(" ", ""), span) for what, line, span in lines] == [
        ("USDT available", "█▁▄", "200.00 to 1,900.00, last 23h"),
        ("USDT margin ratio", "▁█▄", "5% to 90%, last 23h"),
    ]
    assert [len(line) for _, line, _ in lines] == [48, 48]
    assert [len(line) for _, line, _ in narrow] == [20, 20]
