"""Recordings made of balances, and what a replay prints of them."""

from __future__ import annotations

import io
import json

from alerting.replay.recording import write_record
from alerting.replay.replay import Options, replay
from tests.support.factories import (
    CRITICAL,
    T0,
    WARNING,
    S,
    make_failure,
    make_route,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_threshold,
    make_wallet,
)

STEP = 15 * S


def body_of(snapshot):
    """The answer that gives this snapshot."""
    wallets = [
        {"base_asset": w.base_asset, "balances": {k: str(v) for k, v in w.fields.items()}}
        for w in snapshot.wallets
    ]
    rows = [
        {"symbol": r.symbol, "base_asset": r.base_asset, "exchange": r.exchange}
        | {k: str(v) for k, v in r.fields.items()}
        for r in snapshot.symbols
    ]
    return json.dumps({"data": {"base_asset_balances": wallets, "asset": rows}})


def recorded(outcome, at):
    text = {"error": str(outcome)} if hasattr(outcome, "kind") else {"body": body_of(outcome)}
    return write_record(at=at, account=outcome.account, **text) + "\n"


def polls(series):
    """A poll each 15 s: an available balance, or None for a failed one."""
    for number, available in enumerate(series):
        at = T0 + number * STEP
        if available is None:
            yield make_failure(), at
        else:
            yield make_snapshot(make_wallet(available), at=at), at


def series(text):
    """`1200x2 _ 900` as a list of amounts."""
    for part in text.split():
        value, _, count = part.partition("x")
        yield from [None if value == "_" else value] * int(count or 1)


def run(folder, ruleset, text, *, against=None, **options):
    file = folder / "recording.jsonl"
    lines = text if isinstance(text, list) else [recorded(*poll) for poll in polls(series(text))]
    file.write_text("".join(lines), encoding="utf-8")
    out = io.StringIO()
    replay(ruleset, Options(file=str(file), **options), against=against, out=out)
    return out.getvalue().splitlines()


def run_json(folder, ruleset, text, **options):
    return [json.loads(line) for line in run(folder, ruleset, text, json=True, **options)]


FLOOR = make_rule(
    "floor",
    "total_available_balance",
    make_threshold(WARNING, "1000", for_=30),
    make_threshold(CRITICAL, "250"),
    labels={"topic": "money"},
)
RULES = make_ruleset(
    FLOOR,
    routes=(make_route("desk", "phone", severity="critical"), make_route("desk")),
    receivers=("desk", "phone"),
)
#: falls below 1000, then below 250, a poll fails, and it recovers
FALL = "1200x2 900x3 200 _ 1200x2"


def floor(threshold="1000", *, for_=0, keep=0, severity=WARNING, repeat=3600, **route):
    level = make_threshold(severity, threshold, for_=for_, keep=keep)
    rule = make_rule("floor", "total_available_balance", level)
    return make_ruleset(rule, routes=(make_route("desk", repeat=repeat, **route),))
