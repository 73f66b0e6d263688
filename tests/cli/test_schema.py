"""`schema`: for editors."""

from __future__ import annotations

import json


def test_schema_is_json_schema(desk):
    code, out, _ = desk.run("schema")
    assert code == 0
    assert "json-schema.org" in json.loads(out)["$schema"]
