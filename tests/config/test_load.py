"""The rules file: what loads, and the exact line for everything that does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alerting import redaction
from alerting.config.load import Depth, Secrets, load_config
from alerting.config.settings import HeartbeatSettings
from alerting.display import PLAIN
from alerting.engine.feeds import Scope
from alerting.engine.model import Severity
from alerting.engine.rules import Flapping, ReceiverPolicy, Repeat, Route
from alerting.engine.rules import NamePattern as Names
from alerting.errors import ConfigError
from tests.support.rules_files import (
    ACCOUNTS,
    API_KEY,
    DATA,
    ENVIRON,
    HOOK,
    RECEIVERS,
    ROOT,
    ROUTES,
    RULES,
    SECRET_KEY,
    D,
    M,
    S,
    messages,
)

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL


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
        "FILE:15:5: rules.0.base_assets: is for wallet, symbol and position rules only",
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
        "FILE:13:25: rules.0.value: '.' is not allowed; allowed are numbers, names, + - * /, comparisons, and or not, abs min max ago delta min_over_time max_over_time avg_over_time predict_linear, parentheses",
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
        "FILE:13:30: rules.0.value: '**' is not allowed; allowed are numbers, names, + - * /, comparisons, and or not, abs min max ago delta min_over_time max_over_time avg_over_time predict_linear, parentheses",
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
        "FILE:12:10: rules.0.per: 'walet' is not one of account, wallet, symbol, position; did you mean 'wallet'?",
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
        "FILE:1:1: must be a mapping with the keys poll, accounts, receivers, routes, flapping, rules, builtin, heartbeat, history, display, templates, state, state_file, deliver_within, not a list",
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
        "FILE:15:5: rules.0.symbols: is for symbol and position rules only",
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
        "FILE:15:1: zzz: unknown key; known: accounts, builtin, deliver_within, display, flapping, heartbeat, history, poll, receivers, routes, rules, state, state_file, templates",
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


# ── what a file means ──────────────────────────────────────────────────────────


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


def test_display_says_where_and_how_people_read(load):
    assert load().display == PLAIN
    shown = load("display: {timezone: Asia/Kolkata, grouping: indian}\n").display
    assert shown.instant(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01 05:30:00 IST"
    assert shown.money(D("-1234567.89")) == "-12,34,567.89"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{timezone: Asia/Kolkatta}", r"display\.timezone: unknown time zone 'Asia/Kolkatta'; did"),
        ("{grouping: lakh}", r"display\.grouping: 'lakh' is not one of none, thousands, indian"),
        ("{zone: UTC}", r"display\.zone: unknown key"),
    ],
)
def test_a_display_that_cannot_be_is_refused_with_its_place(load, text, message):
    (line,) = messages(load, f"display: {text}\n")
    assert re.search(message, line)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("above: 20%", True),
        ("above: {warning: 20%, critical: 0.35}", True),
        ("above: 0.2, clear: 15%", True),
        ("above: 0.2", True),
        ("above: 20", False),
        ("value: 'max(margin_ratio, available_ratio)', above: 0.2", True),
        ("value: 100 * margin_ratio, above: 20", False),
        ("value: margin_ratio * total_balance, above: 0.2", False),
        ("value: total_balance, above: 0.2", False),
        ("value: total_balance, below: 20%", True),
    ],
)
def test_numbers_are_in_percent_where_the_file_says_so_or_they_are_shares(load, text, expected):
    text = text if text.startswith("value") else f"value: margin_ratio, {text}"
    rules = f"rules:\n  - {{name: r, per: wallet, {text}}}\n"
    (rule,) = load(rules=rules).ruleset.rules
    assert rule.percent is expected


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


def test_flapping_must_be_possible_at_the_pace_of_the_polls(load):
    load("poll: {interval: 15s}\nflapping: {changes: 6, within: 91s}\n")
    (line,) = messages(load, "poll: {interval: 15s}\nflapping: {changes: 6, within: 90s}\n")
    assert "flapping.within: with one poll every 15s, more than 6 changes within 1m30s" in line


# ── heartbeat and history ──────────────────────────────────────────────────────


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


def test_a_wrong_pace_of_the_heartbeat_is_quoted(load):
    (line,) = messages(load, 'heartbeat: {url: "https://x.example/", every: 12:30}\n')
    assert "heartbeat.every: '12:30' is ambiguous" in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [("{}", 30), ("{keep: 7d}", 7), ("{keep: 0s}", 0), ("{keep: 3650d}", 3650)],
)
def test_history_is_kept_as_long_as_the_file_says(load, text, expected):
    assert load(f"history: {text}\n").history_keep == timedelta(days=expected)


# ── base_url ───────────────────────────────────────────────────────────────────


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


# ── the file itself ────────────────────────────────────────────────────────────


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


def test_a_name_that_no_folder_can_have_is_a_problem(load):
    with pytest.raises(ConfigError) as caught:
        load(f"templates: {'a' * 300}\n")
    assert "templates: cannot be looked into: File name too long" in str(caught.value)


def test_a_variable_that_is_not_text_is_a_problem_and_not_shown(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(ACCOUNTS + RECEIVERS + ROUTES + RULES, encoding="utf-8")
    url = os.fsdecode(b"json://127.0.0.1/\xff-token")
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ=ENVIRON | {"URL": url})
    assert "receivers.desk.url: the environment variable URL is not text in UTF-8" in str(
        caught.value
    )
    assert "token" not in str(caught.value)


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"#" * 2_000_000)
    lines = messages(load_config, path, environ={})
    assert lines == ["FILE:1:1: is larger than 1 MiB"]


# ── the example ────────────────────────────────────────────────────────────────


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
    repeats = [
        Repeat(first=15 * M, factor=D(2), longest=60 * M),
        Repeat(first=120 * M, factor=D(2), longest=480 * M),
    ]
    assert [route.repeat for route in loaded.ruleset.routes[:2]] == repeats
    assert loaded.ruleset.flapping == Flapping(changes=6, within=30 * M)


def test_what_the_example_shows_in_comments_loads(tmp_path):
    """Uncommented, `mute` and `heartbeat` are as valid as the rest."""
    text = (ROOT / "rules.example.yaml").read_text(encoding="utf-8")
    for block in (
        r"    # mute:.*?    # mute_critical: false",
        r"# heartbeat:.*?#   every: 1m",
        r"# display:.*?#   grouping: none",
    ):
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
    assert loaded.display == PLAIN


# ── how far it is looked at ─────────────────────────────────────────────────


def test_what_the_file_leads_to_is_refused_all_at_once_with_its_place(load, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "text.txt.j2").write_text("a\n{{ acount }}")
    wrong = {
        "extra": "templates: own\n",
        "rules": RULES.replace("1000", "1000, annotations: {summary: '{{ valeu }}'}"),
        "URL": "nosuch://token123456",
    }
    assert load(**wrong).warnings == ()
    with pytest.raises(ConfigError) as caught:
        load(depth=Depth.EVERYTHING, **wrong)
    template, receiver, annotation = map(str, caught.value.problems)
    assert template.startswith(f"{tmp_path}/own/text.txt.j2:2: 'acount' is undefined; known are ")
    assert receiver.startswith(f"{tmp_path}/rules.yaml:4:15: receivers.desk.url: ")
    assert annotation.startswith(
        f"{tmp_path}/rules.yaml:8:90: rules.0.annotations.summary: 'valeu' is undefined"
    )
    assert "token123456" not in str(caught.value)


def test_a_file_that_is_wrong_itself_is_not_looked_into_further(load):
    wrong = RULES.replace("1000", "x, annotations: {summary: '{{ valeu }}'}")
    (line,) = messages(load, rules=wrong, depth=Depth.EVERYTHING)
    assert "rules.0.below" in line


def test_keys_that_do_not_belong_together_are_a_warning_with_its_place(load, tmp_path):
    assert load(depth=Depth.EVERYTHING).warnings == ()
    (warning,) = load(depth=Depth.EVERYTHING, SECRET="ab" * 32).warnings
    assert (warning.file, warning.line, warning.path) == (
        str(tmp_path / "rules.yaml"),
        2,
        "accounts.main",
    )
    assert "not the public half" in warning.message


def test_loading_the_module_brings_no_http_client():
    code = (
        "import sys, alerting.config.load;"
        " print({'requests', 'apprise', 'jinja2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# ── where the state is ──────────────────────────────────────────────────────


@pytest.mark.parametrize("secrets", Secrets)
def test_the_state_s_path_may_name_variables_whether_or_not_secrets_are_read(
    load, tmp_path, secrets
):
    loaded = load('state: "${FOLDER}/state.db"\n', secrets=secrets, FOLDER="there")
    assert loaded.state == tmp_path / "there" / "state.db"


@pytest.mark.parametrize("secrets", Secrets)
def test_a_file_may_say_where_the_state_is(load, tmp_path, secrets):
    (tmp_path / "where.txt").write_text("/var/lib/alerting.db\n", encoding="utf-8")
    loaded = load("state_file: where.txt\n", secrets=secrets)
    assert loaded.state == Path("/var/lib/alerting.db")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('state: "${NONE}/a"\n', "state: the environment variable NONE is not set"),
        ("state_file: none.txt\n", "state_file: the file"),
        ("state: a\nstate_file: b\n", "state_file: excludes state; keep one of the two"),
    ],
)
def test_a_state_that_is_nowhere_is_a_problem(load, text, message):
    (problem, *_) = messages(load, text, secrets=Secrets.IGNORED)
    assert message in problem
