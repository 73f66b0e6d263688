from __future__ import annotations

import http.client
import json

from alerting.sandbox.inbox import Inbox, Received


def post(inbox, box, document):
    connection = http.client.HTTPConnection("127.0.0.1", inbox.port, timeout=5)
    try:
        connection.request("POST", f"/{box}/", body=json.dumps(document))
        return connection.getresponse().status
    finally:
        connection.close()


def test_what_arrives_is_kept_in_order_and_shown_at_once():
    shown = []
    with Inbox(shown.append) as inbox:
        for box in ("desk", "phone"):
            assert post(inbox, box, {"title": "T", "message": "M", "type": "info"}) == 200

    assert inbox.received == shown
    assert inbox.received == [
        Received(box=box, title="T", message="M") for box in ("desk", "phone")
    ]
    assert inbox.url("desk") == f"json://127.0.0.1:{inbox.port}/desk"


def test_what_it_refuses_it_does_not_keep():
    with Inbox() as inbox:
        inbox.status = 503
        assert post(inbox, "desk", {"title": "T", "message": "M"}) == 503

    assert inbox.received == []
