from __future__ import annotations

from alerting.cli import main as cli
from alerting.sandbox.demo import _farewell


def test_its_last_lines_name_commands_that_there_are():
    lines = _farewell(".venv/bin/alerting").splitlines()
    calls = [line.split("  ")[1] for line in lines if line.startswith("  ")]

    assert calls[0].split() == [".venv/bin/alerting", "init"]
    for call in calls:
        assert cli._parser().parse_args(call.split()[1:]).command
