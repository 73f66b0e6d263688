"""What the rules file says of one account of the exchange."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from alerting.redaction import Secret

DEFAULT_BASE_URL = "https://coinswitch.co"


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountSettings:
    """One account of the exchange."""

    name: str
    api_key: Secret
    secret_key: Secret
    #: without a trailing slash; https, or http on a loopback host
    base_url: str = DEFAULT_BASE_URL
    #: at most so many requests ...
    rate_requests: int = 20
    #: ... in any window of this length
    rate_window: timedelta = timedelta(seconds=60)
