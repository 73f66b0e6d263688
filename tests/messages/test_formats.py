"""Which service gets which format."""

from __future__ import annotations

import pytest

from alerting.messages.formats import Format, format_of


@pytest.mark.parametrize(
    ("url", "fmt"),
    [
        ("slack", Format.SLACK),
        ("slack://a/b/c", Format.SLACK),
        ("https://hooks.slack.com/services/a/b/c", Format.SLACK),
        ("TGRAM://1:x/2", Format.TELEGRAM),
        ("mailtos://u@x", Format.EMAIL),
        ("mailto", Format.EMAIL),
        ("discord://a/b", Format.DISCORD),
        ("https://discord.com/api/webhooks/1/x", Format.DISCORD),
        ("json://127.0.0.1", Format.TEXT),
        ("mmost://host/token", Format.CHAT),
        ("", Format.CHAT),
    ],
)
def test_format_of(url, fmt):
    assert format_of(url) is fmt
