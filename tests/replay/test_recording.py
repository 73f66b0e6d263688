"""Recordings: what is written is read back to the digit, and a bad line is named."""

from __future__ import annotations

import gzip
import io
import json
import sys
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.engine.snapshot import FailureKind, PollFailure
from alerting.exchanges.coinswitch.answers import parse_wallet
from alerting.replay.recording import RecordingError, open_recording, read_records, write_record
from alerting.sandbox.exchange import DOCUMENTED_WALLET
from tests.support.factories import T0, make_failure

BODY = json.dumps(DOCUMENTED_WALLET)


def line(at="2026-01-01T00:00:00Z", account="main", **what):
    return json.dumps({"at": at, "account": account} | (what or {"error": "x"}))


def read(*lines):
    return list(read_records(lines, file="f.jsonl"))


def error_of(*lines):
    with pytest.raises(RecordingError) as caught:
        read(*lines)
    return str(caught.value)


# ── there and back ──────────────────────────────────────────────────────────


def test_a_recorded_body_is_the_snapshot_that_was_seen_live():
    [record] = read(write_record(at=T0, account="main", body=BODY))

    assert record.outcome == parse_wallet(BODY.encode(), account="main", observed_at=T0)
    assert (record.at, record.account, record.feed) == (T0, "main", "wallet")


def test_the_written_line_is_the_contracts():
    text = write_record(at=T0, account="main", body='{"data": 1.50}')

    assert text == '{"at":"2026-01-01T00:00:00Z","account":"main","body":{"data": 1.50}}'
    failed = write_record(at=T0, account="main", error="network: refused")
    assert json.loads(failed) == {
        "at": "2026-01-01T00:00:00Z",
        "account": "main",
        "error": "network: refused",
    }


def test_a_body_over_several_lines_becomes_one_line():
    pretty = json.dumps(DOCUMENTED_WALLET, indent=2).replace("\n", "\r\n")

    text = write_record(at=T0, account="main", body=pretty)

    assert len(text.splitlines()) == 1
    assert read(text)[0].outcome == parse_wallet(BODY.encode(), account="main", observed_at=T0)


@given(
    number=st.from_regex(r"-?(0|[1-9][0-9]{0,28})(\.[0-9]{1,30})?", fullmatch=True),
    quoted=st.booleans(),
    micros=st.integers(0, 10**15),
    account=st.text(st.characters(blacklist_categories=["C", "Z"]), min_size=1, max_size=64),
)
def test_every_digit_microsecond_and_name_comes_back(number, quoted, micros, account):
    shown = f'"{number}"' if quoted else number
    body = (
        '{"data":{"base_asset_balances":[{"base_asset":"USDT","balances":{"total_balance":'
        f"{shown}}}}}]}}}}"
    )
    at = T0 + timedelta(microseconds=micros)

    [record] = read(write_record(at=at, account=account, body=body))

    assert record.outcome == parse_wallet(body.encode(), account=account, observed_at=at)
    [wallet] = record.outcome.wallets
    seen = wallet.fields["total_balance"]
    expected = Decimal(number)
    assert seen.as_tuple() == (expected.copy_abs() if expected == 0 else expected).as_tuple()


@pytest.mark.parametrize("kind", FailureKind)
def test_each_kind_of_failure_comes_back_as_it_was(kind):
    failure = make_failure(kind, "it said: no")

    [record] = read(write_record(at=T0, account="main", error=str(failure)))

    assert record.outcome == failure


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("connection refused", id="no-kind"),
        pytest.param("Network: refused", id="no-kind-of-ours"),
        pytest.param("network", id="kind-without-text"),
        pytest.param("network:refused", id="no-space"),
    ],
)
def test_a_failure_of_unknown_kind_keeps_its_whole_text(text):
    [record] = read(line(error=text))

    assert record.outcome == PollFailure(account="main", kind=FailureKind.UNKNOWN, text=text)


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        pytest.param(
            "null", FailureKind.WRONG_SHAPE, "the answer is null, not an object", id="null"
        ),
        pytest.param("{}", FailureKind.WRONG_SHAPE, "the answer has no data", id="empty"),
        pytest.param(
            '{"data":{"a":1,"a":2}}',
            FailureKind.WRONG_SHAPE,
            'the answer names "a" twice in one object',
            id="key-twice",
        ),
    ],
)
def test_a_body_that_was_no_snapshot_live_is_a_failed_poll(body, kind, text):
    [record] = read(write_record(at=T0, account="main", body=body))

    assert record.outcome == PollFailure(account="main", kind=kind, text=text)


def test_times_are_read_in_any_offset_and_blank_lines_are_skipped():
    first, second = read(line("2026-01-01T05:30:00+05:30"), "\n", line("2026-01-01T00:00:00.5Z"))

    assert (first.at, second.at - T0) == (T0, timedelta(milliseconds=500))


def test_two_records_of_one_instant_are_in_order():
    assert len(read(line(), line(account="second"), line())) == 3


# ── bad lines ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("{", "not JSON: Expecting property name", id="cut-off"),
        pytest.param("<html>", "not JSON: Expecting value at character 1", id="html"),
        pytest.param(line() + line(), "not JSON: Extra data", id="two-on-one-line"),
        pytest.param(line(body=float("nan")), "not JSON: NaN and Infinity", id="nan"),
        pytest.param("[" * 99_999, "nested too deeply", id="deep"),
        pytest.param("[]", "a record is an object such as", id="list"),
        pytest.param("7", "a record is an object such as", id="number"),
        pytest.param(
            '{"a":[{"b":1,"b":2}]}', "a key stands twice in one object", id="twice-inside"
        ),
        pytest.param('{"at":1,"at":2,"body":{}}', '"at" stands twice', id="key-twice"),
        pytest.param(line(boddy={}), '"boddy" is no key here; allowed are at, account', id="key"),
        pytest.param('{"account":"a"}', '"at" is missing; it is a time', id="no-at"),
        pytest.param('{"at":"2026-01-01T00:00:00Z"}', '"account" is missing', id="no-account"),
        pytest.param(line(7), 'at: "7" is not a text; it is a time such as 2026', id="at-number"),
        pytest.param(line("yesterday"), 'at: "yesterday" is not a time; write 2026', id="no-time"),
        pytest.param(line("2026-W01-1T00:00:00Z"), "is not a time; write", id="week-date"),
        pytest.param(line("2026-02-30T00:00:00Z"), "is not a time; write", id="no-such-day"),
        pytest.param(line("2026-01-01T00:00:00.1234567Z"), "is not a time; write", id="nanos"),
        pytest.param(line("2026-01-01T00:00:00"), "has no time zone; write", id="naive"),
        pytest.param(line("1969-12-31T23:59:59Z"), "allowed are 1970 to 9998", id="too-early"),
        pytest.param(line("9999-01-01T00:00:00Z"), "allowed are 1970 to 9998", id="too-late"),
        pytest.param(line("9999-12-31T23:59:59-12:00"), "is not a time; write", id="beyond-time"),
        pytest.param(line(account=""), 'account: "" is not a name of 1 to 64', id="empty-account"),
        pytest.param(
            line(account="a\nb"), "is not a name of 1 to 64 printable", id="account-lines"
        ),
        pytest.param(line(account="a" * 65), "is not a name of 1 to 64", id="long-account"),
        pytest.param(line(account=None), "account: null is not a text", id="null-account"),
        pytest.param(
            line(body={}, error="x"), 'either "body" or "error"; this one has both', id="both"
        ),
        pytest.param(
            '{"at":"2026-01-01T00:00:00Z","account":"main"}', "this one has neither", id="neither"
        ),
        pytest.param(
            line(error=7), 'error: "7" is not a text; it is why the poll', id="error-number"
        ),
        pytest.param(line(error={}), "error: {} is not a text", id="error-object"),
    ],
)
def test_a_bad_line_is_named_with_what_is_allowed(text, message):
    error = error_of(line(), text)

    assert error.startswith("f.jsonl:2: ")
    assert message in error
    assert "\n" not in error


def test_a_time_that_goes_back_is_named_whatever_the_account():
    error = error_of(line("2026-01-01T00:00:01Z"), line(account="second"))

    assert error == (
        "f.jsonl:2: at: 2026-01-01T00:00:00Z is before 2026-01-01T00:00:01Z of the line before; "
        "records must stand in the order of time"
    )


def test_what_stands_before_a_bad_line_is_given_first():
    records = read_records([line(), "bad"], file="f")

    assert next(records).at == T0
    with pytest.raises(RecordingError, match=r"^f:2: "):
        next(records)


@given(st.text(max_size=60) | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_no_line_at_all_ends_in_another_error(text):
    try:
        read(text)
    except RecordingError as error:
        assert str(error).startswith("f.jsonl:1: ")


# ── files ───────────────────────────────────────────────────────────────────


def content(file):
    with open_recording(str(file)) as recording:
        return list(recording.lines)


def test_plain_and_packed_files_and_stdin_read_the_same(tmp_path, monkeypatch):
    raw = (line() + "\n" + line() + "\n").encode()
    (tmp_path / "plain.jsonl").write_bytes(raw)
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress(raw))
    lines = raw.decode().splitlines(keepends=True)

    assert content(tmp_path / "plain.jsonl") == lines
    assert content(tmp_path / "packed.jsonl.gz") == lines
    for given_raw in (raw, gzip.compress(raw)):
        stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(given_raw)))
        monkeypatch.setattr(sys, "stdin", stdin)
        assert content("-") == lines
        assert not stdin.closed


def test_a_line_separator_within_a_text_is_no_new_line(tmp_path):
    (tmp_path / "f").write_text(line(error="a\u2028b\x85c") + "\n", encoding="utf-8")
    (tmp_path / "g").write_text('{"error":"a\u2028b\x85c"}\n', encoding="utf-8")

    assert len(content(tmp_path / "f")) == len(content(tmp_path / "g")) == 1


def test_size_and_position_tell_how_far_it_is(tmp_path):
    (tmp_path / "f").write_text((line() + "\n") * 2000)

    with open_recording(str(tmp_path / "f")) as recording:
        before = recording.position()
        assert sum(1 for _ in recording.lines) == 2000
        assert before < recording.position() == recording.size


DAMAGED = gzip.compress((line() + "\n").encode() * 50)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        pytest.param(b"{}\n\xff\n", ":2: the line is not UTF-8 at byte 0", id="not-utf8"),
        pytest.param(DAMAGED[:-20], ": the gzip file is damaged or cut off", id="gzip-cut-off"),
        pytest.param(
            DAMAGED[:30] + b"\xff" * 20,
            ":1: the gzip file is damaged or cut off",
            id="gzip-damaged",
        ),
        pytest.param(DAMAGED[:-8] + b"12345678", ": the gzip file is damaged", id="gzip-checksum"),
        pytest.param(
            b"x" * (8 * 1024 * 1024 + 1), ":1: the line is longer than", id="endless-line"
        ),
    ],
)
def test_a_damaged_file_is_named_with_its_line(raw, message, tmp_path):
    (tmp_path / "f").write_bytes(raw)

    with pytest.raises(RecordingError) as caught:
        content(tmp_path / "f")

    assert str(caught.value).startswith(f"{tmp_path}/f")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("none.jsonl", "there is no such file", id="missing"),
        pytest.param(".", "is a directory; - reads standard input", id="folder"),
        pytest.param("a\0b", "cannot be read: this is no usable path", id="no-path"),
    ],
)
def test_a_file_that_cannot_be_opened_is_named(name, message, tmp_path):
    with pytest.raises(RecordingError, match=message):
        content(tmp_path / name)


class BadDisk(io.RawIOBase):
    """The second read fails."""

    reads = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        self.reads += 1
        if self.reads > 1:
            raise OSError(5, "Input/output error")
        raw = (line() + "\n").encode()
        buffer[: len(raw)] = raw
        return len(raw)


def test_a_disk_that_fails_while_reading_is_named_with_its_line(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(BadDisk())))

    with pytest.raises(RecordingError) as caught:
        content("-")

    assert str(caught.value) == "-:2: cannot be read: Input/output error"
