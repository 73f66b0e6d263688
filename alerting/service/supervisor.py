"""What outlives a reload: the state file and its lock, the last resort, monitoring, the signals.

`run --once` runs one cycle in it; the daemon runs one after another, each by the rules file of its
time. Everything from outside (the configuration, the clock, the environment) is passed in.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from alerting.config.reload import Reloader, differences
from alerting.config.remembered import remember
from alerting.config.settings import Config
from alerting.errors import AlertingError, LoopError, StateBusyError, StoreError
from alerting.loops import Duty, Loops
from alerting.monitoring.monitor import Monitoring
from alerting.notify.dispatcher import Result, loop_name
from alerting.notify.last_resort import Emergency
from alerting.notify.receivers import LONGEST_SEND
from alerting.service.build import Client, build_clients, build_cycle, readings
from alerting.service.clock import SteadyClock, Uptime, keep_safely, uptime
from alerting.service.daemon import OWN_ALERTS, Daemon, LoopSettings
from alerting.service.guard import Guard
from alerting.service.lock import HANGS_AFTER, HolderHangsError, StateLock, real_path
from alerting.service.once import CycleResult, run_once
from alerting.service.process import HardEnd, Signals, Systemd
from alerting.store.state import HOLDER, Store, holder_of
from alerting.streams import leave
from alerting.units import format_duration

log = logging.getLogger("alerting")

# What the last words of a cycle that hangs get: the message's own time, and some to word it.
_LAST_WORDS = LONGEST_SEND + timedelta(seconds=5)
# Beyond three polls: all that a cycle for cron waits for at most, receivers and heartbeat too.
_CYCLE_EXTRA = timedelta(seconds=60)


_TAKEN = (
    "another alerting process works on this state by now: its files were replaced under this one, "
    "which ends"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Opened:
    """The state file, open and locked, and who is told how it is."""

    store: Store
    emergency: Emergency
    monitoring: Monitoring
    lock: StateLock
    clock: SteadyClock

    def judged(self, account: str, error: AlertingError | None) -> None:
        """An account was judged, or could not be."""
        self.emergency.report(account, error)
        self.monitoring.report(account, error)
        self.monitoring.nudge()

    def delivered(self, what: str, error: AlertingError | None) -> None:
        """A receiver's thread could use the state, or could not."""
        self.emergency.report(what, error, duty=Duty.DELIVER)
        self.monitoring.report(what, error)

    def stuck(self, what: str, error: AlertingError | None, *, duty: Duty, lasting: float) -> None:
        """A loop does not get on, or does again."""
        lasted = timedelta(seconds=lasting)
        self.emergency.report(f"loop {what}", error, duty=duty, lasting=lasted)

    def take_over(self, config: Config, *, before: Config, now: datetime) -> None:
        """Go on by a changed rules file: what is not built anew takes its settings from it.

        The cycle, its receivers and the accounts' clients are built anew (build.py), and monitoring
        is told with the daemon that it watches.
        """
        for name, receiver in config.receivers.items():
            if name in before.receivers and before.receivers[name].url != receiver.url:
                self.store.address_changed(name, now=now)
        _remember(config, self.store, now=now)
        # the others get no thread now that could say that it gets on again
        waiting = [name for name in config.receivers if self.store.next_due(name) is not None]
        self.emergency.take_over(
            config.receivers,
            after=config.ruleset.blind_after,
            watched={*readings(config), OWN_ALERTS, *map(loop_name, waiting)},
        )


def _remember(config: Config, store: Store, *, now: datetime) -> None:
    # a courtesy to the commands; that the state cannot be used is told by whoever judges
    with contextlib.suppress(StoreError, OSError):
        remember(store, path=config.path.absolute(), text=config.kept, now=now)


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
        uptime: Callable[[], Uptime] = uptime,
        exit_now: Callable[[int], object] = leave,
    ) -> None:
        self._config = config
        self._exit_now = exit_now
        # all that is kept beside the state file is kept beside the file itself, not beside a link
        self._state = real_path(state)
        self._clock = SteadyClock(clock, uptime)
        self._metrics_file = metrics_file
        self._signals = signals or Signals()
        self._loop = loop
        self._systemd = Systemd({})
        self._daemon: Daemon | None = None
        self._stopping = False
        #: a changed configuration that is to be taken over
        self._changed: Config | None = None
        #: another process works on the state file by now
        self._taken = False
        #: a daemon has run and made room for the next one
        self._took_over = False

    def run_once(self, *, show: Callable[[CycleResult], None]) -> bool:
        """One cycle for cron, shown before it is told to who monitors us; True: all went well.

        Raises StateBusyError if another process works on the state file, LoopError if that hangs,
        StoreError if it cannot be used. A cycle that hangs ends the process.
        """
        limit = self._cycle_limit()
        with (
            self._emergency() as emergency,
            HardEnd(
                limit,
                last_words=self._hung(emergency),
                words_within=_LAST_WORDS,
                exit_now=self._exit_now,
            ),
            self._open(emergency) as opened,
        ):
            began = self._clock()
            deliveries: list[Result] = []
            # receiver's loop -> why it could not use the state file when it last tried
            unsent: dict[str, AlertingError | None] = {}
            clients = self._clients(self._config, opened)
            cycle = build_cycle(
                self._config,
                opened.store,
                clock=self._clock,
                clients=clients,
                on_result=deliveries.append,
                on_state=unsent.__setitem__,
            )
            result = run_once(cycle, clients, deliveries)
            error = next((each for each in list(unsent.values()) if each), None)
            if error is None:
                opened.emergency.report("cycle", None)
            else:
                opened.emergency.give_up(error, duty=Duty.DELIVER)
            for client in clients.values():
                client.close()
            show(result)
            written = opened.monitoring.after_cycle(began=began)
            return result.ok and written and error is None

    def run(self, *, reloader: Reloader, environ: Mapping[str, str], listen: str | None) -> None:
        """The daemon, until a signal or `stop` ends it; `reloader` is older than the configuration.

        Raises as `run_once`.
        """
        # before all else: a signal at the start must not end the process by its default action
        self._signals.on_reload(reloader.ask)
        self._signals.on_end(self.stop)
        self._systemd = Systemd(environ)
        with self._emergency() as emergency, self._open(emergency) as opened:
            loops = Loops()
            guard = Guard(loops, tell=opened.stuck)
            opened.monitoring.start(listen=listen, loops=loops)
            config = self._config
            clients = self._clients(config, opened)
            recovered = opened.store.recover()
            if recovered:
                log.warning("%d messages were being sent when the last run ended", recovered)
            guard.start()
            while True:
                daemon = Daemon(
                    build_cycle(
                        config,
                        opened.store,
                        clock=self._clock,
                        clients=clients,
                        loops=loops,
                        on_state=opened.delivered,
                    ),
                    clients,
                    poll=config.poll,
                    systemd=self._systemd,
                    on_state=opened.judged,
                    reload=functools.partial(self._look_around, opened, reloader),
                    loop=self._loop,
                    loops=loops,
                )
                changed = self._until_changed(daemon, config, opened)
                if changed is None:
                    guard.stop()
                    if self._taken:
                        raise StateBusyError(_TAKEN)
                    return
                self._took_over = True
                clients = self._clients(changed, opened, keep=clients, before=config)
                opened.take_over(changed, before=config, now=self._clock())
                config = changed

    def _clients(
        self,
        config: Config,
        opened: _Opened,
        *,
        keep: Mapping[str, Client] | None = None,
        before: Config | None = None,
    ) -> dict[str, Client]:
        # the exchange refuses what is signed by another clock than the machine's, which it may have
        # just been told to be right
        clock, steady = self._clock.wall, self._clock
        return build_clients(
            config, opened.store, clock=clock, steady=steady, keep=keep, before=before
        )

    def stop(self) -> None:
        """End the daemon; safe in a signal handler."""
        self._stopping = True
        if self._daemon is not None:
            self._daemon.stop()

    def _look_around(self, opened: _Opened, reloader: Reloader) -> Config | AlertingError | None:
        """The main loop looks around, so it gets on; the new rules file, if there is one."""
        if not opened.lock.renew():
            self._taken = True
            self.stop()
            return None
        keep_safely(opened.clock, opened.store)
        found = reloader.check()
        if found is not None:
            # the file as it is now is what counts
            self._changed = found if isinstance(found, Config) else None
        return self._taken_over(opened) if self._changed is not None else found

    def _taken_over(self, opened: _Opened) -> Config | None:
        """The changed configuration, once the state file can be used: without it none can begin."""
        try:
            opened.store.set_meta(HOLDER, opened.lock.owner)
        except StoreError as error:
            # by whom it cannot be used is told: by each account, too
            log.error("%s; the changed rules file waits for that", error)  # noqa: TRY400
            return None
        changed, self._changed = self._changed, None
        return changed

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

    def _cycle_limit(self) -> timedelta:
        """After so long a cycle for cron hangs."""
        return 3 * self._config.poll.timeout + _CYCLE_EXTRA

    def _hung(self, emergency: Emergency) -> Callable[[timedelta], None]:
        def say(limit: timedelta) -> None:
            error = LoopError(f"this cycle did not end within {format_duration(limit)}: it hangs")
            log.error("%s", error)
            emergency.give_up(error)
            emergency.wait()

        return say

    @contextlib.contextmanager
    def _emergency(self) -> Iterator[Emergency]:
        config = self._config
        emergency = Emergency(
            config.receivers, self._state, after=config.ruleset.blind_after, clock=self._clock
        )
        try:
            yield emergency
        except HolderHangsError as error:
            emergency.give_up(error, lasting=error.lasting)
            raise
        except (StoreError, LoopError) as error:
            emergency.give_up(error, at_once=self._took_over)
            raise
        except AlertingError:
            raise
        except Exception as error:
            # a mistake of ours: whoever starts the next process comes here again
            said = LoopError(f"it ends with {type(error).__name__}")
            emergency.give_up(said, at_once=self._took_over)
            raise
        finally:
            if emergency.telling:
                # whoever manages us is to wait as long as the last message may take
                extension = _LAST_WORDS // timedelta(microseconds=1)
                self._systemd.notify(f"WATCHDOG=1\nEXTEND_TIMEOUT_USEC={extension}")
            emergency.wait()

    @contextlib.contextmanager
    def _open(self, emergency: Emergency) -> Iterator[_Opened]:
        config, clock = self._config, self._clock
        longest = max(HANGS_AFTER, self._cycle_limit() + _LAST_WORDS + _CYCLE_EXTRA)
        with StateLock(
            self._state, now=clock(), longest=longest, holder=lambda: holder_of(self._state)
        ) as lock:
            store = Store(self._state, deliver_within=config.deliver_within)
            with contextlib.suppress(StoreError):
                # a courtesy too, to who comes under another name of the file
                store.set_meta(HOLDER, lock.owner)
            monitoring = Monitoring(config, store, clock=clock, metrics_file=self._metrics_file)
            try:
                clock.resume(store)
                _remember(config, store, now=clock())
                yield _Opened(
                    store=store, emergency=emergency, monitoring=monitoring, lock=lock, clock=clock
                )
            finally:
                monitoring.stop()
                store.close()
