"""The rules file: what loads, and the exact line for everything that does not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zoneinfo
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alerting import redaction
from alerting.config import load as config
from alerting.config.load import Secrets, json_schema, load_config
from alerting.config.settings import HeartbeatSettings
from alerting.engine.feeds import NAMES, Scope
from alerting.engine.model import Direction, Severity
from alerting.engine.mute_windows import Window
from alerting.engine.rules import BUILTIN_NAMES, Flapping, ReceiverPolicy, Repeat, Route
from alerting.engine.rules import NamePattern as Names
from alerting.errors import ConfigError

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parents[1] / "data" / "config"
D = Decimal
M = timedelta(minutes=1)
S = timedelta(seconds=1)
INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL

SEED = bytes(range(32))
SECRET_KEY = SEED.hex()
API_KEY = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw().hex()
HOOK = "json://localhost:1/hook-token-123"
ENVIRON = {"KEY": API_KEY, "SECRET": SECRET_KEY, "URL": HOOK, "EMPTY": ""}

ACCOUNTS = """accounts:
  main: {api_key: "${KEY}", secret_key: "${SECRET}"}
"""
RECEIVERS = """receivers:
  desk: {url: "${URL}"}
"""
ROUTES = """routes:
  - receivers: [desk]
"""
RULES = """rules:
  - {name: floor, per: wallet, value: total_balance, below: 1000}
"""


@pytest.fixture(autouse=True)
def _own_redactor(monkeypatch):
    """Secrets that one test teaches must not mask another's texts."""
    fresh = redaction.Redactor()
    monkeypatch.setattr("alerting.config.secrets.REDACTOR", fresh)
    monkeypatch.setattr("alerting.config.report.REDACTOR", fresh)
    return fresh


@pytest.fixture
def load(tmp_path):
    """Loads a text, made of the parts above unless others are given."""

    def run(
        extra="", *, accounts=ACCOUNTS, receivers=RECEIVERS, routes=ROUTES, rules=RULES,
        secrets=Secrets.REQUIRED, **env,
    ):  # fmt: skip
        path = tmp_path / "rules.yaml"
        path.write_text(accounts + receivers + routes + rules + extra, encoding="utf-8")
        return load_config(path, environ={**ENVIRON, **env}, secrets=secrets)

    return run


@pytest.fixture
def load_route(load):
    """Loads one route, given by its keys, and returns it."""

    def run(**keys):
        lines = "".join(f"    {key}: {value}\n" for key, value in keys.items())
        return load(routes=ROUTES + lines).ruleset.routes[0]

    return run


@pytest.fixture
def load_mute(load_route):
    """Loads a route with one window, given by its keys, and returns that."""

    def run(**keys):
        keys = {"from": '"22:00"', "to": '"07:00"', "timezone": "Asia/Kolkata"} | keys
        window = ", ".join(f"{key}: {value}" for key, value in keys.items())
        (loaded,) = load_route(mute=f"[{{{window}}}]").mute
        return loaded

    return run


@pytest.fixture
def load_rule(load):
    """Loads one rule, given by its keys, and returns it."""

    def run(**keys):
        keys = {"name": "r", "per": "wallet", "value": "total_balance", "below": "1000"} | keys
        lines = "".join(f"    {k.rstrip('_')}: {v}\n" for k, v in keys.items() if v is not None)
        return load(rules="rules:\n  -" + lines[3:]).ruleset.rules[0]

    return run


def messages(call, *args, **kwargs):
    """The problems that a call raises, with FILE for the file's name."""
    with pytest.raises(ConfigError) as caught:
        call(*args, **kwargs)
    assert caught.value.__cause__ is None
    return [re.sub(r"^.*?\.yaml:", "FILE:", str(problem)) for problem in caught.value.problems]


# one file per fault, named after it
FAULTS = {
    "above-and-below": [
        "FILE:14:5: rules.0.below: excludes above; keep one of the two",
    ],
    "account-name-with-space": [
        "FILE:2:3: accounts.my account: 'my account' is not a name; it must match [A-Za-z0-9][A-Za-z0-9_.-]*",
    ],
    "anchor-and-alias": [
        "FILE:14:12: rules.0.below: anchors (&) are not supported; for a text, put it in quotes",
        "FILE:18:12: rules.1.below: aliases (*) are not supported; for a text, put it in quotes",
    ],
    "annotation-unknown": [
        "FILE:15:19: rules.0.annotations.sumary: unknown key; did you mean 'summary'?",
    ],
    "api-key-with-space": [
        "FILE:3:14: accounts.main.api_key: has a space or a character that no API key has",
    ],
    "base-60-number": [
        "FILE:15:10: rules.0.for: '12:30' is ambiguous (YAML 1.1 reads base 60); put it in quotes",
    ],
    "base-assets-for-an-account-rule": [
        "FILE:15:5: rules.0.base_assets: is for wallet and symbol rules only",
    ],
    "base-url-not-a-url": [
        "FILE:5:15: accounts.main.base_url: is no URL; write it as https://coinswitch.co",
    ],
    "base-url-plain-http": [
        "FILE:5:15: accounts.main.base_url: http is allowed for loopback hosts only, 'example.com' needs https",
    ],
    "base-url-with-password": [
        "FILE:5:15: accounts.main.base_url: must not hold a user or a password",
    ],
    "base-url-with-path": [
        "FILE:5:15: accounts.main.base_url: must end after the host 'example.com'; paths and queries are not allowed",
    ],
    "blind-after-under-the-interval": [
        "FILE:2:13: poll.interval: blind_after 2m is less than the poll interval 5m: the alert `blind` would always fire",
    ],
    "blind-for-under-the-interval": [
        "FILE:15:24: builtin.blind.for: for 5s is less than the poll interval 15s: the alert `blind` would always fire",
    ],
    "boolean-as-text": [
        "FILE:8:20: receivers.desk.send_resolved: 'true' is not true or false",
    ],
    "capital-true": [
        "FILE:8:20: receivers.desk.send_resolved: 'True' must be written in lower case, or in quotes if it is a text",
    ],
    "catch-all-route-not-last": [
        "FILE:9:5: routes.0: matches everything, so no route after it is ever reached; move it down",
    ],
    "clear-a-ladder": [
        "FILE:15:12: rules.0.clear: must be one number, as below is",
    ],
    "clear-beyond-threshold": [
        "FILE:15:12: rules.0.clear: clear 900 is beyond the threshold; with below 1000 it must be that or more",
    ],
    "clear-for-unknown-level": [
        "FILE:15:13: rules.0.clear.critical: the rule has no threshold for critical; it has warning",
    ],
    "clear-not-a-ladder": [
        "FILE:15:12: rules.0.clear: must have one number per severity, as below has",
    ],
    "clear-of-ladder-beyond-threshold": [
        "FILE:15:23: rules.0.clear.critical: clear 0.40 is beyond the threshold; with above 0.35 it must be that or less",
    ],
    "date": [
        "FILE:15:21: rules.0.labels.since: '2026-01-01' is ambiguous (YAML 1.1 reads a date); put it in quotes",
    ],
    "duplicate-key": [
        "FILE:15:5: rules.0.below: is set twice; first at line 14, column 5",
    ],
    "duration-of-zero": [
        "FILE:1:17: poll.timeout: 0s is not allowed; it must be longer than that",
    ],
    "duration-unknown-unit": [
        "FILE:15:10: rules.0.for: '5w' is not a duration; write 500ms, 30s, 5m, 2h, 1d or 1h30m",
    ],
    "duration-without-unit": [
        "FILE:1:18: poll.interval: 15 has no unit; write 15s, 5m, 2h or 1d",
    ],
    "empty-filter": [
        "FILE:15:15: rules.0.accounts: is empty; remove the key to match everything",
    ],
    "empty-variable": [
        "FILE:3:14: accounts.main.api_key: the environment variable EMPTY is empty",
    ],
    "empty": [
        "FILE:1:1: is empty; see rules.example.yaml",
    ],
    "exponent-number": [
        "FILE:14:12: rules.0.below: '1e3' is ambiguous; write the number out, without an exponent",
    ],
    "expression-assignment": [
        "FILE:15:25: rules.0.when: '=' is not allowed; did you mean ==?",
    ],
    "expression-attribute": [
        "FILE:13:25: rules.0.value: '.' is not allowed; allowed are numbers, names, + - * /, comparisons, and or not, abs min max, parentheses",
    ],
    "expression-condition-for-a-number": [
        "FILE:13:12: rules.0.value: a number is needed here, this is a condition",
    ],
    "expression-ends-early": [
        "FILE:13:27: rules.0.value: ends too early; a number or a name is missing",
    ],
    "expression-error-on-second-line": [
        "FILE:15:9: rules.0.value: unknown name 'totl_balance'; did you mean 'total_balance'?",
    ],
    "expression-name-of-another-scope": [
        "FILE:13:17: rules.0.value: 'concentration' is a name of symbol rules only",
    ],
    "expression-number-for-a-condition": [
        "FILE:15:33: rules.0.when: a condition is needed here, such as total_balance > 0; this is a number",
    ],
    "expression-percent": [
        "FILE:15:28: rules.0.when: '%' is not allowed; write 0.20 for 20%",
    ],
    "expression-power": [
        "FILE:13:30: rules.0.value: '**' is not allowed; allowed are numbers, names, + - * /, comparisons, and or not, abs min max, parentheses",
    ],
    "expression-unknown-name": [
        "FILE:13:28: rules.0.value: unknown name 'total_balanc'; did you mean 'total_balance'?",
    ],
    "flapping-cannot-happen": [
        "FILE:15:11: flapping: with one poll every 10m, more than 6 changes within 30m cannot happen; write a longer time or fewer changes",
    ],
    "flapping-half-a-change": [
        "FILE:15:21: flapping.changes: 2.5 is not a whole number from 2 to 1000",
    ],
    "flapping-not-a-mapping": [
        "FILE:15:11: flapping: must be a mapping (`key: value` lines), not 6",
    ],
    "flapping-one-change": [
        "FILE:15:21: flapping.changes: 1 is not a whole number from 2 to 1000",
    ],
    "flapping-too-short": [
        "FILE:15:32: flapping.within: with one poll every 15s, more than 6 changes within 1m30s cannot happen; write a longer time or fewer changes",
    ],
    "flapping-within-zero": [
        "FILE:15:20: flapping.within: 0s is not allowed; it must be longer than that",
    ],
    "for-unknown-level": [
        "FILE:15:11: rules.0.for.critical: the rule has no threshold for critical; it has warning",
    ],
    "heartbeat-every-zero": [
        "FILE:15:57: heartbeat.every: 0s is not allowed; it must be longer than that",
    ],
    "heartbeat-file-missing": [
        "FILE:15:23: heartbeat.url_file: the file cannot be read: No such file or directory",
    ],
    "heartbeat-not-a-mapping": [
        "FILE:15:12: heartbeat: must be a mapping (`key: value` lines), not a text",
    ],
    "heartbeat-not-a-url": [
        "FILE:15:18: heartbeat.url: is no URL; it must start with https:// and name a host",
    ],
    "heartbeat-plain-http": [
        "FILE:15:18: heartbeat.url: http is allowed for loopback hosts only; write https",
    ],
    "heartbeat-unset-variable": [
        "FILE:15:19: heartbeat.url: the environment variable HEARTBEAT_URL is not set",
    ],
    "heartbeat-url-and-file": [
        "FILE:15:28: heartbeat.url_file: excludes url; keep one of the two",
    ],
    "heartbeat-without-url": [
        "FILE:15:12: heartbeat.url: is missing; give url or url_file",
    ],
    "hex-number": [
        "FILE:14:12: rules.0.below: '0x10' is ambiguous; write it as a decimal number",
    ],
    "history-misspelt-key": [
        "FILE:15:11: history.kept: unknown key; did you mean 'keep'?",
    ],
    "history-without-unit": [
        "FILE:15:17: history.keep: 30 has no unit; write 30s, 5m, 2h or 1d",
    ],
    "infinite-number": [
        "FILE:14:12: rules.0.below: '-.inf' is not a number that can be used here",
    ],
    "interval-over-the-rate-limit": [
        "FILE:1:18: poll.interval: polling every 2s would use more than the whole rate_limit 20/60s of account 'main'; the least interval is 3s",
    ],
    "key-and-key-file": [
        "FILE:5:5: accounts.main.api_key_file: excludes api_key; keep one of the two",
    ],
    "key-without-value": [
        "FILE:15:10: rules.0.when: has no value; write one or remove the key",
    ],
    "label-not-a-text": [
        "FILE:15:20: rules.0.labels.tier: 1 is not a text; put it in quotes",
    ],
    "label-reserved": [
        "FILE:15:14: rules.0.labels.severity: every alert has 'severity' already; take another",
    ],
    "ladder-empty": [
        "FILE:14:12: rules.0.below: is empty; at least one is needed",
    ],
    "ladder-in-two-directions": [
        "FILE:14:44: rules.0.below.critical: 4 must be less than the 3 of warning",
    ],
    "ladder-unknown-severity": [
        "FILE:14:13: rules.0.below.warnin: 'warnin' is not one of info, warning, critical; did you mean 'warning'?",
    ],
    "ladder-with-equal-steps": [
        "FILE:14:37: rules.0.above.critical: 0.10 must be greater than the 0.10 of warning",
    ],
    "ladder-with-severity": [
        "FILE:15:5: rules.0.severity: is for a single threshold; below has one per severity already",
    ],
    "last-route-has-match": [
        "FILE:10:12: routes.0.match: the last route must match everything; add one without match after it",
    ],
    "malformed-variable": [
        "FILE:7:18: receivers.desk.url: `${` must be followed by NAME}",
    ],
    "many-faults": [
        "FILE:2:13: poll.interval: 15 has no unit; write 15s, 5m, 2h or 1d",
        "FILE:3:3: poll.timout: unknown key; did you mean 'timeout'?",
        "FILE:6:14: accounts.main.api_key: the environment variable NOT_SET is not set",
        "FILE:9:16: receivers.desk.url: the environment variable ALSO_NOT_SET is not set",
        "FILE:9:49: receivers.desk.send_resolved: 'yes' is ambiguous; write true, or put it in quotes",
        "FILE:11:12: routes.0.match: the last route must match everything; add one without match after it",
        "FILE:11:23: routes.0.match.severity: unknown severity 'crit'; did you mean 'critical'?",
        "FILE:12:17: routes.0.receivers.0: unknown receiver 'dsk'; did you mean 'desk'?",
        "FILE:16:5: rules.0.valu: unknown key; did you mean 'value'?",
        "FILE:17:12: rules.0.value: unknown name 'total_balanc'; did you mean 'total_balance'?",
        "FILE:18:35: rules.0.below.critical: 6 must be less than the 5 of warning",
        "FILE:19:10: rules.0.for: 5 has no unit; write 5s, 5m, 2h or 1d",
        "FILE:20:11: rules.1.name: 'floor' is already the name of the rule at line 14",
        "FILE:22:26: rules.1.value: ends too early; a number or a name is missing",
        "FILE:23:12: rules.1.above: 'x' is not a number; write 1000, 10_000, 0.25 or 25%",
        "FILE:24:14: rules.1.labels.rule: every alert has 'rule' already; take another",
    ],
    "merge-key": [
        "FILE:15:14: rules.0.labels: merge keys (<<) are not supported; write the keys out",
    ],
    "missing-keys-in-rule": [
        "FILE:11:5: rules.0.name: is missing",
        "FILE:11:5: rules.0.per: is missing",
        "FILE:11:5: rules.0.value: is missing",
    ],
    "missing-sections": [
        "FILE:1:1: accounts: is missing",
        "FILE:1:1: receivers: is missing",
        "FILE:1:1: routes: is missing",
        "FILE:1:1: rules: is missing",
    ],
    "misspelt-key-in-rule": [
        "FILE:18:5: rules.1.belw: unknown key; did you mean 'below'?",
    ],
    "misspelt-scope": [
        "FILE:12:10: rules.0.per: 'walet' is not one of account, wallet, symbol; did you mean 'wallet'?",
    ],
    "misspelt-secret-key": [
        "FILE:4:5: accounts.main.secret_kye: unknown key; did you mean 'secret_key'?",
    ],
    "misspelt-severity": [
        "FILE:15:15: rules.0.severity: 'warn' is not one of info, warning, critical; did you mean 'warning'?",
    ],
    "mute-critical-without-mute": [
        "FILE:10:5: routes.0.mute_critical: is of no use without mute, which says when",
    ],
    "mute-day-capital": [
        "FILE:11:17: routes.0.mute.0.days.0: 'Mon-Fri' is not a day; write mon, tue, wed, thu, fri, sat, sun or a range such as mon-fri; did you mean 'mon-fri'?",
    ],
    "mute-day-in-full": [
        "FILE:11:22: routes.0.mute.0.days.1: 'tuesday' is not a day; write mon, tue, wed, thu, fri, sat, sun or a range such as mon-fri; did you mean 'tue'?",
    ],
    "mute-day-range-of-one": [
        "FILE:11:16: routes.0.mute.0.days: 'mon-mon' starts and ends on one day; write mon",
    ],
    "mute-day-twice": [
        "FILE:11:26: routes.0.mute.0.days.1: 'fri' names fri a second time",
    ],
    "mute-day-unknown": [
        "FILE:11:16: routes.0.mute.0.days: 'weekend' is not a day; write mon, tue, wed, thu, fri, sat, sun or a range such as mon-fri",
    ],
    "mute-empty": [
        "FILE:10:11: routes.0.mute: is empty; at least one is needed",
    ],
    "mute-from-24": [
        "FILE:11:16: routes.0.mute.0.from: '24:00' can only stand at the end, in to; write \"00:00\"",
    ],
    "mute-from-is-to": [
        "FILE:11:29: routes.0.mute.0.to: '22:00' is the same as from; for whole days, write from: \"00:00\" and to: \"24:00\"",
    ],
    "mute-many-faults": [
        "FILE:11:29: routes.0.mute.0.to: '22:00' is the same as from; for whole days, write from: \"00:00\" and to: \"24:00\"",
        "FILE:11:48: routes.0.mute.0.timezone: unknown time zone 'Asia/Kolkta'; did you mean 'Asia/Kolkata'?",
        "FILE:11:68: routes.0.mute.0.days.0: 'son' is not a day; write mon, tue, wed, thu, fri, sat, sun or a range such as mon-fri",
        "FILE:12:16: routes.0.mute.1.from: 'x' is not a time of day; write hours and minutes in quotes, as \"07:30\"",
        "FILE:12:44: routes.0.mute.1.timezone: unknown time zone 'Mars/Olympus'; write an IANA name, such as Asia/Kolkata or UTC",
        "FILE:13:9: routes.0.mute.2: must be a mapping (`key: value` lines), not a text",
        "FILE:14:20: routes.0.mute_critical: 'yes' is ambiguous; write true, or put it in quotes",
    ],
    "mute-misspelt-key": [
        "FILE:11:10: routes.0.mute.0.form: unknown key; did you mean 'from'?",
    ],
    "mute-no-days": [
        "FILE:11:16: routes.0.mute.0.days: is empty; at least one is needed",
    ],
    "mute-not-a-list": [
        "FILE:10:11: routes.0.mute: must be a list (`- ...` lines), not a mapping",
    ],
    "mute-of-critical-only": [
        "FILE:11:5: routes.0.mute: has no effect: the route takes critical alerts only, and they pass through unless mute_critical is true",
    ],
    "mute-time-a-number": [
        'FILE:11:16: routes.0.mute.0.from: 22 is not a time of day; write hours and minutes in quotes, as "07:30"',
    ],
    "mute-time-not-in-quotes": [
        "FILE:11:16: routes.0.mute.0.from: '22:00' is ambiguous (YAML 1.1 reads base 60); put it in quotes",
        "FILE:11:27: routes.0.mute.0.to: '07:00' is ambiguous (YAML 1.1 reads base 60); put it in quotes",
    ],
    "mute-time-past-midnight": [
        "FILE:11:29: routes.0.mute.0.to: '24:30' is not a time of day; write hours and minutes in quotes, as \"07:30\"",
    ],
    "mute-time-without-zero": [
        "FILE:11:29: routes.0.mute.0.to: '7:00' is not a time of day; write hours and minutes in quotes, as \"07:30\"",
    ],
    "mute-zone-a-city": [
        "FILE:11:48: routes.0.mute.0.timezone: unknown time zone 'New York'; did you mean 'America/New_York'?",
    ],
    "mute-zone-a-path": [
        "FILE:11:48: routes.0.mute.0.timezone: unknown time zone '../../etc/passwd'; write an IANA name, such as Asia/Kolkata or UTC",
    ],
    "mute-zone-missing": [
        "FILE:11:9: routes.0.mute.0.timezone: is missing",
    ],
    "mute-zone-misspelt": [
        "FILE:11:48: routes.0.mute.0.timezone: unknown time zone 'Asia/Kolkatta'; did you mean 'Asia/Kolkata'?",
    ],
    "mute-zone-unknown": [
        "FILE:11:48: routes.0.mute.0.timezone: unknown time zone 'IST'; write an IANA name, such as Asia/Kolkata or UTC",
    ],
    "negative-tolerance": [
        "FILE:15:22: builtin.tolerance: -1 is negative; 0 or more is allowed",
    ],
    "no-rules": [
        "FILE:10:8: rules: is empty; at least one is needed",
    ],
    "no-secret-key": [
        "FILE:3:5: accounts.main.secret_key: is missing; give secret_key or secret_key_file",
    ],
    "no-threshold": [
        "FILE:11:5: rules.0: has no threshold; one of above and below is needed",
    ],
    "not-a-mapping": [
        "FILE:1:1: must be a mapping with the keys poll, accounts, receivers, routes, flapping, rules, builtin, heartbeat, history, templates, state, deliver_within, not a list",
    ],
    "not-utf8": [
        "FILE:1:6: is not UTF-8; save it as UTF-8",
    ],
    "number-as-key": [
        "FILE:15:14: rules.0.labels: '1' is no name for a key; put it in quotes",
    ],
    "number-starts-with-point": [
        "FILE:14:12: rules.0.below: '.5' is not a number; write 0.5 or 10_000",
    ],
    "octal-number": [
        "FILE:14:12: rules.0.below: '010' is ambiguous; write it without leading zeros",
    ],
    "on-as-boolean": [
        "FILE:8:20: receivers.desk.send_resolved: 'on' is ambiguous; write true, or put it in quotes",
    ],
    "quote-never-closed": [
        "FILE:13:12: is not YAML: the quote or bracket is never closed",
    ],
    "rate-limit-under-the-interval": [
        "FILE:5:17: accounts.main.rate_limit: polling every 15s would use more than the whole rate_limit 2/60s of account 'main'; the least interval is 30s",
    ],
    "rate-not-a-rate": [
        "FILE:5:17: accounts.main.rate_limit: 20 is not a rate; write requests/duration, as 20/60s",
    ],
    "receiver-not-a-mapping": [
        "FILE:6:9: receivers.desk: must be a mapping (`key: value` lines), not a text",
    ],
    "repeat-factor-too-large": [
        "FILE:10:42: routes.0.repeat_interval.factor: 1000 is out of range; 1 to 100 is allowed",
    ],
    "repeat-factor-under-one": [
        "FILE:10:42: routes.0.repeat_interval.factor: 0.5 is out of range; 1 to 100 is allowed",
    ],
    "repeat-first-zero": [
        "FILE:10:30: routes.0.repeat_interval.first: 0s is not allowed; it must be longer than that",
    ],
    "repeat-interval-zero": [
        "FILE:10:22: routes.0.repeat_interval: 0s is not allowed; it must be longer than that",
    ],
    "repeat-many-faults": [
        "FILE:10:42: routes.0.repeat_interval.factor: 'x' is not a number; write 1000, 10_000, 0.25 or 25%",
        "FILE:10:50: routes.0.repeat_interval.max: max 1m is less than first 1h",
        "FILE:10:54: routes.0.repeat_interval.most: unknown key; known: factor, first, max",
    ],
    "repeat-max-under-first": [
        "FILE:10:39: routes.0.repeat_interval.max: max 30m is less than first 1h",
    ],
    "repeat-misspelt-key": [
        "FILE:10:23: routes.0.repeat_interval.frist: unknown key; did you mean 'first'?",
    ],
    "repeat-without-first": [
        "FILE:10:22: routes.0.repeat_interval.first: is missing",
    ],
    "route-receiver-twice": [
        "FILE:9:23: routes.0.receivers.1: receiver 'desk' is named twice",
    ],
    "route-unknown-label": [
        "FILE:9:13: routes.0.match.severty: no alert has the label 'severty'; did you mean 'severity'?",
    ],
    "route-unknown-receiver": [
        "FILE:9:23: routes.0.receivers.1: unknown receiver 'dsk'; did you mean 'desk'?",
    ],
    "route-unknown-rule": [
        "FILE:9:19: routes.0.match.rule: unknown rule 'flor'; did you mean 'floor'?",
    ],
    "route-unknown-severity": [
        "FILE:9:33: routes.0.match.severity.1: unknown severity 'criticl'; did you mean 'critical'?",
    ],
    "route-without-receivers": [
        "FILE:9:16: routes.0.receivers: is empty; at least one is needed",
    ],
    "rule-name-of-builtin": [
        "FILE:11:11: rules.0.name: 'blind' is the name of a built-in alert; take another",
    ],
    "rule-name-twice": [
        "FILE:15:11: rules.1.name: 'floor' is already the name of the rule at line 11",
    ],
    "rule-name-with-space": [
        "FILE:11:11: rules.0.name: 'my rule' is not a name; it must match [A-Za-z][A-Za-z0-9_.-]*",
    ],
    "rule-not-a-mapping": [
        "FILE:15:5: rules.1: must be a mapping (`key: value` lines), not a text",
    ],
    "rules-not-a-list": [
        "FILE:10:8: rules: must be a list (`- ...` lines), not a mapping",
    ],
    "secret-file-missing": [
        "FILE:4:22: accounts.main.secret_key_file: the file cannot be read: No such file or directory",
    ],
    "secret-key-a-number": [
        "FILE:4:17: accounts.main.secret_key: this is ambiguous; write it without leading zeros",
    ],
    "secret-key-malformed": [
        "FILE:4:17: accounts.main.secret_key: the secret key must be 64 hexadecimal characters; it holds something else",
    ],
    "symbols-for-a-wallet-rule": [
        "FILE:15:5: rules.0.symbols: is for symbol rules only",
    ],
    "tab-indentation": [
        "FILE:3:1: is not YAML: a tab cannot be used to indent; use spaces",
    ],
    "tag": [
        "FILE:15:14: rules.0.symbols: tags (!) are not supported; for a text, put it in quotes",
    ],
    "templates-no-folder": [
        "FILE:15:12: templates: there is no folder 'nowhere'",
    ],
    "threshold-not-a-number": [
        "FILE:14:12: rules.0.below: 'a lot' is not a number; write 1000, 10_000, 0.25 or 25%",
    ],
    "two-documents": [
        "FILE:15:1: holds several documents (`---`); write one",
    ],
    "unknown-account-in-rule": [
        "FILE:15:16: rules.0.accounts.0: unknown account 'mian'; did you mean 'main'?",
    ],
    "unknown-builtin": [
        "FILE:15:11: builtin.blnd: unknown key; did you mean 'blind'?",
    ],
    "unknown-key-without-neighbour": [
        "FILE:15:1: zzz: unknown key; known: accounts, builtin, deliver_within, flapping, heartbeat, history, poll, receivers, routes, rules, state, templates",
    ],
    "unknown-severity-in-builtin": [
        "FILE:15:29: builtin.blind.severity: 'fatal' is not one of info, warning, critical",
    ],
    "unknown-top-key": [
        "FILE:15:1: recievers: unknown key; did you mean 'receivers'?",
    ],
    "unset-variable": [
        "FILE:3:14: accounts.main.api_key: the environment variable NOT_SET is not set",
    ],
    "url-without-service": [
        "FILE:6:15: receivers.desk.url: is no Apprise URL; it must start with a service, as slack://",
    ],
    "variable-in-braces": [
        "FILE:15:19: is not YAML: inside { } or [ ] a text with ${...} must be put in quotes",
    ],
    "yes-as-key": [
        "FILE:15:14: rules.0.labels: 'yes' is no name for a key; put it in quotes",
    ],
}  # fmt: skip


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_each_fault_has_its_place_and_message(fault):
    assert FAULTS[fault] == messages(load_config, DATA / f"{fault}.yaml", environ=ENVIRON)


def test_every_file_is_in_the_table_or_good():
    names = {path.stem for path in DATA.glob("*.yaml")}
    assert {name for name in names if not name.startswith("good-")} == set(FAULTS)
    assert len(FAULTS) >= 35


@pytest.mark.parametrize("path", sorted(DATA.glob("good-*.yaml")), ids=lambda path: path.stem)
def test_good_files_load(path):
    load_config(path, environ=ENVIRON)


# ── what a file means ───────────────────────────────────────────────────────


def test_a_minimal_file_has_the_documented_defaults(load, tmp_path):
    loaded = load()
    assert loaded.path == tmp_path / "rules.yaml"
    assert (loaded.poll.interval, loaded.poll.timeout) == (15 * S, 10 * S)
    assert (loaded.templates, loaded.state, loaded.deliver_within) == (
        None,
        None,
        timedelta(hours=24),
    )
    account = loaded.accounts["main"]
    assert (account.name, account.base_url) == ("main", "https://coinswitch.co")
    assert (account.rate_requests, account.rate_window) == (20, 60 * S)
    assert (account.api_key.reveal(), account.secret_key.reveal()) == (API_KEY, SECRET_KEY)
    assert (loaded.heartbeat, loaded.history_keep) == (None, timedelta(days=30))
    receiver = loaded.receivers["desk"]
    assert (receiver.name, receiver.url.reveal(), receiver.send_resolved) == ("desk", HOOK, True)
    rules = loaded.ruleset
    assert (rules.accounts, rules.receivers) == (
        ("main",),
        {"desk": ReceiverPolicy()},
    )
    assert (rules.blind_after, rules.tolerance) == (2 * M, D("0.000001"))
    assert rules.routes == (Route(receivers=("desk",), repeat=Repeat(first=240 * M)),)
    assert rules.flapping is None
    assert {name: (b.severity, b.for_, b.keep_firing_for) for name, b in rules.builtin.items()} == {
        "blind": (CRITICAL, 2 * M, 0 * S),
        "suspect-data": (WARNING, 0 * S, 0 * S),
        "rule-undefined": (WARNING, 2 * M, 0 * S),
        "delivery-failing": (CRITICAL, 5 * M, 0 * S),
        "config-invalid": (WARNING, 0 * S, 0 * S),
    }


def test_a_minimal_rule_has_the_documented_defaults(load_rule):
    rule = load_rule()
    assert (rule.name, rule.scope, rule.value.text) == ("r", Scope.WALLET, "total_balance")
    assert (rule.direction, rule.when) == (Direction.BELOW, None)
    assert (rule.accounts, rule.base_assets, rule.symbols) == (Names(), Names(), Names())
    assert (rule.labels, rule.annotations) == ({}, {})
    (level,) = rule.thresholds
    assert (level.severity, level.line, level.clear) == (WARNING, 1000, 1000)
    assert (level.for_, level.keep_firing_for) == (0 * S, 0 * S)


def test_everything_of_a_file_arrives(load, tmp_path):
    (tmp_path / "own").mkdir()
    loaded = load(
        "poll: {interval: 30s, timeout: 5s, blind_after: 1m30s}\n"
        "builtin:\n"
        "  tolerance: 0.01\n"
        "  blind: {severity: warning}\n"
        "  suspect-data: {for: 1m, keep_firing_for: 2m, severity: info}\n"
        "  rule-undefined: {for: 0s}\n"
        "templates: own\nstate: var/a.db\ndeliver_within: 1h\n",
        accounts='accounts:\n  "2nd": {api_key: "${KEY}", secret_key: "${SECRET}", '
        "base_url: 'http://127.0.0.1:8080/', rate_limit: 2/1m}\n",
        receivers='receivers: {desk: {url: "${URL}", send_resolved: false}}\n',
        routes="routes:\n"
        "  - {match: {severity: [warning, critical], team: desk}, receivers: [desk], repeat_interval: 15m}\n"
        "  - {match: {}, receivers: [desk]}\n",
        rules=RULES.replace("below: 1000", "below: 1000, labels: {team: desk}"),
    )
    assert (loaded.poll.interval, loaded.poll.timeout) == (30 * S, 5 * S)
    assert (loaded.templates, loaded.state) == (tmp_path / "own", tmp_path / "var" / "a.db")
    assert loaded.deliver_within == 60 * M
    account = loaded.accounts["2nd"]
    assert account.base_url == "http://127.0.0.1:8080"
    assert (account.rate_requests, account.rate_window) == (2, 60 * S)
    assert loaded.ruleset.receivers == {"desk": ReceiverPolicy(send_resolved=False)}
    first, last = loaded.ruleset.routes
    assert first.match == {"severity": Names(("warning", "critical")), "team": Names(("desk",))}
    assert (first.repeat, last.match) == (Repeat(first=15 * M), {})
    builtin = loaded.ruleset.builtin
    assert (loaded.ruleset.tolerance, loaded.ruleset.blind_after) == (D("0.01"), 90 * S)
    assert (builtin["blind"].severity, builtin["blind"].for_) == (WARNING, 90 * S)
    assert (builtin["rule-undefined"].severity, builtin["rule-undefined"].for_) == (WARNING, 0 * S)
    suspect = builtin["suspect-data"]
    assert (suspect.severity, suspect.for_, suspect.keep_firing_for) == (INFO, M, 2 * M)


def test_a_ladder_becomes_levels_from_mild_to_worst(load_rule):
    rule = load_rule(
        value="margin_ratio",
        below=None,
        above="{critical: 35%, info: 0.1, warning: '20%'}",
        clear="{critical: 30%, info: 10%}",
        for_="{warning: 1m, critical: 0s}",
        keep_firing_for="2m",
    )
    assert rule.direction is Direction.ABOVE
    levels = [(r.severity, r.line, r.clear, r.for_, r.keep_firing_for) for r in rule.thresholds]
    assert levels == [
        (INFO, D("0.1"), D("0.10"), 0 * S, 2 * M),
        (WARNING, D("0.20"), D("0.20"), M, 2 * M),
        (CRITICAL, D("0.35"), D("0.30"), 0 * S, 2 * M),
    ]
    assert all(type(level.line) is Decimal for level in rule.thresholds)


def test_a_single_threshold_takes_severity_clear_and_delays_of_its_shape(load_rule):
    rule = load_rule(below="-5", clear="-5.0", severity="critical", for_="{critical: 1m}")
    (level,) = rule.thresholds
    assert (level.severity, level.line, level.clear, level.for_) == (CRITICAL, -5, -5, M)


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("{account: mian}", "unknown account 'mian'; did you mean 'main'?"),
        ("{receiver: dsk}", "unknown receiver 'dsk'; did you mean 'desk'?"),
        ("{rule: blnd}", "unknown rule 'blnd'; did you mean 'blind'?"),
        ("{severity: '!warn'}", "unknown severity 'warn'; did you mean 'warning'?"),
    ],
)
def test_a_route_that_could_never_match_is_refused(load, match, expected):
    routes = f"routes:\n  - {{match: {match}, receivers: [desk]}}\n  - receivers: [desk]\n"
    (line,) = messages(load, routes=routes)
    assert line.endswith(expected)


@pytest.mark.parametrize(
    "match",
    ["{account: 'm*'}", "{rule: blind}", "{rule: [floor, suspect-data]}", "{symbol: DOGEUSDT}",
     "{severity: 'crit*'}", "{receiver: desk, base_asset: USDT, exchange: EXCHANGE_2}"],
)  # fmt: skip
def test_a_route_may_match_any_label(load, match):
    load(routes=f"routes:\n  - {{match: {match}, receivers: [desk]}}\n  - receivers: [desk]\n")


def test_filters_take_a_list_or_one_text(load_rule):
    rule = load_rule(
        per="symbol", accounts="'m*'", base_assets="[USDT, '!INR']", symbols='"!BTCDOMUSDT"'
    )
    assert rule.accounts == Names(("m*",))
    assert rule.base_assets == Names(("USDT", "!INR"))
    assert rule.symbols == Names(("!BTCDOMUSDT",))


def test_texts_of_a_rule_are_taken_as_they_are(load_rule):
    rule = load_rule(
        value='"5"',
        when="total_balance > 0",
        labels="{team: 'a ${HOME} b'}",
        annotations="{summary: '{{ value }}', runbook: 'https://x/${Y}'}",
    )
    assert (rule.value.text, rule.when.text) == ("5", "total_balance > 0")
    assert rule.labels == {"team": "a ${HOME} b"}
    assert rule.annotations == {"summary": "{{ value }}", "runbook": "https://x/${Y}"}


def test_a_plain_number_is_an_expression(load_rule):
    assert load_rule(value="10_000").value.text == "10_000"


@pytest.mark.parametrize("scope", list(Scope))
def test_every_name_of_a_scope_can_be_used(load_rule, scope):
    for name in NAMES[scope]:
        assert load_rule(per=scope.value, value=name).value.names == {name}


@pytest.mark.parametrize("interval", ["3s", "3000ms", "1m"])
def test_an_interval_that_uses_exactly_the_rate_limit_is_allowed(load, interval):
    load(f"poll: {{interval: {interval}}}\n")


def test_a_blind_after_of_exactly_the_interval_is_allowed(load):
    loaded = load("poll: {interval: 2m}\nbuiltin: {blind: {for: 2m}}\n")
    assert loaded.ruleset.builtin["blind"].for_ == loaded.ruleset.blind_after == 2 * M


def test_the_least_interval_is_rounded_up_to_what_can_be_written(load):
    strict = ACCOUNTS.replace("}\n", ", rate_limit: 7/60s}\n")
    (line,) = messages(load, "poll: {interval: 8571ms}\n", accounts=strict)
    assert line.endswith("the least interval is 8s572ms")
    load("poll: {interval: 8572ms}\n", accounts=strict)


# ── repeat, mute, flapping ──────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("15m", Repeat(first=15 * M), id="plain"),
        pytest.param("{first: 15m}", Repeat(first=15 * M, factor=D(2)), id="factor-by-default"),
        pytest.param(
            "{first: 15m, factor: 1.5, max: 4h}",
            Repeat(first=15 * M, factor=D("1.5"), longest=240 * M),
            id="all",
        ),
        pytest.param(
            "{first: 1h, factor: 1, max: 1h}",
            Repeat(first=60 * M, factor=D(1), longest=60 * M),
            id="least-factor-and-max",
        ),
        pytest.param(
            "{first: 1h, factor: 100}", Repeat(first=60 * M, factor=D(100)), id="largest-factor"
        ),
    ],
)
def test_a_repeat_interval(load_route, text, expected):
    assert load_route(repeat_interval=text).repeat == expected


def test_reminders_of_any_valid_kind_have_a_time(load_route):
    """The longest first delay and the largest factor, further than anybody waits."""
    repeat = load_route(repeat_interval="{first: 3650d, factor: 100}").repeat
    assert repeat.after(1) == timedelta(days=365_000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mon", {0}),
        ("[sat, sun]", {5, 6}),
        ("mon-fri", {0, 1, 2, 3, 4}),
        ("sat-mon", {5, 6, 0}),
        ("sun-sat", {0, 1, 2, 3, 4, 5, 6}),
        ("[sun-mon, wed]", {6, 0, 2}),
    ],
)
def test_days_of_a_window(load_mute, text, expected):
    assert load_mute(days=text).days == expected


def test_a_window(load_mute):
    assert load_mute() == Window(
        days=frozenset(range(7)),
        start=22 * 60,
        end=7 * 60,
        zone=zoneinfo.ZoneInfo("Asia/Kolkata"),
    )


@pytest.mark.parametrize(
    ("start", "end", "minutes"),
    [
        ("00:00", "24:00", (0, 1440)),
        ("22:00", "24:00", (1320, 1440)),
        ("22:00", "00:00", (1320, 1440)),
        ("00:00", "00:01", (0, 1)),
        ("23:59", "00:01", (1439, 1)),
    ],
)
def test_times_of_a_window(load_mute, start, end, minutes):
    window = load_mute(**{"from": f'"{start}"', "to": f"'{end}'"})
    assert (window.start, window.end) == minutes


@pytest.mark.parametrize("start", ["00:00", "12:30"])
def test_a_window_that_ends_where_it_starts_is_refused(load_mute, start):
    (line,) = messages(load_mute, **{"from": f'"{start}"', "to": f'"{start}"'})
    expected = 'is the same as from; for whole days, write from: "00:00" and to: "24:00"'
    assert line.endswith(f"routes.0.mute.0.to: '{start}' {expected}")


@pytest.mark.parametrize("text", ["'7:00'", "'07:0'", "'07:60'", "'24:01'", "'25:00'", "'07:00:00'",
                                  "' 07:00'", "7", "0700", "7.30", "true", "'٠٧:٠٠'", "noon"])  # fmt: skip
def test_no_time_of_day(load_mute, text):
    (line,) = messages(load_mute, to=text)
    assert "FILE:7:" in line
    assert "routes.0.mute.0.to" in line


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("asia/kolkata", "did you mean 'Asia/Kolkata'?"),
        ("kolkata", "did you mean 'Asia/Kolkata'?"),
        ("Europe/Berlln", "did you mean 'Europe/Berlin'?"),
        ("Lord Howe", "did you mean 'Australia/Lord_Howe'?"),
        ("America", "write an IANA name, such as Asia/Kolkata or UTC"),
        ("localtime", "write an IANA name, such as Asia/Kolkata or UTC"),
        ("right/UTC", "write an IANA name, such as Asia/Kolkata or UTC"),
        ("/etc/localtime", "write an IANA name, such as Asia/Kolkata or UTC"),
        ("'+05:30'", "write an IANA name, such as Asia/Kolkata or UTC"),
        (r'"a\0b"', "write an IANA name, such as Asia/Kolkata or UTC"),
        ("x" * 300, "write an IANA name, such as Asia/Kolkata or UTC"),
    ],
)
def test_a_time_zone_that_does_not_exist_is_refused(load_mute, text, hint):
    (line,) = messages(load_mute, timezone=text)
    assert re.search(r"routes\.0\.mute\.0\.timezone: unknown time zone '.*'; ", line)
    assert line.endswith(f"; {hint}")


@pytest.fixture
def no_zones(tmp_path, monkeypatch):
    """A machine without time zones: neither the system's nor the package tzdata."""
    monkeypatch.setitem(sys.modules, "tzdata", None)
    zoneinfo.reset_tzpath(to=[str(tmp_path)])
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath()


def test_a_machine_without_time_zones_is_told_what_to_install(no_zones, load_mute):
    (line,) = messages(load_mute)
    assert line.endswith(
        "routes.0.mute.0.timezone: this machine has no time zone database; "
        "install the system's package tzdata, or `pip install tzdata`"
    )


def test_without_a_window_no_time_zone_is_looked_for(no_zones, monkeypatch, load):
    monkeypatch.delattr(zoneinfo, "available_timezones")
    load()


@pytest.mark.parametrize(
    ("match", "extra", "refused"),
    [
        pytest.param("{severity: critical}", "", True, id="critical-only"),
        pytest.param("{severity: ['!info', '!warning']}", "", True, id="critical-is-left"),
        pytest.param("{severity: critical}", "mute_critical: true", False, id="muted-as-well"),
        pytest.param("{severity: [critical, warning]}", "", False, id="and-warning"),
        pytest.param("{account: main}", "", False, id="any-severity"),
    ],
)  # fmt: skip
def test_a_mute_of_a_route_that_takes_only_critical_needs_mute_critical(
    load, match, extra, refused
):
    window = '{from: "22:00", to: "07:00", timezone: UTC}'
    routes = (
        f"routes:\n  - match: {match}\n    receivers: [desk]\n    mute: [{window}]\n    {extra}\n"
        "  - receivers: [desk]\n"
    )
    if refused:
        (line,) = messages(load, routes=routes)
        assert "routes.0.mute: has no effect" in line
    else:
        assert load(routes=routes).ruleset.routes[0].mute


def test_mute_critical_arrives(load_route):
    mute = '[{from: "22:00", to: "07:00", timezone: UTC}]'
    assert not load_route(mute=mute).mute_critical
    assert load_route(mute=mute, mute_critical="true").mute_critical


@pytest.mark.parametrize("value", ["true", "false"])
def test_mute_critical_without_mute_is_refused(load_route, value):
    assert len(messages(load_route, mute_critical=value)) == 1


def test_a_misspelt_mute_is_complained_of_once(load_route):
    (line,) = messages(load_route, mutes="[]", mute_critical="true")
    assert line == "FILE:7:5: routes.0.mutes: unknown key; did you mean 'mute'?"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", Flapping(changes=6, within=30 * M)),
        ("{changes: 2}", Flapping(changes=2, within=30 * M)),
        ("{within: 1h}", Flapping(changes=6, within=60 * M)),
        ("{changes: 1000, within: 1d}", Flapping(changes=1000, within=1440 * M)),
    ],
)
def test_flapping(load, text, expected):
    assert load(f"flapping: {text}\n").ruleset.flapping == expected


@pytest.mark.parametrize("changes", ["1", "0", "-2", "2.5", "1001", "many", "200%x", "[2]"])
def test_changes_are_a_whole_number(load, changes):
    (line,) = messages(load, f"flapping: {{changes: {changes}}}\n")
    assert "flapping.changes: " in line


def test_flapping_must_be_possible_at_the_pace_of_the_polls(load):
    load("poll: {interval: 15s}\nflapping: {changes: 6, within: 91s}\n")
    (line,) = messages(load, "poll: {interval: 15s}\nflapping: {changes: 6, within: 90s}\n")
    assert "flapping.within: with one poll every 15s, more than 6 changes within 1m30s" in line


# ── heartbeat and history ───────────────────────────────────────────────────


def test_a_heartbeat_pings_once_a_minute_by_default(load):
    loaded = load('heartbeat: {url: "https://${HOST}/ping/${ID}"}\n', HOST="x.example", ID="a1b2")
    expected = HeartbeatSettings(url=redaction.Secret("https://x.example/ping/a1b2"), every=M)
    assert loaded.heartbeat == expected
    assert "x.example" not in repr(loaded)


def test_a_heartbeat_s_url_may_stand_in_a_file(load, tmp_path):
    (tmp_path / "ping").write_text("http://127.0.0.1:1/\n")
    heartbeat = load("heartbeat: {url_file: ping, every: 5m}\n").heartbeat
    assert (heartbeat.url.reveal(), heartbeat.every) == ("http://127.0.0.1:1/", 5 * M)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://hc.example/a-b_c?x=1", None),
        ("https://user:password@hc.example", None),
        ("https://[2001:db8::1]:8443/", None),
        ("http://localhost:8080/ping", None),
        ("http://127.0.0.1/", None),
        ("http://[::1]/", None),
        ("http://hc.example/", "http is allowed for loopback hosts only; write https"),
        ("http://127.0.0.1@hc.example/", "http is allowed for loopback hosts only; write https"),
        ("ftp://hc.example/", "is no URL; it must start with https:// and name a host"),
        ("https:///ping", "is no URL; it must start with https:// and name a host"),
        ("https://hc.example:0/", "is no URL; it must start with https:// and name a host"),
        ("https://hc.example:x/", "is no URL; it must start with https:// and name a host"),
        ("https://[::1/", "is no URL; it must start with https:// and name a host"),
        ("https://hc.example/a b", "has a space or a character that no URL has"),
        (r"https://hc.example/\nb", "has a space or a character that no URL has"),
        ("https://hc.example/ä", "has a space or a character that no URL has"),
    ],
)
def test_a_heartbeat_s_url(load, url, expected):
    text = f'heartbeat: {{url: "{url}"}}\n'
    if expected is None:
        assert load(text).heartbeat.url.reveal() == url
    else:
        assert messages(load, text) == [f"FILE:9:18: heartbeat.url: {expected}"]


@pytest.mark.parametrize(
    "text",
    [
        "heartbeat: https://x.example/hunter2secret",
        "heartbeat: {url: hunter2secret}",
        "heartbeat: {url: 'http://x.example/hunter2secret'}",
        "heartbeat: {ulr: 'https://x.example/hunter2secret'}",
        "heartbeat: {url: 1m, every: 'https://x.example/hunter2secret'}",
        "heartbeat: {url: [hunter2secret]}",
        "heartbeat: {url: 'https://x.example/hunter2secret', every: x, hunter2secret: 1}",
        "heartbeat: {'https://x.example/hunter2secret'}",
        "heartbeat: {url_file: hunter2secret}",
        "heartbeat: {url: 0123456789012}",
        "heartbeat: {ulr: 0123456789012}",
        "heartbeat: {url: &hunter2secret a, url_file: !hunter2secret b}",
    ],
)
def test_no_message_about_the_heartbeat_shows_its_url(load, text):
    shown = "\n".join(messages(load, f"{text}\n"))
    assert not any(part in shown for part in ("hunter2secret", "0123456789012"))


def test_a_wrong_pace_of_the_heartbeat_is_quoted(load):
    (line,) = messages(load, 'heartbeat: {url: "https://x.example/", every: 12:30}\n')
    assert "heartbeat.every: '12:30' is ambiguous" in line


def test_a_heartbeat_s_url_is_masked_from_then_on(load, _own_redactor):
    load("heartbeat: {url: 'https://x.example/0b1d-77aa'}\n")
    assert _own_redactor.redact("GET /0b1d-77aa") == "GET /***"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("{}", 30), ("{keep: 7d}", 7), ("{keep: 0s}", 0), ("{keep: 3650d}", 3650)],
)
def test_history_is_kept_as_long_as_the_file_says(load, text, expected):
    assert load(f"history: {text}\n").history_keep == timedelta(days=expected)


# ── secrets ─────────────────────────────────────────────────────────────────


def test_variables_are_replaced_inside_secrets(load):
    loaded = load(
        receivers='receivers: {desk: {url: "tgram://${BOT}:${TOKEN}/$5/${CHAT_2}"}}\n',
        BOT="1234", TOKEN="tok}{en", CHAT_2="${BOT}",
    )  # fmt: skip
    assert loaded.receivers["desk"].url.reveal() == "tgram://1234:tok}{en/$5/${BOT}"


@pytest.mark.parametrize("part", ["${", "${}", "${A B}", "${1A}", "${KEY", "$ {KEY}${-}"])
def test_a_malformed_variable_is_refused_at_its_place(load, part):
    column = 'receivers: {desk: {url: "json://x/'.__len__() + 1 + part.index("${")
    lines = messages(load, receivers=f'receivers: {{desk: {{url: "json://x/{part}"}}}}\n')
    assert lines == [f"FILE:3:{column}: receivers.desk.url: `${{` must be followed by NAME}}"]


def test_all_unset_variables_are_named(load):
    lines = messages(load, receivers='receivers: {desk: {url: "json://${A1}/${B1}"}}\n')
    assert lines == [
        "FILE:3:33: receivers.desk.url: the environment variable A1 is not set",
        "FILE:3:39: receivers.desk.url: the environment variable B1 is not set",
    ]


def test_files_hold_secrets_relative_to_the_rules_file(load, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "api").write_text(f"{API_KEY}\n")
    (tmp_path / "key").write_text(f"{SECRET_KEY}\r\n")
    url = tmp_path / "url"
    url.write_text("json://localhost/${NOT_REPLACED} \n")
    loaded = load(
        accounts="accounts: {main: {api_key_file: run/api, secret_key_file: key}}\n",
        receivers=f"receivers: {{desk: {{url_file: {url}}}}}\n",
    )
    assert loaded.accounts["main"].api_key.reveal() == API_KEY
    assert loaded.accounts["main"].secret_key.reveal() == SECRET_KEY
    assert loaded.receivers["desk"].url.reveal() == "json://localhost/${NOT_REPLACED} "


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty"),
        (b"\n", "the file is empty"),
        (b"\xff", "the file is not text in UTF-8"),
        (b"a" * (64 * 1024 + 1), "the file is larger than 64 KiB"),
        (None, "the file cannot be read: Is a directory"),
        (b"hooks.example.com/hunter2", "is no Apprise URL; it must start with a service, as slack://"),
    ],
)  # fmt: skip
def test_unusable_secret_files_are_refused(load, tmp_path, content, expected):
    if content is None:
        (tmp_path / "f").mkdir()
    else:
        (tmp_path / "f").write_bytes(content)
    lines = messages(load, receivers="receivers: {desk: {url_file: f}}\n")
    assert lines == [f"FILE:3:30: receivers.desk.url_file: {expected}"]


def test_a_file_name_that_cannot_be_one_is_refused(load):
    lines = messages(load, receivers='receivers: {desk: {url_file: "a\\0b"}}\n')
    assert lines == [
        "FILE:3:30: receivers.desk.url_file: the file cannot be read: this is no usable path"
    ]


def test_every_secret_is_masked_from_then_on(load, _own_redactor):
    load()
    text = f"{API_KEY} {SECRET_KEY} {HOOK} hook-token-123"
    assert _own_redactor.redact(text) == "*** *** *** ***"


@pytest.mark.parametrize("text", ["''", "5"])
def test_a_secret_must_be_a_text(load, text):
    (line,) = messages(load, receivers=f"receivers: {{desk: {{url: {text}}}}}\n")
    assert line.endswith(("is empty", "is not a text; put it in quotes"))


def test_the_settings_do_not_print_secrets(load):
    shown = repr(load())
    assert not any(secret in shown for secret in (API_KEY, SECRET_KEY, "hook-token"))


LEAKS = [
    'api_key: hunter2secret, secret_key: "hunter2 secret"',
    "api_key: [hunter2secret], secret_key: {hunter2secret: hunter2secret}",
    'api_key: "${HUNTER} hunter2secret", secret_key: "hunter2secret ${"',
    'api_key: "${HUNTER} ${HUNTER}", secret_key: "${HUNTER}"',
    "api_key_file: hunter2secret, secret_key_file: hunter2secret",
    "api_key: 0123456789012, secret_key: 0123456789012",
    "api_key: *hunter2secret, secret_key: &hunter2secret a",
    "api_key: !hunter2secret a, secret_key: hunter2secret",
    "apikey: hunter2secret, secret: 0123456789012",
    'api_key: "${KEY}", secret_key: "${SECRET}", base_url: "https://u:hunter2secret@x"',
    'api_key: "${KEY}", secret_key: "${SECRET}", base_url: "https://x/hunter2secret"',
    'api_key: "${KEY}", secret_key: "${SECRET}", base_url: "hunter2secret://["',
    "hunter2secret",
]


@pytest.mark.parametrize("keys", LEAKS)
def test_no_message_about_an_account_shows_a_secret(load, keys):
    accounts = (
        f"accounts:\n  main: {keys}\n"
        if keys == "hunter2secret"
        else f"accounts:\n  main: {{{keys}}}\n"
    )
    shown = "\n".join(messages(load, accounts=accounts, HUNTER="hunter2secret"))
    assert not any(part in shown for part in ("hunter2secret", "0123456789012", SECRET_KEY))


@pytest.mark.parametrize(
    "receivers",
    [
        "receivers: {desk: slack://hunter2secret/a}\n",
        "receivers: [slack://hunter2secret/a]\n",
        "receivers: {desk: {url: [slack://hunter2secret/a]}}\n",
        "receivers: {desk: {url: hunter2secret}}\n",
        "receivers: {'slack://hunter2secret/a': {url: json://x}}\n",
        "receivers: {desk: {url: 'hunter2secret ${HUNTER}', url_file: hunter2secret}}\n",
        "receivers: {desk: {url: hunter2secret: a}}\n",
    ],
)
def test_no_message_about_a_receiver_shows_a_secret(load, receivers):
    shown = "\n".join(messages(load, receivers=receivers))
    assert "hunter2secret" not in shown


def test_a_url_where_a_receiver_s_name_belongs_is_not_shown(load):
    lines = messages(load, routes="routes:\n  - receivers: [slack://hunter2secret/a]\n")
    assert lines == ["FILE:6:17: routes.0.receivers.0: unknown receiver 'slack://...'; known: desk"]


def test_a_secret_that_also_stands_elsewhere_is_masked(load):
    lines = messages(load, "hook-token-123: 1\n")
    assert lines[0].startswith("FILE:9:1: ***: unknown key")


def test_ignored_secrets_need_not_exist(load, _own_redactor):
    loaded = load(
        'heartbeat: {url: "${NONE}"}\n',
        accounts="accounts: {main: {api_key: '${NONE}', secret_key_file: nowhere}}\n",
        receivers="receivers: {desk: {url: 'tgram://${NONE}/1'}, mail: {url_file: nowhere}}\n",
        secrets=Secrets.IGNORED,
    )
    account = loaded.accounts["main"]
    assert (account.api_key.reveal(), account.secret_key.reveal()) == ("0" * 64, "0" * 64)
    assert [r.url.reveal() for r in loaded.receivers.values()] == ["json://127.0.0.1/"] * 2
    assert loaded.heartbeat.url.reveal() == "http://127.0.0.1/"
    # a placeholder is no secret: masking it would spoil ordinary texts
    text = f"{'0' * 64} json://127.0.0.1/ http://127.0.0.1/"
    assert _own_redactor.redact(text) == text


def test_ignored_secrets_are_not_read(load, tmp_path, _own_redactor):
    (tmp_path / "url").write_text("json://localhost/from-a-file")
    loaded = load(
        receivers="receivers: {desk: {url: '${URL}'}, mail: {url_file: url}}\n",
        secrets=Secrets.IGNORED,
    )
    assert {r.url.reveal() for r in loaded.receivers.values()} == {"json://127.0.0.1/"}
    assert _own_redactor.redact(f"{HOOK} {SECRET_KEY}") == f"{HOOK} {SECRET_KEY}"


def test_a_secret_written_into_the_file_is_checked_and_masked_all_the_same(load, _own_redactor):
    literal = f"receivers: {{desk: {{url: '{HOOK}'}}}}\n"
    loaded = load(receivers=literal, secrets=Secrets.IGNORED)
    assert loaded.receivers["desk"].url.reveal() == HOOK
    assert _own_redactor.redact(HOOK) == "***"
    wrong = "receivers: {desk: {url: nothing}}\n"
    assert len(messages(load, receivers=wrong, secrets=Secrets.IGNORED)) == 1


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("", "url: is missing; give url or url_file"),
        ("url: '${NONE', url_file: a", "url_file: excludes url; keep one of the two"),
        ("url: '${NONE'", "url: `${` must be followed by NAME}"),
    ],
)
def test_ignored_secrets_must_still_be_written_rightly(load, keys, expected):
    receivers = f"receivers: {{desk: {{{keys}}}}}\n"
    (line,) = messages(load, receivers=receivers, secrets=Secrets.IGNORED)
    assert line.endswith(f"receivers.desk.{expected}")


# ── base_url ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://coinswitch.co", None),
        ("https://coinswitch.co/", None),
        ("https://example.com:8443", None),
        ("http://localhost:8080", None),
        ("http://127.0.0.1", None),
        ("http://127.9.8.7:80", None),
        ("http://[::1]:8080", None),
        ("https://[2001:db8::1]", None),
        ("http://10.0.0.1", "http is allowed for loopback hosts only, '10.0.0.1' needs https"),
        ("http://localhost.example.com", "http is allowed for loopback hosts only, 'localhost.example.com' needs https"),
        ("http://127.0.0.1.example.com", "http is allowed for loopback hosts only, '127.0.0.1.example.com' needs https"),
        ("http://0.0.0.0", "http is allowed for loopback hosts only, '0.0.0.0' needs https"),
        ("https://x.example/?a=b", "must end after the host 'x.example'; paths and queries are not allowed"),
        ("https://x.example/#a", "must end after the host 'x.example'; paths and queries are not allowed"),
        ("https://u@x.example", "must not hold a user or a password"),
        ("ftp://x.example", "is no URL; write it as https://coinswitch.co"),
        ("https://", "is no URL; write it as https://coinswitch.co"),
        ("https://x:99999", "is no URL; write it as https://coinswitch.co"),
        ("https://x:0", "is no URL; write it as https://coinswitch.co"),
        ("https://[::1", "is no URL; write it as https://coinswitch.co"),
        ("https://${HOST}", "is no URL; write it as https://coinswitch.co"),
        ("https://a b", "is no URL; write it as https://coinswitch.co"),
    ],
)  # fmt: skip
def test_base_url(load, url, expected):
    accounts = ACCOUNTS.replace("}\n", f", base_url: '{url}'}}\n")
    if expected is None:
        assert load(accounts=accounts).accounts["main"].base_url == url.rstrip("/")
    else:
        (line,) = messages(load, accounts=accounts)
        assert line == f"FILE:2:64: accounts.main.base_url: {expected}"


# ── all problems at once ────────────────────────────────────────────────────


def test_what_is_unreadable_is_complained_of_once(load):
    """Nothing follows from accounts and receivers that cannot be read."""
    lines = messages(
        load,
        accounts="accounts: 5\n",
        receivers="",
        rules=RULES.replace("below: 1000", "below: 1000, accounts: [main]"),
    )
    assert lines == [
        "FILE:1:1: receivers: is missing",
        "FILE:1:11: accounts: must be a mapping (`key: value` lines), not 5",
    ]


def test_a_rule_without_a_readable_scope_is_checked_with_all_names(load_rule):
    lines = messages(load_rule, per="wallt", value="concentration - snapshot_ag")
    assert [line.split(": ", 2)[1] for line in lines] == ["rules.0.per", "rules.0.value"]


def test_one_unreadable_part_hides_no_other(load_rule):
    lines = messages(
        load_rule, below="x", clear="5", value="nonsens", when="1", labels="{rule: a}", for_="5"
    )
    assert [line.split(": ", 2)[1] for line in lines] == [
        "rules.0.value", "rules.0.below", "rules.0.when", "rules.0.labels.rule", "rules.0.for",
    ]  # fmt: skip


@pytest.mark.parametrize("section", ["accounts", "receivers", "routes", "rules", "poll", "builtin",
                                     "flapping", "heartbeat", "history"])  # fmt: skip
@pytest.mark.parametrize(
    "value", ["5", "text", "[]", "{}", "[5]", "{a: 5}", "[[]]", "{a: {}}", "null", "true"]
)
def test_any_section_may_be_nonsense(load, section, value):
    parts = {"accounts": ACCOUNTS, "receivers": RECEIVERS, "routes": ROUTES, "rules": RULES}
    extra = "" if section in parts else f"{section}: {value}\n"
    given = parts | ({} if extra else {section: f"{section}: {value}\n"})
    if value == "{}" and section in {"poll", "builtin", "flapping", "history"}:
        return
    lines = messages(load, extra, **given)
    assert all(section in line for line in lines if "unknown" not in line)


@pytest.mark.parametrize("key", ["name", "per", "value", "above", "below", "severity", "clear", "for",
                                 "keep_firing_for", "when", "accounts", "base_assets", "symbols",
                                 "labels", "annotations"])  # fmt: skip
@pytest.mark.parametrize(
    "value", ["[]", "{}", "[5]", "{a: 5}", "[[]]", "{a: {}}", "null", "true", "''", '"\\0"']
)
def test_any_key_of_a_rule_may_be_nonsense(load_rule, key, value):
    if value == "{}" and key in {"labels", "annotations"}:
        return
    assert any(f"rules.0.{key}" in line for line in messages(load_rule, **{key: value}))


@pytest.mark.parametrize("key", ["match", "receivers", "repeat_interval", "mute", "mute_critical"])
@pytest.mark.parametrize(
    "value", ["[]", "{}", "[5]", "{a: 5}", "[[]]", "[{}]", "{a: {}}", "null", "true", "''", '"\\0"']
)
def test_any_key_of_a_route_may_be_nonsense(load, key, value):
    if (key, value) in {("match", "{}"), ("mute_critical", "true")}:
        return
    keys = {"receivers": "[desk]", "mute": '[{from: "22:00", to: "07:00", timezone: UTC}]'}
    lines = [f"    {name}: {given}\n" for name, given in (keys | {key: value}).items()]
    routes = "routes:\n  -" + "".join(lines)[3:]
    assert any(f"routes.0.{key}" in line for line in messages(load, routes=routes))


@pytest.mark.parametrize("key", ["days", "from", "to", "timezone"])
@pytest.mark.parametrize(
    "value", ["[]", "{}", "[5]", "{a: 5}", "[[]]", "{a: {}}", "null", "true", "''", '"\\0"']
)
def test_any_key_of_a_window_may_be_nonsense(load_mute, key, value):
    lines = messages(load_mute, **{key: value})
    assert any(f"routes.0.mute.0.{key}" in line for line in lines)


# ── the file itself ─────────────────────────────────────────────────────────


def test_a_missing_file_is_a_problem_of_its_own(tmp_path):
    lines = messages(load_config, tmp_path / "no.yaml", environ={})
    assert lines == ["FILE:1:1: there is no such file"]


def test_a_directory_is_no_rules_file(tmp_path):
    folder = tmp_path / "d.yaml"
    folder.mkdir()
    lines = messages(load_config, folder, environ={})
    assert lines == ["FILE:1:1: is a directory; the rules file is needed"]


def test_a_path_through_a_file_cannot_be_read(tmp_path):
    (tmp_path / "f").write_text("")
    lines = messages(load_config, tmp_path / "f" / "r.yaml", environ={})
    assert lines == ["FILE:1:1: cannot be read: Not a directory"]


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"#" * 2_000_000)
    lines = messages(load_config, path, environ={})
    assert lines == ["FILE:1:1: is 1048577 bytes long; at most 1048576 are read"]


# ── the reference and the schema ────────────────────────────────────────────


def example_environ():
    return {
        "COINSWITCH_API_KEY": API_KEY,
        "COINSWITCH_SECRET_KEY": SECRET_KEY,
        "SLACK_URL": "slack://TokenAAAAA/TokenBBBBB/TokenCCCCC",
        "TELEGRAM_URL": "tgram://123456789:abcdefg/42",
        "EMAIL_URL": "mailtos://user:password@example.com",
    }


def test_the_example_loads():
    loaded = load_config(ROOT / "rules.example.yaml", environ=example_environ())
    assert {rule.scope for rule in loaded.ruleset.rules} == set(Scope)
    assert list(loaded.receivers) == ["desk", "phone", "mail"]
    repeats = [Repeat(first=15 * M), Repeat(first=60 * M, factor=D(2), longest=480 * M)]
    assert [route.repeat for route in loaded.ruleset.routes[:2]] == repeats
    assert loaded.ruleset.flapping == Flapping(changes=6, within=30 * M)


def test_what_the_example_shows_in_comments_loads(tmp_path):
    """Uncommented, `mute` and `heartbeat` are as valid as the rest."""
    text = (ROOT / "rules.example.yaml").read_text(encoding="utf-8")
    for block in (r"    # mute:.*?    # mute_critical: false", r"# heartbeat:.*?#   every: 1m"):
        shown = re.search(block, text, re.DOTALL)[0]
        bare = re.sub(r"^( *)# ", r"\1", shown, flags=re.MULTILINE)
        text = text.replace(shown, bare)
    path = tmp_path / "rules.yaml"
    path.write_text(text, encoding="utf-8")

    environ = example_environ() | {"HEARTBEAT_URL": "https://x.example/"}
    loaded = load_config(path, environ=environ)

    weekdays, saturday = loaded.ruleset.routes[-1].mute
    assert (sorted(weekdays.days), weekdays.start, weekdays.end) == ([0, 1, 2, 3, 6], 1320, 420)
    assert (saturday.days, saturday.start, saturday.end) == ({5}, 0, 1440)
    assert loaded.heartbeat.every == M


def test_the_example_sets_or_names_every_key():
    text = (ROOT / "rules.example.yaml").read_text(encoding="utf-8")
    missing = [key for key in _keys(json_schema()) if f"{key}:" not in text]
    assert missing == []


def _keys(schema):
    sections = [schema, *schema["$defs"].values()]
    return {key for section in sections for key in section.get("properties", {})}


def test_the_schema_describes_every_key():
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == ["accounts", "receivers", "routes", "rules"]
    for section in (schema, *schema["$defs"].values()):
        assert section["additionalProperties"] is False
        for key, described in section["properties"].items():
            assert described.get("description"), key
    assert set(schema["$defs"]["Builtin"]["properties"]) == {"tolerance", *BUILTIN_NAMES}
    json.dumps(schema)


def test_the_schema_s_defaults_fit_its_patterns():
    schema = json_schema()
    for section in (schema, *schema["$defs"].values()):
        for key, described in section["properties"].items():
            if "default" in described and "pattern" in described:
                assert re.search(described["pattern"], described["default"]), key
    assert schema["$defs"]["Poll"]["properties"]["interval"]["default"] == "15s"


def test_loading_the_module_brings_no_http_client():
    code = (
        "import sys, alerting.config; print({'requests', 'apprise', 'jinja2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_module_offers_the_schema():
    assert config.json_schema is json_schema
