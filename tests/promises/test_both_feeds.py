"""What `run` did with both feeds, and what `replay` of its export says it would have done, agree.

A whole day, and other ones: `python bench/feeds.py`.
"""

from __future__ import annotations

import pytest

from tests.support.factories import S
from tests.support.lived import lived, replayed


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"seed": 4}, id="daemon"),
        pytest.param({"seed": 3, "cron": True}, id="cron"),
        pytest.param({"seed": 3, "positions_every": 10 * S}, id="each-feed-at-its-own-pace"),
    ],
)
def test_hours_of_trading_replay_as_they_were(trading, how):
    run = trading(**how)
    run.live(150)

    changes, messages = lived(run.store)
    again, told_again = replayed(run)
    assert again == changes
    assert told_again == messages
    assert {"liquidation", "closed", "lie", "restart"} <= run.happened
    assert {change[-1] for change in changes} >= {"breach held", "clear", "gone", "liquidated"}
    assert {change[1] for change in changes} >= {
        "blind",
        "suspect-data",
        "near",
        "load",
        "failures",
    }
