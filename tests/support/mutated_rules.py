"""Thousands of spoilt rules files: each loads, or is refused with every problem's place.

Used by tests/promises/test_mutations.py and bench/mutations.py.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from alerting.config.load import Depth, load_config
from alerting.config.settings import Config
from alerting.engine import evaluation
from alerting.errors import ConfigError
from alerting.exchanges.coinswitch.answers import parse_wallet
from tests.support.factories import make_failure
from tests.support.mutations import START, Figures, HangError, deadline
from tests.support.rules_files import API_KEY, DATA, ENVIRON, HOOK, ROOT, SECRET_KEY
from tests.support.truths import RULES

#: seconds of this processor's time that one file may take
LONGEST = 2.0
#: of so many files one is looked at by a real process, and one as deep as `check` does
_PROCESS, _DEEP = 50, 10

_SET = {
    **ENVIRON,
    "COINSWITCH_API_KEY": API_KEY,
    "COINSWITCH_SECRET_KEY": SECRET_KEY,
    "SLACK_URL": HOOK,
    "TELEGRAM_URL": HOOK,
    "EMAIL_URL": HOOK,
}

RULES_VERDICTS = (
    "tracebacks",
    "hangs (more than 2 s)",
    "problems without file and line",
    "wrong exit codes",
    "evaluations that raise",
)


# ── spoiling ────────────────────────────────────────────────────────────────

_ODD_VALUES = (
    "null",
    "~",
    "true",
    "on",
    "[]",
    "{}",
    "[a, b]",
    "{a: b}",
    "-1",
    "0",
    "1e3",
    "1e999",
    ".inf",
    "-.inf",
    ".nan",
    "010",
    "0x1F",
    "0b11",
    "0o17",
    "12:30",
    "2026-01-01",
    "2026-01-01 10:00:00",
    "1_000_000",
    "9" * 31,
    "9" * 5_000,
    "0." + "1" * 40,
    "1" * 20 + "d",
    "99999d",
    "5m5m",
    "１００",
    '"\\u0000"',
    '"\\ud800"',
    '"\\U0010ffff"',
    '"' + "x" * 10_000 + '"',
    "'",
    '"',
    "!!binary aGVsbG8=",
    "!!set {a, b}",
    "!!python/object/apply:os.system [true]",
    "!!float 5",
    "!local x",
    "&anchor 5",
    "*anchor",
    "&a [*a]",
    "|\n      text\n      more",
    ">-\n  text",
    "${UNSET}",
    "${COINSWITCH_API_KEY}",
    "${",
    "{{ value }}",
    "{{ 10 ** 10 ** 10 }}",
    "{% for x in range(10**9) %}x{% endfor %}",
    "a/b/../c",
    "*",
    "!x",
    "[" * 200 + "]" * 200,
    "{a: " * 150 + "1" + "}" * 150,
    "(" * 500 + "1" + ")" * 500,
    "total_balance" + " + total_balance" * 2_000,
    "total_balance / 0",
    "9 ** 9 ** 9",
    "__import__('os').system('x')",
    "total_balance if total_balance else 1",
    "min()",
    "max(total_balance)",
    "-" * 400 + "1",
    "not " * 400 + "total_balance > 1",
    "1 < 2 < 3 < total_balance",
    "lambda: 1",
    "total_balance.real",
    "[total_balance][0]",
)
#: what some other key might have
_PLAIN_VALUES = (
    "0.5",
    "5",
    "-5",
    "1000",
    "20%",
    "7d",
    "1s",
    "2m",
    "symbol",
    "wallet",
    "account",
    "info",
    "critical",
    "[desk]",
    "{warning: 5, critical: 9}",
    "{warning: 9, critical: 5}",
    "blocked_balance",
    "total_balance - total_available_balance",
    "margin_ratio > 0.1 and concentration < 1",
    "abs(min(position_margin, 5)) / total_balance",
    "poll_failures",
    "'BTC*'",
    "UTC",
    "sat",
)
_ODD_LINES = (
    "rules: []",
    "routes: []",
    "  - ",
    "- x",
    "---",
    "...",
    "%YAML 1.1",
    "<<: *a",
    "? complex",
    "\t- tab",
    ": nothing",
    "receivers: {desk: {url: x}}",
    "  - {name: x, per: wallet, value: total_balance, below: 1}",
    "x: &a {b: *a}",
    "#" * 3_000,
    "  " * 300 + "deep: 1",
)
_ODD_BYTES = (
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b"\x85",
    b"\xe2\x80\xa8",
    b"\xef\xbb\xbf",
    b"\x1b[2J",
)


def _drop_line(rng: random.Random, lines: list[str]) -> None:
    del lines[rng.randrange(len(lines))]


def _drop_lines(rng: random.Random, lines: list[str]) -> None:
    at = rng.randrange(len(lines))
    del lines[at : at + rng.randint(2, 12)]


def _line_twice(rng: random.Random, lines: list[str]) -> None:
    at = rng.randrange(len(lines))
    lines.insert(rng.choice([at, rng.randrange(len(lines) + 1)]), lines[at])


def _swap_lines(rng: random.Random, lines: list[str]) -> None:
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


def _indent(rng: random.Random, lines: list[str]) -> None:
    at = rng.randrange(len(lines))
    by = rng.choice([" ", "  ", "\t", "    ", "\u00a0", ""])
    for number in range(at, min(len(lines), at + rng.choice([1, 1, 5]))):
        lines[number] = by + (
            lines[number].lstrip() if not by or rng.random() < 0.3 else lines[number]
        )


def _value(rng: random.Random, lines: list[str]) -> None:
    """The value of some key, or of one within braces, becomes another one."""
    keyed = [number for number, line in enumerate(lines) if re.match(r"[^#]*:\s+\S", line)]
    at = rng.choice(keyed)
    found = list(re.finditer(r":\s+(\"[^\"]*\"|\{[^}]*\}|\[[^\]]*\]|[^,}#\n]+)", lines[at]))
    spot = rng.choice(found)
    values = _PLAIN_VALUES if rng.random() < 0.4 else _ODD_VALUES
    lines[at] = lines[at][: spot.start(1)] + rng.choice(values) + lines[at][spot.end(1) :]


def _key(rng: random.Random, lines: list[str]) -> None:
    keyed = [number for number, line in enumerate(lines) if re.match(r"[^#]*\w+:", line)]
    at = rng.choice(keyed)
    spot = rng.choice(list(re.finditer(r"\w+(?=:)", lines[at])))
    word = spot.group()
    changed = rng.choice(
        [word[:-1], word + "s", word.upper(), "on", "1", "null", "\u202e" + word, f'"{word}"', "<<"]
    )
    lines[at] = lines[at][: spot.start()] + changed + lines[at][spot.end() :]


def _odd_line(rng: random.Random, lines: list[str]) -> None:
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(_ODD_LINES))


def _uncomment(rng: random.Random, lines: list[str]) -> None:
    commented = [number for number, line in enumerate(lines) if re.match(r"\s*# ?\S", line)]
    for number in rng.sample(commented, min(len(commented), rng.choice([1, 2, 30]))):
        lines[number] = lines[number].replace("# ", "", 1)


def _many_rules(rng: random.Random, lines: list[str]) -> None:
    count = rng.choice([10, 300])
    lines += [
        f"  - {{name: more-{number}, per: symbol, value: margin_ratio * {number}, above: 5}}"
        for number in range(count)
    ]


_BY_LINE: tuple[Callable[[random.Random, list[str]], None], ...] = (
    _drop_line,
    _drop_line,
    _drop_lines,
    _line_twice,
    _swap_lines,
    _indent,
    _indent,
    _value,
    _value,
    _value,
    _value,
    _value,
    _value,
    _key,
    _key,
    _odd_line,
    _uncomment,
    _many_rules,
)


def _spoilt_bytes(rng: random.Random, text: bytes) -> bytes:
    at = rng.randrange(len(text) + 1)
    kind = rng.randrange(7)
    if kind == 0:
        return text[:at]
    if kind in {1, 2}:
        return text[:at] + rng.choice(_ODD_BYTES) + text[at:]
    if kind == 3:
        return text.decode("utf-8", "replace").encode(rng.choice(["utf-16", "utf-8-sig", "utf-32"]))
    if kind == 4:
        return text.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\n"]))
    if kind == 5:
        return text[: at // 2] + text[at:]
    spoilt = bytearray(text)
    if spoilt:
        spoilt[min(at, len(spoilt) - 1)] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def _spoil(rng: random.Random, text: str) -> tuple[bytes, str]:
    lines, names = text.splitlines(), []
    for _ in range(rng.choice([0, 1, 1, 1, 2, 4])):
        change = rng.choice(_BY_LINE)
        try:
            change(rng, lines)
        except (IndexError, ValueError):
            continue  # there is nothing left of this kind
        names.append(change.__name__.strip("_"))
    spoilt = ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
    if not names or rng.random() < 0.1:
        spoilt = _spoilt_bytes(rng, spoilt)
        names.append("bytes")
    return spoilt, "+".join(names)


# ── looking ─────────────────────────────────────────────────────────────────

_GOOD = (
    b'{"data":{"base_asset_balances":[{"base_asset":"USDT","balances":{"total_balance":"1000",'
    b'"total_available_balance":"100","total_blocked_balance":"900","total_position_margin":"900",'
    b'"total_open_order_margin":"0"}}],"asset":[{"symbol":"BTCUSDT","base_asset":"USDT",'
    b'"exchange":"EXCHANGE_2","blocked_balance":"800","position_margin":"900",'
    b'"open_order_margin":"-100"}]}}'
)
_BROKEN = (
    b'{"data":{"base_asset_balances":[{"base_asset":"USDT","balances":{"total_balance":"0",'
    b'"total_available_balance":"1e30","total_blocked_balance":null}},{"base_asset":"INR"}],'
    b'"asset":[{"symbol":"BTCUSDT","base_asset":"USDT","exchange":"EXCHANGE_2",'
    b'"blocked_balance":"NaN"},7]}}'
)


class _Files:
    def __init__(self, folder: Path, figures: Figures, seed: int) -> None:
        self.path = folder / "spoilt.yaml"
        self.figures = figures
        self.seed = seed
        # a folder that `templates:` of the reference may name
        (folder / "templates").mkdir(exist_ok=True)
        files = sorted(DATA.glob("*.yaml"))
        self.sources = [file.read_text(encoding="utf-8", errors="replace") for file in files]
        reference = (ROOT / "rules.example.yaml").read_text(encoding="utf-8")
        # the reference has all there is, and the others are mostly refused as they are
        self.sources += [reference] * 3 * len(files) + [RULES] * len(files)

    def one(self, number: int) -> None:
        rng = random.Random(f"{self.seed} {number}")
        content, how = _spoil(rng, rng.choice(self.sources))
        self.path.write_bytes(content)
        where = f"rules file {number} of seed {self.seed} ({how})"
        self.figures.counts["rules files"] += 1
        try:
            with deadline(30):
                self._look(where, Depth.EVERYTHING if number % _DEEP == 0 else Depth.STRUCTURE)
        except HangError as error:
            self.figures.problem("hangs (more than 2 s)", f"{where}: {error}")
        except Exception:
            self.figures.problem("tracebacks", f"{where}: {traceback.format_exc()}")
        if number % _PROCESS == 0:
            self._check_by_process(where)

    def _look(self, where: str, depth: Depth) -> None:
        began = time.process_time()
        try:
            config = load_config(self.path, environ=_SET, depth=depth)
        except ConfigError as error:
            config = None
            self.figures.counts["refused"] += 1
            # of too many, the last one says how many more there are
            placeless = [
                str(each) for each in error.problems if not (each.file and (each.line or each.more))
            ]
            if placeless or not error.problems:
                text = f"{where}: {placeless[:3]}"
                self.figures.problem("problems without file and line", text)
        took = time.process_time() - began
        self.figures.slowest = max(self.figures.slowest, took)
        if took > LONGEST:
            self.figures.problem("hangs (more than 2 s)", f"{where}: {took:.1f} s")
        if config is not None:
            self.figures.counts["taken"] += 1
            self._judge(where, config)

    def _judge(self, where: str, config: Config) -> None:
        """One evaluation each of a good wallet, a broken one and a failed poll."""
        account = next(iter(config.accounts))
        memory, now = evaluation.blank_memory(account), START
        try:
            outcomes = [parse_wallet(b, account=account, observed_at=now) for b in (_GOOD, _BROKEN)]
            for outcome in (*outcomes, make_failure(account=account), outcomes[0]):
                now += timedelta(seconds=15)
                step = evaluation.evaluate(config.ruleset, memory, outcome, now=now)
                memory = evaluation.all_delivered(step.memory)
        except Exception:
            text = f"{where}: {traceback.format_exc()}"
            self.figures.problem("evaluations that raise", text)

    def _check_by_process(self, where: str) -> None:
        self.figures.counts["real `check` processes"] += 1
        try:
            done = subprocess.run(
                [sys.executable, "-m", "alerting", "check", str(self.path)],
                cwd=self.path.parent,
                env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **_SET},
                capture_output=True,
                timeout=60,
                check=False,
            )
        except subprocess.TimeoutExpired:
            self.figures.problem("hangs (more than 2 s)", f"{where}: `check` goes on for ever")
            return
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        if "Traceback" in said:
            self.figures.problem("tracebacks", f"{where}: {said}")
        if done.returncode not in {0, 1}:
            self.figures.problem("wrong exit codes", f"{where}: {done.returncode} {said[-300:]}")
        name = str(self.path)
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        placed = re.compile(re.escape(name) + r":([0-9]+|.* more problems?$)")
        placeless = [line for line in lines if not placed.match(line)]
        if done.returncode == 1 and placeless:
            self.figures.problem("problems without file and line", f"{where}: {placeless[:3]}")


def mutated_rules(
    count: int,
    folder: Path,
    *,
    seed: int,
) -> Figures:
    """So many spoilt rules files; the same seed gives the same."""
    figures = Figures()
    files = _Files(folder, figures, seed)
    for number in range(count):
        files.one(number)
    return figures
