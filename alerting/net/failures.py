"""Words for what goes wrong on the wire, and how long a service asks to be left alone."""

from __future__ import annotations

import email.utils
import errno
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


class LocalFault(requests.RequestException):
    """What on this machine is in the way; as a text for the user, without any secret."""

    def __init__(self, text: str, *, peer: str = "", unsent: bool = False) -> None:
        """`peer` is whom it was that failed, where it was not a setting; `unsent`: none saw it."""
        super().__init__(text)
        self.peer = peer
        self.unsent = unsent


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
    (requests.exceptions.InvalidURL, "the base URL is not valid"),
    (requests.exceptions.InvalidSchema, "the base URL is of a kind that is not supported"),
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
# What this machine's own system says: nobody else was asked.
_HERE = {
    errno.ENETUNREACH: "this machine has no network in which {peer} is",
    errno.ENETDOWN: "the network of this machine is down",
    errno.EACCES: "this machine does not allow a connection to {peer}",
    errno.EPERM: "this machine does not allow a connection to {peer}",
    errno.EAFNOSUPPORT: "this machine does not allow a connection to {peer}",
    errno.EADDRNOTAVAIL: "this machine has no free address or port for a connection to {peer}",
    errno.EMFILE: "this program has too many open files for a connection to {peer}",
    errno.ENFILE: "this machine has too many open files for a connection to {peer}",
    errno.ENOBUFS: "this machine has no memory left for a connection to {peer}",
    errno.ENOMEM: "this machine has no memory left for a connection to {peer}",
}
# Statuses that nobody says but what stands between this machine and whom it asks.
_IN_BETWEEN = {
    407: "the proxy asks for a login (407)",
    511: "the network of this machine asks for a login (511)",
}
_NO_NAMES = "this machine's name server does not answer, so the name of {peer} is not known"
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


def in_between(status: int) -> str | None:
    """What a status says of the way there; None where it is the other side's."""
    return _IN_BETWEEN.get(status)


def fault_in(error: BaseException) -> LocalFault | None:
    """What on this machine was in the way, if that is known."""
    return next((cause for cause in causes(error) if isinstance(cause, LocalFault)), None)


def sentence(error: BaseException, *, host: str, limit: str) -> str:
    """Name the failure; never from an error's own text, which holds URLs, proxies and headers.

    `limit` is how long was waited, in words.
    """
    proxied = any(isinstance(cause, requests.exceptions.ProxyError) for cause in causes(error))
    return sentence_on(error, peer="the proxy" if proxied else host, limit=limit)


def sentence_on(error: BaseException, *, peer: str, limit: str) -> str:
    """As `sentence`, where it is known who failed."""
    found = _known(error, _SENTENCES, peer=peer, limit=limit)
    return found or f"no answer from {peer} ({type(error).__name__})"


def explain(error: BaseException) -> str:
    """Say in a few words, without any URL, what is at the bottom of a failure."""
    found = _known(error, _FEW_WORDS, peer="it")
    if found is not None:
        return found
    *_, bottom = causes(error)
    known = isinstance(bottom, OSError) and bottom.strerror
    return known or type(error).__name__


def unfinished(error: BaseException, *, host: str = "", limit: str) -> str:
    """Say who was still to answer when the time was up; `host` is whom we asked."""
    fault = fault_in(error)
    if fault is not None and not fault.peer:
        return str(fault)
    peer = fault.peer if fault is not None else host
    return f"no complete answer{' from ' if peer else ''}{peer} within {limit}"


def _known(error: BaseException, phrases: Phrases, **names: str) -> str | None:
    fault = fault_in(error)
    if fault is not None:
        return str(fault)
    return _here(error, **names) or _phrase(error, phrases, **names)


def _here(error: BaseException, **names: str) -> str | None:
    """What this machine's system refused."""
    for cause in causes(error):
        if isinstance(cause, socket.gaierror):
            return _NO_NAMES.format(**names) if cause.errno == socket.EAI_AGAIN else None
        if isinstance(cause, ssl.SSLError):
            # OpenSSL numbers its errors by itself
            continue
        if isinstance(cause, OSError) and cause.errno in _HERE:
            return _HERE[cause.errno].format(**names)
    return None


def _notes(error: BaseException) -> tuple[str, ...]:
    return tuple(getattr(error, "__notes__", ()))


def _phrase(error: BaseException, phrases: Phrases, **names: str) -> str | None:
    chain = list(causes(error))
    for kind, text in phrases:
        fits = next((cause for cause in chain if isinstance(cause, kind)), None)
        if fits is not None:
            why = clean(str(getattr(fits, "verify_message", "")))
            # net/local.py notes what of this machine had a part in it
            notes = dict.fromkeys(note for cause in chain for note in _notes(cause))
            return "; ".join([text.format(why=why, **names), *notes])
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
