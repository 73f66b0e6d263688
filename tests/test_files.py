"""Whole files that somebody named: regular ones only, and of those no more than is allowed."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from alerting.errors import UsageError
from alerting.files import MissingFileError, NoFileError, UnreadableError, read_text, read_whole
from alerting.messages.check import check_templates
from alerting.replay.recording import RecordingError, open_recording
from alerting.sandbox.serve import _read_wallet
from tests.support.rules_files import messages


@pytest.fixture
def pipe(tmp_path):
    """A named pipe that nobody writes to: opening it plainly waits for ever."""
    path = tmp_path / "pipe.yaml"
    os.mkfifo(path)
    return path


def test_a_file_is_read_up_to_its_allowance(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"abcd")
    assert read_whole(path, most=4) == b"abcd"
    with pytest.raises(UnreadableError, match=r"^is larger than 0 KiB$"):
        read_whole(path, most=3)


def test_a_file_that_says_that_it_is_empty_is_read_all_the_same():
    """As those of /proc and of some file systems do."""
    assert read_whole(Path("/proc/self/status"), most=100_000)


def test_a_link_to_a_file_is_that_file(tmp_path):
    (tmp_path / "f").write_text("text")
    (tmp_path / "link").symlink_to("f")
    assert read_text(tmp_path / "link", most=10) == "text"


def test_what_is_no_file_is_refused_at_once(tmp_path, pipe):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    (tmp_path / "zero").symlink_to("/dev/zero")
    expected = {
        tmp_path: "is a directory",
        pipe: "is a pipe and no file",
        tmp_path / "s": "is a socket and no file",
        tmp_path / "zero": "is a device and no file",
    }
    with listener:
        for path, message in expected.items():
            with pytest.raises(NoFileError) as caught:
                read_whole(path, most=10)
            assert str(caught.value) == message


def test_what_became_a_pipe_after_the_look_is_refused_too(pipe, monkeypatch):
    ordinary = Path(__file__).stat()
    monkeypatch.setattr(Path, "stat", lambda _: ordinary)
    with pytest.raises(NoFileError, match="is a pipe"):
        read_whole(pipe, most=10)


def test_a_file_that_may_not_be_read_says_so(tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_text("text")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    # root may read everything
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UnreadableError, match=r"^cannot be read: Permission denied$"):
        read_whole(path, most=10)


def test_a_file_that_is_not_there_is_an_error_of_its_own(tmp_path):
    with pytest.raises(MissingFileError):
        read_whole(tmp_path / "f", most=10)


def test_a_text_is_utf8(tmp_path):
    (tmp_path / "f").write_bytes(b"caf\xe9")
    with pytest.raises(UnreadableError, match=r"^is not text in UTF-8$"):
        read_text(tmp_path / "f", most=10)


# ── whoever reads a named file reads it so ──────────────────────────────────


def test_a_rules_file_that_is_a_pipe_is_refused(pipe):
    from alerting.config.load import load_config

    lines = messages(load_config, pipe, environ={})
    assert lines == ["FILE:1:1: is a pipe and no file; the rules file is needed"]


def test_a_test_file_that_is_a_pipe_is_refused(pipe):
    from alerting.ruletest.testfile import load_tests

    lines = messages(load_tests, pipe)
    assert lines == ["FILE:1:1: is a pipe and no file; a test file is needed"]


def test_a_template_that_is_a_pipe_or_huge_is_found_beforehand(tmp_path):
    os.mkfifo(tmp_path / "text.txt.j2")
    with (tmp_path / "telegram.html.j2").open("wb") as file:
        file.truncate(1024**4)
    found = {problem.file: problem.message for problem in check_templates(tmp_path, [])}
    assert "is a pipe and no file" in found[str(tmp_path / "text.txt.j2")]
    assert "is larger than 1 MiB" in found[str(tmp_path / "telegram.html.j2")]


def test_a_recording_that_is_a_pipe_is_refused(pipe):
    with pytest.raises(RecordingError) as caught, open_recording(str(pipe)):
        pass
    assert str(caught.value) == f"{pipe}: is a pipe and no file; - reads standard input"


def test_a_wallet_that_is_a_pipe_is_refused(tmp_path, pipe):
    with pytest.raises(UsageError, match="is a pipe and no file"):
        _read_wallet(pipe)
    (tmp_path / "wallet.json").write_text(json.dumps({"data": {}}))
    assert _read_wallet(tmp_path / "wallet.json").wallet == {"data": {}}
