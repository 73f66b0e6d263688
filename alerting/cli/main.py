"""The command line's entry: parses, calls one command, turns errors into exit codes.

Each command is a module that imports what it needs only when it runs: cron starts us every minute.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from alerting import logs
from alerting.cli import (
    ack,
    check,
    completion,
    context,
    demo,
    exchange,
    explain,
    history,
    init,
    replay,
    run,
    schema,
    send_test,
    silence,
    status,
    test,
    what_if,
)
from alerting.cli.arguments import Command, Commands
from alerting.cli.context import FAILED, FINE, WRONG_USAGE
from alerting.errors import AlertingError, ConfigError, OutputError, UsageError
from alerting.redaction import visible
from alerting.streams import guard_streams

# in the order of `--help`
_COMMANDS = (
    demo,
    init,
    check,
    run,
    status,
    send_test,
    explain,
    what_if,
    silence,
    ack,
    history,
    replay,
    test,
    schema,
    exchange,
    completion,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 fine, 1 failed or found problems, 2 wrong usage."""
    guard_streams()
    try:
        return _run(argv)
    except OutputError as error:
        _say(f"alerting: {error}")
        return FAILED
    except BrokenPipeError:
        # whoever read our output has seen enough
        return FINE
    except KeyboardInterrupt:
        return 130


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = _parser().parse_args(argv)
        logs.set_up(args.log_level, args.log_format)
        code = _call(args.command, args)
    finally:
        # here, and not when the interpreter ends: then nobody could say that it failed
        sys.stdout.flush()
    return code


def _call(command: Command, args: argparse.Namespace) -> int:
    try:
        context.leave_deleted_folder(args)
        return command(args)
    except ConfigError as error:
        _say(*map(str, error.problems))
        return WRONG_USAGE
    except UsageError as error:
        _say(f"alerting: {error}")
        return WRONG_USAGE
    except OutputError:
        raise
    except AlertingError as error:
        _say(f"alerting: {error}")
        return FAILED


def _say(*lines: str) -> None:
    for line in lines:
        print(*map(visible, line.splitlines()), sep="\n", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    commands = Commands()
    for module in _COMMANDS:
        module.add(commands)
    return commands.parser
