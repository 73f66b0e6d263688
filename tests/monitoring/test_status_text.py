"""`status` on a terminal, cell by cell."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from alerting.engine.model import Direction, Severity
from alerting.monitoring.nearest import Reach, Row
from alerting.monitoring.status_text import as_text
from alerting.notify.settings import ReceiverSettings
from alerting.redaction import Secret
from alerting.terminal import width
from tests.support.configs import make_config
from tests.support.factories import CRITICAL, T0, D, M, make_rule, make_threshold
from tests.support.overviews import make_health, make_overview, make_shown

PHONE = {"phone": ReceiverSettings(name="phone", url=Secret("json://h/"))}
CONFIG = make_config(receivers=make_config().receivers | PHONE)

TEXT = """\
ACCOUNTS
  main  seen 15s ago
  new   no snapshot yet  3 failed polls: None
    main USDT  total 1000  available 900  blocked 100

ALERTS  2 firing, 1 pending
  CRITICAL  FLOOR  floor  main/USDT          -6.778517    acked
  pending   RATIO  ratio  main/USDT/BTCUSDT  0.25         silenced
  CRITICAL  BLIND  blind  main/USDT

OUTBOX
  desk   5 sent            2 waiting, the oldest for 30s  1 dead  last failure: bad token
  phone  nothing sent yet
"""


def test_all_of_it():
    view = make_overview()
    floor, ratio, blind = view.alerts
    view = replace(
        view, acked=frozenset({floor.fingerprint}), silenced=frozenset({ratio.fingerprint})
    )

    assert as_text(view, CONFIG, colour=False) + "\n" == (
        TEXT.replace("FLOOR", floor.id).replace("RATIO", ratio.id).replace("BLIND", blind.id)
    )


@pytest.mark.parametrize("percent", [True, False])
def test_a_ratio_to_equity_that_is_used_up(percent):
    alert = replace(
        make_shown("risk", "Infinity", severity=CRITICAL),
        percent=percent,
        thresholds={CRITICAL: (D("0.8"), D("0.7"))},
    )
    rule = make_rule(
        "risk",
        "margin_ratio",
        make_threshold(CRITICAL, "0.8"),
        direction=Direction.ABOVE,
        percent=percent,
    )
    worst = Row(
        labels={"account": "main"},
        value=D("Infinity"),
        threshold=D("0.8"),
        severity=CRITICAL,
        distance=D("Infinity"),
    )
    reaches = (Reach(rule=rule, rows=1, worst=worst),)
    text = as_text(make_overview(alerts=(alert,), reaches=reaches), CONFIG, colour=False)
    line = "80%" if percent else "0.8"
    assert f"over 100 %  far past > {line}" in text
    assert f"over 100 % > {line}" in text


def test_without_alerts():
    assert "ALERTS  0 firing, 0 pending\n  none\n" in as_text(
        make_overview(alerts=()), CONFIG, colour=False
    )


@pytest.mark.parametrize(
    ("minutes", "colour"),
    [pytest.param(1, "32", id="fresh"), pytest.param(3, "31;1", id="older-than-blind-after")],
)
def test_how_old_is_coloured_by_blind_after(minutes, colour):
    text = as_text(make_overview(now=T0 + minutes * M), CONFIG, colour=True)

    assert f"\x1b[{colour}mseen " in text
    assert "\x1b[31;1mCRITICAL\x1b[0m" in text


def test_the_last_day_is_shown_where_there_is_one():
    day = ("  main free USDT", "▁▂▃", "1 to 3")

    text = as_text(make_overview(sparklines=(day,)), CONFIG, colour=False)

    assert "  main free USDT  ▁▂▃  1 to 3\n" in text


@pytest.mark.parametrize("colour", [False, True])
def test_no_line_is_longer_than_the_terminal(colour):
    text = as_text(make_overview(), CONFIG, colour=colour, columns=40)

    assert max(width(line) for line in text.splitlines()) == 40
    last_codes = [re.findall("\x1b\\[([0-9;]+)m", line)[-1:] for line in text.splitlines()]
    assert all(code in ([], ["0"]) for code in last_codes), "a colour does not end with its line"
    assert "  desk   5 sent            2 waiting, t…" in re.sub("\x1b\\[[0-9;]*m", "", text)


def test_long_names_leave_room_for_the_numbers():
    rule = make_rule(name="a-rule-with-a-name-that-says-all-there-is-to-say")
    labels = {"account": "an-account-with-a-long-name", "base_asset": "USDT"}
    row = Row(
        labels=labels, value=D("7.5"), threshold=D(5), severity=Severity.WARNING, distance=D("-2.5")
    )
    view = make_overview(reaches=(Reach(rule=rule, rows=1, worst=row),))

    narrow = as_text(view, CONFIG, colour=False, columns=80)
    assert "  a-rule-with-a-name-that…  an-account-with-a-l…  7.5  2.5 from < 5 (warning)" in narrow
    assert f"  {rule.name}  " in as_text(view, CONFIG, colour=False)


def test_an_account_that_was_never_polled():
    text = as_text(make_overview(health=make_health(accounts={})), CONFIG, colour=False)

    assert text.startswith("ACCOUNTS\n\nALERTS")
