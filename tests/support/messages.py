"""Notifications as they wait in the outbox, for the tests of rendering and sending."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from alerting.engine.model import (
    Alert,
    ChangeReason,
    Direction,
    Item,
    Notification,
    Reason,
    Severity,
    State,
)

NOW = datetime(2026, 1, 1, 0, 12, 30, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedAlert(Alert):
    """An alert with an id that stands in the texts to compare with, in place of a hash."""

    given_id: str

    @property
    def id(self) -> str:
        return self.given_id


def firing(
    *,
    id="k3x7abc",  # noqa: A002 - the field's name
    severity="critical",
    reason="firing",
    previous_severity=None,
    value="241.07",
    threshold="250",
    clear="300",
    **alert,
) -> Item:
    """The floor of PRODUCT.md's example, broken; `alert` replaces fields of the alert."""
    severity = Severity(severity)
    fields = {
        "rule": "available-balance-floor",
        "labels": {"account": "main", "base_asset": "USDT"},
        "episode": 1767225630000,
        "direction": Direction.BELOW,
        "active_at": datetime(2026, 1, 1, tzinfo=UTC),
        "fired_at": datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC),
        "annotations": {
            "summary": "{{ value | money }} {{ base_asset }} left to trade with or to add as margin"
        },
        "values": {"total_balance": Decimal(2000), "total_available_balance": Decimal("241.07")},
    } | alert
    bounds = {severity: (Decimal(threshold), Decimal(clear))} if threshold else {}
    return Item(
        alert=NamedAlert(
            given_id=id, value=Decimal(value) if value else None, thresholds=bounds, **fields
        ),
        reason=Reason(reason),
        state=State.FIRING,
        severity=severity,
        previous_severity=Severity(previous_severity) if previous_severity else None,
    )


def ratio(**changes) -> Item:
    """A symbol's share of the wallet, too high."""
    fields = {
        "id": "m2pq4rs",
        "rule": "symbol-margin-ratio",
        "percent": True,
        "labels": {
            "account": "main",
            "base_asset": "USDT",
            "symbol": "DOGEUSDT",
            "exchange": "EXCHANGE_2",
        },
        "severity": "warning",
        "value": "0.3821",
        "threshold": "0.35",
        "clear": "0.35",
        "direction": Direction.ABOVE,
        "annotations": {},
    }
    return firing(**fields | changes)


def repeated(item: Item, before: str, *, minutes: int = 15, read: bool = True) -> Item:
    """The same alert, said again: the receiver was told another value so long before."""
    judged_at = datetime(2026, 1, 1, 0, 12, tzinfo=UTC)
    told_at = judged_at - timedelta(minutes=minutes)
    return replace(
        item,
        alert=replace(item.alert, judged_at=judged_at if read else told_at),
        reason=Reason.REPEAT,
        previous_value=Decimal(before),
        previous_at=told_at,
    )


def builtin(**changes) -> Item:
    """The alert that nothing can be seen."""
    fields = {
        "id": "bl1nd22",
        "rule": "blind",
        "labels": {"account": "main"},
        "detail": "no good snapshot for 2m: credentials: the exchange answers 401",
        "annotations": {},
        "values": {},
        "value": None,
        "threshold": None,
    }
    return firing(**fields | changes)


def over(item: Item, why="clear", value=None) -> Item:
    """The same alert, resolved; `value` is the last one where that is another."""
    alert = replace(
        item.alert,
        value=Decimal(value) if value else item.alert.value,
        resolved_at=datetime(2026, 1, 1, 0, 10, tzinfo=UTC),
        resolved_why=ChangeReason(why),
    )
    return replace(item, alert=alert, state=State.RESOLVED, reason=Reason.RESOLVED)


def notification_of(
    *items: Item, observed_at=datetime(2026, 1, 1, 0, 12, tzinfo=UTC)
) -> Notification:
    """What a receiver is told of these alerts, worst first."""
    reasons = {item.reason for item in items}
    order = (Reason.ESCALATED, Reason.FIRING, Reason.EASED, Reason.REPEAT, Reason.RESOLVED)
    return Notification(
        receiver="desk",
        account=items[0].alert.account,
        reason=next(reason for reason in order if reason in reasons),
        severity=items[0].severity,
        observed_at=observed_at,
        items=items,
    )


#: Names and labels that would be markup, links, mentions or code in some service.
HOSTILE = {
    "channel": "<!channel>",
    "here": "<!here|here>",
    "slack-user": "<@U012AB3CD>",
    "slack-link": "<https://evil.example|click>",
    "bare-channel": "!channel>",
    "everyone": "@everyone",
    "at-here": "@here",
    "at-all": "@all",
    "zulip": "@**all**",
    "gchat": "<users/all>",
    "discord-user": "<@123456789012345678>",
    "discord-role": "<@&123456789012345678>",
    "telegram-user": "@some_user",
    "email": "mail@evil.example",
    "url": "https://evil.example/x?a=1&b=2",
    "bare-domain": "evil.com",
    "markdown-link": "[click](https://evil.example)",
    "command": "/start",
    "hashtag": "#BTC $BTC",
    "script": "<script>alert(1)</script>",
    "bold": "<b>x</b>",
    "unclosed": "<b>",
    "closing": "</code></pre></b>",
    "img": '<img src="https://evil.example/x.png" onerror="x()">',
    "style": "</p><style>*{display:none}</style>",
    "attribute": "\" onmouseover='x()'",
    "ampersand": "a & b &amp; &lt;b&gt; &nbsp; &bogus;",
    "markdown": "*a* _b_ ~c~ ~~d~~ **e** `f` ||g|| ```h```",
    "heading": "# big",
    "quote": "> quote",
    "list": "- item",
    "backslash": r"\*a\* \\ \n \u202e",
    "jinja": "{{ 7*7 }} {% raw %} {# x #}",
    "format": "%s %(x)s {0} {x.__class__}",
    "emoji-code": ":x: :smile:",
    "header": "Subject: x",
    "encoded-word": "=?utf-8?q?pwned?=",
    "dot": ".",
    "combining": "é ñ",
    "wide": "🔴 ١٢٣ ＢＴＣ",
    "quotes": "'\"`´",
}
