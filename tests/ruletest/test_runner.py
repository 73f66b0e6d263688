"""`alerting test` as a command, and the files that ship."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from alerting.engine.expressions import Kind, compile_expression
from alerting.engine.feeds import NAMES, Scope
from alerting.engine.model import Direction, Severity
from alerting.engine.rules import Flapping, NamePattern, Repeat
from alerting.errors import ConfigError
from alerting.ruletest.runner import run_case, run_files
from alerting.ruletest.testfile import load_tests
from tests.support.paths import ROOT
from tests.support.rule_tests import CONTRACT, DATA, SHIPPED, D, M, S

# ── the command ─────────────────────────────────────────────────────────────


def command(*args, cwd):
    env = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    return subprocess.run(
        [sys.executable, "-m", "alerting", "test", *args],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_exit_code_0_if_all_passed(folder):
    (folder / "t.yaml").write_text(CONTRACT, encoding="utf-8")
    done = command("t.yaml", "--junit", "r.xml", cwd=folder)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("1 passed, 0 failed\n")
    assert ET.parse(folder / "r.xml").getroot().get("tests") == "1"


def test_exit_code_1_if_some_failed(folder):
    (folder / "t.yaml").write_text(CONTRACT.replace("severity: warning", "severity: critical"))
    (folder / "u.yaml").write_text(CONTRACT, encoding="utf-8")
    done = command("t.yaml", "u.yaml", cwd=folder)

    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.endswith("1 passed, 1 failed\n")


def test_exit_code_2_and_every_problem_if_a_file_is_wrong(folder):
    (folder / "t.yaml").write_text(CONTRACT.replace("desk", "desc"), encoding="utf-8")
    (folder / "u.yaml").write_text(CONTRACT, encoding="utf-8")
    rules = (DATA / "rules.yaml").read_text(encoding="utf-8")
    (folder / "wrong.yaml").write_text(
        rules.replace("per: wallet", "per: walet", 1), encoding="utf-8"
    )
    for name in ("v.yaml", "w.yaml"):
        (folder / name).write_text(CONTRACT.replace("rules.yaml", "wrong.yaml"), encoding="utf-8")
    done = command("u.yaml", "t.yaml", "v.yaml", "w.yaml", cwd=folder)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "t.yaml:10:31: tests.0.expect.1.notified: unknown receiver 'desc'; did you mean 'desk'?",
        "wrong.yaml:27:10: rules.0.per: 'walet' is not one of account, wallet, symbol, position; did you mean 'wallet'?",
    ]


def test_all_that_is_wrong_is_one_error(folder):
    for name in ("a.yaml", "b.yaml"):
        (folder / name).write_text("rules: rules.yaml\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        run_files([Path("a.yaml"), Path("b.yaml")], say=pytest.fail, junit=None, verbose=False)

    assert [str(each) for each in caught.value.problems] == [
        "a.yaml:1:1: tests: is missing",
        "b.yaml:1:1: tests: is missing",
    ]


# ── docs/testing-rules.md ───────────────────────────────────────────────────


PAGE = (ROOT / "docs" / "testing-rules.md").read_text(encoding="utf-8")
OUTPUTS = re.findall(
    r"^```console\n\$ alerting test ([^\n]*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE
)


@pytest.mark.parametrize(("name", "output"), OUTPUTS)
def test_the_documented_output_is_real(folder, name, output):
    shutil.copy(ROOT / "rules.example.yaml", folder)
    block = re.search(rf"^```yaml\n(# {name}\n.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[1]
    (folder / name).write_text(block, encoding="utf-8")
    lines = []
    run_files([Path(name)], say=lines.append, junit=None, verbose=False)

    assert lines == output.splitlines()


def test_the_page_shows_output():
    assert [name for name, _ in OUTPUTS] == ["floor.test.yaml", "wrong.test.yaml"]


# ── rules.example.test.yaml really tests rules.example.yaml ─────────────────


EXAMPLE = load_tests(SHIPPED)
RULES = [rule.name for rule in EXAMPLE.ruleset.rules]
#: a change of the threshold or of `clear` that must be noticed
LITTLE = {
    "available-ratio": D("0.000001"),
    "wallet-margin-ratio": D("0.000001"),
    "symbol-margin-ratio": D("0.000001"),
    "concentration": D("0.00001"),
    "open-order-pressure": D("0.00001"),
    "negative-open-order-margin": D("0.000001"),
    "unexplained-margin": D("0.000001"),
    "balance-falls": D("0.000001"),
    "drawdown": D("0.000001"),
    "polls-failing": D(1),
}
#: changes that change nothing: a good poll takes the number of failures to 0 in one step
EQUIVALENT = {"polls-failing": ["info clears later"]}


def passes(ruleset, cases=EXAMPLE.cases):
    return not any(run_case(case, ruleset).differences for case in cases)


def about(name):
    """The cases that name a rule, and those for its route."""
    return [case for case in EXAMPLE.cases if any(each.alert == name for each in case.expectations)]


#: the short ones first, without those of rules that look back on hours: they cost most
QUICK = sorted(
    (
        case
        for case in EXAMPLE.cases
        if not any(case in about(rule.name) for rule in EXAMPLE.ruleset.rules if rule.looks_back)
    ),
    key=lambda case: case.steps,
)


def lean(mutants):
    """Without the rules that look back, which cost most and are not what is changed."""
    for name, ruleset in mutants:
        rules = tuple(rule for rule in ruleset.rules if not rule.looks_back)
        yield name, replace(ruleset, rules=rules)


def with_rule(changed):
    rules = [changed if rule.name == changed.name else rule for rule in EXAMPLE.ruleset.rules]
    return replace(EXAMPLE.ruleset, rules=tuple(rules))


def with_threshold(rule, level, **changes):
    thresholds = [replace(each, **changes) if each is level else each for each in rule.thresholds]
    return with_rule(replace(rule, thresholds=tuple(thresholds)))


def threshold_mutants(rule, level):
    little = LITTLE.get(rule.name, D("0.01"))
    sign = 1 if rule.direction is Direction.ABOVE else -1
    severity = level.severity.value
    clear_follows = level.clear == level.line
    for name, change in (("stricter", -little * sign), ("laxer", little * sign)):
        threshold = level.line + change
        clear = threshold if clear_follows else level.clear
        yield f"{severity} {name}", with_threshold(rule, level, line=threshold, clear=clear)
    for name, change in (("later", -little * sign), ("sooner", little * sign)):
        if not (clear_follows and name == "sooner"):
            yield (
                f"{severity} clears {name}",
                with_threshold(rule, level, clear=level.clear + change),
            )
    yield f"{severity} for longer", with_threshold(rule, level, for_=level.for_ + 15 * S)
    yield (
        f"{severity} keeps longer",
        with_threshold(rule, level, keep_firing_for=level.keep_firing_for + 15 * S),
    )
    if level.for_:
        yield f"{severity} for less", with_threshold(rule, level, for_=level.for_ - 15 * S)
    if level.keep_firing_for:
        yield (
            f"{severity} keeps less",
            with_threshold(rule, level, keep_firing_for=level.keep_firing_for - 15 * S),
        )
    others = [each for each in Severity if each not in {r.severity for r in rule.thresholds}]
    for other in others:
        yield f"{severity} as {other.value}", with_threshold(rule, level, severity=other)
    left = tuple(each for each in rule.thresholds if each is not level)
    if left:
        yield f"no {severity}", with_rule(replace(rule, thresholds=left))


def rule_mutants(rule):
    for level in rule.thresholds:
        yield from threshold_mutants(rule, level)
    kept = tuple(each for each in EXAMPLE.ruleset.rules if each is not rule)
    yield "removed", replace(EXAMPLE.ruleset, rules=kept)
    other = Direction.BELOW if rule.direction is Direction.ABOVE else Direction.ABOVE
    yield "turned round", with_rule(replace(rule, direction=other))
    if rule.when:
        yield "without when", with_rule(replace(rule, when=None))
        when = f"not ({rule.when.text})"
        condition = compile_expression(when, kind=Kind.CONDITION, names=NAMES[rule.scope])
        yield "when not", with_rule(replace(rule, when=condition))
    if rule.base_assets.patterns:
        yield "for all assets", with_rule(replace(rule, base_assets=NamePattern()))
        for name in rule.base_assets.patterns:
            yield f"only for {name}", with_rule(replace(rule, base_assets=NamePattern((name,))))
    if rule.scope is Scope.SYMBOL:
        yield "for no symbol", with_rule(replace(rule, symbols=NamePattern(("!*",))))


def survivors(mutants, cases):
    return [name for name, ruleset in mutants if passes(ruleset, cases)]


def test_the_example_passes_its_tests():
    assert passes(EXAMPLE.ruleset)


def test_there_is_a_test_for_each_rule():
    assert [name for name in RULES if not about(name)] == []


@pytest.mark.parametrize("name", RULES)
def test_each_change_of_a_rule_makes_a_test_fail(name):
    rule = next(rule for rule in EXAMPLE.ruleset.rules if rule.name == name)
    mutants = list(rule_mutants(rule))

    assert len(mutants) >= 6
    assert survivors(mutants, about(name)) == EQUIVALENT.get(name, [])


def route_mutants():
    routes = EXAMPLE.ruleset.routes

    def changed(index, **changes):
        new = [replace(r, **changes) if n == index else r for n, r in enumerate(routes)]
        return replace(EXAMPLE.ruleset, routes=tuple(new))

    for index, route in enumerate(routes):
        for name in route.receivers if len(route.receivers) > 1 else ():
            left = tuple(each for each in route.receivers if each != name)
            yield f"route {index} without {name}", changed(index, receivers=left)
        missing = tuple(name for name in EXAMPLE.ruleset.receivers if name not in route.receivers)
        for name in missing:
            yield f"route {index} with {name}", changed(index, receivers=(*route.receivers, name))
        repeat = route.repeat
        for change in (-M, M):
            later = replace(repeat, first=repeat.first + change)
            yield f"route {index} first {change}", changed(index, repeat=later)
        if repeat.longest:
            yield f"route {index} plain", changed(index, repeat=Repeat(first=repeat.first))
            for change in (-M, M):
                longest = replace(repeat, longest=repeat.longest + change)
                yield f"route {index} max {change}", changed(index, repeat=longest)
    for index in range(len(routes) - 1):
        left = routes[:index] + routes[index + 1 :]
        yield f"no route {index}", replace(EXAMPLE.ruleset, routes=left)


def test_each_change_of_a_route_makes_a_test_fail():
    assert survivors(lean(route_mutants()), QUICK) == []


def setting_mutants():
    ruleset, flapping = EXAMPLE.ruleset, EXAMPLE.ruleset.flapping
    yield "no flapping", replace(ruleset, flapping=None)
    for change in (-1, 1):
        changes = Flapping(changes=flapping.changes + change, within=flapping.within)
        yield f"flapping changes {change}", replace(ruleset, flapping=changes)
        within = Flapping(changes=flapping.changes, within=flapping.within + change * M)
        yield f"flapping within {change}m", replace(ruleset, flapping=within)
    for name, delay in (("blind", 15 * S), ("rule-undefined", 15 * S), ("suspect-data", 15 * S)):
        own = ruleset.builtin[name]
        for change in (-delay, delay):
            if own.for_ + change >= timedelta(0):
                builtin = {**ruleset.builtin, name: replace(own, for_=own.for_ + change)}
                yield f"{name} {change}", replace(ruleset, builtin=builtin)


def test_each_change_of_a_setting_makes_a_test_fail():
    assert survivors(lean(setting_mutants()), QUICK) == []


def test_rows_alone_make_a_wallet_that_is_all_locked(tmp_path):
    (tmp_path / "rules.yaml").write_text(
        """\
accounts: {main: {api_key: a, secret_key: "%s"}}
receivers: {desk: {url: "json://127.0.0.1/"}}
routes: [{receivers: [desk]}]
rules: [{name: load, per: symbol, value: blocked_balance, above: 500}]
"""
        % ("00" * 32),
        encoding="utf-8",
    )
    (tmp_path / "t.yaml").write_text(
        """\
rules: rules.yaml
tests:
  - name: the contract's own symbol row
    symbols: {BTCUSDT: {blocked_balance: "100x4 700x8"}}
    expect:
      - {at: 45s, alert: load, state: inactive}
      - {at: 1m, alert: load, state: firing, symbol: BTCUSDT}
      - {at: 1m, alert: suspect-data, state: inactive}
""",
        encoding="utf-8",
    )
    lines = []
    assert run_files([tmp_path / "t.yaml"], say=lines.append, junit=None, verbose=False), lines
