"""Recordings of both feeds: what belongs to a poll of the positions comes back with it."""

from __future__ import annotations

import io
import json

import pytest

from alerting.config.load import Secrets, load_config
from alerting.engine.snapshot import FailureKind, PollFailure
from alerting.exchanges.coinswitch.position_answers import parse_positions
from alerting.replay.recording import RecordingError, read_records, write_record
from alerting.replay.replay import Options, replay
from alerting.sandbox.exchange import DOCUMENTED_WALLET
from tests.support.factories import T0, D, S
from tests.support.position_answers import DOCUMENTED
from tests.support.replays import RULES as FLOORS
from tests.support.replays import run, run_json
from tests.support.trading import RULES

BODY = json.dumps(DOCUMENTED)
WALLET = json.dumps(DOCUMENTED_WALLET)
NONE = '{"message": "There are no open Positions"}'
FEE = '{"data": [{"symbol": "DOGEUSDT", "type": "LIQUIDATION_FEE"}]}'


def rates(percent="1.5", fee="0.0075"):
    return json.dumps({"data": {"DOGEUSDT": {"maint_margin_rate": percent, "liq_fee_rate": fee}}})


def line(feed, body=None, *, at=0, account="main", error=None):
    return write_record(at=T0 + at * S, account=account, feed=feed, body=body, error=error)


def read(*lines):
    return [poll.outcome for poll in read_records(lines, file="f.jsonl")]


def test_a_line_names_its_feed_and_the_wallets_names_none():
    assert json.loads(line("positions", NONE))["feed"] == "positions"
    assert "feed" not in json.loads(line("wallet", WALLET))
    (wallet,) = read(json.dumps({**json.loads(line("wallet", WALLET)), "feed": "wallet"}))
    assert (wallet.feed, read(line("wallet", WALLET))) == ("wallet", [wallet])


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(BODY, id="documented"),
        pytest.param(NONE, id="none"),
        pytest.param('{"data": []}', id="empty"),
        pytest.param(BODY.replace('"leverage"', '"leverage": "3", "leverage"'), id="key-twice"),
        pytest.param(BODY.replace('"LONG"', '"FLAT"')[:-2] + ", " + BODY[10:], id="odd-row"),
        pytest.param(BODY.replace('"65"', "65.000"), id="bare-number"),
    ],
)
def test_recorded_positions_are_the_snapshot_that_was_seen_live(body):
    live = parse_positions(body.encode(), account="main", observed_at=T0)
    assert read(line("positions", body)) == [live]


def test_positions_have_the_rates_that_were_known_by_then():
    polls = read(
        line("positions", BODY),
        line("instruments", rates("1.5")),
        line("positions", BODY),
        line("instruments", error="exchange down: 503"),
        line("instruments", '{"data": {}}'),
        line("positions", BODY, account="other"),
        line("positions", BODY),
        line("instruments", rates("2.5")),
        line("positions", BODY),
    )
    found = [each.positions[0].fields.get("maint_margin_rate") for each in polls]
    assert found == [None, D("1.5"), None, D("1.5"), D("2.5")]
    assert polls[1].positions[0].fields["liq_fee_rate"] == D("0.0075")


def test_the_pages_own_instruments_are_read_as_live():
    page = json.loads(rates())
    page["data"]["ODD"] = {"maint_margin_rate": "no"}
    page["data"]["DOGEUSDT"]["symbol"] = "doge"
    (poll,) = read(line("instruments", json.dumps(page)), line("positions", BODY))
    assert poll.positions[0].fields["maint_margin_rate"] == D("1.5")


def test_transactions_count_for_the_next_positions_of_their_account_once():
    polls = read(
        line("positions", NONE),
        line("transactions", FEE),
        line("wallet", WALLET),
        line("positions", NONE, account="other"),
        line("positions", NONE),
        line("positions", NONE),
        line("transactions", '{"data": [{"symbol": "DOGEUSDT", "type": "P&L"}]}'),
        line("positions", NONE),
    )
    doge = frozenset({"DOGEUSDT"})
    found = [each.liquidated for each in polls if each.feed == "positions"]
    assert found == [frozenset(), frozenset(), doge, frozenset(), frozenset()]


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"error": "network: connection refused"}, id="failed"),
        pytest.param({"body": "{}"}, id="no-answer"),
        pytest.param({"body": '{"data": [{"symbol": "DOGEUSDT"}]}'}, id="odd-row"),
        pytest.param({"body": '{"data": ["LIQUIDATION_FEE"]}'}, id="no-row"),
    ],
)
def test_of_transactions_that_nobody_could_read_it_is_not_known_how_positions_ended(said):
    polls = read(
        line("transactions", **said),
        line("positions", NONE),
        line("positions", NONE),
    )
    assert [each.liquidated for each in polls] == [None, frozenset()]


def test_a_failed_poll_has_its_feed_and_uses_up_what_was_asked_for_it():
    failed, after, odd = read(
        line("transactions", FEE),
        line("positions", error="network: refused"),
        line("positions", NONE),
        line("positions", "{}"),
    )
    assert failed == PollFailure(
        account="main", feed="positions", kind=FailureKind.NETWORK, text="refused"
    )
    assert after.liquidated == frozenset()
    assert (odd.feed, odd.kind) == ("positions", FailureKind.WRONG_SHAPE)


@pytest.mark.parametrize(
    ("feed", "shown"),
    [
        pytest.param('"orders"', '"orders" is not one of', id="unknown"),
        pytest.param('"Positions"', '"Positions" is not one of', id="case"),
        pytest.param("null", "null is not a text; it is one of", id="null"),
        pytest.param("7", '"7" is not a text; it is one of', id="number"),
    ],
)
def test_an_unknown_feed_is_named_with_its_place_and_what_is_allowed(feed, shown):
    text = f'{{"at":"2026-01-01T00:00:00Z","account":"main","feed":{feed},"error":"x"}}'
    with pytest.raises(RecordingError) as caught:
        read(line("wallet", error="x"), text)
    allowed = "wallet, positions, instruments, transactions"
    assert str(caught.value) == f"f.jsonl:2: feed: {shown} {allowed}"


# ── replayed ────────────────────────────────────────────────────────────────


@pytest.fixture
def ruleset(folder):
    (folder / "rules.yaml").write_text(RULES)
    return load_config(folder / "rules.yaml", environ={}, secrets=Secrets.IGNORED).ruleset


def near(mark):
    """Positions whose liquidation is near the mark price: it is at 0.129... of the documents."""
    row = {**DOCUMENTED["data"][0], "mark_price": mark, "position_margin": "3"}
    row["liquidation_price"] = "0.348612"
    return json.dumps({"data": [row]})


def liquidation():
    return [
        line("wallet", WALLET) + "\n",
        line("instruments", rates()) + "\n",
        line("positions", near("0.35")) + "\n",
        line("wallet", error="network: refused", at=15) + "\n",
        line("positions", error="network: refused", at=20) + "\n",
        line("transactions", FEE, at=30) + "\n",
        line("positions", NONE, at=30) + "\n",
        line("transactions", FEE, at=60) + "\n",
        line("positions", NONE, at=60) + "\n",
    ]


def test_a_liquidation_is_shown_and_both_feeds_are_counted(folder, ruleset):
    lines = run(folder, ruleset, liquidation())
    ends = [each for each in lines if "near" in each and "resolved  " in each and "=>" not in each]
    assert len(ends) == 1
    assert "firing → resolved   critical" in ends[0]
    assert ends[0].endswith("liquidated")
    assert "main/USDT/DOGEUSDT/LONG" in ends[0]
    at = next(n for n, each in enumerate(lines) if " to 2026" in each)
    assert lines[at].endswith("(1m): 1 snapshot and 1 failed poll of 1 account")
    assert lines[at + 1] == "positions: 3 snapshots and 1 failed poll"


def test_json_names_the_end_and_the_label_of_the_side(folder, ruleset):
    events = run_json(folder, ruleset, liquidation())
    (end,) = [
        each["transition"]
        for each in events
        if "transition" in each
        and (each["transition"]["rule"], each["transition"]["to"]) == ("near", "resolved")
    ]
    assert (end["reason"], end["labels"]["side"]) == ("liquidated", "LONG")


def test_rules_without_positions_take_the_recording_as_if_it_had_none(folder):
    wallet = [line("wallet", WALLET.replace("60910.77418715", "900"), at=n) + "\n" for n in (0, 30)]
    both = [wallet[0], line("positions", near("0.35"), at=10) + "\n", wallet[1]]
    assert run_json(folder, FLOORS, both) == run_json(folder, FLOORS, wallet)


def test_against_rules_without_positions_their_alerts_are_new(folder, ruleset):
    lines = run(folder, ruleset, liquidation(), against=FLOORS)
    assert any(each.startswith("new      episode  near ") for each in lines)


def test_a_recording_without_positions_reads_as_ever_under_rules_that_ask_for_them(folder, ruleset):
    lines = [line("wallet", WALLET, at=n * 60) + "\n" for n in range(10)]
    assert run_json(folder, ruleset, lines) == []


def test_a_feed_that_fails_from_the_start_is_blind_by_the_start(folder, ruleset):
    lines = [line("wallet", WALLET, at=at) for at in (0, 30)]
    lines += [line("positions", error="network: x", at=45), line("wallet", WALLET, at=120)]
    events = run_json(folder, ruleset, [each + "\n" for each in lines])
    (blind,) = [each for each in events if each.get("transition", {}).get("rule") == "blind"]
    assert blind["transition"]["labels"]["feed"] == "positions"
    assert blind["at"] == "2026-01-01T00:02:00Z"


def test_what_stands_before_a_bad_line_is_replayed_first(folder, ruleset):
    file = folder / "cut.jsonl"
    file.write_text("".join([*liquidation(), '{"at"']))
    out = io.StringIO()
    with pytest.raises(RecordingError, match=":10: not JSON"):
        replay(ruleset, Options(file=str(file), json=True), out=out)
    assert '"liquidated"' in out.getvalue()
