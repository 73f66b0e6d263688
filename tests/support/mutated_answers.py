"""Answers of the exchange, mutated: a wallet's true story, told with answers that are broken for a while.

The truth is the story without the mutations, and what is true of a rule follows from it alone. Not
generated, since nobody could tell it from the truth: numbers that are wrong and agree with each other
(two rows that swap their values). A row that bears another name is such a lie from the second answer
in a row on (one position closed, another one opened); it is told in one answer only.
"""

from __future__ import annotations

import copy
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal

from alerting.engine.evaluation import blank_memory, evaluate
from alerting.engine.feeds import Scope
from alerting.engine.model import Direction, PollFailure, State
from alerting.exchanges.coinswitch.answers import parse_wallet
from alerting.exchanges.strict_json import AnswerError
from alerting.sandbox.exchange import wallet_body
from tests.support.broken_answers import NO_AMOUNTS
from tests.support.factories import (
    CRITICAL,
    T0,
    WARNING,
    S,
    make_rule,
    make_ruleset,
    make_threshold,
)

STEP = 15 * S
FORGET_AFTER = timedelta(minutes=3)
#: polls of a story: true, told with mutations, true again, and all is well (long enough to forget)
BEFORE, DURING, AFTER, CLEAR = 4, 6, 4, 30
# Longer than any evaluation may take on a busy machine.
_HANGS = 5.0


def _above(name, value, line, severity=WARNING, **kw):
    level = make_threshold(severity, line, for_=kw.pop("for_", 0), keep=kw.pop("keep", 0))
    return make_rule(name, value, level, direction=Direction.ABOVE, **kw)


RULESET = replace(
    make_ruleset(
        make_rule("floor", "total_available_balance", make_threshold(WARNING, "1000", for_=30)),
        _above("locked", "margin_ratio", "0.4", CRITICAL, keep=15),
        _above("unlisted", "unlisted_margin", "100"),
        _above("load", "blocked_balance", "250", scope=Scope.SYMBOL),
        _above("share", "margin_ratio", "0.2", CRITICAL, scope=Scope.SYMBOL, for_=15),
    ),
    forget_after=FORGET_AFTER,
)
ROWS = {(symbol, "USDT", "EXCHANGE_2") for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT")}
#: (rule, its row) that are true until all is well
TRUE = {
    ("floor", "USDT"),
    ("locked", "USDT"),
    ("unlisted", "USDT"),
    ("load", "BTCUSDT USDT EXCHANGE_2"),
    ("load", "ETHUSDT USDT EXCHANGE_2"),
    ("share", "BTCUSDT USDT EXCHANGE_2"),
}


def wallet(rng, *, bad):
    """The true answer of one instant; numbers move a little."""

    def some(amount):
        return Decimal(amount) + Decimal(rng.randrange(1000)) / 100

    rows = {"BTCUSDT": (some(600), 0), "ETHUSDT": (some(250), some(20)), "SOLUSDT": (some(20), 0)}
    if not bad:
        rows = {"SOLUSDT": (some(20), 0)}
    locked = sum((held + orders for held, orders in rows.values()), Decimal(0))
    locked += some(150) if bad else 0
    total = some(1900 if bad else 9000)
    body = wallet_body(total=total, available=total - locked, rows=rows)
    held = sum((held for held, _ in rows.values()), Decimal(0))
    wallets = body["data"]["base_asset_balances"]
    wallets[0] = wallet_body(total=total, available=total - locked, position_margin=held)["data"][
        "base_asset_balances"
    ][0]
    other = some(5000)
    wallets += wallet_body(total=other, available=other - 20, base_asset="USDC")["data"][
        "base_asset_balances"
    ]
    return body


# ── mutations ───────────────────────────────────────────────────────────────


def _places(value, path=()):
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from _places(value[key], (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _places(each, (*path, number))


def _at(body, path):
    for part in path:
        body = body[part]
    return body


def _has_new_row(body):
    """A row that can be read and bears a name that is not of the true story."""
    data = body.get("data") if isinstance(body, dict) else None
    rows = data.get("asset") if isinstance(data, dict) else None
    named = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    names = [tuple(row.get(key) for key in ("symbol", "base_asset", "exchange")) for row in named]
    return any(
        all(isinstance(each, str) and each.strip() and each.isprintable() for each in name)
        and name not in ROWS
        for name in names
    )


class Mutator:
    """Breaks answers; `names` counts what was done."""

    def __init__(self, rng):
        self.rng = rng
        #: an exchange is broken in the same way again and again; None: each time in another one
        self.habit = rng.random() if rng.random() < 0.5 else None
        self.names = Counter()
        #: one answer had a row by another name; a second one would be a lie that nobody sees through
        self.renamed = False

    def mutate(self, body):
        """The bytes of a broken answer."""
        others, self.rng = self.rng, random.Random(self.habit) if self.habit else self.rng
        while True:
            broken = self._broken(copy.deepcopy(body))
            new = _has_new_row(broken)
            if not (new and self.renamed):
                break
            self.rng = others
        self.renamed = self.renamed or new
        raw = json.dumps(broken, ensure_ascii=self.rng.random() < 0.5).encode(
            "utf-8", "surrogatepass"
        )
        if self.rng.random() < 0.25:
            raw = self._step(self.BYTES)(self, raw)
        self.rng = others
        return raw

    def _broken(self, body):
        for _ in range(self.rng.choice((1, 1, 1, 2, 3))):
            body = self._step(self.TREE)(self, body)
        return body

    def _step(self, steps):
        step = self.rng.choice(steps)
        self.names[step.__name__.strip("_")] += 1
        return step

    def _place(self, body, wanted=lambda _: True):
        found = [p for p in _places(body) if p and wanted(_at(body, p))]
        return self.rng.choice(found) if found else None

    def _set(self, body, path, value):
        if path is not None:
            _at(body, path[:-1])[path[-1]] = value
        return body

    def _drop(self, body):
        path = self._place(body)
        if path is not None:
            del _at(body, path[:-1])[path[-1]]
        return body

    def _null(self, body):
        return self._set(body, self._place(body), None)

    def _retype(self, body):
        odd = ([], {}, "", 0, True, [[]], {"a": {}}, "x" * 65, "\ud800", "a\nb", 1.5, [None])
        return self._set(body, self._place(body), copy.deepcopy(self.rng.choice(odd)))

    def _no_amount(self, body):
        def leaf(value):
            return not isinstance(value, dict | list)

        source = self.rng.choice(NO_AMOUNTS)
        try:
            value = json.loads(source)
        except ValueError:
            value = source
        return self._set(body, self._place(body, leaf), value)

    def _another_amount(self, body):
        def amount(value):
            return isinstance(value, str) and value.replace(".", "").isdigit()

        path = self._place(body, amount)
        value = str(self.rng.choice((0, "0.0", -5, "1e3", "0.000001", 10**9, "7.25")))
        return self._set(body, path, value)

    def _twice(self, body):
        path = self._place(body, lambda value: isinstance(value, list) and bool(value))
        if path is not None:
            rows = _at(body, path)
            twin = copy.deepcopy(self.rng.choice(rows))
            if self.rng.random() < 0.5 and isinstance(twin, dict):
                twin = self._another_amount(twin)
            rows.insert(self.rng.randrange(len(rows) + 1), twin)
        return body

    def _another_asset(self, body):
        """Seen once, and gone."""
        data = body.get("data") if isinstance(body, dict) else None
        wallets = data.get("base_asset_balances") if isinstance(data, dict) else None
        if isinstance(wallets, list):
            wallets += wallet_body(total="77", base_asset="INR")["data"]["base_asset_balances"]
        return body

    def _empty_list(self, body):
        return self._set(body, self._place(body, lambda value: isinstance(value, list)), [])

    def _lose_rows(self, body):
        """Rows of a list, or the list itself."""
        lost = self.rng.choice(("asset", "asset", "base_asset_balances"))
        data = body.get("data") if isinstance(body, dict) else None
        rows = data.get(lost) if isinstance(data, dict) else None
        if isinstance(rows, list) and self.rng.random() < 0.6:
            data[lost] = [row for row in rows if self.rng.random() < 0.5]
        elif isinstance(data, dict):
            data.pop(lost, None)
        return body

    def _rename(self, body):
        names = ("BTCUSDT", "ETHUSDT", "USDT", "EXCHANGE_2")
        path = self._place(body, lambda value: value in names)
        return self._set(body, path, "OTHER")

    def _shuffle(self, body):
        path = self._place(body, lambda value: isinstance(value, list))
        if path is not None:
            self.rng.shuffle(_at(body, path))
        return body

    TREE = (
        _drop, _drop, _null, _null, _retype, _retype, _no_amount, _no_amount, _another_amount,
        _another_amount, _twice, _another_asset, _empty_list, _rename, _shuffle,
        _lose_rows, _lose_rows,
    )  # fmt: skip

    def _cut(self, raw):
        return raw[: self.rng.randrange(len(raw) + 1)]

    def _utf16(self, raw):
        return raw.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass")

    def _bytes(self, raw):
        # within a name they would make another one, which is `_rename`
        return raw + bytes(self.rng.randrange(256) for _ in range(3))

    def _key_twice(self, raw):
        key = self.rng.choice(
            (b'"balances"', b'"total_balance"', b'"symbol"', b'"data"', b'"asset"')
        )
        return raw.replace(key + b":", key + b": 1, " + key + b":", 1)

    def _other_page(self, raw):
        return self.rng.choice((b"", b"[]", b"null", b"<html></html>", b'{"message":"x"}', b"{}"))

    BYTES = (_cut, _cut, _utf16, _bytes, _key_twice, _other_page)


# ── stories ─────────────────────────────────────────────────────────────────


@dataclass
class Verdicts:
    """What came of many stories; everything but the first two must stay empty."""

    answers: int = 0
    polls: int = 0
    #: of the answers, those that gave a snapshot all the same
    read: int = 0
    mutations: Counter = field(default_factory=Counter)
    false_resolves: list = field(default_factory=list)
    missed: list = field(default_factory=list)
    never_resolved: list = field(default_factory=list)
    tracebacks: list = field(default_factory=list)
    hangs: list = field(default_factory=list)

    @property
    def problems(self):
        return [
            f"{name}: {each}"
            for name in ("tracebacks", "false_resolves", "missed", "never_resolved", "hangs")
            for each in getattr(self, name)
        ]


def outcome_of(raw, at):
    """As the client makes it of a 200."""
    try:
        return parse_wallet(raw, account="main", observed_at=at)
    except AnswerError as error:
        return PollFailure(account="main", kind=error.kind, text=str(error))


class Story:
    """One account's polls from all true to all well, some of them told with mutated answers."""

    def __init__(self, seed, verdicts, *, read=outcome_of, store=None):
        self.seed, self.verdicts, self.read, self.store = seed, verdicts, read, store
        self.rng = random.Random(seed)
        self.mutator = Mutator(self.rng)
        self.memory = blank_memory("main")
        self.at = T0

    def tell(self):
        try:
            self._tell()
        except Exception as error:
            self.verdicts.tracebacks.append(f"story {self.seed}: {error!r}")
        self.verdicts.mutations += self.mutator.names

    def _tell(self):
        late = self.rng.random() < 0.5
        for number in range(BEFORE + DURING + AFTER):
            during = BEFORE <= number < BEFORE + DURING
            self._see(bad=True, mutated=during and self.rng.random() < 0.7)
        firing = self._firing()
        for missing in TRUE - firing:
            self.verdicts.missed.append(f"story {self.seed}: {missing}")
        for number in range(CLEAR):
            self._see(bad=False, mutated=late and number < 3)
        for alert in self.memory.alerts.values():
            if alert.state is not State.INACTIVE:
                text = f"story {self.seed}: {alert.rule} {dict(alert.labels)} {alert.detail}"
                self.verdicts.never_resolved.append(text)

    def _see(self, *, bad, mutated):
        body = wallet(self.rng, bad=bad)
        raw = self.mutator.mutate(body) if mutated else json.dumps(body).encode()
        started = time.monotonic()
        outcome = self.read(raw, self.at)
        done = self._judge(outcome)
        if time.monotonic() - started > _HANGS:
            self.verdicts.hangs.append(f"story {self.seed} at {self.at}")
        self.verdicts.polls += 1
        self.verdicts.answers += mutated
        self.verdicts.read += mutated and not isinstance(outcome, PollFailure)
        for change in done.transitions if bad else ():
            if change.rule == "unlisted" and self.mutator.renamed:
                continue  # a row by another name lists more than there is
            if change.target is State.RESOLVED and self._name(change.rule, change.labels) in TRUE:
                text = f"story {self.seed}: {change.rule} {dict(change.labels)} {change.reason}"
                self.verdicts.false_resolves.append(f"{text} at {self.at}: {raw[:2000]!r}")
        self.at += STEP

    def _judge(self, outcome):
        def judge(memory):
            return evaluate(RULESET, memory, outcome, now=self.at)

        done = judge(self.memory) if self.store is None else self.store.evaluate("main", judge)
        self.memory = done.memory
        return done

    def _firing(self):
        return {
            self._name(alert.rule, alert.labels)
            for alert in self.memory.alerts.values()
            if alert.state is State.FIRING
        }

    def _name(self, rule, labels):
        row = (labels.get(name) for name in ("symbol", "base_asset", "exchange"))
        return rule, " ".join(name for name in row if name)


def tell_many(answers, seed, *, first=None):
    """Stories until so many answers were mutated; `first(seed, verdicts)` may tell one its own way."""
    verdicts, number = Verdicts(), 0
    while verdicts.answers < answers:
        name = f"{seed}/{number}"
        if first is None or not first(number, name, verdicts):
            Story(name, verdicts).tell()
        number += 1
    return verdicts
