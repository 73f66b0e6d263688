"""What a run did, by its state file, and what a replay of its export says that it would have done."""

from __future__ import annotations

import io
import json
from datetime import datetime
from decimal import Decimal

from alerting.engine.model import Notification
from alerting.replay.recording import write_record
from alerting.replay.replay import Options, replay
from alerting.store.documents import from_micros, load
from alerting.units import plain


def lived(store):
    """Transitions and messages as the state file has them."""
    query = store._database._connection.execute
    changes = [
        (
            from_micros(at),
            rule,
            severity,
            source,
            target,
            None if value is None else plain(Decimal(value)),
            reason,
        )
        for at, rule, severity, source, target, value, reason in query(
            "SELECT at, rule, severity, source, target, value, reason FROM transitions ORDER BY id"
        )
    ]
    sent = [
        load(Notification, row[0]) for row in query("SELECT notification FROM outbox ORDER BY id")
    ]
    messages = [
        (
            each.observed_at,
            each.receiver,
            each.reason.value,
            [(item.alert.id, item.reason.value, item.severity.value) for item in each.items],
        )
        for each in sent
    ]
    return changes, messages


def replayed(run, **options):
    """The same of a replay of its export."""
    file = run.path.parent / "export.jsonl"
    lines = [
        write_record(at=p.at, account=p.account, feed=p.feed, body=p.body, error=p.error) + "\n"
        for p in run.store.history()
    ]
    file.write_text("".join(lines), encoding="utf-8")
    out = io.StringIO()
    replay(run.config.ruleset, Options(file=str(file), json=True, **options), out=out)
    changes, messages = [], []
    for line in out.getvalue().splitlines():
        event = json.loads(line)
        at = datetime.fromisoformat(event["at"])
        if change := event.get("transition"):
            keys = ("rule", "severity", "from", "to", "value", "reason")
            changes.append((at, *(change[key] for key in keys)))
        else:
            told = event["notification"]
            alerts = [(a["id"], a["reason"], a["severity"]) for a in told["alerts"]]
            messages.append((at, told["receiver"], told["reason"], alerts))
    return changes, messages
