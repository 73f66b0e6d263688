"""One cycle for cron: every account is read once, and what follows is delivered."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from alerting.engine.snapshot import PollFailure, PollOutcome
from alerting.errors import AlertingError, LoopError, StoreError
from alerting.notify.dispatcher import Result
from alerting.notify.receivers import SendOutcome
from alerting.service.cycle import Cycle
from alerting.service.polling import Poller, log_failure, poll_safely

log = logging.getLogger("alerting")


@dataclass(frozen=True, kw_only=True, slots=True)
class CycleResult:
    """What one cycle for cron came to."""

    #: reading -> what the poll gave
    polls: Mapping[str, PollOutcome]
    deliveries: tuple[Result, ...]
    #: False: something due is still on its way
    drained: bool

    @property
    def read(self) -> int:
        """How many accounts gave a snapshot of each of their feeds."""
        unread = {
            outcome.account for outcome in self.polls.values() if isinstance(outcome, PollFailure)
        }
        return self.asked - len(unread)

    @property
    def asked(self) -> int:
        """How many accounts were asked."""
        return len({outcome.account for outcome in self.polls.values()})

    @property
    def ok(self) -> bool:
        """True if every account was read and every due message was accepted."""
        read = self.read == self.asked
        told = all(result.attempt.outcome is SendOutcome.ACCEPTED for result in self.deliveries)
        return read and told and self.drained


def run_once(
    cycle: Cycle,
    pollers: Mapping[str, Poller],
    deliveries: list[Result],
    *,
    patience: float = 25.0,
    last_patience: float = 5.0,
) -> CycleResult:
    """Poll every account, judge, commit, deliver what is due; `deliveries` is being filled.

    Deliveries get `patience` seconds, those that follow from them or from a failing state
    `last_patience`: a cycle from cron must be over before the next one starts.
    """
    polls: dict[str, PollOutcome] = {}
    errors: list[AlertingError] = []
    judged: set[str] = set()
    # a slow answer is no later poll
    began = cycle.clock()

    def read(name: str, poller: Poller) -> None:
        try:
            poll = poll_safely(name, poller, cycle.clock)
            polls[name] = poll.outcome
            log_failure(poll)
            cycle.judge_safely(replace(poll, due=began))
            judged.add(name)
        except StoreError as error:
            errors.append(error)
        except BaseException as error:
            log.exception("account %s: judging fails in an unforeseen way", name)
            errors.append(LoopError(f"judging account {name} fails ({type(error).__name__})"))

    cycle.store.recover()
    cycle.forget_removed()
    cycle.dispatcher.wake()
    _all_at_once(read, pollers)
    errors += [LoopError(f"the thread of account {name} died") for name in pollers.keys() - judged]
    if errors:
        # what is committed goes out first; cut off, it would have to be marked as a repeat
        cycle.dispatcher.drain(seconds=last_patience)
        raise errors[0]
    cycle.judge_program()
    drained = cycle.dispatcher.drain(seconds=patience)
    # a message that was refused for good just now is to be told to the others just now
    cycle.judge_program()
    drained = cycle.dispatcher.drain(seconds=last_patience) and drained
    cycle.prune()
    cycle.dispatcher.stop()
    return CycleResult(polls=polls, deliveries=tuple(deliveries), drained=drained)


def _all_at_once(read: Callable[[str, Poller], None], pollers: Mapping[str, Poller]) -> None:
    threads = []
    for name, poller in pollers.items():
        thread = threading.Thread(
            target=read, args=(name, poller), name=f"account-{name}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            # no thread is to be had: one after the other
            read(name, poller)
        else:
            threads.append(thread)
    for thread in threads:
        thread.join()
