from __future__ import annotations

import http.client
import socket
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import requests
import urllib3

from alerting.net.failures import causes, explain, retry_after, sentence

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def wrapped(bottom):
    """As requests and urllib3 wrap an error: in `args`, and in `reason`."""
    return requests.ConnectionError(urllib3.exceptions.MaxRetryError(None, "/", bottom))


def certificate():
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "expired\n"
    return error


def chained():
    error = ValueError("outer")
    error.__cause__ = ConnectionRefusedError()
    error.__context__ = error
    return error


@pytest.mark.parametrize(
    ("error", "few", "whole"),
    [
        (
            certificate(),
            "its certificate is not trusted: expired",
            "the TLS certificate of h is not valid: expired",
        ),
        (socket.gaierror(), "its name is not found", "the name of h cannot be resolved"),
        (chained(), "connection refused", "h refused the connection"),
        (ssl.SSLEOFError(), "TLS failed", "h hung up during the TLS handshake"),
        (ssl.SSLError(), "TLS failed", "no TLS connection to h"),
        (TimeoutError(), "timed out", "no answer from h within 5s"),
        (ConnectionResetError(), "connection lost", "h reset the connection"),
        (http.client.RemoteDisconnected(), "connection lost", "h hung up before it answered"),
        (http.client.BadStatusLine("x"), "connection lost", "h does not speak HTTP"),
        (OSError(28, "No space left"), "No space left", "no answer from h (ConnectionError)"),
        (RuntimeError("http://token@h"), "ConnectionError", "no answer from h (ConnectionError)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_the_bottom_of_a_failure_is_named_for_either_reader(error, few, whole):
    assert explain(wrapped(error)) == few
    assert sentence(wrapped(error), host="h", limit="5s") == whole


def test_the_proxy_is_named_where_it_failed():
    error = requests.exceptions.ProxyError(ConnectionRefusedError())
    assert sentence(error, host="h", limit="5s") == "the proxy refused the connection"


def test_causes_end_where_errors_hold_each_other():
    one, two = ValueError(), ValueError()
    one.__cause__, two.__cause__ = two, one
    assert list(causes(one)) == [one, two]


@pytest.mark.parametrize(
    ("text", "whole", "parts"),
    [
        ("7", 7, 7),
        (" 7 ", 7, 7),
        ("0", 0, 0),
        ("1.5", None, 1.5),
        ("-5", None, None),
        ("soon", None, None),
        ("", None, None),
        ("٣", None, None),
        ("9" * 50, None, None),
        ("Thu, 01 Jan 2026 00:01:30 GMT", 90, 90),
        ("Wed, 31 Dec 2025 23:59:59 GMT", -1, -1),
        ("Thu, 32 Jan 2970 00:00:00 GMT", None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, whole, parts):
    for expected, allowed in ((whole, False), (parts, True)):
        delay = None if expected is None else timedelta(seconds=expected)
        assert retry_after(text, now=NOW, parts=allowed) == delay
