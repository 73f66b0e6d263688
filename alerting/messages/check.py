"""Finds what would fail in the user's templates and the rules' annotations, before it does."""

from __future__ import annotations

import decimal
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from alerting.engine.feeds import SCOPES, SYMBOL_FIELDS, WALLET_FIELDS
from alerting.engine.model import (
    Alert,
    ChangeReason,
    Direction,
    Item,
    Notification,
    Reason,
    Severity,
    State,
)
from alerting.engine.remedy import PERCENT, Action, Remedy
from alerting.engine.rules import Rule
from alerting.errors import Problem
from alerting.messages.formats import TEMPLATES
from alerting.messages.phrases import describe
from alerting.messages.rendering import context_of, error_text, free_names, make_environment
from alerting.units import EXACT

if TYPE_CHECKING:
    from jinja2 import Environment


#: Makes a problem of a rule, the key of one of its annotations, and what is wrong with it.
Locate = Callable[[Rule, str, str], Problem]


def _by_name(rule: Rule, key: str, message: str) -> Problem:
    return Problem(file=f"rule {rule.name}", path=f"annotations.{key}", message=message)


def check_templates(
    overrides: Path | None, rules: Iterable[Rule], *, locate: Locate = _by_name
) -> list[Problem]:
    """Syntax errors and undefined names in the user's templates and the rules' annotations.

    `locate` knows where a rule's annotation stands.
    """
    problems = [] if overrides is None else _check_folder(overrides)
    # once for all: it takes longer to make than a rule to check
    environment = make_environment(None, escape=None, markup=False)
    everywhere = annotation_names()
    for rule in rules:
        problems += _check_annotations(rule, locate, environment, everywhere)
    return problems


def _problem(path: Path | str, line: int | None, message: str) -> Problem:
    return Problem(file=str(path), line=line, message=message)


def _check_folder(overrides: Path) -> list[Problem]:
    if not overrides.is_dir():
        return [_problem(overrides, None, "there is no such folder of templates")]
    found = sorted(path.name for path in overrides.glob("*.j2"))
    stranger = (
        f"no message uses this name; known are {', '.join(TEMPLATES)}"
        " (a file to be included starts with _)"
    )
    problems = [
        _problem(overrides / name, 1, stranger)
        for name in found
        if name not in TEMPLATES and not name.startswith("_")
    ]
    for name in TEMPLATES:
        if name in found:
            problems += _check_template(overrides, name)
    return problems


def _check_template(overrides: Path, name: str) -> list[Problem]:
    from jinja2 import TemplateError, TemplateSyntaxError

    path = overrides / name
    markup = ".html." in name
    environment = make_environment(overrides, escape=None, markup=markup)
    known = set(context_of(next(_samples()), maybe_repeat=False, now=_NOW))
    try:
        environment.get_template(name)
        names = free_names(environment, name)
    except TemplateSyntaxError as error:
        return [_problem(error.filename or path, error.lineno, str(error.message))]
    except (TemplateError, OSError, UnicodeDecodeError) as error:
        return [_problem(path, 1, error_text(error))]
    unknown = [n for n in sorted(names, key=lambda n: (names[n], n)) if n not in known]
    if unknown:
        return [_problem(path, names[n], f"{n!r} is undefined{_known(known)}") for n in unknown]
    return _try_template(environment, path)


def _try_template(environment: Environment, path: Path) -> list[Problem]:
    """Find what goes wrong with samples of everything that can be told."""
    from alerting.messages import bounded

    problems: list[Problem] = []
    for sample in _samples():
        context = context_of(sample, maybe_repeat=True, now=_NOW)
        try:
            with decimal.localcontext(EXACT), bounded.deadline():
                bounded.run(environment.get_template(path.name), context | {"title": "title"})
        except Exception as error:  # noqa: BLE001 - a template can raise anything
            problem = _problem(path, _line(error, path.name), error_text(error))
            problems += [] if problem in problems else [problem]
    return problems


def _check_annotations(
    rule: Rule, locate: Locate, environment: Environment, everywhere: set[str]
) -> list[Problem]:
    from jinja2 import TemplateSyntaxError, meta

    row = SCOPES[rule.scope]
    known = {*everywhere, *row.fields, *row.asset_fields, *row.shown, *row.labels, *rule.labels}
    problems = []
    for key, source in rule.annotations.items():
        try:
            free = meta.find_undeclared_variables(environment.parse(source))
            environment.compile(source)
        except TemplateSyntaxError as error:
            problems.append(locate(rule, key, f"line {error.lineno}: {error.message}"))
            continue
        problems += [
            locate(rule, key, f"{name!r} is undefined{_known(known)}")
            for name in sorted(free - known)
        ]
    return problems


def annotation_names() -> set[str]:
    """Name what every annotation can use: its alert's keys, and two of the message's."""
    return {*describe(_FIRING, now=_NOW), "now", "observed_at"}


def _known(names: Iterable[str]) -> str:
    return f"; known are {', '.join(sorted(names))}"


def _line(error: Exception, name: str) -> int:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).name == name]
    return lines[-1] or 1 if lines else 1


# ── samples: every kind of alert that a template can meet ───────────────────

_NOW = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
_FIRING = Item(
    alert=Alert(
        rule="floor",
        labels={"account": "main", "base_asset": "USDT", "symbol": "BTCUSDT", "exchange": "X"},
        annotations={"summary": "text", "description": "text", "runbook": "text"},
        value=Decimal("241.07"),
        values=dict.fromkeys((*WALLET_FIELDS, *SYMBOL_FIELDS), Decimal(1)),
        thresholds={Severity.CRITICAL: (Decimal(250), Decimal(300))},
        direction=Direction.BELOW,
        episode=1,
        active_at=_NOW - timedelta(minutes=5),
        fired_at=_NOW - timedelta(minutes=4),
        remedies=(
            Remedy(action=Action.ADD_MARGIN, amount=Decimal("61.20"), unit="USDT"),
            Remedy(action=Action.REDUCE, amount=Decimal(31), unit=PERCENT),
        ),
    ),
    reason=Reason.FIRING,
    state=State.FIRING,
    severity=Severity.CRITICAL,
)


def _samples() -> Iterator[Notification]:
    alert = _FIRING.alert
    escalated = replace(_FIRING, reason=Reason.ESCALATED, previous_severity=Severity.WARNING)
    over = replace(alert, resolved_at=_NOW - timedelta(minutes=1), resolved_why=ChangeReason.CLEAR)
    resolved = replace(_FIRING, alert=over, reason=Reason.RESOLVED, state=State.RESOLVED)
    nothing = Alert(rule="blind", labels={}, detail="text", fired_at=alert.fired_at)
    builtin = replace(_FIRING, alert=nothing, reason=Reason.REPEAT)
    eased = replace(escalated, reason=Reason.EASED)
    repeat = replace(
        _FIRING, reason=Reason.REPEAT, previous_value=Decimal(250), previous_at=alert.fired_at
    )
    for items in ((_FIRING,), (escalated, resolved), (resolved,), (builtin,), (eased,), (repeat,)):
        yield Notification(
            receiver="desk",
            account=items[0].alert.account,
            reason=items[0].reason,
            severity=Severity.CRITICAL,
            observed_at=_NOW,
            items=items,
        )
