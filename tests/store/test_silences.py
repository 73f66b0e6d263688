"""Silences and acknowledgements as they are stored; what they do is tested with the engine."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from alerting.engine.model import Ack, Severity, Silence
from alerting.errors import StoreError
from alerting.store.state import Store
from tests.support.factories import T0, M, S
from tests.support.stores import see

SILENCE = Silence(
    id=0,
    matchers={"rule": "floor*", "account": "main"},
    starts_at=T0,
    ends_at=T0 + M,
    author="ops@box",
    reason="moving funds – 🙂",
)
DAY = timedelta(days=1)


def test_a_silence_survives_and_is_listed_until_it_ends(store, path):
    number = store.add_silence(SILENCE)
    again = Store(path)
    assert again.silences(now=T0 + M - S) == (replace(SILENCE, id=number),)
    assert again.silences(now=T0 + M) == ()
    again.close()


def test_the_engine_sees_silences_and_acknowledgements(store):
    number = store.add_silence(SILENCE)
    (fp,) = see(store, "900", T0).memory.alerts
    ack = Ack(fingerprint=fp, episode=1, severity=Severity.WARNING, at=T0, author="ops@box")
    store.acknowledge(ack)
    store.acknowledge(replace(ack, episode=2, at=T0 + S))
    memory = store.memory("main")
    assert memory.silences == (replace(SILENCE, id=number),)
    assert memory.acks == {fp: replace(ack, episode=2, at=T0 + S)}


def test_an_acknowledgement_for_a_while_is_taken_back_once(store):
    (fp,) = see(store, "900", T0).memory.alerts
    ack = Ack(
        fingerprint=fp, episode=1, severity=Severity.WARNING, at=T0, author="me", until=T0 + M
    )
    store.acknowledge(replace(ack, until=None))
    store.acknowledge(ack)
    assert store.memory("main").acks == {fp: ack}
    assert store.unacknowledge(fp)
    assert not store.unacknowledge(fp)
    assert store.memory("main").acks == {}


def test_a_silence_is_removed_once(store):
    number = store.add_silence(SILENCE)
    assert store.remove_silence(number)
    assert not store.remove_silence(number)
    assert store.silences(now=T0) == ()


def test_old_ones_are_forgotten_but_the_acknowledgement_of_an_alert_that_is_there(store):
    store.add_silence(SILENCE)
    (fp,) = see(store, "900", T0).memory.alerts
    ack = Ack(fingerprint=fp, episode=1, severity=Severity.WARNING, at=T0, author="ops@box")
    store.acknowledge(ack)
    store.acknowledge(replace(ack, fingerprint="gone"))
    store.prune(now=T0 + 29 * DAY, keep_history=DAY)
    assert len(store.memory("main").silences) == 1
    store.prune(now=T0 + 31 * DAY, keep_history=DAY)
    memory = store.memory("main")
    assert (memory.silences, memory.acks) == ((), {fp: ack})


def test_an_acknowledgement_comes_down_with_its_alert_and_ends_for_good_where_that_rises(store):
    alerts = see(store, "200", T0).memory.alerts
    ((fp, alert),) = alerts.items()
    ack = Ack(fingerprint=fp, episode=alert.episode, severity=Severity.CRITICAL, at=T0, author="me")
    other = replace(ack, fingerprint="of another account")
    store.acknowledge(ack)
    store.acknowledge(other)
    see(store, "900", T0 + S)
    lower = replace(ack, severity=Severity.WARNING)
    assert store.memory("main").acks == {fp: lower, other.fingerprint: other}
    see(store, "200", T0 + 2 * S)
    see(store, "900", T0 + 3 * S)
    assert store.memory("main").acks == {other.fingerprint: other}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("matchers = '{'", id="matchers"),
        pytest.param("ends_at = 9000000000000000000", id="beyond-the-calendar"),
        pytest.param("starts_at = 'today'", id="no-number"),
    ],
)
def test_one_that_cannot_be_read_is_a_store_error(store, change):
    store.add_silence(SILENCE)
    with store._database.transaction() as connection:
        connection.execute(f"UPDATE silences SET {change}")
    with pytest.raises(StoreError, match="its silences cannot be read"):
        store.silences(now=T0)
    with pytest.raises(StoreError, match="account 'main' cannot be read"):
        see(store, "900", T0)
