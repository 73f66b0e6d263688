"""What would clear an alert, in every message while it fires, and in none that it is over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerting.display import PLAIN, Display, Grouping
from alerting.engine.remedy import PERCENT, Action, Remedy
from alerting.messages import phrases
from alerting.messages.formats import Format, Room
from alerting.messages.rendering import Renderer
from tests.support.factories import D
from tests.support.messages import HOSTILE, NOW, firing, notification_of, over, ratio, repeated

DEPOSIT = Remedy(action=Action.DEPOSIT, amount=D("123456.80"), unit="USDT")
MARGIN = Remedy(action=Action.ADD_MARGIN, amount=D("61.20"), unit="USDT")
REDUCE = Remedy(action=Action.REDUCE, amount=D(31), unit=PERCENT)


def render(*items, fmt=Format.TEXT, room=None, show=PLAIN):
    told = notification_of(*items)
    message = Renderer(overrides=None, show=show).render(
        told, fmt, maybe_repeat=False, now=NOW, room=room
    )
    assert "built-in text" not in message.body
    return message


@pytest.mark.parametrize(
    ("offers", "text"),
    [
        ((), ""),
        ((DEPOSIT,), "to clear: deposit 123456.80 USDT"),
        ((MARGIN, REDUCE), "to clear: add 61.20 USDT margin, or close 31 %"),
    ],
)
def test_its_words(offers, text):
    data = phrases.describe(firing(remedies=offers), now=NOW)
    assert data["to_clear"] == text == phrases.to_clear(offers)


def test_its_data():
    data = phrases.describe(firing(remedies=(MARGIN, REDUCE)), now=NOW)
    assert data["remedies"] == [
        {
            "action": "add_margin",
            "amount": D("61.20"),
            "unit": "USDT",
            "text": "add 61.20 USDT margin",
        },
        {"action": "reduce", "amount": D(31), "unit": "%", "text": "close 31 %"},
    ]


def test_amounts_are_grouped_as_everywhere():
    show = Display(grouping=Grouping.INDIAN)
    assert (
        "\nto clear: deposit 1,23,456.80 USDT\n"
        in render(firing(remedies=(DEPOSIT,)), show=show).body
    )


@pytest.mark.parametrize("fmt", Format)
@pytest.mark.parametrize(
    "item",
    [
        pytest.param(firing(remedies=(DEPOSIT,)), id="firing"),
        pytest.param(repeated(firing(remedies=(DEPOSIT,)), "261.48"), id="repeat"),
        pytest.param(
            firing(remedies=(DEPOSIT,), reason="eased", previous_severity="critical"), id="eased"
        ),
        pytest.param(firing(remedies=(DEPOSIT,), value="270"), id="between-line-and-clear"),
    ],
)
def test_it_stands_under_how_bad_it_is(fmt, item):
    """Once in each part, and before the rule's own words and since when."""
    message = render(item, fmt=fmt)
    for text in filter(None, (message.body, message.html)):
        assert text.count("to clear: deposit 123456.80 USDT") == 1
        assert text.index("clears at") < text.index("to clear:") < text.index("firing since")
    plain = Renderer(overrides=None).plain(
        notification_of(item), fmt, maybe_repeat=False, now=NOW, error="x"
    )
    assert "clears at 300; to clear: deposit 123456.80 USDT; firing since" in plain.body


@pytest.mark.parametrize("fmt", Format)
def test_of_several_each_has_its_own(fmt):
    second = ratio(remedies=(MARGIN, REDUCE))
    body = render(firing(remedies=(DEPOSIT,)), second, fmt=fmt).body
    first, _, rest = body.partition("to clear: deposit 123456.80 USDT")
    assert first
    assert rest.count("to clear: add 61.20 USDT margin, or close 31 %") == 1


@pytest.mark.parametrize("fmt", Format)
@pytest.mark.parametrize("why", ["clear", "gone", "rule removed"])
def test_what_is_over_needs_nothing(fmt, why):
    """Whatever a document of the outbox says."""
    message = render(over(firing(remedies=(DEPOSIT,)), why), fmt=fmt)
    assert "clear:" not in f"{message.body} {message.html}"


@pytest.mark.parametrize("fmt", Format)
def test_where_nothing_clears_it_nothing_is_said(fmt):
    message = render(firing(), fmt=fmt)
    assert "to clear" not in f"{message.body} {message.html}"


def test_where_there_is_room_for_little_it_is_left_out_with_its_alert():
    item = firing(remedies=(DEPOSIT,))
    body = render(item, room=Room(title=0, total=100)).body
    assert "to clear" not in body
    assert item.alert.id in body


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("fmt", [Format.CHAT, Format.DISCORD, Format.TELEGRAM, Format.EMAIL])
def test_an_assets_name_stays_text(fmt, text):
    """It comes from the exchange: as harmless in the remedy as in its label."""
    item = firing(remedies=(replace(DEPOSIT, unit=text),), annotations={}, labels={})
    message = render(item, fmt=fmt)
    label = render(firing(labels={"account": f"USDT {text}"}, annotations={}), fmt=fmt)
    if fmt is Format.EMAIL:
        assert f"deposit 123456.80 {text}" in message.body
        assert "<!" not in message.html.replace("<!DOCTYPE html>", "")
        return
    safe = message.body.partition("123456.80 ")[2].partition("\n")[0]
    assert safe
    assert safe in label.body or fmt is Format.TELEGRAM  # there a label is set as code
    assert not (fmt is Format.TELEGRAM and "<" in safe.replace("<code>", "").replace("</code>", ""))
