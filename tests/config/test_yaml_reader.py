"""Strict YAML: what is read, what is refused, and where it stands."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.config.yaml_reader import MAX_BYTES, Number, Spot, read_bytes, read_yaml


def read(text, **kwargs):
    return read_yaml(text, file="f", **kwargs)


def problems(text):
    return [str(problem) for problem in read(text).problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1000", {"a": Decimal(1000)}),
        ("a: 10_000", {"a": Decimal(10000)}),
        ("a: -0.5", {"a": Decimal("-0.5")}),
        ("a: +5", {"a": Decimal(5)}),
        ("a: 0.123456789012345678901234567890", {"a": Decimal("0.123456789012345678901234567890")}),
        ("a: true", {"a": True}),
        ("a: false", {"a": False}),
        ("a: null", {"a": None}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: 20%", {"a": "20%"}),
        ("a: 15s", {"a": "15s"}),
        ("a: 20/60s", {"a": "20/60s"}),
        ("a: 1,000", {"a": "1,000"}),
        ("a: total_balance - 1", {"a": "total_balance - 1"}),
        ("a: ${NAME}", {"a": "${NAME}"}),
        ("a: '010'", {"a": "010"}),
        ('a: "on"', {"a": "on"}),
        ("a: '12:30'", {"a": "12:30"}),
        ("'on': 1", {"on": Decimal(1)}),
        ("a: [1, [b, {c: d}]]", {"a": [Decimal(1), ["b", {"c": "d"}]]}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("a: >-\n  x\n  y\n", {"a": "x y"}),
        ("\ufeffa: b", {"a": "b"}),
        ("# only a comment", None),
        ("", None),
        ("---\na: b\n...\n", {"a": "b"}),
        ("on_call: b", {"on_call": "b"}),
        ("a: {}", {"a": {}}),
    ],
)
def test_it_reads(text, expected):
    document = read(text)
    assert document.problems == ()
    assert expected == document.data


def test_a_number_remembers_its_text():
    number = read("a: 10_000.50").data["a"]
    assert isinstance(number, Number)
    assert (number.text, str(number)) == ("10_000.50", "10000.50")


AMBIGUOUS = [
    *[(word, "write true, or put it in quotes") for word in ("on", "On", "ON", "yes", "Yes", "y", "Y")],
    *[(word, "write false, or put it in quotes") for word in ("off", "OFF", "no", "No", "n", "N")],
    *[(word, "must be written in lower case") for word in ("True", "TRUE", "False", "Null", "NULL")],
    *[(word, "base 60") for word in ("12:30", "1:30:00", "-1:05", "190:20:30.15")],
    *[(word, "leading zeros") for word in ("010", "007", "-010", "00", "01.5", "0_1")],
    *[(word, "decimal number") for word in ("0x1F", "0o17", "0b11", "-0xff")],
    *[(word, "exponent") for word in ("1e3", "1.5E+3", "1e-7", ".5e3", "-1E3")],
    *[(word, "not a number that") for word in (".inf", "-.INF", "+.Inf", ".nan", ".NaN")],
    *[(word, "reads a date") for word in ("2026-01-01", "2026-1-1", "2026-01-01T00:00:00Z", "2026-01-01 10:00:00")],
    *[(word, "write 0.5 or 10_000") for word in (".5", "5.", "1__0", "1_", "-.5", "+1.")],
    ("=", "a meaning of its own"),
    ("<<", "a meaning of its own"),
    ("9" * 29, "too many digits"),
    ("0." + "1" * 31, "too many digits"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("word", "advice"), [pytest.param(*row, id=row[0][:20]) for row in AMBIGUOUS]
)
def test_it_refuses_what_yaml_versions_read_differently(word, advice):
    (problem,) = read(f"k:\n  - {word}\n").problems
    assert (2, 5, "k.0") == (problem.line, problem.column, problem.path)
    assert problem.message.startswith(repr(word))
    assert advice in problem.message
    assert read(f"k: '{word}'").problems == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a: 1\nb: 2\na: {c: [3]}\nd: on\n",
                     ["f:3:1: a: is set twice; first at line 1, column 1",
                      "f:4:4: d: 'on' is ambiguous; write true, or put it in quotes"], id="duplicate"),
        pytest.param("on: [1]\n1: {a: b}\nnull: 2\nok: on\n",
                     ["f:1:1: 'on' is no name for a key; put it in quotes",
                      "f:2:1: '1' is no name for a key; put it in quotes",
                      "f:3:1: 'null' is no name for a key; put it in quotes",
                      "f:4:5: ok: 'on' is ambiguous; write true, or put it in quotes"], id="keys"),
        pytest.param("? [a, {b: c}]\n: 1\nd: no\n",
                     ["f:1:3: a key must be a plain name, with nothing but text in it",
                      "f:3:4: d: 'no' is ambiguous; write false, or put it in quotes"], id="list-as-key"),
        pytest.param("a:\n  <<: {b: c}\n", ["f:2:3: a: merge keys (<<) are not supported; write the keys out"], id="merge"),
        pytest.param("a: &x 1\nb: *x\n",
                     ["f:1:4: a: anchors (&) are not supported; for a text, put it in quotes",
                      "f:2:4: b: aliases (*) are not supported; for a text, put it in quotes"], id="anchor"),
        pytest.param("&x a: 1\n!t b: 2\n",
                     ["f:1:1: anchors (&) and tags (!) are not supported",
                      "f:2:1: anchors (&) and tags (!) are not supported"], id="anchored-keys"),
        pytest.param("a: !!int 5\nb: !x {c: d}\nc: ! 5\n",
                     ["f:1:4: a: tags (!) are not supported; for a text, put it in quotes",
                      "f:2:4: b: tags (!) are not supported; for a text, put it in quotes",
                      "f:3:4: c: tags (!) are not supported; for a text, put it in quotes"], id="tags"),
        pytest.param("a: 1\n---\nb: 2\n", ["f:2:1: holds several documents (`---`); write one"], id="documents"),
        pytest.param("a:\n\tb: 1\n", ["f:2:1: is not YAML: a tab cannot be used to indent; use spaces"], id="tab"),
        pytest.param("a: 1\nb: 'c\n", ["f:2:4: is not YAML: the quote or bracket is never closed"], id="quote"),
        pytest.param("a: 1\nb: [c\n", ["f:2:4: is not YAML: the quote or bracket is never closed"], id="bracket"),
        pytest.param("a: b: c", ["f:1:5: is not YAML: a key cannot stand here; check the indentation"], id="two-colons"),
        pytest.param("a: @b", ["f:1:4: is not YAML: this character cannot start a text; put the text in quotes"], id="at"),
        pytest.param("- a\nb: 1", ["f:2:1: is not YAML: this does not fit what is around it; check the indentation"], id="mixed"),
        pytest.param("a: [1 2: 3]]\n", ["f:1:12: is not YAML: this does not fit what is around it; check the indentation"], id="bracket-too-many"),
        pytest.param('a: "\\q"', ["f:1:6: is not YAML: unknown escape; use single quotes for a text with a backslash"], id="escape"),
        pytest.param('a: "\\UFFFFFFFF"', ["f:1:1: an escape in a quoted text is no character"], id="no-character"),
        pytest.param('a: "\\ud800"', ["f:1:4: a: an escape in it is half a character (a surrogate)"], id="surrogate"),
        pytest.param("a: 1\nb: \x01", ["f:2:4: the character '\\x01' is not allowed"], id="control-character"),
        pytest.param("%YAML 3.0\n---\na: 1", ["f:1:1: is not YAML here; check the indentation, the quotes and the brackets"], id="directive"),
        pytest.param("[" * 500_000, ["f:1:22: is nested more than 20 deep"], id="depth-bomb"),
        pytest.param("a: 1\na: " + "[" * 500, ["f:2:24: is nested more than 20 deep"], id="depth-bomb-under-a-duplicate"),
        pytest.param("? " + "[" * 500, ["f:1:23: is nested more than 20 deep"], id="depth-bomb-as-key"),
        pytest.param("a" * (MAX_BYTES + 1), ["f:1:1: is 1048577 characters long; at most 1048576 are read"], id="size"),
    ],
)  # fmt: skip
def test_it_refuses(text, expected):
    assert expected == problems(text)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"\xef\xbb\xbfa: b", []),
        ("a: é".encode(), []),
        ("a: é".encode("latin-1"), ["f:1:4: is not UTF-8; save it as UTF-8"]),
        (b"\xef\xbb\xbfa: 1\nb: \xe9", ["f:2:4: is not UTF-8; save it as UTF-8"]),
        ("a: b".encode("utf-16"), ["f:1:1: is not UTF-8; save it as UTF-8"]),
        (b"a" * (MAX_BYTES + 1), ["f:1:1: is 1048577 bytes long; at most 1048576 are read"]),
    ],
)  # fmt: skip
def test_it_reads_bytes(raw, expected):
    assert expected == [str(problem) for problem in read_bytes(raw, file="f").problems]


def test_secret_values_are_not_quoted():
    text = "k: 0777\nl: *hunter2\nm: &hunter2 a\nn: !hunter2 a\no: {1: 0888}\np: 0999\n"
    document = read(text, secret=lambda path: path[:1] != ("p",))
    assert len(document.problems) == 6
    shown = "\n".join(map(str, document.problems))
    assert not any(part in shown for part in ("0777", "hunter2", "0888"))
    assert "'0999'" in shown


@pytest.mark.parametrize("text", ["k: !hunter2!x a", "k: [hunter2", "k: 'hunter2", "k: hunter2: b",
                                  "k: %hunter2", "k: `hunter2", 'k: "hunter2\\q"', "hunter2\nk: b"])  # fmt: skip
def test_syntax_errors_quote_nothing_of_the_file(text):
    (problem,) = problems(text)
    assert "hunter2" not in problem


def test_long_texts_and_urls_are_shortened():
    shown = problems(f"a: 1\n{'k' * 100}: 1\n{'k' * 100}: 2\n")
    assert shown == [f"f:3:1: {'k' * 57}...: is set twice; first at line 2, column 1"]
    assert problems('"slack://tok/en": 1\n"slack://tok/en": 2') == [
        "f:2:1: slack://...: is set twice; first at line 1, column 1"
    ]


def test_places_of_keys_and_values():
    document = read("a: 1\nb:\n  - c: x\n    d: y\n  -   z\n")
    assert document.key(("b", 0, "d")) == Spot(4, 5)
    assert document.value(("b", 0, "d")) == Spot(4, 8)
    assert document.key(("b", 1)) == document.value(("b", 1)) == Spot(5, 7)
    assert document.value(("b", 0)) == Spot(3, 5)
    assert document.value(("b", 0, "missing", "deeper")) == Spot(3, 5)
    assert document.value(()) == Spot(1, 1)
    assert read("").value(("a",)) == Spot(1, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("k: x + Y", Spot(1, 8), id="plain"),
        pytest.param("k: 'x + Y'", Spot(1, 9), id="single-quotes"),
        pytest.param('k: "é + Y"', Spot(1, 9), id="double-quotes-and-not-ascii"),
        pytest.param("k: |\n  x\n  + Y\n", Spot(3, 5), id="literal"),
        pytest.param("k: >- # why\n\n  x\n  + Y\n", Spot(4, 5), id="folded"),
        pytest.param("k: x\n  + Y\n", Spot(2, 5), id="plain-on-two-lines"),
        pytest.param("k: x\r\n  + Y\r\n", Spot(2, 5), id="windows-lines"),
        pytest.param('k: "x\\t+ Y"', Spot(1, 4), id="escapes-give-the-start"),
        pytest.param("k: 'it''s + Y'", Spot(1, 4), id="doubled-quotes-give-the-start"),
    ],
)
def test_the_place_of_a_character(text, expected):
    document = read(text)
    assert expected == document.character(("k",), document.data["k"].index("Y"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("k: x +  # c", Spot(1, 7)), ("k: 'x + '", Spot(1, 8)), ("k: |\n  x +\n\nl: m\n", Spot(2, 6))],
)
def test_the_place_of_the_end(text, expected):
    document = read(text)
    assert expected == document.character(("k",), len(document.data["k"]))


def test_a_character_of_no_text_is_where_the_value_is():
    assert read("k: [a]").character(("k",), 3) == Spot(1, 4)


_BITS = st.sampled_from(
    ["a", "b: ", ": ", "- ", "\n", "  ", "[", "]", "{", "}", ",", "'", '"', "|\n", ">-\n", "&x ",
     "*x", "!t ", "!!int ", "<<", "? ", "#", "%", "@", "`", "\\x41", "\\ud800", "\t", "---\n",
     "...\n", "1e3", "010", "on", "~", "0", "1_0", "é", "\ufeff", "\x85", "\u2028", "😀", "\0"]
)  # fmt: skip


@given(st.one_of(st.text(max_size=80), st.lists(_BITS, max_size=30).map("".join)))
def test_any_text_gives_data_or_problems(text):
    document = read(text)
    for problem in document.problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert "\n" not in str(problem)


@given(st.binary(max_size=80))
def test_any_bytes_give_data_or_problems(raw):
    read_bytes(raw, file="f")
