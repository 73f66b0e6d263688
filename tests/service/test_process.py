"""What the operating system gives."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from alerting.errors import StateBusyError
from alerting.service.process import HardEnd, HolderHangsError, StateLock
from tests.support.factories import T0
from tests.support.fakes import FakeMonotonic
from tests.support.waiting import wait_until


def test_only_one_process_holds_the_lock(tmp_path):
    path = tmp_path / "alerting.db"
    with StateLock(path, now=T0), pytest.raises(StateBusyError, match="pid"):
        with StateLock(path, now=T0):
            pass
    with StateLock(path, now=T0):
        pass


def test_a_holder_that_did_not_get_on_for_5_minutes_hangs(tmp_path):
    path, machine = tmp_path / "alerting.db", FakeMonotonic()

    def lock():
        return StateLock(path, now=T0, monotonic=machine)

    with lock() as holder:
        machine.now += 299
        with pytest.raises(StateBusyError, match=r"\(pid \d+ since 2026-01-01T00:00:00Z\)"), lock():
            pass
        machine.now += 1
        with (
            pytest.raises(HolderHangsError, match="has not got on for 5m: it hangs") as caught,
            lock(),
        ):
            pass
        assert caught.value.lasting == timedelta(minutes=5)
        holder.renew()
        with pytest.raises(StateBusyError), lock():
            pass
    with lock():
        pass


@pytest.mark.parametrize(
    "left",
    ["", "pid 1 since 2020-01-01T00:00:00Z\n", "pid 1\nnonsense\n", "pid 1\n99999999.000\n", "\n"],
    ids=["nothing", "an-older-version", "nonsense", "another-boot", "empty-line"],
)
def test_of_a_holder_that_does_not_say_when_it_got_on_nobody_says_that_it_hangs(tmp_path, left):
    path, machine = tmp_path / "alerting.db", FakeMonotonic()
    with StateLock(path, now=T0, monotonic=machine):
        (tmp_path / "alerting.db.lock").write_text(left)
        machine.now += 9999
        with pytest.raises(StateBusyError), StateLock(path, now=T0, monotonic=machine):
            pass


def test_a_block_that_hangs_ends_the_process_after_its_last_words():
    said, codes, gate = [], [], threading.Event()
    limit = timedelta(seconds=0.02)
    with HardEnd(limit, last_words=said.append, exit_now=lambda c: (codes.append(c), gate.set())):
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
    with HardEnd(timedelta(seconds=0.05), last_words=lambda _: None, exit_now=codes.append):
        pass
    threading.Event().wait(0.1)
    assert codes == []
