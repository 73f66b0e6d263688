"""`value` and `when` of a rule: arithmetic and conditions over names, compiled to closures.

`expression_text.py` gives the tree; a compiler takes from it a whitelist of nodes and checks their
types. Nothing of the text is ever executed as Python. A function that looks back or ahead is read
from the values, as a name is: `over_time.py` puts it there.
"""

from __future__ import annotations

import ast
import decimal
import difflib
import enum
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import NoReturn

from alerting.engine.expression_text import (
    ALLOWED,
    MAX_DEPTH,
    MAX_NODES,
    ExpressionError,
    Parsed,
    literal,
    parse,
)
from alerting.units import ZERO, format_duration, parse_duration

#: how far back any function may look
LONGEST_WINDOW = timedelta(days=7)

#: name -> its value; None, or no entry: it has none
Values = Mapping[str, Decimal | None]
_Number = Callable[[Values], Decimal | None]
_Condition = Callable[[Values], bool | None]


class Kind(enum.Enum):
    """What an expression gives."""

    NUMBER = "number"
    CONDITION = "condition"


class OverTime(enum.Enum):
    """What is made of the samples of the time that a function looks back on."""

    AGO = "ago"
    MIN = "min_over_time"
    MAX = "max_over_time"
    AVG = "avg_over_time"
    PREDICT = "predict_linear"


@dataclass(frozen=True, slots=True)
class Watched:
    """An expression whose values are remembered; two are equal if their texts are."""

    #: however it is spaced in the rules file
    text: str
    names: frozenset[str] = field(compare=False)
    _run: _Number = field(compare=False, repr=False)

    def value(self, values: Values) -> Decimal | None:
        """Its value under the thread's decimal context (enter units.EXACT); None: it has none."""
        try:
            return self._run(values)
        except decimal.DecimalException:
            return None


@dataclass(frozen=True, slots=True)
class LookBack:
    """One call of a function that looks back, or from there ahead."""

    function: OverTime
    watched: Watched
    window: timedelta
    #: of predict_linear: how far ahead
    ahead: timedelta = ZERO

    @property
    def key(self) -> str:
        """Under which its value is read from the values."""
        durations = [self.window, *([self.ahead] if self.function is OverTime.PREDICT else [])]
        shown = ", ".join(map(format_duration, durations))
        return f"{self.function.value}({self.watched.text}, {shown})"


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression; two are equal if their texts are."""

    text: str
    #: the names that it uses
    names: frozenset[str] = field(compare=False)
    kind: Kind = field(compare=False)
    _run: _Number | _Condition = field(compare=False, repr=False)
    #: each name that is compared with a plain number: name, number, where it stands in the text
    compared: tuple[tuple[str, Decimal, int], ...] = field(default=(), compare=False)
    #: each call of a function that looks back, once
    looks_back: tuple[LookBack, ...] = field(default=(), compare=False)

    def constant(self) -> Decimal | bool | None:
        """What it gives whatever is seen; None: that depends on what is seen, or it has no value.

        Under the thread's decimal context, as `evaluate`.
        """
        # without any value, only what needs none has one: `or` and `and` are three-valued
        return self.evaluate({})

    def evaluate(self, values: Values) -> Decimal | bool | None:
        """Its value under the thread's decimal context (enter units.EXACT); None: it has none."""
        try:
            return self._run(values)
        except decimal.DecimalException:
            return None


def compile_expression(
    text: str,
    *,
    kind: Kind,
    names: Collection[str],
    elsewhere: Mapping[str, str] | None = None,
) -> Expression:
    """The expression that `text` spells; `elsewhere` tells of other names who has them."""
    parsed = parse(text, looking_back=_LOOKING_BACK)
    compiler = _Compiler(parsed=parsed, known=names, elsewhere=elsewhere or {})
    build = compiler.number if kind is Kind.NUMBER else compiler.condition
    run = build(parsed.tree, 1)
    return Expression(
        text=text,
        names=frozenset(compiler.used),
        kind=kind,
        _run=run,
        compared=tuple(compiler.compared),
        looks_back=tuple(compiler.looks_back.values()),
    )


# ── from tree to closures ───────────────────────────────────────────────────

_ARITHMETIC: dict[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Decimal, Decimal], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def _abs(arguments: list[Decimal]) -> Decimal:
    return abs(arguments[0])


#: name -> least and most arguments, what it does
_FUNCTIONS: dict[str, tuple[int, int, Callable[[list[Decimal]], Decimal]]] = {
    "abs": (1, 1, _abs),
    "min": (2, MAX_NODES, min),
    "max": (2, MAX_NODES, max),
}
_DELTA = "delta"
#: those that take an expression and durations
_LOOKING_BACK = (OverTime.AGO.value, _DELTA, *(each.value for each in list(OverTime)[1:]))
_ALL_FUNCTIONS = (*_FUNCTIONS, *_LOOKING_BACK)


@dataclass(slots=True)
class _Compiler:
    parsed: Parsed
    known: Collection[str]
    elsewhere: Mapping[str, str]
    #: the names met so far
    used: set[str] = field(default_factory=set)
    #: names and the plain numbers that they are compared with
    compared: list[tuple[str, Decimal, int]] = field(default_factory=list)
    #: by the keys of what looks back
    looks_back: dict[str, LookBack] = field(default_factory=dict)
    #: the function that looks back in whose expression we are
    within: str | None = None

    def number(self, node: ast.expr, depth: int) -> _Number:
        """A closure that gives the number; an error if the node is not one."""
        self._check_depth(node, depth)
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name():
                return self._name(node)
            case ast.BinOp():
                return self._binary(node, depth)
            case ast.UnaryOp(op=ast.UAdd()):
                return self.number(node.operand, depth + 1)
            case ast.UnaryOp(op=ast.USub()):
                return _negated(self.number(node.operand, depth + 1))
            case ast.Call():
                return self._call(node, depth)
            case ast.BoolOp() | ast.Compare() | ast.UnaryOp(op=ast.Not()):
                self.condition(node, depth)
                self._fail(node, "a number is needed here, this is a condition")
        return self._refuse(node)

    def condition(self, node: ast.expr, depth: int) -> _Condition:
        """A closure that gives the truth; an error if the node is not a condition."""
        self._check_depth(node, depth)
        match node:
            case ast.BoolOp():
                parts = [self.condition(part, depth + 1) for part in node.values]
                return _all(parts) if isinstance(node.op, ast.And) else _any(parts)
            case ast.UnaryOp(op=ast.Not()):
                return _not(self.condition(node.operand, depth + 1))
            case ast.Compare():
                return self._compare(node, depth)
        self.number(node, depth)
        return self._fail(
            node, "a condition is needed here, such as total_balance > 0; this is a number"
        )

    def _constant(self, node: ast.Constant) -> _Number:
        source = self.parsed.source(node)
        if not source[0].isdigit():
            # True, False, None
            self._refuse(node)
        # from the source, never from Python's float
        number = literal(source, node.col_offset)
        return lambda _: number

    def _name(self, node: ast.Name) -> _Number:
        name = node.id
        if name not in self.known:
            self._fail(node, self._unknown(name))
        self.used.add(name)
        return lambda values: values.get(name)

    def _unknown(self, name: str) -> str:
        if name in _ALL_FUNCTIONS:
            return f"{name} is a function; write {name}(...)"
        if name in self.elsewhere:
            return f"{name!r} is a name of {self.elsewhere[name]} rules only"
        near = difflib.get_close_matches(name, sorted(self.known), n=1)
        if near:
            return f"unknown name {name!r}; did you mean {near[0]!r}?"
        return f"unknown name {name!r}; known are {', '.join(self.known)}"

    def _binary(self, node: ast.BinOp, depth: int) -> _Number:
        compute = _ARITHMETIC[type(node.op)]
        left, right = self.number(node.left, depth + 1), self.number(node.right, depth + 1)
        if isinstance(node.op, ast.Div) and _is_zero(node.right):
            self._fail(node.right, "a division by zero never has a value")

        def run(values: Values) -> Decimal | None:
            a, b = left(values), right(values)
            if a is None or b is None:
                return None
            # a broken part must not take its whole `or` with it
            try:
                return compute(a, b)
            except decimal.DecimalException:
                return None

        return run

    def _call(self, node: ast.Call, depth: int) -> _Number:
        if not isinstance(node.func, ast.Name):
            self._refuse(node)
        name = node.func.id
        if name in _LOOKING_BACK:
            return self._look_back(node, name, depth)
        if name not in _FUNCTIONS:
            near = difflib.get_close_matches(name, _ALL_FUNCTIONS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_ALL_FUNCTIONS)}"
            self._fail(node, f"unknown function {name!r}; {hint}")
        least, most, compute = _FUNCTIONS[name]
        if not least <= len(node.args) <= most:
            wanted = "one number" if most == 1 else "two numbers or more"
            self._fail(node, f"{name} takes {wanted}, not {len(node.args)}")
        arguments = [self.number(argument, depth + 1) for argument in node.args]

        def run(values: Values) -> Decimal | None:
            given = [argument(values) for argument in arguments]
            present = [number for number in given if number is not None]
            return compute(present) if len(present) == len(given) else None

        return run

    def _look_back(self, node: ast.Call, name: str, depth: int) -> _Number:
        predicts = name == OverTime.PREDICT.value
        if len(node.args) != (3 if predicts else 2):
            takes, example = ("two durations", "30m, 1h") if predicts else ("a duration", "1h")
            example = f"{name}(total_balance, {example})"
            self._fail(
                node, f"{name} takes a number and {takes}, as in {example}; not {len(node.args)}"
            )
        if self.within is not None:
            self._fail(node, f"{name} cannot stand within {self.within}: no function over time can")
        watched = self._watched(node.args[0], name, depth)
        window = self._duration(node.args[1], name)
        if window == ZERO:
            self._fail(node.args[1], f"the window of {name} is 0; it must be longer, at most 7d")
        if name == _DELTA:
            now, before = watched.value, self._read(LookBack(OverTime.AGO, watched, window))
            return lambda values: _difference(now(values), before(values))
        ahead = self._duration(node.args[2], name) if predicts else ZERO
        return self._read(LookBack(OverTime(name), watched, window, ahead))

    def _watched(self, node: ast.expr, name: str, depth: int) -> Watched:
        """What a function looks back on."""
        outer, self.used, self.within = self.used, set(), name
        run = self.number(node, depth + 1)
        names, self.used, self.within = frozenset(self.used), outer | self.used, None
        if not names:
            source = self._shown(node)
            self._fail(node, f"{name} looks back on what changes; {source} is always the same")
        return Watched(self.parsed.spaced(node), names, run)

    def _duration(self, node: ast.expr, name: str) -> timedelta:
        written = self.parsed.durations.get(node.col_offset)
        if written is None or not isinstance(node, ast.Name):
            self._fail(node, f"{name} takes a duration here, such as 1h; not {self._shown(node)}")
        try:
            duration = parse_duration(written)
        except ValueError as error:
            self._fail(node, f"{name}: {error}")
        if duration > LONGEST_WINDOW:
            self._fail(node, f"{name}: {written!r} is too long; at most 7d are allowed")
        return duration

    def _read(self, call: LookBack) -> _Number:
        key = call.key
        self.looks_back[key] = call
        return lambda values: values.get(key)

    def _compare(self, node: ast.Compare, depth: int) -> _Condition:
        for op in node.ops:
            if type(op) not in _COMPARISONS:
                self._fail(node, "`in` and `is` are not allowed; compare with < <= > >= == !=")
        operands = [self.number(part, depth + 1) for part in (node.left, *node.comparators)]
        for left, right in pairwise((node.left, *node.comparators)):
            self._note(left, right)
            self._note(right, left)
        pairs = zip(node.ops, operands, operands[1:], strict=False)
        links = [_compared(_COMPARISONS[type(op)], left, right) for op, left, right in pairs]
        return links[0] if len(links) == 1 else _all(links)

    def _note(self, name: ast.expr, number: ast.expr) -> None:
        """Keep what a name is compared with, if these are a name and a plain number."""
        if isinstance(name, ast.Name) and isinstance(number, ast.Constant):
            line = literal(self.parsed.source(number), number.col_offset)
            self.compared.append((name.id, line, number.col_offset))

    def _check_depth(self, node: ast.expr, depth: int) -> None:
        if depth > MAX_DEPTH:
            self._fail(node, f"is nested more than {MAX_DEPTH} deep")

    def _refuse(self, node: ast.expr) -> NoReturn:
        self._fail(node, f"{self._shown(node)} is not allowed; {ALLOWED}")

    def _shown(self, node: ast.expr) -> str:
        source = self.parsed.source(node)
        return repr(source if len(source) <= 40 else source[:37] + "...")

    def _fail(self, node: ast.expr, message: str) -> NoReturn:
        raise ExpressionError(message, node.col_offset)


def _is_zero(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 0


def _negated(operand: _Number) -> _Number:
    def run(values: Values) -> Decimal | None:
        number = operand(values)
        return None if number is None else -number

    return run


def _difference(now: Decimal | None, before: Decimal | None) -> Decimal | None:
    return None if now is None or before is None else now - before


def _compared(
    compare: Callable[[Decimal, Decimal], bool], left: _Number, right: _Number
) -> _Condition:
    def run(values: Values) -> bool | None:
        a, b = left(values), right(values)
        return None if a is None or b is None else compare(a, b)

    return run


def _not(operand: _Condition) -> _Condition:
    def run(values: Values) -> bool | None:
        truth = operand(values)
        return None if truth is None else not truth

    return run


def _all(parts: list[_Condition]) -> _Condition:
    """Three-valued `and`: one False decides, whatever has no value."""

    def run(values: Values) -> bool | None:
        truth: bool | None = True
        for part in parts:
            this = part(values)
            if this is False:
                return False
            if this is None:
                truth = None
        return truth

    return run


def _any(parts: list[_Condition]) -> _Condition:
    """Three-valued `or`: one True decides, whatever has no value."""

    def run(values: Values) -> bool | None:
        truth: bool | None = False
        for part in parts:
            this = part(values)
            if this is True:
                return True
            if this is None:
                truth = None
        return truth

    return run
