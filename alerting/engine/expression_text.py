"""An expression's text as a tree: the lexer of the language, and Python's `ast` behind it.

Only the characters, numbers and operators of the language get through. Where a function that looks
back takes a duration, `1h` is one; Python's parser is given a name of the same length in its place.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from alerting.units import parse_duration, parse_number

MAX_LENGTH = 500
MAX_NODES = 100
MAX_DEPTH = 20

ALLOWED = (
    "allowed are numbers, names, + - * /, comparisons, and or not, abs min max ago delta "
    "min_over_time max_over_time avg_over_time predict_linear, parentheses"
)

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


class ExpressionError(ValueError):
    """The text is no expression; `offset` counts characters from 0."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Token:
    """One word, number or sign, and where it starts."""

    text: str
    start: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Parsed:
    """A text and its tree, whose offsets are the text's own."""

    text: str
    tree: ast.expr
    tokens: Sequence[Token]
    #: offset -> what stands where a duration is to stand; the tree has a name there
    durations: Mapping[int, str]

    def source(self, node: ast.expr) -> str:
        """What a node was made from."""
        return self.text[node.col_offset : node.end_col_offset]

    def spaced(self, node: ast.expr) -> str:
        """The same, however the text is spaced."""
        end = node.end_col_offset or 0
        return " ".join(each.text for each in self.tokens if node.col_offset <= each.start < end)


def parse(text: str, *, looking_back: Collection[str]) -> Parsed:
    """The tree of a text; `looking_back` names the functions that take durations."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            f"is {len(text)} characters long; at most {MAX_LENGTH} are allowed", MAX_LENGTH
        )
    lexer = _Lexer(looking_back)
    lexer.read(text)
    if not lexer.tokens:
        raise ExpressionError("is empty", 0)
    tree = _tree(text, lexer)
    return Parsed(text=text, tree=tree, tokens=lexer.tokens, durations=lexer.durations)


def literal(token: str, start: int) -> Decimal:
    """The number that a token spells, digit for digit."""
    if token[:2].lstrip(".").isidentifier():
        raise ExpressionError(f"'.' is not allowed; {ALLOWED}", start)
    if not _LITERAL.fullmatch(token):
        raise ExpressionError(_no_number(token), start)
    try:
        return parse_number(token)
    except ValueError:
        raise ExpressionError(f"the number {token!r} has too many digits", start) from None


def _no_number(token: str) -> str:
    try:
        parse_duration(token)
    except ValueError:
        return f"{token!r} is not a number here; write 1000, 10_000 or 0.25"
    return f"{token!r} is a duration; one stands only where ago(total_balance, 1h) has it"


@dataclass(slots=True)
class _Open:
    """A parenthesis that is open."""

    start: int
    #: it takes durations from its second argument on
    looks_back: bool
    commas: int = 0


@dataclass(slots=True)
class _Lexer:
    looking_back: Collection[str]
    tokens: list[Token] = field(default_factory=list)
    durations: dict[int, str] = field(default_factory=dict)
    _open: list[_Open] = field(default_factory=list)

    def read(self, text: str) -> None:
        """Take in the text, as long as its tokens are of the language."""
        for match in _TOKEN.finditer(text):
            token, start = match.group(), match.start()
            if token[0] in "0123456789.":
                self._number(token, start)
            elif not (token[0].isascii() and (token[0].isalpha() or token[0] == "_")):
                self._sign(token, start)
            self.tokens.append(Token(token, start))
        for start, character in enumerate(text):
            if character.isspace() and character not in _SPACE:
                raise ExpressionError(f"the character {character!r} is not allowed", start)
        if self._open:
            raise ExpressionError("this parenthesis is never closed", self._open[-1].start)

    def _number(self, token: str, start: int) -> None:
        inner = self._open[-1] if self._open else None
        if inner is not None and inner.looks_back and inner.commas:
            self.durations[start] = token
        else:
            literal(token, start)

    def _sign(self, sign: str, start: int) -> None:
        inner = self._open[-1] if self._open else None
        if sign == "[" and inner is not None and inner.looks_back:
            hint = "the window follows a comma, as in max_over_time(total_balance, 1h)"
            raise ExpressionError(f"'[' is not allowed; {hint}", start)
        if sign not in _OPERATORS:
            hint = _HINTS.get(sign, ALLOWED)
            raise ExpressionError(f"{sign!r} is not allowed; {hint}", start)
        if sign == "(":
            self._enter(start)
        elif sign == ")":
            if not self._open:
                raise ExpressionError("this parenthesis was never opened", start)
            self._open.pop()
        elif sign == "," and inner is not None:
            inner.commas += 1

    def _enter(self, start: int) -> None:
        called = self.tokens[-1].text if self.tokens else ""
        self._open.append(_Open(start, called in self.looking_back))
        if len(self._open) > MAX_DEPTH:
            raise ExpressionError(f"is nested more than {MAX_DEPTH} deep", start)


def _tree(text: str, lexer: _Lexer) -> ast.expr:
    """The tree of the text; offsets in it are the text's own, as only ASCII gets here."""
    # One line, so that a column is an offset; leading space would be an indentation to Python.
    flat = re.sub(r"\s", " ", text)
    for start, token in lexer.durations.items():
        flat = flat[:start] + "_" * len(token) + flat[start + len(token) :]
    lead = len(flat) - len(flat.lstrip())
    try:
        tree = ast.parse(flat[lead:], mode="eval").body
    except SyntaxError as error:
        raise _syntax_error(error, text, lead, lexer.tokens) from None
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
    error: SyntaxError, text: str, lead: int, tokens: Sequence[Token]
) -> ExpressionError:
    # Python gives offset 0 or one past the last token for an unexpected end
    offset = (error.offset or len(text) + 1) - 1 + lead
    found = [token.text for token in tokens if token.start == offset]
    if not found:
        return ExpressionError("ends too early; a number or a name is missing", len(text))
    if "forgot a comma" in error.msg:
        return ExpressionError(f"an operator is missing after {found[0]!r}", offset)
    return ExpressionError(f"{found[0]!r} is not expected here", offset)
