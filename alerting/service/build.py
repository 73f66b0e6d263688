"""Puts the parts of a cycle together, as a rules file says: from the clients to the receivers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from alerting.config.settings import Config
from alerting.exchanges.coinswitch.client import WalletClient
from alerting.loops import Loops
from alerting.messages.rendering import Renderer
from alerting.notify.dispatcher import Dispatcher, OnState, ReceiverWorker, Result
from alerting.notify.receivers import build_notifier
from alerting.service.cycle import Cycle
from alerting.store.facts import FactStore
from alerting.store.state import Store


def build_cycle(
    config: Config,
    store: Store,
    *,
    clock: Callable[[], datetime],
    clients: Mapping[str, WalletClient] | None = None,
    on_result: Callable[[Result], None] = lambda _: None,
    loops: Loops | None = None,
    on_state: OnState = lambda _what, _error: None,
) -> Cycle:
    """A cycle with a worker per receiver, on one store; it keeps the pace of the `clients`.

    Its threads are among the `loops`.
    """

    def facts_of(account: str) -> dict[str, str]:
        client = (clients or {}).get(account)
        return {} if client is None else {_pace_key(account): client.pace()}

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


def build_clients(
    config: Config,
    store: FactStore | None,
    *,
    clock: Callable[[], datetime],
    steady: Callable[[], datetime] | None = None,
    keep: Mapping[str, WalletClient] | None = None,
    before: Config | None = None,
) -> dict[str, WalletClient]:
    """A client per account, at the pace that the state file, if there is one, knows of it.

    Their requests bear the machine's `clock`; `steady` is the program's.
    After a reload those whose settings are as before go on, and all others are closed.
    """

    def same(name: str) -> bool:
        return before is not None and (before.accounts.get(name), before.poll.timeout) == (
            config.accounts[name],
            config.poll.timeout,
        )

    old = dict(keep or {})
    kept = {name: client for name, client in old.items() if name in config.accounts and same(name)}
    for name in old.keys() - kept.keys():
        old[name].close()
    return {
        name: kept.get(name)
        or WalletClient(
            account,
            timeout=config.poll.timeout,
            clock=clock,
            steady=steady,
            remembered=None if store is None else store.meta(_pace_key(name)),
        )
        for name, account in config.accounts.items()
    }


def _pace_key(account: str) -> str:
    return f"pace.{account}"
