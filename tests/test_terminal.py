"""What is drawn on a terminal."""

from __future__ import annotations

import io
import sys

import pytest

from alerting.terminal import ProgressBar, program
from tests.support.factories import T0


class Terminal(io.StringIO):
    def isatty(self):
        return True


def watch(stream, size):
    bar = ProgressBar(stream, position=lambda: size // 4, size=size)
    for _ in range(1000):
        bar.show(T0)
    bar.clear()
    return stream.getvalue()


def test_a_long_file_on_a_terminal_shows_a_bar_that_goes_away():
    text = watch(Terminal(), 8 * 1024 * 1024)

    assert text.startswith("\r\x1b[K[######..................]  25%  2026-01-01 00:00")
    assert text.endswith("\r\x1b[K")
    assert text.count("%") == 1  # a thousand records take less than a tenth of a second


@pytest.mark.parametrize(
    ("stream", "size"),
    [
        pytest.param(io.StringIO(), 8 * 1024 * 1024, id="no-terminal"),
        pytest.param(Terminal(), 1024, id="short"),
    ],
)
def test_nothing_is_drawn_where_nobody_needs_it(stream, size):
    assert watch(stream, size) == ""


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """A checkout with its own script, and no other in the shell's path."""
    script = tmp_path / ".venv" / "bin" / "alerting"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(script), "demo"])
    monkeypatch.setattr(sys, "executable", str(script.with_name("python")))
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    monkeypatch.chdir(tmp_path)
    return script


def test_the_program_is_named_as_it_can_be_called_from_here(scripts, tmp_path, monkeypatch):
    assert program() == ".venv/bin/alerting"
    monkeypatch.setattr(sys, "argv", ["/somewhere/alerting/__main__.py"])
    assert program() == ".venv/bin/alerting"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert program() == str(scripts)


def test_the_program_has_its_bare_name_where_the_shell_finds_this_one(scripts, monkeypatch):
    monkeypatch.setenv("PATH", str(scripts.parent))
    assert program() == "alerting"


def test_another_program_of_its_name_is_not_meant(scripts, tmp_path, monkeypatch):
    other = tmp_path / "alerting"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program() == ".venv/bin/alerting"


def test_without_a_script_the_module_is_called(scripts, monkeypatch):
    scripts.unlink()
    assert program() == f"{scripts.with_name('python')} -m alerting"
