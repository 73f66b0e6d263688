"""Rules files, mutated: each is refused with the place of every problem, or works."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from alerting.config.load import Depth, Secrets, load_config
from alerting.engine.evaluation import blank_memory, evaluate
from alerting.errors import ConfigError
from tests.support.factories import T0, S
from tests.support.mutated_answers import Mutator, outcome_of, wallet

ROOT = Path(__file__).resolve().parents[2]
_EXAMPLE = ROOT / "rules.example.yaml"
_BROKEN = sorted((ROOT / "tests" / "data" / "config").glob("*.yaml"))
# However busy the machine is; a loaded file of this size takes some tens of milliseconds.
_HANGS = 10.0

_ODD = (
    "null", "[]", "{}", "[[]]", "true", "-1", "0", "1e9", "9" * 50, "0x10", "2026-01-01", "~", "''",
    '"${NONE}"', '"${"', "*a", "&a x", "!x y", "- x", "? x", "|", ">-", "\t", "'", '"', "{", "]",
    "12:30", "on", "٣", "\u200b", "\ud7ff", "1000h", "-5m", "9" * 20 + "d", "20%", "-1%", "1e400",
    "${A}${B}", "wallet", "symbol", "total_balance", "total_balance / 0", "1 +", "(" * 40, "a" * 3000,
    "{{ 1 / 0 }}", "{% for x in range(9) %}", "crit*", "!*", "https://[", "json://", "mailtos://a#b@c",
)  # fmt: skip


class RulesMutator:
    """Breaks the text of a rules file line by line."""

    def __init__(self, rng):
        self.rng = rng

    def mutate(self, text):
        lines = text.splitlines()
        for _ in range(self.rng.choice((1, 1, 2, 5))):
            if not lines:
                break
            lines = self.rng.choice(self.STEPS)(self, lines, self.rng.randrange(len(lines)))
        raw = "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n"
        if self.rng.random() < 0.1:
            at = self.rng.randrange(len(raw))
            raw = raw[:at] + bytes((self.rng.randrange(256),)) + raw[at + 1 :]
        return raw

    def _drop(self, lines, at):
        return lines[:at] + lines[at + 1 :]

    def _twice(self, lines, at):
        return [*lines[: at + 1], *lines[at:]]

    def _indent(self, lines, at):
        moved = lines[at].lstrip() if self.rng.random() < 0.5 else "  " + lines[at]
        return [*lines[:at], moved, *lines[at + 1 :]]

    def _value(self, lines, at):
        key, colon, _ = lines[at].partition(":")
        odd = self.rng.choice(_ODD)
        return [*lines[:at], f"{key}{colon} {odd}" if colon else odd, *lines[at + 1 :]]

    def _key(self, lines, at):
        line = lines[at].replace(":", self.rng.choice(("s:", "", " :", "::", ": -")), 1)
        return [*lines[:at], line, *lines[at + 1 :]]

    def _swap(self, lines, at):
        other = self.rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
        return lines

    def _end(self, lines, at):
        return lines[:at]

    def _many(self, lines, at):
        return [*lines[:at], *([lines[at]] * self.rng.choice((50, 2000))), *lines[at:]]

    STEPS = (
        _drop,
        _drop,
        _twice,
        _indent,
        _indent,
        _value,
        _value,
        _value,
        _key,
        _swap,
        _end,
        _many,
    )


def try_rules(files, seed, folder, *, processes_every=50):
    """(what went wrong, how many loaded) of so many mutated files."""
    rng, problems, loaded = random.Random(f"rules {seed}"), [], 0
    path = folder / "rules.yaml"
    for number in range(files):
        source = _EXAMPLE if rng.random() < 0.7 else rng.choice(_BROKEN)
        text = source.read_text(encoding="utf-8", errors="replace")
        raw = RulesMutator(rng).mutate(text)
        path.write_bytes(raw)
        began = time.monotonic()
        try:
            loaded += _load(path, rng)
            if number % processes_every == 0:
                _check(path)
        except Exception as error:
            kept = folder / f"broken-{number}.yaml"
            kept.write_bytes(raw)
            problems.append(f"rules {seed}/{number}: {error!r} of {kept}")
        if time.monotonic() - began > _HANGS:
            problems.append(f"rules {seed}/{number}: took {time.monotonic() - began:.1f} s")
    return problems, loaded


def _load(path, rng):
    try:
        config = load_config(path, environ={}, secrets=Secrets.IGNORED, depth=Depth.EVERYTHING)
    except ConfigError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.file, problem
            assert problem.more or problem.line or ".j2" in problem.file, problem
        return 0
    body = wallet(rng, bad=True)
    memory = blank_memory(next(iter(config.accounts)))
    for number, raw in enumerate((str(body).replace("'", '"').encode(), Mutator(rng).mutate(body))):
        now = T0 + number * S
        memory = evaluate(config.ruleset, memory, outcome_of(raw, now), now=now).memory
    return 1


def _check(path):
    done = subprocess.run(
        [sys.executable, "-m", "alerting", "check", str(path)],
        capture_output=True, timeout=60, check=False, env={"PYTHONPATH": str(ROOT), "PATH": "/bin"},
    )  # fmt: skip
    assert done.returncode in (0, 1), done
    assert b"Traceback" not in done.stdout + done.stderr, done
