"""What is drawn on a terminal."""

from __future__ import annotations

import io

import pytest

from alerting.terminal import ProgressBar
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
