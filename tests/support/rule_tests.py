"""Test files for rules, made of a few words."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from tests.support.paths import ROOT

DATA = ROOT / "tests" / "data" / "tests"
SHIPPED = ROOT / "rules.example.test.yaml"
D = Decimal
S = timedelta(seconds=1)
M = timedelta(minutes=1)


def case_of(*expect, series="1200x4 900x6 _x2 1050x2 1200x4", more=""):
    lines = "".join(f"      - {{{each}}}\n" for each in expect)
    return (
        "rules: rules.yaml\ntests:\n  - name: t\n    wallet: {total_balance: 2000}\n"
        f'    series: {{total_available_balance: "{series}"}}\n{more}    expect:\n{lines}'
    )


FLOOR = "alert: available-balance-floor"

SYMBOLS = """\
    symbols:
      BTCUSDT: {blocked_balance: "300x4 500x14"}
      ETHUSDT: {blocked_balance: "300x4 -x14"}
"""

CONTRACT = """\
rules: rules.yaml            # relative to this file
tests:
  - name: the floor fires once and recovers
    interval: 15s            # one step of the series
    wallet: {base_asset: USDT, total_balance: 2000}     # constants for every step
    series:
      total_available_balance: "1200x4 900x6 _x2 1050x2 1200x4"    # value x count; _ is a failed poll
    expect:
      - {at: 1m30s, alert: available-balance-floor, state: firing, severity: warning}
      - {at: 1m30s, notified: desk, reason: firing}
      - {at: 5m, not_notified: phone}
"""
