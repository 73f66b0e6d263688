"""The Dockerfile's steps, as far as they can be checked without a Docker engine."""

from __future__ import annotations

import fnmatch
import json
import re

import pytest

from tests.support.paths import ROOT


def steps():
    """(instruction, rest) of each step, continued lines joined, comments left out."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines()]


def named(instruction):
    return [rest for name, rest in steps() if name == instruction]


def copied():
    """What is copied from the checkout."""
    rests = [rest.split() for rest in named("COPY") if not rest.startswith("--from=")]
    return [source for *sources, _ in rests for source in sources]


def is_sent(path):
    """Whether .dockerignore lets a path through: the last line that matches decides."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        if line and not line.startswith("#") and fnmatch.fnmatch(path, pattern):
            ignored = not line.startswith("!")
    return not ignored


@pytest.mark.parametrize("path", copied())
def test_what_is_copied_is_there_and_is_sent_to_the_engine(path):
    assert (ROOT / path).exists()
    assert is_sent(path)


def test_secrets_and_states_are_not_sent():
    assert not any(map(is_sent, ("rules.yaml", "alerting.db", ".env", "secrets", ".git")))
    assert not any(map(is_sent, ("deploy/rules.yaml", "deploy/secrets")))


def test_it_installs_what_was_locked_and_nothing_else():
    runs = [run for run in named("RUN") if "pip install" in run]
    assert ["--require-hashes" in run for run in runs] == [True, False]
    assert "--requirement requirements.lock" in runs[0]
    assert "--no-deps" in runs[1]


def test_it_runs_as_nobody_in_particular_with_the_state_in_a_volume():
    assert named("USER") == ["10001:10001"]
    assert named("VOLUME") == named("WORKDIR")[-1:] == ["/var/lib/alerting"]
    assert json.loads(named("ENTRYPOINT")[0]) == ["alerting"]
    assert json.loads(named("CMD")[0]) == ["run"]


def test_its_health_check_is_the_script_that_is_copied():
    command = json.loads(named("HEALTHCHECK")[0].partition("CMD ")[2])
    assert command == ["alerting-healthcheck"]
    assert "scripts/healthcheck /usr/local/bin/alerting-healthcheck" in named("COPY")
    assert (ROOT / "scripts/healthcheck").stat().st_mode & 0o111
