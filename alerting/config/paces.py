"""How often the exchange is read, beside how often it may be and how long nothing may be seen."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from alerting.config.report import Report
from alerting.config.schema import RulesFile
from alerting.config.yaml_reader import Path as KeyPath
from alerting.engine.feeds import POSITIONS, WALLET, Scope
from alerting.exchanges.coinswitch.pages import POSITIONS as POSITIONS_PAGE
from alerting.units import format_duration

_MILLISECOND = timedelta(milliseconds=1)


def check_paces(report: Report, file: RulesFile) -> None:
    """Report feeds that are read too often for the exchange, or too seldom for `blind`."""
    for feed, path, interval in _intervals(report, file):
        if feed == WALLET:
            _check_rate(report, interval, file)
        else:
            _check_budget(report, path, interval)
        _check_blind(report, path, interval, file)


def _intervals(report: Report, file: RulesFile) -> Iterator[tuple[str, KeyPath, timedelta]]:
    """Each feed that is read, the key that says how often, and how often."""
    poll = file.poll
    if report.readable(("poll", "interval")):
        yield WALLET, ("poll", "interval"), poll.interval
    if not any(rule.per is Scope.POSITION and rule.enabled for rule in file.rules):
        return
    if poll.positions is not None:
        yield POSITIONS, ("poll", "positions"), poll.positions
    elif report.readable(("poll", "interval")) and report.readable(("poll", "positions")):
        yield POSITIONS, ("poll", "interval"), poll.interval


def _check_blind(report: Report, path: KeyPath, interval: timedelta, file: RulesFile) -> None:
    of_what = "poll interval of the positions" if path[-1] == POSITIONS else "poll interval"
    for delay_path, delay in (
        (("poll", "blind_after"), file.poll.blind_after),
        (("builtin", "blind", "for"), file.builtin.blind.for_),
    ):
        if delay is not None and delay < interval and report.readable(delay_path):
            report.value(
                delay_path if report.has(delay_path) else path,
                f"{delay_path[-1]} {format_duration(delay)} is less than the {of_what} "
                f"{format_duration(interval)}: the alert `blind` would always fire",
            )


def _check_budget(report: Report, path: KeyPath, interval: timedelta) -> None:
    requests, window = POSITIONS_PAGE.requests, POSITIONS_PAGE.window
    if interval * requests < window:
        report.value(
            path if report.has(path) else ("poll",),
            f"reading the positions every {format_duration(interval)} would use more than the "
            f"page's own budget of {requests}/{format_duration(window)}; the least for "
            f"poll.positions is {format_duration(_least(requests, window))}",
        )


def _check_rate(report: Report, interval: timedelta, file: RulesFile) -> None:
    rates = [
        (each.rate_limit, name)
        for name, each in file.accounts.items()
        if report.readable(("accounts", name, "rate_limit"))
    ]
    if not rates:
        return
    (requests, window), name = max(rates, key=lambda rate: rate[0][1] / rate[0][0])
    if interval * requests >= window:
        return
    path: KeyPath = ("poll", "interval")
    rate: KeyPath = ("accounts", name, "rate_limit")
    written = report.raw(rate) or "20/60s"
    report.value(
        path if report.has(path) else rate,
        f"polling every {format_duration(interval)} would use more than the whole rate_limit "
        f"{written} of account {name!r}; "
        f"the least interval is {format_duration(_least(requests, window))}",
    )


def _least(requests: int, window: timedelta) -> timedelta:
    """Rounded up to a duration that can be written."""
    # -(-a // b) rounds up
    return -(-window // (requests * _MILLISECOND)) * _MILLISECOND
