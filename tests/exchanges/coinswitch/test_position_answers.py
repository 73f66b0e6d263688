from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.engine.feeds import POSITION_FIELDS, REPORTED
from alerting.engine.snapshot import FailureKind, PositionRow, Side, Snapshot
from alerting.exchanges.coinswitch.position_answers import (
    NO_POSITIONS,
    merged,
    parse_positions,
    refused_row,
    rows_of,
    settlement_asset,
)
from alerting.exchanges.strict_json import AnswerError
from alerting.units import EXACT
from tests.support.broken_answers import NO_AMOUNTS
from tests.support.position_answers import (
    DOCUMENTED,
    HEALTHY,
    WITH_MARGIN_ADDED,
    changed,
    fit_to_show,
    mutate,
    with_source,
    written,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIELDS = {*POSITION_FIELDS, *REPORTED.values()}
LABELS = {"base_asset": "USDT", "symbol": "DOGEUSDT", "exchange": "EXCHANGE_2"}


def parse(body: bytes) -> Snapshot:
    return parse_positions(body, account="main", observed_at=NOW)


def failure(body: bytes) -> AnswerError:
    with pytest.raises(AnswerError) as caught:
        parse(body)
    return caught.value


def texts(row: PositionRow) -> dict[str, str]:
    return {name: f"{value:f}" for name, value in row.fields.items()}


# ── what is a snapshot ──────────────────────────────────────────────────────


def test_documented_position_keeps_every_digit_and_every_wrong_sign():
    snapshot = parse(HEALTHY)
    assert (snapshot.account, snapshot.feed, snapshot.observed_at) == ("main", "positions", NOW)
    assert (snapshot.wallets, snapshot.symbols, snapshot.flaws) == ((), (), ())
    [row] = snapshot.positions
    assert (row.symbol, row.base_asset, row.exchange) == ("DOGEUSDT", "USDT", "EXCHANGE_2")
    assert row.side is Side.LONG
    assert texts(row) == {
        "leverage": "25",
        "position_size": "65",
        "position_value": "25.09455",
        "position_margin": "34.052117186199",
        "avg_entry_price": "0.38607",
        "mark_price": "0.38231",
        "last_price": "0.38135",
        "maint_margin": "37.641825",
        "unrealised_pnl": "0.3068",
        "liquidation_price": "0.129122150942",
    }


def test_position_with_margin_added_is_read_without_what_that_page_lacks():
    [row] = parse(json.dumps(WITH_MARGIN_ADDED).encode()).positions
    assert texts(row)["position_margin"] == "50.052117186199"
    assert texts(row)["liquidation_price"] == "-0.3752759970953692"
    assert texts(row)["unrealised_pnl"] == "-0.0455"


@pytest.mark.parametrize(
    ("body", "expected"),
    [(DOCUMENTED, "-0.129122150942"), (WITH_MARGIN_ADDED, "-0.3752759970953692")],
    ids=["get positions", "add margin"],
)
def test_what_is_read_gives_the_documented_liquidation_price(body, expected):
    """Section 6.2 of the reference: the formula, to the last printed digit."""
    fields = parse(json.dumps(body).encode()).positions[0].fields
    with localcontext(EXACT):
        assert fields["position_value"] == fields["position_size"] * fields["avg_entry_price"]
        assert fields["maint_margin"] == fields["position_value"] * Decimal("1.5")
        kept = fields["position_margin"] - fields["position_value"] * Decimal("0.0225")
        price = fields["avg_entry_price"] - kept / fields["position_size"]
        assert str(round(price, len(expected.partition(".")[2]))) == expected


@pytest.mark.parametrize("side", Side)
def test_both_sides_are_read(side):
    [row] = parse(changed(lambda row: row.update(position_side=side.value))).positions
    assert row.side is side


def test_numbers_may_be_json_numbers_and_unknown_fields_are_no_matter():
    body = changed(lambda row: row.update(new={"a": [1]}, mark_price=0.5, leverage=25))
    [row] = parse(body).positions
    assert (texts(row)["mark_price"], texts(row)["leverage"]) == ("0.5", "25")
    assert set(row.fields) == FIELDS


@pytest.mark.parametrize("field", sorted(FIELDS))
@pytest.mark.parametrize("how", ["missing", "null"])
def test_absent_number_is_no_field_and_no_flaw_here(field, how):
    body = changed(lambda row: row.pop(field) if how == "missing" else row.update({field: None}))
    snapshot = parse(body)
    assert set(snapshot.positions[0].fields) == FIELDS - {field}
    assert snapshot.flaws == ()


@pytest.mark.parametrize("source", NO_AMOUNTS, ids=lambda source: source[:30])
def test_what_is_no_amount_is_a_flaw_of_its_row_or_no_json(source):
    body = with_source("position_margin", source)
    try:
        snapshot = parse(body)
    except AnswerError as error:
        assert error.kind is FailureKind.NOT_JSON
        return
    [row], [flaw] = snapshot.positions, snapshot.flaws
    assert set(row.fields) == FIELDS - {"position_margin"}
    assert flaw.text.startswith("DOGEUSDT LONG: position_margin: ")
    assert flaw.labels == {**LABELS, "side": "LONG"}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        pytest.param(
            {"status": "CLOSED"},
            'DOGEUSDT LONG: status: "CLOSED" is not OPEN, so it may be closed',
            id="status",
        ),
        pytest.param(
            {"status": "open"},
            'DOGEUSDT LONG: status: "open" is not OPEN, so it may be closed',
            id="lower case",
        ),
        pytest.param(
            {"margin_type": "CROSSED"},
            'DOGEUSDT LONG: margin_type: "CROSSED" is not ISOLATED, '
            "so its margin may not be all that stands for it",
            id="margin type",
        ),
        pytest.param(
            {"margin_type": 1},
            "DOGEUSDT LONG: margin_type: 1 is not ISOLATED, "
            "so its margin may not be all that stands for it",
            id="no text",
        ),
    ],
)
def test_what_the_formulas_do_not_hold_for_is_a_flaw_and_its_numbers_are_read(change, text):
    snapshot = parse(changed(lambda row: row.update(change)))
    [row], [flaw] = snapshot.positions, snapshot.flaws
    assert set(row.fields) == FIELDS
    assert (flaw.text, flaw.labels) == (text, {**LABELS, "side": "LONG"})


@pytest.mark.parametrize(
    ("change", "text", "labels"),
    [
        pytest.param(
            {"position_side": "BOTH"},
            'DOGEUSDT: position_side: "BOTH" is not LONG or SHORT',
            LABELS,
            id="another side",
        ),
        pytest.param(
            {"position_side": "long"},
            'DOGEUSDT: position_side: "long" is not LONG or SHORT',
            LABELS,
            id="lower case",
        ),
        pytest.param(
            {"position_side": None},
            "DOGEUSDT: position_side: null is not LONG or SHORT",
            LABELS,
            id="null",
        ),
        pytest.param(
            {"symbol": 7}, "data[0].symbol: 7 is not a text", None, id="symbol is no text"
        ),
        pytest.param(
            {"exchange": ""},
            'data[0].exchange: "" is not a name of 1 to 64 characters',
            {"symbol": "DOGEUSDT"},
            id="no exchange",
        ),
    ],
)
def test_a_row_that_cannot_be_named_is_a_flaw_and_no_row(change, text, labels):
    body = json.loads(changed(lambda row: row.update(change)))
    body["data"].append({**DOCUMENTED["data"][0], "symbol": "BTCUSDT"})
    snapshot = parse(json.dumps(body).encode())
    assert [row.symbol for row in snapshot.positions] == ["BTCUSDT"]
    [flaw] = snapshot.flaws
    assert (flaw.text, flaw.labels) == (text, labels)


def test_where_nothing_can_be_read_the_answer_is_none():
    error = failure(changed(lambda row: row.pop("position_side")))
    assert error.kind is FailureKind.WRONG_SHAPE
    assert str(error) == "data: nothing in it can be read: DOGEUSDT: position_side: missing"


def test_two_sides_are_two_rows():
    row = DOCUMENTED["data"][0]
    both = parse(json.dumps({"data": [row, {**row, "position_side": "SHORT"}]}).encode())
    assert (len(both.positions), both.flaws) == (2, ())


@pytest.mark.parametrize(
    ("symbol", "asset"),
    [
        ("BTCUSDT", "USDT"),
        ("BTCUSDC", "USDC"),
        ("BTCINR", "INR"),
        ("btcinr", "INR"),
        ("BTCEUR", "USDT"),
        ("", "USDT"),
    ],
)
def test_settlement_asset_is_the_symbols_ending(symbol, asset):
    assert settlement_asset(symbol) == asset


# ── no positions, and what only looks like it ───────────────────────────────


@pytest.mark.parametrize(
    "body",
    [
        {"message": NO_POSITIONS},
        {"message": "There are no open positions"},
        {"message": "THERE ARE NO OPEN POSITIONS."},
        {"message": "  There are no  open Positions. "},
        {"message": NO_POSITIONS, "data": None},
        {"message": NO_POSITIONS, "data": []},
        {"message": NO_POSITIONS, "status": 200},
        {"data": []},
        {"data": [], "message": None},
    ],
)
def test_the_pages_own_words_are_no_positions(body):
    snapshot = parse(json.dumps(body).encode())
    assert (snapshot.positions, snapshot.flaws, snapshot.feed) == ((), (), "positions")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{}", "the answer has no data"),
        ('{"data": null}', "the answer has no data"),
        ('{"data": null, "message": null}', "the answer has no data"),
        ('{"message": ""}', "the answer has no data"),
        ('{"message": "No open positions"}', 'the answer has no data: "No open positions"'),
        (
            '{"message": "There are no open Positions to be shown during maintenance"}',
            'the answer has no data: "There are no open Positions to be shown during maintenance"',
        ),
        (
            '{"message": "There are no open Orders"}',
            'the answer has no data: "There are no open Orders"',
        ),
        ('{"message": ["There are no open Positions"]}', "the answer has no data"),
        ('{"Message": "There are no open Positions"}', "the answer has no data"),
        ('{"data": {}}', "data: an object is not a list"),
        (
            '{"data": {}, "message": "There are no open Positions"}',
            "data: an object is not a list",
        ),
        ('{"data": ""}', 'data: "" is not a list'),
        ('{"data": false, "message": "There are no open Positions"}', "data: false is not a list"),
        (
            '{"data": [], "message": "Something went wrong"}',
            'data: no rows, but the message "Something went wrong"',
        ),
        ('{"data": [], "message": 5}', 'data: no rows, but the message "5"'),
        (
            '{"message": "There are no open Positions", "message": "There are no open Positions"}',
            'the answer names "message" twice in one object',
        ),
        ('["There are no open Positions"]', "the answer is a list, not an object"),
    ],
)
def test_anything_else_without_rows_is_no_answer(body, text):
    error = failure(body.encode())
    assert (error.kind, str(error)) == (FailureKind.WRONG_SHAPE, text)


def test_rows_count_whatever_is_said_beside_them():
    body = json.dumps({**DOCUMENTED, "message": NO_POSITIONS}).encode()
    assert len(parse(body).positions) == 1


def test_too_many_rows_are_no_answer():
    error = failure(b'{"data": [' + b",".join([b"{}"] * 6000) + b"]}")
    assert str(error) == "data: 6000 rows are more than 5000"


# ── several answers as one ──────────────────────────────────────────────────


def test_merged_answers_are_an_answer_with_every_row_as_it_was():
    other = changed(
        lambda row: row.update(symbol="BTCUSDT", mark_price=95136.70, new=[1, {"a": None}])
    )
    rows = [*rows_of(HEALTHY.decode()), *rows_of(other.decode())]
    text = merged(rows)
    assert json.loads(text) == {
        "data": [*DOCUMENTED["data"], *json.loads(other)["data"]],
    }
    snapshot = parse(text.encode())
    assert snapshot.positions == (*parse(HEALTHY).positions, *parse(other).positions)


@pytest.mark.parametrize(
    "source", ["0.10", "1e5", '"1e5"', "123456789012345678901234567890", '"\\ud83d\\ude80"', "[[]]"]
)
def test_merging_changes_no_character_that_counts(source):
    body = with_source("mark_price", source)
    assert parse(merged(rows_of(body.decode())).encode()) == parse(body)


def test_merging_keeps_what_stands_twice():
    body = HEALTHY.replace(b'"mark_price"', b'"mark_price": "1", "mark_price"')
    found = parse(merged(rows_of(body.decode())).encode())
    assert found == parse(body)
    assert [flaw.text for flaw in found.flaws] == [
        "DOGEUSDT LONG: mark_price: something named twice is not a number"
    ]


def test_nothing_merged_is_the_pages_own_words():
    assert rows_of('{"message": "There are no open positions."}') == []
    assert json.loads(merged([])) == {"message": NO_POSITIONS}


def test_a_symbol_that_was_refused_is_a_flaw_of_that_symbol():
    snapshot = parse(merged([*rows_of(HEALTHY.decode()), refused_row("BTCUSDT", "422")]).encode())
    assert [row.symbol for row in snapshot.positions] == ["DOGEUSDT"]
    [flaw] = snapshot.flaws
    assert flaw.text == "BTCUSDT: 422"
    assert flaw.labels == {**LABELS, "symbol": "BTCUSDT"}


# ── whatever comes ──────────────────────────────────────────────────────────


def test_answer_cut_at_any_length_is_none():
    for length in range(len(HEALTHY)):
        failure(HEALTHY[:length])


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_crash(body):
    failure(body)


@settings(max_examples=1500, deadline=None)
@given(st.integers(0, 2**32))
def test_spoilt_answers_give_no_wrong_number_and_hide_no_position(seed):
    second = {**DOCUMENTED["data"][0], "symbol": "BTCUSDT", "position_side": "SHORT", "leverage": 3}
    body = mutate({"data": [DOCUMENTED["data"][0], second]}, seed)
    try:
        snapshot = parse(body)
    except AnswerError as error:
        assert fit_to_show(str(error))
        return
    raw = written(body)
    rows = raw.get("data") or []
    if not snapshot.positions:
        assert rows == []
        assert raw.get("message", NO_POSITIONS) == NO_POSITIONS
    assert all(fit_to_show(flaw.text) for flaw in snapshot.flaws)
    unread = [raw for raw in rows if not any(made_of(each, raw) for each in snapshot.positions)]
    assert len(unread) <= len(snapshot.flaws)
    for each in snapshot.positions:
        sources = [once(raw) for raw in rows if made_of(each, raw)]
        assert sources
        there = {key for key in FIELDS if all(raw.get(key) is not None for raw in sources)}
        assert not there - set(each.fields) or snapshot.flaws


def once(raw: dict) -> dict:
    """An entry without the keys that stand in it twice."""
    names = [name for name, _ in raw.get("twice", ())]
    return {n: v for n, v in raw["twice"] if names.count(n) == 1} if "twice" in raw else raw


def made_of(row: PositionRow, raw: object) -> bool:
    """Every name and number of a row stands in this very entry."""
    if not isinstance(raw, dict):
        return False
    raw = once(raw)
    names = (raw.get("symbol"), raw.get("exchange"), raw.get("position_side"))
    same = names == (row.symbol, row.exchange, row.side.value)
    return same and all(number_of(raw.get(name)) == each for name, each in row.fields.items())


def number_of(source: object) -> Decimal | None:
    try:
        return Decimal(source) if isinstance(source, str) and source.isascii() else None
    except InvalidOperation:
        return None
