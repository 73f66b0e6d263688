"""What a host is, and where a URL leads."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from alerting.redaction import clean


def is_address(host: str) -> bool:
    """Whether it is an IP address, in brackets or not, and no name."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether it is this machine: `localhost`, or an address such as 127.0.0.1 or ::1."""
    if host.lower().rstrip(".") == "localhost":
        return True
    return is_address(host) and ipaddress.ip_address(host.strip("[]")).is_loopback


def host_of(url: str) -> str | None:
    """The host that a URL names, safe to show; None where it names none."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    return clean(host) if host else None


def cut_by_fragment(url: str) -> bool:
    """Whether a `#` stands in its user or password: what follows, the host too, is a fragment."""
    return re.match(r"[^/?#]*://[^/?#]*#.*@", url) is not None
