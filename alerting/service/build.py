"""Puts the parts of a cycle together, as a rules file says: from the clients to the receivers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from alerting.config.settings import Config
from alerting.engine.feeds import WALLET
from alerting.exchanges.coinswitch.client import WalletClient
from alerting.exchanges.coinswitch.positions import PositionsClient
from alerting.loops import Loops
from alerting.messages.rendering import Renderer
from alerting.notify.dispatcher import Dispatcher, OnState, ReceiverWorker, Result
from alerting.notify.receivers import build_notifier
from alerting.service.cycle import Cycle
from alerting.service.polling import Poller, reading_name, reading_of
from alerting.service.positions import MemoryStore, PositionsReader
from alerting.store.state import Store


class Client(Poller, Protocol):
    """Reads one feed of one account of the exchange."""

    def pace(self) -> str:
        """For the next process, as text."""

    def close(self) -> None:
        """Give up the connection; later polls fail."""


def build_cycle(
    config: Config,
    store: Store,
    *,
    clock: Callable[[], datetime],
    clients: Mapping[str, Client] | None = None,
    on_result: Callable[[Result], None] = lambda _: None,
    loops: Loops | None = None,
    on_state: OnState = lambda _what, _error: None,
) -> Cycle:
    """A cycle with a worker per receiver, on one store; it keeps the pace of the `clients`.

    Its threads are among the `loops`.
    """

    def facts_of(name: str) -> dict[str, str]:
        client = (clients or {}).get(name)
        return {} if client is None else {_pace_key(name): client.pace()}

    store.set_deliver_within(config.deliver_within)
    renderer = renderer_of(config)
    workers = {
        name: ReceiverWorker(
            receiver,
            store=store,
            renderer=renderer,
            build=build_notifier,
            clock=clock,
            on_state=on_state,
        )
        for name, receiver in config.receivers.items()
    }
    dispatcher = Dispatcher(
        workers, store=store, clock=clock, on_result=on_result, loops=loops, on_state=on_state
    )
    return Cycle(
        ruleset=config.ruleset,
        store=store,
        dispatcher=dispatcher,
        clock=clock,
        display=config.display,
        keep_history=config.history_keep,
        facts_of=facts_of,
    )


def renderer_of(config: Config) -> Renderer:
    """What words messages as the rules file wants them."""
    return Renderer(overrides=config.templates, show=config.display)


def readings(config: Config) -> list[str]:
    """What is read: each feed of each account, by the name that people know it by."""
    return [
        reading_name(account, feed)
        for account in config.accounts
        for feed in config.ruleset.feeds_of(account)
    ]


def build_clients(
    config: Config,
    store: MemoryStore | None,
    *,
    clock: Callable[[], datetime],
    steady: Callable[[], datetime] | None = None,
    keep: Mapping[str, Client] | None = None,
    before: Config | None = None,
) -> dict[str, Client]:
    """A client per reading, at the pace that the state file, if there is one, knows of it.

    Their requests bear the machine's `clock`; `steady` is the program's.
    After a reload those whose settings are as before go on, and all others are closed.
    """

    def same(name: str) -> bool:
        account, _ = reading_of(name)
        return before is not None and (before.accounts.get(account), before.poll.timeout) == (
            config.accounts[account],
            config.poll.timeout,
        )

    wanted = readings(config)
    old = dict(keep or {})
    kept = {name: client for name, client in old.items() if name in wanted and same(name)}
    for name in old.keys() - kept.keys():
        old[name].close()
    make = functools.partial(_client, config, store, clock=clock, steady=steady)
    return {name: kept.get(name) or make(name) for name in wanted}


def _client(
    config: Config,
    store: MemoryStore | None,
    name: str,
    *,
    clock: Callable[[], datetime],
    steady: Callable[[], datetime] | None,
) -> Client:
    account, feed = reading_of(name)
    settings, timeout = config.accounts[account], config.poll.timeout
    known = None if store is None else store.meta(_pace_key(name))
    if feed == WALLET:
        return WalletClient(settings, timeout=timeout, clock=clock, steady=steady, remembered=known)
    client = PositionsClient(
        settings, timeout=timeout, clock=clock, steady=steady, remembered=known
    )
    return PositionsReader(
        client, store, account=account, clock=steady or clock, record=bool(config.history_keep)
    )


def _pace_key(name: str) -> str:
    return f"pace.{name}"
