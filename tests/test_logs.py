"""Log lines: one format for people, one for machines, no secret in either."""

from __future__ import annotations

import json
import logging

import pytest
from freezegun import freeze_time

from alerting import logs, streams
from alerting.redaction import REDACTOR

SECRET = "tok-4f9a7c21e8"


@pytest.fixture(autouse=True)
def root_logger_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@freeze_time("2026-01-01 00:00:00.1234")
def test_text(capsys):
    logs.set_up("info", "text")
    logging.getLogger("alerting").info("account %s: readable again", "main")
    logging.getLogger("alerting").debug("not shown")
    assert (
        capsys.readouterr().err
        == "2026-01-01T00:00:00.123000Z info    account main: readable again\n"
    )


@freeze_time("2026-01-01")
def test_json(capsys):
    logs.set_up("warning", "json")
    logging.getLogger("alerting.delivery").warning("receiver %s: down", "desk")
    assert json.loads(capsys.readouterr().err) == {
        "at": "2026-01-01T00:00:00Z",
        "level": "warning",
        "logger": "alerting.delivery",
        "message": "receiver desk: down",
    }


@pytest.mark.parametrize("form", logs.FORMATS)
def test_no_secret_in_a_message_or_an_exception(capsys, form):
    REDACTOR.learn(SECRET)
    logs.set_up("debug", form)
    try:
        raise ValueError(f"https://example.org/{SECRET}/send")
    except ValueError:
        logging.getLogger("urllib3").exception("sending to %s failed", f"/{SECRET}/")
    err = capsys.readouterr().err
    assert SECRET not in err
    assert "ValueError" in err
    assert "***" in err


@pytest.mark.parametrize("form", logs.FORMATS)
def test_a_text_from_outside_can_neither_speak_to_the_terminal_nor_forge_a_line(form, capsys):
    logs.set_up("debug", form)
    logging.getLogger("alerting").warning(
        "path %s", "\x1b[2J\x9b31m\n2026-01-01 info all is well\u202e"
    )
    err = capsys.readouterr().err

    assert err.count("\n") == 1
    assert not set("\x1b\x9b\u202e") & set(err)


@freeze_time("2026-01-01")
def test_that_lines_were_lost_is_a_line_of_the_log_too(capsys):
    logs.set_up("info", "json")
    line = streams._lost_as(7)
    assert json.loads(line) == {
        "at": "2026-01-01T00:00:00Z",
        "level": "warning",
        "logger": "alerting",
        "message": "7 lines of the log were dropped here: nobody read them",
    }
    assert line.endswith("}\n")
