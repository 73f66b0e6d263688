"""The built-in text: as many rows as there is room for, found in a few tries."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.messages import plain
from alerting.messages.formats import SERVICES, Format, Room

words = st.text(st.characters(categories=("L", "P", "S")), max_size=30)


@given(rows=st.lists(words, max_size=12), title=words, total=st.integers(1, 200))
def test_no_more_rows_would_fit(rows, title, total):
    room = Room(title=0, total=total)

    def with_rows(kept):
        left_out = [f"and {len(rows) - kept} more"] if kept < len(rows) else []
        return "\n".join([*rows[:kept], *left_out])

    fitting = [n for n in range(1, len(rows) + 1) if room.holds(title, with_rows(n))]
    text = plain.as_many_as_fit(rows, title, Format.TEXT, room)
    assert text == (with_rows(max(fitting)) if fitting else None)


@pytest.mark.parametrize("fmt", list(Format))
def test_without_a_known_room_the_limit_of_the_service_counts(fmt):
    limit = SERVICES[fmt].limit
    text = plain.as_many_as_fit(["a row"] * limit, "", fmt, None)
    assert text.endswith(" more")
    assert limit - 10 <= SERVICES[fmt].size(text) <= limit


@given(most=st.integers(1, 400), count=st.integers(1, 8))
def test_in_little_room_the_most_alerts_are_named(most, count):
    alerts = [
        {"status": "CRITICAL", "name": f"floor-{n}", "short": f"floor-{n} 241.07 (< 500)"}
        | {"rule": "floor", "id": f"k3x7ab{n}"}
        for n in range(count)
    ]
    context = {"alerts": alerts, "count": count, "maybe_repeat": False}
    text = plain.brief(context, Format.TEXT, most)
    assert len(text) <= most
    named = sum(alert["id"] in text for alert in alerts)
    if named < count and named:
        one_more = "\n".join(f"CRITICAL {a['name']} {a['id']}" for a in alerts[: named + 1])
        one_more += f"\nand {count - named - 1} more" if named + 1 < count else ""
        assert len(one_more) > most


def test_thousands_of_rows_are_not_tried_one_by_one(monkeypatch):
    tried = []
    service = SERVICES[Format.TEXT]
    counting = replace(service, size=lambda text: tried.append(text) or service.size(text))
    monkeypatch.setitem(SERVICES, Format.TEXT, counting)
    assert plain.as_many_as_fit(["x" * 100] * 4000, "", Format.TEXT, None)
    assert len(tried) < 20
