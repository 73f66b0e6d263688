"""Taking over a changed file: when it is read, and what is said of it."""

from __future__ import annotations

import os

import pytest

from alerting.config.load import load_config
from alerting.config.reload import Reloader, brief, differences
from alerting.errors import ConfigError, Problem, UsageError
from tests.support.rules_files import ACCOUNTS, ENVIRON, RECEIVERS, ROUTES, RULES

TEXT = ACCOUNTS + RECEIVERS + ROUTES + RULES


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def reloader(path):
    return Reloader(path, lambda: load_config(path, environ=ENVIRON))


def write(path, text):
    """Changes the file, and surely its time of change."""
    before = path.stat().st_mtime_ns
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(before + 1_000_000_000, before + 1_000_000_000))


def test_a_file_that_stays_as_it_is_is_not_read_again(reloader):
    assert [reloader.check() for _ in range(3)] == [None] * 3


def test_a_changed_file_is_read_once_it_stands_still_and_only_once(reloader, path):
    write(path, TEXT.replace("1000", "2000"))
    assert reloader.check() is None
    write(path, TEXT.replace("1000", "3000"))
    assert reloader.check() is None
    assert reloader.check().ruleset.rules[0].thresholds[0].line == 3000
    assert reloader.check() is None


def test_whoever_asks_gets_the_file_at_once_changed_or_not(reloader):
    reloader.ask()
    assert reloader.check().ruleset.rules[0].name == "floor"
    assert reloader.check() is None


def test_a_wrong_file_is_given_as_its_error_once(reloader, path):
    write(path, TEXT.replace("floor", "blind"))
    reloader.check()
    assert "name of a built-in alert" in str(reloader.check())
    assert reloader.check() is None


def test_a_file_whose_reading_fails_unforeseen_is_an_error_that_can_be_told(path, caplog):
    def load():
        raise PermissionError("a secret may be in it")

    reloader = Reloader(path, load)
    reloader.ask()
    error = reloader.check()
    assert str(error) == "reading it fails in an unforeseen way (PermissionError)"
    assert brief(error) == str(error)
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_a_file_that_is_gone_is_an_error(reloader, path):
    path.unlink()
    reloader.check()
    assert "there is no such file" in str(reloader.check())


def test_an_error_is_told_by_its_first_problem():
    problems = [Problem(file="r.yaml", line=line, column=1, message="wrong") for line in (3, 1)]
    assert brief(ConfigError(problems[:1])) == "r.yaml:3:1: wrong"
    assert brief(ConfigError(problems)) == "r.yaml:1:1: wrong (and 1 more)"
    assert brief(UsageError("no")) == "no"


def test_differences_name_what_was_added_removed_and_changed(path):
    def loaded(text):
        path.write_text(text, encoding="utf-8")
        return load_config(path, environ=ENVIRON)

    old = loaded(TEXT)
    more = "  - {name: m, per: symbol, value: margin_ratio, above: 1}\npoll: {interval: 30s}\n"
    new = loaded(
        TEXT.replace("1000", "2000").replace("floor", "flor").replace("desk", "mail") + more
    )
    assert list(differences(old, old)) == []
    assert list(differences(old, new)) == [
        "rule floor: removed",
        "rule flor: added",
        "rule m: added",
        "receiver desk: removed",
        "receiver mail: added",
        "routes: changed",
        "poll: changed",
    ]
