"""What a command stands on: the rules file, the state file, the clock, who types it.

Only `cli` reads arguments and `os.environ`; everything below is given what it needs. (The variables
of proxies and certificates are read where the libraries do: `net/local.py`.)
"""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from alerting.errors import UsageError

if TYPE_CHECKING:
    from alerting.config.load import Depth
    from alerting.config.settings import Config
    from alerting.store.state import Store

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
    """Where the rules file is."""
    return Path(args.config or os.environ.get("ALERTING_CONFIG") or "rules.yaml")


def state_path(args: argparse.Namespace, config: Config) -> Path:
    """Where the state file is, or will be."""
    given = args.state or os.environ.get("ALERTING_STATE")
    return Path(given) if given else config.state or config.path.with_name("alerting.db")


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
