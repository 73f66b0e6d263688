"""The pages of the exchange that are read: where each is, what may be asked of it, how often."""

from __future__ import annotations

import enum
import functools
import re
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote_plus

#: the exchange's name for its futures; the only one that it has
EXCHANGE = "EXCHANGE_2"

# What the value of a parameter may be, so that it is the same encoded and decoded: the exchange
# signs a query decoded. The one exception is `+` for the blank of a transaction's type.
_VALUE = "[A-Za-z0-9_+]{1,64}"


class Endpoint(enum.Enum):
    """Every path that may be asked for; all are read with GET."""

    WALLET_BALANCE = "/trade/api/v2/futures/wallet_balance"
    POSITIONS = "/trade/api/v2/futures/positions"
    INSTRUMENT_INFO = "/trade/api/v2/futures/instrument_info"
    TRANSACTIONS = "/trade/api/v2/futures/transactions"
    TIME = "/trade/api/v2/time"


@dataclass(frozen=True)
class Page:
    """One path with its parameters; its budget is its own, as the exchange has one for each."""

    endpoint: Endpoint
    #: the query of every request, with its question mark
    query: str = ""
    #: the parameters that a request may have beside it
    more: tuple[str, ...] = ()
    #: at most so many requests ...
    requests: int = 20
    #: ... in any window of this length
    window: timedelta = timedelta(seconds=60)

    def target(self, **params: str) -> str:
        """Path and query, as they are sent; `params` are among `more`."""
        more = "".join(f"&{name}={quote_plus(value)}" for name, value in params.items())
        return f"{self.endpoint.value}{self.query}{more}"

    def takes(self, query: str) -> bool:
        """Whether this is a query, with its question mark, that may be sent."""
        return self._queries.fullmatch(query) is not None

    @functools.cached_property
    def _queries(self) -> re.Pattern[str]:
        more = f"(?:&(?:{'|'.join(self.more)})={_VALUE})*" if self.more else ""
        return re.compile(re.escape(self.query) + more)


_OF_FUTURES = f"?exchange={EXCHANGE}"

WALLET = Page(Endpoint.WALLET_BALANCE)
POSITIONS = Page(Endpoint.POSITIONS, _OF_FUTURES, ("symbol",))
INSTRUMENTS = Page(Endpoint.INSTRUMENT_INFO, _OF_FUTURES, requests=100)
TRANSACTIONS = Page(Endpoint.TRANSACTIONS, _OF_FUTURES, ("symbol", "type", "limit", "from_time"))
TIME = Page(Endpoint.TIME)

#: all that may be sent
PAGES = (WALLET, POSITIONS, INSTRUMENTS, TRANSACTIONS, TIME)
