"""A sandbox in which no template takes long or makes much, whatever it says.

Loops are watched from line to line; what runs in one step (a power, a repetition, a format, a
filter) is refused beforehand if its result would be large. So a template can neither hold up a
receiver's thread nor fill the memory.
"""

from __future__ import annotations

import contextlib
import functools
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from jinja2 import FunctionLoader, Template, TemplateError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import TemplateRuntimeError
from jinja2.loaders import split_template_path
from jinja2.runtime import Context, markup_join, str_join
from jinja2.sandbox import ImmutableSandboxedEnvironment

from alerting.files import MissingFileError, UnreadableError, read_text

#: characters that one text, or items that one list, may have within a template
MOST = 100_000
#: characters of all that a template gives
MOST_OUTPUT = 500_000
#: seconds of computing for one message, with all its templates and annotations
SECONDS = 5.0
_LARGEST_FILE = 1024 * 1024
_WIDEST = 10_000
_BITS = 4096
_WIDE = re.compile(r"[0-9]{5,}|%[-+ #0]*\*")


class TooMuchError(TemplateRuntimeError):
    """A template that takes too long or makes too much."""


@contextlib.contextmanager
def deadline(seconds: float = SECONDS) -> Iterator[None]:
    """Until the end of the block no template of this thread computes longer than that."""
    # computing, not waiting: a busy machine is no fault of the template
    until = time.thread_time() + seconds

    lines = 0

    def watch(_frame: FrameType, _event: str, _argument: object) -> Any:
        nonlocal lines
        lines += 1
        # the clock is asked now and then: a line takes less time than that
        if lines % 64 == 0 and time.thread_time() > until:
            raise TooMuchError(f"it takes longer than {seconds:g} s")
        return watch

    def enter(frame: FrameType, event: str, argument: object) -> Any:
        name = frame.f_code.co_filename
        return watch(frame, event, argument) if name.endswith((".j2", "<template>")) else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(before)


def run(template: Template, data: dict[str, Any]) -> str:
    """What a template gives; TooMuchError where that is too much."""
    parts, size = [], 0
    for part in template.generate(data):
        parts.append(part)
        size += len(part)
        if size > MOST_OUTPUT:
            raise TooMuchError(f"it gives more than {MOST_OUTPUT} characters")
    return "".join(parts)


def loader(folders: list[Path]) -> FunctionLoader:
    """Finds a template in the first folder that has it; one that is no file or huge is an error."""
    return FunctionLoader(functools.partial(_source, folders))


def _source(folders: list[Path], name: str) -> tuple[str, str, Callable[[], bool]] | None:
    """A template's text, its file, and whether that is still the same; None: there is none."""
    for folder in folders:
        path = folder.joinpath(*split_template_path(name))
        try:
            before = _stamp(path)
            text = read_text(path, most=_LARGEST_FILE)
        except MissingFileError:
            continue
        except UnreadableError as error:
            raise TemplateError(f"{path} {error}") from None
        return text, str(path), lambda: _stamp(path) == before  # noqa: B023 - returned here
    return None


def _stamp(path: Path) -> int | None:
    """When a file was last changed, in ns; None: it is not there."""
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):
        return None


class _CodeGenerator(CodeGenerator):
    """`~` goes through the environment, as the other operators do."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - Jinja's name
        escaping = "context.eval_ctx.autoescape"
        self.write(f"environment.concatenated({escaping}, (")
        for each in node.nodes:
            self.visit(each, frame)
            self.write(", ")
        self.write("))")


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, with bounds; nothing is computed while a template is compiled."""

    code_generator_class = _CodeGenerator
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(optimized=False, **options)
        self.filters = {name: _bounded(each) for name, each in self.filters.items()}
        self.filters |= {"join": _join_filter(self.filters["join"])}

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse what would be large, else compute."""
        _check_operator(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, called: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function or method, unless what it makes would be large."""
        _check_call(called, args, kwargs)
        return _checked(super().call(context, called, *args, **kwargs))

    def concatenated(self, escaping: object, parts: tuple[Any, ...]) -> str:
        """What `~` gives."""
        text: str = _checked(markup_join(parts) if escaping else str_join(parts))
        return text


def _checked(value: Any) -> Any:
    if isinstance(value, str | bytes | list | tuple | dict) and len(value) > MOST:
        raise TooMuchError(f"it makes a text or list of more than {MOST}")
    return value


def _check_operator(operator: str, left: Any, right: Any) -> None:
    numbers = isinstance(left, int) and isinstance(right, int)
    large = False
    if operator == "**" and numbers:
        large = left.bit_length() * abs(right) > _BITS
    elif operator == "*" and numbers:
        large = left.bit_length() + right.bit_length() > _BITS
    elif operator == "*":
        text, times = (left, right) if hasattr(left, "__len__") else (right, left)
        sized = hasattr(text, "__len__") and isinstance(times, int)
        large = sized and len(text) * times > MOST
    elif operator == "+":
        sized = hasattr(left, "__len__") and hasattr(right, "__len__")
        large = sized and len(left) + len(right) > MOST
    elif operator == "%" and isinstance(left, str):
        large = bool(_WIDE.search(left))
    if large:
        raise TooMuchError(f"the result of {operator} would be too large")


def _check_call(called: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """The text that a method belongs to, and what it is given."""
    method = getattr(called, "__wrapped__", called)
    text = getattr(method, "__self__", None)
    if not isinstance(text, str):
        return
    name = getattr(method, "__name__", "")
    _check_arguments(name, (*args, *kwargs.values()))
    if name.startswith("format"):
        _check_format(text)
    elif name == "replace" and len(args) > 1:
        _check_replace(text, args[1])
    elif name == "join" and args:
        _check_join(text, args[0])


def _check_arguments(name: str, given: tuple[Any, ...]) -> None:
    if any(isinstance(each, int) and abs(each) > _WIDEST for each in given):
        raise TooMuchError(f"{name} is given a number beyond {_WIDEST}")


def _check_format(text: str) -> None:
    if _WIDE.search(text):
        raise TooMuchError("a format asks for a field that is too wide")


def _check_replace(text: str, new: Any) -> None:
    if (len(text) + 1) * len(str(new)) > 10 * MOST:
        raise TooMuchError("replace would make a text that is too long")


def _check_join(separator: str, parts: Any) -> None:
    if hasattr(parts, "__len__") and len(parts) * (len(separator) + 1) > MOST:
        raise TooMuchError("join would make a text that is too long")


def _bounded(original: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that is given no large number and gives no large text."""
    name = getattr(original, "__name__", "").removeprefix("do_")

    @functools.wraps(original)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        given = (*args, *kwargs.values())
        _check_arguments(name, given[1:])
        texts = [each for each in given if isinstance(each, str)]
        if name == "format" and texts:
            _check_format(texts[0])
        elif name == "replace" and len(texts) > 2:
            _check_replace(texts[0], texts[2])
        return _checked(original(*args, **kwargs))

    return bounded


def _join_filter(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def join(context: Any, value: Any, d: str = "", attribute: Any = None) -> Any:
        parts = []
        for part in value:
            parts.append(part)
            if len(parts) * (len(d) + 1) > MOST:
                raise TooMuchError("join would make a text that is too long")
        return original(context, parts, d, attribute)

    return join
