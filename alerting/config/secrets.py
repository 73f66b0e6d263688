"""The secrets that a rules file holds or names: ${NAME} and files. No message quotes a value."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alerting.config.report import Report, misspelt
from alerting.config.schema import Section
from alerting.config.yaml_reader import Path as KeyPath
from alerting.files import UnreadableError, read_text
from alerting.redaction import REDACTOR, Secret

_MAX_BYTES = 64 * 1024
_VARIABLE = re.compile(r"\$\{(?:([A-Za-z_][A-Za-z0-9_]*)\})?")
#: valid, and of no use to anybody: what stands for a secret that is not read
_PLACEHOLDERS = {
    ("accounts", "api_key"): "0" * 64,
    ("accounts", "secret_key"): "0" * 64,
    ("receivers", "url"): "json://127.0.0.1/",
    ("heartbeat", "url"): "http://127.0.0.1/",
}


class Secrets(enum.Enum):
    """Whether a rules file is read with its secrets."""

    REQUIRED = "required"
    #: neither the environment nor a `*_file` is read; their secrets are placeholders
    IGNORED = "ignored"


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretReader:
    """Reads the secrets of sections; each is masked everywhere from then on."""

    report: Report
    #: a `*_file` is relative to it
    folder: Path
    environ: Mapping[str, str]
    secrets: Secrets

    def given(self, path: KeyPath, key: str) -> KeyPath:
        """The path of the key, or of its `_file` twin where that is used."""
        return (*path, key) if self.report.has((*path, key)) else (*path, f"{key}_file")

    def read(self, path: KeyPath, key: str, section: Section) -> Secret | None:
        """The secret of `key` or of the file that `key`_file names, from now on masked."""
        given = [k for k in (key, f"{key}_file") if self.report.has((*path, k))]
        if len(given) == 2:
            self.report.key((*path, given[1]), f"excludes {key}; keep one of the two")
            return None
        if not given:
            if not misspelt(self.report, type(section), path, key):
                self.report.value((*path, key), f"is missing; give {key} or {key}_file")
            return None
        value: str | None = getattr(section, given[0])
        if value is None:
            return None
        return self._reveal((*path, given[0]), key, value)

    def setting(self, path: KeyPath, value: str) -> str | None:
        """What is no secret, but may name variables, or a file (a key that ends in `_file`)."""
        if str(path[-1]).endswith("_file"):
            return self._file(path, value)
        return self._expand(path, value) if self._check_variables(path, value) else None

    def _reveal(self, where: KeyPath, key: str, value: str) -> Secret | None:
        """The secret that `value` holds, or names as a variable or a file."""
        in_file = where[-1] != key
        if not in_file and not self._check_variables(where, value):
            return None
        if self.secrets is Secrets.IGNORED and (in_file or _VARIABLE.search(value)):
            return Secret(_PLACEHOLDERS[str(where[0]), key])
        text = self._file(where, value) if in_file else self._expand(where, value)
        if text is None:
            return None
        if len(text) > _MAX_BYTES:
            self.report.value(where, "is longer than 64 KiB")
            return None
        (REDACTOR.learn_url if key == "url" else REDACTOR.learn_key)(text)
        return Secret(text)

    def _check_variables(self, path: KeyPath, text: str) -> bool:
        """Whether every `${` begins a ${NAME}."""
        malformed = [match for match in _VARIABLE.finditer(text) if match[1] is None]
        for match in malformed:
            self.report.character(path, match.start(), "`${` must be followed by NAME}")
        return not malformed

    def _expand(self, path: KeyPath, text: str) -> str | None:
        """`text` with every ${NAME} replaced from the environment."""
        wrong = [
            (match, state)
            for match in _VARIABLE.finditer(text)
            if (state := _unusable(self.environ.get(match[1])))
        ]
        for match, state in wrong:
            message = f"the environment variable {match[1]} {state}"
            self.report.character(path, match.start(), message)
        return None if wrong else _VARIABLE.sub(lambda match: self.environ[match[1]], text)

    def _file(self, path: KeyPath, name: str) -> str | None:
        """The content of a secret's file, without the newline at its end."""
        try:
            text = read_text(self.folder / name, most=_MAX_BYTES).rstrip("\r\n")
        except UnreadableError as error:
            self.report.value(path, f"the file {error}")
            return None
        if not text:
            self.report.value(path, "the file is empty")
            return None
        return text


def _unusable(value: str | None) -> str | None:
    """What is wrong with an environment variable; None: nothing."""
    if value is None:
        return "is not set"
    if not value:
        return "is empty"
    # bytes that are no UTF-8 come as half surrogate pairs
    return "is not text in UTF-8" if any("\ud800" <= char <= "\udfff" for char in value) else None
