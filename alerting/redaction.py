"""Secrets and foreign text: what may be shown of them."""

from __future__ import annotations

import base64
import logging
import re
import threading
import unicodedata
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

MASK = "***"
_LONG_HEX = re.compile(r"[0-9a-fA-F]{32,}")
# Shorter pieces than this are not masked: they are not secret, and would hit ordinary words.
_SHORTEST = 6
# Pieces shorter than this may be part of an ordinary word or number (`balance` in `total_balance`):
# they are masked only where they stand alone.
_SHORTEST_WITHIN = 12
# An exchange's keys are longer than this; nothing else of an answer is masked.
_SHORTEST_KEY = 32
# A run of letters and digits so long, and of both, is no word that anybody writes. It is looked at
# from its start only: from each of its characters on, a long run would take for ever.
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9+/=])(?=[A-Za-z0-9+/=]*[0-9])(?=[A-Za-z0-9+/=]*[A-Za-z])[A-Za-z0-9+/=]{20,}"
)
# Parts of an Apprise URL's query that carry secrets: headers, payload and parameters of the user's
# own, and whatever says so in its name. The others (to=, from=, format=) are needed in messages.
_SECRET_OPTION = re.compile(r"^[ +:-]|token|key|pass|pwd|secret|auth|sig|cred|code", re.IGNORECASE)


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A text that must never be shown; `reveal()` is the only way to it."""

    _text: str

    def reveal(self) -> str:
        """The secret itself, for signing and sending only."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__


class Redactor:
    """Replaces every known secret, and its URL-encoded forms, in a text."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._keys: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def learn(self, text: str) -> None:
        """From now on `text` is masked wherever it appears."""
        pieces = {text, quote(text, safe=""), quote_plus(text), quote(text), unquote(text)}
        pieces.add(_base64(text))
        with self._lock:
            new = {piece for piece in pieces if len(piece) >= _SHORTEST} - self._known
            if new:
                self._known |= new
                # compiled when it is needed: a rules file teaches dozens, one after the other
                self._pattern = None

    def learn_key(self, text: str) -> None:
        """As `learn`, and `text` is masked in an exchange's recorded answers too."""
        self.learn(text)
        if len(text) >= _SHORTEST_KEY:
            self._keys |= {text, text.lower(), text.upper()}

    def learn_url(self, url: str) -> None:
        """Mask the whole URL and each part of it that can carry a token."""
        self.learn(url)
        _, _, rest = url.partition("://")
        self.learn(rest)
        try:
            parts = urlsplit(url)
            password, user = parts.password, parts.username
        except ValueError:
            return
        for part in (password, user, parts.query, parts.path.strip("/")):
            if part:
                self.learn(part)
        for name, value in parse_qsl(parts.query):
            if _SECRET_OPTION.search(name):
                self.learn(value)
        if user and password:
            # as HTTP's Basic and SMTP's PLAIN send them
            self.learn(_base64(f"{unquote(user)}:{unquote(password)}"))
            self.learn(_base64(f"\0{unquote(user)}\0{unquote(password)}"))
        for segment in parts.path.split("/"):
            if len(segment) >= 8:
                self.learn(segment)
        if parts.scheme not in {"http", "https", "json", "jsons", "mailto", "mailtos"}:
            # slack://TokenA/TokenB/TokenC and tgram://TOKEN keep a token where a host would be
            self.learn(parts.netloc)

    def redact(self, text: str) -> str:
        """`text` without any secret learnt so far."""
        pattern = self._pattern or self._compiled()
        return pattern.sub(MASK, text) if pattern else text

    def _compiled(self) -> re.Pattern[str] | None:
        with self._lock:
            if self._pattern is None and self._known:
                longest_first = sorted(self._known, key=len, reverse=True)
                self._pattern = re.compile("|".join(map(_masked, longest_first)))
            return self._pattern

    def redact_answer(self, text: str) -> str:
        """An exchange's answer without the keys that it was asked with; else it stays as it is.

        An answer is data: a receiver's password that looks like a field or a number is no reason to
        change what it says.
        """
        for key in tuple(self._keys):
            text = text.replace(key, MASK)
        return text


def _masked(piece: str) -> str:
    """The pattern of a piece that is masked."""
    if len(piece) >= _SHORTEST_WITHIN:
        return re.escape(piece)
    return rf"(?<![A-Za-z0-9_-])(?<![0-9]\.){re.escape(piece)}(?![A-Za-z0-9_-]|\.[0-9])"


def without_tokens(text: str) -> str:
    """A text that somebody wrote into a file, without what looks like a secret in a wrong place."""
    return _TOKEN.sub(MASK, text)


def _base64(text: str) -> str:
    # without padding: whatever follows it, this much is always there
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode().rstrip("=")


#: The process's one redactor: secrets are learnt while the rules file is read.
REDACTOR = Redactor()


def clean(text: str, limit: int = 120) -> str:
    """Somebody else's text, safe to show: no control characters, no keys, `limit` characters."""
    # cut generously first: the text may be megabytes, and masking must see whole keys
    text = REDACTOR.redact(text[: 10 * limit + 1000])
    text = _LONG_HEX.sub(MASK, text)
    text = "".join(letter for letter in text if unicodedata.category(letter)[0] != "C")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def visible(text: str) -> str:
    """`text` with every character escaped that a terminal would not show, or would obey."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


class RedactingFilter(logging.Filter):
    """Masks secrets in a record's finished text; belongs on handlers, where all loggers end."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; never drop it."""
        record.msg = REDACTOR.redact(record.getMessage())
        record.args = None
        if record.exc_info:
            formatted = logging.Formatter().formatException(record.exc_info)
            record.exc_text = REDACTOR.redact(formatted)
        return True
