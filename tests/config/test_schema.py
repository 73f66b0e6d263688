"""The JSON Schema, and that the example names every key."""

from __future__ import annotations

import json
import re

from alerting.config import load as config
from alerting.config.load import json_schema
from alerting.engine.rules import BUILTIN_NAMES
from tests.support.rules_files import ROOT


def test_the_example_sets_or_names_every_key():
    text = (ROOT / "rules.example.yaml").read_text(encoding="utf-8")
    missing = [key for key in _keys(json_schema()) if f"{key}:" not in text]
    assert missing == []


def _keys(schema):
    sections = [schema, *schema["$defs"].values()]
    return {key for section in sections for key in section.get("properties", {})}


def test_the_schema_describes_every_key():
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == ["accounts", "receivers", "routes", "rules"]
    for section in (schema, *schema["$defs"].values()):
        assert section["additionalProperties"] is False
        for key, described in section["properties"].items():
            assert described.get("description"), key
    assert set(schema["$defs"]["Builtin"]["properties"]) == {"tolerance", *BUILTIN_NAMES}
    json.dumps(schema)


def test_the_schema_s_defaults_fit_its_patterns():
    schema = json_schema()
    for section in (schema, *schema["$defs"].values()):
        for key, described in section["properties"].items():
            if "default" in described and "pattern" in described:
                assert re.search(described["pattern"], described["default"]), key
    assert schema["$defs"]["Poll"]["properties"]["interval"]["default"] == "15s"


def test_the_module_offers_the_schema():
    assert config.json_schema is json_schema
