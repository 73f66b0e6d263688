"""The rules that were last taken over, as the state file remembers them, without their secrets.

`status`, `ack`, `silence` and the like go by them while the rules file is broken or not at hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from alerting.config.report import is_secret
from alerting.config.yaml_reader import Number
from alerting.config.yaml_reader import Path as KeyPath
from alerting.redaction import REDACTOR
from alerting.store.facts import FactStore

#: under this the state remembers them
KEY = "rules"
# what is written for a secret: a variable, so that nobody takes it for one
_PLACEHOLDER = "${NOT_KEPT}"
_SECRET_KEYS = ("api_key", "secret_key", "url")


@dataclass(frozen=True, kw_only=True, slots=True)
class Remembered:
    """Rules as they were taken over."""

    #: where the rules file was
    path: Path
    taken_over_at: datetime
    #: YAML, in which each secret is a variable that nobody sets
    text: str


def without_secrets(data: Mapping[str, Any]) -> str:
    """A rules file's plain data as YAML that reads the same, but for secrets and `state`."""
    # who reads them has found the state already
    kept = {key: value for key, value in data.items() if key not in ("state", "state_file")}
    return "".join(_written(kept, ()))


def remember(store: FactStore, *, path: Path, text: str, now: datetime) -> None:
    """Keep the rules that are taken over, unless they are the ones that are kept already."""
    known = store.meta(KEY)
    before = _read(known) if known else None
    if before is None or (before.path, before.text) != (path, text):
        said = {"path": str(path), "at": now.isoformat(), "text": text}
        store.set_meta(KEY, json.dumps(said))


def recall(store: FactStore) -> Remembered | None:
    """The rules that were last taken over; None: none are remembered."""
    known = store.meta(KEY)
    return _read(known) if known else None


def _read(text: str) -> Remembered | None:
    try:
        said = json.loads(text)
        return Remembered(
            path=Path(said["path"]),
            taken_over_at=datetime.fromisoformat(said["at"]),
            text=str(said["text"]),
        )
    except (LookupError, TypeError, ValueError):
        return None


def _written(value: object, path: KeyPath) -> Iterator[str]:
    """The value in YAML's flow style, as JSON has it; numbers as they were written."""
    if isinstance(value, dict):
        yield "{"
        for number, (key, each) in enumerate(value.items()):
            yield f"{', ' if number else ''}{_text(str(key))}: "
            yield from _written(each, (*path, key))
        yield "}"
    elif isinstance(value, list):
        yield "["
        for number, each in enumerate(value):
            yield ", " if number else ""
            yield from _written(each, (*path, number))
        yield "]"
    elif isinstance(value, Number):
        yield value.text
    elif isinstance(value, str):
        # elsewhere nothing is masked: a rule would mean something else
        yield _text(_without_secret(value, path) if is_secret(path) else value)
    else:
        yield json.dumps(value)


def _without_secret(value: str, path: KeyPath) -> str:
    return _PLACEHOLDER if path[-1] in _SECRET_KEYS else REDACTOR.redact(value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
