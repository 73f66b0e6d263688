"""What a command stands on: the rules file, the state file, the clock, who types it.

Only `cli` reads arguments and `os.environ`; everything below is given what it needs. (The variables
of proxies and certificates are read where the libraries do: `net/local.py`.)
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from alerting.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from alerting.config.load import Depth
    from alerting.config.settings import Config
    from alerting.store.state import Store

log = logging.getLogger("alerting")

_OF_THE_MACHINE = Path("/etc/alerting/rules.yaml")

#: exit codes
FINE, FAILED, WRONG_USAGE = 0, 1, 2


def now() -> datetime:
    """The present, in UTC."""
    # milliseconds are more than anybody reads, and fewer digits in every message
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def config(args: argparse.Namespace) -> Config:
    """The rules file that is meant; raises ConfigError with every problem of it."""
    return load(config_path(args))


def load(path: Path, depth: Depth | None = None) -> Config:
    """A rules file, looked at so far (None: its structure); ConfigError has every problem of it."""
    from alerting.config.load import Depth, load_config

    return load_config(path, environ=os.environ, depth=depth or Depth.STRUCTURE)


def known_config(args: argparse.Namespace) -> Config:
    """The rules to go by, without their secrets: those of the file, else those last taken over.

    The latter where the file is broken or not at hand, which is said. Raises ConfigError if there
    are none either.
    """
    from alerting.config.load import Secrets, load_config

    path = config_path(args)
    try:
        return load_config(path, environ=os.environ, secrets=Secrets.IGNORED)
    except ConfigError as error:
        config = _last_taken_over(args, path, error)
        if config is None:
            raise
        return config


def _last_taken_over(args: argparse.Namespace, path: Path, why: ConfigError) -> Config | None:
    from alerting.config.load import load_remembered, state_of
    from alerting.config.reload import brief
    from alerting.config.remembered import recall
    from alerting.store.state import Store
    from alerting.units import rfc3339

    given = args.state or os.environ.get("ALERTING_STATE")
    state = Path(given) if given else state_of(path, environ=os.environ)
    if not state.exists():
        return None
    with contextlib.closing(Store(state)) as store:
        remembered = recall(store)
    named = args.config or os.environ.get("ALERTING_CONFIG")
    if remembered is None or (named and path.absolute() != remembered.path):
        return None  # whoever means another file is not helped by these rules
    config = load_remembered(remembered)
    at = rfc3339(remembered.taken_over_at.replace(microsecond=0))
    log.warning("%s; going by the rules that were taken over at %s", brief(why), at)
    return replace(config, state=state)


def leave_deleted_folder(args: argparse.Namespace) -> None:
    """Stand somewhere: in a folder that was deleted not even a library can be loaded.

    Raises UsageError where a relative path says where something is: it leads nowhere there.
    """
    try:
        Path.cwd()
    except OSError:
        config = args.config or os.environ.get("ALERTING_CONFIG")
        state = args.state or os.environ.get("ALERTING_STATE")
        for path in (config, state):
            if path and not Path(path).is_absolute():
                raise UsageError(
                    f"the folder in which this was started is gone, so {path} cannot be found; "
                    "start it elsewhere or write the whole path"
                ) from None
        os.chdir("/")


def config_path(args: argparse.Namespace) -> Path:
    """Where the rules file is: where it is said to be, else the first place that has one."""
    given = args.config or os.environ.get("ALERTING_CONFIG")
    if given:
        return Path(given)
    own = os.environ.get("XDG_CONFIG_HOME", "")
    # a relative one is to be ignored, says its specification
    folder = own if Path(own).is_absolute() else os.path.expanduser("~/.config")  # noqa: PTH111
    places = (Path("rules.yaml"), Path(folder, "alerting", "rules.yaml"), _OF_THE_MACHINE)
    return next((place for place in places if place.exists()), places[0])


def state_path(args: argparse.Namespace, config: Config) -> Path:
    """Where the state file is, or will be."""
    from alerting.config.load import default_state

    given = args.state or os.environ.get("ALERTING_STATE")
    return Path(given) if given else config.state or default_state(config.path)


def open_store(args: argparse.Namespace, config: Config) -> Store:
    """The state, to be closed; raises UsageError if there is none yet."""
    from alerting.store.state import Store

    path = state_path(args, config)
    if not path.exists():
        raise UsageError(f"there is no state file {path} yet; `alerting run` makes it")
    return Store(path, deliver_within=config.deliver_within)


def author() -> str:
    """Who types this, as far as the machine can tell."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
