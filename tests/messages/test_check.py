"""The check of templates and annotations: what would fail, with file and line."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest
from jinja2 import defaults

from alerting.engine.feeds import Scope
from alerting.engine.model import Direction, Severity
from alerting.engine.rules import Rule, Threshold
from alerting.messages.check import annotation_names, check_templates
from alerting.messages.phrases import describe
from alerting.messages.rendering import context_of, default_templates, make_environment
from tests.support.messages import NOW, firing, notification_of


def rule(annotations, scope=Scope.WALLET, **kwargs) -> Rule:
    threshold = Threshold(severity=Severity.WARNING, line=Decimal(1), clear=Decimal(1))
    return Rule(
        name="floor",
        scope=scope,
        value=None,
        direction=Direction.BELOW,
        thresholds=(threshold,),
        annotations=annotations,
        **kwargs,
    )


def test_default_templates_pass_the_check_of_the_users_own():
    assert check_templates(default_templates(), []) == []
    assert check_templates(None, []) == []


@pytest.mark.parametrize(
    ("name", "template", "problem"),
    [
        pytest.param("text.txt.j2", "a\n{{ acount }}", ":2: 'acount' is undefined", id="name"),
        pytest.param("text.txt.j2", "a\nb\n{% fi %}", ":3: Encountered unknown tag", id="syntax"),
        pytest.param("text.txt.j2", "{{ account | mony }}", ":1: No filter named", id="filter"),
        pytest.param(
            "text.txt.j2",
            "x\n{% for a in alerts %}\n{{ a.sumary }}\n{% endfor %}",
            ":3: UndefinedError: 'dict object' has no attribute 'sumary'",
            id="key-of-an-alert",
        ),
        pytest.param(
            "telegram.html.j2",
            "{% for a in alerts %}{{ a.value + 1 }}{% endfor %}",
            ":1: TypeError",
            id="only-with-no-value",
        ),
        pytest.param("telegrm.html.j2", "x", ":1: no message uses this name", id="file-name"),
    ],
)
def test_check_finds_what_would_fail_with_file_and_line(tmp_path, name, template, problem):
    (tmp_path / name).write_text(template)
    problems = check_templates(tmp_path, [])
    assert problems
    assert str(problems[0]).startswith(f"{tmp_path / name}{problem}"), problems


def test_check_finds_a_missing_folder(tmp_path):
    (problem,) = check_templates(tmp_path / "nosuch", [])
    assert "no such folder" in str(problem)


@pytest.mark.parametrize(
    ("annotations", "kwargs", "problem"),
    [
        pytest.param({"summary": "{{ value | money }} {{ base_asset }}"}, {}, None, id="fine"),
        pytest.param({"summary": "{{ symbol }}"}, {}, "'symbol' is undefined", id="wallet-symbol"),
        pytest.param({"summary": "{{ symbol }}"}, {"scope": Scope.SYMBOL}, None, id="symbol"),
        pytest.param({"summary": "{{ team }}"}, {"labels": {"team": "x"}}, None, id="label"),
        pytest.param(
            {"runbook": "a\n{% if %}"}, {}, "annotations.runbook: line 2: Expected", id="syntax"
        ),
        pytest.param({"summary": "{{ a | b }}"}, {}, "No filter named 'b'", id="filter"),
    ],
)
def test_check_reads_annotations_by_the_rules_scope(annotations, kwargs, problem):
    problems = check_templates(None, [rule(annotations, **kwargs)])
    if problem is None:
        assert problems == []
    else:
        assert problem in str(problems[0])
        assert str(problems[0]).startswith("rule floor: annotations.")


# ── what docs/messages.md says that templates can use ───────────────────────

DOCUMENT = (Path(__file__).parents[2] / "docs" / "messages.md").read_text(encoding="utf-8")


def documented(*tables: str) -> set[str]:
    """The names in the first column of the tables with these heads."""
    names = []
    for head in tables:
        rows = DOCUMENT.partition(f"\n| {head} |")[2].partition("\n\n")[0].splitlines()[2:]
        names += [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert len(names) == len(set(names)), "a name stands there twice"
    return set(names)


def test_document_lists_all_data_of_a_message():
    assert documented("of the message") == set(
        context_of(notification_of(firing()), maybe_repeat=False, now=NOW)
    )


def test_document_lists_all_data_of_an_alert():
    data = set(describe(firing(), now=NOW))
    assert documented("of each alert", "words") == data
    assert annotation_names() == data | {"now", "observed_at"}


def test_document_lists_all_filters():
    environment = make_environment(None, escape=None, markup=False)
    assert documented("filter") == set(environment.filters) - set(defaults.DEFAULT_FILTERS)
