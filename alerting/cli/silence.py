"""`silence`: alerts that stay quiet for a while, for a good reason."""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from alerting.cli import context
from alerting.cli.arguments import Commands, lasting
from alerting.cli.context import FINE
from alerting.errors import NotFoundError, UsageError
from alerting.units import format_duration, rfc3339

if TYPE_CHECKING:
    from alerting.engine.model import Silence
    from alerting.engine.rules import Ruleset


def add(commands: Commands) -> None:
    """Add the command."""
    silence = commands.add("silence", _list, "keep alerts quiet for a while")
    actions = silence.add_subparsers(metavar="add|list|remove", required=True)
    new = actions.add_parser("add", help="silence what matches all of LABEL=GLOB")
    new.add_argument("matchers", nargs="+", metavar="LABEL=GLOB")
    new.add_argument("--for", required=True, dest="duration", metavar="DURATION")
    new.add_argument("--reason", required=True)
    new.add_argument("--author", help="default: user@host")
    new.set_defaults(command=_add)
    actions.add_parser("list", help="silences that have not ended").set_defaults(command=_list)
    remove = actions.add_parser("remove", help="end a silence now")
    remove.add_argument("id", type=int, metavar="ID")
    remove.set_defaults(command=_remove)


def _add(args: argparse.Namespace) -> int:
    config, now = context.known_config(args), context.now()
    silence = new_silence(
        parse_matchers(args.matchers, config.ruleset),
        duration=args.duration,
        reason=args.reason,
        by=args.author or context.author(),
        now=now,
    )
    with contextlib.closing(context.open_store(args, config)) as store:
        number = store.add_silence(silence)
    print(describe(replace(silence, id=number), now=now))
    for word in matching_nothing(silence.matchers, config.ruleset):
        print(f"note: {word} of the rules file, so this keeps nothing quiet as it is")
    return FINE


def _list(args: argparse.Namespace) -> int:
    now = context.now()
    with contextlib.closing(context.open_store(args, context.known_config(args))) as store:
        silences = store.silences(now=now)
    print(*(describe(silence, now=now) for silence in silences), sep="\n")
    return FINE


def _remove(args: argparse.Namespace) -> int:
    with contextlib.closing(context.open_store(args, context.known_config(args))) as store:
        if not store.remove_silence(args.id):
            raise NotFoundError(
                f"there is no silence {args.id}; `alerting silence list` shows them"
            )
    print(f"silence {args.id} is over")
    return FINE


def parse_matchers(words: Iterable[str], ruleset: Ruleset) -> dict[str, str]:
    """`rule=available-*` `account=main` as label -> glob; unknown labels are refused."""
    from alerting.engine.rules import ROUTE_LABELS

    known = {*ROUTE_LABELS, "id", *(label for rule in ruleset.rules for label in rule.labels)}
    matchers: dict[str, str] = {}
    for word in words:
        key, equals, glob = word.partition("=")
        if not equals or not glob:
            raise UsageError(f"{word!r} is not LABEL=GLOB, such as rule=available-*")
        if key not in known:
            raise UsageError(f"{key!r} is no label; known: {', '.join(sorted(known))}")
        if key in matchers:
            raise UsageError(f"{key!r} stands twice; all matchers of a silence must match")
        matchers[key] = glob
    if not matchers:
        raise UsageError("a silence needs at least one LABEL=GLOB; rule=* silences everything")
    return matchers


def matching_nothing(matchers: Mapping[str, str], ruleset: Ruleset) -> Iterator[str]:
    """Which of the globs match nothing that there is by now."""
    names = {
        "rule": [*(rule.name for rule in ruleset.rules), *ruleset.builtin],
        # the program's own alerts have no account
        "account": [*ruleset.accounts, ""],
    }
    for label, known in names.items():
        glob = matchers.get(label)
        if glob is not None and not any(fnmatch.fnmatchcase(name, glob) for name in known):
            yield f"{label}={glob} matches no {label}"


def new_silence(
    matchers: dict[str, str], *, duration: str, reason: str, by: str, now: datetime
) -> Silence:
    """A silence from now on; its id is given by the store."""
    from alerting.engine.model import Silence

    if not reason.strip():
        raise UsageError("--reason is empty; whoever wonders later will want to know")
    return Silence(
        id=0,
        matchers=matchers,
        starts_at=now,
        ends_at=now + lasting("--for", duration),
        author=by,
        reason=reason,
    )


def describe(silence: Silence, *, now: datetime) -> str:
    """One line for `silence list`."""
    left = _rounded(silence.ends_at - now)
    until = rfc3339(silence.ends_at.replace(microsecond=0))
    return (
        f"{silence.id}  {silence.typed}  until {until} ({format_duration(left)} left)"
        f"  {silence.reason}  [{silence.author}]"
    )


def _rounded(left: timedelta) -> timedelta:
    unit = timedelta(minutes=1) if left > timedelta(hours=1) else timedelta(seconds=1)
    return round(left / unit) * unit
