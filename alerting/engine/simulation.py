"""The engine on a simulated clock, with receivers that accept everything at once.

`replay` and `test` are this with other ends; `run` is the same engine with real ones.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from alerting.engine.evaluation import Evaluation, all_delivered, blank_memory, evaluate
from alerting.engine.model import Memory, PollOutcome
from alerting.engine.rules import Ruleset


class Simulation:
    """One set of rules over any number of accounts; memory grows with alerts, never with time."""

    def __init__(self, ruleset: Ruleset) -> None:
        self._ruleset = ruleset
        self._memories: dict[str, Memory] = {}

    def feed(self, outcome: PollOutcome, *, at: datetime) -> Evaluation:
        """Judge one recorded outcome; an account that the rules file does not name is let in."""
        account = outcome.account
        if account not in self._ruleset.accounts:
            accounts = (*self._ruleset.accounts, account)
            self._ruleset = replace(self._ruleset, accounts=accounts)
        memory = self.memory(account)
        evaluation = evaluate(self._ruleset, memory, outcome, now=at)
        self._memories[account] = all_delivered(evaluation.memory)
        return evaluation

    def memory(self, account: str) -> Memory:
        """What is known of an account by now."""
        return self._memories.get(account) or blank_memory(account)
