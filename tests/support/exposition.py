"""A reader of Prometheus' text format, by its specification."""

from __future__ import annotations

import re

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:\\[\\"n]|[^\\"\n])*)"')
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.*)\}})? (\S+)")
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


def parse(text):
    """{(metric, labels): value}; AssertionError where the text breaks a rule of the format."""
    assert text.endswith("\n")
    series, kinds, current = {}, {}, None
    lines = iter(text.removesuffix("\n").split("\n"))
    for line in lines:
        if line.startswith("# HELP "):
            current = line.split(" ", 3)[2]
            assert re.fullmatch(_NAME, current)
            assert current not in kinds, "a family comes once"
            assert len(line.split(" ", 3)[3]) > 10
            keyword, name, kind = next(lines).removeprefix("# ").split(" ")
            assert (keyword, name) == ("TYPE", current)
            assert kind in {"gauge", "counter"}
            assert (kind == "counter") == name.endswith("_total")
            kinds[current] = kind
            continue
        name, labels, value = _SAMPLE.fullmatch(line).groups()
        assert name == current
        pairs = _PAIR.findall(labels or "")
        assert ",".join(f'{n}="{v}"' for n, v in pairs) == (labels or "")
        assert len({n for n, _ in pairs}) == len(pairs)
        key = (
            name,
            tuple((n, re.sub(r"\\.", lambda m: _ESCAPES[m[0]], v)) for n, v in pairs),
        )
        assert key not in series, "a series comes once"
        series[key] = float(value)
    return series
