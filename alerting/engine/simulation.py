"""The engine on a simulated clock, with receivers that accept everything at once.

`replay` and `test` are this with other ends; `run` is the same engine with real ones.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from alerting.engine.evaluation import Evaluation, all_delivered, blank_memory, evaluate
from alerting.engine.model import Memory
from alerting.engine.rules import Ruleset
from alerting.engine.snapshot import PollOutcome


class Simulation:
    """One set of rules over any number of accounts; memory grows with alerts, never with time."""

    def __init__(self, ruleset: Ruleset) -> None:
        self._ruleset = ruleset
        self._memories: dict[str, Memory] = {}
        #: account -> the feeds that were read, or will be
        self._read: dict[str, set[str]] = {}

    def expect(self, account: str, feed: str) -> None:
        """A feed of an account is read from the start on, though its first outcome comes later.

        One that is not expected is none until its first outcome: of what was never recorded, or
        stands in no test, it is not told that nobody can see it.
        """
        self._read.setdefault(account, set()).add(feed)

    def feed(self, outcome: PollOutcome, *, at: datetime) -> Evaluation:
        """Judge one recorded outcome; an account that the rules file does not name is let in.

        Of a feed that no rule asks for nothing follows, not even that time has passed.
        """
        account = outcome.account
        self.expect(account, outcome.feed)
        if account not in self._ruleset.accounts:
            accounts = (*self._ruleset.accounts, account)
            self._ruleset = replace(self._ruleset, accounts=accounts)
        memory = self.memory(account)
        if outcome.feed not in self._ruleset.feeds_of(account):
            return Evaluation(at=at, memory=memory, transitions=(), notifications=())
        evaluation = evaluate(self._ruleset, memory, outcome, now=at, read=self._read[account])
        self._memories[account] = all_delivered(evaluation.memory)
        return evaluation

    def memory(self, account: str) -> Memory:
        """What is known of an account by now."""
        return self._memories.get(account) or blank_memory(account)
