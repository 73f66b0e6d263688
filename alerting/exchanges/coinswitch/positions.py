"""The client of the positions, of the instruments they are judged by, and of how they ended."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta

from alerting.engine.snapshot import FailureKind, Poll, PollFailure, PollOutcome
from alerting.exchanges.account import AccountSettings
from alerting.exchanges.coinswitch.instruments import Instruments, parse_instruments
from alerting.exchanges.coinswitch.pages import INSTRUMENTS, POSITIONS, TRANSACTIONS
from alerting.exchanges.coinswitch.position_answers import (
    merged,
    positions_from_object,
    refused_row,
    rows_of,
)
from alerting.exchanges.coinswitch.transactions import FEE_FILTER, parse_transactions
from alerting.exchanges.coinswitch.turns import Turns
from alerting.exchanges.coinswitch.wire import (
    CLOCK_TOLERANCE,
    READING_ERRORS,
    ReadError,
    Wire,
    utc_now,
)
from alerting.exchanges.strict_json import decode, loads_marked

#: after so long a page that wanted a symbol is asked for all positions again
WHOLE_AGAIN_AFTER = timedelta(hours=1)
#: so many transactions are asked for; as many in an answer may not be all
MOST_TRANSACTIONS = 50

_PAGES = {"positions": POSITIONS, "instruments": INSTRUMENTS, "transactions": TRANSACTIONS}
_PLAIN = re.compile(r"[A-Za-z0-9_]{1,64}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PositionsClient:
    """Reads one account's positions and what belongs to them; one reading at a time."""

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
        """As `WalletClient`; each page has the exchange's own budget, whatever the account's is."""
        self._wire = Wire(account, timeout=timeout, clock=clock, monotonic=monotonic)
        self._steady = steady or clock
        known = _known(remembered)
        self._paces = {
            name: self._wire.pace(
                page.requests, page.window, steady=steady, remembered=known.get(name)
            )
            for name, page in _PAGES.items()
        }
        self._turns = Turns(self._paces["positions"], monotonic)
        #: the page wants a symbol, until then; None: it does not
        self._whole_at = _soon(known.get("whole_at"), self._steady())

    def poll(self, symbols: Collection[str] | None = None) -> Poll:
        """Read all positions within the timeout; whatever goes wrong outside is a PollFailure.

        Where the page wants a symbol, each of `symbols` is asked for, as many in one poll as the
        budget has room for; for the others their last answers count. None: nobody knows them yet.
        The poll's body is that of a 200 answer, or one that merges several.
        """
        body = None
        try:
            with self._wire.reading():
                at, body = self._read(symbols)
                snapshot = positions_from_object(
                    loads_marked(body), account=self._wire.account, observed_at=at
                )
                return self._poll(at, snapshot, body)
        except READING_ERRORS as error:
            failure = self._wire.failure(error, feed="positions")
        return self._poll(self._wire.clock(), failure, body)

    def instruments(self) -> Instruments | PollFailure:
        """Read the rates of all instruments; its feed is `instruments` where it fails."""
        try:
            with self._wire.reading():
                answer = self._wire.get(INSTRUMENTS, self._paces["instruments"])
                return parse_instruments(answer.body)
        except READING_ERRORS as error:
            return self._wire.failure(error, feed="instruments")

    def liquidated(self, symbols: Iterable[str], since: datetime) -> frozenset[str] | PollFailure:
        """Those of the symbols that were liquidated since then: their last sight, as a rule.

        Each is asked for. A PollFailure, whose feed is `transactions`, is no verdict on any.
        """
        try:
            with self._wire.reading():
                return frozenset(
                    symbol for symbol in sorted(set(symbols)) if self._liquidated(symbol, since)
                )
        except READING_ERRORS as error:
            return self._wire.failure(error, feed="transactions")

    def pace(self) -> str:
        """For the next process, as JSON: the pace of each page, and what was learnt of them."""
        told = {name: pace.text() for name, pace in self._paces.items()}
        if whole_at := self._whole_at:
            told["whole_at"] = whole_at.isoformat()
        return json.dumps(told, separators=(",", ":"))

    def cancel(self) -> None:
        """From any thread: the reading under way fails at once, and so does every later one."""
        self._wire.cancel()

    def close(self) -> None:
        """Give up the connection; later readings fail."""
        self._wire.close()

    def _poll(self, at: datetime, outcome: PollOutcome, body: str | None) -> Poll:
        return Poll(at=at, account=self._wire.account, feed="positions", body=body, outcome=outcome)

    # ── all at once, or one by one ──────────────────────────────────────────

    def _read(self, symbols: Collection[str] | None) -> tuple[datetime, str]:
        """When the answer was whole, and its text."""
        if symbols and self._whole_at is not None and self._steady() < self._whole_at:
            return self._one_by_one(symbols)
        try:
            answer = self._wire.get(POSITIONS, self._paces["positions"])
        except ReadError as error:
            if not _wants_more(error):
                raise
            return self._without_symbol(error, symbols)
        self._whole_at = None
        return answer.at, decode(answer.body)

    def _without_symbol(
        self, error: ReadError, symbols: Collection[str] | None
    ) -> tuple[datetime, str]:
        if symbols is None:
            text = f"{error.text}; each symbol can be asked for once the wallet was read"
            raise ReadError(error.kind, text) from None
        if symbols:
            self._whole_at = self._steady() + WHOLE_AGAIN_AFTER
            return self._one_by_one(symbols)
        if "symbol" not in error.text.lower():
            raise error
        # it wants a symbol and is well otherwise, and the wallet has none
        return self._wire.clock(), merged(())

    def _one_by_one(self, symbols: Collection[str]) -> tuple[datetime, str]:
        names = sorted(set(symbols))
        for symbol in self._turns.due(names):
            self._ask(symbol)
        told = self._turns.told(names)
        if len(told) < len(names):
            pace = self._paces["positions"]
            text = f"own limit: {len(names) - len(told)} of {len(names)} symbols were not asked yet"
            wait = timedelta(seconds=pace.window.wait_time())
            raise ReadError(FailureKind.RATE_LIMIT, text, retry_after=wait)
        if all(each.refused for each in told):
            # so it was not for want of a symbol
            self._whole_at = None
        return self._wire.clock(), merged(row for each in told for row in each.rows)

    def _ask(self, symbol: str) -> None:
        if not _PLAIN.fullmatch(symbol):
            problem = "its position cannot be asked for by such a name"
            self._turns.keep(symbol, [refused_row(symbol, problem)], refused=True)
            return
        try:
            answer = self._wire.get(POSITIONS, self._paces["positions"], symbol=symbol)
        except ReadError as error:
            if not _wants_more(error):
                raise
            self._turns.keep(symbol, [refused_row(symbol, error.text)], refused=True)
            return
        self._turns.keep(symbol, rows_of(decode(answer.body)))

    # ── how they ended ──────────────────────────────────────────────────────

    def _liquidated(self, symbol: str, since: datetime) -> bool:
        """Rows are filtered here, for the page's own filter has a spelling that is not its rows'.

        Only where it may have left out rows is it asked by that filter, and believed if it finds.
        """
        if not _PLAIN.fullmatch(symbol):
            raise ReadError(FailureKind.WRONG_SHAPE, f"{symbol!r} cannot be asked for")
        # the exchange's clock may be behind ours
        start = max(0, (since - CLOCK_TOLERANCE - _EPOCH) // timedelta(milliseconds=1))
        asked = {"symbol": symbol, "from_time": str(start), "limit": str(MOST_TRANSACTIONS)}
        found, count = self._transactions(symbol, asked)
        if found or count < MOST_TRANSACTIONS:
            return found
        found, _ = self._transactions(symbol, {**asked, "type": FEE_FILTER})
        if not found:
            text = f"{symbol}: {count} transactions or more, too many to find a liquidation's fee"
            raise ReadError(FailureKind.WRONG_SHAPE, text)
        return True

    def _transactions(self, symbol: str, asked: dict[str, str]) -> tuple[bool, int]:
        answer = self._wire.get(TRANSACTIONS, self._paces["transactions"], **asked)
        return parse_transactions(answer.body, symbol=symbol)


def _wants_more(error: ReadError) -> bool:
    """The request as such was refused, not the key, the clock or the pace."""
    return error.status in {400, 422} and error.kind is FailureKind.WRONG_SHAPE


def _known(remembered: str | None) -> dict[str, str]:
    try:
        known = json.loads(remembered or "{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {name: text for name, text in known.items() if isinstance(text, str)}


def _soon(text: str | None, now: datetime) -> datetime | None:
    """An instant of an earlier process; None where it is none, or is too far off to be one."""
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return at if at.tzinfo and now < at <= now + WHOLE_AGAIN_AFTER else None
