"""Which time zones this machine knows, and what to say of a name that is none of them."""

from __future__ import annotations

import difflib
import zoneinfo
from collections.abc import Collection

from alerting.config.values import show


def problem(name: str, zones: Collection[str]) -> str:
    """What is wrong with a name that is not among `zones`."""
    if zones:
        return f"unknown time zone {show(name)}{_hint(name, zones)}"
    return (
        "this machine has no time zone database; install the system's package tzdata, "
        "or `pip install tzdata`"
    )


def names() -> frozenset[str]:
    """All names of the time zone database; empty where there is none."""
    # these two are in the folder, but name no place
    return frozenset(zoneinfo.available_timezones() - {"localtime", "Factory"})


def _hint(name: str, zones: Collection[str]) -> str:
    """The nearest name, also for the city alone; a wrong guess would be worse than none."""
    spelt = {each.rpartition("/")[2].lower(): each for each in sorted(zones)}
    spelt |= {each.lower(): each for each in zones}
    near = difflib.get_close_matches(name.lower().replace(" ", "_"), spelt, n=1, cutoff=0.8)
    if near:
        return f"; did you mean {spelt[near[0]]!r}?"
    return "; write an IANA name, such as Asia/Kolkata or UTC"
