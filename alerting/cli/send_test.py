"""`send-test`: one real message per receiver, with the verdict and the reason."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from alerting.cli import context
from alerting.cli.arguments import Commands
from alerting.cli.context import FAILED, FINE
from alerting.cli.side_by_side import side_by_side
from alerting.errors import AlertingError, UsageError

if TYPE_CHECKING:
    from alerting.config.settings import Config
    from alerting.engine.model import Notification
    from alerting.messages.rendering import Renderer
    from alerting.notify.receivers import Attempt
    from alerting.notify.settings import ReceiverSettings

# The notifiers bound a send themselves; this is for one that does not keep to it.
_PATIENCE = 60.0


def add(commands: Commands) -> None:
    """Add the command."""
    send = commands.add("send-test", _send_test, "send a real test message to each receiver")
    send.add_argument("receivers", nargs="*", metavar="RECEIVER", help="default: all")


def _send_test(args: argparse.Namespace) -> int:
    config = context.config(args)
    unknown = [name for name in args.receivers if name not in config.receivers]
    if unknown:
        known = ", ".join(config.receivers)
        raise UsageError(f"no receiver {unknown[0]!r} in {config.path}; there are: {known}")
    names = args.receivers or list(config.receivers)
    state = context.state_path(args, config)
    return FINE if send_tests(config, names, now=context.now(), state=state) else FAILED


def send_tests(config: Config, names: Iterable[str], *, now: datetime, state: Path) -> bool:
    """Send to all at once, print a line each; True if every receiver accepted."""
    from alerting.notify.receivers import Attempt, SendOutcome
    from alerting.service.build import renderer_of

    renderer = renderer_of(config)
    attempts = side_by_side(
        {name: functools.partial(_send, config.receivers[name], renderer, now) for name in names},
        seconds=_PATIENCE,
    )
    slow = Attempt(outcome=SendOutcome.UNKNOWN, reason=f"no answer within {_PATIENCE:.0f} s")
    width = max(len(name) for name in names)
    for name in names:
        attempt = attempts.get(name, slow)
        print(f"{name:{width}}  {attempt.outcome.value:9}  {attempt.reason}")
    _note_accepted(config, attempts, now=now, state=state)
    return all(attempts.get(name, slow).outcome is SendOutcome.ACCEPTED for name in names)


def _send(receiver: ReceiverSettings, renderer: Renderer, now: datetime) -> Attempt:
    from alerting.notify.receivers import Attempt, SendOutcome, build_notifier

    try:
        notifier = build_notifier(receiver)
    except AlertingError as error:
        return Attempt(outcome=SendOutcome.PERMANENT, reason=str(error))
    message = renderer.render(
        _notification(receiver.name, now),
        notifier.format,
        maybe_repeat=False,
        now=now,
        room=notifier.room,
    )
    return notifier.send(message)


def _note_accepted(
    config: Config, attempts: dict[str, Attempt], *, now: datetime, state: Path
) -> None:
    """A receiver that works again ends its `delivery-failing`."""
    from alerting.notify.receivers import SendOutcome
    from alerting.store.state import Store

    accepted = [name for name, a in attempts.items() if a.outcome is SendOutcome.ACCEPTED]
    if not accepted or not state.exists():
        return
    store = Store(state, deliver_within=config.deliver_within)
    for name in accepted:
        store.note_accepted(name, now=now)
    store.close()


def _notification(receiver: str, now: datetime) -> Notification:
    from alerting.engine.model import Alert, Item, Notification, Reason, Severity, State

    alert = Alert(
        rule="send-test",
        labels={"receiver": receiver},
        detail="This is a test message: nothing is wrong. Alerts will look like this.",
        episode=int(now.timestamp() * 1000),
        active_at=now,
        fired_at=now,
    )
    item = Item(alert=alert, reason=Reason.FIRING, state=State.FIRING, severity=Severity.INFO)
    return Notification(
        receiver=receiver,
        account=None,
        reason=item.reason,
        severity=item.severity,
        observed_at=now,
        items=(item,),
    )
