"""Small builders of core objects; every test says only what it is about."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from alerting.engine import evaluation
from alerting.engine.expressions import Kind, compile_expression
from alerting.engine.feeds import NAMES, Scope
from alerting.engine.model import Direction, Memory
from alerting.engine.rules import (
    BLIND,
    CONFIG_INVALID,
    DELIVERY_FAILING,
    RULE_UNDEFINED,
    SUSPECT_DATA,
    BuiltinRule,
    NamePattern,
    ReceiverPolicy,
    Repeat,
    Route,
    Rule,
    Ruleset,
    Severity,
    Threshold,
)
from alerting.engine.snapshot import FailureKind, PollFailure, Snapshot, SymbolRow, WalletRow

T0 = datetime(2026, 1, 1, tzinfo=UTC)
S = timedelta(seconds=1)
M = timedelta(minutes=1)
D = Decimal

INFO, WARNING, CRITICAL = Severity.INFO, Severity.WARNING, Severity.CRITICAL


def duration(value):
    return value if isinstance(value, timedelta) else timedelta(seconds=value)


def make_threshold(severity=WARNING, threshold="100", *, clear=None, for_=0, keep=0):
    return Threshold(
        severity=severity,
        line=D(threshold),
        clear=D(threshold if clear is None else clear),
        for_=duration(for_),
        keep_firing_for=duration(keep),
    )


def make_rule(
    name="floor",
    value="total_available_balance",
    *thresholds,
    scope=Scope.WALLET,
    direction=Direction.BELOW,
    when=None,
    **kw,
):
    compile_ = functools.partial(compile_expression, names=NAMES[scope])
    return Rule(
        name=name,
        scope=scope,
        value=compile_(value, kind=Kind.NUMBER),
        when=None if when is None else compile_(when, kind=Kind.CONDITION),
        direction=direction,
        thresholds=thresholds or (make_threshold(),),
        **kw,
    )


LADDER = make_rule(
    "floor",
    "total_available_balance",
    make_threshold(INFO, "2000"),
    make_threshold(WARNING, "1000"),
    make_threshold(CRITICAL, "250"),
)


def make_ruleset(
    *rules, routes=None, receivers=("desk",), accounts=("main",), blind_after=120, **kw
):
    blind_after = duration(blind_after)
    if not isinstance(receivers, dict):
        receivers = dict.fromkeys(receivers, True)
    receivers = {name: ReceiverPolicy(send_resolved=on) for name, on in receivers.items()}
    builtin = {
        BLIND: BuiltinRule(severity=CRITICAL, for_=blind_after),
        SUSPECT_DATA: BuiltinRule(severity=WARNING),
        RULE_UNDEFINED: BuiltinRule(severity=WARNING, for_=blind_after),
        DELIVERY_FAILING: BuiltinRule(severity=CRITICAL, for_=timedelta(minutes=5)),
        CONFIG_INVALID: BuiltinRule(severity=WARNING),
    }
    return Ruleset(
        rules=rules or (make_rule(),),
        routes=routes or (Route(receivers=tuple(receivers)),),
        receivers=receivers,
        accounts=accounts,
        blind_after=blind_after,
        builtin={**builtin, **kw.pop("builtin", {})},
        **kw,
    )


def make_route(*receivers, repeat=4 * 3600, options=None, **match):
    return Route(
        receivers=receivers,
        match={k: NamePattern((v,) if isinstance(v, str) else tuple(v)) for k, v in match.items()},
        repeat=repeat if isinstance(repeat, Repeat) else Repeat(first=duration(repeat)),
        **(options or {}),
    )


def make_wallet(available="1000", *, position="100", orders="0", base_asset="USDT", **override):
    available, position, orders = D(available), D(position), D(orders)
    fields = {
        "total_balance": available + position + orders,
        "total_available_balance": available,
        "total_blocked_balance": position + orders,
        "total_position_margin": position,
        "total_open_order_margin": orders,
    }
    fields |= {name: D(value) for name, value in override.items() if value is not None}
    for name, value in override.items():
        if value is None:
            del fields[name]
    return WalletRow(base_asset=base_asset, fields=fields)


def make_symbol(symbol="BTCUSDT", blocked="100", *, orders="0", base_asset="USDT", **override):
    blocked, orders = D(blocked), D(orders)
    fields = {
        "blocked_balance": blocked,
        "position_margin": blocked - orders,
        "open_order_margin": orders,
    }
    fields |= {name: D(value) for name, value in override.items()}
    return SymbolRow(symbol=symbol, base_asset=base_asset, exchange="EXCHANGE_2", fields=fields)


def make_snapshot(*wallets, symbols=(), at=T0, account="main"):
    return Snapshot(
        account=account, observed_at=at, wallets=wallets or (make_wallet(),), symbols=tuple(symbols)
    )


def make_failure(kind=FailureKind.NETWORK, text="connection refused", account="main"):
    return PollFailure(account=account, kind=kind, text=text)


@dataclass
class Simulation:
    """One account on a simulated clock; rules and memory may be exchanged between two steps.

    Not the engine's: `replay` is held against it.
    """

    ruleset: Ruleset
    account: str = "main"
    memory: Memory = None
    transitions: list = field(default_factory=list)
    notifications: list = field(default_factory=list)
    #: receivers whose messages stay in the outbox
    stuck: set = field(default_factory=set)

    def __post_init__(self):
        if self.memory is None:
            self.memory = evaluation.blank_memory(self.account)

    def see(self, outcome, at):
        step = evaluation.evaluate(self.ruleset, self.memory, outcome, now=at)
        return self.take(step)

    def take(self, step):
        sent, delivered = step.memory.notified, evaluation.all_delivered(step.memory)
        stuck = {key: entry for key, entry in sent.items() if entry.receiver in self.stuck}
        self.memory = replace(delivered, notified={**delivered.notified, **stuck})
        self.transitions += step.transitions
        self.notifications += step.notifications
        return step

    def states(self, rule="floor"):
        return [a for a in self.memory.alerts.values() if a.rule == rule]

    def state_of(self, rule="floor"):
        states = [a.state.value for a in self.states(rule)]
        assert len(states) <= 1
        return states[0] if states else "inactive"

    def sent(self, receiver=None):
        """[(seconds, receiver, reason, {rule: reason})]"""
        return [
            (
                int((n.observed_at - T0).total_seconds()),
                n.receiver,
                n.reason.value,
                {i.alert.rule: (i.reason.value, i.severity.value) for i in n.items},
            )
            for n in self.notifications
            if receiver in (None, n.receiver)
        ]


def play(simulation, tokens, *, step=15 * S, start=T0):
    """`_` is a failed poll; a number the available balance."""
    for number, token in enumerate(str(tokens).split()):
        at = start + number * step
        outcome = make_failure() if token == "_" else make_snapshot(make_wallet(token), at=at)
        simulation.see(outcome, at)
    return simulation


def brief(simulation, receiver="desk"):
    return [(at, reason) for at, _, reason, _ in simulation.sent(receiver)]


def messages_about(simulation, rule):
    return [
        (int((n.observed_at - T0).total_seconds()), i.reason.value, i.alert.detail)
        for n in simulation.notifications
        for i in n.items
        if i.alert.rule == rule
    ]
