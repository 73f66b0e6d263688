"""`value` and `when` of a rule: arithmetic and conditions over names, compiled to closures.

A small lexer lets through only the characters, numbers and operators of the language, Python's
`ast` gives the tree, and a compiler takes from it a whitelist of nodes and checks their types.
Nothing of the text is ever executed as Python.
"""

from __future__ import annotations

import ast
import decimal
import difflib
import enum
import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import NoReturn

from alerting.units import parse_number

MAX_LENGTH = 500
MAX_NODES = 100
MAX_DEPTH = 20

#: name -> its value; None, or no entry: it has none
Values = Mapping[str, Decimal | None]
_Number = Callable[[Values], Decimal | None]
_Condition = Callable[[Values], bool | None]


class Kind(enum.Enum):
    """What an expression gives."""

    NUMBER = "number"
    CONDITION = "condition"


class ExpressionError(ValueError):
    """The text is no expression; `offset` counts characters from 0."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


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
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            f"is {len(text)} characters long; at most {MAX_LENGTH} are allowed", MAX_LENGTH
        )
    tokens = list(_tokens(text))
    if not tokens:
        raise ExpressionError("is empty", 0)
    compiler = _Compiler(text=text, known=names, elsewhere=elsewhere or {})
    tree = _parse(text, tokens)
    build = compiler.number if kind is Kind.NUMBER else compiler.condition
    run = build(tree, 1)
    return Expression(text, frozenset(compiler.used), kind, run, tuple(compiler.compared))


# ── from text to tree ───────────────────────────────────────────────────────

_TOKEN = re.compile(
    r"[0-9.][A-Za-z0-9_.]*"
    r"|[A-Za-z_][A-Za-z0-9_]*"
    r"|\*\*|//|<<|>>|<>|<=|>=|==|!=|&&|\|\||:=|=<|=>"
    r"|\S"
)
# Whitespace that a YAML scalar can hold; Python would take \f for a line of its own.
_SPACE = " \t\r\n"
_LITERAL = re.compile(r"(?:0|[1-9](?:_?[0-9])*)(?:\.[0-9]+)?")
_OPERATORS = frozenset({"+", "-", "*", "/", "(", ")", ",", "<", "<=", ">", ">=", "==", "!="})
_ALLOWED = "allowed are numbers, names, + - * /, comparisons, and or not, abs min max, parentheses"
_HINTS = {
    "=": "did you mean ==?",
    ":=": "did you mean ==?",
    "=<": "did you mean <=?",
    "=>": "did you mean >=?",
    "<>": "did you mean !=?",
    "!": "did you mean `not`?",
    "&": "did you mean `and`?",
    "&&": "did you mean `and`?",
    "|": "did you mean `or`?",
    "||": "did you mean `or`?",
    "%": "write 0.20 for 20%",
}

_Token = tuple[str, int]


def _tokens(text: str) -> Iterator[_Token]:
    """Each token and where it starts, as long as they are of the language."""
    open_at: list[int] = []
    for match in _TOKEN.finditer(text):
        token, start = match.group(), match.start()
        if token[0] in "0123456789.":
            _literal(token, start)
        elif not (token[0].isascii() and (token[0].isalpha() or token[0] == "_")):
            _check_operator(token, start)
            _check_nesting(token, start, open_at)
        yield token, start
    for start, character in enumerate(text):
        if character.isspace() and character not in _SPACE:
            raise ExpressionError(f"the character {character!r} is not allowed", start)
    if open_at:
        raise ExpressionError("this parenthesis is never closed", open_at[-1])


def _literal(token: str, start: int) -> Decimal:
    if token[:2].lstrip(".").isidentifier():
        raise ExpressionError(f"'.' is not allowed; {_ALLOWED}", start)
    if not _LITERAL.fullmatch(token):
        raise ExpressionError(f"{token!r} is not a number here; write 1000, 10_000 or 0.25", start)
    try:
        return parse_number(token)
    except ValueError:
        raise ExpressionError(f"the number {token!r} has too many digits", start) from None


def _check_operator(token: str, start: int) -> None:
    if token in _OPERATORS:
        return
    hint = _HINTS.get(token, _ALLOWED)
    raise ExpressionError(f"{token!r} is not allowed; {hint}", start)


def _check_nesting(sign: str, start: int, open_at: list[int]) -> None:
    if sign == "(":
        open_at.append(start)
        if len(open_at) > MAX_DEPTH:
            raise ExpressionError(f"is nested more than {MAX_DEPTH} deep", start)
    elif sign == ")":
        if not open_at:
            raise ExpressionError("this parenthesis was never opened", start)
        open_at.pop()


def _parse(text: str, tokens: list[_Token]) -> ast.expr:
    """The tree of the text; offsets in it are the text's own, as only ASCII gets here."""
    # One line, so that a column is an offset; leading space would be an indentation to Python.
    flat = re.sub(r"\s", " ", text)
    lead = len(flat) - len(flat.lstrip())
    try:
        tree = ast.parse(flat[lead:], mode="eval").body
    except SyntaxError as error:
        raise _syntax_error(error, text, lead, tokens) from None
    except (MemoryError, RecursionError, ValueError):
        raise ExpressionError("is too deeply nested", 0) from None
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.expr)]
    if len(nodes) > MAX_NODES:
        raise ExpressionError(f"has {len(nodes)} parts; at most {MAX_NODES} are allowed", 0)
    for node in nodes:
        node.col_offset += lead
        node.end_col_offset = (node.end_col_offset or 0) + lead
    return tree


def _syntax_error(
    error: SyntaxError, text: str, lead: int, tokens: list[_Token]
) -> ExpressionError:
    # Python gives offset 0 or one past the last token for an unexpected end
    offset = (error.offset or len(text) + 1) - 1 + lead
    found = [token for token, start in tokens if start == offset]
    if not found:
        return ExpressionError("ends too early; a number or a name is missing", len(text))
    if "forgot a comma" in error.msg:
        return ExpressionError(f"an operator is missing after {found[0]!r}", offset)
    return ExpressionError(f"{found[0]!r} is not expected here", offset)


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


#: name -> least and most arguments, what it does; functions over history will stand here too
_FUNCTIONS: dict[str, tuple[int, int, Callable[[list[Decimal]], Decimal]]] = {
    "abs": (1, 1, _abs),
    "min": (2, MAX_NODES, min),
    "max": (2, MAX_NODES, max),
}


@dataclass(slots=True)
class _Compiler:
    text: str
    known: Collection[str]
    elsewhere: Mapping[str, str]
    #: the names met so far
    used: set[str] = field(default_factory=set)
    #: names and the plain numbers that they are compared with
    compared: list[tuple[str, Decimal, int]] = field(default_factory=list)

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
        source = self._source(node)
        if not source[0].isdigit():
            # True, False, None
            self._refuse(node)
        # from the source, never from Python's float
        literal = _literal(source, node.col_offset)
        return lambda _: literal

    def _name(self, node: ast.Name) -> _Number:
        name = node.id
        if name not in self.known:
            self._fail(node, self._unknown(name))
        self.used.add(name)
        return lambda values: values.get(name)

    def _unknown(self, name: str) -> str:
        if name in _FUNCTIONS:
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
        if name not in _FUNCTIONS:
            near = difflib.get_close_matches(name, _FUNCTIONS, n=1)
            hint = f"did you mean {near[0]}?" if near else "there are abs, min and max"
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
            literal = _literal(self._source(number), number.col_offset)
            self.compared.append((name.id, literal, number.col_offset))

    def _check_depth(self, node: ast.expr, depth: int) -> None:
        if depth > MAX_DEPTH:
            self._fail(node, f"is nested more than {MAX_DEPTH} deep")

    def _source(self, node: ast.expr) -> str:
        return self.text[node.col_offset : node.end_col_offset]

    def _refuse(self, node: ast.expr) -> NoReturn:
        source = self._source(node)
        shown = source if len(source) <= 40 else source[:37] + "..."
        self._fail(node, f"{shown!r} is not allowed; {_ALLOWED}")

    def _fail(self, node: ast.expr, message: str) -> NoReturn:
        raise ExpressionError(message, node.col_offset)


def _is_zero(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 0


def _negated(operand: _Number) -> _Number:
    def run(values: Values) -> Decimal | None:
        number = operand(values)
        return None if number is None else -number

    return run


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
