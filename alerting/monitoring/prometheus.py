"""The overview as metrics in Prometheus' text format 0.0.4."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from alerting.engine.feeds import (
    POSITION_FIELDS,
    POSITION_FIGURES,
    SYMBOL_FIELDS,
    WALLET,
    WALLET_FIELDS,
)
from alerting.engine.integrity import row_labels
from alerting.engine.model import Alert, Severity, State
from alerting.engine.risk import figures as figures_of
from alerting.monitoring.overview import Overview

#: what a scraper is told that it gets
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: alerts whose value is exposed; a thousand symbols must not become a thousand series
MOST_VALUES = 500

_STATES = (State.PENDING, State.FIRING)
_OWN_LABELS = ("id", "rule")
# a scraper's parser may stop at these
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")

_Sample = tuple[Mapping[str, str], Decimal | float]


@dataclass(frozen=True, slots=True)
class _Family:
    """One metric with all its series."""

    name: str
    help: str
    samples: Sequence[_Sample]
    kind: str = "gauge"


def render(view: Overview, *, version: str) -> str:
    """All metrics, at the view's instant; ends with a line feed."""
    families = [
        _Family("alerting_build_info", "Always 1; the version.", [({"version": version}, 1)]),
        *_accounts(view),
        *_wallets(view),
        *_symbols(view),
        *_positions(view),
        *_alerts(view),
        *_receivers(view),
    ]
    return "".join(f"{line}\n" for family in families for line in _lines(family))


# ── what is shown ───────────────────────────────────────────────────────────


def _accounts(view: Overview) -> Iterator[_Family]:
    accounts = view.health.accounts
    feeds = [
        ({"account": name, "feed": feed}, account.feed(feed))
        for name, account in accounts.items()
        for feed in view.health.feeds.get(name, (WALLET,))
    ]
    seen = [
        (labels, state.last_snapshot_at)
        for labels, state in feeds
        if state.last_snapshot_at is not None
    ]
    evaluated = {name: at for name, at in view.evaluated.items() if name in accounts}
    yield _Family(
        "alerting_last_snapshot_timestamp_seconds",
        "When the feed was last read; absent until it was read once.",
        [(labels, at.timestamp()) for labels, at in seen],
    )
    yield _Family(
        "alerting_snapshot_age_seconds",
        "Time since the feed was last read; absent until it was read once.",
        [(labels, _age(at, view.now)) for labels, at in seen],
    )
    yield _Family(
        "alerting_consecutive_poll_failures",
        "Polls of the feed that failed since one last gave a snapshot.",
        [(labels, state.poll_failures) for labels, state in feeds],
    )
    yield _Family(
        "alerting_last_evaluation_timestamp_seconds",
        "When the account's rules were last judged, whether or not its poll succeeded.",
        _per("account", {name: at.timestamp() for name, at in evaluated.items()}),
    )


def _wallets(view: Overview) -> Iterator[_Family]:
    """As they were last read; what an answer lacked has no series."""
    rows = [
        ({"account": state.name, "base_asset": wallet.base_asset}, wallet.fields)
        for state in view.health.accounts.values()
        for wallet in state.wallets
    ]
    for name in WALLET_FIELDS:
        text = f"{name} of the wallet when it was last read, in its settlement asset."
        yield _Family(f"alerting_wallet_{name}", text, _of_field(rows, name))


def _symbols(view: Overview) -> Iterator[_Family]:
    rows = [
        ({"account": state.name, **row_labels(each.row)}, each.row.fields)
        for state in view.health.accounts.values()
        for each in state.rows
    ]
    for name in SYMBOL_FIELDS:
        text = f"{name} of the symbol's row when it was last read, in its settlement asset."
        yield _Family(f"alerting_symbol_{name}", text, _of_field(rows[:MOST_VALUES], name))
    yield _Family(
        "alerting_symbols_omitted",
        f"Symbol rows that are not exposed, because {MOST_VALUES} others are.",
        [({}, max(0, len(rows) - MOST_VALUES))],
    )


def _positions(view: Overview) -> Iterator[_Family]:
    rows = [
        ({"account": state.name, **each.row.labels}, _finite(figures_of(each.row)))
        for state in view.health.accounts.values()
        for each in state.positions
    ]
    for name in (*POSITION_FIELDS, *POSITION_FIGURES):
        text = f"{name} of the position when it was last read; docs/risk.md says what it is."
        yield _Family(f"alerting_position_{name}", text, _of_field(rows[:MOST_VALUES], name))
    yield _Family(
        "alerting_positions_omitted",
        f"Positions that are not exposed, because {MOST_VALUES} others are.",
        [({}, max(0, len(rows) - MOST_VALUES))],
    )


def _finite(figures: Mapping[str, Decimal | None]) -> dict[str, Decimal]:
    return {name: value for name, value in figures.items() if value is not None}


def _of_field(
    rows: Iterable[tuple[Mapping[str, str], Mapping[str, Decimal]]], name: str
) -> list[_Sample]:
    return [(labels, fields[name]) for labels, fields in rows if name in fields]


def _alerts(view: Overview) -> Iterator[_Family]:
    counts: Counter[tuple[str, Severity, State]] = Counter()
    for rule, severities in view.severities.items():
        for severity in severities:
            # a series that is always there can be compared with 0
            counts.update({(rule, severity, state): 0 for state in _STATES})
    counts.update((a.rule, a.severity, a.state) for a in view.alerts if a.severity is not None)
    valued = [(alert, alert.value) for alert in view.alerts if alert.value is not None]
    yield _Family(
        "alerting_alerts",
        "Pending and firing alerts by rule, severity and state.",
        [
            ({"rule": rule, "severity": severity.value, "state": state.value}, count)
            for (rule, severity, state), count in counts.items()
        ],
    )
    yield _Family(
        "alerting_alert_value",
        "Last value of each pending or firing alert, worst first.",
        [(_identity(alert), value) for alert, value in valued[:MOST_VALUES]],
    )
    yield _Family(
        "alerting_alert_values_omitted",
        f"Alerts whose value is not exposed, because {MOST_VALUES} others are.",
        [({}, max(0, len(valued) - MOST_VALUES))],
    )


def _receivers(view: Overview) -> Iterator[_Family]:
    """Receivers of the rules file only: nobody delivers what waits for a removed one."""
    failing = view.health.failing
    known = {name: view.health.receivers.get(name) for name in failing}
    oldest = {name: each.oldest_pending_at if each else None for name, each in known.items()}
    yield _Family(
        "alerting_outbox_messages",
        "Messages by receiver that wait (pending) or were given up within 30 days (dead).",
        [
            ({"receiver": name, "status": status}, count)
            for name, each in known.items()
            for status, count in (
                ("pending", each.pending if each else 0),
                ("dead", each.dead if each else 0),
            )
        ],
    )
    yield _Family(
        "alerting_messages_sent_total",
        "Messages that the receiver accepted since the state file was made.",
        _per("receiver", {name: view.sent_totals.get(name, 0) for name in known}),
        kind="counter",
    )
    yield _Family(
        "alerting_oldest_pending_message_age_seconds",
        "How long the receiver's oldest waiting message has waited; 0 if none waits.",
        _per("receiver", {name: _age(at, view.now) if at else 0 for name, at in oldest.items()}),
    )
    yield _Family(
        "alerting_delivery_failing",
        "1 if the alert delivery-failing is due for the receiver, else 0.",
        _per("receiver", {name: 0 if why is None else 1 for name, why in failing.items()}),
    )


def _identity(alert: Alert) -> dict[str, str]:
    own = {"id": alert.id, "rule": alert.rule}
    foreign = {
        f"exported_{name}" if name in _OWN_LABELS else name: value
        for name, value in alert.labels.items()
    }
    return own | foreign


def _per(label: str, values: Mapping[str, float]) -> list[_Sample]:
    return [({label: name}, value) for name, value in values.items()]


def _age(at: datetime, now: datetime) -> float:
    return max(0.0, (now - at).total_seconds())


# ── the format ──────────────────────────────────────────────────────────────


def _lines(family: _Family) -> Iterator[str]:
    if not family.samples:
        return
    yield f"# HELP {family.name} {family.help}"
    yield f"# TYPE {family.name} {family.kind}"
    for labels, value in family.samples:
        pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        yield (
            f"{family.name}{{{pairs}}} {_number(value)}"
            if pairs
            else (f"{family.name} {_number(value)}")
        )


def _escaped(text: str) -> str:
    clean = _CONTROL.sub("\ufffd", text.encode("utf-8", "replace").decode("utf-8"))
    return clean.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: Decimal | float) -> str:
    """As Prometheus keeps it: a 64-bit float; money is exact in `status --json` only."""
    number = float(value)
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    return repr(number).removesuffix(".0")
