"""What there is to be seen, from the state file."""

from __future__ import annotations

from alerting.engine.model import Ack, Silence
from alerting.monitoring.health import look
from alerting.monitoring.overview import overview
from tests.support.configs import make_config, see
from tests.support.factories import CRITICAL, INFO, T0, M

CONFIG = make_config()


def test_without_a_state_file_there_is_what_the_rules_file_says():
    view = overview(CONFIG, None, now=T0)

    assert view.health == look(CONFIG.ruleset, None, now=T0)
    assert (view.alerts, view.evaluated, view.sent_totals) == ((), {}, {})
    assert view.severities["floor"] == (INFO, CRITICAL)
    assert view.severities["delivery-failing"] == (CRITICAL,)


def test_who_is_quiet_is_said_and_by_what(store):
    see(store, "50")
    (alert,) = overview(CONFIG, store, now=T0).alerts
    assert overview(CONFIG, store, now=T0).acked == frozenset()

    store.acknowledge(
        Ack(
            fingerprint=alert.fingerprint,
            episode=alert.episode,
            severity=INFO,
            at=T0,
            author="me",
        )
    )
    silence = Silence(
        id=0, matchers={"rule": "floor"}, starts_at=T0, ends_at=T0 + M, author="me", reason="x"
    )
    store.add_silence(silence)
    during, after = (overview(CONFIG, store, now=now) for now in (T0, T0 + M))

    assert during.acked == after.acked == {alert.fingerprint}
    assert (during.silenced, after.silenced) == ({alert.fingerprint}, frozenset())


def test_an_alert_that_is_over_is_not_shown(store):
    see(store, "50")
    see(store, "2000", at=T0 + M)

    assert overview(CONFIG, store, now=T0 + M).alerts == ()
