"""The daemon over reloads, on a real exchange, inbox and state file; only the signals are called."""

from __future__ import annotations

import functools
import os
import threading
import time
import types
from datetime import timedelta

import pytest

from alerting.cli import context
from alerting.config.load import load_config
from alerting.errors import StoreError
from alerting.notify.last_resort import Emergency
from alerting.sandbox.exchange import LoopbackExchange
from alerting.sandbox.inbox import Inbox
from alerting.service.clock import Uptime
from alerting.service.daemon import LoopSettings
from alerting.service.supervisor import Supervisor
from alerting.store.outbox import Outbox
from tests.support.broken_answers import as_script, broken_answers
from tests.support.desk import TIGHTER, Desk, falling, wait_until
from tests.support.factories import T0


class FakeSignals:
    """Keeps what a signal would call."""

    def on_reload(self, ask):
        self.hang_up = ask

    def on_end(self, stop):
        self.terminate = stop


class Running(Desk):
    """A desk whose daemon is a thread of this process, and looks around often."""

    thread = None
    #: what a Supervisor takes besides: its clock, its uptime
    time = types.MappingProxyType({"clock": context.now})

    def begin(self):
        load = functools.partial(load_config, self.path, environ=self.environ())
        self.signals = FakeSignals()
        supervisor = Supervisor(
            load(),
            self.folder / "alerting.db",
            signals=self.signals,
            **self.time,
            loop=LoopSettings(look_every=0.02, program_every=0.1),
        )
        self.error = None

        def run():
            try:
                supervisor.run(load=load, environ={}, listen=None)
            except BaseException as error:
                self.error = error

        self.thread = threading.Thread(target=run)
        self.thread.start()
        wait_until(lambda: self.exchange.requests or self.error)

    def end(self):
        self.signals.terminate()
        self.thread.join(20)
        assert (self.thread.is_alive(), self.error) == (False, None)

    def told(self, *words):
        wait_until(lambda: any(all(word in t for word in words) for t in self.titles()))


@pytest.fixture
def desk(tmp_path, caplog):
    caplog.set_level("INFO", logger="alerting")
    with LoopbackExchange() as exchange, Inbox() as inbox:
        work = Running(tmp_path, exchange, inbox)
        yield work
        if work.thread is not None and work.thread.is_alive():
            work.end()


@pytest.mark.parametrize("how", ["changed-file", "asked"])
def test_a_changed_rules_file_is_taken_over(desk, caplog, how):
    desk.exchange.wallet = falling("1500")
    old = desk.path.stat()
    desk.begin()
    desk.write(more=TIGHTER)
    if how == "asked":
        os.utime(desk.path, ns=(old.st_atime_ns, old.st_mtime_ns))
        desk.signals.hang_up()
    desk.told("tighter")
    desk.end()
    assert "rule tighter: added" in caplog.text


def test_an_invalid_rules_file_keeps_the_old_one_and_is_told(desk, caplog):
    desk.exchange.wallet = falling("1500")
    desk.begin()
    desk.write(more="    severty: info\n")
    desk.told("config-invalid")
    desk.exchange.wallet = falling("900")
    desk.told("available-balance-floor")
    desk.write(more=TIGHTER)
    desk.told("RESOLVED", "config-invalid")
    desk.end()
    assert "rules.0.severty" in caplog.text


def test_150_broken_answers_resolve_nothing_and_crash_nothing(desk, caplog):
    """While an alert fires, nothing but a good answer may end it."""
    answers = as_script(broken_answers())
    assert len(answers) >= 150
    desk.write(timeout="300ms", interval="2ms", rate_limit="50000/60s")
    desk.exchange.wallet = falling("900")
    desk.begin()
    wait_until(lambda: len(desk.titles()) == 1)
    desk.exchange.wallet = falling("2000")
    # the last one over and over, so that what it leads to is seen before a good one follows
    desk.exchange.script = answers + [answers[-1]] * 100_000
    wait_until(lambda: desk.exchange.left < 100_000 - 2 or not desk.thread.is_alive(), seconds=90)
    firing = [t for t in desk.titles() if "RESOLVED" in t and "available" in t]
    desk.exchange.script = None
    desk.told("RESOLVED")
    desk.end()
    assert firing == []
    ours = [record for record in caplog.records if record.name.startswith("alerting")]
    assert [record for record in ours if record.exc_info] == []


def test_a_sigterm_between_two_daemons_of_a_reload_is_heard(desk, monkeypatch):
    """The old one has ended, the new one does not run yet."""
    desk.exchange.wallet = falling("1500")
    desk.begin()
    take_over = Emergency.take_over

    def terminated_meanwhile(emergency, *args, **more):
        desk.signals.terminate()
        take_over(emergency, *args, **more)

    monkeypatch.setattr(Emergency, "take_over", terminated_meanwhile)
    desk.write(more=TIGHTER)
    desk.thread.join(20)
    assert (desk.thread.is_alive(), desk.error) == (False, None)


def test_senders_whose_claims_fail_are_told_past_the_outbox(desk, monkeypatch):
    """The state can be judged by, and nothing goes out."""

    def fails(*_args, **_more):
        raise StoreError("state file x: disk I/O error")

    monkeypatch.setattr(Outbox, "claim", fails)
    monkeypatch.setattr("alerting.notify.last_resort.TELL_AFTER", timedelta(seconds=0.3))
    desk.exchange.wallet = falling("900")
    desk.begin()
    desk.told("CRITICAL", "alerts are NOT delivered")
    desk.end()


def test_the_daemon_believes_a_clock_that_jumped_once_it_has_stood(desk, caplog):
    """On a machine where time passes 600 times as fast."""
    off = [timedelta(0)]

    def uptime():
        return Uptime(boot="boot", since=timedelta(seconds=600 * time.monotonic()))

    desk.time = {"clock": lambda: T0 + uptime().since + off[0], "uptime": uptime}
    desk.exchange.wallet = falling("900")
    desk.begin()
    desk.told("available-balance-floor")
    off[0] = timedelta(days=2)
    wait_until(lambda: "it is believed now" in caplog.text)
    desk.exchange.wallet = falling("1500")
    desk.told("RESOLVED")
    desk.end()
    assert "the clock jumped by" in caplog.text
