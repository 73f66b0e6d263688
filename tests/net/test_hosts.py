from __future__ import annotations

import pytest

from alerting.net.hosts import cut_by_fragment, host_of, is_address, is_loopback


@pytest.mark.parametrize(
    ("host", "address", "loopback"),
    [
        ("127.0.0.1", True, True),
        ("127.1.2.3", True, True),
        ("::1", True, True),
        ("[::1]", True, True),
        ("192.168.0.1", True, False),
        ("::2", True, False),
        ("localhost", False, True),
        ("LocalHost.", False, True),
        ("localhost.example", False, False),
        ("127.0.0.1.example", False, False),
        ("", False, False),
    ],
)
def test_addresses_and_this_machine_are_known(host, address, loopback):
    assert (is_address(host), is_loopback(host)) == (address, loopback)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://u:p@Evil.Example:99/x?key=1", "evil.example"),
        ("/login", None),
        ("http://[", None),
        ("", None),
    ],
)
def test_a_url_leads_to_a_host(url, host):
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("url", "cut"),
    [
        ("mailtos://me:pa#ss@host", True),
        ("mailtos://m#e:pass@host?to=you@example.org", True),
        ("mailtos://me:#@host", True),
        ("mailtos://me@example.org:pa#ss@host", True),
        ("mailtos://me:pa%23ss@host", False),
        ("mailtos://me:pass@host/?to=you@example.org#x", False),
        ("slack://me@A/B/C/#general", False),
        ("slack://A/B/C/#a@b", False),
        ("json://host#part", False),
        ("no url # at all @ all", False),
    ],
)
def test_a_fragment_in_the_user_or_password_is_seen(url, cut):
    assert cut_by_fragment(url) is cut
