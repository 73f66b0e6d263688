"""A real state file, damaged in many ways, and the program started on it.

Used by tests/promises/test_mutations.py and bench/mutations.py.

The wallet is in trouble before and after, one message waits for the phone. So whatever the damage:
either the program works, the alert fires and the phone is told, or it ends with one clear sentence
and, as that lasts, all receivers are told directly. Nothing may be told as resolved.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import shutil
import sqlite3
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alerting.config.load import load_config
from alerting.engine import evaluation
from alerting.engine.model import Ack, Severity, Silence
from alerting.engine.snapshot import Poll
from alerting.exchanges.coinswitch.answers import parse_wallet
from alerting.sandbox.exchange import LoopbackExchange, wallet_body
from alerting.sandbox.inbox import Inbox
from alerting.store.state import Store
from tests.support.desk import Desk, QuickDesk
from tests.support.mutated_answers import encode
from tests.support.mutations import Figures, HangError, deadline
from tests.support.rules_files import ENVIRON

#: of so many damages one is met by a real process
_PROCESS = 10
#: `blind_after`: for so long a start must fail before all are told directly
_LASTS = 0.1
_MORE_RULES = """\
  - {name: load, per: symbol, value: position_margin, above: {warning: 300, critical: 700}}
  - {name: quiet, per: wallet, value: total_balance, below: 1}
  - {name: rise, per: symbol, value: "delta(position_margin, 5m)", above: 10000}
  - {name: peak, per: wallet, value: "max_over_time(total_balance, 1h)", above: 10000}
"""
DAMAGE_VERDICTS = (
    "tracebacks",
    "hangs",
    "false resolves",
    "silence",
    "wrong exit codes",
    "errors without a clear sentence",
    "works, but the alert does not fire",
    "fails for good, and nobody is told directly",
)

_TROUBLE = wallet_body(total="2000", rows={"BTCUSDT": ("1700", "0"), "ETHUSDT": ("100", "0")})
_CALM = wallet_body(total="2000", rows={"BTCUSDT": ("200", "0"), "ETHUSDT": ("100", "0")})


# ── the state file ──────────────────────────────────────────────────────────


def make_state(desk: Desk, exchange: LoopbackExchange) -> bytes:
    """History, alerts, what was told, an acknowledgement, a silence, a message that waits."""
    path = desk.folder / "alerting.db"
    ruleset = load_config(desk.path, environ=_environ(desk)).ruleset
    store = Store(path)
    at = datetime.now(UTC) - timedelta(minutes=30)
    for number in range(60):
        body = encode(_TROUBLE if 5 <= number % 20 < 10 else _CALM)
        at += timedelta(seconds=15)
        snapshot = parse_wallet(body.encode(), account="main", observed_at=at)
        poll = Poll(at=at, account="main", body=body, outcome=snapshot)

        def judge(memory, snapshot=snapshot, at=at):
            return evaluation.evaluate(ruleset, memory, snapshot, now=at)

        store.evaluate("main", judge, poll=poll)
        for receiver in ("desk", "phone"):
            while (row := store.claim(receiver, now=at)) is not None:
                store.mark_sent(row, reason="ok", now=at)
    store.close()
    for wallet in (_CALM, _TROUBLE, _TROUBLE):
        exchange.wallet = wallet
        desk.run("run", "--once", PHONE_URL="json://127.0.0.1:1/nobody")
    _add_wishes(path)
    return path.read_bytes()


def _add_wishes(path: Path) -> None:
    store, now = Store(path), datetime.now(UTC)
    quiet = Silence(
        id=0,
        matchers={"rule": "quiet"},
        starts_at=now,
        ends_at=now + timedelta(hours=1),
        author="a",
        reason="r",
    )
    store.add_silence(quiet)
    loads = [a for a in store.memory("main").alerts.values() if a.rule == "load" and a.severity]
    ack = Ack(
        fingerprint=loads[0].fingerprint,
        episode=loads[0].episode,
        severity=Severity.CRITICAL,
        at=now,
        author="a",
    )
    store.acknowledge(ack)
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        # what waits for the phone is due now
        connection.execute("UPDATE outbox SET next_at = created_at WHERE status = 'pending'")
        connection.execute("UPDATE receivers SET not_before = 0")
        connection.commit()
        waiting = "SELECT COUNT(*) FROM outbox WHERE status = 'pending' AND receiver = 'phone'"
        assert connection.execute(waiting).fetchone()[0] > 0


def _environ(desk: Desk) -> dict[str, str]:
    return {**ENVIRON, **desk.environ()}


# ── damages ─────────────────────────────────────────────────────────────────

Damage = Callable[[random.Random, Path], str]


def _flip(rng: random.Random, path: Path) -> str:
    content, count = bytearray(path.read_bytes()), rng.choice([1, 10, 300])
    for _ in range(count):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"{count} bits"


def _flip_header(rng: random.Random, path: Path) -> str:
    content, at = bytearray(path.read_bytes()), rng.randrange(108)
    content[at] = rng.randrange(256)
    path.write_bytes(content)
    return f"byte {at}"


def _truncate(rng: random.Random, path: Path) -> str:
    size = rng.choice([0, 1, 99, 512, 4096, rng.randrange(path.stat().st_size)])
    os.truncate(path, size)
    return f"to {size}"


def _pages(path: Path) -> list[bytes]:
    content = path.read_bytes()
    return [content[at : at + 4096] for at in range(0, len(content), 4096)]


def _spoil_pages(rng: random.Random, path: Path) -> str:
    """Some pages are zeros, noise, or another page."""
    pages = _pages(path)
    hit = rng.sample(range(len(pages)), min(len(pages), rng.choice([1, 1, 3, 10])))
    for number in hit:
        noise = rng.randbytes(4096)
        pages[number] = rng.choice([bytes(4096), noise, pages[rng.randrange(len(pages))]])
    path.write_bytes(b"".join(pages))
    return f"pages {hit}"


def _swap_pages(rng: random.Random, path: Path) -> str:
    pages = _pages(path)
    one, other = rng.sample(range(len(pages)), 2)
    pages[one], pages[other] = pages[other], pages[one]
    path.write_bytes(b"".join(pages))
    return f"pages {one} and {other}"


@contextlib.contextmanager
def _sql(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        yield connection
        connection.commit()


_DOCUMENTS = (
    ("accounts", "document"),
    ("alerts", "document"),
    ("outbox", "notification"),
    ("silences", "matchers"),
    ("history", "body"),
    ("meta", "value"),
    ("notified", "severity"),
    ("notified", "episode"),
    ("notified", "notified_at"),
    ("notified", "value"),
    ("acks", "severity"),
    ("acks", "acked_at"),
    ("outbox", "created_at"),
    ("outbox", "next_at"),
    ("outbox", "status"),
    ("outbox", "severity"),
    ("accounts", "evaluated_at"),
    ("transitions", "severity"),
    ("receivers", "not_before"),
    ("receivers", "sent"),
)
_CONTENTS = (
    "''",
    "'[]'",
    "'{}'",
    "'null'",
    "7",
    "-9000000000000000000",
    "9000000000000000000",
    "1.5",
    "x'00ff'",
    "CAST(x'7bff7d' AS TEXT)",
    "'' || {column} || 'x'",
    "substr({column}, 1, length({column}) / 2)",
    "replace({column}, '2', '９')",
    "replace({column}, ':', '')",
    "replace({column}, 'firing', 'inactive')",
    "replace({column}, 'main', 'mian')",
    "upper({column})",
)


def _spoil_content(rng: random.Random, path: Path) -> str:
    table, column = rng.choice(_DOCUMENTS)
    content = rng.choice(_CONTENTS).replace("{column}", column)
    statement = f"UPDATE {table} SET {column} = {content}"
    with _sql(path) as connection:
        try:
            connection.execute(statement)
        except sqlite3.IntegrityError:
            # they may not all have the same
            statement += f" WHERE rowid = (SELECT MIN(rowid) FROM {table})"
            connection.execute(statement)
    return statement


def _drop_table(rng: random.Random, path: Path) -> str:
    with _sql(path) as connection:
        found = connection.execute("SELECT type, name FROM sqlite_master WHERE sql IS NOT NULL")
        kind, name = rng.choice(found.fetchall())
        statement = rng.choice([f"DROP {kind} {name}", f"ALTER TABLE {name} RENAME TO other"])
        if kind == "index":
            statement = f"DROP {kind} {name}"
        connection.execute(statement)
    return statement


def _empty_table(rng: random.Random, path: Path) -> str:
    with _sql(path) as connection:
        tables = (
            "accounts",
            "alerts",
            "notified",
            "silences",
            "acks",
            "history",
            "meta",
            "receivers",
        )
        table = rng.choice(tables)
        connection.execute(f"DELETE FROM {table}")
    return f"{table} is empty"


def _version(rng: random.Random, path: Path) -> str:
    version = rng.choice([0, 1, 2, 3, 99, -1, 2**31 - 1])
    with _sql(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    return f"user_version {version}"


def _remains(rng: random.Random, path: Path) -> str:
    """What another process, or another mode, may have left beside it."""
    name = rng.choice(["-journal", "-wal", "-shm"])
    content = rng.choice([b"", rng.randbytes(5000), bytes(8192), path.read_bytes()[:9000]])
    path.with_name(path.name + name).write_bytes(content)
    if rng.random() < 0.5:
        spoilt = bytearray(path.read_bytes())
        spoilt[18:20] = b"\x02\x02"  # as if it were in WAL mode
        path.write_bytes(spoilt)
    return f"{name} of {len(content)}"


def _hot_journal(rng: random.Random, path: Path) -> str:
    """A transaction that was cut off, its journal whole or cut off too."""
    copy = path.with_name("cut.db")
    shutil.copy(path, copy)
    connection = sqlite3.connect(copy, isolation_level=None)
    connection.execute("PRAGMA cache_size = 2")
    connection.execute("PRAGMA cache_spill = 1")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE history SET body = x'00'")
    connection.execute("UPDATE alerts SET document = '[]'")
    connection.execute("DELETE FROM outbox")
    journal = copy.with_name(copy.name + "-journal").read_bytes()
    content = copy.read_bytes()
    connection.execute("ROLLBACK")
    connection.close()
    if rng.random() < 0.4:
        journal = journal[: rng.randrange(len(journal))]
    path.write_bytes(content)
    path.with_name(path.name + "-journal").write_bytes(journal)
    return f"a journal of {len(journal)}"


def _another_file(rng: random.Random, path: Path) -> str:
    kind = rng.choice(["text", "noise", "folder", "other database", "link to nowhere", "fifo"])
    path.unlink()
    if kind == "text":
        path.write_text("this is no database\n" * 300, encoding="utf-8")
    elif kind == "noise":
        path.write_bytes(rng.randbytes(60_000))
    elif kind == "folder":
        path.mkdir()
    elif kind == "other database":
        with _sql(path) as connection:
            connection.execute("CREATE TABLE alerts (name TEXT)")
    elif kind == "link to nowhere":
        path.symlink_to(path.with_name("nowhere") / "else.db")
    else:
        os.mkfifo(path)
    return kind


DAMAGES: tuple[Damage, ...] = (
    _flip,
    _flip,
    _flip_header,
    _truncate,
    _spoil_pages,
    _spoil_pages,
    _swap_pages,
    _spoil_content,
    _spoil_content,
    _spoil_content,
    _drop_table,
    _empty_table,
    _version,
    _remains,
    _hot_journal,
    _another_file,
)


# ── a start ─────────────────────────────────────────────────────────────────


class _Starts:
    def __init__(self, folder: Path, figures: Figures, *, seed: int) -> None:
        self.folder = folder
        self.figures = figures
        self.seed = seed
        self.exchange = LoopbackExchange()
        self.inbox = Inbox()

    def __enter__(self):
        self.exchange.__enter__()
        self.inbox.__enter__()
        whole = self.folder / "whole"
        whole.mkdir()
        desk = self._desk(QuickDesk, whole)
        self._whole = make_state(desk, self.exchange)
        return self

    def __exit__(self, *details: object) -> None:
        self.inbox.__exit__(*details)
        self.exchange.__exit__(*details)

    def _desk(self, kind: type[Desk], folder: Path) -> Desk:
        desk = kind(folder, self.exchange, self.inbox)
        desk.write(_MORE_RULES, blind_after=f"{_LASTS * 1000:.0f}ms", timeout="5s")
        return desk

    def one(self, number: int) -> None:
        rng = random.Random(f"{self.seed} {number}")
        folder = self.folder / str(number)
        folder.mkdir()
        path = folder / "alerting.db"
        path.write_bytes(self._whole)
        damage = DAMAGES[number % len(DAMAGES)]
        how = damage(rng, path)
        where = f"damage {number} of seed {self.seed} ({damage.__name__.strip('_')}: {how})"
        by_process = number % _PROCESS == 3
        self.figures.counts["damages"] += 1
        self.figures.counts["real processes"] += by_process
        desk = self._desk(Desk if by_process else QuickDesk, folder)
        began = time.perf_counter()
        try:
            with deadline(100):
                self._start(where, desk)
        except HangError as error:
            self.figures.problem("hangs", f"{where}: {error}")
        except Exception:
            self.figures.problem("tracebacks", f"{where}: {traceback.format_exc()}")
        self.figures.slowest = max(self.figures.slowest, time.perf_counter() - began)
        _remove(folder)

    def _start(self, where: str, desk: Desk) -> None:
        before = len(self.inbox.received)
        code, _, err = desk.once()
        first = code
        if code != 0:
            # what lasts is told directly by the next start
            time.sleep(_LASTS + 0.02)
            code, _, err = desk.once()
        told = self.inbox.received[before:]
        texts = [f"{each.title}\n{each.message}" for each in told]
        directly = [text for text in texts if "alerts are NOT" in text]
        sentences = [line for line in err.splitlines() if line.startswith("alerting: ")]
        failed_for_good = code != 0 and bool(sentences)
        kind = "fails for good" if failed_for_good else "works" if first == 0 else "works after all"
        self.figures.counts[kind] += 1
        if {first, code} - {0, 1, 2}:
            self.figures.problem("wrong exit codes", f"{where}: {first}, {code}")
        self._check_resolves(where, texts)
        if failed_for_good:
            if len(sentences) != 1:
                self.figures.problem("errors without a clear sentence", f"{where}: {err[-900:]}")
            if {each.box for each in told if "alerts are NOT" in each.title} != {"desk", "phone"}:
                text = f"{where}: {texts} {err[-900:]}"
                self.figures.problem("fails for good, and nobody is told directly", text)
            return
        self._check_works(f"{where}, exit {first}, {code}", desk, told, directly, err)

    def _check_resolves(self, where: str, texts: list[str]) -> None:
        for text in texts:
            if "resolved" in text.lower() and "alerting works again" not in text:
                self.figures.problem("false resolves", f"{where}: {text}")

    def _check_works(self, where, desk, told, directly, err) -> None:
        code, out, said = desk.run("status", "--json")
        if code == 0:
            firing = {
                (each["rule"], each["severity"])
                for each in json.loads(out)["alerts"]
                if each["state"] == "firing"
            }
            if not {("available-balance-floor", "critical"), ("load", "critical")} <= firing:
                text = f"{where}: {firing} {err[-900:]}"
                self.figures.problem("works, but the alert does not fire", text)
        elif not said.startswith("alerting: "):
            # what only `status` reads, it may refuse alone
            text = f"{where}: `status`: {said[-900:]}"
            self.figures.problem("errors without a clear sentence", text)
        of_phone = [each.title + each.message for each in told if each.box == "phone"]
        told_of_phone = any("delivery-failing" in each.title + each.message for each in told)
        if not any("floor" in text for text in of_phone) and not told_of_phone and not directly:
            text = (
                f"{where}: the phone hears nothing; {[(t.box, t.title) for t in told]} {err[-600:]}"
            )
            self.figures.problem("silence", text)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def damaged_states(
    count: int,
    folder: Path,
    *,
    seed: int,
    first: int = 0,
) -> Figures:
    """So many damages of one state file, each way in turn; the same seed gives the same."""
    figures = Figures()
    # a start that failed leaves threads behind, which a process would have taken with it
    logging.disable(logging.CRITICAL)
    try:
        with _Starts(folder, figures, seed=seed) as starts:
            for number in range(first, first + count):
                starts.one(number)
    finally:
        logging.disable(logging.NOTSET)
    return figures
