"""Everything mutated: answers, rules files, state files; what `bench/mutations.py` and CI run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from alerting.exchanges.coinswitch.client import WalletClient
from alerting.sandbox.exchange import LoopbackExchange, Special
from alerting.sandbox.inbox import Inbox
from alerting.store.state import Store
from tests.support.damaged_states import try_damages
from tests.support.mutated_answers import Story, Verdicts, tell_many
from tests.support.mutated_rules import try_rules

#: of so many stories one goes over HTTP and through a state file
_WHOLE_WAY = 25


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run came to: lines to print, and what went wrong."""

    lines: tuple[str, ...]
    problems: tuple[str, ...]


def run(folder: Path, *, answers: int, rules: int, damages: int, seed: object) -> Iterator[Run]:
    """One part after the other."""
    for name, part in (
        ("answers", lambda: try_answers(folder, answers, seed)),
        ("rules files", lambda: try_rules_files(folder, rules, seed)),
        ("damages", lambda: try_state_files(folder, damages, seed)),
    ):
        began = time.monotonic()
        done = part()
        yield replace(done, lines=(f"{name}: {time.monotonic() - began:.0f} s", *done.lines))


def try_answers(folder: Path, answers: int, seed: object) -> Run:
    """Stories told with mutated answers."""
    with LoopbackExchange() as exchange, _client(exchange) as client:

        def whole_way(number: int, name: str, verdicts: Verdicts) -> bool:
            if number % _WHOLE_WAY:
                return False

            def over_http(raw, _at):
                exchange.script = [Special(headers={"Content-Type": "x"}, answer=raw)]
                return client.poll().outcome

            path = folder / f"story-{number}.db"
            with contextlib.closing(Store(path)) as store:
                Story(name, verdicts, read=over_http, store=store).tell()
            path.unlink()
            return True

        done = tell_many(answers, seed, first=whole_way)
    counts = {
        "tracebacks": done.tracebacks,
        "false resolves": done.false_resolves,
        "missed": done.missed,
        "never resolved": done.never_resolved,
        "hangs": done.hangs,
    }
    mutations = ", ".join(f"{name} {count}" for name, count in sorted(done.mutations.items()))
    return Run(
        lines=(
            f"  mutated {done.answers} of {done.polls} polls, {done.read} of them readable",
            "  " + ", ".join(f"{name} {len(found)}" for name, found in counts.items()),
            f"  mutations: {mutations}",
        ),
        problems=tuple(done.problems),
    )


@contextlib.contextmanager
def _client(exchange: LoopbackExchange) -> Iterator[WalletClient]:
    account = replace(exchange.account(), rate_requests=1_000_000)
    client = WalletClient(account, timeout=timedelta(seconds=10), clock=exchange.clock)
    try:
        yield client
    finally:
        client.close()


def try_rules_files(folder: Path, rules: int, seed: object) -> Run:
    """Mutated rules files."""
    problems, loaded = try_rules(rules, seed, folder)
    return Run(
        lines=(f"  {rules} mutated, {loaded} valid all the same, {len(problems)} went wrong",),
        problems=tuple(problems),
    )


def try_state_files(folder: Path, damages: int, seed: object) -> Run:
    """Cycles of cron on damaged state files."""
    with LoopbackExchange() as exchange, Inbox() as inbox:
        problems, codes = try_damages(damages, seed, folder, exchange, inbox)
    goes_on = codes.count(0)
    return Run(
        lines=(
            f"  {damages} damaged: all goes on after {goes_on}, told are {len(codes) - goes_on}",
            f"  {len(problems)} went wrong",
        ),
        problems=tuple(problems),
    )
