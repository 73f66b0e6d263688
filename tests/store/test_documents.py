"""Documents: equal round trips to the last digit, older and newer documents, one kind of error."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.engine.model import (
    AccountState,
    Alert,
    ChangeReason,
    Direction,
    FeedState,
    Item,
    Level,
    Notification,
    Reason,
    SeenPosition,
    SeenRow,
    SeenTotals,
    Severity,
    State,
)
from alerting.engine.snapshot import PositionRow, Side, SymbolRow
from alerting.errors import StoreError
from alerting.store import documents
from alerting.store.documents import from_micros, to_micros
from tests.support.factories import D

texts = st.text(st.characters(), max_size=5)  # half surrogate pairs too: an exchange may send them
# keys are names of API fields, labels and assets: printable, by whoever reads them
names = st.text(st.characters(exclude_categories=("Cs",)), max_size=5)
# infinite is the ratio to equity that is used up
decimals = st.decimals(allow_nan=False).filter(lambda number: abs(number.adjusted()) <= 1000)
instants = st.datetimes(datetime(1900, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))
lengths = st.timedeltas(timedelta(days=-200_000), timedelta(days=200_000))
some = st.none() | instants
labels = st.dictionaries(names, texts, max_size=3)
levels = st.builds(
    Level,
    severity=st.sampled_from(Severity),
    state=st.sampled_from(State),
    active_at=some,
    breached_for=lengths,
    fired_at=some,
    clear_for=st.none() | lengths,
)
alerts = st.builds(
    Alert,
    rule=texts,
    labels=labels,
    levels=st.lists(levels, max_size=2).map(tuple),
    extra_labels=labels,
    annotations=labels,
    value=st.none() | decimals,
    values=st.dictionaries(names, decimals, max_size=2),
    thresholds=st.dictionaries(st.sampled_from(Severity), st.tuples(decimals, decimals)),
    direction=st.sampled_from(Direction),
    expression=texts,
    detail=texts,
    judged_at=some,
    missed=st.integers(0, 3),
    touched=st.lists(texts, max_size=2).map(tuple),
    episode=st.integers(0, 1 << 53),
    active_at=some,
    fired_at=some,
    resolved_at=some,
    resolved_why=st.none() | st.sampled_from(ChangeReason),
    worst=st.none() | st.sampled_from(Severity),
    flips=st.lists(instants, max_size=2).map(tuple),
    flapping=st.booleans(),
)
items = st.builds(
    Item,
    alert=alerts,
    reason=st.sampled_from(Reason),
    state=st.sampled_from(State),
    severity=st.sampled_from(Severity),
    previous_severity=st.none() | st.sampled_from(Severity),
    previous_value=st.none() | decimals,
    previous_at=some,
    flapping=st.booleans(),
)
notifications = st.builds(
    Notification,
    receiver=texts,
    account=st.none() | texts,
    reason=st.sampled_from(Reason),
    severity=st.sampled_from(Severity),
    observed_at=instants,
    items=st.lists(items, min_size=1, max_size=2).map(tuple),
)
rows = st.builds(
    SymbolRow,
    symbol=texts,
    base_asset=texts,
    exchange=texts,
    fields=st.dictionaries(names, decimals, max_size=3),
)
amounts = st.dictionaries(names, decimals, max_size=3)
accounts = st.builds(
    AccountState,
    name=texts,
    feeds=st.dictionaries(
        names,
        st.builds(
            FeedState,
            first_polled_at=some,
            last_snapshot_at=some,
            poll_failures=st.integers(0, 9),
            last_error=st.none() | texts,
        ),
        max_size=2,
    ),
    totals=st.dictionaries(names, st.builds(SeenTotals, at=instants, fields=amounts), max_size=2),
    positions=st.lists(
        st.builds(
            SeenPosition,
            row=st.builds(
                PositionRow,
                symbol=texts,
                base_asset=texts,
                exchange=texts,
                side=st.sampled_from(Side),
                fields=amounts,
            ),
            at=instants,
        ),
        max_size=2,
    ).map(tuple),
    assets=st.frozensets(texts),
    away=st.dictionaries(names, lengths),
    rows=st.lists(
        st.builds(
            SeenRow,
            row=rows,
            missed=st.integers(0, 3),
            away=st.none() | lengths,
            before=st.dictionaries(names, decimals, max_size=2),
        ),
        max_size=2,
    ).map(tuple),
    unlisted=st.dictionaries(names, st.dictionaries(names, decimals, max_size=3), max_size=2),
)


@settings(max_examples=200, deadline=None)
@given(notifications | accounts | alerts)
def test_what_is_stored_comes_back_equal(value):
    assert documents.load(type(value), documents.dump(value)) == value


NOW = datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
LEVEL = Level(
    severity=Severity.WARNING,
    active_at=NOW,
    breached_for=timedelta(days=400, microseconds=1),
    clear_for=timedelta(),
)
ALERT = Alert(
    rule="floor",
    labels={"account": "main"},
    levels=(LEVEL,),
    value=D("200.10"),
    values={"tiny": D("1E-90")},
    thresholds={Severity.WARNING: (D("1000"), D("1100.00"))},
    flips=(NOW,),
)


def test_numbers_and_instants_are_stored_as_people_write_them():
    document = json.loads(documents.dump(ALERT))
    assert (document["value"], document["values"]) == ("200.10", {"tiny": "1E-90"})
    assert document["thresholds"] == {"warning": ["1000", "1100.00"]}
    assert document["flips"] == ["2026-01-01T00:00:00.000001Z"]
    loaded = documents.load(Alert, json.dumps(document))
    assert str(loaded.value) == "200.10"  # to the last zero, not only equal
    assert loaded.levels == (LEVEL,)


def test_equal_values_give_equal_text():
    shuffled = replace(ALERT, labels={"b": "1", "a": "2"}, values={"y": D(1), "x": D(2)})
    ordered = replace(ALERT, labels={"a": "2", "b": "1"}, values={"x": D(2), "y": D(1)})
    assert documents.dump(shuffled) == documents.dump(ordered)


def test_a_document_from_before_a_field_existed_has_its_default():
    assert documents.load(Alert, '{"rule":"floor","labels":{}}') == Alert(rule="floor", labels={})
    known = documents.load(AccountState, '{"name":"main"}')
    assert known == AccountState(name="main")


def test_a_key_of_a_newer_version_is_passed_over():
    document = json.loads(documents.dump(ALERT)) | {"from_the_future": [1]}
    document["levels"][0]["also"] = "x"
    assert documents.load(Alert, json.dumps(document)) == ALERT


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="no-json"),
        pytest.param("[" * 100_000, id="deep"),
        pytest.param("null", id="null"),
        pytest.param('{"labels":{}}', id="a-field-is-missing"),
        pytest.param('{"rule":"floor","labels":[]}', id="wrong-shape"),
        pytest.param('{"rule":"floor","labels":{},"value":"many"}', id="no-number"),
        pytest.param('{"rule":"floor","labels":{},"value":"NaN"}', id="not-finite"),
        pytest.param('{"rule":"floor","labels":{},"direction":"sideways"}', id="unknown-word"),
        pytest.param('{"rule":"floor","labels":{},"fired_at":"2026-13-01T00:00:00Z"}', id="date"),
        pytest.param('{"rule":"floor","labels":{},"missed":1e999}', id="infinite"),
        pytest.param(b"\xff\xfe", id="bytes"),
        pytest.param(b"\x00\xff{", id="no-text"),
        pytest.param(None, id="nothing"),
    ],
)
def test_what_cannot_be_read_is_a_store_error_in_one_line(text):
    with pytest.raises(StoreError) as caught:
        documents.load(Alert, text)
    assert str(caught.value).startswith("Alert: ")
    assert "\n" not in str(caught.value)


def test_the_error_says_where():
    text = documents.dump(ALERT).replace('"severity":"warning"', '"severity":"dire"')
    with pytest.raises(StoreError, match=r"^Alert: levels\.0\.severity: Input should be "):
        documents.load(Alert, text)


def test_a_notification_that_cannot_be_read_is_an_error_of_the_store():
    text = json.dumps({"severity": "critical", "account": "main", "alerts": [{"rule": "floor"}]})
    with pytest.raises(StoreError, match=r"^Notification: receiver: Field required$"):
        documents.load(Notification, text)


@pytest.mark.parametrize("number", ["Infinity", "-Infinity"])
def test_what_is_beyond_every_line_comes_back_so(number):
    beyond = replace(ALERT, value=D(number), values={"maintenance_margin_ratio": D(number)})
    document = json.loads(documents.dump(beyond))
    assert document["value"] == document["values"]["maintenance_margin_ratio"] == number
    assert documents.load(Alert, documents.dump(beyond)) == beyond


@given(instants)
def test_microseconds_are_exact(instant):
    assert from_micros(to_micros(instant)) == instant


def test_an_instant_beyond_the_calendar_is_a_store_error():
    with pytest.raises(StoreError, match="its history cannot be read"):
        with documents.reading("its history"):
            from_micros(1 << 62)


def test_who_reads_no_document_does_not_import_pydantic(tmp_path):
    code = (
        "import sys; from pathlib import Path; from alerting.store.state import Store; "
        "store = Store(Path(sys.argv[1])); store.receiver_statuses(); store.close(); "
        "sys.exit('pydantic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "alerting.db"], check=True)
