"""The parser's common parts: what every command takes, and what several do."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Callable
from datetime import datetime, timedelta

from alerting import __version__, logs
from alerting.errors import UsageError

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# An alert that nobody hears for longer than this is better removed from the rules file.
_LONGEST = timedelta(days=366)

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
        help="the rules file (env: ALERTING_CONFIG; default: the first of rules.yaml, "
        "~/.config/alerting/rules.yaml and /etc/alerting/rules.yaml)",
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
    parser.add_argument(
        "--from", dest="since", metavar="T", help="from this instant on, such as 2h (ago)"
    )
    parser.add_argument("--to", dest="until", metavar="T", help="up to this instant, exclusive")


def instant(option: str, text: str | None, *, now: datetime) -> datetime | None:
    """The value of an option that takes an instant; None: not given. Raises UsageError.

    A duration means so long ago, a date its midnight in UTC.
    """
    from alerting.units import parse_duration, parse_instant

    if text is None:
        return None
    if text.strip().lower() == "now":
        return now
    with contextlib.suppress(ValueError, OverflowError):
        return now - parse_duration(text)
    try:
        midnight = "T00:00:00Z" if _DATE.fullmatch(text) else ""
        return parse_instant(text + midnight)
    except ValueError as error:
        raise UsageError(
            f"{option} {text!r} is not an instant such as 2026-01-01T00:00:00Z, 2026-01-01, "
            "2h (ago) or now"
        ) from error


def lasting(option: str, text: str) -> timedelta:
    """The value of an option that takes a duration from now on; UsageError if it is none."""
    from alerting.units import parse_duration

    try:
        length = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option} {error}") from error
    if not timedelta(0) < length <= _LONGEST:
        raise UsageError(f"{option} {text}: between 1ms and {_LONGEST.days}d")
    return length
