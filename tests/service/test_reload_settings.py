"""Every setting of the rules file takes effect when a running daemon takes the file over.

What lives longer than one configuration (the state file's connection, the last resort, monitoring,
clients that are kept) must take its settings from the present one. A setting that is new in
`Config` fails here until it is shown to do so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from datetime import timedelta

import pytest

from alerting.cli import context
from alerting.config.remembered import recall
from alerting.config.settings import Config, HeartbeatSettings, PollSettings
from alerting.engine.rules import Ruleset
from alerting.exchanges.account import AccountSettings
from alerting.notify.settings import ReceiverSettings
from alerting.sandbox.exchange import LoopbackExchange, Special
from alerting.sandbox.inbox import Inbox
from alerting.store.state import Store
from tests.support.desk import TIGHTER, falling, wait_until
from tests.support.faults import Fault
from tests.support.running import NOBODY, Running
from tests.support.servers import HttpServer, Reply


class Desk(Running):
    """A running daemon, and what its state file holds."""

    def reload(self, *edits, more="", **settings):
        """Take the file over with texts replaced by others, or with more of it."""

        def change():
            text = self.path.read_text(encoding="utf-8") + more
            for old, new in edits:
                assert old in text
                text = text.replace(old, new)
            self.path.write_text(text, encoding="utf-8")

        self.take_over(change, **settings)

    @property
    def store(self):
        store = Store(self.folder / "alerting.db")
        self.closing.callback(store.close)
        return store

    def polled_on(self, times=5):
        before = len(self.exchange.requests)
        wait_until(lambda: len(self.exchange.requests) > before + times)


@pytest.fixture
def desk(tmp_path, caplog):
    caplog.set_level("INFO", logger="alerting")
    with LoopbackExchange() as exchange, Inbox() as inbox, contextlib.ExitStack() as closing:
        work = Desk(tmp_path, exchange, inbox)
        work.caplog, work.closing = caplog, closing
        yield work
        if work.thread is not None and work.thread.is_alive():
            work.end()


INR = {
    "base_asset": "INR",
    "balances": {
        "total_balance": "7000",
        "total_available_balance": "7000",
        "total_blocked_balance": "0",
        "total_position_margin": "0",
        "total_open_order_margin": "0",
    },
}


def suspect():
    body = falling("2000")
    body["data"]["base_asset_balances"][0]["balances"]["total_balance"] = "7777"
    return body


# ── poll ────────────────────────────────────────────────────────────────────


def interval(desk):
    desk.write(interval="30m")
    desk.begin()
    desk.reload(interval="50ms")
    desk.polled_on()


#: that is never worth a message
FAR = """\
  - name: far
    per: position
    value: margin_loss
    above: 1000
"""


def positions(desk):
    desk.write(positions="1h", more=FAR)
    desk.begin()
    desk.reload(more=FAR, positions="3s")
    before = len(desk.exchange.requests)
    asked = "/trade/api/v2/futures/positions"
    wait_until(lambda: any(asked in each.path for each in desk.exchange.requests[before:]))


def timeout(desk):
    desk.begin()
    desk.exchange.script = lambda _: Special(answer=Fault.HANG)
    desk.reload(timeout="300ms")
    wait_until(lambda: "within 300ms" in desk.caplog.text)


def blind_after(desk):
    desk.begin()
    desk.exchange.script = lambda _: Special(status=503)
    desk.reload(blind_after="1s")
    desk.told("blind")


# ── accounts ────────────────────────────────────────────────────────────────


def api_key(desk):
    desk.more = {"API_KEY": "b" * 64}
    desk.begin()
    wait_until(lambda: "credentials" in desk.caplog.text)
    desk.more = {}
    desk.reload()
    wait_until(lambda: not desk.store.memory("main").account.feed("wallet").poll_failures)


def secret_key(desk):
    desk.more = {"SECRET_KEY": "ab" * 32}
    desk.begin()
    wait_until(lambda: "credentials" in desk.caplog.text)
    desk.more = {}
    desk.reload()
    wait_until(lambda: not desk.store.memory("main").account.feed("wallet").poll_failures)


def base_url(desk):
    desk.begin()
    other = desk.closing.enter_context(LoopbackExchange())
    desk.reload((desk.exchange.base_url, other.base_url))
    wait_until(lambda: other.requests)


def rate_limit(desk):
    """The requests so far count under the new limit too."""
    desk.write(interval="12ms")
    desk.begin()
    desk.polled_on(30)
    desk.reload(interval="3s", rate_limit="30/70s")
    wait_until(lambda: "own limit of 30 per 70s used up" in desk.caplog.text)


def accounts(desk):
    desk.begin()
    second = (
        "\n  second: {api_key: '${API_KEY}', secret_key: '${SECRET_KEY}', "
        f"base_url: '{desk.exchange.base_url}', rate_limit: 5000/60s}}\nreceivers:\n"
    )
    desk.reload(("\nreceivers:\n", second))
    wait_until(lambda: "second" in desk.store.accounts())


# ── receivers ───────────────────────────────────────────────────────────────


def url(desk):
    """A pause that the old address asked for is none of the new one's."""
    desk.exchange.wallet = falling("900")
    desk.more = {"DESK_URL": NOBODY["PHONE_URL"]}
    desk.begin()
    wait_until(lambda: "not reached" in desk.caplog.text)
    desk.store.hold_receiver("desk", until=context.now() + timedelta(minutes=50))
    desk.more = {"DESK_URL": desk.inbox.url("other")}
    desk.reload()
    desk.told("WARNING", box="other")


def send_resolved(desk):
    desk.exchange.wallet = falling("200")
    desk.begin()
    desk.told("CRITICAL")
    desk.reload(('"${DESK_URL}"', '"${DESK_URL}", send_resolved: false'))
    desk.exchange.wallet = falling("2000")
    desk.told("RESOLVED", box="phone")
    desk.end()
    assert len(desk.titles()) == 1


# ── rules and routes ────────────────────────────────────────────────────────


def rules(desk):
    desk.exchange.wallet = falling("1500")
    desk.begin()
    desk.reload(more=TIGHTER)
    desk.told("tighter")


def routes(desk):
    desk.begin()
    desk.reload(("- receivers: [desk]", "- receivers: [phone]"))
    desk.exchange.wallet = falling("900")
    desk.told("WARNING", box="phone")


def builtin(desk):
    desk.exchange.wallet = suspect()
    desk.begin()
    desk.told("suspect-data")
    desk.reload(more="builtin: {suspect-data: {severity: critical}}\n")
    desk.told("suspect-data", box="phone")


def tolerance(desk):
    desk.exchange.wallet = suspect()
    desk.begin()
    desk.told("suspect-data")
    desk.reload(more="builtin: {tolerance: 10000}\n")
    desk.told("RESOLVED", "suspect-data")


def forget_after(desk):
    body = falling("2000")
    wallets = body["data"]["base_asset_balances"]
    desk.exchange.wallet = {"data": {**body["data"], "base_asset_balances": [*wallets, INR]}}
    desk.begin()
    desk.polled_on(2)
    desk.exchange.wallet = body
    desk.told("suspect-data")
    desk.reload(more="builtin: {suspect-data: {forget_after: 50ms}}\n")
    desk.told("RESOLVED", "suspect-data")


def flapping(desk):
    desk.begin()
    desk.reload(more="flapping: {changes: 2, within: 1h}\n")
    for available, word in (("900", "WARNING"), ("2000", None), ("900", None)):
        desk.exchange.wallet = falling(available)
        if word:
            desk.told(word)
        else:
            desk.polled_on(3)
    wait_until(lambda: any(a.flapping for a in desk.store.memory("main").alerts.values()))


# ── the rest ────────────────────────────────────────────────────────────────


def templates(desk):
    desk.begin()
    (desk.folder / "own").mkdir()
    (desk.folder / "own" / "text.txt.j2").write_text("MY OWN WORDS", encoding="utf-8")
    desk.reload(more="templates: own\n")
    desk.exchange.wallet = falling("900")
    desk.told("WARNING")
    assert "MY OWN WORDS" in desk.inbox.received[0].message


def deliver_within(desk):
    """What waits already is given up by the new limit, too."""
    desk.exchange.wallet = falling("200")
    desk.more = NOBODY
    desk.begin()
    wait_until(lambda: "not reached" in desk.caplog.text)
    desk.reload(more="deliver_within: 1ms\n")
    wait_until(lambda: desk.store.receiver_statuses()["phone"].dead)
    assert "not delivered in time" in desk.store.receiver_statuses()["phone"].last_reason


def heartbeat_url(desk):
    desk.begin()
    server = HttpServer(Reply())
    desk.closing.callback(server.close)
    desk.reload(more=f"heartbeat: {{url: 'http://127.0.0.1:{server.port}/x'}}\n")
    wait_until(lambda: server.requests)


def heartbeat_every(desk):
    server = HttpServer(Reply())
    desk.closing.callback(server.close)
    more = f"heartbeat: {{url: 'http://127.0.0.1:{server.port}/x', every: 1h}}\n"
    desk.write(more=more)
    desk.begin()
    wait_until(lambda: server.requests)
    desk.reload(("every: 1h", "every: 1s"), more=more)
    wait_until(lambda: len(server.requests) > 1)


def history_keep(desk):
    def recorded():
        with contextlib.closing(sqlite3.connect(desk.folder / "alerting.db")) as connection:
            return connection.execute("SELECT COUNT(*) FROM history").fetchone()[0]

    desk.begin()
    wait_until(recorded)
    desk.reload(more="history: {keep: 0s}\n")
    before = recorded()
    desk.polled_on()
    assert recorded() == before


def display(desk):
    desk.begin()
    desk.reload(more="display: {timezone: Asia/Kolkata, grouping: indian}\n")
    desk.exchange.wallet = falling("-1234567.8")
    desk.told("-12,34,567.8")
    assert " IST " in desk.inbox.received[0].message


def kept(desk):
    """What `status` and the like go by, should the file break."""
    desk.begin()
    wait_until(lambda: recall(desk.store) is not None)
    desk.reload(more=TIGHTER)
    wait_until(lambda: "tighter" in recall(desk.store).text)


#: setting -> what shows that it takes effect
SHOWN = {
    "poll.interval": interval,
    "poll.positions": positions,
    "poll.timeout": timeout,
    "accounts": accounts,
    "accounts.api_key": api_key,
    "accounts.secret_key": secret_key,
    "accounts.base_url": base_url,
    "accounts.rate_requests": rate_limit,
    "accounts.rate_window": rate_limit,
    "receivers.url": url,
    "receivers.send_resolved": send_resolved,
    "ruleset.rules": rules,
    "ruleset.routes": routes,
    "ruleset.receivers": send_resolved,
    "ruleset.accounts": accounts,
    "ruleset.blind_after": blind_after,
    "ruleset.builtin": builtin,
    "ruleset.flapping": flapping,
    "ruleset.tolerance": tolerance,
    "ruleset.forget_after": forget_after,
    "templates": templates,
    "deliver_within": deliver_within,
    "heartbeat.url": heartbeat_url,
    "heartbeat.every": heartbeat_every,
    "history_keep": history_keep,
    "display": display,
    "kept": kept,
}
#: `state` is refused and told (tests/cli/test_processes.py); the others are no settings
NONE = {"path", "state", "warnings", "accounts.name", "receivers.name"}
_SECTIONS = {
    "poll": PollSettings,
    "accounts": AccountSettings,
    "receivers": ReceiverSettings,
    "ruleset": Ruleset,
    "heartbeat": HeartbeatSettings,
}


def test_every_setting_is_shown_below():
    names = {field.name for field in dataclasses.fields(Config)} - _SECTIONS.keys()
    for section, settings in _SECTIONS.items():
        names |= {f"{section}.{field.name}" for field in dataclasses.fields(settings)}
    assert names - NONE == SHOWN.keys() - {"accounts"}


@pytest.mark.parametrize("show", dict.fromkeys(SHOWN.values()), ids=lambda show: show.__name__)
def test_a_setting_takes_effect_when_the_file_is_taken_over(desk, show):
    show(desk)
    if desk.thread.is_alive():
        desk.end()
