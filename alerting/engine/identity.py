"""What makes two alerts the same one: a hash of the rule's name and the labels."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping


def fingerprint(rule: str, labels: Mapping[str, str]) -> str:
    """Hex SHA-256 over the rule's name and the sorted labels; the same in every process."""
    parts = [rule, *(part for pair in sorted(labels.items()) for part in pair)]
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(4, "big") + raw)
    return digest.hexdigest()


def short_id(full: str) -> str:
    """Seven characters of a fingerprint, lower-case base 32: easy to read out and to type."""
    return base64.b32encode(bytes.fromhex(full[:10])).decode("ascii").lower()[:7]
