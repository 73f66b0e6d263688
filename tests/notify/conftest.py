"""A network in which nothing is real but the loopback servers of the test."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from tests.support import servers
from tests.support.servers import HttpServer


@pytest.fixture(scope="module")
def certificates():
    return servers.Certificates()


@pytest.fixture
def network(monkeypatch, certificates, tmp_path):
    """No name but those a test names leads anywhere; the test's CA is the only one trusted."""
    pem = tmp_path / "ca.pem"
    certificates.authority.cert_pem.write_to_path(str(pem))
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(pem))
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    network = servers.Network()
    monkeypatch.setattr(socket, "getaddrinfo", network)
    return network


@pytest.fixture
def serve(network, certificates):
    """Start an HTTPS server under a real service's name."""
    with ExitStack() as stack:

        def start(host, *script, trusted=True, names=None):
            context = certificates.context(*(names or [host]), trusted=trusted)
            server = HttpServer(*script, context=context)
            stack.callback(server.close)
            network.ports[host] = server.port
            return server

        yield start


@pytest.fixture
def mail(network, certificates):
    """Start a mail server; `mail(inbox)` gives the start of a URL to it."""
    network.ports["mail.example.org"] = None
    with ExitStack() as stack:

        def start(inbox, mode="starttls", login="robot:right-password@", **kwargs):
            context = certificates.context("mail.example.org", **kwargs)
            tls = {"starttls": {"starttls": context}, "ssl": {"implicit": context}, "none": {}}
            port = stack.enter_context(servers.smtp_server(inbox, **tls[mode]))
            scheme = "mailtos"
            option = "&mode=ssl" if mode == "ssl" else ""
            url = f"{scheme}://{login}mail.example.org:{port}/?from=robot@example.org{option}"
            return url + "&to=anna@example.org"

        yield start
