"""An account's key pair: signing with it, and what can be said of it without asking anybody."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from alerting.exchanges.account import AccountSettings
from alerting.redaction import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_HEX_KEY = re.compile(r"[0-9a-fA-F]+")
_HEADER_SAFE = re.compile(r"[!-~]+")


def sign(secret_seed_hex: str, method: str, path_with_query: str, epoch_ms: int) -> str:
    """The request's Ed25519 signature in hex; the path is signed URL-decoded, the body never."""
    message = f"{method.upper()}{unquote_plus(path_with_query)}{epoch_ms}"
    return _private_key(secret_seed_hex).sign(message.encode("utf-8")).hex()


def secret_key_problem(secret: Secret) -> str | None:
    """What is wrong with a secret key, without showing it; None where it can sign."""
    text = secret.reveal()
    if not _HEX_KEY.fullmatch(text):
        return "the secret key must be 64 hexadecimal characters; it holds something else"
    if len(text) not in {64, 128}:
        return f"the secret key must be 64 hexadecimal characters; it has {len(text)}"
    if len(text) == 128 and text[64:].lower() != _public_half(text):
        return (
            "the secret key has 128 characters, but its second half is not the public key of the "
            "first; write the first 64 characters alone"
        )
    return None


def check_key_pair(account: AccountSettings) -> str | None:
    """A warning where the API key is not the public half of the secret key; None where it is."""
    secret = account.secret_key
    if secret_key_problem(secret) is not None:
        return None
    if account.api_key.reveal().lower() == _public_half(secret.reveal()):
        return None
    return (
        f"account {account.name}: api_key is not the public half of secret_key; the exchange will "
        "refuse them unless both come from the same generated pair"
    )


def _public_half(secret_hex: str) -> str:
    return _private_key(secret_hex).public_key().public_bytes_raw().hex()


def _private_key(secret_hex: str) -> Ed25519PrivateKey:
    # here, so that reading a rules file does not load cryptography
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret_hex[:64]))


def credentials_problem(account: AccountSettings) -> str | None:
    """What keeps an account's keys from being sent at all; None where they can be."""
    if not _HEADER_SAFE.fullmatch(account.api_key.reveal()):
        return "the API key is empty or holds characters that no key has"
    return secret_key_problem(account.secret_key)
