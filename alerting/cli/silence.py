"""`silence` and `ack`: what people type to be left in peace, for a good reason and a while."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterable
from datetime import datetime, timedelta

from alerting.engine.model import PROGRAM, Ack, Alert, Silence, State
from alerting.engine.rules import Ruleset
from alerting.errors import NotFoundError, UsageError
from alerting.store.state import Store
from alerting.units import format_duration, parse_duration, rfc3339

#: What a silence can match besides the labels that rules add.
KEYS = ("rule", "severity", "id", "account", "base_asset", "symbol", "exchange", "receiver")
# An alert that nobody hears for longer than this is better removed from the rules file.
_LONGEST_SILENCE = timedelta(days=366)


def author() -> str:
    """Who types this, as far as the machine can tell."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def parse_matchers(words: Iterable[str], ruleset: Ruleset) -> dict[str, str]:
    """`rule=available-*` `account=main` as label -> glob; unknown labels are refused."""
    known = {*KEYS, *(label for rule in ruleset.rules for label in rule.labels)}
    matchers: dict[str, str] = {}
    for word in words:
        key, equals, glob = word.partition("=")
        if not equals or not glob:
            raise UsageError(f"{word!r} is not LABEL=GLOB, such as rule=available-*")
        if key not in known:
            raise UsageError(f"{key!r} is no label; known: {', '.join(sorted(known))}")
        if key in matchers:
            raise UsageError(f"{key!r} stands twice; all matchers of a silence must match")
        matchers[key] = glob
    if not matchers:
        raise UsageError("a silence needs at least one LABEL=GLOB; rule=* silences everything")
    return matchers


def new_silence(
    matchers: dict[str, str], *, duration: str, reason: str, by: str, now: datetime
) -> Silence:
    """A silence from now on; its id is given by the store."""
    try:
        length = parse_duration(duration)
    except ValueError as error:
        raise UsageError(f"--for {error}") from error
    if not timedelta(0) < length <= _LONGEST_SILENCE:
        raise UsageError(f"--for {duration}: between 1ms and 366d")
    if not reason.strip():
        raise UsageError("--reason is empty; whoever wonders later will want to know")
    return Silence(
        id=0, matchers=matchers, starts_at=now, ends_at=now + length, author=by, reason=reason
    )


def describe(silence: Silence, *, now: datetime) -> str:
    """One line for `silence list`."""
    matchers = " ".join(f"{key}={glob}" for key, glob in sorted(silence.matchers.items()))
    left = _rounded(silence.ends_at - now)
    until = rfc3339(silence.ends_at.replace(microsecond=0))
    return (
        f"{silence.id}  {matchers}  until {until} ({format_duration(left)} left)"
        f"  {silence.reason}  [{silence.author}]"
    )


def _rounded(left: timedelta) -> timedelta:
    unit = timedelta(minutes=1) if left > timedelta(hours=1) else timedelta(seconds=1)
    return round(left / unit) * unit


def find_alert(store: Store, accounts: Iterable[str], typed: str) -> Alert:
    """The firing or pending alert of an id, or of the only one that begins so."""
    alerts = [
        alert
        for name in [PROGRAM, *accounts]
        for alert in store.memory(name).alerts.values()
        if alert.state is not State.INACTIVE
    ]
    wanted = typed.strip().lower()
    found = [alert for alert in alerts if wanted and alert.id.startswith(wanted)]
    exact = [alert for alert in found if alert.id == wanted]
    if len(exact or found) == 1:
        return (exact or found)[0]
    known = ", ".join(f"{alert.id} ({alert.rule})" for alert in found or alerts) or "none"
    if found:
        raise NotFoundError(f"{typed!r} begins the ids of several alerts: {known}")
    raise NotFoundError(f"no firing or pending alert has the id {typed!r}; there are: {known}")


def acknowledge(store: Store, alert: Alert, *, by: str, now: datetime) -> Ack:
    """Stop the reminders of a firing alert until it escalates or resolves."""
    severity = alert.severity
    if alert.state is not State.FIRING or severity is None:
        raise NotFoundError(f"{alert.id} ({alert.rule}) is only pending: nobody was told of it yet")
    ack = Ack(
        fingerprint=alert.fingerprint, episode=alert.episode, severity=severity, at=now, author=by
    )
    store.acknowledge(ack)
    return ack
