"""`demo`: the whole product against a loopback exchange."""

from __future__ import annotations

import functools
import sys
import tempfile
import textwrap
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from alerting.config.load import load_config
from alerting.sandbox.exchange import LoopbackExchange, wallet_body
from alerting.sandbox.inbox import Inbox, Received
from alerting.service.build import build_clients, build_cycle
from alerting.service.cycle import Cycle
from alerting.service.daemon import Daemon
from alerting.service.process import Systemd
from alerting.store.state import Store
from alerting.terminal import Paint, program

_RULES = """\
poll: {{interval: 500ms, positions: 3s, timeout: 2s, blind_after: 10s}}
accounts:
  main:
    api_key: ${{DEMO_API_KEY}}
    secret_key: ${{DEMO_SECRET_KEY}}
    base_url: {base_url}
    rate_limit: 200/60s
receivers:
  desk:  {{url: "${{DEMO_DESK_URL}}"}}
  phone: {{url: "${{DEMO_PHONE_URL}}"}}
routes:
  - match: {{severity: critical}}
    receivers: [desk, phone]
    repeat_interval: 15m
  - receivers: [desk]
    repeat_interval: 4h
rules:
  - name: available-balance-floor
    per: wallet
    value: total_available_balance
    below: {{warning: 1000, critical: 250}}
    clear: {{warning: 1100, critical: 300}}
    for: {{warning: 1s, critical: 0s}}
    annotations:
      summary: "{{{{ value | money }}}} {{{{ base_asset }}}} left to trade with or to add as margin"
  - name: liquidation-distance
    per: position
    value: liquidation_distance
    below: {{warning: 5%, critical: 2%}}
    clear: {{warning: 6%, critical: 3%}}
    annotations:
      summary: "closed by the exchange at {{{{ liquidation_price | money }}}}"
"""

#: a position of 0.2 BTC, entered at 100,000: (seconds, mark price, its margin, what happens)
_STORY = (
    (2.0, "101000", "2000", "a quiet position of 0.2 BTC, long"),
    (3.0, "95500", "2000", "the market falls: liquidation is 4.4% away"),
    (3.0, "92800", "2000", "it falls on"),
    (3.0, "92800", "2258.80", "as the message says: 258.80 USDT are added to its margin"),
    (3.0, "97500", "2258.80", "the market recovers"),
)
_POSITION = {
    "side": "LONG",
    "position_size": "0.2",
    "avg_entry_price": "100000",
    "maint_margin_rate": "0.56",
    "liq_fee_rate": "0.0075",
}
_COLOURS = {
    "CRITICAL": "critical",
    "WARNING": "warning",
    "ESCALATED": "critical",
    "EASED": "warning",
    "RESOLVED": "resolved",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Screen:
    """Where the tour is shown; coloured on a terminal only."""

    paint: Paint
    lock: threading.Lock
    started: float

    def say(self, text: str, colour: str | None = None) -> None:
        with self.lock:
            print(self.paint(text, colour) if colour else text, flush=True)  # noqa: T201 - the demo is its output

    def show(self, message: Received) -> None:
        """One message in a box, as it arrives."""
        colour = next((c for word, c in _COLOURS.items() if word in message.title), "info")
        head = f"{self._clock()}  ┌─ to {message.box} "
        lines = [head + "─" * max(0, 78 - len(head))]
        lines += [f"         │ {self.paint(part, colour)}" for part in _wrapped(message.title)]
        for line in message.message.splitlines():
            lines += [f"         │ {part}" for part in _wrapped(line)]
        lines.append("         └" + "─" * 68)
        self.say("\n".join(lines))

    def tell(self, text: str) -> None:
        self.say(f"{self._clock()}  {text}", "dim")

    def _clock(self) -> str:
        return f"{time.monotonic() - self.started:6.1f}s"


def run_demo() -> bool:
    """Show everything once, in less than twenty seconds; True if all four kinds arrived."""
    screen = _Screen(
        paint=Paint(sys.stdout.isatty()), lock=threading.Lock(), started=time.monotonic()
    )
    screen.say(
        "alerting demo: a loopback exchange, real polling, real rules, real delivery.\n", "bold"
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        LoopbackExchange() as exchange,
        Inbox(screen.show) as inbox,
    ):
        _tour(screen, exchange, inbox, Path(folder))
        # the exchange logged each request; every one bore a fresh signature that it checked
        requests = len(exchange.requests)
        received = inbox.received
    return _summarise(screen, received, requests)


def _tour(screen: _Screen, exchange: LoopbackExchange, inbox: Inbox, folder: Path) -> None:
    rules = folder / "rules.yaml"
    rules.write_text(_RULES.format(base_url=exchange.base_url), encoding="utf-8")
    environ = {
        "DEMO_API_KEY": exchange.api_key,
        "DEMO_SECRET_KEY": exchange.secret_key,
        "DEMO_DESK_URL": inbox.url("desk"),
        "DEMO_PHONE_URL": inbox.url("phone"),
    }
    config = load_config(rules, environ=environ)
    store = Store(folder / "alerting.db")
    clock = functools.partial(datetime.now, UTC)
    clients = build_clients(config, store, clock=clock)
    cycle: Cycle = build_cycle(config, store, clock=clock, clients=clients)
    _set(exchange, *_STORY[0][1:3])
    daemon = Daemon(cycle, clients, poll=config.poll, systemd=Systemd({}))
    story = threading.Thread(target=_play, args=(screen, exchange, daemon), daemon=True)
    story.start()
    daemon.run()
    story.join()
    for client in clients.values():
        client.close()
    store.close()


def _play(screen: _Screen, exchange: LoopbackExchange, daemon: Daemon) -> None:
    for seconds, mark, margin, text in _STORY:
        _set(exchange, mark, margin)
        screen.tell(f"{text} (mark price {mark})")
        time.sleep(seconds)
    daemon.stop()


def _set(exchange: LoopbackExchange, mark: str, margin: str) -> None:
    exchange.wallet = wallet_body(total="5000.00", rows={"BTCUSDT": (margin, "0")})
    exchange.market.positions = {
        "BTCUSDT": {**_POSITION, "position_margin": margin, "mark_price": mark}
    }


def _summarise(screen: _Screen, received: list[Received], requests: int) -> bool:
    kinds = Counter(map(_kind, received))
    boxes = Counter(message.box for message in received)
    told = ", ".join(f"{count} to {box}" for box, count in sorted(boxes.items()))
    reasons = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    screen.say("")
    screen.say(f"{requests} signed requests, {len(received)} messages ({told}): {reasons}.", "bold")
    screen.say(_farewell(program()))
    return {"firing", "escalated", "eased", "resolved"} <= set(kinds)


def _farewell(call: str) -> str:
    """What to do next; `call` is the program as it can be called from here."""
    steps = (
        ("init", "asks for your keys and receivers, writes rules.yaml"),
        ("check --online", "says what is wrong with it, and who answers"),
        ("send-test", "shows what your phone will show"),
        ("run", "(or `run --once` from cron)"),
    )
    return "\n".join(
        [
            "Each message went through the state file first: killed anywhere, it would have come.",
            "",
            "Next:",
            *(f"  {call} {command:15} {does}" for command, does in steps),
        ]
    )


def _kind(message: Received) -> str:
    words = message.title.upper()
    kinds = ("resolved", "escalated", "eased")
    return next((kind for kind in kinds if kind.upper() in words), "firing")


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, 68, break_on_hyphens=False) or [""]
