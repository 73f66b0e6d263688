"""The HTTP libraries that are installed: one that is too old is named before it does harm.

pyproject.toml asks for the same; but whoever installs something else into the same place can have
replaced them since.
"""

from __future__ import annotations

import re

import requests
import urllib3

from alerting.errors import LibraryError


def check() -> None:
    """LibraryError, with what to type, where a library is older than what we rely on."""
    # 1.26 takes a body that broke off for a whole one, and lacks names that we use
    _check("urllib3", urllib3.__version__, "2")  # type: ignore[attr-defined]
    # older ones set up TLS in another way
    _check("requests", requests.__version__, "2.32")


def _check(name: str, installed: str, needed: str) -> None:
    if _numbers(installed) < _numbers(needed):
        raise LibraryError(
            f"{name} {installed} is installed, and {needed} or newer is needed: "
            f"pip install '{name}>={needed}'"
        )


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"[0-9]+", version)[:2]]
