"""A whole configuration, made up: one account, one receiver, perhaps a heartbeat; and a poll judged by it."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

from alerting.config.settings import Config, HeartbeatSettings, PollSettings
from alerting.engine import evaluation
from alerting.exchanges.account import AccountSettings
from alerting.notify.settings import ReceiverSettings
from alerting.redaction import Secret
from tests.support.factories import (
    CRITICAL,
    INFO,
    T0,
    M,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_threshold,
    make_wallet,
)

TOKEN = "4a6f2c1e-secret-token"


def make_config(**changes):
    key = Secret("k" * 64)
    ruleset = make_ruleset(
        make_rule(
            "floor", "total_available_balance", make_threshold(INFO), make_threshold(CRITICAL, "1")
        )
    )
    config = Config(
        path=Path("rules.yaml"),
        poll=PollSettings(),
        accounts={"main": AccountSettings(name="main", api_key=key, secret_key=key)},
        receivers={"desk": ReceiverSettings(name="desk", url=Secret("json://token@h/"))},
        ruleset=ruleset,
        templates=None,
        state=None,
    )
    return replace(config, **changes)


def url_of(server, scheme="http"):
    return Secret(f"{scheme}://127.0.0.1:{server.port}/{TOKEN}")


def watching(server=None, *, every=M):
    url = url_of(server) if server else Secret("http://127.0.0.1:1/")
    return make_config(heartbeat=HeartbeatSettings(url=url, every=every))


def see(store, available="2000", *, at=T0, outcome=None, account="main"):
    """One poll of the account; 50 available is an alert for the receiver `desk`."""
    outcome = outcome or make_snapshot(make_wallet(available), at=at, account=account)
    step = functools.partial(evaluation.evaluate, make_config().ruleset, outcome=outcome, now=at)
    store.evaluate(account, step)
