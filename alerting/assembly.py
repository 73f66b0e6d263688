"""Puts the parts together: everything between a poll's outcome and the receivers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from alerting.delivery import Courier, Dispatcher, Result
from alerting.notifiers import build_notifier
from alerting.rendering import Renderer
from alerting.runner import Cycle
from alerting.settings import Config
from alerting.store import Store


def build_cycle(
    config: Config,
    store: Store,
    *,
    clock: Callable[[], datetime],
    on_result: Callable[[Result], None] = lambda _: None,
) -> Cycle:
    """A cycle with a courier per receiver, on one store."""
    renderer = Renderer(overrides=config.templates)
    couriers = {
        name: Courier(receiver, store=store, renderer=renderer, build=build_notifier, clock=clock)
        for name, receiver in config.receivers.items()
    }
    dispatcher = Dispatcher(couriers, store=store, clock=clock, on_result=on_result)
    return Cycle(
        ruleset=config.ruleset,
        store=store,
        dispatcher=dispatcher,
        clock=clock,
        keep_history=config.history_keep,
    )
