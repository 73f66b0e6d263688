"""State files, damaged: the next cycle goes on with all that is whole, or says so to every receiver."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
import time

from tests.support.desk import Desk, falling

# What the program answers to a state that it cannot use: in the log, and past the outbox.
_UNUSABLE = "state file"


class Damager:
    """Damages a copy of a state file that was in use."""

    def __init__(self, rng, path):
        self.rng, self.path = rng, path

    def damage(self):
        """What was done."""
        step = self.rng.choice(self.STEPS)
        step(self)
        return step.__name__.strip("_")

    def _raw(self, change):
        raw = bytearray(self.path.read_bytes())
        change(raw)
        self.path.write_bytes(bytes(raw))

    def _bytes(self):
        def change(raw):
            for _ in range(self.rng.choice((1, 10, 500))):
                raw[self.rng.randrange(len(raw))] = self.rng.randrange(256)

        self._raw(change)

    def _cut(self):
        self._raw(lambda raw: raw.__delitem__(slice(self.rng.randrange(len(raw)), None)))

    def _zeros(self):
        page = 4096

        def change(raw):
            at = self.rng.randrange(len(raw) // page) * page
            raw[at : at + page] = bytes(page)

        self._raw(change)

    def _swap(self):
        page = 4096

        def change(raw):
            one, two = (self.rng.randrange(len(raw) // page) * page for _ in "ab")
            raw[one : one + page], raw[two : two + page] = (
                raw[two : two + page],
                raw[one : one + page],
            )

        self._raw(change)

    def _text(self):
        self.path.write_text("this was a state file\n" * 200, encoding="utf-8")

    def _empty(self):
        self.path.write_bytes(b"")

    def _journal(self):
        journal = self.path.with_name(self.path.name + self.rng.choice(("-journal", "-wal")))
        journal.write_bytes(self.rng.randbytes(self.rng.choice((0, 100, 5000))))

    def _sql(self, statement):
        with contextlib.closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement)

    def _document(self):
        table, column = self.rng.choice(
            (("accounts", "document"), ("alerts", "document"), ("outbox", "notification"))
        )
        value = self.rng.choice(("'[]'", "'null'", "'{}'", "x'ff00'", "7", "'{\"name\":7}'", "''"))
        self._sql(f"UPDATE {table} SET {column} = {value}")

    def _column(self):
        table, column = self.rng.choice(
            (
                ("notified", "notified_at"), ("notified", "severity"), ("silences", "ends_at"),
                ("silences", "matchers"), ("acks", "acked_at"), ("meta", "value"),
                ("receivers", "not_before"), ("outbox", "next_at"), ("outbox", "status"),
            )
        )  # fmt: skip
        value = self.rng.choice(("'x'", str(9 * 10**18), "-1", "x'ff'", "1.5", "''"))
        with contextlib.suppress(sqlite3.Error):
            self._sql(f"UPDATE {table} SET {column} = {value}")

    def _table(self):
        table = self.rng.choice(
            ("accounts", "alerts", "outbox", "notified", "history", "meta", "acks")
        )
        self._sql(f"DROP TABLE {table}")

    def _version(self):
        self._sql(f"PRAGMA user_version = {self.rng.choice((0, 1, 99, -1))}")

    STEPS = (
        _bytes, _bytes, _cut, _zeros, _swap, _text, _empty, _journal, _document, _document, _column,
        _column, _table, _version,
    )  # fmt: skip


def try_damages(damages, seed, folder, exchange, inbox):
    """(what went wrong, exit codes) of so many cycles of cron on a damaged file."""
    rng, problems, codes = random.Random(f"state {seed}"), [], []
    desk = Desk(folder, exchange, inbox)
    whole = folder / "whole.db"
    _use(desk)
    shutil.copy(folder / "alerting.db", whole)
    for number in range(damages):
        for path in folder.glob("alerting.db*"):
            path.unlink()
        for path in folder.glob("alerting-*"):
            path.unlink()  # what the last resort remembers of the one before
        shutil.copy(whole, folder / "alerting.db")
        name = f"damage {seed}/{number}"
        with contextlib.suppress(sqlite3.Error):
            name += f" ({Damager(rng, folder / 'alerting.db').damage()})"
        try:
            codes.append(_cycles(desk, name))
        except AssertionError as error:
            problems.append(f"{name}: {error}")
    return problems, codes


def _use(desk):
    """A critical that was told, a silence, an acknowledgement, and a message that waits."""
    desk.write(blind_after="50ms")
    desk.exchange.wallet = falling("200")
    desk.run("run", "--once", PHONE_URL="json://127.0.0.1:1/nobody")
    (alert,) = desk.status()["alerts"]
    desk.run("ack", alert["id"])
    desk.run("silence", "add", "rule=x*", "--for", "1h", "--reason", "r")


def _cycles(desk, name):
    before = len(desk.inbox.received)
    code, _, err = desk.run("run", "--once")
    if code:
        time.sleep(0.06)  # blind_after: from then on a state that cannot be used is told
        code, _, err = desk.run("run", "--once")
    said = [each.title + each.message for each in desk.inbox.received[before:]]
    assert code in (0, 1), f"exit {code}: {err}"
    assert not [text for text in said if text.startswith("RESOLVED available")], (
        f"a false resolve: {said}"
    )
    if code and _UNUSABLE in err:
        assert [text for text in said if "not judged" in text or _UNUSABLE in text], (
            f"silent: {err}"
        )
    return code
