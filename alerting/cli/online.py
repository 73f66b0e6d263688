"""`check --online`: the exchange and each receiver's service are asked; nothing is sent."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from alerting.cli import context
from alerting.cli.side_by_side import side_by_side
from alerting.terminal import count

if TYPE_CHECKING:
    from alerting.config.settings import Config
    from alerting.engine.snapshot import PollOutcome, Snapshot
    from alerting.notify.settings import ReceiverSettings

#: Beyond what each question is given itself: for one that does not keep to it.
_GRACE = timedelta(seconds=5)

#: Whether it is well, and what to say of it.
Answer = tuple[bool, str]


def ask_all(config: Config, *, state: Path) -> bool:
    """Ask everybody at once, print a line each; True if all is well."""
    from alerting.notify.enquiry import PATIENCE

    questions = {f"account {name}": ask for name, ask in _accounts(config, state).items()}
    for name, receiver in config.receivers.items():
        questions[f"receiver {name}"] = _receiver(receiver)
    answers = _answers(questions, patience=max(config.poll.timeout, PATIENCE) + _GRACE)
    for who, (fine, text) in answers.items():
        print(f"{who}: {text}" if fine else f"{who}: FAILED: {text}")
    return all(fine for fine, _ in answers.values())


def _answers(
    questions: dict[str, Callable[[], Answer]], *, patience: timedelta
) -> dict[str, Answer]:
    asked = {who: functools.partial(_safely, question) for who, question in questions.items()}
    found = side_by_side(asked, seconds=patience.total_seconds())
    late = False, f"no answer within {patience.total_seconds():.0f} s"
    return {who: found.get(who, late) for who in questions}


def _safely(question: Callable[[], Answer]) -> Answer:
    try:
        return question()
    except Exception as error:  # noqa: BLE001 - 180 plugins can raise anything
        return False, f"internal error: {type(error).__name__}"


def _receiver(receiver: ReceiverSettings) -> Callable[[], Answer]:
    def ask() -> Answer:
        from alerting.notify.enquiry import enquire

        said = enquire(receiver)
        return said.fine, said.text

    return ask


# ── the exchange ────────────────────────────────────────────────────────────


def _accounts(config: Config, state: Path) -> dict[str, Callable[[], Answer]]:
    """A question per account, at the pace that the state file knows of it."""
    from alerting.service.build import build_clients
    from alerting.store.state import Store

    with contextlib.ExitStack() as stack:
        # only read: whoever merely asks makes no state
        store = stack.enter_context(contextlib.closing(Store(state))) if state.exists() else None
        clients = build_clients(config, store, clock=context.now)

    def question(name: str) -> Callable[[], Answer]:
        def ask() -> Answer:
            with contextlib.closing(clients[name]) as client:
                return _wallet(client.poll().outcome)

        return ask

    return {name: question(name) for name in clients}


def _wallet(outcome: PollOutcome) -> Answer:
    from alerting.engine.feeds import POSITIONS
    from alerting.engine.snapshot import PollFailure

    if isinstance(outcome, PollFailure):
        return False, str(outcome)
    if outcome.feed == POSITIONS:
        return True, f"read, {count(len(outcome.positions), 'position')}"
    return True, f"read, {_totals(outcome)}"


def _totals(snapshot: Snapshot) -> str:
    totals = [
        f"{wallet.base_asset} total {wallet.fields.get('total_balance', 'unknown')}"
        for wallet in snapshot.wallets
    ]
    return ", ".join(totals) or "no wallet in it"
