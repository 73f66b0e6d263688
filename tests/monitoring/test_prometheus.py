"""Metrics as text, and all that reads them: promtool, the rules and the dashboard of docs/."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta

import pytest
import yaml

from alerting.engine import evaluation
from alerting.engine.model import SeenPosition
from alerting.monitoring.overview import overview
from alerting.monitoring.prometheus import render
from alerting.store.state import Store
from tests.support.configs import make_config
from tests.support.exposition import parse
from tests.support.factories import T0, M, make_failure, make_snapshot, make_wallet
from tests.support.overviews import make_health, make_overview, make_shown
from tests.support.paths import ROOT
from tests.support.positions import make_position

DOCS = ROOT / "docs"


GOLDEN = """\
# HELP alerting_build_info Always 1; the version.
# TYPE alerting_build_info gauge
alerting_build_info{version="1.2.3"} 1
# HELP alerting_last_snapshot_timestamp_seconds When the feed was last read; absent until it was read once.
# TYPE alerting_last_snapshot_timestamp_seconds gauge
alerting_last_snapshot_timestamp_seconds{account="main",feed="wallet"} 1767225645
# HELP alerting_snapshot_age_seconds Time since the feed was last read; absent until it was read once.
# TYPE alerting_snapshot_age_seconds gauge
alerting_snapshot_age_seconds{account="main",feed="wallet"} 15
# HELP alerting_consecutive_poll_failures Polls of the feed that failed since one last gave a snapshot.
# TYPE alerting_consecutive_poll_failures gauge
alerting_consecutive_poll_failures{account="main",feed="wallet"} 0
alerting_consecutive_poll_failures{account="new",feed="wallet"} 3
# HELP alerting_last_evaluation_timestamp_seconds When the account's rules were last judged, whether or not its poll succeeded.
# TYPE alerting_last_evaluation_timestamp_seconds gauge
alerting_last_evaluation_timestamp_seconds{account="main"} 1767225645.5
alerting_last_evaluation_timestamp_seconds{account="new"} 1767225646
# HELP alerting_wallet_total_balance total_balance of the wallet when it was last read, in its settlement asset.
# TYPE alerting_wallet_total_balance gauge
alerting_wallet_total_balance{account="main",base_asset="USDT"} 1000
# HELP alerting_wallet_total_available_balance total_available_balance of the wallet when it was last read, in its settlement asset.
# TYPE alerting_wallet_total_available_balance gauge
alerting_wallet_total_available_balance{account="main",base_asset="USDT"} 900
# HELP alerting_wallet_total_blocked_balance total_blocked_balance of the wallet when it was last read, in its settlement asset.
# TYPE alerting_wallet_total_blocked_balance gauge
alerting_wallet_total_blocked_balance{account="main",base_asset="USDT"} 100
# HELP alerting_wallet_total_position_margin total_position_margin of the wallet when it was last read, in its settlement asset.
# TYPE alerting_wallet_total_position_margin gauge
alerting_wallet_total_position_margin{account="main",base_asset="USDT"} 100
# HELP alerting_wallet_total_open_order_margin total_open_order_margin of the wallet when it was last read, in its settlement asset.
# TYPE alerting_wallet_total_open_order_margin gauge
alerting_wallet_total_open_order_margin{account="main",base_asset="USDT"} 0
# HELP alerting_symbol_blocked_balance blocked_balance of the symbol's row when it was last read, in its settlement asset.
# TYPE alerting_symbol_blocked_balance gauge
alerting_symbol_blocked_balance{account="main",base_asset="USDT",symbol="BTCUSDT",exchange="EXCHANGE_2"} 100
# HELP alerting_symbol_position_margin position_margin of the symbol's row when it was last read, in its settlement asset.
# TYPE alerting_symbol_position_margin gauge
alerting_symbol_position_margin{account="main",base_asset="USDT",symbol="BTCUSDT",exchange="EXCHANGE_2"} 100
# HELP alerting_symbol_open_order_margin open_order_margin of the symbol's row when it was last read, in its settlement asset.
# TYPE alerting_symbol_open_order_margin gauge
alerting_symbol_open_order_margin{account="main",base_asset="USDT",symbol="BTCUSDT",exchange="EXCHANGE_2"} 0
# HELP alerting_symbols_omitted Symbol rows that are not exposed, because 500 others are.
# TYPE alerting_symbols_omitted gauge
alerting_symbols_omitted 0
# HELP alerting_positions_omitted Positions that are not exposed, because 500 others are.
# TYPE alerting_positions_omitted gauge
alerting_positions_omitted 0
# HELP alerting_alerts Pending and firing alerts by rule, severity and state.
# TYPE alerting_alerts gauge
alerting_alerts{rule="floor",severity="warning",state="pending"} 0
alerting_alerts{rule="floor",severity="warning",state="firing"} 0
alerting_alerts{rule="floor",severity="critical",state="pending"} 0
alerting_alerts{rule="floor",severity="critical",state="firing"} 1
alerting_alerts{rule="ratio",severity="warning",state="pending"} 1
alerting_alerts{rule="ratio",severity="warning",state="firing"} 0
alerting_alerts{rule="blind",severity="critical",state="pending"} 0
alerting_alerts{rule="blind",severity="critical",state="firing"} 1
# HELP alerting_alert_value Last value of each pending or firing alert, worst first.
# TYPE alerting_alert_value gauge
alerting_alert_value{id="FLOOR",rule="floor",account="main",base_asset="USDT"} -6.778517
alerting_alert_value{id="RATIO",rule="ratio",account="main",base_asset="USDT",symbol="BTCUSDT",exchange="EXCHANGE_2"} 0.25
# HELP alerting_alert_values_omitted Alerts whose value is not exposed, because 500 others are.
# TYPE alerting_alert_values_omitted gauge
alerting_alert_values_omitted 0
# HELP alerting_outbox_messages Messages by receiver that wait (pending) or were given up within 30 days (dead).
# TYPE alerting_outbox_messages gauge
alerting_outbox_messages{receiver="desk",status="pending"} 2
alerting_outbox_messages{receiver="desk",status="dead"} 1
alerting_outbox_messages{receiver="phone",status="pending"} 0
alerting_outbox_messages{receiver="phone",status="dead"} 0
# HELP alerting_messages_sent_total Messages that the receiver accepted since the state file was made.
# TYPE alerting_messages_sent_total counter
alerting_messages_sent_total{receiver="desk"} 1234
alerting_messages_sent_total{receiver="phone"} 0
# HELP alerting_oldest_pending_message_age_seconds How long the receiver's oldest waiting message has waited; 0 if none waits.
# TYPE alerting_oldest_pending_message_age_seconds gauge
alerting_oldest_pending_message_age_seconds{receiver="desk"} 30
alerting_oldest_pending_message_age_seconds{receiver="phone"} 0
# HELP alerting_delivery_failing 1 if the alert delivery-failing is due for the receiver, else 0.
# TYPE alerting_delivery_failing gauge
alerting_delivery_failing{receiver="desk"} 1
alerting_delivery_failing{receiver="phone"} 0
"""


# ── the text ────────────────────────────────────────────────────────────────


def test_the_metrics_of_one_instant():
    floor, ratio, _ = make_overview().alerts

    text = render(make_overview(), version="1.2.3")

    assert text == GOLDEN.replace("FLOOR", floor.id).replace("RATIO", ratio.id)


def test_the_text_keeps_the_formats_rules_and_prometheus_naming():
    series = parse(render(make_overview(), version="1"))

    assert all(re.fullmatch(r"alerting(_[a-z]+)+", name) for name, _ in series)
    # base units only, and no unit that is not the last word
    assert not [n for n, _ in series if re.search(r"_(ms|milliseconds|minutes|ratio|percent)", n)]


def test_a_family_without_series_is_left_out():
    text = render(
        make_overview(health=make_health(accounts={}), evaluated={}, alerts=()), version="1"
    )

    parse(text)
    assert "alerting_snapshot_age_seconds" not in text
    assert "alerting_alert_value{" not in text
    assert "alerting_alert_values_omitted 0\n" in text


@pytest.mark.parametrize(
    ("label", "written", "read"),
    [
        pytest.param("a\\b", r"a\\b", "a\\b", id="backslash"),
        pytest.param('a"b', r"a\"b", 'a"b', id="quote"),
        pytest.param("a\nb", r"a\nb", "a\nb", id="line-feed"),
        pytest.param("a\\nb", r"a\\nb", "a\\nb", id="backslash-and-n"),
        pytest.param('"} 1\nevil 1', r"\"} 1\nevil 1", '"} 1\nevil 1', id="injection"),
        pytest.param("a\x00b\rc", "a\ufffdb\ufffdc", "a\ufffdb\ufffdc", id="control-characters"),
        pytest.param("a\ud800b", "a?b", "a?b", id="half-a-character"),
        pytest.param("बीटीसी", "बीटीसी", "बीटीसी", id="not-latin"),
    ],
)
def test_label_values_are_escaped(label, written, read):
    text = render(make_overview(alerts=(make_shown(symbol=label),)), version="1")

    assert f'symbol="{written}"' in text
    found = [dict(pairs) for name, pairs in parse(text) if name == "alerting_alert_value"]
    assert [labels["symbol"] for labels in found] == [read]
    text.encode("utf-8")


def test_a_label_that_has_the_name_of_one_of_ours_is_renamed_as_prometheus_does():
    odd = replace(make_shown(), labels={"id": "x", "rule": "y"})

    text = render(make_overview(alerts=(odd,)), version="1")

    labels = next(dict(pairs) for name, pairs in parse(text) if name == "alerting_alert_value")
    assert labels["rule"] == "floor"
    assert (labels["exported_id"], labels["exported_rule"]) == ("x", "y")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("0", "0", id="zero"),
        pytest.param("60910.77418715", "60910.77418715", id="money"),
        pytest.param("0.00000001", "1e-08", id="small"),
        pytest.param("1e400", "+Inf", id="too-large-for-a-float"),
        pytest.param("-1e400", "-Inf", id="too-small-for-a-float"),
    ],
)
def test_numbers_are_floats(value, text):
    out = render(make_overview(alerts=(make_shown(value=value),)), version="1")

    assert re.search(r"^alerting_alert_value\{.*\} (.*)$", out, re.MULTILINE)[1] == text


def test_the_number_of_series_is_bounded():
    alerts = tuple(make_shown(value=str(n), symbol=f"S{n}") for n in range(700))

    series = parse(render(make_overview(alerts=alerts), version="1"))

    values = [value for (name, _), value in series.items() if name == "alerting_alert_value"]
    assert values == list(range(500)), "the worst stay"
    assert series["alerting_alert_values_omitted", ()] == 200
    firing = ("rule", "floor"), ("severity", "warning"), ("state", "firing")
    assert series["alerting_alerts", firing] == 700


def test_a_clock_that_was_set_back_gives_no_negative_age():
    text = render(make_overview(now=T0 - M), version="1")

    assert min(parse(text).values()) >= -6.778517
    assert 'alerting_snapshot_age_seconds{account="main",feed="wallet"} 0\n' in text


# ── from the state file ─────────────────────────────────────────────────────


def test_before_anything_ran_all_that_can_be_counted_is_zero(tmp_path):
    store = Store(tmp_path / "alerting.db")
    text = render(overview(make_config(), store, now=T0), version="1")
    store.close()

    series = parse(text)
    assert 'alerting_alerts{rule="floor",severity="critical",state="firing"} 0\n' in text
    assert 'alerting_alerts{rule="delivery-failing",severity="critical",state="firing"} 0\n' in text
    assert 'alerting_messages_sent_total{receiver="desk"} 0\n' in text
    assert all(value == 0 for (name, _), value in series.items() if name != "alerting_build_info")
    assert "token" not in text
    assert "kkkk" not in text


def judge(store, outcome, at):
    judged = functools.partial(evaluation.evaluate, make_config().ruleset, outcome=outcome, now=at)
    store.evaluate("main", judged)


def metrics(store, now):
    return {
        (name, *(value for _, value in pairs)): value
        for (name, pairs), value in parse(
            render(overview(make_config(), store, now=now), version="1")
        ).items()
    }


def test_the_counter_of_sent_messages_never_falls(tmp_path):
    with contextlib.closing(Store(tmp_path / "alerting.db")) as store:
        sent = []
        for number, available in enumerate(("50", "2000", "50")):
            at = T0 + number * M
            judge(store, make_snapshot(make_wallet(available), at=at), at)
            store.mark_sent(store.claim("desk", now=at), reason="ok", now=at)
            sent.append(metrics(store, at)["alerting_messages_sent_total", "desk"])
        later = T0 + timedelta(days=40)
        store.prune(now=later, keep_history=timedelta(0))

        assert sent == [1, 2, 3]
        assert store.receiver_statuses() == {}
        assert metrics(store, later)["alerting_messages_sent_total", "desk"] == 3


def test_a_failed_poll_moves_the_evaluation_and_not_the_snapshot(tmp_path):
    with contextlib.closing(Store(tmp_path / "alerting.db")) as store:
        judge(store, make_snapshot(at=T0), T0)
        judge(store, make_failure(), T0 + M)
        found = metrics(store, T0 + 2 * M)

        evaluated = found["alerting_last_evaluation_timestamp_seconds", "main"]
        seen = found["alerting_last_snapshot_timestamp_seconds", "main", "wallet"]
        assert evaluated - seen == 60
        assert found["alerting_snapshot_age_seconds", "main", "wallet"] == 120
        assert found["alerting_consecutive_poll_failures", "main", "wallet"] == 1


# ── promtool ────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def promtool():
    program = shutil.which("promtool")
    if program is None and os.environ.get("CI", "").lower() == "true":
        pytest.fail("promtool is missing: apt-get install prometheus")
    if program is None:
        pytest.skip("promtool is not installed")

    def run(*args, text=""):
        done = subprocess.run(
            [program, *args],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(render(make_overview(), version="1.2.3"), id="full"),
        pytest.param(
            render(
                make_overview(alerts=(), health=make_health(accounts={}, failing={})), version="1"
            ),
            id="empty",
        ),
        pytest.param(
            render(make_overview(alerts=(make_shown(symbol='"\\\n\r'),)), version='"'),
            id="odd-labels",
        ),
        pytest.param(
            render(make_overview(alerts=(make_shown(value="1e400"),)), version="1"), id="infinite"
        ),
    ],
)
@pytest.mark.process
def test_promtool_has_nothing_to_say_about_the_metrics(promtool, text):
    assert promtool("check", "metrics", text=text) == (0, "")


@pytest.mark.process
def test_promtool_would_say_it(promtool):
    code, said = promtool("check", "metrics", text="# TYPE x counter\nx 1\n")

    assert code != 0
    assert "_total" in said


@pytest.mark.process
def test_promtool_takes_the_shipped_rules(promtool):
    code, said = promtool("check", "rules", str(DOCS / "prometheus-rules.yml"))

    assert code == 0, said


@pytest.mark.process
def test_each_shipped_rule_fires_when_it_has_to(promtool):
    code, said = promtool("test", "rules", "tests/data/prometheus-rules.test.yml")

    assert code == 0, said


# ── docs ────────────────────────────────────────────────────────────────────


def with_position(**override):
    """The usual health, with a position."""
    health = make_health()
    main = health.accounts["main"]
    seen = SeenPosition(row=make_position(**override), at=T0)
    return replace(health, accounts={**health.accounts, "main": replace(main, positions=(seen,))})


EXPOSED = {
    name
    for name, _ in parse(
        render(make_overview(health=with_position(position_margin="5")), version="1")
    )
}


def shipped_rules():
    groups = yaml.safe_load((DOCS / "prometheus-rules.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard():
    return json.loads((DOCS / "grafana-dashboard.json").read_text(encoding="utf-8"))


def expressions():
    for rule in shipped_rules():
        yield pytest.param(rule["expr"], id=f"rule: {rule['alert']}")
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield pytest.param(target["expr"], id=f"panel: {panel['title']}")


@pytest.mark.parametrize("expression", list(expressions()))
def test_each_expression_uses_metrics_and_labels_that_exist(expression):
    used = set(re.findall(r"\balerting_[a-z_]+", expression))
    labels = {
        label for _, pairs in parse(render(make_overview(), version="1")) for label, _ in pairs
    }

    assert used <= EXPOSED
    assert used or expression.startswith("up{")
    asked = set(re.findall(r'(\w+)(?:=|!=|=~)"', expression))
    asked |= {
        word.strip()
        for group in re.findall(r"(?:by|on) \(([^)]*)\)", expression)
        for word in group.split(",")
    }
    assert asked <= labels | {"job", "instance"}


def test_each_rule_of_the_watcher_is_tested():
    tested = (ROOT / "tests/data/prometheus-rules.test.yml").read_text(encoding="utf-8")

    for rule in shipped_rules():
        # once quiet, once firing
        assert len(re.findall(rf"alertname: {rule['alert']}\b", tested)) == 2
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_the_dashboard_can_be_imported():
    board = dashboard()
    variable = board["templating"]["list"][0]
    ids = [panel["id"] for panel in board["panels"]]

    assert board["uid"] == "alerting"
    assert "id" not in board, "an id belongs to one Grafana"
    assert (variable["name"], variable["type"]) == ("datasource", "datasource")
    assert len(set(ids)) == len(ids)
    assert {panel["type"] for panel in board["panels"]} == {"stat", "timeseries"}
    for panel in board["panels"]:
        for source in (panel, *panel["targets"]):
            assert source["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_the_dashboards_panels_do_not_overlap():
    taken = set()
    for panel in dashboard()["panels"]:
        grid = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken
        assert grid["x"] + grid["w"] <= 24
        taken |= cells


def test_the_documentation_names_exactly_the_metrics_that_there_are():
    text = (DOCS / "monitoring.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(alerting_[a-z_]+)`", text, re.MULTILINE))

    assert documented == EXPOSED
