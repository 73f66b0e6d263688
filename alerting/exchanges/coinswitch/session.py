"""The one way to the exchange: GET, to the known pages of one host, and nothing else.

The key can trade, so what holds it must not be able to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import requests

from alerting import __version__
from alerting.errors import AlertingError
from alerting.exchanges.coinswitch.pages import PAGES, Page
from alerting.net.adapter import DeadlineAdapter
from alerting.net.deadline import Deadline


class ForbiddenRequestError(AlertingError):
    """Something tried to send what this program must not send."""


class ReadOnlySession(requests.Session):
    """Sends GET to the known pages of one host; raises at everything else before a byte is sent."""

    def __init__(self, base_url: str, deadline: Deadline) -> None:
        super().__init__()
        self._pages = dict(_prepared_pages(base_url))
        # any callable here keeps requests from looking for credentials in ~/.netrc
        self.auth = _as_it_is
        self.headers.update(
            {
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                "User-Agent": f"alerting/{__version__}",
            }
        )
        self.mount("http://", DeadlineAdapter(deadline))
        self.mount("https://", DeadlineAdapter(deadline))

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send one of the allowed requests."""
        url, mark, query = (request.url or "").partition("?")
        page = self._pages.get(url)
        if (
            request.method != "GET"
            or request.body is not None
            or page is None
            or not page.takes(mark + query)
        ):
            raise ForbiddenRequestError("this client only reads the pages that it knows")
        return super().send(request, **kwargs)

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        """Nowhere; else requests parses the target and reads the whole body before it stops."""
        return None


def _prepared_pages(base_url: str) -> Iterator[tuple[str, Page]]:
    """Yield each page by its URL as requests writes it: with a lower-case host, for one."""
    for page in PAGES:
        # an URL that cannot be prepared cannot be sent either
        with suppress(requests.RequestException, ValueError):
            prepared = requests.Request("GET", f"{base_url}{page.endpoint.value}").prepare()
            yield prepared.url or "", page


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
