"""Payloads as they lie in the outbox, for the tests of rendering and sending."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

NOW = datetime(2026, 1, 1, 0, 12, 30, tzinfo=UTC)


def firing(**changes: Any) -> dict[str, Any]:
    """The floor of PRODUCT.md's example, broken; `changes` replace keys."""
    return {
        "id": "k3x7abc",
        "fingerprint": "0" * 64,
        "episode": 1767225630000,
        "rule": "available-balance-floor",
        "labels": {"account": "main", "base_asset": "USDT"},
        "state": "firing",
        "reason": "firing",
        "severity": "critical",
        "previous_severity": None,
        "value": "241.07",
        "threshold": "250",
        "clear": "300",
        "direction": "below",
        "distance": "8.93",
        "active_at": "2026-01-01T00:00:00Z",
        "fired_at": "2026-01-01T00:00:30Z",
        "resolved_at": None,
        "why": None,
        "detail": "",
        "annotations": {
            "summary": "{{ value | money }} {{ base_asset }} left to trade with or to add as margin"
        },
        "values": {"total_balance": "2000", "total_available_balance": "241.07"},
    } | changes


def ratio(**changes: Any) -> dict[str, Any]:
    """A symbol's share of the wallet, too high."""
    return (
        firing(
            id="m2pq4rs",
            rule="symbol-margin-ratio",
            labels={
                "account": "main",
                "base_asset": "USDT",
                "symbol": "DOGEUSDT",
                "exchange": "EXCHANGE_2",
            },
            severity="warning",
            value="0.3821",
            threshold="0.35",
            clear="0.35",
            direction="above",
            distance="0.0321",
            annotations={},
        )
        | changes
    )


def builtin(**changes: Any) -> dict[str, Any]:
    """The alert that nothing can be seen."""
    nothing = dict.fromkeys(("value", "threshold", "clear", "distance"))
    return (
        firing(
            id="bl1nd22",
            rule="blind",
            labels={"account": "main"},
            detail="no good snapshot for 2m: credentials: the exchange answers 401",
            annotations={},
            values={},
            **nothing,
        )
        | changes
    )


def over(alert: dict[str, Any], why: str = "clear", **changes: Any) -> dict[str, Any]:
    """The same alert, resolved."""
    end = {"state": "resolved", "reason": "resolved", "why": why}
    return alert | end | {"resolved_at": "2026-01-01T00:10:00Z"} | changes


def payload_of(*alerts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An outbox payload of these alerts, worst first."""
    reasons = [alert["reason"] for alert in alerts]
    order = ("escalated", "firing", "repeat", "resolved")
    return {
        "receiver": "desk",
        "account": alerts[0]["labels"].get("account"),
        "reason": next(reason for reason in order if reason in reasons),
        "severity": alerts[0]["severity"],
        "observed_at": "2026-01-01T00:12:00Z",
        "alerts": list(alerts),
    } | changes
