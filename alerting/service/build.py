"""Puts the parts together: everything between a poll's outcome and the receivers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from alerting.config.settings import Config
from alerting.messages.rendering import Renderer
from alerting.notify.dispatcher import Dispatcher, ReceiverWorker, Result
from alerting.notify.receivers import build_notifier
from alerting.service.cycle import Cycle
from alerting.store.state import Store


def build_cycle(
    config: Config,
    store: Store,
    *,
    clock: Callable[[], datetime],
    on_result: Callable[[Result], None] = lambda _: None,
) -> Cycle:
    """A cycle with a worker per receiver, on one store."""
    renderer = Renderer(overrides=config.templates)
    workers = {
        name: ReceiverWorker(
            receiver, store=store, renderer=renderer, build=build_notifier, clock=clock
        )
        for name, receiver in config.receivers.items()
    }
    dispatcher = Dispatcher(workers, store=store, clock=clock, on_result=on_result)
    return Cycle(
        ruleset=config.ruleset,
        store=store,
        dispatcher=dispatcher,
        clock=clock,
        keep_history=config.history_keep,
    )
