"""One HTTP request as it was watched on the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True, slots=True)
class HttpAttempt:
    """One HTTP request and what came back; filled while it happens."""

    #: some of the request may have left
    sent: bool = False
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    #: the answer was read to its end
    complete: bool = False
    #: what broke, in words; "" where nothing did
    failure: str = ""

    @property
    def answer(self) -> dict[str, Any]:
        """The body as a JSON object; {} where it is none."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}
