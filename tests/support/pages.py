"""A page that shows commands with their output: they are run again, in its order.

What differs between runs (instants, ports, how long ago) is compared by its shape only. A comment
`<!-- wallet: 900 -->` sets the wallet before the next block, `<!-- positions: {...} -->` (JSON) the
exchange's open positions; `<!-- file: NAME -->` writes the block that follows it to a file.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

from alerting.sandbox.exchange import wallet_body
from tests.support.paths import ROOT

PORT = "http://127.0.0.1:8787"

PIECES = re.compile(
    r"<!-- wallet: (?P<wallet>[\d.]+) -->"
    r"|<!-- positions: (?P<positions>\{.*?\}) -->"
    r"|<!-- file: (?P<file>\S+) -->\n+```\w*\n(?P<text>.*?)```"
    r"|(?P<block>```console\n(?P<lines>.*?)```)",
    re.DOTALL,
)

SHAPES = [
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "INSTANT"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "INSTANT"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "TIME"),
    (re.compile(r"\(\w+ left\)"), "(LEFT)"),
    (re.compile(r"\b(\d+[dhm])*\d+s\b( ago| left)?|\bjust now\b"), "AGO"),
    (re.compile(r'"snapshot_age": [\d.]+'), '"snapshot_age": AGE'),
    (re.compile(r"127\.0\.0\.1:\d+"), "LOOPBACK"),
    (re.compile(r"\[\S+@\S+\]"), "[AUTHOR]"),
    (re.compile(r" by \S+@\S+:"), " by AUTHOR:"),
    (re.compile(r"\bin [\d.]+ ?m?s\b"), "in TIME"),
    (re.compile(r" {2,}"), "  "),
]


def shape(text):
    for pattern, word in SHAPES:
        text = pattern.sub(word, text)
    return "\n".join(line.rstrip() for line in text.splitlines())


class Shell:
    """Runs the page's commands, in its order, in one folder."""

    def __init__(self, folder, exchange, inbox, **environ):
        self.folder, self.exchange = folder, exchange
        self.environ = {
            **{k: v for k, v in os.environ.items() if "proxy" not in k.lower()},
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "100",
            "COINSWITCH_API_KEY": exchange.api_key,
            "COINSWITCH_SECRET_KEY": exchange.secret_key,
            "SLACK_URL": inbox.url("desk"),
            "TELEGRAM_URL": "json://127.0.0.1:1/",
            **environ,
        }
        bin_ = folder / "bin"
        bin_.mkdir()
        (bin_ / "alerting").write_text(
            f"#!{sys.executable}\nimport sys\nfrom alerting.cli.main import main\nsys.exit(main())\n",
            encoding="utf-8",
        )
        (bin_ / "alerting").chmod(0o755)
        self.environ["PATH"] = f"{bin_}:{os.environ['PATH']}"

    def wallet(self, available):
        self.exchange.wallet = wallet_body(total="2000.00", available=f"{available}.00", rows={})

    def write(self, name, text):
        text = text.replace(PORT, self.exchange.base_url)
        (self.folder / name).write_text(text, encoding="utf-8")

    def run(self, command):
        done = subprocess.run(
            ["/bin/sh", "-c", command.replace(PORT, self.exchange.base_url)],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout.replace(self.exchange.base_url, PORT).rstrip("\n")


def rendered(shell, page):
    """The page with the output that the program gives now."""

    def again(match):
        if match["wallet"]:
            shell.wallet(match["wallet"])
        elif match["positions"]:
            shell.exchange.market.positions = json.loads(match["positions"])
        elif match["file"]:
            shell.write(match["file"], match["text"])
        else:
            commands = [line[2:] for line in match["lines"].splitlines() if line.startswith("$ ")]
            blocks = [f"$ {command}\n{shell.run(command)}".rstrip() for command in commands]
            return "```console\n" + "\n".join(blocks) + "\n```"
        return match[0]

    return PIECES.sub(again, page)
