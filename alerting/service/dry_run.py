"""One cycle that stores and sends nothing: what it would have told, and whom.

The cycle is the real one; only its ends are others: a state file that forgets what it is given, and
nobody who delivers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from alerting.config.settings import Config
from alerting.engine.evaluation import Evaluation, blank_memory
from alerting.engine.model import AccountState, Memory, Notification
from alerting.engine.snapshot import Poll
from alerting.messages.formats import Format, Message
from alerting.service.build import build_clients, renderer_of
from alerting.service.cycle import Cycle
from alerting.service.once import CycleResult, run_once
from alerting.store.history import RecordedPoll
from alerting.store.state import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class DryRun:
    """What a cycle would have come to."""

    result: CycleResult
    #: what would be sent, as plain text, in the order of the evaluations
    messages: tuple[tuple[Notification, Message], ...]
    #: messages of earlier cycles that are still to be sent
    waiting: int


def dry_run(config: Config, state: Path, *, clock: Callable[[], datetime]) -> DryRun:
    """Poll and judge as `run_once` does; StoreError if the state file cannot be read."""
    store = _Forgetful(Store(state) if state.exists() else None)
    clients = build_clients(config, store, clock=clock)
    try:
        cycle = Cycle(
            ruleset=config.ruleset,
            store=store,
            dispatcher=_Nobody(),
            clock=clock,
            display=config.display,
        )
        result = run_once(cycle, clients, [])
        waiting = store.waiting()
    finally:
        for client in clients.values():
            client.close()
        store.close()
    renderer = renderer_of(config)
    return DryRun(
        result=result,
        messages=tuple(
            (each, renderer.render(each, Format.TEXT, maybe_repeat=False, now=each.observed_at))
            for evaluation in store.evaluations
            for each in evaluation.notifications
        ),
        waiting=waiting,
    )


class _Nobody:
    """In the dispatcher's place: there is nothing to deliver."""

    def wake(self) -> None:
        pass

    def drain(self, *, seconds: float) -> bool:
        del seconds
        return True

    def stop(self) -> None:
        pass


class _Forgetful:
    """Reads a state file, if there is one, and keeps what an evaluation leaves to itself."""

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._after: dict[str, Memory] = {}
        self.evaluations: list[Evaluation] = []

    def close(self) -> None:
        if self._store is not None:
            self._store.close()

    def waiting(self) -> int:
        statuses = self._store.receiver_statuses() if self._store else {}
        return sum(each.pending for each in statuses.values())

    def evaluate(
        self,
        account: str,
        judge: Callable[[Memory], Evaluation],
        *,
        poll: Poll | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> Evaluation:
        del poll, facts
        evaluation = judge(self.memory(account))
        self._after[account] = evaluation.memory
        self.evaluations.append(evaluation)
        return evaluation

    def memory(self, account: str) -> Memory:
        if account in self._after:
            return self._after[account]
        return self._store.memory(account) if self._store else blank_memory(account)

    def accounts(self) -> Mapping[str, AccountState]:
        return self._store.accounts() if self._store else {}

    def failing_receivers(self, *, now: datetime, overdue: timedelta) -> Mapping[str, str]:
        return self._store.failing_receivers(now=now, overdue=overdue) if self._store else {}

    def meta(self, key: str) -> str | None:
        return self._store.meta(key) if self._store else None

    def set_meta(self, key: str, value: str) -> None:
        pass

    def last_poll(self, account: str, *, at: datetime, feed: str) -> RecordedPoll | None:
        return self._store.last_poll(account, at=at, feed=feed) if self._store else None

    def give_up_removed(self, *, present: Collection[str], now: datetime) -> int:
        del present, now
        return 0

    def recover(self) -> int:
        return 0

    def prune(
        self, *, now: datetime, keep_history: timedelta, receivers: Collection[str] | None = None
    ) -> None:
        pass
