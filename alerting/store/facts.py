"""Facts about the program that are no alert and no message, by their names."""

from __future__ import annotations

from typing import Protocol


class FactStore(Protocol):
    """A state file, as who remembers facts sees it; StoreError where it cannot be used."""

    def meta(self, key: str) -> str | None:
        """A fact that was remembered; None: never."""

    def set_meta(self, key: str, value: str) -> None:
        """Remember a fact."""
