"""`completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator

from alerting.cli.arguments import Commands
from alerting.cli.context import FINE

_SHELLS = ("bash", "zsh", "fish")
# arguments of which the shell knows what there is
_FILES = ("FILE", "PATH", "OLD.yaml")


def add(commands: Commands) -> None:
    """Add the command."""
    completion = commands.add(
        "completion",
        functools.partial(_completion, commands.parser),
        "print what makes your shell complete commands and options",
    )
    completion.add_argument("shell", choices=_SHELLS)
    completion.epilog = 'For bash: eval "$(alerting completion bash)" in ~/.bashrc'


def _completion(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    import shtab

    for action in _actions(parser):
        if action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(parser, shell=args.shell))
    return FINE


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to list them
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for sub in action.choices.values():
                yield from _actions(sub)
