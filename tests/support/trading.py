"""A day of trading, in simulated time: both feeds, the real cycle, a real state file.

The exchange is the loopback one and the clients are the real ones; the clock is simulated, and the
order in which answers come. What is told is taken at once, as a replay has it.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import timedelta

from alerting.config.load import load_config
from alerting.engine.model import State
from alerting.exchanges.coinswitch.client import WalletClient
from alerting.exchanges.coinswitch.pages import Endpoint
from alerting.exchanges.coinswitch.positions import PositionsClient
from alerting.messages.rendering import Renderer
from alerting.notify.dispatcher import Dispatcher, ReceiverWorker
from alerting.sandbox.exchange import Special, wallet_body
from alerting.service.clock import SteadyClock
from alerting.service.cycle import Cycle
from alerting.service.positions import PositionsReader
from alerting.store.state import Store
from tests.support.factories import S
from tests.support.time_machine import Desk, Machine

RULES = """\
poll: {interval: 30s, timeout: 10s, blind_after: 2m}
accounts:
  main: {api_key: "${API_KEY}", secret_key: "${SECRET_KEY}", rate_limit: 5000/60s}
receivers:
  desk: {url: "json://127.0.0.1/desk"}
  phone: {url: "json://127.0.0.1/phone"}
routes:
  - {match: {severity: critical}, receivers: [desk, phone], repeat_interval: 10m}
  - {receivers: [desk], repeat_interval: {first: 20m, factor: 2}}
flapping: {changes: 6, within: 30m}
builtin:
  suspect-data: {forget_after: 10m}
rules:
  - {name: floor, per: wallet, value: total_available_balance, below: {warning: 1000, critical: 250}}
  - {name: load, per: symbol, value: margin_ratio, above: 20%, for: 1m, keep_firing_for: 2m}
  - {name: failures, per: account, value: poll_failures, above: 3, severity: info}
  - name: near
    per: position
    value: liquidation_distance
    below: {warning: 5%, critical: 1%}
    clear: {warning: 6%, critical: 2%}
    for: {warning: 1m, critical: 0s}
  - {name: share, per: position, value: position_margin / total_balance, above: 25%, for: 30s}
  - {name: loss, per: position, value: margin_loss, above: 50%, keep_firing_for: 90s}
"""
STEP = timedelta(seconds=30)
NAMES = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
RATES = {"maint_margin_rate": "0.56", "liq_fee_rate": "0.0075"}
DOWN = Special(status=503)


class Trading:
    """The program on a simulated machine, with an exchange whose market walks."""

    def __init__(self, folder, exchange, *, seed=1, cron=False, positions_every=STEP):
        self.every = {"wallet": STEP, "positions": positions_every}
        self.path = folder / "rules.yaml"
        self.path.write_text(RULES, encoding="utf-8")
        environ = {"API_KEY": exchange.api_key, "SECRET_KEY": exchange.secret_key}
        self.config = load_config(self.path, environ=environ)
        self.state = folder / "alerting.db"
        self.exchange, self.machine, self.cron = exchange, Machine(), cron
        exchange.clock = self.machine.wall
        self.dice = random.Random(seed)
        self.receiver = Desk(self.machine)
        self.marks = dict.fromkeys(NAMES, 100_000)
        self.open = {}
        self.timeouts = dict.fromkeys(self.every, timedelta(seconds=5))
        #: what happened, by name
        self.happened = set()
        self.start()

    # ── the program ─────────────────────────────────────────────────────────

    def start(self):
        """A new process."""
        self.store = Store(self.state)
        self.store._database._connection.execute("PRAGMA synchronous = OFF")
        self.clock = SteadyClock(self.machine.wall, self.machine.uptime)
        self.clock.resume(self.store)
        self.store.recover()
        self.workers = [
            ReceiverWorker(
                receiver,
                store=self.store,
                renderer=Renderer(overrides=None),
                build=lambda _: self.receiver,
                clock=self.clock,
            )
            for receiver in self.config.receivers.values()
        ]
        self.cycle = Cycle(
            ruleset=self.config.ruleset,
            store=self.store,
            dispatcher=Dispatcher({}, store=self.store, clock=self.clock),
            clock=self.clock,
            keep_history=timedelta(days=30),
        )
        account = replace(self.config.accounts["main"], base_url=self.exchange.base_url)
        settings = {
            "clock": self.machine.wall,
            "steady": self.clock,
            "monotonic": self.monotonic,
        }
        limit = self.timeouts
        positions = PositionsClient(account, timeout=limit["positions"], **settings)
        self.clients = {
            "wallet": WalletClient(account, timeout=limit["wallet"], **settings),
            "positions": PositionsReader(
                positions, self.store, account="main", clock=self.clock, record=True
            ),
        }

    def monotonic(self):
        """The machine's seconds."""
        return self.machine.passed.total_seconds()

    def end(self):
        for client in self.clients.values():
            client.close()
        self.store.close()

    def restart(self):
        self.end()
        self.start()

    def poll(self, feed, *, due=None):
        """Read a feed now; it was due at this moment since the start (None: now)."""
        self.clock.keep(self.store)
        late = self.machine.passed - due if due is not None else timedelta(0)
        beat = self.clock() - late
        poll = self.clients[feed].poll()
        interval = None if self.cron else self.every[feed]
        self.cycle.judge_safely(replace(poll, due=beat, interval=interval))
        for worker in self.workers:
            while worker.deliver_next() is not None:
                pass
        return poll.outcome

    def alerts(self, rule):
        """The alerts of a rule that are on: labels -> state and severity."""
        return [
            (alert.state.value, alert.severity.value, dict(alert.labels))
            for alert in self.store.memory("main").alerts.values()
            if alert.rule == rule and alert.state is not State.INACTIVE
        ]

    def changes(self, rule):
        """What the levels of a rule's alerts did: (severity, state, why)."""
        query = "SELECT severity, target, reason FROM transitions WHERE rule = ? ORDER BY id"
        return self.store._database._connection.execute(query, (rule,)).fetchall()

    def turn(self, *, late=(0.01, 0.2, 1.5, 4, 9)):
        """One step of the wallet; the answers come later than they were due, in any order."""
        start, events = self.machine.passed, []
        for feed, every in self.every.items():
            # two threads of a daemon never start in the same instant; one of cron has one beginning
            offset = timedelta(0) if self.cron else timedelta(milliseconds=3 * len(feed))
            for number in range(STEP // every):
                due = start + offset + number * every
                # a feed's own polls never overlap
                chosen = self.dice.choice([each for each in late if each * S < every])
                events.append((due + chosen * S, due, feed))
        for at, due, feed in sorted(events):
            self.machine.passed = at
            self.poll(feed, due=due)
        self.machine.passed = start + STEP

    # ── the market ──────────────────────────────────────────────────────────

    def serve(self, total=3000):
        """Give the exchange what there is: the wallet holds the positions' margins."""
        self.exchange.market.positions = {
            name: {**each, "mark_price": str(self.marks[name])} for name, each in self.open.items()
        }
        self.exchange.market.instruments = dict.fromkeys(NAMES, RATES)
        rows = {name: (each["position_margin"], "0") for name, each in self.open.items()}
        self.exchange.wallet = wallet_body(total=total, rows=rows)

    def enter(self, name, *, side="LONG", margin=800):
        """Open a position that is closed by force where the price moved by some 7 %."""
        self.open[name] = {
            "side": side,
            "position_size": f"{margin / 8000:.4f}",
            "avg_entry_price": str(self.marks[name]),
            "position_margin": str(margin),
        }

    def leave(self, name):
        del self.open[name]

    def liquidate(self, name):
        """The exchange takes it away."""
        self.serve()
        self.exchange.market.liquidate(name, at=self.machine.wall())
        self.leave(name)

    # ── a day of all of it ──────────────────────────────────────────────────

    def live(self, steps):
        """So many turns of a market that walks, an exchange that fails, and a program that dies."""
        for number in range(steps):
            self._walk(number)
            self._trade()
            self.serve(total=self.dice.choice([3000, 3000, 1900, 1700]))
            self._fail()
            if self.cron or self.dice.random() < 0.02:
                self.happened.add("restart")
                self.restart()
            self.turn()

    def _walk(self, number):
        for name in NAMES:
            pull = (100_000 - self.marks[name]) // 20
            wave = 700 if number // 12 % 2 else -700
            self.marks[name] += pull + round(self.dice.gauss(wave, 900))

    def _trade(self):
        dice = self.dice
        for name in NAMES:
            each = self.open.get(name)
            if each is None:
                if dice.random() < 0.15:
                    side = dice.choice(["LONG", "SHORT"])
                    self.enter(name, side=side, margin=dice.choice([400, 800]))
                continue
            sign = 1 if each["side"] == "LONG" else -1
            moved = sign * (self.marks[name] / int(each["avg_entry_price"]) - 1)
            if moved < -0.065:
                self.happened.add("liquidation")
                self.liquidate(name)
            elif moved < -0.06 and dice.random() < 0.3:
                self.happened.add("closed near its end")
                self.leave(name)
            elif dice.random() < 0.03:
                self.happened.add("closed")
                self.leave(name)

    def _fail(self):
        """What fails in this turn; `script_page` gives each odd answer once."""
        dice, page = self.dice, self.exchange.script_page
        empty = Special(answer=b"{}")
        half = Special(answer=b'{"data": [{"symbol": "BTCUSDT", "exchange": "EXCHANGE_2"}]}')
        odd = [DOWN, Special(status=404), empty, half, Special(answer=b"<html>")]
        lie = self._lie()
        if lie is not None and dice.random() < 0.1:
            self.happened.add("lie")
            page(Endpoint.POSITIONS, [lie])
            return
        outage = self.machine.passed // timedelta(minutes=1) % 50 < 6
        for endpoint, often in (
            (Endpoint.WALLET_BALANCE, 0.05),
            (Endpoint.POSITIONS, 0.9 if outage else 0.05),
            (Endpoint.TRANSACTIONS, 0.3),
            (Endpoint.INSTRUMENT_INFO, 0.2),
        ):
            fails = dice.random() < often
            page(endpoint, [dice.choice(odd)] * (STEP // self.every["positions"]) if fails else [])

    def _lie(self):
        """The first position's own figures contradict themselves."""
        _, body = self.exchange.market.answer(Endpoint.POSITIONS, {"exchange": "EXCHANGE_2"})
        if not body.get("data"):
            return None
        first, *others = body["data"]
        wrong = {**first, "liquidation_price": first["avg_entry_price"]}
        return Special(answer=json.dumps({"data": [wrong, *others]}).encode())
