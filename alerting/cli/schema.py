"""`schema`: the JSON Schema of the rules file."""

from __future__ import annotations

import argparse
import json

from alerting.cli.arguments import Commands
from alerting.cli.context import FINE


def add(commands: Commands) -> None:
    """Add the command."""
    commands.add("schema", _schema, "print the JSON Schema of the rules file, for editors")


def _schema(_args: argparse.Namespace) -> int:
    from alerting.config.load import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return FINE
