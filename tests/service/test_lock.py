"""One process at a time works on a state file, and one that hangs is seen."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import timedelta

import pytest

from alerting.errors import StateBusyError, StoreError
from alerting.service.lock import HolderHangsError, StateLock
from alerting.store.state import HOLDER, Store, holder_of
from tests.support.factories import T0
from tests.support.fakes import FakeMonotonic


def assert_busy(path, words="pid"):
    with pytest.raises(StateBusyError, match=words), StateLock(path, now=T0):
        pass


def assert_free(path):
    with StateLock(path, now=T0):
        pass


def hard_link(path, folder):
    other = folder / "hard.db"
    other.hardlink_to(path)
    return other


def symbolic_link(path, folder):
    other = folder / "soft.db"
    other.symlink_to(path)
    return other


def relative_link_to_a_link(path, folder):
    (folder / "sub").mkdir()
    other = folder / "sub" / "soft.db"
    other.symlink_to("../soft.db")
    symbolic_link(path, folder)
    return other


def linked_folder(path, folder):
    (folder / "elsewhere").symlink_to(path.parent)
    return folder / "elsewhere" / path.name


def dotted(path, folder):
    return folder / "." / ".." / folder.name / path.name


NAMES = [symbolic_link, relative_link_to_a_link, linked_folder, dotted]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "alerting.db"
    Store(path).close()
    return path


def test_only_one_process_holds_the_lock(path):
    with StateLock(path, now=T0):
        assert_busy(path, rf"\(pid {os.getpid()} since 2026-01-01T00:00:00Z\); nothing was done")
    assert_free(path)


def test_a_file_that_is_not_there_yet_is_locked_all_the_same(tmp_path):
    path = tmp_path / "new.db"
    with StateLock(path, now=T0):
        assert_busy(path)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_locked_under_each_of_its_names(path, tmp_path, name):
    other = name(path, tmp_path)
    with StateLock(path, now=T0):
        assert_busy(other, rf"pid {os.getpid()} since 2026")
    with StateLock(other, now=T0):
        assert_busy(path, rf"pid {os.getpid()} since 2026")
    assert_free(path)


def test_a_link_to_a_file_that_is_not_there_yet_has_its_lock(tmp_path):
    path = tmp_path / "new.db"
    other = symbolic_link(path, tmp_path)
    with StateLock(other, now=T0):
        assert_busy(path)


def test_a_hard_link_is_the_same_file_and_the_file_says_who_holds_it(path, tmp_path):
    other = hard_link(path, tmp_path)
    with StateLock(path, now=T0) as lock:
        assert_busy(other, "unknown")
        store = Store(path)
        store.set_meta(HOLDER, lock.owner)
        store.close()
        holder = holder_of(other)
        with pytest.raises(StateBusyError, match=lock.owner):
            with StateLock(other, now=T0, holder=lambda: holder):
                pass
    assert_free(other)


@pytest.mark.parametrize("content", [None, b"", b"no database at all" * 99])
def test_a_file_that_says_nothing_names_nobody(tmp_path, content):
    path = tmp_path / "a%3f?#.db"
    if content is not None:
        path.write_bytes(content)
    assert holder_of(path) is None
    assert path.exists() is (content is not None)


def test_a_lock_file_that_was_deleted_is_no_hole(path):
    with StateLock(path, now=T0):
        path.with_name("alerting.db.lock").unlink()
        assert_busy(path, "unknown")
        assert_busy(path, "unknown")  # under the new lock file too
    assert_free(path)


def test_a_lock_file_that_is_a_link_is_not_followed(path, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious" * 9, encoding="utf-8")
    path.with_name("alerting.db.lock").symlink_to(precious)
    with pytest.raises(StoreError, match="lock file"), StateLock(path, now=T0):
        pass
    assert precious.read_text(encoding="utf-8") == "precious" * 9


@pytest.mark.parametrize("suffix", ["", ".lock"])
@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_an_error_and_hangs_nobody(tmp_path, suffix, kind):
    path = tmp_path / "alerting.db"
    wrong = tmp_path / f"alerting.db{suffix}"
    if kind == "pipe":
        os.mkfifo(wrong)
    else:
        wrong.mkdir()
    with pytest.raises(StoreError, match=r"regular file|Is a directory"), StateLock(path, now=T0):
        pass
    if suffix:
        wrong.rmdir() if kind == "folder" else wrong.unlink()
        assert_free(path)


_HOLD = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from alerting.service.lock import StateLock
from alerting.store.state import Store
path = Path(sys.argv[1])
with StateLock(path, now=datetime.now(UTC)):
    store = Store(path)
    print("held", flush=True)
    number = 0
    while True:
        number += 1
        store.set_meta("number", str(number))
        time.sleep(0.01)  # SQLite queues nobody: a writer without a break lets no other in
"""


@pytest.mark.process
@pytest.mark.parametrize("name", [hard_link, symbolic_link])
def test_a_killed_holder_frees_it_and_sqlite_works_beneath_it(path, tmp_path, name):
    """The lock on the file keeps none of SQLite's, and loses none of them."""
    other = name(path, tmp_path)
    for _ in range(3):
        holder = subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert holder.stdout.readline() == "held\n"
        assert_busy(other, "unknown" if name is hard_link else f"pid {holder.pid}")
        store = Store(path)
        seen = set()
        while len(seen) < 20:
            seen.add(store.meta("number"))
            store.set_meta("ours", "written")
        holder.send_signal(signal.SIGKILL)
        holder.communicate(timeout=20)
        assert_free(other)
        assert store.meta("ours") == "written"
        store.close()
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


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


# ── the lock file is not the holder's any more ────────────────────────────────


def moved_away(path):
    """Its folder is renamed, and a copy of the state is put in its place."""
    old = path.parent.with_name("old")
    path.parent.rename(old)
    path.parent.mkdir()
    path.write_bytes((old / path.name).read_bytes())


LOSSES = {
    "deleted": lambda path: lock_file(path).unlink(),
    "replaced": lambda path: replace(lock_file(path), b"pid 1\n"),
    "emptied-and-replaced": lambda path: replace(lock_file(path), b""),
}


def lock_file(path):
    return path.with_name(path.name + ".lock")


def replace(path, content):
    other = path.with_name("other")
    other.write_bytes(content)
    other.replace(path)


def seen_by_another(path, machine):
    """What a second process is told."""
    with pytest.raises((StateBusyError, HolderHangsError)) as caught:
        with StateLock(path, now=T0, monotonic=machine):
            pass
    return caught.value


@pytest.fixture
def machine():
    return FakeMonotonic()


@pytest.fixture
def housed(tmp_path):
    """A state file in a folder of its own."""
    path = tmp_path / "state" / "alerting.db"
    path.parent.mkdir()
    Store(path).close()
    return path


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
def test_a_holder_that_hangs_is_seen_whatever_became_of_its_lock_file(housed, machine, lose):
    with StateLock(housed, now=T0, monotonic=machine):
        lose(housed)
        for _ in range(5):
            assert isinstance(seen_by_another(housed, machine), StateBusyError)
            machine.now += 60
        error = seen_by_another(housed, machine)
    assert isinstance(error, HolderHangsError)
    assert error.lasting == timedelta(minutes=5)
    assert_free(housed)


def test_a_lock_file_that_vanishes_again_and_again_hides_no_holder_that_hangs_for_5_minutes_more(
    housed, machine
):
    with StateLock(housed, now=T0, monotonic=machine):
        for _ in range(2):
            lock_file(housed).unlink()
            assert isinstance(seen_by_another(housed, machine), StateBusyError)
            machine.now += 299
        machine.now += 1
        assert isinstance(seen_by_another(housed, machine), HolderHangsError)


def test_on_a_full_disk_the_clock_must_do(housed, machine, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with StateLock(housed, now=T0, monotonic=machine):
        lock_file(housed).unlink()
        monkeypatch.setattr("alerting.service.lock.os.pwrite", full)
        assert isinstance(seen_by_another(housed, machine), StateBusyError)
        long_ago = time.time() - 301
        os.utime(housed, (long_ago, long_ago))
        assert isinstance(seen_by_another(housed, machine), HolderHangsError)


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
def test_a_holder_that_gets_on_takes_its_lock_file_back(housed, machine, lose):
    with StateLock(housed, now=T0, monotonic=machine) as holder:
        lose(housed)
        seen_by_another(housed, machine)
        assert holder.renew()
        assert f"pid {os.getpid()} since" in str(seen_by_another(housed, machine))
        machine.now += 300
        assert isinstance(seen_by_another(housed, machine), HolderHangsError)


def test_a_holder_that_gets_on_under_another_name_does_not_hang(
    housed, tmp_path, machine, monkeypatch
):
    other, utime = hard_link(housed, tmp_path), os.utime
    # the time stamps of a file system are coarse, and the machine's hours are moments here
    monkeypatch.setattr(
        "alerting.service.lock.os.utime", lambda fd: utime(fd, ns=(0, int(machine.now) * 10**9))
    )
    with StateLock(housed, now=T0, monotonic=machine) as holder:
        for _ in range(20):
            machine.now += 60
            holder.renew()
            assert isinstance(seen_by_another(other, machine), StateBusyError)
        for _ in range(4):
            machine.now += 60
            assert isinstance(seen_by_another(other, machine), StateBusyError)
        machine.now += 60
        assert isinstance(seen_by_another(other, machine), HolderHangsError)


def test_a_mark_of_another_boot_says_nothing(housed, machine):
    with StateLock(housed, now=T0, monotonic=machine):
        stamp = housed.stat().st_mtime_ns
        replace(lock_file(housed), f"\nbehind {stamp} 99999999.000\n".encode())
        assert isinstance(seen_by_another(housed, machine), StateBusyError)


def test_a_state_file_that_was_replaced_is_locked_too(housed, machine):
    with StateLock(housed, now=T0, monotonic=machine) as holder:
        replace(housed, housed.read_bytes())
        assert holder.renew()
        lock_file(housed).unlink()
        assert isinstance(seen_by_another(housed, machine), StateBusyError)
    assert_free(housed)


def test_a_state_file_that_was_replaced_and_put_back_is_still_ours(housed, machine):
    """Our own lock on the file of before is no other process, and no handle is left over."""
    away = housed.with_name("away.db")
    with StateLock(housed, now=T0, monotonic=machine) as holder:
        handles = len(os.listdir("/proc/self/fd"))
        for _ in range(2):
            housed.rename(away)
            housed.write_bytes(b"garbage")
            assert holder.renew()
            away.replace(housed)
            assert holder.renew()
        assert len(os.listdir("/proc/self/fd")) == handles
        assert isinstance(seen_by_another(housed, machine), StateBusyError)
    assert_free(housed)


def test_a_holder_whose_folder_was_replaced_by_a_copy_holds_that_too(housed, machine):
    with StateLock(housed, now=T0, monotonic=machine) as holder:
        moved_away(housed)
        assert holder.renew()
        assert isinstance(seen_by_another(housed, machine), StateBusyError)
    assert_free(housed)


def test_of_two_processes_that_came_to_one_state_the_first_one_sees_it(housed, machine):
    with StateLock(housed, now=T0, monotonic=machine) as first:
        moved_away(housed)
        with StateLock(housed, now=T0, monotonic=machine) as second:
            assert not first.renew()
            assert not first.renew()
            assert second.renew()


def test_without_locks_on_files_themselves_the_lock_file_says_it(housed, machine, monkeypatch):
    monkeypatch.setattr("alerting.service.lock._LOCK_BYTES", None)
    with StateLock(housed, now=T0, monotonic=machine) as first:
        lock_file(housed).unlink()
        with StateLock(housed, now=T0, monotonic=machine) as second:
            assert not first.renew()
            assert second.renew()
        assert first.renew()


@pytest.mark.parametrize("there", ["nothing", "a-folder", "a-link"])
def test_a_lock_file_that_cannot_be_made_anew_is_no_reason_to_end(housed, machine, there, tmp_path):
    with StateLock(housed, now=T0, monotonic=machine) as holder:
        lock_file(housed).unlink()
        if there == "nothing":
            housed.parent.rename(tmp_path / "gone")
        elif there == "a-folder":
            lock_file(housed).mkdir()
        else:
            lock_file(housed).symlink_to(tmp_path / "nowhere")
        assert holder.renew()
    assert not (tmp_path / "nowhere").exists()
