"""Everything that is wrong with a rules file, collected, each with its place.

The shape comes first: `read_as` turns the plain data into the models of schema.py and reports
what they refuse, which is then as if it were not in the file. The meaning comes second: what is
checked against another value asks whether that was `readable`, so that one load tells all and no
more.
"""

from __future__ import annotations

import difflib
import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from alerting.config.schema import Section
from alerting.config.values import TAG, nearest, show
from alerting.config.yaml_reader import Document, Path, Spot, dotted
from alerting.errors import Problem
from alerting.redaction import REDACTOR, without_tokens
from alerting.terminal import count

_S = TypeVar("_S", bound=Section)

#: so many problems of one file are told; those that are found after them are only counted
MOST_TOLD = 100

#: what is wrong; a function where it takes a while to say, as finding the nearest name does
Message = str | Callable[[], str]


def is_secret(path: Path) -> bool:
    """Whether a value there is never quoted: secrets, and what may be one under a wrong key."""
    return path[:1] in _SECRET and path[-1] not in _HARMLESS


_SECRET = {("accounts",), ("receivers",), ("heartbeat",)}
_HARMLESS = ("rate_limit", "send_resolved", "every")


class Report:
    """The problems of one file; what is unreadable anyway is not complained of twice."""

    def __init__(self, document: Document) -> None:
        self.document = document
        #: those that are told
        self.problems = list(document.problems[:MOST_TOLD])
        self._untold = len(document.problems) - len(self.problems)
        self._unreadable: set[Path] = set()
        #: of what is unreadable, and what it stands in
        self._damaged: set[Path] = set()
        for path in document.unreadable:
            self.refuse(path)

    def has(self, path: Path) -> bool:
        """Whether the file sets this key."""
        parent = self.raw(path[:-1])
        return isinstance(parent, dict) and path[-1] in parent

    def raw(self, path: Path) -> Any:
        """The plain data at `path`; None where there is none."""
        value = self.document.data
        for part in path:
            if isinstance(value, dict):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int):
                value = value[part]
            else:
                return None
        return value

    def item(self, path: Path, index: int) -> Path:
        """The path of one name in what may be a list or a single name."""
        return (*path, index) if isinstance(self.raw(path), list) else path

    def readable(self, path: Path) -> bool:
        """Whether nothing of the value there was refused."""
        return path not in self._damaged

    def key(self, path: Path, message: Message) -> None:
        """A problem that stands at a key."""
        self._add(self.document.key(path), path, message)

    def value(self, path: Path, message: Message) -> None:
        """A problem that stands at a value, or at the mapping where the key is missing."""
        self._add(self.document.value(path), path, message)

    def character(self, path: Path, offset: int, message: Message) -> None:
        """A problem that stands at one character of a text."""
        self._add(self.document.character(path, offset), path, message)

    def refuse(self, path: Path) -> None:
        """Rely on this value no more, and report nothing more about it."""
        self._unreadable.add(path)
        self._damaged.update(path[:length] for length in range(len(path) + 1))

    def problem(self, path: Path, message: str) -> Problem:
        """A problem that stands at a value, for somebody else to tell."""
        return self._problem(self.document.value(path), path, message)

    def take(self, problems: Iterable[Problem]) -> None:
        """Problems that somebody else found."""
        for problem in problems:
            if len(self.problems) < MOST_TOLD:
                self.problems.append(problem)
            else:
                self._untold += 1

    def _add(self, spot: Spot, path: Path, message: Message) -> None:
        if any(path[:length] in self._unreadable for length in range(len(path) + 1)):
            return
        if len(self.problems) >= MOST_TOLD:
            self._untold += 1
            return
        text = message if isinstance(message, str) else message()
        problem = self._problem(spot, path, text)
        if problem not in self.problems:
            self.problems.append(problem)

    def _problem(self, spot: Spot, path: Path, message: str) -> Problem:
        return Problem(
            file=self.document.file,
            line=spot.line,
            column=spot.column,
            path=dotted(path),
            message=message,
        )

    def told(self) -> list[Problem]:
        """All problems, in no order; of too many the first that were found, and how many more."""
        if not self._untold:
            return self.problems
        message = f"and {count(self._untold, 'more problem')}"
        more = Problem(file=self.document.file, message=message, more=self._untold)
        return [*self.problems, more]

    def redacted(self) -> list[Problem]:
        """As `told`, without any secret that was learnt after they were found."""
        return [replace(p, path=_shown(p.path), message=_shown(p.message)) for p in self.told()]


def _shown(text: str) -> str:
    """Without what is a secret, and without what looks like one in a wrong place."""
    return without_tokens(REDACTOR.redact(text))


def read_as(section: type[_S], report: Report) -> _S:
    """The file as models; what cannot be read is reported, and as if its key were absent."""
    data = report.document.data
    for path in _empty(data, ()):
        report.value(path, "has no value; write one or remove the key")
        report.refuse(path)
    try:
        return section.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    unknown: dict[Path, list[str]] = defaultdict(list)
    for detail in details:
        if detail["type"] == "extra_forbidden":
            *parent, key = _path(detail)
            unknown[tuple(parent)].append(str(key))
    for detail in sorted(details, key=lambda detail: detail["loc"][-1] != "[key]"):
        _report(report, detail, unknown, section)
    return _without_refused(section, data)


def misspelt(report: Report, section: type[Section], path: Path, key: str) -> bool:
    """Whether the mapping at `path` has an unknown key that looks like `key`."""
    raw = report.raw(path)
    known = keys_of(section)
    strangers = [name for name in raw if name not in known] if isinstance(raw, dict) else []
    return bool(difflib.get_close_matches(key, strangers, n=1))


def keys_of(section: type[Section]) -> list[str]:
    """The keys that a mapping of this kind may have."""
    return [info.alias or name for name, info in section.model_fields.items()]


def _empty(data: Any, path: Path) -> Iterator[Path]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _empty(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _empty(value, (*path, index))
    elif data is None:
        yield path


# ── pydantic's errors in plain words ────────────────────────────────────────


def _path(detail: ErrorDetails) -> Path:
    parts = detail["loc"]
    return tuple(
        p for p in parts if not (isinstance(p, str) and (p.startswith(TAG) or p == "[key]"))
    )


def _report(
    report: Report, detail: ErrorDetails, unknown: Mapping[Path, list[str]], top: type[Section]
) -> None:
    """Tell one of pydantic's errors; `unknown` are the unknown keys of each mapping."""
    path = _path(detail)
    if detail["type"] == "extra_forbidden":
        report.key(path, lambda: _unknown_key(path, top))
    elif detail["type"] == "missing":
        strangers = unknown.get(path[:-1], [])
        if not difflib.get_close_matches(str(path[-1]), strangers, n=1):
            report.value(path, "is missing")
    elif detail["loc"][-1] == "[key]":
        report.key(path, lambda: _words(report, path, detail))
    else:
        report.value(path, lambda: _words(report, path, detail))
    report.refuse(path)


def _unknown_key(path: Path, top: type[Section]) -> str:
    section = _section_at(top, path[:-1])
    return f"unknown key{nearest(str(path[-1]), keys_of(section))}"


def _words(report: Report, path: Path, detail: ErrorDetails) -> str:
    value = report.raw(path)
    match detail["type"]:
        case "value_error":
            return str(detail["ctx"]["error"])
        case "model_type" | "dict_type":
            return f"must be a mapping (`key: value` lines), not {kind_of(value)}"
        case "list_type":
            return f"must be a list (`- ...` lines), not {kind_of(value)}"
        case "bool_type":
            return f"{show(value)} is not true or false"
        case "too_short":
            return "is empty; at least one is needed"
    return detail["msg"]


def kind_of(value: object) -> str:
    """What sort of value it is."""
    # the value itself may be a secret that stands in the wrong place
    return "a text" if isinstance(value, str) else show(value)


def _section_at(top: type[Section], path: Path) -> type[Section]:
    kind: Any = top
    for part in path:
        if isinstance(kind, type) and issubclass(kind, Section):
            names = {info.alias or name: name for name, info in kind.model_fields.items()}
            kind = _kinds(kind)[names[str(part)]]
        else:
            kind = get_args(kind)[-1]
    return _section_in(kind) or top


def _section_in(kind: Any) -> type[Section] | None:
    """The section that a value of this kind is, may be, or is a list or mapping of."""
    for part in (kind, *get_args(kind)):
        if isinstance(part, type) and issubclass(part, Section):
            return part
    return None


# ── what is left without what was refused ───────────────────────────────────


def _without_refused(section: type[_S], raw: Any) -> _S:
    """The section as if all that it refuses were not there."""
    raw = raw if isinstance(raw, dict) else {}
    values = {}
    for name, info in section.model_fields.items():
        key = info.alias or name
        if key in raw or info.is_required():
            values[name] = _value(section, name, raw.get(key))
    return section.model_construct(**values)


def _value(section: type[Section], name: str, raw: Any) -> Any:
    try:
        return _adapters(section)[name].validate_python(raw)
    except ValidationError:
        kind = _kinds(section)[name]
    inner, shape = _section_in(kind), get_origin(kind)
    if inner is None:
        return _fallback(section.model_fields[name], shape)
    if shape is list:
        return [_without_refused(inner, item) for item in raw] if isinstance(raw, list) else []
    if shape is dict:
        entries = raw.items() if isinstance(raw, dict) else ()
        return {key: _without_refused(inner, entry) for key, entry in entries}
    return _without_refused(inner, raw)


def _fallback(info: FieldInfo, shape: Any) -> Any:
    """What stands for a value that was refused: nothing, unless the key has a default."""
    if not info.is_required():
        return info.get_default(call_default_factory=True)
    return shape() if shape in {list, dict} else None


@functools.cache
def _adapters(section: type[Section]) -> dict[str, TypeAdapter[Any]]:
    hints = get_type_hints(section, include_extras=True)
    return {name: TypeAdapter(hints[name]) for name in section.model_fields}


@functools.cache
def _kinds(section: type[Section]) -> dict[str, Any]:
    return get_type_hints(section)
