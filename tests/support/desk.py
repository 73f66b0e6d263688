"""A rules file with its exchange and its inbox, all on loopback, and the program run on them."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

from alerting.cli.main import main
from alerting.sandbox.exchange import wallet_body

ROOT = Path(__file__).resolve().parents[2]

RULES = """\
poll: {{interval: {interval}, positions: {positions}, timeout: {timeout}, blind_after: {blind_after}}}
accounts:
  main:
    api_key: ${{API_KEY}}
    secret_key: ${{SECRET_KEY}}
    base_url: {base_url}
    rate_limit: {rate_limit}
receivers:
  desk:  {{url: "${{DESK_URL}}"}}
  phone: {{url: "${{PHONE_URL}}"}}
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
"""

TIGHTER = """\
  - name: tighter
    per: wallet
    value: total_available_balance
    below: 1600
"""


class Desk:
    """A rules file, its exchange and its inbox, and the program run on them."""

    def __init__(self, folder, exchange, inbox):
        self.folder, self.exchange, self.inbox = folder, exchange, inbox
        self.path = folder / "rules.yaml"
        self.write()

    def write(self, more="", **settings):
        usual = {"timeout": "2s", "blind_after": "1h", "rate_limit": "5000/60s"}
        settings = {"interval": "50ms", "positions": "3s", **usual, **settings}
        text = RULES.format(base_url=self.exchange.base_url, **settings) + more
        self.path.write_text(text, encoding="utf-8")

    def environ(self, **more):
        return {
            **{k: v for k, v in os.environ.items() if "proxy" not in k.lower()},
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.folder),
            "API_KEY": self.exchange.api_key,
            "SECRET_KEY": self.exchange.secret_key,
            "DESK_URL": self.inbox.url("desk"),
            "PHONE_URL": self.inbox.url("phone"),
            **more,
        }

    def start(self, *args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **environ):
        return subprocess.Popen(
            [sys.executable, "-m", "alerting", "-c", str(self.path), *args],
            cwd=self.folder,
            env=self.environ(**environ),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            text=True,
        )

    def run(self, *args, **environ):
        process = self.start(*args, **environ)
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in out + err, out + err
        return process.returncode, out, err

    def once(self):
        return self.run("run", "--once")

    def status(self):
        code, out, _ = self.run("status", "--json")
        assert code == 0
        return json.loads(out)

    def titles(self, box="desk"):
        return [m.title for m in self.inbox.received if m.box == box]


class QuickDesk(Desk):
    """The same, but commands that end by themselves run in this process: 0.4 s less for each."""

    def run(self, *args, **environ):
        out, err = io.StringIO(), io.StringIO()
        with (
            _as_environment(self.environ(**environ)),
            _logging_restored(),
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                code = main(["-c", str(self.path), *args])
            except SystemExit as usage:
                code = usage.code
        assert "Traceback" not in out.getvalue() + err.getvalue(), err.getvalue()
        return code, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def _as_environment(environ):
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _logging_restored():
    loggers = [logging.getLogger(name) for name in ("", "urllib3", "apprise", "markdown")]
    handlers, levels = logging.root.handlers[:], [logger.level for logger in loggers]
    try:
        yield
    finally:
        logging.root.handlers[:] = handlers
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def falling(available):
    return wallet_body(total="2000", available=available, rows={})


def without_phone(desk):
    """Take the receiver `phone` out of the rules file."""
    text = desk.path.read_text(encoding="utf-8")
    text = text.replace('  phone: {url: "${PHONE_URL}"}\n', "").replace("[desk, phone]", "[desk]")
    desk.path.write_text(text, encoding="utf-8")


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
