"""Words for what goes wrong on the wire, and how long a service asks to be left alone."""

from __future__ import annotations

import email.utils
import http.client
import re
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import requests
import urllib3

from alerting.net import libraries
from alerting.redaction import clean

libraries.check()

Phrases = tuple[tuple[type[BaseException], str], ...]

# In both tables the first line that fits any error of the chain names the failure; {why} is what
# OpenSSL has to say of a certificate.
_SENTENCES: Phrases = (
    (ssl.SSLCertVerificationError, "the TLS certificate of {peer} is not valid: {why}"),
    (ssl.SSLEOFError, "{peer} hung up during the TLS handshake"),
    (ssl.SSLError, "no TLS connection to {peer}"),
    (socket.gaierror, "the name of {peer} cannot be resolved"),
    (ConnectionRefusedError, "{peer} refused the connection"),
    (urllib3.exceptions.ConnectTimeoutError, "no connection to {peer} within {limit}"),
    (urllib3.exceptions.ReadTimeoutError, "no answer from {peer} within {limit}"),
    (TimeoutError, "no answer from {peer} within {limit}"),
    (http.client.RemoteDisconnected, "{peer} hung up before it answered"),
    (ConnectionResetError, "{peer} reset the connection"),
    (BrokenPipeError, "{peer} hung up before it answered"),
    (http.client.IncompleteRead, "the answer of {peer} broke off"),
    (http.client.BadStatusLine, "{peer} does not speak HTTP"),
    (http.client.HTTPException, "{peer} sent headers that are no HTTP"),
    (requests.exceptions.ContentDecodingError, "the answer of {peer} cannot be unpacked"),
    (requests.exceptions.ChunkedEncodingError, "the answer of {peer} broke off"),
    (requests.exceptions.ProxyError, "{peer} does not connect to the exchange"),
    (requests.exceptions.InvalidProxyURL, "the proxy's URL in the environment is not valid"),
    (requests.exceptions.InvalidURL, "the base URL is not valid"),
    (requests.exceptions.InvalidSchema, "the URL or the proxy is of a kind that is not supported"),
    (urllib3.exceptions.NewConnectionError, "no connection to {peer}"),
)
_FEW_WORDS: Phrases = (
    (ssl.SSLCertVerificationError, "its certificate is not trusted: {why}"),
    (socket.gaierror, "its name is not found"),
    (ConnectionRefusedError, "connection refused"),
    (ssl.SSLError, "TLS failed"),
    (TimeoutError, "timed out"),
    (ConnectionResetError, "connection lost"),
    (BrokenPipeError, "connection lost"),
    (http.client.HTTPException, "connection lost"),
)
_SECONDS = re.compile(r"[0-9]{1,9}")
_SECONDS_AND_PARTS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that it was made from; urllib3 hides them in `reason` and `args`."""
    waiting, seen = [error], set[int]()
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        parts = (current.__cause__, current.__context__, getattr(current, "reason", None))
        waiting += [part for part in (*parts, *current.args) if isinstance(part, BaseException)]


def sentence(error: BaseException, *, host: str, limit: str) -> str:
    """Name the failure; never from an error's own text, which holds URLs, proxies and headers.

    `limit` is how long was waited, in words.
    """
    proxied = any(isinstance(cause, requests.exceptions.ProxyError) for cause in causes(error))
    peer = "the proxy" if proxied else host
    found = _phrase(error, _SENTENCES, peer=peer, limit=limit)
    return found or f"no answer from {peer} ({type(error).__name__})"


def explain(error: BaseException) -> str:
    """Say in a few words, without any URL, what is at the bottom of a failure."""
    found = _phrase(error, _FEW_WORDS)
    if found is not None:
        return found
    *_, bottom = causes(error)
    known = isinstance(bottom, OSError) and bottom.strerror
    return known or type(error).__name__


def _phrase(error: BaseException, phrases: Phrases, **names: str) -> str | None:
    chain = list(causes(error))
    for kind, text in phrases:
        fits = next((cause for cause in chain if isinstance(cause, kind)), None)
        if fits is not None:
            why = clean(str(getattr(fits, "verify_message", "")))
            return text.format(why=why, **names)
    return None


def retry_after(text: str, *, now: datetime, parts: bool = False) -> timedelta | None:
    """What a Retry-After asks for, in seconds or as a date (below zero: it is over).

    None where it is not readable; parts of a second are only with `parts`.
    """
    text = text.strip()
    if (_SECONDS_AND_PARTS if parts else _SECONDS).fullmatch(text):
        return timedelta(seconds=float(text))
    try:
        until = email.utils.parsedate_to_datetime(text)
        return until.replace(tzinfo=until.tzinfo or UTC) - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
