"""`silence`: what people type, and that it is kept."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerting.cli.silence import describe, new_silence, parse_matchers
from alerting.engine.model import Silence
from alerting.errors import UsageError
from alerting.store.state import Store
from tests.support.factories import (
    LADDER,
    T0,
    S,
    make_rule,
    make_ruleset,
)

STEP = 15 * S


def at(steps):
    return T0 + steps * STEP


def silence(*, start=0, end=1000, **matchers):
    return Silence(
        id=1, matchers=matchers or {"rule": "*"}, starts_at=at(start), ends_at=at(end),
        author="me", reason="moving funds",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param([], "at least one", id="nothing"),
        pytest.param(["rule"], "LABEL=GLOB", id="no-glob"),
        pytest.param(["rule="], "LABEL=GLOB", id="empty-glob"),
        pytest.param(["rul=x"], "no label; known: account", id="unknown-label"),
        pytest.param(["rule=a", "rule=b"], "stands twice", id="twice"),
    ],
)
def test_a_matcher_that_means_nothing_is_refused(words, message):
    with pytest.raises(UsageError, match=message):
        parse_matchers(words, make_ruleset(LADDER))


def test_labels_of_rules_can_be_matched():
    rule = make_rule("floor", labels={"team": "risk"})
    assert parse_matchers(["team=r*"], make_ruleset(rule)) == {"team": "r*"}


@pytest.mark.parametrize(
    ("words", "note"),
    [
        pytest.param(["rule=flor"], "note: rule=flor matches no rule", id="rule"),
        pytest.param(["account=x*", "rule=*"], "note: account=x* matches no account", id="account"),
        pytest.param(["rule=avail*", "account=main"], "", id="both-are-there"),
        pytest.param(["rule=blind"], "", id="built-in"),
        pytest.param(["severity=warning"], "", id="another-label"),
    ],
)
def test_a_silence_that_matches_nothing_says_so_when_it_is_made(desk, words, note):
    desk.once()
    code, out, _ = desk.run("silence", "add", *words, "--for", "1h", "--reason", "r")
    assert code == 0
    assert out.count("note:") == bool(note)
    assert note in out


@pytest.mark.parametrize(
    ("duration", "reason", "message"),
    [
        ("2", "x", "not a duration"),
        ("0s", "x", "between"),
        ("400d", "x", "between"),
        ("2h", "  ", "--reason is empty"),
    ],
)
def test_a_silence_has_an_end_and_a_reason(duration, reason, message):
    with pytest.raises(UsageError, match=message):
        new_silence({"rule": "*"}, duration=duration, reason=reason, by="me", now=T0)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "alerting.db")
    yield store
    store.close()


def test_silences_are_stored_listed_and_removed(store):
    number = store.add_silence(silence(end=4))
    assert [s.id for s in store.silences(now=T0)] == [number]
    assert store.memory("main").silences == store.silences(now=T0)
    assert store.silences(now=at(4)) == ()
    assert store.remove_silence(number)
    assert not store.remove_silence(number)


def test_a_silence_is_one_line(store):
    line = describe(silence(rule="floor", account="main", end=4), now=T0)
    assert line == (
        "1  account=main rule=floor  until 2026-01-01T00:01:00Z (1m left)  moving funds  [me]"
    )


def test_what_is_over_is_pruned(store):
    store.add_silence(silence(end=4))
    store.prune(now=T0 + timedelta(days=40), keep_history=timedelta(days=30))
    assert store.memory("main").silences == ()
