"""What is wrong on this machine is named as that: to whoever polls, pings or sends, by its variable."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import requests
import trustme

from alerting.exchanges.account import AccountSettings
from alerting.exchanges.coinswitch.client import WalletClient
from alerting.monitoring.heartbeat import ping
from alerting.net import local
from alerting.net.failures import LocalFault
from alerting.notify.attempts import SendOutcome
from alerting.redaction import REDACTOR, Secret
from tests.support.receivers import FAST, send
from tests.support.servers import Certificates, HttpServer, Network, Reply, Server, free_port

SITE = "site.example"
PATIENCE = timedelta(seconds=0.8)
ACCEPTED, TRANSIENT = SendOutcome.ACCEPTED, SendOutcome.TRANSIENT
UNKNOWN = SendOutcome.UNKNOWN
BUNDLES = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"]


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in {*BUNDLES, "SSL_CERT_DIR", "SSLKEYLOGFILE"}:
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def certificates():
    return Certificates()


@pytest.fixture
def site(monkeypatch, certificates):
    """An HTTPS server that says yes to everybody, and the only name there is."""
    network = Network()
    monkeypatch.setattr(socket, "getaddrinfo", network)
    server = HttpServer(Reply(200, {"ok": True}), context=certificates.context(SITE))
    network.ports[SITE] = server.port
    yield server
    server.close()


@pytest.fixture
def bundle(tmp_path, certificates):
    path = tmp_path / "ca.pem"
    certificates.authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def trusted(monkeypatch, bundle):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)


class Scripted(Server):
    """Hears one request and gives one answer; without one it says nothing."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        super().__init__()

    def handle(self, connection):
        connection.recv(65536)
        connection.sendall(self.answer)
        if not self.answer:
            self._stop.wait(5)


@contextlib.contextmanager
def proxy(answer, login=""):
    server = Scripted(answer)
    try:
        yield f"http://{login}127.0.0.1:{server.port}"
    finally:
        server.close()


def poll(scheme="https"):
    key = Secret("a" * 64)
    account = AccountSettings(
        name="main", api_key=key, secret_key=key, base_url=f"{scheme}://{SITE}"
    )
    client = WalletClient(account, timeout=PATIENCE)
    try:
        return client.poll().outcome.text
    finally:
        client.close()


def three_ways():
    """What a poll, a heartbeat and a message came to, in words."""
    attempt = send(f"jsons://{SITE}/hook", FAST)
    return poll(), ping(Secret(f"https://{SITE}/beat"), patience=PATIENCE), attempt


def assert_named_alike(expected):
    polled, pinged, attempt = three_ways()
    assert (polled, pinged) == (expected, expected)
    assert (attempt.outcome, attempt.reason) == (TRANSIENT, f"not reached: {expected}")


def assert_all_arrive():
    polled, pinged, attempt = three_ways()
    # the site is no exchange: it was reached, and its answer was read
    assert polled == "the answer has no data"
    assert (pinged, attempt.outcome) == (None, ACCEPTED)


# ── who is trusted ──────────────────────────────────────────────────────────


def gone(folder):
    return "does not exist"


def empty(folder):
    (folder / "bundle").write_bytes(b"")
    return "holds no certificate in PEM form, or a broken one"


def no_pem(folder):
    (folder / "bundle").write_bytes(b"\x30\x82\x01\x02")
    return "holds no certificate in PEM form, or a broken one"


def only_a_key(folder):
    key = trustme.CA().private_key_pem.bytes()
    (folder / "bundle").write_bytes(key)
    return "holds no certificate in PEM form, or a broken one"


def a_folder(folder):
    (folder / "bundle").mkdir()
    (folder / "bundle" / "ca.pem").write_bytes(trustme.CA().cert_pem.bytes())
    return "is a folder without certificates (see openssl rehash)"


@pytest.mark.parametrize("name", BUNDLES)
@pytest.mark.parametrize("broken", [gone, empty, no_pem, only_a_key, a_folder])
def test_a_bundle_that_cannot_be_used_is_named_to_all_three(
    site, monkeypatch, tmp_path, name, broken
):
    why = broken(tmp_path)
    monkeypatch.setenv(name, str(tmp_path / "bundle"))

    assert_named_alike(f"the CA bundle {name}={tmp_path / 'bundle'} {why}")
    assert site.requests == []


def test_who_is_down_is_not_excused_by_a_bundle_that_nobody_came_to(site, monkeypatch, tmp_path):
    empty(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bundle"))
    socket.getaddrinfo.ports[SITE] = free_port()

    assert poll() == f"{SITE} refused the connection"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_bundle_that_may_not_be_read_is_named(site, monkeypatch, bundle):
    os.chmod(bundle, 0)
    monkeypatch.setenv("SSL_CERT_FILE", bundle)

    assert_named_alike(f"the CA bundle SSL_CERT_FILE={bundle} cannot be read: Permission denied")


def test_the_library_s_own_bundle_is_named_where_it_is_gone(site, monkeypatch, tmp_path):
    path = str(tmp_path / "cacert.pem")
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", path)
    monkeypatch.setattr(local, "DEFAULT_CA_BUNDLE_PATH", path)

    assert_named_alike(
        f"the CA bundle {path} (of the Python package certifi) does not exist",
    )


@pytest.mark.parametrize("name", BUNDLES)
def test_each_variable_makes_its_authorities_trusted_in_all_three_ways(
    site, monkeypatch, bundle, name
):
    monkeypatch.setenv(name, bundle)

    assert_all_arrive()


def test_the_first_variable_that_is_set_decides(site, monkeypatch, bundle, tmp_path):
    for number, name in enumerate(BUNDLES):
        for other in BUNDLES:
            monkeypatch.setenv(other, "")
        monkeypatch.setenv(name, bundle)
        for later in BUNDLES[number + 1 :]:
            monkeypatch.setenv(later, "/nowhere/ca.pem")
        assert_all_arrive()


def hashed(folder, certificates):
    """A folder as `openssl rehash` leaves it."""
    folder.mkdir()
    pem = folder / "ca.pem"
    certificates.authority.cert_pem.write_to_path(str(pem))
    done = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", str(pem)],
        capture_output=True,
        text=True,
        check=True,
    )
    (folder / f"{done.stdout.strip()}.0").symlink_to(pem)
    return folder


def test_folders_of_certificates_are_heard(site, monkeypatch, tmp_path, certificates):
    folder = hashed(tmp_path / "certs", certificates)
    monkeypatch.setenv("SSL_CERT_DIR", f"/nowhere:{folder}")
    assert_all_arrive()
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    assert_named_alike("the CA bundle SSL_CERT_FILE=/nowhere/ca.pem does not exist")


def test_a_folder_that_holds_nothing_does_no_harm_and_is_noted(site, monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))

    polled, pinged, attempt = three_ways()

    note = f"; SSL_CERT_DIR={tmp_path} holds no certificates that can be found (see openssl rehash)"
    why = f"unable to get local issuer certificate{note}"
    assert polled == f"the TLS certificate of {SITE} is not valid: {why}"
    assert pinged == f"its certificate is not trusted: {why}"
    assert attempt.reason == f"not reached: {pinged}"[:200]


def test_a_bundle_without_the_issuer_is_named_beside_the_certificate(site, monkeypatch, tmp_path):
    path = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))

    polled, pinged, attempt = three_ways()

    assert polled.startswith(f"the TLS certificate of {SITE} is not valid: unable to get")
    for text in (polled, pinged, attempt.reason):
        assert f"; judged by SSL_CERT_FILE={path}" in text
    assert attempt.outcome is TRANSIENT


def test_a_bundle_is_not_blamed_for_the_name_of_a_host(site, monkeypatch, trusted, certificates):
    site._context = certificates.context("other.example")

    assert "judged by" not in poll()


def test_a_certificate_that_is_not_valid_now_is_told_with_this_machines_clock(
    site, monkeypatch, trusted, certificates
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past = datetime(2020, 1, 1, tzinfo=UTC)
    certificates.authority.issue_cert(SITE, not_after=past).configure_cert(context)
    site._context = context

    for text in (poll(), ping(Secret(f"https://{SITE}/"), patience=PATIENCE)):
        assert "certificate has expired; this machine's clock says 20" in text


def test_a_file_for_keys_that_cannot_be_written_is_named(site, monkeypatch, trusted):
    monkeypatch.setenv("SSLKEYLOGFILE", "/nowhere/keys")

    assert_named_alike(
        "TLS cannot be set up with SSLKEYLOGFILE=/nowhere/keys: No such file or directory"
    )


# ── proxies ─────────────────────────────────────────────────────────────────

KINDS = "http, https, socks4, socks4a, socks5, socks5h"
NO_PORT = "its port is no number up to 65535, or its host is none"
LOGIN = "robot:hunter22secret@"
VALUES = [
    pytest.param("htp://h:1", f"htp://h:1: its scheme is none of {KINDS}", id="scheme"),
    pytest.param(
        f"ftp://{LOGIN}h:1", f"ftp://***@h:1: its scheme is none of {KINDS}", id="ftp with a login"
    ),
    pytest.param("socks://h:1", f"socks://h:1: its scheme is none of {KINDS}", id="socks"),
    pytest.param(f"http://{LOGIN}h:abc", f"http://***@h:abc: {NO_PORT}", id="port"),
    pytest.param("http://h:99999", f"http://h:99999: {NO_PORT}", id="large port"),
    pytest.param("http://h:0", "http://h:0: its port is 0", id="port 0"),
    pytest.param("http://:3128", "http://:3128: it names no host", id="no host"),
    pytest.param("http://", "http://: it names no host", id="nothing"),
    pytest.param(f"http://{LOGIN}", "http://***@: it names no host", id="login only"),
    pytest.param(
        f"{LOGIN}h:1", "***@h:1 is no valid URL; http://HOST:PORT is expected", id="no scheme"
    ),
    pytest.param("http:/h:1", "http:/h:1 is no valid URL; http://HOST:PORT is expected", id="/"),
    pytest.param(
        "http://robot:пароль@h:1",
        "http://***@h:1 is no valid URL; http://HOST:PORT is expected",
        id="login that cannot be sent",
    ),
]


@pytest.mark.parametrize(("value", "told"), VALUES)
def test_a_proxy_that_cannot_be_is_named_by_its_variable(site, trusted, monkeypatch, value, told):
    monkeypatch.setenv("HTTPS_PROXY", value)

    assert_named_alike(f"the proxy HTTPS_PROXY={told}")
    assert site.requests == []


def test_socks_without_its_library_is_named(site, trusted, monkeypatch):
    monkeypatch.setitem(sys.modules, "socks", None)
    monkeypatch.setattr(local.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("ALL_PROXY", "socks5h://127.0.0.1:9")

    assert_named_alike(
        "the proxy ALL_PROXY=socks5h://127.0.0.1:9: for socks5h the Python package PySocks is missing"
    )


def test_a_proxy_that_nobody_is_at_is_named(site, trusted, monkeypatch):
    port = free_port()
    monkeypatch.setenv("https_proxy", f"http://{LOGIN}127.0.0.1:{port}")
    assert_named_alike(f"the proxy https_proxy=http://***@127.0.0.1:{port} refused the connection")
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:3128")
    assert_named_alike(
        "the name of the proxy https_proxy=http://proxy.invalid:3128 cannot be resolved"
    )


@pytest.mark.parametrize(
    ("answer", "login", "told"),
    [
        pytest.param(b"HTTP/1.1 407 Login\r\n\r\n", "", "asks for a login (407)", id="407"),
        pytest.param(
            b"HTTP/1.1 407 Login\r\n\r\n",
            LOGIN,
            "does not accept its user and password (407)",
            id="407 to a login",
        ),
        pytest.param(
            b"HTTP/1.1 403 No\r\n\r\n", LOGIN, f"does not connect to {SITE} (403)", id="403"
        ),
        pytest.param(b"HTTP/1.1 502 No\r\n\r\n", "", f"does not connect to {SITE} (502)", id="502"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", "", "does not speak HTTP", id="no HTTP"),
    ],
)
def test_what_a_proxy_says_is_told_as_the_proxys(site, trusted, monkeypatch, answer, login, told):
    with proxy(answer, login) as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        shown = url.replace(login, "***@") if login else url
        assert_named_alike(f"the proxy HTTPS_PROXY={shown} {told}")
    assert site.requests == []


def test_a_proxy_that_says_nothing_is_named_and_not_who_was_asked(site, trusted, monkeypatch):
    with proxy(b"") as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        polled, pinged, attempt = three_ways()
    shown = f"the proxy HTTPS_PROXY={url}"
    for text in (polled, pinged, attempt.reason):
        # which of two clocks ends it first, the socket's or the deadline's, is chance
        assert re.search(rf"no (complete )?answer from {re.escape(shown)} within", text)
    assert attempt.outcome is TRANSIENT


def test_a_proxy_without_tls_is_named(site, trusted, monkeypatch):
    with proxy(b"HTTP/1.1 400 What\r\n\r\n") as plain_url:
        url = plain_url.replace("http:", "https:")
        monkeypatch.setenv("HTTPS_PROXY", url)
        assert_named_alike(f"the proxy HTTPS_PROXY={url} does not speak TLS; write http:// for it")


def test_a_broken_handshake_through_a_proxy_names_both(site, trusted, monkeypatch):
    with proxy(b"HTTP/1.1 200 OK\r\n\r\n") as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        for text in (poll(), ping(Secret(f"https://{SITE}/"), patience=PATIENCE)):
            assert text.endswith(f"; through the proxy HTTPS_PROXY={url}")


def test_a_host_that_needs_no_proxy_is_not_told_of_it(site, trusted, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "htp://nonsense")
    monkeypatch.setenv("NO_PROXY", f"other.example, {SITE}")
    assert_all_arrive()


@pytest.fixture
def plain(site):
    """A server without TLS, under the same name."""
    server = HttpServer(Reply(200, {"ok": True}))
    socket.getaddrinfo.ports[SITE] = server.port
    yield server
    server.close()


@pytest.mark.parametrize(
    ("answer", "told", "outcome"),
    [
        pytest.param(
            b"HTTP/1.1 407 L\r\nContent-Length: 0\r\n\r\n",
            "does not accept its user and password (407)",
            TRANSIENT,
            id="407",
        ),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP", UNKNOWN, id="no HTTP"),
    ],
)
def test_a_proxy_that_forwards_is_named_too(plain, monkeypatch, answer, told, outcome):
    with proxy(answer, LOGIN) as url:
        monkeypatch.setenv("ALL_PROXY", url)
        pinged = ping(Secret(f"http://{SITE}/"), patience=PATIENCE)
        attempt = send(f"json://{SITE}/hook", FAST)
    assert pinged == f"the proxy ALL_PROXY={url.replace(LOGIN, '***@')} {told}"
    # 407 is the proxy's own word; what is no HTTP may have come after it was passed on
    assert attempt.outcome is outcome
    assert attempt.reason.endswith(pinged)


def test_this_machine_is_reached_without_a_proxy_in_every_way(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "htp://nonsense")
    server = HttpServer(Reply(200, {"ok": True}))
    try:
        assert ping(Secret(f"http://127.0.0.1:{server.port}/"), patience=PATIENCE) is None
        assert send(f"json://localhost:{server.port}/", FAST).outcome is ACCEPTED
    finally:
        server.close()


@pytest.mark.parametrize(
    "value",
    [
        "http://robot:hunter22secret@h:1",
        "robot:hunter22secret@h:1",
        "http://robot:hunter22secret/?#@x@h:1",
        "htp:/robot:hunter22secret@h:1",
        "//robot:hunter22secret@h:1",
        "robot:hunter22secret:h:1",
        "http://h:1/?password=hunter22secret",
    ],
)
def test_no_password_of_a_proxy_is_ever_shown(site, trusted, monkeypatch, caplog, value):
    monkeypatch.setenv("HTTPS_PROXY", value)
    caplog.set_level("DEBUG")

    polled, pinged, attempt = three_ways()

    for text in (polled, pinged, attempt.reason, caplog.text, *local.problems()):
        assert "hunter22" not in text
    assert "HTTPS_PROXY=" in polled


def test_a_login_is_learnt_so_that_nobody_else_shows_it(site, trusted, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://robot:%70assw0rd-of-ours@127.0.0.1:1")

    poll()

    assert "ssw0rd" not in REDACTOR.redact("robot:passw0rd-of-ours %70assw0rd-of-ours")


# ── the rest ────────────────────────────────────────────────────────────────


def test_what_can_be_seen_beforehand_is_told_at_once(monkeypatch, bundle):
    assert list(local.problems()) == []
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    monkeypatch.setenv("HTTPS_PROXY", "htp://h")
    monkeypatch.setenv("all_proxy", "http://h:x")
    assert [text.partition("=")[0] for text in local.problems()] == [
        "the CA bundle SSL_CERT_FILE",
        "the proxy HTTPS_PROXY",
        "the proxy all_proxy",
    ]
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    assert len(list(local.problems())) == 2


def test_who_is_refused_by_a_site_hears_nothing_of_this_machine(site, trusted):
    site.script = [Reply(403)]

    assert ping(Secret(f"https://{SITE}/"), patience=PATIENCE) == "it answered 403"


def test_an_adapter_tells_what_is_wrong_as_an_error_of_requests():
    # Apprise's plugins catch these, and nothing else
    assert issubclass(LocalFault, requests.RequestException)
