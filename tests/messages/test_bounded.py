"""No template and no annotation can hold up a message or fill the memory."""

from __future__ import annotations

import sys
import time

import pytest

from alerting.messages.bounded import MOST
from alerting.messages.check import check_templates
from alerting.messages.formats import Format
from alerting.messages.rendering import Renderer
from tests.support.messages import NOW, firing, notification_of

HOSTILE = {
    "nested-loops": "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
    "loops-that-compute": "{% for a in range(90000) %}{% for b in range(90000) %}{% set c = a * b %}"
    "{% endfor %}{% endfor %}",
    "power": "{{ 9 ** (9 ** 9) }}",
    "power-of-powers": "{{ 9 ** 9 ** 9 ** 9 ** 9 ** 9 }}",
    "negative-power": "{{ 9 ** -99999999999 }}",
    "repeated-text": "{{ 'x' * 10000000000 }}",
    "repeated-list": "{{ [1] * 10000000000 }}",
    "times-text": "{{ 10000000000 * 'x' }}",
    "wide-percent": "{{ '%09999999999d' % 1 }}",
    "star-percent": "{{ '%*d' % (9999999999, 1) }}",
    "wide-format": "{{ '{:>9999999999}'.format(1) }}",
    "nested-format": "{{ '{:>{}}'.format(1, 9999999999) }}",
    "format-filter": "{{ '%09999999999d' | format(1) }}",
    "center": "{{ 'x'.center(9999999999) }}",
    "center-filter": "{{ 'x' | center(9999999999) }}",
    "zfill": "{{ 'x'.zfill(9999999999) }}",
    "indent": "{{ 'x' | indent(9999999999, true) }}",
    "doubling": "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}"
    "{% endfor %}",
    "doubling-sum": "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}"
    "{% endfor %}",
    "doubling-list": "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}"
    "{% endfor %}",
    "squaring": "{% set n = namespace(x=9) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}"
    "{% endfor %}",
    "replace": "{% set x = 'x' * 90000 %}{{ x.replace('x', x) }}",
    "replace-filter": "{% set x = 'x' * 90000 %}{{ x | replace('x', x) }}",
    "join": "{{ range(90000) | join('x' * 90000) }}",
    "join-method": "{{ ('x' * 90000).join('x' * 90000) }}",
    "long-output": "{% for i in range(90000) %}{{ 'x' * 90000 }}{% endfor %}",
    "macro-without-end": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "round": "{{ 1.5 | round(9999999999) }}",
}


def render(renderer, annotation="text"):
    told = notification_of(firing(annotations={"summary": annotation}))
    began = time.thread_time()
    message = renderer.render(told, Format.TEXT, maybe_repeat=False, now=NOW)
    assert time.thread_time() - began < 2
    assert len(message.body) < 3100
    assert told.items[0].alert.id in message.body
    return message


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_a_template_without_end_gives_way_to_the_built_in_text(tmp_path, source):
    (tmp_path / "text.txt.j2").write_text(source, encoding="utf-8")
    message = render(Renderer(overrides=tmp_path, seconds=0.3))
    assert "this is the built-in text" in message.body


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_an_annotation_without_end_says_that_it_failed(source):
    message = render(Renderer(overrides=None, seconds=0.3), source)
    assert "summary failed" in message.body or "this is the built-in text" in message.body


@pytest.mark.parametrize("name", ["power", "repeated-text", "wide-format", "doubling"])
def test_check_finds_it_beforehand(tmp_path, name):
    (tmp_path / "text.txt.j2").write_text(HOSTILE[name], encoding="utf-8")
    assert any("TooMuchError" in str(problem) for problem in check_templates(tmp_path, []))


def test_what_templates_need_is_allowed():
    source = (
        "{{ 2 ** 10 }} {{ 'ab' * 3 }} {{ '%.2f' % 1.5 }} {{ '{:>6}'.format(7) }} {{ 'x' ~ 1 ~ 'y' }}"
        " {{ [1, 2] + [3] }} {{ 'a-b'.replace('-', '+') }} {{ ['p', 'q'] | join('/') }}"
        " {{ 'z'.center(5) }}|{{ 7 * 6 }}{% for i in range(3) %}{{ i }}{% endfor %}"
    )
    body = render(Renderer(overrides=None), source).body
    assert "1024 ababab 1.50      7 x1y [1, 2, 3] a+b p/q   z  |42012" in body


def test_a_text_may_be_as_long_as_that():
    body = render(Renderer(overrides=None), f"{{{{ ('x' * {MOST}) | length }}}}").body
    assert str(MOST) in body


def test_the_trace_of_a_debugger_is_put_back():
    before = sys.gettrace()
    render(Renderer(overrides=None))
    assert sys.gettrace() is before
