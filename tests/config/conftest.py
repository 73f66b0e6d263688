"""Loads rules files that are made of parts."""

from __future__ import annotations

import pytest

from alerting import redaction
from alerting.config.load import Depth, Secrets, load_config
from tests.support.rules_files import ACCOUNTS, ENVIRON, RECEIVERS, ROUTES, RULES


@pytest.fixture(autouse=True)
def _own_redactor(monkeypatch):
    """Secrets that one test teaches must not mask another's texts."""
    fresh = redaction.Redactor()
    monkeypatch.setattr("alerting.config.secrets.REDACTOR", fresh)
    monkeypatch.setattr("alerting.config.report.REDACTOR", fresh)
    return fresh


@pytest.fixture
def load(tmp_path):
    """Loads a text, made of the parts above unless others are given."""

    def run(
        extra="", *, accounts=ACCOUNTS, receivers=RECEIVERS, routes=ROUTES, rules=RULES,
        secrets=Secrets.REQUIRED, depth=Depth.STRUCTURE, **env,
    ):  # fmt: skip
        path = tmp_path / "rules.yaml"
        path.write_text(accounts + receivers + routes + rules + extra, encoding="utf-8")
        return load_config(path, environ={**ENVIRON, **env}, secrets=secrets, depth=depth)

    return run


@pytest.fixture
def load_route(load):
    """Loads one route, given by its keys, and returns it."""

    def run(**keys):
        lines = "".join(f"    {key}: {value}\n" for key, value in keys.items())
        return load(routes=ROUTES + lines).ruleset.routes[0]

    return run


@pytest.fixture
def load_mute(load_route):
    """Loads a route with one window, given by its keys, and returns that."""

    def run(**keys):
        keys = {"from": '"22:00"', "to": '"07:00"', "timezone": "Asia/Kolkata"} | keys
        window = ", ".join(f"{key}: {value}" for key, value in keys.items())
        (loaded,) = load_route(mute=f"[{{{window}}}]").mute
        return loaded

    return run


@pytest.fixture
def load_rule(load):
    """Loads one rule, given by its keys, and returns it."""

    def run(**keys):
        keys = {"name": "r", "per": "wallet", "value": "total_balance", "below": "1000"} | keys
        lines = "".join(f"    {k.rstrip('_')}: {v}\n" for k, v in keys.items() if v is not None)
        return load(rules="rules:\n  -" + lines[3:]).ruleset.rules[0]

    return run
