"""One HTTP request that only asks, watched and bounded as a send is; nothing is raised."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import timedelta

import requests
import urllib3.exceptions

from alerting.net.apprise_probe import probing
from alerting.net.http_attempt import HttpAttempt

_CONNECT_SECONDS = 5.0
_BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)


def ask(
    method: str, url: str, *, total: timedelta, headers: Mapping[str, str] | None = None
) -> HttpAttempt:
    """What came of one request; redirects are not followed."""
    patience = (_CONNECT_SECONDS, total.total_seconds())
    with probing(total) as probe, requests.Session() as session, contextlib.suppress(*_BROKEN):
        # else requests would put the password of a .netrc in the place of our header
        session.auth = lambda request: request
        session.request(
            method, url, headers=dict(headers or {}), timeout=patience, allow_redirects=False
        )
    return probe.requests[-1] if probe.requests else HttpAttempt(failure="it is no usable address")
