"""A message fits the very service, by leaving out whole alerts."""

from __future__ import annotations

import pytest
from apprise.manager_plugins import NotificationManager

from alerting.messages.formats import SERVICES, Format, Room, format_of
from alerting.messages.rendering import Renderer
from tests.support.messages import HOSTILE, NOW, firing, notification_of


def rooms():
    """(title, total) of every service that Apprise knows, each once; some depend on the URL."""
    limits = [(each.title_maxlen, each.body_maxlen) for each in NotificationManager().plugins()]
    known = {pair for pair in limits if all(isinstance(limit, int) for limit in pair)}
    return sorted({(max(0, title), total) for title, total in known})


def alerts(count):
    summary = "{{ value | money }} {{ base_asset }} left, " + "and much more to say " * 20
    return [
        firing(
            rule=f"rule-{n}-with-a-name-of-some-length",
            labels={"account": "main", "symbol": f"SYM{n}USDT"},
            annotations={"summary": summary},
        )
        for n in range(count)
    ]


def size(message):
    """As Apprise counts: the title goes before the body."""
    return len(message.title) + (2 if message.title else 0) + len(message.body)


def render(told, fmt, room, *, plain=False, maybe_repeat=False):
    renderer = Renderer(overrides=None)
    make = renderer.plain if plain else renderer.render
    return make(told, fmt, maybe_repeat=maybe_repeat, now=NOW, room=room)


def test_services_differ_widely():
    totals = [total for _, total in rooms()]
    assert min(totals) <= 160
    assert max(totals) >= 30_000


@pytest.mark.parametrize("plain", [False, True], ids=["templates", "built-in"])
@pytest.mark.parametrize("count", [1, 7, 40])
@pytest.mark.parametrize("fmt", [Format.TEXT, Format.CHAT, Format.DISCORD])
def test_each_service_gets_what_it_takes_with_the_worst_alert_and_its_id(fmt, count, plain):
    told = notification_of(*alerts(count))
    worst = told.items[0].alert
    for title, total in rooms():
        message = render(told, fmt, Room(title=title, total=total), plain=plain)
        text = message.title + message.body

        assert size(message) <= total
        assert not title or len(message.title) <= title
        assert worst.id in text
        assert "CRITICAL" in text
        assert worst.rule[:6] in text


def test_seven_alerts_in_a_thousand_characters_are_named_with_their_ids():
    told = notification_of(*alerts(7))
    message = render(told, Format.TEXT, Room(title=0, total=1000))
    named = [n for n in range(7) if f"rule-{n}-" in message.body]

    assert len(named) >= 2
    assert named == list(range(len(named)))
    assert message.body.count(f"id {told.items[0].alert.id}") == len(named)
    assert f"and {7 - len(named)} more" in message.body


def test_an_sms_has_the_worst_with_its_id_and_says_how_many_more():
    told = notification_of(*alerts(7))
    message = render(told, Format.CHAT, Room(title=0, total=140))
    assert message.title == ""
    assert message.body.startswith("CRITICAL rule-0-with-a-name-of-some-length")
    assert told.items[0].alert.id in message.body
    assert "more" in message.body.splitlines()[-1]


@pytest.mark.parametrize("total", [20, 30, 40, 60, 100])
def test_the_name_is_cut_before_the_id_is(total):
    told = notification_of(*alerts(3))
    message = render(told, Format.TEXT, Room(title=0, total=total))
    assert told.items[0].alert.id in message.body
    assert len(message.body) <= total


def test_a_possible_repeat_says_so_in_an_sms():
    told = notification_of(*alerts(2))
    message = render(told, Format.TEXT, Room(title=0, total=160), maybe_repeat=True)
    assert "possible repeat" in message.body


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_fit_too(text):
    told = notification_of(firing(labels={"account": text, "symbol": text}), *alerts(3))
    for fmt in (Format.TEXT, Format.CHAT, Format.DISCORD):
        for room in (Room(title=0, total=140), Room(title=100, total=1000)):
            message = render(told, fmt, room)
            assert size(message) <= room.total
            assert told.items[0].alert.id in message.title + message.body


def test_a_service_with_much_room_gets_what_its_format_allows():
    told = notification_of(*alerts(7))
    roomy = Room(title=250, total=10**6)
    assert render(told, Format.TEXT, roomy) == render(told, Format.TEXT, None)
    assert SERVICES[format_of("json")].limit < roomy.total


@pytest.mark.parametrize("count", [1, 7, 200])
@pytest.mark.parametrize("plain", [False, True], ids=["templates", "built-in"])
def test_telegram_has_its_title_in_the_body(count, plain):
    told = notification_of(*alerts(count))
    message = render(told, Format.TELEGRAM, Room(title=0, total=4096), plain=plain)
    assert len(message.body) <= 4096
    assert told.items[0].alert.id in message.body
