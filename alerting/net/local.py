"""A machine's own part in a request: its CA bundle, its proxies, and words for what is wrong there.

Trusted is what the first of REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, SSL_CERT_FILE and SSL_CERT_DIR that
is set names: requests hears the first two, OpenSSL the last two, `send` and `tls_context` all. The
proxies are those of `*_PROXY` and NO_PROXY, as requests reads them.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
import urllib3
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy
from urllib3.util import parse_url

from alerting.net import failures
from alerting.net.failures import LocalFault, causes
from alerting.net.hosts import host_of, is_loopback
from alerting.redaction import MASK, REDACTOR, clean

_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXY_KINDS = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
_BROKEN = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    # a URL, a host or a login that cannot be taken apart or encoded
    ValueError,
)
# Somebody was on the wire, or was looked for there: neither bundle nor URL was at fault.
_OUTSIDE = (
    ConnectionError,
    TimeoutError,
    socket.gaierror,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.TimeoutError,
    http.client.HTTPException,
)
_TUNNEL = re.compile(r"Tunnel connection failed: ([0-9]{3})")
# OpenSSL's verify codes: nobody who is trusted has signed it; and: not valid at this time.
_UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21})
_WRONG_TIME = frozenset({9, 10})


class TunnelError(OSError):
    """The proxy was reached, and made no tunnel."""


@contextmanager
def tunnelling() -> Iterator[None]:
    """Whatever fails in this block failed between this machine and its proxy: a TunnelError."""
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TunnelError("no tunnel") from error


def send(
    original: Callable[..., requests.Response], request: requests.PreparedRequest, **kwargs: Any
) -> requests.Response:
    """Send by an adapter's `original`; LocalFault where this machine's settings are in the way."""
    url = request.url or ""
    if is_loopback(host_of(url) or ""):
        # proxies of the environment are for the world outside, never for this machine
        kwargs["proxies"] = {}
    if kwargs.get("verify", True) is True:
        kwargs["verify"] = _bundle() or True
    proxy = select_proxy(url, kwargs.get("proxies"))
    by = _Proxy(url, proxy) if proxy else None
    if by is not None:
        # beforehand: some of these requests itself stumbles over
        by.check()
    try:
        response = original(request, **kwargs)
    except _BROKEN as error:
        fault = _fault(error, url=url, verify=kwargs["verify"], by=by)
        if fault is None:
            raise
        raise fault from error
    if by is not None and response.status_code == 407:
        # the answer is the proxy's own: whom we asked never saw the request
        response.close()
        raise LocalFault(f"{by} {by.refusal(407)}", unsent=True)
    return response


def tls_context() -> ssl.SSLContext:
    """For a TLS connection without requests: trusts what the machine trusts, and our bundle."""
    context = ssl.create_default_context()
    bundle = _bundle()
    if bundle:
        folder = os.path.isdir(bundle)  # noqa: PTH112 - as requests asks
        with suppress(OSError):
            # what the machine trusts may do; where it does not, `named` says what is wrong
            context.load_verify_locations(**{"capath" if folder else "cafile": bundle})
    return context


def named(error: Exception) -> Exception:
    """The error to be told for one that a connection with a `tls_context` met."""
    return _trust_fault(error, _bundle()) or error


def problems() -> Iterator[str]:
    """What can be seen to be wrong with this machine's settings without sending anything."""
    name = next((name for name in _BUNDLES if os.environ.get(name)), None)
    problem = _bundle_problem(_bundle() or os.environ[name]) if name else None
    if name and problem:
        yield f"the CA bundle {_setting(name, os.environ[name])} {problem}"
    for name in (*_names_of_proxy("https"), *_names_of_proxy("http"), *_names_of_proxy("all")):
        value = os.environ.get(name, "")
        problem = _problem_of_proxy(value) if value else None
        if problem:
            yield f"the proxy {_setting(name, _masked(value))}: {problem}"
    problem = _tls_problem()
    if problem:
        yield problem


def _fault(error: Exception, *, url: str, verify: Any, by: _Proxy | None) -> LocalFault | None:
    """What of this machine is at fault; None where nothing is known of it."""
    if url.startswith("https") or (by is not None and by.has_tls):
        bundle = verify if isinstance(verify, str) else None
        fault = _trust_fault(error, bundle, default=DEFAULT_CA_BUNDLE_PATH)
        if fault:
            return fault
    return by.fault(error) if by is not None else None


def _setting(name: str | None, value: str) -> str:
    value = clean(value, 100)
    return f"{name}={value}" if name else value


# ── certificates ────────────────────────────────────────────────────────────


def _bundle() -> str | None:
    """The file or folder of those who are trusted; None: the default."""
    for name in _BUNDLES[:3]:
        path = os.environ.get(name)
        if path:
            return path
    # as OpenSSL: of several folders those without certificates do no harm, and no good
    folders = filter(None, os.environ.get("SSL_CERT_DIR", "").split(os.pathsep))
    return next((each for each in folders if _bundle_problem(each) is None), None)


def _trust_fault(error: Exception, bundle: str | None, *, default: str = "") -> LocalFault | None:
    """A bundle that cannot be used; by what a certificate was judged is noted at the error."""
    if any(isinstance(cause, _OUTSIDE) for cause in causes(error)):
        return None
    path = bundle or default
    problem = _bundle_problem(path) if path else None
    if problem:
        return LocalFault(f"the CA bundle {_whose(path)} {problem}")
    problem = _tls_problem()
    if problem:
        return LocalFault(problem)
    for cause in causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            _note(cause, bundle)
    return None


def _note(error: ssl.SSLCertVerificationError, bundle: str | None) -> None:
    """Say by what of this machine a certificate was judged, where that may be what is wrong."""
    if error.verify_code in _WRONG_TIME:
        error.add_note(f"this machine's clock says {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    elif error.verify_code not in _UNKNOWN_ISSUER:
        return
    elif bundle:
        error.add_note(f"judged by {_whose(bundle)}")
    elif os.environ.get("SSL_CERT_DIR"):
        folders = _setting("SSL_CERT_DIR", os.environ["SSL_CERT_DIR"])
        error.add_note(f"{folders} holds no certificates that can be found (see openssl rehash)")


def _whose(path: str) -> str:
    """A bundle with the variable that names it."""
    for name in _BUNDLES:
        value = os.environ.get(name, "")
        if path == value or (name == "SSL_CERT_DIR" and path in value.split(os.pathsep)):
            return _setting(name, path)
    return f"{clean(path, 100)} (of the Python package certifi)"


def _bundle_problem(path: str) -> str | None:
    """Why a file or folder makes nobody trusted."""
    try:
        if os.path.isdir(path):  # noqa: PTH112 - as requests asks
            hashed = any(re.fullmatch(r"[0-9a-f]{8}\.[0-9]+", each) for each in os.listdir(path))  # noqa: PTH208
            return None if hashed else "is a folder without certificates (see openssl rehash)"
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        return "holds no certificate in PEM form, or a broken one"
    except FileNotFoundError:
        return "does not exist"
    except (OSError, ValueError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}"
    return None


def _tls_problem() -> str | None:
    """Why this machine can make no TLS connection at all."""
    try:
        ssl.create_default_context()
    except OSError as error:
        why = error.strerror or type(error).__name__
        names = [name for name in ("SSLKEYLOGFILE", "OPENSSL_CONF") if os.environ.get(name)]
        given = " and ".join(_setting(name, os.environ[name]) for name in names)
        return f"TLS cannot be set up{' with ' if given else ''}{given}: {why}"
    return None


# ── proxies ─────────────────────────────────────────────────────────────────


class _Proxy:
    """The proxy of one request; as a text, by its variable and without its password."""

    def __init__(self, url: str, proxy: str) -> None:
        self._host = host_of(url) or "the other side"
        self._forwards = not url.startswith("https")
        self._value = proxy
        self._name = _name_of_proxy(url, proxy)
        self.has_tls = proxy.lower().startswith("https")
        _learn(proxy)

    def __str__(self) -> str:
        return f"the proxy {_setting(self._name, _masked(self._value))}"

    def check(self) -> None:
        """LocalFault where it can lead nowhere."""
        problem = _problem_of_proxy(self._value)
        if problem:
            raise LocalFault(f"{self}: {problem}")

    def fault(self, error: Exception) -> LocalFault | None:
        """What went wrong up to the proxy and in it; None where it did its work."""
        chain = list(causes(error))
        status = next(filter(None, (_TUNNEL.search(str(each)) for each in chain)), None)
        if status:
            return LocalFault(f"{self} {self.refusal(int(status[1]))}", peer=str(self))
        if _is_about_a_url(chain):
            return LocalFault(f"{self} is no valid URL; http://HOST:PORT is expected")
        if self._value.lower().startswith("socks"):
            return self._fault_of_socks(error, chain)
        if self._was_at_it(chain):
            return self._fault_of_it(error, chain)
        # many a proxy answers in the name of whom it should lead to, or says yes and hangs up
        error.add_note(f"through {self}")
        return None

    def refusal(self, status: int) -> str:
        """What an answer of its own means."""
        if status == 407 and "@" in self._value:
            return "does not accept its user and password (407)"
        if status == 407:
            return "asks for a login (407)"
        return f"does not connect to {self._host} ({status})"

    def _was_at_it(self, chain: list[BaseException]) -> bool:
        kinds = (TunnelError, requests.exceptions.ProxyError, urllib3.exceptions.ProxyError)
        return self._forwards or any(isinstance(each, kinds) for each in chain)

    def _fault_of_socks(self, error: Exception, chain: list[BaseException]) -> LocalFault | None:
        # it connects and asks in one step: whose fault it is cannot be told apart
        kinds = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
        if not any(isinstance(each, kinds) for each in chain):
            return None
        refused = [each for each in chain if type(each).__name__ in {"SOCKS4Error", "SOCKS5Error"}]
        # PySocks' own words for the proxy's answer
        why = clean(str(getattr(refused[0], "msg", ""))) if refused else failures.explain(error)
        return LocalFault(f"no connection to {self._host} by {self}: {why}", peer=str(self))

    def _fault_of_it(self, error: Exception, chain: list[BaseException]) -> LocalFault:
        reasons = {
            getattr(each, "reason", None) for each in chain if isinstance(each, ssl.SSLError)
        }
        if reasons & {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"}:
            return LocalFault(f"{self} does not speak TLS; write http:// for it")
        text = failures.sentence_on(error, peer=str(self), limit="the time limit")
        return LocalFault(text, peer=str(self))


def _is_about_a_url(chain: list[BaseException]) -> bool:
    """Whether a URL could not be taken apart; that which is asked for was taken apart before."""
    if any(isinstance(each, (*_OUTSIDE, TunnelError, ssl.SSLError)) for each in chain):
        return False
    return any(isinstance(each, (requests.exceptions.InvalidURL, ValueError)) for each in chain)


def _problem_of_proxy(value: str) -> str | None:
    """Why a proxy's URL can lead nowhere, without any of it."""
    kind, _, rest = value.rpartition("://")
    kind = kind.lower() or "http"
    if kind not in _PROXY_KINDS:
        return f"its scheme is none of {', '.join(_PROXY_KINDS)}"
    if kind.startswith("socks") and importlib.util.find_spec("socks") is None:
        return f"for {kind} the Python package PySocks is missing"
    try:
        # requests' own reading
        parts = parse_url(f"{kind}://{rest}")
    except ValueError:
        return "its port is no number up to 65535, or its host is none"
    if not parts.host:
        return "it names no host"
    return "its port is 0" if parts.port == 0 else None


def _names_of_proxy(scheme: str) -> tuple[str, str]:
    """The variables of one kind, first the one that is heard first."""
    return f"{scheme}_proxy", f"{scheme}_proxy".upper()


def _name_of_proxy(url: str, proxy: str) -> str | None:
    schemes = (urlsplit(url).scheme, "all")
    names = [name for scheme in schemes for name in _names_of_proxy(scheme)]
    return next((name for name in names if os.environ.get(name) == proxy), None)


def _masked(value: str) -> str:
    """A proxy's URL, however broken, without what may be a login, and without a path."""
    kind, login, address = _parts(value)
    address = re.split(r"[/?#]", address, maxsplit=1)[0]
    if not login and address.count(":") > 1 and not address.startswith("["):
        # USER:PASSWORD:HOST:PORT, as some write it
        address = MASK
    return f"{kind}{MASK + '@' if login else ''}{address}"


def _learn(value: str) -> None:
    """A login is a secret: whoever repeats the URL, it is masked."""
    _, login, _ = _parts(value)
    for part in (login, unquote(login), login.partition(":")[2]):
        REDACTOR.learn(part)


def _parts(value: str) -> tuple[str, str, str]:
    """Scheme with its slashes, login and all behind it; a password may hold any letter."""
    start = re.match(r"([A-Za-z0-9+.-]+:)?/+", value)
    kind = start[0] if start else ""
    login, _, address = value[len(kind) :].rpartition("@")
    return kind, login, address
