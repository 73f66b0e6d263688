"""The text of a first rules file: who is read, who is told, and the example's rules.

The rules are those of `rules.example.yaml` as it is packaged, so that their thresholds are written
down once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from alerting.errors import AlertingError
from alerting.files import UnreadableError, read_text

_MOST = 1024 * 1024


class ExampleMissingError(AlertingError):
    """The installation lacks the example rules."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a secret is to be read from: a variable, or a file (relative to the rules file)."""

    #: what the rules file has it under, without `_file`
    key: str
    variable: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        """The line of the rules file."""
        if self.file is not None:
            # in quotes: a path may hold what means something in YAML
            text = self.file.replace("\\", "\\\\").replace('"', '\\"')
            return f'{self.key}_file: "{text}"'
        return f"{self.key}: ${{{self.variable}}}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Starter:
    """What a first rules file says."""

    account: str
    keys: tuple[Source, Source]
    #: None: the exchange's own
    base_url: str | None
    #: name -> where its URL is; the first one is told of everything
    receivers: Sequence[tuple[str, Source]]


def example_path() -> Path:
    """Where `rules.example.yaml` is: in the package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    packaged = package / "rules.example.yaml"
    return packaged if packaged.exists() else package.parent / "rules.example.yaml"


def starter_text(starter: Starter) -> str:
    """The rules file, with comments."""
    return "\n".join([*_head(), *_accounts(starter), *_receivers(starter), *_routes(starter)]) + (
        "\n\n" + _example_rules()
    )


def _head() -> Iterator[str]:
    yield "# Made by `alerting init`. After a change: `alerting check`."
    yield "# Every key that there is, and what it does: rules.example.yaml."
    yield ""
    yield "poll:"
    yield "  interval: 15s            # how often the wallet is read"
    yield "  blind_after: 2m          # no good answer for so long is an alert, too (critical)"
    yield ""


def _accounts(starter: Starter) -> Iterator[str]:
    yield "accounts:"
    yield f"  {starter.account}:"
    yield from (f"    {key}" for key in starter.keys)
    if starter.base_url is not None:
        yield f"    base_url: {starter.base_url}"
    yield ""


def _receivers(starter: Starter) -> Iterator[str]:
    yield "receivers:                 # any Apprise URL"
    for name, source in starter.receivers:
        yield f"  {name}:"
        yield f"    {source}"
    yield ""


def _routes(starter: Starter) -> Iterator[str]:
    names = [name for name, _ in starter.receivers]
    yield "routes:                    # the first that matches takes the alert"
    yield "  - match: {severity: critical}"
    yield f"    receivers: [{', '.join(names)}]"
    yield "    repeat_interval: 15m   # while it fires, a reminder so often"
    yield f"  - receivers: [{names[0]}]"
    yield "    repeat_interval: 4h"


def _example_rules() -> str:
    """The example's `rules:`, up to its next section, for any account."""
    try:
        text = read_text(example_path(), most=_MOST)
    except UnreadableError as error:
        raise ExampleMissingError(f"{example_path()} {error}: install alerting anew") from error
    found = re.search(r"^rules:\n(.*?)(?=^# ──|^\S+:|\Z)", text, re.DOTALL | re.MULTILINE)
    if found is None:
        raise ExampleMissingError(f"{example_path()} has no rules: install alerting anew")
    lines = found[1].splitlines()
    kept = [line for line in lines if not re.match(r" +accounts: ", line)]
    # comments at its end belong to what follows there
    while kept and not kept[-1].startswith(" "):
        kept.pop()
    return "\n".join(["rules:                     # the thresholds to make your own", *kept, ""])
