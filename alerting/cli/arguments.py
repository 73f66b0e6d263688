"""The parser's common parts: what every command takes, and what several do."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime

from alerting import __version__, logs
from alerting.errors import UsageError

#: Carries a command out; gives the exit code.
Command = Callable[[argparse.Namespace], int]


class Commands:
    """The program's parser, to which each command adds itself."""

    def __init__(self) -> None:
        self.parser = argparse.ArgumentParser(
            prog="alerting",
            description="Margin alerts for perpetual futures on CoinSwitch PRO.",
            epilog="Start with `alerting demo`: it needs no keys and no network.",
        )
        self.parser.add_argument("--version", action="version", version=f"alerting {__version__}")
        _add_common(self.parser, top=True)
        self._common = argparse.ArgumentParser(add_help=False)
        _add_common(self._common, top=False)
        self._commands = self.parser.add_subparsers(metavar="COMMAND", required=True)

    def add(self, name: str, run: Command, text: str) -> argparse.ArgumentParser:
        """A new command; its parser, for the arguments of its own."""
        sub = self._commands.add_parser(name, help=text, description=text, parents=[self._common])
        sub.set_defaults(command=run)
        return sub


def _add_common(parser: argparse.ArgumentParser, *, top: bool) -> None:
    def default(value: str | None) -> str | None:
        # a sub-command's default must not overwrite what stood before the command
        return value if top else argparse.SUPPRESS

    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        default=default(None),
        help="the rules file (env: ALERTING_CONFIG; default: rules.yaml)",
    )
    parser.add_argument(
        "--state",
        metavar="PATH",
        default=default(None),
        help="the state file (env: ALERTING_STATE; default: `state:` of the rules file, "
        "else alerting.db beside it)",
    )
    parser.add_argument("--log-level", choices=logs.LEVELS, default=default("info"))
    parser.add_argument("--log-format", choices=logs.FORMATS, default=default("text"))


def add_period(parser: argparse.ArgumentParser) -> None:
    """`--from` and `--to`: texts that `instant` reads."""
    parser.add_argument("--from", dest="since", metavar="T", help="from this instant on")
    parser.add_argument("--to", dest="until", metavar="T", help="up to this instant, exclusive")


def instant(option: str, text: str | None) -> datetime | None:
    """The value of an option that takes an instant; None: not given. Raises UsageError."""
    from alerting.units import parse_instant

    if text is None:
        return None
    try:
        return parse_instant(text)
    except ValueError as error:
        raise UsageError(
            f"{option} {text!r} is not an instant such as 2026-01-01T00:00:00Z"
        ) from error
