"""Loads the rules file: all of it or, in one `ConfigError`, everything that is wrong with it.

Every command starts here, so that what is valid for one is valid for all; `Depth` says how far a
command needs it looked at.
"""

from __future__ import annotations

import contextlib
import enum
import re
import stat
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, timedelta, tzinfo
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from alerting.config import timezones
from alerting.config.doubts import doubts
from alerting.config.paces import check_paces
from alerting.config.remembered import Remembered, without_secrets
from alerting.config.report import Report, is_secret, keys_of, kind_of, read_as
from alerting.config.routes import RouteReader
from alerting.config.rules import RuleReader
from alerting.config.schema import (
    Account,
    Builtin,
    DisplaySection,
    FlappingSection,
    HeartbeatSection,
    Poll,
    Receiver,
    RulesFile,
    json_schema,
)
from alerting.config.secrets import SecretReader, Secrets
from alerting.config.settings import Config, HeartbeatSettings, PollSettings
from alerting.config.values import show
from alerting.config.yaml_reader import Document, read_file, read_yaml
from alerting.config.yaml_reader import Path as KeyPath
from alerting.display import PLAIN, Display
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
from alerting.errors import ConfigError, in_order
from alerting.exchanges.account import DEFAULT_BASE_URL, AccountSettings
from alerting.exchanges.coinswitch.keys import check_key_pair, secret_key_problem
from alerting.files import why_unread
from alerting.net.hosts import cut_by_fragment, is_loopback
from alerting.notify.settings import ReceiverSettings
from alerting.redaction import Secret
from alerting.units import ZERO, format_duration

__all__ = ["Depth", "Secrets", "json_schema", "load_config"]

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_CUT = (
    "has a # in its user or password, so that the host after it is lost: a URL ends there; "
    "write %23 for it"
)
_MILLISECOND = timedelta(milliseconds=1)


class Depth(enum.Enum):
    """How far a rules file is looked at; what it costs is what it loads."""

    #: the file itself: its structure, and what it means
    STRUCTURE = "structure"
    #: also whether each receiver could ever work (Apprise): one that cannot would be silence; and
    #: what is valid and can hardly be meant
    RECEIVERS = "receivers"
    #: also templates and annotations (Jinja), and whether the keys of an account belong together
    EVERYTHING = "everything"


def load_config(
    path: Path,
    *,
    environ: Mapping[str, str],
    secrets: Secrets = Secrets.REQUIRED,
    depth: Depth = Depth.STRUCTURE,
) -> Config:
    """The rules file at `path`; a ConfigError carries all that is wrong with it.

    What it leads to is looked at only where the file itself is valid.
    """
    return load_document(
        read_file(path, kind="the rules file", example="rules.example.yaml", secret=is_secret),
        path=path,
        environ=environ,
        secrets=secrets,
        depth=depth,
    )


def load_remembered(remembered: Remembered) -> Config:
    """The rules that were last taken over, their secrets ignored; ConfigError as `load_config`."""
    file = f"the rules of {remembered.path} that were taken over"
    document = read_yaml(remembered.text, file=file, secret=is_secret)
    return load_document(document, path=remembered.path, environ={}, secrets=Secrets.IGNORED)


def state_of(path: Path, *, environ: Mapping[str, str]) -> Path:
    """Where the state of a rules file is, however broken that is: as far as it can be read."""
    with contextlib.suppress(ConfigError):
        report = Report(read_file(path, kind="", example=""))
        reader = SecretReader(
            report=report, folder=path.parent, environ=environ, secrets=Secrets.IGNORED
        )
        for key in ("state", "state_file"):
            value = report.raw((key,))
            text = reader.setting((key,), value) if isinstance(value, str) and value else None
            if text:
                return path.parent / text
    return default_state(path)


def default_state(path: Path) -> Path:
    """Where the state of a rules file is that does not say it."""
    return path.with_name("alerting.db")


def load_document(
    document: Document,
    *,
    path: Path,
    environ: Mapping[str, str],
    secrets: Secrets,
    depth: Depth = Depth.STRUCTURE,
) -> Config:
    """As `load_config`, of a file at `path` that was read before."""
    report = Report(document)
    data = document.data
    if not isinstance(data, dict):
        keys = ", ".join(keys_of(RulesFile))
        report.value((), f"must be a mapping with the keys {keys}, not {kind_of(data)}")
        raise ConfigError(report.redacted())
    reader = SecretReader(report=report, folder=path.parent, environ=environ, secrets=secrets)
    loader = _Loader(report=report, folder=path.parent, secrets=reader)
    config = loader.config(path, read_as(RulesFile, report))
    if config is not None and depth is not Depth.STRUCTURE:
        _check_receivers(config, report)
        config = replace(config, warnings=tuple(doubts(config.ruleset, report)))
    if config is not None and depth is Depth.EVERYTHING:
        config = _look_further(config, report)
    if config is None or report.problems:
        raise ConfigError(report.redacted())
    return config


def _check_receivers(config: Config, report: Report) -> None:
    # here, so that who needs none of it does not load Apprise
    from alerting.notify.receivers import receiver_problem

    for name, receiver in config.receivers.items():
        problem = receiver_problem(receiver)
        if problem:
            report.value(("receivers", name, "url"), problem)


def _look_further(config: Config, report: Report) -> Config:
    """The same with its warnings; what cannot work is in the report."""
    # here, so that who needs none of it does not load Jinja and what signs
    from alerting.messages.check import check_templates

    rules = config.ruleset.rules
    index_of = {rule.name: index for index, rule in enumerate(rules)}
    report.take(
        check_templates(
            config.templates,
            rules,
            locate=lambda rule, key, message: report.problem(
                ("rules", index_of[rule.name], "annotations", key), message
            ),
        )
    )
    wrong = [(name, check_key_pair(account)) for name, account in config.accounts.items()]
    pairs = [report.problem(("accounts", name), text) for name, text in wrong if text]
    return replace(config, warnings=tuple(in_order([*config.warnings, *pairs])))


@dataclass(kw_only=True, slots=True)
class _Loader:
    """Turns the sections into settings; returns None, after a report, for what is wrong."""

    report: Report
    folder: Path
    secrets: SecretReader

    def config(self, path: Path, file: RulesFile) -> Config | None:
        check_paces(self.report, file)
        accounts = {name: self._account(name, each) for name, each in file.accounts.items()}
        receivers = {name: self._receiver(name, each) for name, each in file.receivers.items()}
        heartbeat = self._heartbeat(file.heartbeat)
        templates = self._templates(file.templates)
        state = self._state(file)
        display = self._display(file.display)
        ruleset = self._ruleset(file)
        if self.report.problems or ruleset is None:
            return None
        return Config(
            path=path,
            poll=PollSettings(
                interval=file.poll.interval,
                positions=file.poll.positions,
                timeout=file.poll.timeout,
            ),
            accounts={name: each for name, each in accounts.items() if each},
            receivers={name: each for name, each in receivers.items() if each},
            ruleset=ruleset,
            templates=templates,
            state=state,
            deliver_within=file.deliver_within,
            heartbeat=heartbeat,
            history_keep=file.history.keep,
            display=display,
            kept=without_secrets(self.report.document.data),
        )

    def _state(self, file: RulesFile) -> Path | None:
        """Where the state is, whether or not secrets are ignored: that is no secret."""
        key = "state" if self.report.has(("state",)) else "state_file"
        if key == "state" and self.report.has(("state_file",)):
            self.report.key(("state_file",), "excludes state; keep one of the two")
        value = file.state if key == "state" else file.state_file
        text = self.secrets.setting((key,), value) if value else None
        return self.folder / text if text else None

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
            forget_after=file.builtin.suspect_data.forget_after,
        )

    def _names(self, section: str) -> list[str] | None:
        """The names under `accounts` or `receivers`; None where that cannot be read."""
        raw = self.report.raw((section,))
        return list(raw) if isinstance(raw, dict) else None

    def _flapping(self, section: FlappingSection | None, poll: Poll) -> Flapping | None:
        if section is None:
            return None
        path: KeyPath = ("flapping", "within")
        needed: tuple[KeyPath, ...] = (path, ("flapping", "changes"), ("poll", "interval"))
        known = all(self.report.readable(each) for each in needed)
        # an alert changes at most once per poll
        if known and section.changes * poll.interval >= section.within:
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
        api_key = self.secrets.read(path, "api_key", section)
        secret_key = self.secrets.read(path, "secret_key", section)
        self._check_keys(path, api_key, secret_key)
        base_url = self._base_url((*path, "base_url"), section.base_url)
        if api_key is None or secret_key is None or base_url is None:
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
            self.report.value(self.secrets.given(path, "api_key"), message)
        if secret is None:
            return
        problem = secret_key_problem(secret)
        if problem:
            self.report.value(self.secrets.given(path, "secret_key"), problem)

    def _receiver(self, name: str, section: Receiver) -> ReceiverSettings | None:
        path: KeyPath = ("receivers", name)
        url = self.secrets.read(path, "url", section)
        if url is None:
            return None
        if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", url.reveal()):
            message = "is no Apprise URL; it must start with a service, as slack://"
            self.report.value(self.secrets.given(path, "url"), message)
        elif cut_by_fragment(url.reveal()):
            self.report.value(self.secrets.given(path, "url"), _CUT)
        return ReceiverSettings(name=name, url=url, send_resolved=section.send_resolved)

    def _heartbeat(self, section: HeartbeatSection | None) -> HeartbeatSettings | None:
        path: KeyPath = ("heartbeat",)
        url = self.secrets.read(path, "url", section) if section else None
        if section is None or url is None:
            return None
        wrong = _ping_problem(url.reveal())
        if wrong:
            self.report.value(self.secrets.given(path, "url"), wrong)
        return HeartbeatSettings(url=url, every=section.every)

    def _display(self, section: DisplaySection) -> Display:
        name = section.timezone
        zone: tzinfo = UTC
        if name is not None and name != "UTC":
            # reading the list takes a while: only where it is needed
            zones = timezones.names()
            if name not in zones:
                path: KeyPath = ("display", "timezone")
                self.report.value(path, lambda: timezones.problem(name, zones))
                return PLAIN
            zone = zoneinfo.ZoneInfo(name)
        return Display(zone=zone, grouping=section.grouping)

    def _base_url(self, path: KeyPath, url: str | None) -> str | None:
        if url is None:
            return None if self.report.has(path) else DEFAULT_BASE_URL
        wrong = _url_problem(url)
        if wrong:
            self.report.value(path, wrong)
            return None
        return url.rstrip("/")

    # ── paths ───────────────────────────────────────────────────────────────

    def _templates(self, name: str | None) -> Path | None:
        if name is None:
            return None
        folder = self.folder / name
        try:
            found = stat.S_ISDIR(folder.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            found = False
        except (OSError, ValueError) as error:
            self.report.value(("templates",), f"cannot be looked into: {why_unread(error)}")
            return folder
        if not found:
            self.report.value(("templates",), f"there is no folder {show(name)}")
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
    if cut_by_fragment(url):
        return _CUT
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
