"""How long it takes from the exchange's answer to a healthy receiver, with and without sick ones.

Two real daemons as they are, with their own patience, side by side and in turns, so that a busy
moment of the machine meets both.
Used by tests/promises/test_latency.py and bench/latency.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

from alerting.sandbox.exchange import LoopbackExchange, Special, wallet_body
from tests.support.crash import ROOT, Manner, Receiver

_RULES = """\
poll: {{interval: 50ms, timeout: 10s}}
accounts:
  main: {{api_key: {api_key}, secret_key: {secret_key}, base_url: '{base_url}', rate_limit: 100000/60s}}
receivers:
{receivers}
routes:
  - receivers: [{names}]
rules:
  - name: floor
    per: wallet
    value: total_available_balance
    below: {{critical: 1000}}
"""


class _Wallet:
    """Moves on when it is told to, and remembers when each step was first answered."""

    def __init__(self, exchange: LoopbackExchange) -> None:
        self._lock = threading.Lock()
        self.answered_at: list[float] = []
        self._waits = False
        self._body = b""
        self.move()
        exchange.script = self._answer

    def move(self) -> None:
        """Cross the line: every step is one message."""
        with self._lock:
            available = "900" if len(self.answered_at) % 2 else "2000"
            self._body = json.dumps(wallet_body(total="5000", available=available)).encode()
            self._waits = True

    def _answer(self, path: str) -> Special | None:
        if not path.endswith("wallet_balance"):
            return None
        with self._lock:
            if self._waits:
                self._waits = False
                self.answered_at.append(time.monotonic())
            return Special(headers={"Content-Type": "application/json"}, answer=self._body)


class _Line:
    """A daemon, its exchange and its receivers."""

    def __init__(
        self, stack: contextlib.ExitStack, folder: Path, *, sick: bool, root: Path
    ) -> None:
        exchange = stack.enter_context(LoopbackExchange())
        self._healthy = Receiver("healthy")
        receivers = [self._healthy]
        if sick:
            hanging = Receiver("hanging", manner=lambda: Manner.TAKE_AND_HANG, hangs_for=3600)
            refusing = Receiver("refusing")
            refusing.refuse()
            # before and after the healthy one: whoever goes through them in order would show
            receivers = [hanging, *receivers, refusing]
        for receiver in receivers:
            stack.callback(receiver.close)
        self._wallet = _Wallet(exchange)
        folder.mkdir()
        self._process = _start(folder, exchange, receivers, root)
        stack.callback(self._process.wait)
        stack.callback(self._process.kill)
        _wait(self._process, self._wallet.answered_at, 1)

    def once(self) -> None:
        """Move the wallet over the line and wait for the message."""
        self._wallet.move()
        _wait(self._process, self._healthy.taken_at, len(self._wallet.answered_at))

    def seconds(self) -> list[float]:
        """From answer to arrival, for each message."""
        pairs = zip(self._wallet.answered_at[1:], self._healthy.taken_at, strict=True)
        return [came - went for went, came in pairs]


def measure(folder: Path, *, alerts: int, root: Path = ROOT) -> dict[bool, list[float]]:
    """Seconds from answer to arrival; True: with one receiver that hangs and one that refuses."""
    with contextlib.ExitStack() as stack:
        lines = {
            sick: _Line(stack, folder / f"sick-{sick}", sick=sick, root=root)
            for sick in (False, True)
        }
        for _ in range(alerts):
            for line in lines.values():
                time.sleep(random.uniform(0.02, 0.08))
                line.once()
        return {sick: line.seconds() for sick, line in lines.items()}


def _start(
    folder: Path, exchange: LoopbackExchange, receivers: list[Receiver], root: Path
) -> subprocess.Popen[bytes]:
    rules = folder / "rules.yaml"
    text = _RULES.format(
        api_key=exchange.api_key,
        secret_key=exchange.secret_key,
        base_url=exchange.base_url,
        receivers="".join(f"  {r.name}: {{url: '{r.url}'}}\n" for r in receivers),
        names=", ".join(r.name for r in receivers),
    )
    rules.write_text(text, encoding="utf-8")
    environ = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    return subprocess.Popen(
        [sys.executable, "-m", "alerting", "-c", str(rules), "--log-level", "error", "run"],
        cwd=folder,
        env={**environ, "PYTHONPATH": str(root)},
        stdin=subprocess.DEVNULL,
    )


def _wait(process: subprocess.Popen[bytes], events: list[float], count: int) -> None:
    deadline = time.monotonic() + 30
    while len(events) < count:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{len(events)} of {count}, exit code {process.poll()}")
        time.sleep(0.002)
