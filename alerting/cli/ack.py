"""`ack` and `unack`: no reminders of an alert until it escalates or resolves; and again."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from alerting.cli import context
from alerting.cli.arguments import Commands, lasting
from alerting.cli.context import FINE
from alerting.errors import NotFoundError
from alerting.units import rfc3339

if TYPE_CHECKING:
    from alerting.engine.model import Ack, Alert
    from alerting.store.state import Store


def add(commands: Commands) -> None:
    """Add the command."""
    ack = commands.add("ack", _ack, "stop the reminders of an alert until it escalates or resolves")
    ack.add_argument("id", metavar="ID", help="the short id in the message, or how it begins")
    ack.add_argument(
        "--for", dest="duration", metavar="DURATION", help="let them go on after this, such as 2h"
    )
    ack.add_argument("--author", help="default: user@host")
    unack = commands.add("unack", _unack, "let the reminders of an alert go on")
    unack.add_argument("id", metavar="ID", help="the short id in the message, or how it begins")


def _ack(args: argparse.Namespace) -> int:
    config, now = context.known_config(args), context.now()
    until = now + lasting("--for", args.duration) if args.duration is not None else None
    with contextlib.closing(context.open_store(args, config)) as store:
        alert = find_alert(store, config.accounts, args.id)
        by = args.author or context.author()
        ack = acknowledge(store, alert, by=by, now=now, until=until)
    end = f", or {rfc3339(ack.until.replace(microsecond=0))}" if ack.until else ""
    print(
        f"acknowledged {_named(alert)}, {ack.severity.value}; "
        f"no reminders until it escalates or resolves{end}"
    )
    return FINE


def _unack(args: argparse.Namespace) -> int:
    config = context.known_config(args)
    with contextlib.closing(context.open_store(args, config)) as store:
        alert = find_alert(store, config.accounts, args.id)
        if not store.unacknowledge(alert.fingerprint):
            raise NotFoundError(f"{alert.id} ({alert.rule}) is not acknowledged")
    print(f"{_named(alert)}: reminders go on")
    return FINE


def _named(alert: Alert) -> str:
    return f"{alert.id}: {alert.rule} {'/'.join(alert.labels.values())}"


def find_alert(store: Store, accounts: Iterable[str], typed: str) -> Alert:
    """The firing or pending alert of an id, or of the only one that begins so."""
    from alerting.engine.model import PROGRAM, State

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


def acknowledge(
    store: Store, alert: Alert, *, by: str, now: datetime, until: datetime | None = None
) -> Ack:
    """Stop the reminders of a firing alert until it escalates or resolves, or until then."""
    from alerting.engine.model import Ack, State

    severity = alert.severity
    if alert.state is not State.FIRING or severity is None:
        raise NotFoundError(f"{alert.id} ({alert.rule}) is only pending: nobody was told of it yet")
    ack = Ack(
        fingerprint=alert.fingerprint,
        episode=alert.episode,
        severity=severity,
        at=now,
        author=by,
        until=until,
    )
    store.acknowledge(ack)
    return ack
