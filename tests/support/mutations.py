"""Thousands of spoilt answers through the program, held against the truth that they were made from.

Used by tests/promises/test_mutations.py and, for long runs, by bench/mutations.py.

A case is one wallet: some true answers in which alerts fire, ten spoilt ones with true ones between
them, then true ones again: in trouble, calm for longer than a vanished asset is remembered, in
trouble, calm. What should be said follows from the truth (truths.py) and the contract alone.

Not counted as false: what follows from a consistent lie (second_reading.py).
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alerting.config.load import load_config
from alerting.engine import evaluation
from alerting.engine.model import Memory, State, Transition
from alerting.engine.rules import Ruleset
from alerting.engine.snapshot import Poll, PollFailure, PollOutcome, Snapshot
from alerting.exchanges.coinswitch.answers import parse_wallet
from alerting.exchanges.coinswitch.client import WalletClient
from alerting.exchanges.strict_json import AnswerError
from alerting.messages.formats import Format
from alerting.messages.rendering import Renderer
from alerting.sandbox.exchange import LoopbackExchange, Special
from alerting.store.state import Store
from tests.support.mutated_answers import encode, mutate
from tests.support.rules_files import ENVIRON
from tests.support.second_reading import Reading, read
from tests.support.truths import JUDGED, RULES, STEP, Key, Truth, World

START = datetime(2026, 1, 1, tzinfo=UTC)
PER_CASE = 10
_SETTLE, _CALM, _AFTER = 8, 40, 6
#: longer than this for reading and judging one answer is a hang
#: (thousands of rows that each fire are 2 s of honest work)
LONGEST = 5.0
#: of so many cases one goes over HTTP, one into a real state file
_HTTP, _STORED = 25, 10


class HangError(BaseException):
    """It does not come to an end."""


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise HangError in what takes longer; for the main thread."""

    def ring(*_: object) -> None:
        raise HangError(f"longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Figures:
    """What was done, and each thing that was not as it must be."""

    counts: Counter[str] = field(default_factory=Counter)
    #: kind -> where it happened
    problems: dict[str, list[str]] = field(default_factory=dict)
    slowest: float = 0.0

    def problem(self, kind: str, text: str) -> None:
        self.problems.setdefault(kind, []).append(text)

    def add(self, other: Figures) -> None:
        self.counts += other.counts
        for kind, found in other.problems.items():
            self.problems.setdefault(kind, []).extend(found)
        self.slowest = max(self.slowest, other.slowest)


ANSWER_VERDICTS = (
    "tracebacks",
    "hangs",
    "false resolves",
    "false ends of pending",
    "positions falsely closed",
    "flaws not told",
    "alerts missed afterwards",
    "accounts that never resolve again",
)


# ── the ends of a case ──────────────────────────────────────────────────────


class _InMemory:
    """The engine alone."""

    def __init__(self, ruleset: Ruleset) -> None:
        self._ruleset = ruleset
        self.memory = evaluation.blank_memory("main")

    def judge(self, poll: Poll, now: datetime) -> evaluation.Evaluation:
        step = evaluation.evaluate(self._ruleset, self.memory, poll.outcome, now=now)
        self.memory = evaluation.all_delivered(step.memory)
        return step

    def tell(self, now: datetime) -> None:
        pass

    def close(self) -> None:
        pass


class _Stored:
    """A real state file: each poll is a transaction, its messages are worded and accepted."""

    def __init__(self, ruleset: Ruleset, path: Path) -> None:
        self._ruleset = ruleset
        self._store = Store(path)
        self._path = path
        self._renderer = Renderer(overrides=None)
        self._polls = 0

    @property
    def memory(self) -> Memory:
        return self._store.memory("main")

    def judge(self, poll: Poll, now: datetime) -> evaluation.Evaluation:
        self._polls += 1
        if self._polls % 16 == 0:  # a restart changes nothing
            self._store.close()
            self._store = Store(self._path)

        def judge(memory: Memory) -> evaluation.Evaluation:
            return evaluation.evaluate(self._ruleset, memory, poll.outcome, now=now)

        return self._store.evaluate("main", judge, poll=replace(poll, at=now))

    def tell(self, now: datetime) -> None:
        """What the receivers' threads do."""
        while (row := self._store.claim("desk", now=now)) is not None:
            formats = (Format.TEXT, Format.TELEGRAM) if self._polls % 4 == 0 else (Format.TEXT,)
            for fmt in formats:
                self._renderer.render(row.notification, fmt, maybe_repeat=False, now=now)
            self._store.mark_sent(row, reason="ok", now=now)

    def close(self) -> None:
        self._store.close()


class _Parsed:
    """Bytes to a poll without the wire."""

    def poll(self, body: bytes, now: datetime) -> Poll:
        try:
            outcome: PollOutcome = parse_wallet(body, account="main", observed_at=now)
        except AnswerError as error:
            outcome = PollFailure(account="main", kind=error.kind, text=str(error))
        text = body.decode("utf-8", "replace")
        return Poll(at=now, account="main", body=text, outcome=outcome)

    def close(self) -> None:
        pass


class _OverHttp:
    """Bytes to a poll by a real exchange on loopback and the real client."""

    def __init__(self) -> None:
        self._exchange = LoopbackExchange().__enter__()
        account = replace(self._exchange.account(), rate_requests=1_000_000)
        self._client = WalletClient(account, timeout=timedelta(seconds=5))

    def poll(self, body: bytes, now: datetime) -> Poll:
        self._exchange.script = [Special(answer=body)]
        poll = self._client.poll()
        outcome = poll.outcome
        if isinstance(outcome, Snapshot):
            outcome = replace(outcome, observed_at=now)
        return replace(poll, at=now, outcome=outcome)

    def close(self) -> None:
        self._client.close()
        self._exchange.__exit__(None, None, None)


# ── a case ──────────────────────────────────────────────────────────────────


@dataclass
class _Past:
    """One poll that was judged."""

    truth: Truth
    #: None: nothing could be read
    reading: Reading | None
    spoilt: bool


class Case:
    """One wallet with ten spoilt answers."""

    def __init__(self, seed: int, ruleset: Ruleset, figures: Figures, *, folder: Path) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.figures = figures
        self.world = World(self.random)
        stored, http = seed % _STORED == 1, seed % _HTTP == 2
        self.state = _Stored(ruleset, folder / f"{seed}.db") if stored else _InMemory(ruleset)
        self.wire = _OverHttp() if http else _Parsed()
        self.past: list[_Past] = []
        self.now = START
        self._where = ""

    def run(self) -> None:
        try:
            self._run()
        finally:
            self.wire.close()
            self.state.close()

    def _run(self) -> None:
        self._true_answers(2)
        if self.random.random() < 0.8:
            self.world.crisis()
        self._true_answers(5)
        self._spoilt_answers()
        if self.random.random() < 0.7:
            self.world.crisis()
        self._true_answers(_SETTLE)
        self._none_missed("after the mutations")
        self.world.calm()
        self._true_answers(_CALM)
        self._nothing_on("after the mutations")
        self.world.crisis()
        self._true_answers(_AFTER)
        self._none_missed("in a new trouble")
        self.world.calm()
        self._true_answers(_AFTER)
        self._nothing_on("after a new trouble")

    def _true_answers(self, count: int) -> None:
        for _ in range(count):
            truth = self.world.now()
            self._see(encode(truth.body()).encode(), truth, "true", spoilt=False)

    def _spoilt_answers(self) -> None:
        seed, lasting = 0, 0
        for _ in range(PER_CASE):
            if self.random.random() < 0.5:
                self.world.move()
            if self.random.random() < 0.25:
                self._true_answers(1)
            if lasting == 0:
                seed = self.random.randrange(1 << 60)
                lasting = self.random.choice([1, 1, 2, 3, 6])
            lasting -= 1
            truth = self.world.now()
            body, how = mutate(truth.body(), seed)
            self.figures.counts["answers"] += 1
            self._see(body, truth, how, spoilt=True)

    def _see(self, body: bytes, truth: Truth, how: str, *, spoilt: bool) -> None:
        self.now += timedelta(seconds=STEP)
        self._where = f"case {self.seed}, poll {len(self.past)} ({how})"
        # this processor's time: others may be at work here
        began = time.process_time()
        with deadline(20):
            poll = self.wire.poll(body, self.now)
            step = self.state.judge(poll, self.now)
        took = time.process_time() - began
        # it waits for no poll and keeps none: its time is the receivers' own
        with deadline(100):
            self.state.tell(self.now)
        self.figures.counts["polls"] += 1
        self.figures.slowest = max(self.figures.slowest, took)
        if took > LONGEST:
            self.figures.problem("hangs", f"{self._where}: {took:.1f} s")
        reading = read(body)
        self.past.append(_Past(truth, reading, spoilt))
        self._count(poll, reading, truth, spoilt=spoilt)
        for change in step.transitions:
            self._check_change(change)
        self._check_told(poll, step)

    def _count(self, poll: Poll, reading: Reading | None, truth: Truth, *, spoilt: bool) -> None:
        if not spoilt:
            return
        if isinstance(poll.outcome, PollFailure):
            kind = "failed polls"
        elif reading is None or reading.flawed(truth, None):
            kind = "suspect"
        elif any(reading.may_hide((asset, "", ""), truth) for asset in truth.assets):
            kind = "consistent lies"
        else:
            kind = "as good as true, or rows lost"
        self.figures.counts[kind] += 1

    # ── verdicts ────────────────────────────────────────────────────────────

    def _check_change(self, change: Transition) -> None:
        rule, severity = change.rule, change.severity.value
        if rule not in JUDGED:
            return
        key = tuple(change.labels.get(name, "") for name in ("base_asset", "symbol", "exchange"))
        past = self.past[-1]
        if not past.truth.has(key):
            return
        what = f"{self._where}: {rule} {'/'.join(key)} {severity}"
        if change.target is State.RESOLVED and change.reason.value == "clear":
            if self._false_resolve(rule, key, severity):
                self.figures.problem("false resolves", what)
        elif change.source is State.PENDING and change.reason.value == "clear":
            if past.truth.breaches(rule, key, severity) and not self._excused(rule, key, past):
                self.figures.problem("false ends of pending", what)
        elif change.reason.value == "gone" and not self._may_be_closed(key):
            self.figures.problem("positions falsely closed", what)

    def _may_be_closed(self, key: Key) -> bool:
        """By section 3's measure: of what was last read of it less than half is in the totals."""
        if any(p.reading and p.reading.may_hide(key, p.truth) for p in self._last(key, 2)):
            return True
        listed = (p.reading.rows.get(key) for p in reversed(self.past) if p.reading is not None)
        last = next((fields for fields in listed if fields is not None), None)
        now = self.past[-1].truth.assets[key[0]].rows[key[1]].fields()
        name = "blocked_balance"
        return last is not None and 2 * abs(now[name]) <= abs(last[name])

    def _last(self, key: Key, count: int) -> list[_Past]:
        return [past for past in self.past[-count:] if past.truth.has(key)]

    def _false_resolve(self, rule: str, key: Key, severity: str) -> bool:
        """The condition still holds, or has only just ceased to, and no lie says otherwise."""
        keep = JUDGED[rule].lines[severity].keep
        within = self._last(key, 1 + -(-keep // STEP))
        if any(self._excused(rule, key, past) for past in within):
            return False
        now = within[-1]
        if not now.truth.is_clear(rule, key, severity):
            return True
        return any(
            not past.spoilt and not past.truth.is_clear(rule, key, severity) for past in within
        )

    def _excused(self, rule: str, key: Key, past: _Past) -> bool:
        return past.reading is not None and past.reading.lies_about(rule, key, past.truth)

    def _check_told(self, poll: Poll, step: evaluation.Evaluation) -> None:
        """A flaw that anybody can see is a failed poll, or `suspect-data` fires."""
        if isinstance(poll.outcome, PollFailure):
            return
        past = self.past[-1]
        before = self.past[-2] if len(self.past) > 1 else past
        flaw = "it cannot be read"
        if past.reading is not None:
            flaw = past.reading.flawed(past.truth, None if before.spoilt else before.truth) or ""
        fires = any(
            alert.rule == "suspect-data" and alert.state is State.FIRING
            for alert in step.memory.alerts.values()
        )
        if flaw and not fires:
            self.figures.problem("flaws not told", f"{self._where}: {flaw}")

    def _none_missed(self, when: str) -> None:
        """What was true for long enough in the last true answers fires."""
        recent = self.past[-_AFTER:]
        firing = {
            (alert.rule, _key(alert.labels), level.severity.value)
            for alert in self.state.memory.alerts.values()
            for level in alert.levels
            if level.state is State.FIRING
        }
        for rule, judged in JUDGED.items():
            for key in recent[-1].truth.keys(rule):
                for severity, line in judged.lines.items():
                    polls = recent[-(line.for_ // STEP + 2) :]
                    breach = all(
                        past.truth.has(key) and past.truth.breaches(rule, key, severity)
                        for past in polls
                    )
                    self.figures.counts["alerts due"] += breach
                    if breach and (rule, key, severity) not in firing:
                        text = f"{self._where}, {when}: {rule} {'/'.join(key)} {severity}"
                        self.figures.problem("alerts missed afterwards", text)

    def _nothing_on(self, when: str) -> None:
        on = [
            f"{alert.rule} {dict(alert.labels)} {alert.state.value}: {alert.detail}"
            for alert in self.state.memory.alerts.values()
            if alert.state is not State.INACTIVE
        ]
        if on:
            text = f"{self._where}, {when}: {'; '.join(on)}"
            self.figures.problem("accounts that never resolve again", text)


def _key(labels: object) -> Key:
    return tuple(labels.get(name, "") for name in ("base_asset", "symbol", "exchange"))


def mutated_answers(
    count: int,
    folder: Path,
    *,
    seed: int,
) -> Figures:
    """So many spoilt answers, ten for each wallet; the same seed gives the same cases."""
    file = folder / "answers.yaml"
    file.write_text(RULES, encoding="utf-8")
    ruleset = load_config(file, environ=ENVIRON).ruleset
    figures = Figures()
    for number in range(-(-count // PER_CASE)):
        case = Case(seed * 1_000_000 + number, ruleset, figures, folder=folder)
        try:
            case.run()
        except HangError as error:
            figures.problem("hangs", f"{case._where}: {error}")
        except Exception:
            figures.problem("tracebacks", f"{case._where}: {traceback.format_exc()}")
    return figures
