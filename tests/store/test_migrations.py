"""A file of schema 1 is taken over whole: nothing forgotten, nothing told twice.

`tests/data/state/v1.db.gz` was written by the program as of commit b28fe5c, before the words of
the state file changed, with the rules below. Its story, from T0 on, a poll every 15 s:

* `main`: at 15 s the available balance falls to 900 and stays: the floor's warning fires at 45 s and
  desk accepts it. At 60 s it falls to 200.123456789012345678: critical fires at 90 s; desk accepts
  the escalation; phone's first message times out, so that it may have been sent. Two polls fail.
  At 135 s the margin ratio fires critical, its warning level is pending; desk accepts, phone waits.
* At 165 s: two silences, an acknowledgement of the floor; `delivery-failing` of phone fires and is
  being sent to desk (a first attempt of it ended unknown) - claimed, never booked: then the process
  died.
* `hedge` cannot be read from 165 s on: `blind` fires at 285 s and waits for desk and phone.
* At 466 s phone's first message is given up; phone is on hold until 565 s.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from alerting.engine import evaluation
from alerting.engine.builtin import ProgramFacts
from alerting.engine.feeds import Scope
from alerting.engine.identity import fingerprint, short_id
from alerting.engine.model import (
    PROGRAM,
    AccountState,
    Ack,
    Direction,
    FeedState,
    Level,
    Notification,
    Reason,
    Silence,
    State,
)
from alerting.engine.rules import Flapping
from alerting.errors import StoreError
from alerting.messages.formats import Format
from alerting.messages.rendering import Renderer
from alerting.store import documents
from alerting.store.migrations import APPLICATION_ID
from alerting.store.state import Store
from alerting.units import EXACT, plain, rfc3339
from tests.support.factories import (
    CRITICAL,
    INFO,
    T0,
    WARNING,
    D,
    S,
    make_failure,
    make_route,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_symbol,
    make_threshold,
    make_wallet,
)

V1 = Path(__file__).parents[1] / "data" / "state" / "v1.db.gz"
MESSAGES_FILE = V1.parent / "v1-messages.json"
MESSAGES = json.loads(MESSAGES_FILE.read_text(encoding="utf-8"))

RULESET = make_ruleset(
    make_rule(
        "available-balance-floor",
        "total_available_balance",
        make_threshold(WARNING, "1000", clear="1100", for_=30),
        make_threshold(CRITICAL, "250", clear="300", for_=30),
        labels={"team": "desk"},
        annotations={"summary": "{{ value | money }} {{ base_asset }} left"},
    ),
    make_rule(
        "symbol-margin-ratio",
        "margin_ratio",
        make_threshold(WARNING, "0.2", for_=60),
        make_threshold(CRITICAL, "0.35", keep=120),
        scope=Scope.SYMBOL,
        direction=Direction.ABOVE,
    ),
    make_rule("negative-open-order-margin", "total_open_order_margin", make_threshold(INFO, "0")),
    make_rule(
        "concentration",
        "concentration",
        make_threshold(WARNING, "0.5", for_=3600),
        scope=Scope.SYMBOL,
        direction=Direction.ABOVE,
    ),
    accounts=("main", "hedge"),
    receivers={"desk": True, "phone": False},
    routes=(
        make_route("desk", "phone", repeat=900, severity="critical"),
        make_route("desk", repeat=14400),
    ),
    flapping=Flapping(changes=4, within=timedelta(minutes=30)),
)
#: when the process before died
DIED = T0 + 470 * S
RATIO = "0.3823529411764705882352941176470588235294117647058823529411764705882352941176470588235294117647058824"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "alerting.db"
    path.write_bytes(gzip.decompress(V1.read_bytes()))
    return path


@pytest.fixture
def before(path):
    """The documents as schema 1 has them."""
    connection = sqlite3.connect(path)
    found = {
        "accounts": dict(connection.execute("SELECT name, document FROM accounts")),
        "alerts": dict(connection.execute("SELECT fingerprint, document FROM alerts")),
        "payloads": dict(connection.execute("SELECT id, payload FROM outbox")),
    }
    connection.close()
    documents_ = {
        table: {key: json.loads(text) for key, text in rows.items()}
        for table, rows in found.items()
    }
    # since then an alert about an account's polls is about those of its wallet
    documents_["alerts"] = {
        of_wallet(each)["fingerprint"]: each for each in documents_["alerts"].values()
    }
    for each in documents_["alerts"].values():
        del each["fingerprint"]
    for document in documents_["payloads"].values():
        for said in document["alerts"]:
            of_wallet(said)
    return documents_


def of_wallet(said):
    if said["labels"].keys() == {"account"}:
        said["labels"]["feed"] = "wallet"
    said["fingerprint"] = fingerprint(said["rule"], own_labels(said))
    if "id" in said:
        said["id"] = short_id(said["fingerprint"])
    return said


def own_labels(said):
    """Those by which it is known; `team` is one that its rule adds."""
    return {name: text for name, text in said["labels"].items() if name != "team"}


@pytest.fixture
def store(before, path):
    store = Store(path)
    yield store
    store.close()


def query(path, sql):
    connection = sqlite3.connect(path)
    rows = connection.execute(sql).fetchall()
    connection.close()
    return rows


def alerts_of(store):
    return {
        alert.rule: alert
        for account in (PROGRAM, "main", "hedge")
        for alert in store.memory(account).alerts.values()
    }


def test_it_is_brought_to_the_present_schema(store, path):
    assert query(path, "PRAGMA user_version") == [(6,)]
    tables = {
        name for (name,) in query(path, "SELECT name FROM sqlite_master WHERE type = 'table'")
    }
    assert ("notified" in tables, "told" in tables) == (True, False)


def test_a_file_brought_there_is_the_same_as_a_new_one(store, path, tmp_path):
    Store(tmp_path / "new.db").close()
    shapes = [
        {
            table: {row[1:4] for row in query(file, f"PRAGMA table_info({table})")}
            for (table,) in query(file, "SELECT name FROM sqlite_master")
        }
        for file in (path, tmp_path / "new.db")
    ]
    assert shapes[0] == shapes[1]


def test_accounts(store):
    assert store.accounts() == {
        "main": AccountState(
            name="main",
            feeds={"wallet": FeedState(first_polled_at=T0, last_snapshot_at=T0 + 150 * S)},
            assets=frozenset({"USDT"}),
        ),
        "hedge": AccountState(
            name="hedge",
            feeds={
                "wallet": FeedState(
                    first_polled_at=T0 + 165 * S,
                    poll_failures=12,
                    last_error="network: connection refused",
                )
            },
        ),
    }
    assert store.evaluations() == {"main": T0 + 150 * S, "hedge": T0 + 330 * S}


def test_alerts_and_their_levels(store):
    alerts = alerts_of(store)
    assert {
        rule: [(x.severity, x.state, x.active_at, x.breached_for, x.fired_at) for x in alert.levels]
        for rule, alert in alerts.items()
    } == {
        "available-balance-floor": [
            (WARNING, State.FIRING, T0 + 15 * S, 0 * S, T0 + 45 * S),
            (CRITICAL, State.FIRING, T0 + 60 * S, 0 * S, T0 + 90 * S),
        ],
        "symbol-margin-ratio": [
            (WARNING, State.PENDING, T0 + 60 * S, 45 * S, None),
            (CRITICAL, State.FIRING, T0 + 135 * S, 0 * S, T0 + 135 * S),
        ],
        "concentration": [(WARNING, State.PENDING, T0, 105 * S, None)],
        "delivery-failing": [(CRITICAL, State.FIRING, T0 + 165 * S, 0 * S, T0 + 165 * S)],
        "blind": [(CRITICAL, State.FIRING, T0 + 285 * S, 0 * S, T0 + 285 * S)],
    }
    floor = alerts["available-balance-floor"]
    assert floor.extra_labels == {"team": "desk"}
    assert floor.thresholds == {WARNING: (D(1000), D(1100)), CRITICAL: (D(250), D(300))}
    assert floor.episode == 1767225645000
    assert str(alerts["symbol-margin-ratio"].value) == RATIO


def test_nothing_of_an_alert_is_lost(store, before):
    """Field by field, but for the levels above: what schema 1 says is what is loaded.

    Fields that it did not have yet are not asked for.
    """
    loaded = {alert.fingerprint: alert for alert in alerts_of(store).values()}
    assert loaded.keys() == before["alerts"].keys()
    for fp, document in before["alerts"].items():
        again = json.loads(documents.dump(loaded[fp]))
        document.pop("rungs")
        again.pop("levels")
        assert {name: again.get(name) for name in document} == document


def test_who_was_told_what(store):
    notified = {
        (store.memory(account).alerts[fp].rule, receiver): entry
        for account in (PROGRAM, "main", "hedge")
        for (fp, receiver), entry in store.memory(account).notified.items()
    }
    assert {
        key: ((entry.at - T0) // S, entry.delivered, entry.waiting)
        for key, entry in notified.items()
    } == {
        ("available-balance-floor", "desk"): (90, True, False),
        ("available-balance-floor", "phone"): (90, False, False),
        ("symbol-margin-ratio", "desk"): (135, True, False),
        ("symbol-margin-ratio", "phone"): (135, False, True),
        ("delivery-failing", "desk"): (165, False, True),
        ("blind", "desk"): (285, False, True),
        ("blind", "phone"): (285, False, True),
    }
    for (rule, _), entry in notified.items():
        assert (entry.severity, entry.repeats, entry.flapping) == (CRITICAL, 0, False)
        # it was told of what goes on; which value it was told is not known
        assert (entry.critical, entry.value) == (True, None)
        assert entry.episode == alerts_of(store)[rule].episode


def test_silences_and_acknowledgements(store):
    at = T0 + 165 * S
    by = {"author": "ops@box", "starts_at": at}
    assert store.silences(now=DIED) == (
        Silence(
            id=1,
            matchers={"rule": "symbol-*"},
            ends_at=at + timedelta(hours=2),
            reason="moving funds",
            **by,
        ),
        Silence(
            id=2,
            matchers={"account": "main", "severity": "warning"},
            ends_at=at + timedelta(days=300),
            reason="later",
            **by,
        ),
    )
    floor = alerts_of(store)["available-balance-floor"]
    assert store.memory("main").acks == {
        floor.fingerprint: Ack(
            fingerprint=floor.fingerprint,
            episode=floor.episode,
            severity=CRITICAL,
            at=at,
            author="ops@box",
        )
    }


def test_history(store):
    polls = list(store.history())
    assert [(poll.account, (poll.at - T0) // S) for poll in polls] == [
        *(("main", 15 * number) for number in range(11)),
        *(("hedge", 165 + 15 * number) for number in range(12)),
    ]
    available = [
        json.loads(poll.body)["data"]["base_asset_balances"][0]["balances"][
            "total_available_balance"
        ]
        for poll in polls
        if poll.body is not None
    ]
    assert available == ["1500", *["900"] * 3, *["200.123456789012345678"] * 3, "210", "210"]
    assert [poll.error for poll in polls if poll.account == "main" and poll.error] == [
        "network: connection refused",
        "network: read timed out",
    ]


def test_transitions_and_past_messages(store):
    floor = alerts_of(store)["available-balance-floor"].fingerprint
    assert [
        ((c.at - T0) // S, c.severity, c.source.value, c.target.value, c.value, c.reason)
        for c in store.transitions(floor, until=DIED, most=9)
    ] == [
        (15, WARNING, "inactive", "pending", "900", "breach"),
        (45, WARNING, "pending", "firing", "900", "breach held"),
        (60, CRITICAL, "inactive", "pending", "200.123456789012345678", "breach"),
        (90, CRITICAL, "pending", "firing", "200.123456789012345678", "breach held"),
    ]
    assert [
        (m.receiver, m.reason, m.status, m.attempts, m.last_reason)
        for m in store.messages_about(floor, until=DIED, most=9)
    ] == [
        ("desk", "firing", "sent", 1, "accepted"),
        ("desk", "escalated", "sent", 1, "accepted"),
        ("phone", "firing", "dead", 2, "401 bad token"),
    ]


def test_receivers_and_facts(store):
    assert store.sent_totals() == {"desk": 3, "phone": 0}
    assert {
        name: (status.pending, status.dead, status.sent)
        for name, status in store.receiver_statuses().items()
    } == {"desk": (2, 0, 3), "phone": (2, 1, 0)}
    assert list(store.failing_receivers(now=DIED, overdue=timedelta(hours=1))) == ["phone"]
    assert store.next_due("phone") == T0 + 565 * S  # on hold
    assert store.meta("heartbeat.last_ping_at") == "2026-01-01T00:02:00Z"


def claim_all(store, *, now):
    """Every row that waits, in the order in which it goes out, accepted."""
    rows = []
    for receiver in RULESET.receivers:
        while (row := store.claim(receiver, now=now)) is not None:
            rows.append(row)
            store.mark_sent(row, reason="ok", now=now)
    return {row.id: row for row in rows}


def test_what_waited_still_goes_out_and_what_was_being_sent_is_marked(store):
    assert store.recover() == 1
    rows = claim_all(store, now=T0 + 600 * S)
    assert {number: (row.attempts, row.maybe_sent) for number, row in rows.items()} == {
        6: (2, True),
        7: (1, False),
        5: (1, False),
        8: (1, False),
    }
    assert {row.expires_at - row.created_at for row in rows.values()} == {timedelta(hours=24)}


def payload(notification):
    """What schema 1 stored of a notification: all that its text needs."""
    return {
        "receiver": notification.receiver,
        "account": notification.account,
        "reason": notification.reason.value,
        "severity": notification.severity.value,
        "observed_at": rfc3339(notification.observed_at),
        "alerts": [item_payload(item) for item in notification.items],
    }


def item_payload(item):
    alert, over = item.alert, item.state is State.RESOLVED
    line, clear = alert.thresholds.get(item.severity, (None, None))
    distance = None
    if alert.value is not None and line is not None:
        far, near = alert.value, line
        if alert.direction is Direction.BELOW:
            far, near = near, far
        distance = plain(EXACT.subtract(far, near))

    def or_none(function, value):
        return None if value is None else function(value)

    return {
        "id": alert.id,
        "fingerprint": alert.fingerprint,
        "episode": alert.episode,
        "rule": alert.rule,
        "expression": alert.expression,
        "labels": alert.shown_labels,
        "state": item.state.value,
        "reason": item.reason.value,
        "severity": item.severity.value,
        "previous_severity": or_none(lambda severity: severity.value, item.previous_severity),
        "value": or_none(plain, alert.value),
        "threshold": or_none(plain, line),
        "clear": or_none(plain, clear),
        "direction": alert.direction.value,
        "distance": distance,
        "active_at": or_none(rfc3339, alert.active_at),
        "fired_at": or_none(rfc3339, alert.fired_at),
        "resolved_at": or_none(rfc3339, alert.resolved_at) if over else None,
        "why": or_none(lambda why: why.value, alert.resolved_why) if over else None,
        "detail": alert.detail,
        "flapping": item.flapping,
        "annotations": alert.annotations,
        "values": {name: plain(number) for name, number in alert.values.items()},
    }


def test_a_notification_says_everything_that_its_payload_said(store, path, before):
    for number, text in query(path, "SELECT id, notification FROM outbox"):
        notification = documents.load(Notification, text)
        assert payload(notification) == before["payloads"][number]
        for item, said in zip(
            notification.items, before["payloads"][number]["alerts"], strict=True
        ):
            known = alerts_of(store)[said["rule"]]
            assert (item.alert.fingerprint, item.alert.labels, item.alert.extra_labels) == (
                known.fingerprint,
                known.labels,
                known.extra_labels,
            )


def test_messages_read_as_before(store, path):
    """Each format's title and text, from what that version wrote and with today's templates.

    Run with ALERTING_GOLDEN=write after a change of the templates, then read the difference.
    """
    renderer = Renderer(overrides=None)
    rows = query(path, "SELECT id, notification FROM outbox")
    assert len(rows) == len(MESSAGES) == 8
    for number, text in rows:
        notification = documents.load(Notification, text)
        for name, expected in MESSAGES[str(number)].items():
            message = renderer.render(notification, Format(name), maybe_repeat=False, now=DIED)
            if os.environ.get("ALERTING_GOLDEN") == "write":
                expected[:] = [message.title, message.body, message.html]
                shown = json.dumps(MESSAGES, indent=1, ensure_ascii=False) + "\n"
                MESSAGES_FILE.write_text(shown, encoding="utf-8")
            assert [message.title, message.body, message.html] == expected, name


def evaluate(store, account, outcome, at):
    return store.evaluate(
        account, lambda memory: evaluation.evaluate(RULESET, memory, outcome, now=at)
    ).notifications


def snapshot(available, blocked, at):
    wallet = make_wallet(available, position=blocked)
    return make_snapshot(wallet, symbols=[make_symbol(blocked=blocked)], at=at)


def test_the_engine_goes_on_and_tells_nothing_twice(store):
    """The same alerts fire on, and nobody is told of them again before it is due."""
    store.recover()
    at = T0 + 600 * S
    claim_all(store, now=at)
    assert evaluate(store, "main", snapshot("210", "130", at), at) == ()
    assert evaluate(store, "hedge", make_failure(account="hedge"), at) == ()
    facts = ProgramFacts(failing_receivers={"phone": "1 given up, the last with: 401 bad token"})
    program = store.evaluate(
        PROGRAM, lambda memory: evaluation.evaluate_program(RULESET, memory, facts, now=at)
    )
    assert program.notifications == ()

    # phone's only message of the floor died: it is tried again when a repeat is due
    at = T0 + (90 + 900) * S
    (again,) = evaluate(store, "main", snapshot("210", "130", at), at)
    assert (again.receiver, again.reason) == ("phone", Reason.FIRING)

    # what fired is over: whoever was told is told so, in the same episode
    told = []
    for number in range(1, 12):
        later = at + number * 15 * S
        told += evaluate(store, "main", snapshot("2000", "130", later), later)
    assert [
        (n.receiver, n.reason, [(item.alert.rule, item.alert.episode) for item in n.items])
        for n in told
    ] == [("desk", Reason.RESOLVED, [("available-balance-floor", 1767225645000)])]
    ratio = alerts_of(store)["symbol-margin-ratio"]
    assert ratio.state is not State.FIRING  # its end is told when the silence of symbol-* is over


def test_levels_age_on_from_where_they_stood(store):
    """45 s of 60 were seen: the next good snapshots within blind_after make it fire."""
    ratio = "symbol-margin-ratio"
    for seconds in (165, 180):
        at = T0 + seconds * S
        evaluate(store, "main", snapshot("210", "130", at), at)
    level = alerts_of(store)[ratio].levels[0]
    assert replace(level, fired_at=None) == Level(
        severity=WARNING, state=State.FIRING, active_at=T0 + 60 * S
    )


@pytest.mark.parametrize("document", ["{}", "[]", "5", "{", '{"rungs":[{}]}', ""])
def test_a_record_that_was_broken_before_stays_its_accounts_trouble_alone(path, document):
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alerts SET document = ? WHERE account = 'hedge'", (document,))
    connection.commit()
    connection.close()
    store = Store(path)
    assert len(store.memory("main").alerts) == 3
    with pytest.raises(StoreError, match="account 'hedge' cannot be read"):
        store.memory("hedge")
    store.close()


def test_a_file_of_the_first_schema_is_marked_as_ours(path):
    Store(path).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
