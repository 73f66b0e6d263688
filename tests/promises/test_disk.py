"""A state file that cannot be used: full disk, lock, read-only, deleted, replaced, garbage.

Each time: one clear sentence, no traceback, nothing lost, and on it goes by itself when it can.
"""

from __future__ import annotations

import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest

from alerting.errors import StoreError
from alerting.messages.rendering import Renderer
from alerting.notify.dispatcher import Dispatcher, ReceiverWorker
from alerting.notify.settings import ReceiverSettings
from alerting.redaction import Secret
from alerting.sandbox.exchange import LoopbackExchange
from alerting.sandbox.inbox import Inbox
from alerting.service.cycle import Cycle
from alerting.service.lock import StateLock
from alerting.store.migrations import APPLICATION_ID
from alerting.store.state import Store
from tests.support.crash import Manner, Receiver
from tests.support.desk import Desk, falling, wait_until
from tests.support.factories import (
    T0,
    WARNING,
    make_rule,
    make_ruleset,
    make_snapshot,
    make_threshold,
    make_wallet,
)
from tests.support.fakes import FakeClock, FakeNotifier, poll_of

pytestmark = pytest.mark.process

IMPATIENT = """
import sys
from datetime import timedelta
from alerting.store.state import Store
Store.__init__.__kwdefaults__["busy_timeout"] = timedelta(milliseconds=100)
from alerting.cli.main import main
sys.exit(main())
"""
NOT_JUDGED = "alerts are NOT judged"


class Disk:
    """A folder for the state file, on a disk that can be full."""

    def __init__(self, folder, ballast=None):
        self.folder, self._ballast = folder, ballast
        self.state = folder / "alerting.db"

    def fill(self, process=None):
        if self._ballast is None:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            return
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    continue

    def free(self, process=None):
        if self._ballast is None:
            infinite = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, infinite)
            return
        self._ballast.unlink()


@pytest.fixture
def tmpfs(tmp_path):
    """A real disk of half a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs", str(folder)]
    mounted = shutil.which("mount") and subprocess.run(command, check=False, capture_output=True)
    if not mounted or mounted.returncode:
        pytest.skip("a file system cannot be mounted here")
    yield Disk(folder, folder / "ballast")
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(params=["tmpfs", "file-size-limit"])
def disk(request, tmp_path):
    if request.param == "tmpfs":
        return request.getfixturevalue("tmpfs")
    folder = tmp_path / "limited"
    folder.mkdir()
    return Disk(folder)


class Office(Desk):
    """The program with its state on a disk of the test's; ends what it started."""

    def __init__(self, folder, exchange, inbox):
        super().__init__(folder, exchange, inbox)
        self.started, self.lines, self.readers = [], [], []
        (folder / "tmp").mkdir()
        self.exchange.wallet = falling("2000")
        self.write(interval="30ms", blind_after="400ms")

    def environ(self, **more):
        return super().environ(**{"TMPDIR": str(self.folder / "tmp"), **more})

    def daemon(self, state, **environ):
        """The daemon, after its first commit."""
        process = subprocess.Popen(
            [sys.executable, "-c", IMPATIENT, "-c", str(self.path), "--state", str(state), "run"],
            cwd=self.folder,
            env=self.environ(**environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        # through a pipe: a log file would be subject to the limit on the size of files
        reader = threading.Thread(target=self.lines.extend, args=(process.stdout,))
        reader.start()
        self.readers.append(reader)
        polls = len(self.exchange.requests)
        wait_until(lambda: len(self.exchange.requests) > polls + 2 or process.poll() is not None)
        return process

    def said(self):
        return "".join(self.lines)

    def fall(self, available):
        self.exchange.wallet = falling(available)

    def stop(self, process):
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        self.readers[-1].join()
        assert "Traceback" not in self.said()

    def about(self, what, box="desk"):
        return [title for title in self.titles(box) if what in title]

    def close(self):
        for process in self.started:
            process.kill()
            process.wait()
        for process, reader in zip(self.started, self.readers, strict=True):
            reader.join()
            process.stdout.close()


@pytest.fixture
def office(tmp_path):
    with LoopbackExchange() as exchange, Inbox() as inbox:
        work = Office(tmp_path, exchange, inbox)
        yield work
        work.close()


# ── full ────────────────────────────────────────────────────────────────────


def test_the_daemon_goes_on_when_a_full_disk_has_room_again(office, disk):
    daemon = office.daemon(disk.state)
    disk.fill(daemon)
    office.fall("900")
    for box in ("desk", "phone"):
        wait_until(lambda box=box: office.about(NOT_JUDGED, box))
    assert str(disk.state) in office.inbox.received[0].message
    assert office.about("available-balance-floor") == []
    time.sleep(0.2)
    disk.free(daemon)
    wait_until(lambda: office.about("available-balance-floor"))
    wait_until(lambda: len(office.about(NOT_JUDGED)) == 2)
    first, last = office.about(NOT_JUDGED)
    assert (first.split()[0], last.split()[0]) == ("CRITICAL", "RESOLVED")
    office.fall("2000")
    wait_until(lambda: len(office.about("available-balance-floor")) == 2)
    office.stop(daemon)
    assert "this poll is not judged" in office.said()


def test_a_short_fullness_is_logged_and_tells_nobody(office, disk):
    office.write(interval="30ms", blind_after="1h")
    daemon = office.daemon(disk.state)
    disk.fill(daemon)
    office.fall("900")
    wait_until(lambda: "this poll is not judged" in office.said())
    disk.free(daemon)
    wait_until(lambda: office.about("available-balance-floor"))
    office.stop(daemon)
    assert office.about(NOT_JUDGED) == []


def test_an_accepted_message_that_cannot_be_booked_is_booked_later_and_not_sent_twice(office, disk):
    started = []

    def accept_on_a_full_disk():
        disk.fill(started[0])
        return Manner.ACCEPT

    receiver = Receiver("desk", manner=accept_on_a_full_disk)
    try:
        started.append(office.daemon(disk.state, DESK_URL=receiver.url))
        office.fall("900")
        wait_until(lambda: "trying again" in office.said())
        disk.free(started[0])
        wait_until(lambda: "attempt 1: accepted" in office.said())
        office.stop(started[0])
        code = office.run("status", "--state", str(disk.state))[0]
    finally:
        receiver.close()
    about = [text for text in receiver.messages if "available-balance-floor" in text]
    assert (len(about), code) == (1, 0)
    assert "possible repeat" not in about[0]


def test_cron_on_a_full_disk_says_so_and_loses_nothing(office, tmpfs):
    command = ("run", "--once", "--state", str(tmpfs.state))
    assert office.run(*command)[0] == 0
    tmpfs.fill()
    office.fall("900")
    code, out, err = office.run(*command)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == f"alerting: state file {tmpfs.state}: database or disk is full"
    assert office.titles() == []
    wait_until(lambda: office.run(*command)[0] == 1 and office.about(NOT_JUDGED))
    office.run(*command)
    assert len(office.about(NOT_JUDGED, "phone")) == 1
    tmpfs.free()
    assert office.run(*command)[0] == 0
    assert len(office.about("available-balance-floor")) == 1
    wait_until(lambda: len(office.about(NOT_JUDGED)) == 2)
    assert sorted(p.name for p in tmpfs.folder.iterdir()) == [
        "alerting.db", "alerting.db-journal", "alerting.db.lock",
    ]  # fmt: skip


def test_status_works_on_a_full_disk(office, tmpfs):
    state = str(tmpfs.state)
    office.fall("900")
    office.run("run", "--once", "--state", state)
    tmpfs.fill()
    code, out, _ = office.run("status", "--state", state)
    assert code == 0
    assert "available-balance-floor" in out


def test_the_lock_works_on_a_full_disk(tmpfs):
    tmpfs.fill()
    with StateLock(tmpfs.state, now=T0):
        assert (tmpfs.folder / "alerting.db.lock").exists()


# ── locked ──────────────────────────────────────────────────────────────────


@pytest.fixture
def lock():
    """Holds a write transaction on a state file from another connection."""
    connections = []

    def hold(path):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connections.append(connection)
        connection.execute("BEGIN IMMEDIATE")
        return connection

    yield hold
    for connection in connections:
        connection.close()


def test_a_locked_store_is_an_error_within_its_patience_and_works_afterwards(tmp_path, lock):
    path = tmp_path / "alerting.db"
    store = Store(path, busy_timeout=timedelta(milliseconds=100))
    holder = lock(path)
    began = time.monotonic()
    with pytest.raises(StoreError, match="database is locked"):
        store.recover()
    assert 0.05 < time.monotonic() - began < 2
    holder.execute("ROLLBACK")
    assert store.recover() == 0
    store.close()


def test_a_lock_shorter_than_the_patience_is_no_error(tmp_path, lock):
    path = tmp_path / "alerting.db"
    store = Store(path, busy_timeout=timedelta(seconds=10))
    holder = lock(path)
    timer = threading.Timer(0.15, holder.execute, args=("ROLLBACK",))
    timer.start()
    assert store.recover() == 0
    timer.join()
    store.close()


def test_the_daemon_goes_on_when_a_lock_is_gone(office, tmp_path, lock):
    state = tmp_path / "alerting.db"
    daemon = office.daemon(state)
    holder = lock(state)
    office.fall("900")
    wait_until(lambda: office.about(NOT_JUDGED))
    assert "database is locked" in office.said()
    holder.execute("ROLLBACK")
    wait_until(lambda: office.about("available-balance-floor"))
    wait_until(lambda: len(office.about(NOT_JUDGED)) == 2)
    office.stop(daemon)


def test_what_is_committed_goes_out_though_the_file_is_locked_just_then(tmp_path, monkeypatch):
    """The commit went well, the look at what is due did not: nobody may wait for the next alert."""
    store, desk, clock = Store(tmp_path / "alerting.db"), FakeNotifier(), FakeClock()
    worker = ReceiverWorker(
        ReceiverSettings(name="desk", url=Secret("json://127.0.0.1/")),
        store=store,
        renderer=Renderer(overrides=None),
        build=lambda _: desk,
        clock=clock,
    )
    dispatcher = Dispatcher({"desk": worker}, store=store, clock=clock)
    ruleset = make_ruleset(make_rule("floor", "total_balance", make_threshold(WARNING, "5000")))
    cycle = Cycle(ruleset=ruleset, store=store, dispatcher=dispatcher, clock=clock)
    asked, next_due = [], store.next_due

    def locked_once(name):
        asked.append(name)
        if len(asked) == 1:
            raise StoreError("database is locked")
        return next_due(name)

    monkeypatch.setattr(store, "next_due", locked_once)
    cycle.judge(poll_of(make_snapshot(make_wallet("900"))))
    wait_until(lambda: len(desk.sent) == 1, seconds=5)
    dispatcher.stop()
    assert dispatcher.drain(seconds=5)
    store.close()


# ── read-only ───────────────────────────────────────────────────────────────


def immutable(path):
    """Even root cannot change it."""
    chattr = shutil.which("chattr")
    command = [chattr, "+i", str(path)]
    if not chattr or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("chattr +i does not work here, and root may write whatever the mode says")


@pytest.fixture
def release():
    paths = []
    yield paths.append
    for path in paths:
        subprocess.run(["chattr", "-i", str(path)], check=False, capture_output=True)


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        pytest.param(
            "folder", "alerting: lock file {state}.lock: Operation not permitted", id="folder"
        ),
        pytest.param("file", "alerting: state file {state}: Operation not permitted", id="file"),
    ],
)
def test_what_may_not_be_written_is_a_sentence(office, tmp_path, release, what, sentence):
    folder = tmp_path / "state"
    folder.mkdir()
    state = folder / "alerting.db"
    if what == "file":
        assert office.run("run", "--once", "--state", str(state))[0] == 0
    path = state if what == "file" else folder
    release(path)
    immutable(path)
    code, out, err = office.run("run", "--once", "--state", str(state))
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == sentence.format(state=state)


def test_a_read_only_disk_is_told_once_an_hour_by_cron(office, tmpfs):
    """The stamps go to the folder for temporary files."""
    subprocess.run(["mount", "-o", "remount,ro", str(tmpfs.folder)], check=True)
    command = ("run", "--once", "--state", str(tmpfs.state))
    code, _, err = office.run(*command)
    assert code == 1
    assert err.splitlines()[-1] == f"alerting: lock file {tmpfs.state}.lock: Read-only file system"
    assert office.titles() == []
    wait_until(lambda: office.run(*command)[0] == 1 and office.titles())
    office.run(*command)
    assert len(office.titles()) == 1
    assert len(list((office.folder / "tmp").iterdir())) == 2
    subprocess.run(["mount", "-o", "remount,rw", str(tmpfs.folder)], check=True)
    assert office.run(*command)[0] == 0
    wait_until(lambda: len(office.titles()) == 2)
    assert list((office.folder / "tmp").iterdir()) == []


def test_the_daemon_on_a_read_only_disk_ends_with_a_sentence(office, tmpfs):
    subprocess.run(["mount", "-o", "remount,ro", str(tmpfs.folder)], check=True)
    code, out, err = office.run("run", "--state", str(tmpfs.state))
    assert (code, out) == (1, "")
    assert "Read-only file system" in err


# ── deleted, replaced, garbage ──────────────────────────────────────────────


def test_a_deleted_state_file_is_written_anew_with_everything_in_it(office, tmp_path):
    state = tmp_path / "alerting.db"
    daemon = office.daemon(state)
    office.fall("900")
    wait_until(lambda: len(office.titles()) == 1)
    state.unlink()
    wait_until(state.exists)
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    office.fall("2000")
    wait_until(lambda: len(office.titles()) == 2)
    assert [title.split()[0] for title in office.titles()] == ["WARNING", "RESOLVED"]
    assert "was deleted" in office.said()
    office.stop(daemon)
    assert office.run("status", "--state", str(state))[1].count("sent") >= 1
    assert sorted(p.name for p in tmp_path.glob("alerting.db*")) == [
        "alerting.db", "alerting.db-journal", "alerting.db.lock",
    ]  # fmt: skip


def test_a_deleted_folder_is_told_and_filled_again_when_it_is_back(office, tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    daemon = office.daemon(folder / "alerting.db")
    office.fall("900")
    wait_until(lambda: len(office.titles()) == 1)
    shutil.rmtree(folder)
    wait_until(lambda: office.about(NOT_JUDGED))
    folder.mkdir()
    office.fall("2000")
    wait_until(lambda: len(office.about("available-balance-floor")) == 2)
    wait_until(lambda: len(office.about(NOT_JUDGED)) == 2)
    office.stop(daemon)


def test_garbage_in_place_of_the_state_file_is_told_until_a_good_one_is_there(office, tmp_path):
    state, kept = tmp_path / "alerting.db", tmp_path / "kept.db"
    daemon = office.daemon(state)
    office.fall("900")
    wait_until(lambda: len(office.titles()) == 1)
    shutil.copy(state, kept)
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"this is no database " * 500)
    garbage.replace(state)
    wait_until(lambda: office.about(NOT_JUDGED))
    assert "file is not a database" in office.said()
    kept.replace(state)
    office.fall("2000")
    wait_until(lambda: len(office.about("available-balance-floor")) == 2)
    office.stop(daemon)
    assert "was replaced" in office.said()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(b"this is no database " * 500, "file is not a database", id="garbage"),
        pytest.param(
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 99",
            "schema 99",
            id="a-newer-version",
        ),
        pytest.param("CREATE TABLE t (x)", "database of another program", id="of-another-program"),
    ],
)
def test_a_state_file_that_cannot_be_read_is_a_sentence(office, tmp_path, content, sentence):
    state = tmp_path / "alerting.db"
    if isinstance(content, str):
        connection = sqlite3.connect(state)
        connection.executescript(content)
        connection.close()
    else:
        state.write_bytes(content)
    for command in (["run", "--once"], ["run"], ["status"]):
        code, out, err = office.run(*command, "--state", str(state))
        assert (code, out) == (1, "")
        assert sentence in err.splitlines()[-1]


def test_a_record_that_cannot_be_read_is_a_sentence(office, tmp_path):
    state = tmp_path / "alerting.db"
    office.fall("900")
    assert office.run("run", "--once")[0] == 0
    connection = sqlite3.connect(state)
    connection.execute("UPDATE alerts SET document = '{}'")
    connection.commit()
    connection.close()
    code, _, err = office.run("run", "--once")
    assert code == 1
    assert "account 'main' cannot be read" in err.splitlines()[-1]


class Books:
    """A store with one message that waits."""

    def __init__(self, path):
        self.path = path
        self.store = Store(path)
        rule = make_rule("floor", "total_balance", make_threshold(WARNING, "5000"))
        ruleset, clock = make_ruleset(rule), FakeClock()
        dispatcher = Dispatcher({}, store=self.store, clock=clock)
        Cycle(ruleset=ruleset, store=self.store, dispatcher=dispatcher, clock=clock).judge(
            poll_of(make_snapshot(make_wallet("900")))
        )

    def replace_with_a_copy(self):
        copy = self.path.with_name("copy.db")
        shutil.copy(self.path, copy)
        copy.replace(self.path)


@pytest.fixture
def books(tmp_path):
    work = Books(tmp_path / "alerting.db")
    yield work
    work.store.close()


def test_what_waits_in_a_replaced_file_may_be_a_repeat(books):
    books.replace_with_a_copy()
    assert books.store.claim("desk", now=T0).maybe_sent


@pytest.mark.parametrize("verdict", ["sent", "dead", "retry", "simplified"])
def test_a_result_is_not_booked_in_a_file_that_was_replaced_meanwhile(books, verdict):
    row = books.store.claim("desk", now=T0)
    books.replace_with_a_copy()
    if verdict == "retry":
        books.store.mark_retry(row, reason="?", next_at=T0 + timedelta(hours=9), maybe_sent=False)
    else:
        getattr(books.store, f"mark_{verdict}")(row, reason="?", now=T0)
    again = books.store.claim("desk", now=T0)
    assert (again.id, again.maybe_sent, again.simplified) == (row.id, True, False)


def test_a_message_that_is_being_sent_while_the_file_is_deleted_is_booked(books):
    row = books.store.claim("desk", now=T0)
    books.path.unlink()
    books.store.mark_sent(row, reason="ok", now=T0)
    assert books.store.receiver_statuses()["desk"].sent == 1
    assert books.path.exists()
