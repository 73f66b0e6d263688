"""Words a notification for one service, within its limits, never failing."""

from __future__ import annotations

import contextlib
import decimal
import functools
import hashlib
import html
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alerting.display import PLAIN, UNKNOWN, Display
from alerting.engine.model import ChangeReason, Notification, State
from alerting.messages import formats, phrases, plain
from alerting.messages.formats import (
    PAGE_LIMIT,
    SERVICES,
    TITLE,
    TITLE_LIMIT,
    Format,
    Message,
    Room,
    Service,
)
from alerting.messages.phrases import Data
from alerting.units import EXACT, rfc3339

if TYPE_CHECKING:
    from jinja2 import Environment

    from alerting.messages.bounded import BoundedEnvironment


# ── the environment ─────────────────────────────────────────────────────────


def default_templates() -> Path:
    """Find the folder of the templates that come with the program."""
    package = Path(__file__).parents[1]
    packaged = package / "templates"
    return packaged if packaged.is_dir() else package.parent / "templates"


def make_environment(
    overrides: Path | None,
    *,
    escape: Callable[[str], str] | None,
    markup: bool,
    show: Display = PLAIN,
) -> BoundedEnvironment:
    """Make what renders the user's templates and the defaults, in a sandbox, with our filters."""
    from jinja2 import StrictUndefined, pass_context

    from alerting.messages.bounded import BoundedEnvironment, loader

    @pass_context
    def ago(context: Mapping[str, Any], value: Any) -> str:
        return phrases.ago(value, now=context["now"])

    folders = [folder for folder in (overrides, default_templates()) if folder]
    environment = BoundedEnvironment(
        loader=loader(folders),
        undefined=StrictUndefined,
        autoescape=markup,
        finalize=functools.partial(_finalize, escape, markup, show),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "money": show.money,
        "percent": functools.partial(_percent, show),
        "instant": show.instant,
        "duration": phrases.duration,
        "ago": ago,
        "code": functools.partial(_as_code, escape, markup, show),
        "link": functools.partial(_as_link, markup),
    }
    return environment


def _percent(show: Display, value: object, places: int = 2) -> str:
    return show.percent(value, places)


def _finalize(
    escape: Callable[[str], str] | None, markup: object, show: Display, value: Any
) -> Any:
    """Turn what an expression gave into text of the service."""
    from markupsafe import Markup

    if hasattr(value, "__html__") or (isinstance(value, formats.Link) and not markup):
        return value
    text = UNKNOWN if value is None else _text(show, value)
    if escape is None:
        return text
    return Markup(escape(text)) if markup else escape(text)  # noqa: S704 - escape() made it safe


def _as_code(escape: Callable[[str], str] | None, markup: object, show: Display, value: Any) -> Any:
    """Set a value as code, where the service can."""
    from markupsafe import Markup

    if not markup:
        return value
    text = _text(show, value)
    text = formats.as_code(text) if escape is formats.telegram else html.escape(text)
    return Markup(text)  # noqa: S704 - escaped above


def _as_link(markup: object, value: Any) -> Any:
    """Make a link of a URL of the rules file, where the service has links."""
    from markupsafe import Markup

    if not markup or not isinstance(value, formats.Link):
        return value
    return Markup(formats.as_link(value))  # noqa: S704 - escaped above


def _text(show: Display, value: Any) -> str:
    if isinstance(value, decimal.Decimal):
        return show.money(value)
    return show.instant(value) if isinstance(value, datetime) else str(value)


# ── rendering ───────────────────────────────────────────────────────────────


class Renderer:
    """Renders with the user's templates where there are some, else with the defaults."""

    def __init__(
        self, *, overrides: Path | None, seconds: float = 5.0, show: Display = PLAIN
    ) -> None:
        self._overrides, self._show = overrides, show
        self._context = functools.partial(context_of, show=show)
        #: for all templates of one message
        self._seconds = seconds
        self._environments: dict[tuple[object, bool], BoundedEnvironment] = {}

    def render(
        self,
        notification: Notification,
        fmt: Format,
        *,
        maybe_repeat: bool,
        now: datetime,
        room: Room | None = None,
    ) -> Message:
        """Render the message; where a template fails, a plain one with the error in it.

        `room` is what the very service takes; None: as much as the format.
        """
        try:
            with decimal.localcontext(EXACT), self._watched(notification):
                context = self._context(notification, maybe_repeat=maybe_repeat, now=now)
                return self._render(notification, context, fmt, room)
        except Exception as error:  # noqa: BLE001 - a template can raise anything; the message must go
            reason = error_text(error)
        return self.plain(
            notification, fmt, maybe_repeat=maybe_repeat, now=now, error=reason, room=room
        )

    def _watched(self, notification: Notification) -> AbstractContextManager[None]:
        """A deadline, where something of the user's has a statement that could loop."""
        from alerting.messages.bounded import deadline

        texts = (text for item in notification.items for text in item.alert.annotations.values())
        if self._overrides is None and not any("{%" in text for text in texts):
            return contextlib.nullcontext()
        return deadline(self._seconds)

    def plain(
        self,
        notification: Notification,
        fmt: Format,
        *,
        maybe_repeat: bool,
        now: datetime,
        error: str = "",
        room: Room | None = None,
    ) -> Message:
        """Render it in minimal plain text, without templates: nothing in it can be refused."""
        with decimal.localcontext(EXACT):
            context = self._context(notification, maybe_repeat=maybe_repeat, now=now)
        title = plain.title(context)
        rows = [plain.row(alert) for alert in context["alerts"]]
        if error:
            rows.insert(0, f"(this is the built-in text, because {phrases.clean(error)[:300]})")
        if fmt is Format.TELEGRAM:
            rows.insert(0, title)  # and is escaped with them
        else:
            title = plain.escape_for(fmt)(title)
        body = plain.as_many_as_fit(rows, title, fmt, room)
        if body is None and room is not None:
            title, body = "", plain.brief(context, fmt, room.total)
        body = body or ""
        return _message(notification, fmt, title=title, body=body, maybe_repeat=maybe_repeat)

    def _render(
        self, notification: Notification, context: Data, fmt: Format, room: Room | None
    ) -> Message:
        service = SERVICES[fmt]
        self._annotate(context)
        title = context["title"] = self._title(context, room)
        if service.escape and not service.markup:
            title = service.escape(title)
        shown_title = "" if service.markup else title
        body_of = functools.partial(self._body, service, shown_title, room)
        # where the service has room for little, a line for each alert says more than a count
        found = _largest(context, body_of, least=0 if room is None else 1)
        if found is None and room is None:
            raise ValueError("the template's text is too long even without any alert")
        if found is None and room is not None:
            title, found = "", (plain.brief(context, fmt, room.total), None)
        body, page = found or ("", None)
        if not body:
            # no service takes an empty message
            raise ValueError("the template gives no text")
        return _message(
            notification,
            fmt,
            title=title,
            body=body,
            page=page,
            maybe_repeat=context["maybe_repeat"],
        )

    def _body(
        self, service: Service, title: str, room: Room | None, shown: Data
    ) -> tuple[str, str | None] | None:
        """Body and e-mail page; None: longer than the service's limit."""
        environment = self._env(escape=service.escape, markup=service.markup)
        body = _run(environment, service.template, shown)
        if service.size(body) > service.limit or (room and not room.holds(title, body)):
            return None
        if service.html is None:
            return body, None
        page = _run(self._env(escape=None, markup=True), service.html, shown)
        return (body, page) if len(page) <= PAGE_LIMIT else None

    def _title(self, context: Data, room: Room | None) -> str:
        limit = min(TITLE_LIMIT, room.title) if room and room.title else TITLE_LIMIT
        title = ""
        for shown in _shorter(context):
            title = " ".join(_run(self._env(escape=None, markup=False), TITLE, shown).split())
            if formats.slack_size(title) <= limit:
                return title
        return formats.cut(title, limit // 2)

    def _annotate(self, context: Data) -> None:
        environment = self._env(escape=None, markup=False)
        for alert in context["alerts"]:
            sources, alert["annotations"] = alert["annotations"], {}
            alert["annotations"] = {
                key: _annotation(environment, key, source, alert, context)
                for key, source in sources.items()
            }

    def _env(self, *, escape: Callable[[str], str] | None, markup: bool) -> BoundedEnvironment:
        key = (escape, markup)
        if key not in self._environments:
            self._environments[key] = make_environment(
                self._overrides, escape=escape, markup=markup, show=self._show
            )
        return self._environments[key]


def _run(environment: Environment, name: str, context: Data) -> str:
    from alerting.messages import bounded

    text = bounded.run(environment.get_template(name), context).strip()
    if context["more"] and name != TITLE and "more" not in free_names(environment, name):
        # a template of the user's that does not say it itself
        text += f"\nand {context['more']} more"
    return text


def free_names(environment: Environment, name: str) -> dict[str, int]:
    """Map the names that a template takes from its data, each to its first line."""
    from jinja2 import meta, nodes

    source = environment.loader.get_source(environment, name)[0] if environment.loader else ""
    tree = environment.parse(source)
    free = meta.find_undeclared_variables(tree)
    lines: dict[str, int] = {}
    for node in tree.find_all(nodes.Name):
        if node.name in free:
            lines[node.name] = min(node.lineno, lines.get(node.name, node.lineno))
    return lines


def context_of(
    notification: Notification, *, maybe_repeat: bool, now: datetime, show: Display = PLAIN
) -> Data:
    """Build what templates see; its alerts' annotations are still templates themselves."""
    account, severity = notification.account, notification.severity.value
    alerts = [phrases.describe(item, now=now, show=show) for item in notification.items]
    return {
        "account": phrases.clean_name(account) if account is not None else "alerting",
        "alerts": alerts,
        "count": len(alerts),
        "more": 0,
        "reason": notification.reason.value,
        "severity": severity,
        "status": _status(notification, severity),
        "observed_at": notification.observed_at,
        "maybe_repeat": maybe_repeat,
        "now": now,
        "title": "",
    }


def _status(notification: Notification, severity: str) -> str:
    """The word that all of it comes under."""
    if any(item.state is not State.RESOLVED for item in notification.items):
        return severity.upper()
    lost = any(item.alert.resolved_why is ChangeReason.LIQUIDATED for item in notification.items)
    return phrases.LIQUIDATED if lost else phrases.RESOLVED


def _message(
    notification: Notification,
    fmt: Format,
    *,
    title: str,
    body: str,
    maybe_repeat: bool,
    page: str | None = None,
) -> Message:
    worst = notification.items[0].alert
    return Message(
        title=title,
        body=body,
        html=page,
        format=fmt,
        severity=notification.severity.value,
        maybe_repeat=maybe_repeat,
        resolved=_status(notification, "") == phrases.RESOLVED,
        key=_key(notification),
        thread=f"{worst.id}.{worst.episode}",
    )


def _key(notification: Notification) -> str:
    """Name the outbox row: the same at each attempt, in every process."""
    said = [
        [item.alert.fingerprint, item.alert.episode, item.reason.value]
        for item in notification.items
    ]
    row = json.dumps([notification.receiver, rfc3339(notification.observed_at), said])
    return hashlib.sha256(row.encode()).hexdigest()[:32]


def error_text(error: Exception) -> str:
    """Say what a template raised, in one line."""
    text = " ".join(str(error).split()) or "no reason given"
    return f"{type(error).__name__}: {text}"


def _annotation(environment: Environment, key: str, source: str, alert: Data, context: Data) -> str:
    """Render an annotation; its error in its place; a note where it is too long."""
    names = alert["values"] | alert["labels"] | alert
    from alerting.messages import bounded

    names |= {"now": context["now"], "observed_at": context["observed_at"]}
    try:
        text = bounded.run(environment.from_string(source), names)
    except Exception as error:  # noqa: BLE001 - a template can raise anything; the rest must stand
        return f"({key} failed: {phrases.clean(error_text(error))[:200]})"
    text = phrases.clean(text, multiline=True)
    if len(text) > phrases.MAX_ANNOTATION:
        return f"({key} left out: {len(text)} characters)"
    return formats.link_of(text, source) if key == "runbook" else text


def _shorter(context: Data) -> Iterator[Data]:
    """For the title: fewer alerts named, then without how bad, then with shorter names."""
    count = context["count"]
    for kept in range(min(count, 10), -1 if count > 1 else 0, -1):
        yield _first(context, kept)
    for cap in (60, 30):
        brief = [
            alert
            | {
                "headline": formats.cut(alert["name"], cap),
                "short": formats.cut(alert["name"], cap),
            }
            for alert in context["alerts"][:1]
        ]
        account = formats.cut(context["account"], cap // 2)
        yield context | {"alerts": brief, "more": count - len(brief), "account": account}


def _largest(
    context: Data, body: Callable[[Data], tuple[str, str | None] | None], *, least: int
) -> tuple[str, str | None] | None:
    """Keep as many alerts as fit, the worst first; at last one without annotations, or `least`.

    None: not even that fits.
    """
    low, high = 0, context["count"]
    best = body(context)
    while best is None and low < high - 1:
        middle = (low + high) // 2
        low, high = (middle, high) if body(_first(context, middle)) else (low, middle)
    candidates = [_first(context, low)] if low else _barer(context, least)
    for shown in candidates:
        best = best or body(shown)
    return best


def _first(context: Data, kept: int) -> Data:
    return context | {"alerts": context["alerts"][:kept], "more": context["count"] - kept}


def _barer(context: Data, least: int) -> Iterator[Data]:
    """Yield the worst alert without annotations, then without labels; then none, if that may be."""
    one = _first(context, 1)
    note = {"note": "annotations left out: too long"}
    bare = [alert | {"annotations": note} for alert in one["alerts"]]
    yield one | {"alerts": bare}
    yield one | {
        "alerts": [alert | {"annotations": {}, "labels": {}, "label_line": ""} for alert in bare]
    }
    if least == 0:
        yield _first(context, 0)
