"""The command line's entry: parses, calls one command, turns errors into exit codes.

Each command is a module that imports what it needs only when it runs: cron starts us every minute.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from alerting import logs
from alerting.cli import (
    ack,
    check,
    demo,
    exchange,
    explain,
    history,
    replay,
    run,
    schema,
    send_test,
    silence,
    status,
    test,
)
from alerting.cli.arguments import Command, Commands
from alerting.cli.context import FAILED, FINE, WRONG_USAGE
from alerting.errors import AlertingError, ConfigError, UsageError

# in the order of `--help`
_COMMANDS = (
    demo,
    check,
    run,
    status,
    send_test,
    explain,
    silence,
    ack,
    history,
    replay,
    test,
    schema,
    exchange,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 fine, 1 failed or found problems, 2 wrong usage."""
    args = _parser().parse_args(argv)
    logs.set_up(args.log_level, args.log_format)
    command: Command = args.command
    try:
        return command(args)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return WRONG_USAGE
    except UsageError as error:
        print(f"alerting: {error}", file=sys.stderr)
        return WRONG_USAGE
    except AlertingError as error:
        print(f"alerting: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    commands = Commands()
    for module in _COMMANDS:
        module.add(commands)
    return commands.parser
