from __future__ import annotations

import json
from decimal import Decimal

import pytest

from alerting.engine.snapshot import FailureKind
from alerting.exchanges.strict_json import (
    Ambiguous,
    AnswerError,
    JsonNumber,
    amount,
    dumps,
    loads,
    loads_marked,
    loads_whole,
    parse,
    refuse_twice,
    shown,
)


def test_loads_keeps_numbers_as_written():
    assert loads("[1.10, 1e5, -0]") == ["1.10", "1e5", "-0"]
    assert isinstance(loads("1"), JsonNumber)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        pytest.param("NaN", FailureKind.NOT_JSON, "it holds a bare NaN", id="NaN"),
        pytest.param('{"a": 1, "a": 2}', FailureKind.WRONG_SHAPE, 'names "a" twice', id="twice"),
        pytest.param("[" * 100_000, FailureKind.WRONG_SHAPE, "nested too deeply", id="deep"),
        pytest.param(" ", FailureKind.NOT_JSON, "the answer is empty", id="empty"),
        pytest.param("<html>", FailureKind.NOT_JSON, "an HTML page", id="html"),
    ],
)
def test_what_is_not_strict_is_refused(text, kind, words):
    with pytest.raises(AnswerError, match=words) as caught:
        loads(text)
    assert caught.value.kind is kind


def test_a_key_that_stands_twice_spoils_only_its_own_value():
    found = loads_marked('{"a": {"b": 1, "c": 2, "b": 1}, "d": [3]}')
    assert found == {"a": {"b": Ambiguous.TWICE, "c": "2"}, "d": ["3"]}
    refuse_twice(found)
    with pytest.raises(AnswerError, match='names "b" twice'):
        refuse_twice(found["a"])


def test_the_caller_decides_what_a_pair_of_twins_is():
    assert parse('{"a": 1, "a": 2}', pairs=list) == [("a", "1"), ("a", "2")]
    with pytest.raises(json.JSONDecodeError):
        parse("[", pairs=dict)


def test_an_amount_is_exact_or_none_at_all():
    assert amount(None) is None
    assert amount(JsonNumber("1.10")) == Decimal("1.10")
    assert str(amount("-0.00")) == "0.00"
    for value in (1.5, True, "1_0", "1e31", "", []):
        with pytest.raises(ValueError, match=r"is not a number|is out of range"):
            amount(value)


def test_values_are_shown_as_they_would_be_written():
    values = [JsonNumber("1.0"), "x", None, True, [1], {"a": 1}, 1.5, Ambiguous.TWICE]
    expected = ["1.0", '"x"', "null", "true", "a list", "an object", "float"]
    expected += ["something named twice"]
    assert [shown(value) for value in values] == expected


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "[1, 1.50, -0, 1e5, 123456789012345678901234567890.10]",
        '{"a": "1", "a": 2, "b": [true, false, {"c": {}}], "": []}',
        '"\\ud800 \\u0000 \\" ü 🚀"',
    ],
)
def test_what_was_read_whole_is_written_as_it_was(text):
    written = dumps(loads_whole(text))
    assert written.replace(" ", "") == dumps(loads_whole(written)).replace(" ", "")
    assert json.loads(written, parse_float=str, object_pairs_hook=list) == json.loads(
        text, parse_float=str, object_pairs_hook=list
    )


def test_what_is_nested_too_deeply_is_neither_read_nor_written():
    deep: object = []
    for _ in range(5000):
        deep = [deep]
    for action in (lambda: dumps(deep), lambda: loads_whole("[" * 100_000)):
        with pytest.raises(AnswerError, match="the answer is nested too deeply"):
            action()
