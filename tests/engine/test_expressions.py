"""The language of `value` and `when`."""

from __future__ import annotations

import ast
import decimal
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alerting.engine import expressions
from alerting.engine.expression_text import ExpressionError
from alerting.engine.expressions import Expression, Kind, compile_expression
from alerting.units import EXACT

D = Decimal
NAMES = ("total_balance", "total_available_balance", "margin_ratio", "a", "b")
ELSEWHERE = {"concentration": "symbol", "poll_failures": "account"}
NUMBER, CONDITION = Kind.NUMBER, Kind.CONDITION


def compiled(text, kind=NUMBER):
    return compile_expression(text, kind=kind, names=NAMES, elsewhere=ELSEWHERE)


def value(text, kind=NUMBER, **values):
    with decimal.localcontext(EXACT):
        return compiled(text, kind).evaluate(values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", "8"),
        ("1000", "1000"),
        ("10_000", "10000"),
        ("0.25", "0.25"),
        ("0.10", "0.10"),
        ("a + b * 2", "12"),
        ("(a + b) * 2", "20"),
        ("a - b - 1", "5"),
        ("a / b / 2", "2"),
        ("-a + +b", "-6"),
        ("--a", "8"),
        ("abs(-a)", "8"),
        ("min(a, b, 5)", "2"),
        ("max(a, b)", "8"),
        ("max(a, b,)", "8"),
        ("  a\n  -\r\n\tb ", "6"),
        ("a-1", "7"),
        ("a/0.5", "16"),
    ],
)
def test_it_computes_numbers(text, expected):
    assert str(value(text, a=D(8), b=D(2))) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a > 7", True),
        ("a > 8", False),
        ("a >= 8", True),
        ("a < 8", False),
        ("a <= 8", True),
        ("a == 8.0", True),
        ("a != 8", False),
        ("1 < b < a", True),
        ("1 < a < b", False),
        ("a > 1 and b > 1", True),
        ("a > 1 and b > 2", False),
        ("a > 9 or b > 1", True),
        ("a > 9 or b > 2", False),
        ("not a > 9", True),
        ("not (a > 1 or b > 1) or a - b == 6", True),
    ],
)
def test_it_judges_conditions(text, expected):
    assert value(text, CONDITION, a=D(8), b=D(2)) is expected


T, F, N = "0 < 1", "1 < 0", "a > 0"  # N has no value where `a` has none


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"({T}) and ({N})", None),
        (f"({N}) and ({T})", None),
        (f"({F}) and ({N})", False),
        (f"({N}) and ({F})", False),
        (f"({N}) and ({N})", None),
        (f"({T}) or ({N})", True),
        (f"({N}) or ({T})", True),
        (f"({F}) or ({N})", None),
        (f"({N}) or ({F})", None),
        (f"not ({N})", None),
        ("0 < 1 < a", None),
        ("1 < 0 < a", False),
        ("0 < 1 or 1 / b > 0", True),
        ("1 / b > 0 or 0 < 1", True),
        ("1 < 0 and 1 / b > 0", False),
    ],
)
def test_logic_is_three_valued(text, expected):
    assert value(text, CONDITION, a=None, b=D(0)) is expected


@pytest.mark.parametrize(
    "text",
    ["a", "-a", "+a", "a + 1", "1 + a", "abs(a)", "min(a, 1)", "max(1, a)", "1 / b", "b / b",
     "margin_ratio", "9 / (b * 2)", "total_balance * total_balance"],
)  # fmt: skip
def test_what_cannot_be_computed_has_no_value(text):
    """A missing name, a division by zero, an overflow."""
    assert value(text, a=None, b=D(0), total_balance=D("1e600000")) is None


def test_a_value_that_is_no_number_gives_no_value():
    assert value("a > 1", CONDITION, a=D("sNaN")) is None


def test_sums_keep_every_digit():
    total = value("a + b", a=D("123456789012.123456789012345678"), b=D("0.000000000000000001"))
    assert str(total) == "123456789012.123456789012345679"


def test_literals_are_decimal_from_the_text():
    assert value("a * 1.1", a=D(3)) == D("3.3")
    assert value("0.1 + 0.2 == 0.3", CONDITION) is True
    assert value("0.1234567890123456789012345678") == D("0.1234567890123456789012345678")


def test_an_expression_knows_its_names_and_equals_its_text():
    first = compiled("a + min(b, a)")
    assert first.names == {"a", "b"}
    assert first.kind is NUMBER
    assert first == compiled("a + min(b, a)")
    assert hash(first) == hash(compiled("a + min(b, a)"))
    assert first != compiled("a + min(b,a)")
    assert isinstance(first, Expression)
    assert repr(first).startswith("Expression(text='a + min(b, a)'")


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("1000", NUMBER, D(1000)),
        ("max(1, 2) * 3", NUMBER, D(6)),
        ("a * 0", NUMBER, None),
        ("1 / (1 - 1)", NUMBER, None),
        ("1 > 2", CONDITION, False),
        ("a > 1 or 2 > 1", CONDITION, True),
        ("a > 1 and 1 > 2", CONDITION, False),
        ("a > 1 or 1 > 2", CONDITION, None),
        ("a > 1 and 2 > 1", CONDITION, None),
        ("not a > 1", CONDITION, None),
    ],
)
def test_an_expression_knows_whether_it_is_constant(text, kind, expected):
    with decimal.localcontext(EXACT):
        assert compiled(text, kind).constant() == expected


def test_an_expression_knows_what_its_names_are_compared_with():
    text = "a > 0.5 and 1 < b <= 2.50 and a + 1 > 3 and a > b and 1 > 2 and a > -1"
    assert compiled(text, CONDITION).compared == (
        ("a", D("0.5"), 4),
        ("b", D(1), 12),
        ("b", D("2.50"), 21),
    )
    assert compiled("a").compared == ()


LOOKING_BACK = [
    # text, keys that it reads, expressions that it looks back on
    ("ago(a, 1h)", ["ago(a, 1h)"], ["a"]),
    ("delta(a, 90m)", ["ago(a, 1h30m)"], ["a"]),
    ("min_over_time(a+b,7d)", ["min_over_time(a + b, 7d)"], ["a + b"]),
    ("max_over_time( a\n+b , 1d )", ["max_over_time(a + b, 1d)"], ["a + b"]),
    ("avg_over_time(max(a, 1_0), 500ms)", ["avg_over_time(max ( a , 1_0 ), 500ms)"], ["max ( a , 1_0 )"]),
    ("predict_linear(a, 30m, 1h)", ["predict_linear(a, 30m, 1h)"], ["a"]),
    ("predict_linear(a, 30m, 0s)", ["predict_linear(a, 30m, 0s)"], ["a"]),
    ("  ago(a, 1h) - ago(b, 1h) + ago( a,1h )", ["ago(a, 1h)", "ago(b, 1h)"], ["a", "b"]),
    ("a / max_over_time(a, 1d)", ["max_over_time(a, 1d)"], ["a"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "keys", "watched"), LOOKING_BACK)
def test_a_function_over_time_is_read_from_the_values_as_a_name_is(text, keys, watched):
    expression = compiled(text)

    assert [call.key for call in expression.looks_back] == keys
    assert list(dict.fromkeys(call.watched.text for call in expression.looks_back)) == watched
    known = {"a": D(6), "b": D(2), **dict.fromkeys(keys, D(2))}
    with decimal.localcontext(EXACT):
        assert isinstance(expression.evaluate(known), Decimal)
        assert expression.evaluate({**known, keys[0]: None}) is None
        assert expression.constant() is None


def test_delta_is_what_is_now_less_what_was():
    with decimal.localcontext(EXACT):
        assert compiled("delta(a - b, 1h)").evaluate(
            {"a": D(9), "b": D(2), "ago(a - b, 1h)": D(4)}
        ) == D(3)
        assert compiled("delta(a / b, 1h)").evaluate({"b": D(0), "ago(a / b, 1h)": D(4)}) is None


def test_a_condition_may_look_back_and_its_names_are_the_rules():
    expression = compiled("delta(a, 1h) < 0 and total_balance > ago(b, 1d)", CONDITION)

    assert expression.names == {"a", "b", "total_balance"}
    assert [call.watched.names for call in expression.looks_back] == [{"a"}, {"b"}]
    with decimal.localcontext(EXACT):
        values = {"a": D(1), "ago(a, 1h)": D(2), "total_balance": D(5), "ago(b, 1d)": D(4)}
        assert expression.evaluate(values) is True


def test_what_is_looked_back_on_has_no_value_where_it_cannot_be_computed():
    (call,) = compiled("ago(abs(a) + a * b, 1h)").looks_back
    with decimal.localcontext(EXACT):
        assert call.watched.value({"a": D(-2), "b": D(3)}) == D(-4)
        assert call.watched.value({"a": D(-2)}) is None
    (call,) = compiled("ago(max(a, b), 1h)").looks_back
    assert call.watched.value({"a": D("sNaN"), "b": D(1)}) is None


NOT_ALLOWED = (
    "allowed are numbers, names, + - * /, comparisons, and or not, abs min max ago delta "
    "min_over_time max_over_time avg_over_time predict_linear, parentheses"
)
FUNCTIONS = (
    "there are abs, min, max, ago, delta, min_over_time, max_over_time, avg_over_time, "
    "predict_linear"
)
TOO_EARLY = "ends too early; a number or a name is missing"
NO_NUMBER = "is not a number here; write 1000, 10_000 or 0.25"
A_DURATION = "is a duration; one stands only where ago(total_balance, 1h) has it"
NEEDS_CONDITION = "a condition is needed here, such as total_balance > 0; this is a number"

FAULTS = [
    # text, kind, offset, message
    ("", NUMBER, 0, "is empty"),
    (" \n", NUMBER, 0, "is empty"),
    ("a +", NUMBER, 3, TOO_EARLY),
    ("  a +  ", NUMBER, 7, TOO_EARLY),
    ("a or", CONDITION, 4, TOO_EARLY),
    ("not", CONDITION, 3, TOO_EARLY),
    ("(a + b", NUMBER, 0, "this parenthesis is never closed"),
    ("a)", NUMBER, 1, "this parenthesis was never opened"),
    ("a b", NUMBER, 2, "'b' is not expected here"),
    ("  a b", NUMBER, 4, "'b' is not expected here"),
    ("(a b)", NUMBER, 1, "an operator is missing after 'a'"),
    ("a > > b", CONDITION, 4, "'>' is not expected here"),
    ("a = 1", CONDITION, 2, "'=' is not allowed; did you mean ==?"),
    ("(a := 1)", NUMBER, 3, "':=' is not allowed; did you mean ==?"),
    ("a =< 1", CONDITION, 2, "'=<' is not allowed; did you mean <=?"),
    ("a <> 1", CONDITION, 2, "'<>' is not allowed; did you mean !=?"),
    ("a > 1 && b > 1", CONDITION, 6, "'&&' is not allowed; did you mean `and`?"),
    ("a > 20%", CONDITION, 6, "'%' is not allowed; write 0.20 for 20%"),
    ("9**9**9", NUMBER, 1, f"'**' is not allowed; {NOT_ALLOWED}"),
    ("a // 2", NUMBER, 2, f"'//' is not allowed; {NOT_ALLOWED}"),
    ("a # b", NUMBER, 2, f"'#' is not allowed; {NOT_ALLOWED}"),
    ("a.__class__", NUMBER, 1, f"'.' is not allowed; {NOT_ALLOWED}"),
    ("().__class__.__mro__[1]", NUMBER, 2, f"'.' is not allowed; {NOT_ALLOWED}"),
    ("a[0]", NUMBER, 1, f"'[' is not allowed; {NOT_ALLOWED}"),
    ("lambda: a", NUMBER, 6, f"':' is not allowed; {NOT_ALLOWED}"),
    ("'a'", NUMBER, 0, f'"\'" is not allowed; {NOT_ALLOWED}'),
    ("'a' * 2", NUMBER, 0, f'"\'" is not allowed; {NOT_ALLOWED}'),
    ('f"{a}"', NUMBER, 1, f"'\"' is not allowed; {NOT_ALLOWED}"),
    ("min(a, key=b)", NUMBER, 10, "'=' is not allowed; did you mean ==?"),
    ("min(*a, b)", NUMBER, 4, f"'*a' is not allowed; {NOT_ALLOWED}"),
    ("min(**a)", NUMBER, 4, f"'**' is not allowed; {NOT_ALLOWED}"),
    ("~a", NUMBER, 0, f"'~' is not allowed; {NOT_ALLOWED}"),
    ("a\0", NUMBER, 1, f"'\\x00' is not allowed; {NOT_ALLOWED}"),
    ("a + 😀", NUMBER, 4, f"'😀' is not allowed; {NOT_ALLOWED}"),
    ("ａ", NUMBER, 0, f"'ａ' is not allowed; {NOT_ALLOWED}"),
    ("a + １", NUMBER, 4, f"'１' is not allowed; {NOT_ALLOWED}"),
    ("a\u00a0+ b", NUMBER, 1, "the character '\\xa0' is not allowed"),
    ("a \x0c+ b", NUMBER, 2, "the character '\\x0c' is not allowed"),
    ("a if b else a", NUMBER, 0, f"'a if b else a' is not allowed; {NOT_ALLOWED}"),
    ("a, b", NUMBER, 0, f"'a, b' is not allowed; {NOT_ALLOWED}"),
    ("()", NUMBER, 0, f"'()' is not allowed; {NOT_ALLOWED}"),
    ("(yield a)", NUMBER, 1, f"'yield a' is not allowed; {NOT_ALLOWED}"),
    ("await a", NUMBER, 0, f"'await a' is not allowed; {NOT_ALLOWED}"),
    ("abs(1)(2)", NUMBER, 0, f"'abs(1)(2)' is not allowed; {NOT_ALLOWED}"),
    (
        "a, total_balance, total_available_balance",
        NUMBER,
        0,
        f"'a, total_balance, total_available_bal...' is not allowed; {NOT_ALLOWED}",
    ),
    ("True", NUMBER, 0, f"'True' is not allowed; {NOT_ALLOWED}"),
    ("None", NUMBER, 0, f"'None' is not allowed; {NOT_ALLOWED}"),
    ("False", CONDITION, 0, f"'False' is not allowed; {NOT_ALLOWED}"),
    ("a in b", CONDITION, 0, "`in` and `is` are not allowed; compare with < <= > >= == !="),
    ("a is b", CONDITION, 0, "`in` and `is` are not allowed; compare with < <= > >= == !="),
    ("1e3", NUMBER, 0, f"'1e3' {NO_NUMBER}"),
    ("a + 0x10", NUMBER, 4, f"'0x10' {NO_NUMBER}"),
    ("010", NUMBER, 0, f"'010' {NO_NUMBER}"),
    ("00.5", NUMBER, 0, f"'00.5' {NO_NUMBER}"),
    (".5", NUMBER, 0, f"'.5' {NO_NUMBER}"),
    ("5.", NUMBER, 0, f"'5.' {NO_NUMBER}"),
    ("1j", NUMBER, 0, f"'1j' {NO_NUMBER}"),
    ("1__0", NUMBER, 0, f"'1__0' {NO_NUMBER}"),
    ("1if a else 2", NUMBER, 0, f"'1if' {NO_NUMBER}"),
    ("...", NUMBER, 0, f"'...' {NO_NUMBER}"),
    ("9" * 40, NUMBER, 0, f"the number {'9' * 40!r} has too many digits"),
    ("total_balanc", NUMBER, 0, "unknown name 'total_balanc'; did you mean 'total_balance'?"),
    ("a + zzz", NUMBER, 4, f"unknown name 'zzz'; known are {', '.join(NAMES)}"),
    ("  10_0 + zzz", NUMBER, 9, f"unknown name 'zzz'; known are {', '.join(NAMES)}"),
    ("a + concentration", NUMBER, 4, "'concentration' is a name of symbol rules only"),
    ("a + abs", NUMBER, 4, "abs is a function; write abs(...)"),
    ("mim(a, b)", NUMBER, 0, "unknown function 'mim'; did you mean min?"),
    ("eval(a)", NUMBER, 0, f"unknown function 'eval'; {FUNCTIONS}"),
    ("__import__(a)", NUMBER, 0, f"unknown function '__import__'; {FUNCTIONS}"),
    ("abs(a, b)", NUMBER, 0, "abs takes one number, not 2"),
    ("abs()", NUMBER, 0, "abs takes one number, not 0"),
    ("min(a)", NUMBER, 0, "min takes two numbers or more, not 1"),
    ("ago(a)", NUMBER, 0, "ago takes a number and a duration, as in ago(total_balance, 1h); not 1"),
    ("1 + delta(a, 1h, 2h)", NUMBER, 4, "delta takes a number and a duration, as in delta(total_balance, 1h); not 3"),
    ("predict_linear(a, 1h)", NUMBER, 0, "predict_linear takes a number and two durations, as in predict_linear(total_balance, 30m, 1h); not 2"),
    ("ago(a, b)", NUMBER, 7, "ago takes a duration here, such as 1h; not 'b'"),
    ("ago(a, -1h)", NUMBER, 7, "ago takes a duration here, such as 1h; not '-1h'"),
    ("ago(a, 1h + 1m)", NUMBER, 7, "ago takes a duration here, such as 1h; not '1h + 1m'"),
    ("ago(a, 1w)", NUMBER, 7, "ago: '1w' is not a duration; write 500ms, 30s, 5m, 2h, 1d or 1h30m"),
    ("ago(a, 1.5h)", NUMBER, 7, "ago: '1.5h' is not a duration; write 500ms, 30s, 5m, 2h, 1d or 1h30m"),
    ("ago(a, 60)", NUMBER, 7, "ago: '60' is not a duration; write 500ms, 30s, 5m, 2h, 1d or 1h30m"),
    ("ago(a, 30m1h)", NUMBER, 7, "ago: '30m1h' is not a duration; each unit once, the largest first, as 1h30m"),
    ("ago(a, 0s)", NUMBER, 7, "the window of ago is 0; it must be longer, at most 7d"),
    ("predict_linear(a, 0h, 1h)", NUMBER, 18, "the window of predict_linear is 0; it must be longer, at most 7d"),
    ("ago(a, 8d)", NUMBER, 7, "ago: '8d' is too long; at most 7d are allowed"),
    ("ago(a, 7d1ms)", NUMBER, 7, "ago: '7d1ms' is too long; at most 7d are allowed"),
    ("predict_linear(a, 1h, 8d)", NUMBER, 22, "predict_linear: '8d' is too long; at most 7d are allowed"),
    ("ago(delta(a, 1h), 1h)", NUMBER, 4, "delta cannot stand within ago: no function over time can"),
    ("max_over_time(a + abs(ago(b, 1m)), 1h)", NUMBER, 22, "ago cannot stand within max_over_time: no function over time can"),
    ("ago(1 + 2, 1h)", NUMBER, 4, "ago looks back on what changes; '1 + 2' is always the same"),
    ("ago(a > 1, 1h)", NUMBER, 4, "a number is needed here, this is a condition"),
    ("ago(zzz, 1h)", NUMBER, 4, f"unknown name 'zzz'; known are {', '.join(NAMES)}"),
    ("ago(1h, a)", NUMBER, 4, f"'1h' {A_DURATION}"),
    ("a + 1h", NUMBER, 4, f"'1h' {A_DURATION}"),
    ("ago(a, (1h))", NUMBER, 8, f"'1h' {A_DURATION}"),
    ("ago(a, max(a, 1h))", NUMBER, 14, f"'1h' {A_DURATION}"),
    ("ago(a, 1h 2h)", NUMBER, 7, "an operator is missing after '1h'"),
    ("ago(a, 1h", NUMBER, 3, "this parenthesis is never closed"),
    ("max_over_time(a[1h])", NUMBER, 15, "'[' is not allowed; the window follows a comma, as in max_over_time(total_balance, 1h)"),
    ("max_over_tme(a, 5)", NUMBER, 0, "unknown function 'max_over_tme'; did you mean max_over_time?"),
    ("a + ago", NUMBER, 4, "ago is a function; write ago(...)"),
    ("a / 0", NUMBER, 4, "a division by zero never has a value"),
    ("a / 0.0", NUMBER, 4, "a division by zero never has a value"),
    ("a > 1", NUMBER, 0, "a number is needed here, this is a condition"),
    ("1 + (a > 1)", NUMBER, 5, "a number is needed here, this is a condition"),
    ("abs(not a > 1)", NUMBER, 4, "a number is needed here, this is a condition"),
    ("(a > 1) == (b > 1)", CONDITION, 1, "a number is needed here, this is a condition"),
    ("a", CONDITION, 0, NEEDS_CONDITION),
    ("a and b > 1", CONDITION, 0, NEEDS_CONDITION),
    ("a > 1 or b + 1", CONDITION, 9, NEEDS_CONDITION),
    ("not a", CONDITION, 4, NEEDS_CONDITION),
    ("a > 1 and totl_balance", CONDITION, 10, "unknown name 'totl_balance'; did you mean 'total_balance'?"),
    ("a" * 501, NUMBER, 500, "is 501 characters long; at most 500 are allowed"),
    ("(" * 3000 + "a" + ")" * 3000, NUMBER, 500, "is 6001 characters long; at most 500 are allowed"),
    ("-" * 5000 + "a", NUMBER, 500, "is 5001 characters long; at most 500 are allowed"),
    ("(" * 21 + "a" + ")" * 21, NUMBER, 20, "is nested more than 20 deep"),
    ("-" * 20 + "a", NUMBER, 20, "is nested more than 20 deep"),
    ("-" * 499 + "a", NUMBER, 0, "has 500 parts; at most 100 are allowed"),
    ("+".join(["a"] * 51), NUMBER, 0, "has 101 parts; at most 100 are allowed"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "kind", "offset", "message"), [pytest.param(*row, id=row[0][:30]) for row in FAULTS]
)
def test_it_refuses_with_place_and_advice(text, kind, offset, message):
    with pytest.raises(ExpressionError) as caught:
        compiled(text, kind)
    assert (offset, message) == (caught.value.offset, caught.value.message)


def test_the_largest_allowed_sizes_pass():
    assert value("(" * 20 + "a" + ")" * 20, a=D(1)) == 1
    assert value("-" * 18 + "a", a=D(1)) == 1
    assert value("max(" + ",".join(["a"] * 98) + ")", a=D(1)) == 1
    assert value("a" + " " * 499, a=D(1)) == 1


@pytest.mark.parametrize("error", [MemoryError, RecursionError, ValueError])
def test_python_s_own_limits_are_an_expression_error(monkeypatch, error):
    def parse(*args, **kwargs):
        raise error

    monkeypatch.setattr(expressions.ast, "parse", parse)
    with pytest.raises(ExpressionError, match="too deeply nested"):
        compiled("a")


_SNIPPETS = st.sampled_from(
    "a b total_balance 1 0 0.5 10_000 + - * / ( ) , < <= > >= == != and or not abs min max = ** "
    "ago delta max_over_time predict_linear 1h 30m 8d // % . if else lambda in is True None yield await : [ ] { } ' \" \\ # \0 \n \t é 😀 := ... 1e3 "
    "0x1 for del import f' b' @ ~ ! ; _ __class__ \u2028 \ud800".split(" ")
)


@given(st.one_of(st.text(max_size=60), st.lists(_SNIPPETS, max_size=25).map(" ".join),
                 st.lists(_SNIPPETS, max_size=25).map("".join)),
       st.sampled_from(Kind))  # fmt: skip
@example("a" + "\x0b", NUMBER)
def test_any_text_compiles_or_is_an_expression_error(text, kind):
    try:
        expression = compiled(text, kind)
    except ExpressionError as error:
        assert 0 <= error.offset <= len(text)
        assert error.message
        return
    with decimal.localcontext(EXACT):
        result = expression.evaluate({name: D(2) for name in NAMES})
    wanted = (Decimal, type(None)) if kind is NUMBER else (bool, type(None))
    assert isinstance(result, wanted)


_LEAVES = st.sampled_from(["a", "b", "total_balance", "0.1", "3", "10_000", "0"])


def _combine(inner):
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda text: f"-{text}"),
        inner.map(lambda text: f"abs({text})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(
            lambda t: f"{t[0]}({t[1]}, {t[2]})"
        ),
    )


class _Plain(dict):
    """Python's own evaluation over Decimals: an independent check."""

    def run(self, text):
        class ToDecimal(ast.NodeTransformer):
            def visit_Constant(self, node):
                source = ast.get_source_segment(text, node)
                return ast.copy_location(
                    ast.Call(
                        ast.Name("D", ast.Load()), [ast.Constant(source.replace("_", ""))], []
                    ),
                    node,
                )

        tree = ast.fix_missing_locations(ToDecimal().visit(ast.parse(text, mode="eval")))
        try:
            return eval(compile(tree, "", "eval"), {"D": D}, self)
        except (decimal.DecimalException, TypeError):
            return None


_AMOUNTS = st.decimals(-(10**9), 10**9, places=8)


@given(st.recursive(_LEAVES, _combine, max_leaves=12), _AMOUNTS, _AMOUNTS)
def test_numbers_agree_with_plain_decimal_arithmetic(text, a, b):
    values = {"a": a, "b": b, "total_balance": a + b}
    try:
        expression = compiled(text)
    except ExpressionError as error:
        assert "division by zero" in error.message or "deep" in error.message
        return
    with decimal.localcontext(EXACT):
        assert expression.evaluate(values) == _Plain(values).run(text)
