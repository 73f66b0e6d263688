"""What the operating system gives."""

from __future__ import annotations

import threading
from datetime import timedelta

from alerting.service.process import HardEnd
from tests.support.waiting import wait_until


def test_a_block_that_hangs_ends_the_process_after_its_last_words():
    said, codes, gate = [], [], threading.Event()
    limit = timedelta(seconds=0.02)
    with HardEnd(
        limit,
        last_words=said.append,
        words_within=limit,
        exit_now=lambda c: (codes.append(c), gate.set()),
    ):
        assert gate.wait(5)
    assert (said, codes) == ([limit], [1])


def test_last_words_that_hang_or_fail_do_not_keep_it():
    codes, gate = [], threading.Event()
    for words in (lambda _: gate.wait(10), lambda _: 1 / 0):
        with HardEnd(
            timedelta(seconds=0.01),
            last_words=words,
            words_within=timedelta(seconds=0.05),
            exit_now=codes.append,
        ):
            wait_until(lambda: codes)
        codes.clear()
    gate.set()


def test_a_block_that_ends_in_time_ends_nothing():
    codes = []
    soon = timedelta(seconds=0.05)
    with HardEnd(soon, last_words=lambda _: None, words_within=soon, exit_now=codes.append):
        pass
    threading.Event().wait(0.1)
    assert codes == []
