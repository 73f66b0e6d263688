"""Loads the rules file: all of it or, in one `ConfigError`, everything that is wrong with it."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from alerting.config import schema
from alerting.config.report import Report, is_secret, keys_of, kind_of, misspelt, read_sections
from alerting.config.rules import RouteReader, RuleReader
from alerting.config.schema import (
    Account,
    Builtin,
    FlappingSection,
    HeartbeatSection,
    Poll,
    Receiver,
    RulesFile,
)
from alerting.config.settings import Config, HeartbeatSettings, PollSettings
from alerting.config.yaml_reader import MAX_BYTES, Document, read_bytes
from alerting.config.yaml_reader import Path as KeyPath
from alerting.engine.model import Severity
from alerting.engine.rules import (
    BLIND,
    CONFIG_INVALID,
    DELIVERY_FAILING,
    RULE_UNDEFINED,
    SUSPECT_DATA,
    BuiltinRule,
    Flapping,
    ReceiverPolicy,
    Ruleset,
)
from alerting.errors import ConfigError, Problem
from alerting.exchanges.account import DEFAULT_BASE_URL, AccountSettings
from alerting.net.hosts import is_loopback
from alerting.notify.settings import ReceiverSettings
from alerting.redaction import REDACTOR, Secret
from alerting.units import ZERO, format_duration

json_schema = schema.json_schema

_MAX_SECRET_BYTES = 64 * 1024
_VARIABLE = re.compile(r"\$\{(?:([A-Za-z_][A-Za-z0-9_]*)\})?")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_MILLISECOND = timedelta(milliseconds=1)
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


def load_config(
    path: Path, *, environ: Mapping[str, str], secrets: Secrets = Secrets.REQUIRED
) -> Config:
    """The rules file at `path`; a ConfigError carries all that is wrong with it."""
    document = _read(path)
    report = Report(document)
    if not isinstance(document.data, dict):
        keys = ", ".join(keys_of(RulesFile))
        report.value((), f"must be a mapping with the keys {keys}, not {kind_of(document.data)}")
        raise ConfigError(report.problems)
    sections = read_sections(report)
    loader = _Loader(report=report, folder=path.parent, environ=environ, secrets=secrets)
    config = loader.config(path, sections)
    if config is None or report.problems:
        raise ConfigError(report.redacted())
    return config


def _read(path: Path) -> Document:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        message = "there is no such file"
    except IsADirectoryError:
        message = "is a directory; the rules file is needed"
    except (OSError, ValueError) as error:
        message = f"cannot be read: {_reason(error)}"
    else:
        document = read_bytes(raw, file=str(path), secret=is_secret)
        if document.data is not None or document.problems:
            return document
        message = "is empty; see rules.example.yaml"
    raise ConfigError([Problem(file=str(path), line=1, column=1, path="", message=message)])


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or "this is no usable path"


@dataclass(kw_only=True, slots=True)
class _Loader:
    """Turns the sections into settings; returns None, after a report, for what is wrong."""

    report: Report
    folder: Path
    environ: Mapping[str, str]
    secrets: Secrets

    def config(self, path: Path, file: RulesFile) -> Config | None:
        self._check_poll(file.poll, file.accounts, file.builtin)
        accounts = {name: self._account(name, each) for name, each in file.accounts.items()}
        receivers = {name: self._receiver(name, each) for name, each in file.receivers.items()}
        heartbeat = self._heartbeat(file.heartbeat)
        templates = self._templates(file.templates)
        ruleset = self._ruleset(file)
        if self.report.problems or ruleset is None:
            return None
        return Config(
            path=path,
            poll=PollSettings(interval=file.poll.interval, timeout=file.poll.timeout),
            accounts={name: each for name, each in accounts.items() if each},
            receivers={name: each for name, each in receivers.items() if each},
            ruleset=ruleset,
            templates=templates,
            state=self.folder / file.state if file.state else None,
            deliver_within=file.deliver_within,
            heartbeat=heartbeat,
            history_keep=file.history.keep,
        )

    def _ruleset(self, file: RulesFile) -> Ruleset | None:
        known, targets = self._names("accounts"), self._names("receivers")
        rules = RuleReader(report=self.report, accounts=known).read(file.rules)
        router = RouteReader(report=self.report, accounts=known, receivers=targets)
        routes = router.read(file.routes)
        flapping = self._flapping(file.flapping, file.poll)
        if self.report.problems:
            return None
        return Ruleset(
            rules=rules,
            routes=routes,
            receivers={
                name: ReceiverPolicy(send_resolved=each.send_resolved)
                for name, each in file.receivers.items()
            },
            accounts=tuple(file.accounts),
            blind_after=file.poll.blind_after,
            builtin=_builtin(file.builtin, file.poll.blind_after),
            flapping=flapping,
            tolerance=file.builtin.tolerance,
        )

    def _names(self, section: str) -> list[str] | None:
        """The names under `accounts` or `receivers`; None where that cannot be read."""
        raw = self.report.raw((section,))
        return list(raw) if isinstance(raw, dict) else None

    # ── poll ────────────────────────────────────────────────────────────────

    def _check_poll(self, poll: Poll, accounts: Mapping[str, Account], builtin: Builtin) -> None:
        # what cannot be read is None here, whatever its type says
        if poll.interval is None:
            return
        self._check_rate(poll.interval, accounts)
        blind = builtin.blind.for_ if builtin.blind else None
        for path, delay in (
            (("poll", "blind_after"), poll.blind_after),
            (("builtin", "blind", "for"), blind),
        ):
            if delay is not None and delay < poll.interval:
                self.report.value(
                    path if self.report.has(path) else ("poll", "interval"),
                    f"{path[-1]} {format_duration(delay)} is less than the poll interval "
                    f"{format_duration(poll.interval)}: the alert `blind` would always fire",
                )

    def _check_rate(self, interval: timedelta, accounts: Mapping[str, Account]) -> None:
        rates = [(each.rate_limit, name) for name, each in accounts.items() if each.rate_limit]
        if not rates:
            return
        (requests, window), name = max(rates, key=lambda rate: rate[0][1] / rate[0][0])
        if interval * requests >= window:
            return
        # -(-a // b): rounded up to a duration that can be written
        least = -(-window // (requests * _MILLISECOND)) * _MILLISECOND
        path: KeyPath = ("poll", "interval")
        rate: KeyPath = ("accounts", name, "rate_limit")
        written = self.report.raw(rate) or "20/60s"
        self.report.value(
            path if self.report.has(path) else rate,
            f"polling every {format_duration(interval)} would use more than the whole rate_limit "
            f"{written} of account {name!r}; "
            f"the least interval is {format_duration(least)}",
        )

    def _flapping(self, section: FlappingSection | None, poll: Poll) -> Flapping | None:
        if section is None or not section.changes or not section.within:
            return None
        # an alert changes at most once per poll
        if poll.interval and section.changes * poll.interval >= section.within:
            path: KeyPath = ("flapping", "within")
            self.report.value(
                path if self.report.has(path) else path[:1],
                f"with one poll every {format_duration(poll.interval)}, more than "
                f"{section.changes} changes within {format_duration(section.within)} "
                "cannot happen; write a longer time or fewer changes",
            )
        return Flapping(changes=section.changes, within=section.within)

    # ── accounts, receivers, heartbeat ──────────────────────────────────────

    def _account(self, name: str, section: Account) -> AccountSettings | None:
        path: KeyPath = ("accounts", name)
        api_key = self._secret(path, "api_key", section)
        secret_key = self._secret(path, "secret_key", section)
        self._check_keys(path, api_key, secret_key)
        base_url = self._base_url((*path, "base_url"), section.base_url)
        if api_key is None or secret_key is None or base_url is None or not section.rate_limit:
            return None
        requests, window = section.rate_limit
        return AccountSettings(
            name=name,
            api_key=api_key,
            secret_key=secret_key,
            base_url=base_url,
            rate_requests=requests,
            rate_window=window,
        )

    def _check_keys(self, path: KeyPath, api_key: Secret | None, secret: Secret | None) -> None:
        if api_key and not re.fullmatch(r"[!-~]+", api_key.reveal()):
            message = "has a space or a character that no API key has"
            self.report.value(self._given(path, "api_key"), message)
        if secret is None:
            return
        # here, so that reading a rules file does not load cryptography
        from alerting.exchanges.coinswitch.keys import secret_key_problem

        problem = secret_key_problem(secret)
        if problem:
            self.report.value(self._given(path, "secret_key"), problem)

    def _receiver(self, name: str, section: Receiver) -> ReceiverSettings | None:
        path: KeyPath = ("receivers", name)
        url = self._secret(path, "url", section)
        if url is None:
            return None
        if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url.reveal()):
            message = "is no Apprise URL; it must start with a service, as slack://"
            self.report.value(self._given(path, "url"), message)
        return ReceiverSettings(name=name, url=url, send_resolved=section.send_resolved)

    def _heartbeat(self, section: HeartbeatSection | None) -> HeartbeatSettings | None:
        path: KeyPath = ("heartbeat",)
        url = self._secret(path, "url", section) if section else None
        if section is None or url is None:
            return None
        wrong = _ping_problem(url.reveal())
        if wrong:
            self.report.value(self._given(path, "url"), wrong)
        return HeartbeatSettings(url=url, every=section.every)

    def _base_url(self, path: KeyPath, url: str | None) -> str | None:
        if url is None:
            return None if self.report.has(path) else DEFAULT_BASE_URL
        wrong = _url_problem(url)
        if wrong:
            self.report.value(path, wrong)
            return None
        return url.rstrip("/")

    # ── secrets: no message quotes a value ──────────────────────────────────

    def _given(self, path: KeyPath, key: str) -> KeyPath:
        """The path of the key, or of its `_file` twin where that is used."""
        return (*path, key) if self.report.has((*path, key)) else (*path, f"{key}_file")

    def _secret(
        self, path: KeyPath, key: str, section: Account | Receiver | HeartbeatSection
    ) -> Secret | None:
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
        (REDACTOR.learn_url if key == "url" else REDACTOR.learn)(text)
        return Secret(text)

    def _check_variables(self, path: KeyPath, text: str) -> bool:
        """Whether every `${` begins a ${NAME}."""
        malformed = [match for match in _VARIABLE.finditer(text) if match[1] is None]
        for match in malformed:
            self.report.character(path, match.start(), "`${` must be followed by NAME}")
        return not malformed

    def _expand(self, path: KeyPath, text: str) -> str | None:
        """`text` with every ${NAME} replaced from the environment."""
        unset = [match for match in _VARIABLE.finditer(text) if not self.environ.get(match[1])]
        for match in unset:
            state = "is empty" if match[1] in self.environ else "is not set"
            message = f"the environment variable {match[1]} {state}"
            self.report.character(path, match.start(), message)
        return None if unset else _VARIABLE.sub(lambda match: self.environ[match[1]], text)

    def _file(self, path: KeyPath, name: str) -> str | None:
        """The content of a secret's file, without the newline at its end."""
        try:
            with (self.folder / name).open("rb") as file:
                raw = file.read(_MAX_SECRET_BYTES + 1)
            text = raw.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            self.report.value(path, "the file is not text in UTF-8")
            return None
        except (OSError, ValueError) as error:
            self.report.value(path, f"the file cannot be read: {_reason(error)}")
            return None
        if len(raw) > _MAX_SECRET_BYTES:
            self.report.value(path, "the file is larger than 64 KiB")
            return None
        if not text:
            self.report.value(path, "the file is empty")
            return None
        return text

    # ── paths ───────────────────────────────────────────────────────────────

    def _templates(self, name: str | None) -> Path | None:
        if name is None:
            return None
        folder = self.folder / name
        if not folder.is_dir():
            self.report.value(("templates",), f"there is no folder {schema.show(name)}")
        return folder


def _web_address(url: str) -> SplitResult | None:
    """The parts of an http or https URL; None if it is none."""
    try:
        parts = urlsplit(url)
        usable = parts.port != 0
    except ValueError:
        return None
    usable = usable and parts.scheme in {"http", "https"} and _is_host(parts.hostname or "")
    return parts if usable else None


def _url_problem(url: str) -> str | None:
    """What is wrong with a base_url; names its host, never a password in it."""
    parts = _web_address(url)
    if parts is None:
        return "is no URL; write it as https://coinswitch.co"
    host = parts.hostname or ""
    if parts.username is not None or parts.password is not None:
        return "must not hold a user or a password"
    if parts.path.strip("/") or parts.query or parts.fragment:
        return f"must end after the host {host!r}; paths and queries are not allowed"
    if parts.scheme == "http" and not is_loopback(host):
        return f"http is allowed for loopback hosts only, {host!r} needs https"
    return None


def _ping_problem(url: str) -> str | None:
    """What is wrong with a heartbeat's url; quotes nothing of it."""
    if not re.fullmatch(r"[!-~]+", url):
        return "has a space or a character that no URL has"
    parts = _web_address(url)
    if parts is None:
        return "is no URL; it must start with https:// and name a host"
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        return "http is allowed for loopback hosts only; write https"
    return None


def _is_host(host: str) -> bool:
    return bool(_HOST.fullmatch(host)) or ":" in host


def _builtin(section: Builtin, blind_after: timedelta) -> dict[str, BuiltinRule]:
    defaults = {
        BLIND: (Severity.CRITICAL, blind_after),
        SUSPECT_DATA: (Severity.WARNING, ZERO),
        RULE_UNDEFINED: (Severity.WARNING, blind_after),
        DELIVERY_FAILING: (Severity.CRITICAL, timedelta(minutes=5)),
        CONFIG_INVALID: (Severity.WARNING, ZERO),
    }
    found = {}
    for name, own in section.sections().items():
        severity, delay = defaults[name]
        found[name] = BuiltinRule(
            severity=own.severity or severity,
            for_=delay if own.for_ is None else own.for_,
            keep_firing_for=own.keep_firing_for or ZERO,
        )
    return found
