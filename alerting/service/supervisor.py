"""What outlives a reload: the state file and its lock, the last resort, monitoring, the signals.

`run --once` runs one cycle in it; the daemon runs one after another, each by the rules file of its
time. Everything from outside (the configuration, the clock, the environment) is passed in.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from alerting.config.reload import Reloader, differences
from alerting.config.settings import Config
from alerting.errors import StoreError
from alerting.monitoring.monitor import Monitoring
from alerting.notify.dispatcher import Result
from alerting.notify.last_resort import Emergency
from alerting.service.build import build_clients, build_cycle
from alerting.service.daemon import Daemon, LoopSettings
from alerting.service.once import CycleResult, run_once
from alerting.service.process import Signals, StateLock, Systemd, real_path
from alerting.store.state import HOLDER, Store, holder_of
from alerting.units import format_duration

log = logging.getLogger("alerting")

# A message past the outbox gets so long before the process ends.
_EMERGENCY_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Opened:
    """The state file, open and locked, and who is told how it is."""

    store: Store
    emergency: Emergency
    monitoring: Monitoring

    def report(self, what: str, error: StoreError | None) -> None:
        self.emergency.report(what, error)
        self.monitoring.report(what, error)

    def take_over(self, config: Config, *, before: Config, now: datetime) -> None:
        """Go on by a changed rules file: what is not built anew takes its settings from it.

        The cycle, its receivers and the accounts' clients are built anew (build.py), and monitoring
        is told with the daemon that it watches.
        """
        for name, receiver in config.receivers.items():
            if name in before.receivers and before.receivers[name].url != receiver.url:
                self.store.address_changed(name, now=now)
        self.emergency.take_over(
            config.receivers, after=config.ruleset.blind_after, watched=config.accounts
        )


class Supervisor:
    """Runs the program on one state file; only one process at a time does."""

    def __init__(
        self,
        config: Config,
        state: Path,
        *,
        clock: Callable[[], datetime],
        metrics_file: Path | None = None,
        signals: Signals | None = None,
        loop: LoopSettings | None = None,
    ) -> None:
        self._config = config
        # all that is kept beside the state file is kept beside the file itself, not beside a link
        self._state = real_path(state)
        self._clock = clock
        self._metrics_file = metrics_file
        self._signals = signals or Signals()
        self._loop = loop
        self._daemon: Daemon | None = None
        self._stopping = False

    def run_once(self, *, show: Callable[[CycleResult], None]) -> bool:
        """One cycle for cron, shown before it is told to who monitors us; True: all went well.

        Raises StateBusyError if another process works on the state file, StoreError if it cannot
        be used.
        """
        with self._open() as opened:
            began = self._clock()
            deliveries: list[Result] = []
            clients = build_clients(self._config, opened.store, clock=self._clock)
            cycle = build_cycle(
                self._config,
                opened.store,
                clock=self._clock,
                clients=clients,
                on_result=deliveries.append,
            )
            result = run_once(cycle, clients, deliveries)
            opened.emergency.report("cycle", None)
            for client in clients.values():
                client.close()
            show(result)
            written = opened.monitoring.after_cycle(began=began)
            return result.ok and written

    def run(self, *, reloader: Reloader, environ: Mapping[str, str], listen: str | None) -> None:
        """The daemon, until a signal or `stop` ends it; `reloader` is older than the configuration.

        Raises as `run_once`.
        """
        # before all else: a signal at the start must not end the process by its default action
        self._signals.on_reload(reloader.ask)
        self._signals.on_end(self.stop)
        with self._open() as opened:
            opened.monitoring.start(listen=listen)
            config = self._config
            clients = build_clients(config, opened.store, clock=self._clock)
            recovered = opened.store.recover()
            if recovered:
                log.warning("%d messages were being sent when the last run ended", recovered)
            while True:
                daemon = Daemon(
                    build_cycle(config, opened.store, clock=self._clock, clients=clients),
                    clients,
                    poll=config.poll,
                    systemd=Systemd(environ),
                    on_state=opened.report,
                    reload=reloader.check,
                    loop=self._loop,
                )
                changed = self._until_changed(daemon, config, opened)
                if changed is None:
                    return
                clients = build_clients(
                    changed, opened.store, clock=self._clock, keep=clients, before=config
                )
                opened.take_over(changed, before=config, now=self._clock())
                config = changed

    def stop(self) -> None:
        """End the daemon; safe in a signal handler."""
        self._stopping = True
        if self._daemon is not None:
            self._daemon.stop()

    def _until_changed(self, daemon: Daemon, config: Config, opened: _Opened) -> Config | None:
        """Run a daemon; the configuration to go on with, None: the end."""
        opened.monitoring.watch(config, stalled=daemon.stalled)
        self._daemon = daemon
        if self._stopping:
            # asked to at the start, or while the daemon before this one made room for it
            daemon.stop()
        log.info(
            "watching %s every %s; state file %s",
            ", ".join(config.accounts),
            format_duration(config.poll.interval),
            opened.store.path,
        )
        changed = daemon.run()
        if changed is not None:
            news = "; ".join(differences(config, changed))
            log.info("rules file taken over: %s", news or "as before")
        return changed

    @contextlib.contextmanager
    def _open(self) -> Iterator[_Opened]:
        config, clock = self._config, self._clock
        emergency = Emergency(
            config.receivers, self._state, after=config.ruleset.blind_after, clock=clock
        )
        try:
            with StateLock(self._state, now=clock(), holder=lambda: holder_of(self._state)) as lock:
                store = Store(self._state, deliver_within=config.deliver_within)
                with contextlib.suppress(StoreError):
                    # a courtesy too, to who comes under another name of the file
                    store.set_meta(HOLDER, lock.owner)
                monitoring = Monitoring(config, store, clock=clock, metrics_file=self._metrics_file)
                try:
                    yield _Opened(store=store, emergency=emergency, monitoring=monitoring)
                finally:
                    monitoring.stop()
                    store.close()
        except StoreError as error:
            emergency.give_up(error)
            raise
        finally:
            emergency.wait(seconds=_EMERGENCY_SECONDS)
