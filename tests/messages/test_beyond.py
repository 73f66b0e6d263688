"""A ratio to equity that is used up: infinite, and said in words wherever a message says it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerting.display import PLAIN
from alerting.engine.model import Direction, Notification, Reason
from alerting.messages import phrases
from alerting.messages.formats import Format
from alerting.messages.rendering import Renderer
from alerting.store import documents
from tests.support.factories import D
from tests.support.messages import NOW, notification_of, over, ratio, repeated

LABELS = {
    "account": "main",
    "base_asset": "USDT",
    "symbol": "DOGEUSDT",
    "exchange": "EXCHANGE_2",
    "side": "LONG",
}


def used_up(*, value="Infinity", **changes):
    fields = {
        "rule": "maintenance-margin-ratio",
        "expression": "maintenance_margin_ratio",
        "labels": LABELS,
        "severity": "critical",
        "value": value,
        "threshold": "0.8",
        "clear": "0.7",
        "percent": True,
        "values": {"maintenance_margin_ratio": D(value), "mark_price": D("0.1")},
        "annotations": {
            "summary": "{{ value | percent }} of {{ maintenance_margin_ratio | money }}"
        },
    }
    return ratio(**fields | changes)


def words(item):
    return phrases.describe(item, now=NOW, show=PLAIN)


def test_its_words():
    data = words(used_up())
    assert data["headline"].endswith(": over 100 %, far above 80%")
    assert data["level"] == "over 100 %: far above 80%, clears at 70%"
    assert data["rest"] == "clears at 70%"
    assert data["short"].endswith(" over 100 % (> 80%)")


def test_no_unit_stands_behind_it():
    data = words(used_up(percent=False, threshold="80", expression="m_ratio * 100"))
    assert data["headline"].endswith(": over 100 %, far above 80")


def test_how_it_moved():
    assert words(repeated(used_up(), "0.9"))["moved"] == "up in 15m"
    assert words(repeated(used_up(value="0.9"), "Infinity"))["moved"] == "down in 15m"
    assert words(repeated(used_up(), "Infinity"))["moved"] == "unchanged in 15m"


def test_an_expression_that_turns_it_round():
    data = words(used_up(value="-Infinity", direction=Direction.BELOW, expression="1 - x_ratio"))
    assert data["level"] == "-∞: far below 80%, clears at 70%"


@pytest.mark.parametrize("fmt", Format)
@pytest.mark.parametrize(
    "item",
    [
        pytest.param(used_up(), id="firing"),
        pytest.param(repeated(used_up(), "Infinity"), id="repeat"),
        pytest.param(over(used_up(), "gone"), id="closed"),
        pytest.param(over(used_up(), value="0.2"), id="recovered"),
    ],
)
def test_every_message_goes_out_without_a_failure(fmt, item):
    """And the outbox gives back what it was given."""
    told = notification_of(item)
    stored = documents.load(Notification, documents.dump(told))
    # the id of the tests' alerts is no part of a document
    plain = replace(told, items=(replace(item, alert=stored.items[0].alert),))
    assert stored == plain
    renderer = Renderer(overrides=None)
    for message in (
        renderer.render(stored, fmt, maybe_repeat=False, now=NOW),
        renderer.plain(stored, fmt, maybe_repeat=False, now=NOW),
    ):
        text = f"{message.title}\n{message.body}\n{message.html or ''}"
        assert "built-in text" not in text
        assert "Infinity" not in text
        assert "failed" not in text
        if item.reason is not Reason.RESOLVED:
            assert "over 100 %" in text


@pytest.mark.parametrize(
    ("expression", "level"),
    [
        ("effective_leverage", "12.5: 2.5 (25%) above 10"),
        ("position_size", "12.5: 2.5 (25%) above 10"),
        ("position_size * mark_price", "12.5 USDT: 2.5 (25%) above 10"),
    ],
)
def test_what_is_no_amount_has_no_asset(expression, level):
    item = used_up(
        rule="r", expression=expression, percent=False, value="12.5", threshold="10", clear="10"
    )
    assert words(item)["level"] == level
