"""The client of the futures wallet: a signed read, and a snapshot or a failure with a name."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from alerting.engine.snapshot import Poll, PollOutcome
from alerting.exchanges.account import AccountSettings
from alerting.exchanges.coinswitch.answers import parse_wallet
from alerting.exchanges.coinswitch.pages import WALLET
from alerting.exchanges.coinswitch.wire import READING_ERRORS, Wire, utc_now
from alerting.exchanges.strict_json import decode


class WalletClient:
    """Reads one account's futures wallet; one poll at a time."""

    def __init__(
        self,
        account: AccountSettings,
        *,
        timeout: timedelta,
        clock: Callable[[], datetime] = utc_now,
        steady: Callable[[], datetime] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        remembered: str | None = None,
    ) -> None:
        """`remembered` is what `pace` said to an earlier process.

        Requests bear the time of `clock`, the machine's own; the pace goes by `steady`, a clock
        that does not jump.
        """
        self._wire = Wire(account, timeout=timeout, clock=clock, monotonic=monotonic)
        self._pace = self._wire.pace(
            account.rate_requests, account.rate_window, steady=steady, remembered=remembered
        )
        self.pace = self._pace.text

    def poll(self) -> Poll:
        """Read the wallet within the timeout; whatever goes wrong outside is a PollFailure.

        The poll's body is that of a 200 answer, snapshot or not.
        """
        body = None
        try:
            with self._wire.reading():
                answer = self._wire.get(WALLET, self._pace)
                body = decode(answer.body)
                snapshot = parse_wallet(
                    answer.body, account=self._wire.account, observed_at=answer.at
                )
                return self._poll(answer.at, snapshot, body)
        except READING_ERRORS as error:
            failure = self._wire.failure(error, feed="wallet")
        return self._poll(self._wire.clock(), failure, body)

    def cancel(self) -> None:
        """From any thread: the poll under way fails at once, and so does every later one."""
        self._wire.cancel()

    def close(self) -> None:
        """Give up the connection; later polls fail."""
        self._wire.close()

    def _poll(self, at: datetime, outcome: PollOutcome, body: str | None) -> Poll:
        return Poll(at=at, account=self._wire.account, body=body, outcome=outcome)
