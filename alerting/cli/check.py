"""`check`: everything that is wrong with a rules file, its templates and receivers, at once."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from alerting.cli import context
from alerting.cli.arguments import Commands
from alerting.cli.context import FAILED, FINE
from alerting.errors import ConfigError
from alerting.terminal import count


def add(commands: Commands) -> None:
    """Add the command."""
    check = commands.add("check", _check, "validate the rules file, its templates and receivers")
    check.add_argument("file", nargs="?", metavar="FILE", help="the rules file (default: as -c)")


def _check(args: argparse.Namespace) -> int:
    from alerting.config.load import load_config
    from alerting.config.yaml_reader import read_yaml
    from alerting.exchanges.coinswitch.client import check_key_pair
    from alerting.messages.check import check_templates
    from alerting.notify.receivers import receiver_problem

    path = Path(args.file) if args.file else context.config_path(args)
    try:
        config = load_config(path, environ=os.environ)
    except ConfigError as error:
        print(*error.problems, sep="\n")
        return FAILED
    document = read_yaml(path.read_text(encoding="utf-8-sig"), file=str(path))

    def spot(*keys: str | int) -> str:
        at = document.value(keys)
        return f"{path}:{at.line}:{at.column}: {'.'.join(map(str, keys))}"

    rules = list(config.ruleset.rules)
    problems = check_templates(
        config.templates,
        rules,
        where=lambda rule, key: spot("rules", rules.index(rule), "annotations", key),
    )
    for name, receiver in config.receivers.items():
        problem = receiver_problem(receiver)
        if problem:
            problems.append(f"{spot('receivers', name, 'url')}: {problem}")
    for account in config.accounts.values():
        warning = check_key_pair(account)
        if warning:
            print(f"{path}: warning: accounts.{account.name}: {warning}", file=sys.stderr)
    if problems:
        print(*problems, sep="\n")
        return FAILED
    counts = [(len(rules), "rule"), (len(config.receivers), "receiver")]
    counts.append((len(config.ruleset.routes), "route"))
    print(", ".join(count(number, noun) for number, noun in counts))
    return FINE
