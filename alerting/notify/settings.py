"""What the rules file says of one receiver."""

from __future__ import annotations

from dataclasses import dataclass

from alerting.redaction import Secret


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiverSettings:
    """One place where messages go."""

    name: str
    #: an Apprise URL
    url: Secret
    send_resolved: bool = True
