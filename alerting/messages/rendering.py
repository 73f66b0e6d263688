"""Messages: one outbox payload, rendered for one service, within its limits, never failing.

Text from the exchange or the rules is cleaned once (phrases.clean) and escaped per service:

TEXT      as it is: a program or a plain screen reads it
CHAT      as TEXT, but a word joiner (U+2060, invisible) follows each `@` and each `<` before a
          word: chat services have no other common way to show a mention without making one
DISCORD   Markdown escaped with backslashes, which Discord takes away again; mentions are switched
          off for the whole message by the notifier, so what is shown is exact
SLACK     as it is: Apprise escapes `&`, `<`, `>` of plain text, which Slack takes away again
TELEGRAM  HTML; words that Telegram would turn into links or mentions stand in <code>, where it
          does not
EMAIL     text part as it is, HTML part escaped
"""

from __future__ import annotations

import decimal
import enum
import functools
import hashlib
import html
import json
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from alerting.engine.feeds import SYMBOL_FIELDS, WALLET_FIELDS, Scope
from alerting.engine.rules import Rule
from alerting.messages import phrases
from alerting.messages.phrases import Data
from alerting.units import EXACT, parse_instant

if TYPE_CHECKING:
    from jinja2 import Environment
    from jinja2.sandbox import ImmutableSandboxedEnvironment


class Format(enum.Enum):
    """What a service shows; decides the templates, the escaping and the limits."""

    TEXT = "text"
    CHAT = "chat"
    DISCORD = "discord"
    TELEGRAM = "telegram"
    EMAIL = "email"
    SLACK = "slack"


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A notification as it goes out to one service."""

    #: one line: severity, what, how bad, which account
    title: str
    #: text, or Telegram HTML (then with the title in it)
    body: str
    format: Format
    #: the worst severity in it: info, warning or critical
    severity: str
    #: e-mail only
    html: str | None = None
    maybe_repeat: bool = False
    #: all alerts in it are over
    resolved: bool = False
    #: the same for each attempt at the same outbox row
    key: str = ""
    #: what an e-mail belongs to: the first alert's id and episode
    thread: str = ""


# Where nothing pings and nothing is markup: data for programs, and plain screens.
_PLAIN = frozenset(
    {
        *("json", "jsons", "xml", "xmls", "form", "forms", "mqtt", "mqtts", "syslog", "rsyslog"),
        *("ntfy", "ntfys", "gotify", "gotifys", "pover", "prowl", "pbul", "join", "po"),
        *("dbus", "gnome", "windows", "macosx", "kodi", "kodis", "xbmc", "xbmcs", "console"),
    }
)
_SERVICES = {
    "slack": Format.SLACK,
    "tgram": Format.TELEGRAM,
    "mailto": Format.EMAIL,
    "mailtos": Format.EMAIL,
    "discord": Format.DISCORD,
}
_HOSTS = {
    "hooks.slack.com": Format.SLACK,
    "hooks.slack-gov.com": Format.SLACK,
    "discord.com": Format.DISCORD,
    "discordapp.com": Format.DISCORD,
}

TITLE_LIMIT = 150


def format_of(url_scheme_or_url: str) -> Format:
    """Return the format for an Apprise URL, a service's own https URL, or a bare scheme."""
    text = url_scheme_or_url.strip()
    scheme, has_rest, _ = text.partition("://")
    scheme = scheme.lower()
    if has_rest and scheme in {"http", "https"}:
        try:
            host = urlsplit(text).hostname
        except ValueError:
            host = None
        return _HOSTS.get(host or "", Format.CHAT)
    return _SERVICES.get(scheme, Format.TEXT if scheme in _PLAIN else Format.CHAT)


# ── escaping and limits per service ─────────────────────────────────────────

_PINGS = re.compile(r"[@<](?=\S)|\](?=\()")
# Some marks mean something everywhere, some at a line's start, a colon in links and emoji.
_DISCORD_MARKUP = re.compile(r"[\\*_~`|\[\]<@]|^[ ]*[>#+-]|:(?=//|\w+:)", re.MULTILINE)
# What Telegram makes clickable by itself: mentions, links, hashtags, cashtags, commands.
_TELEGRAM_ALIVE = re.compile(r"\S*(?:@|://|(?<!\w)[#$/]\w|\w\.[^\W\d_]{2,})\S*")


def _chat(text: str) -> str:
    return _PINGS.sub("\\g<0>\u2060", text)


def _discord(text: str) -> str:
    return _DISCORD_MARKUP.sub(lambda m: m.group()[:-1] + "\\" + m.group()[-1], text)


def _telegram(text: str) -> str:
    """HTML of a text; whatever would come alive stands in <code>."""
    parts, end = [], 0
    for match in _TELEGRAM_ALIVE.finditer(text):
        parts += [html.escape(text[end : match.start()]), _code(match.group())]
        end = match.end()
    return "".join([*parts, html.escape(text[end:])])


def _code(text: str) -> str:
    return f"<code>{html.escape(text)}</code>"


def _utf16(text: str) -> int:
    """Count in the stricter of the two ways in which Telegram is said to count."""
    return len(text.encode("utf-16-le")) // 2


def _slack_size(text: str) -> int:
    return len(html.escape(text, quote=False))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Service:
    """How one format is made."""

    template: str
    #: the body's limit, by `size`
    limit: int
    size: Callable[[str], int] = len
    escape: Callable[[str], str] | None = None
    #: whether the body is markup, where foreign text must be escaped and templates must not be
    markup: bool = False
    html: str | None = None


_SERVICE = {
    Format.TEXT: _Service(template="text.txt.j2", limit=3000),
    Format.CHAT: _Service(template="text.txt.j2", limit=3000, escape=_chat),
    Format.DISCORD: _Service(template="text.txt.j2", limit=1800, escape=_discord),
    Format.SLACK: _Service(template="text.txt.j2", limit=2900, size=_slack_size),
    Format.TELEGRAM: _Service(
        template="telegram.html.j2", limit=3500, size=_utf16, escape=_telegram, markup=True
    ),
    # Gmail hides what comes after 102 kB
    Format.EMAIL: _Service(template="email.txt.j2", limit=50_000, html="email.html.j2"),
}
_HTML_LIMIT = 90_000
TITLE = "title.txt.j2"
TEMPLATES = (TITLE, "text.txt.j2", "telegram.html.j2", "email.txt.j2", "email.html.j2")


# ── the environment ─────────────────────────────────────────────────────────


def default_templates() -> Path:
    """Find the folder of the templates that come with the program."""
    package = Path(__file__).parents[1]
    packaged = package / "templates"
    return packaged if packaged.is_dir() else package.parent / "templates"


def _environment(
    overrides: Path | None, *, escape: Callable[[str], str] | None, markup: bool
) -> ImmutableSandboxedEnvironment:
    from jinja2 import FileSystemLoader, StrictUndefined, pass_context
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    @pass_context
    def ago(context: Mapping[str, Any], value: Any) -> str:
        return phrases.ago(value, now=context["now"])

    folders = [str(folder) for folder in (overrides, default_templates()) if folder]
    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(folders),
        undefined=StrictUndefined,
        autoescape=markup,
        finalize=functools.partial(_finalize, escape, markup),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("money", "percent", "duration", "instant"):
        environment.filters[name] = getattr(phrases, name)
    environment.filters |= {"ago": ago, "code": functools.partial(_as_code, escape, markup)}
    return environment


def _finalize(escape: Callable[[str], str] | None, markup: object, value: Any) -> Any:
    """Turn what an expression gave into text of the service."""
    from markupsafe import Markup

    if hasattr(value, "__html__"):
        return value
    text = phrases.UNKNOWN if value is None else _text(value)
    if escape is None:
        return text
    return Markup(escape(text)) if markup else escape(text)  # noqa: S704 - escape() made it safe


def _as_code(escape: Callable[[str], str] | None, markup: object, value: Any) -> Any:
    """Set a value as code, where the service can."""
    from markupsafe import Markup

    if not markup:
        return value
    text = _code(_text(value)) if escape is _telegram else html.escape(_text(value))
    return Markup(text)  # noqa: S704 - escaped above


def _text(value: Any) -> str:
    if isinstance(value, decimal.Decimal):
        return phrases.money(value)
    return phrases.instant(value) if isinstance(value, datetime) else str(value)


# ── rendering ───────────────────────────────────────────────────────────────


class Renderer:
    """Renders payloads with the user's templates where there are some, else with the defaults."""

    def __init__(self, *, overrides: Path | None) -> None:
        self._overrides = overrides
        self._environments: dict[tuple[object, bool], ImmutableSandboxedEnvironment] = {}

    def render(
        self, payload: Mapping[str, Any], fmt: Format, *, maybe_repeat: bool, now: datetime
    ) -> Message:
        """Render the message; where a template fails, a plain one with the error in it."""
        try:
            with decimal.localcontext(EXACT):
                return self._render(_context(payload, maybe_repeat=maybe_repeat, now=now), fmt)
        except Exception as error:  # noqa: BLE001 - a template can raise anything; the message must go
            reason = _reason(error)
        return self.plain(payload, fmt, maybe_repeat=maybe_repeat, now=now, error=reason)

    def plain(
        self,
        payload: Mapping[str, Any],
        fmt: Format,
        *,
        maybe_repeat: bool,
        now: datetime,
        error: str = "",
    ) -> Message:
        """Render it in minimal plain text, without templates: nothing in it can be refused."""
        try:
            with decimal.localcontext(EXACT):
                context = _context(payload, maybe_repeat=maybe_repeat, now=now)
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as broken:
            # written by another version of the program: what can be read of it must still go
            context, error = _wreck(payload, maybe_repeat=maybe_repeat), _reason(broken)
        title = _plain_title(context)
        rows = [_plain_row(alert) for alert in context["alerts"]]
        if error:
            rows.insert(0, f"(this is the built-in text, because {phrases.clean(error)[:300]})")
        if fmt is Format.TELEGRAM:
            rows.insert(0, title)
        body = _as_many_as_fit(rows, fmt)
        escape = _SERVICE[fmt].escape if fmt is Format.DISCORD else _chat
        title = escape(title) if escape and fmt in {Format.CHAT, Format.DISCORD} else title
        return _message(context, fmt, title=title, body=body)

    def _render(self, context: Data, fmt: Format) -> Message:
        service = _SERVICE[fmt]
        self._annotate(context)
        title = context["title"] = self._title(context)
        body, page = _largest(context, functools.partial(self._body, service))
        if service.escape and not service.markup:
            title = service.escape(title)
        return _message(context, fmt, title=title, body=body, page=page)

    def _body(self, service: _Service, shown: Data) -> tuple[str, str | None] | None:
        """Body and e-mail page; None: longer than the service's limit."""
        environment = self._env(escape=service.escape, markup=service.markup)
        body = _run(environment, service.template, shown)
        if service.size(body) > service.limit:
            return None
        if service.html is None:
            return body, None
        page = _run(self._env(escape=None, markup=True), service.html, shown)
        return (body, page) if len(page) <= _HTML_LIMIT else None

    def _title(self, context: Data) -> str:
        title = ""
        for shown in _shorter(context):
            title = " ".join(_run(self._env(escape=None, markup=False), TITLE, shown).split())
            if _slack_size(title) <= TITLE_LIMIT:
                return title
        return title[: TITLE_LIMIT // 2] + "…"

    def _annotate(self, context: Data) -> None:
        environment = self._env(escape=None, markup=False)
        for alert in context["alerts"]:
            alert["annotations"] = {
                key: _annotation(environment, key, source, alert, context)
                for key, source in alert.pop("sources").items()
            }

    def _env(
        self, *, escape: Callable[[str], str] | None, markup: bool
    ) -> ImmutableSandboxedEnvironment:
        key = (escape, markup)
        if key not in self._environments:
            self._environments[key] = _environment(self._overrides, escape=escape, markup=markup)
        return self._environments[key]


def _run(environment: Environment, name: str, context: Data) -> str:
    text = environment.get_template(name).render(context).strip()
    if context["more"] and name != TITLE and "more" not in _free_names(environment, name):
        # a template of the user's that does not say it itself
        text += f"\nand {context['more']} more"
    return text


def _free_names(environment: Environment, name: str) -> dict[str, int]:
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


def _context(payload: Mapping[str, Any], *, maybe_repeat: bool, now: datetime) -> Data:
    """Build what templates see."""
    alerts = []
    for item in payload["alerts"]:
        alert = phrases.describe(item, now=now)
        alert["annotations"] = {}
        alert["sources"] = dict(item.get("annotations") or {})
        alerts.append(alert)
    account = payload.get("account")
    over = all(alert["state"] == "resolved" for alert in alerts)
    canonical = json.dumps(payload, sort_keys=True, default=str)
    return {
        "account": phrases.clean_name(account) if account is not None else "alerting",
        "alerts": alerts,
        "count": len(alerts),
        "more": 0,
        "reason": payload["reason"],
        "severity": payload["severity"],
        "status": "RESOLVED" if over else str(payload["severity"]).upper(),
        "observed_at": parse_instant(payload["observed_at"]),
        "maybe_repeat": maybe_repeat,
        "now": now,
        "title": "",
        "key": hashlib.sha256(canonical.encode()).hexdigest()[:32],
    }


def _wreck(payload: Mapping[str, Any], *, maybe_repeat: bool) -> Data:
    """Give the little that is certain of a payload that cannot be read."""
    severity = str(payload.get("severity", "critical"))
    alerts = payload.get("alerts")
    return {
        "account": phrases.clean_name(str(payload.get("account") or "alerting")),
        "alerts": [],
        "count": len(alerts) if isinstance(alerts, list) else 0,
        "severity": severity,
        "status": phrases.clean_name(severity).upper(),
        "maybe_repeat": maybe_repeat,
        "key": hashlib.sha256(repr(payload).encode(errors="replace")).hexdigest()[:32],
    }


def _message(
    context: Data, fmt: Format, *, title: str, body: str, page: str | None = None
) -> Message:
    first = context["alerts"][0] if context["alerts"] else None
    return Message(
        title=title,
        body=body,
        html=page,
        format=fmt,
        severity=context["severity"],
        maybe_repeat=context["maybe_repeat"],
        resolved=context["status"] == "RESOLVED",
        key=context["key"],
        thread=f"{first['id']}.{first['episode']}" if first else "",
    )


def _annotation(environment: Environment, key: str, source: str, alert: Data, context: Data) -> str:
    """Render an annotation; its error in its place; a note where it is too long."""
    names = alert["values"] | alert["labels"] | alert
    names |= {"now": context["now"], "observed_at": context["observed_at"]}
    try:
        text = environment.from_string(source).render(names)
    except Exception as error:  # noqa: BLE001 - a template can raise anything; the rest must stand
        return f"({key} failed: {phrases.clean(_reason(error))[:200]})"
    text = phrases.clean(text, multiline=True)
    if len(text) > phrases.MAX_ANNOTATION:
        return f"({key} left out: {len(text)} characters)"
    return text


def _shorter(context: Data) -> Iterator[Data]:
    """For the title: fewer alerts named, then without how bad, then with shorter names."""
    count = context["count"]
    for kept in range(min(count, 10), -1 if count > 1 else 0, -1):
        yield _first(context, kept)
    for cap in (60, 30):
        brief = [
            alert | {"headline": _cut(alert["name"], cap), "short": _cut(alert["name"], cap)}
            for alert in context["alerts"][:1]
        ]
        account = _cut(context["account"], cap // 2)
        yield context | {"alerts": brief, "more": count - len(brief), "account": account}


def _cut(name: str, cap: int) -> str:
    return name if len(name) <= cap else name[: cap - 1] + "…"


def _largest(
    context: Data, body: Callable[[Data], tuple[str, str | None] | None]
) -> tuple[str, str | None]:
    """Keep as many alerts as fit, the worst first; at last one without annotations, or none."""
    low, high = 0, context["count"]
    best = body(context)
    while best is None and low < high - 1:
        middle = (low + high) // 2
        low, high = (middle, high) if body(_first(context, middle)) else (low, middle)
    candidates = [_first(context, low)] if low else _barer(context)
    for shown in candidates:
        best = best or body(shown)
    if best is None:
        raise ValueError("the template's text is too long even without any alert")
    return best


def _first(context: Data, kept: int) -> Data:
    return context | {"alerts": context["alerts"][:kept], "more": context["count"] - kept}


def _barer(context: Data) -> Iterator[Data]:
    """Yield the worst alert without annotations, then without labels; then none at all."""
    one = _first(context, 1)
    note = {"note": "annotations left out: too long"}
    bare = [alert | {"annotations": note} for alert in one["alerts"]]
    yield one | {"alerts": bare}
    yield one | {
        "alerts": [alert | {"annotations": {}, "labels": {}, "label_line": ""} for alert in bare]
    }
    yield _first(context, 0)


def _plain_title(context: Data) -> str:
    alerts = context["alerts"]
    what = f"{context['count']} alerts"
    if len(alerts) == 1:
        what = alerts[0]["headline"]
        what = what if _slack_size(what) <= 90 else _cut(alerts[0]["name"], 60)
    repeat = " · possible repeat" if context["maybe_repeat"] else ""
    return f"{context['status']} {what} · {_cut(context['account'], 20)}{repeat}"


def _plain_row(alert: Data) -> str:
    change = f" ({alert['change']})" if alert["change"] else ""
    parts = [f"{alert['status']}{change} {alert['name']}: {alert['level']}", alert["since"]]
    parts.append(f"id {alert['id']}")
    return "; ".join(filter(None, parts))


def _as_many_as_fit(rows: list[str], fmt: Format) -> str:
    service = _SERVICE[fmt]
    escape = service.escape if fmt in {Format.CHAT, Format.DISCORD} else None
    for kept in range(len(rows), -1, -1):
        more = [f"and {len(rows) - kept} more"] if kept < len(rows) else []
        text = "\n".join([*rows[:kept], *more])
        if fmt is Format.TELEGRAM:
            text = html.escape(_chat(text))
        text = escape(text) if escape else text
        if service.size(text) <= service.limit:
            return text
    return ""


# ── checking ────────────────────────────────────────────────────────────────

_ALERT_KEYS = (
    *("id", "rule", "labels", "account", "episode", "detail", "values", "state", "reason"),
    *("severity", "previous_severity", "direction", "why", "value", "threshold", "clear"),
    *("distance", "active_at", "fired_at", "resolved_at", "now", "observed_at", "annotations"),
)
_SCOPE_NAMES = {
    Scope.WALLET: (*WALLET_FIELDS, "base_asset"),
    Scope.SYMBOL: (*SYMBOL_FIELDS, *WALLET_FIELDS, "base_asset", "symbol", "exchange"),
    Scope.ACCOUNT: ("snapshot_age", "poll_failures"),
}


def check_templates(
    overrides: Path | None,
    rules: Iterable[Rule],
    *,
    where: Callable[[Rule, str], str] = lambda rule, key: f"rule {rule.name}: annotations.{key}",
) -> list[str]:
    """Syntax errors and undefined names in the user's templates and the rules' annotations.

    `where` says where a rule's annotation stands.
    """
    problems = [] if overrides is None else _check_folder(overrides)
    for rule in rules:
        problems += _check_annotations(rule, where)
    return problems


def _check_folder(overrides: Path) -> list[str]:
    if not overrides.is_dir():
        return [f"{overrides}: there is no such folder of templates"]
    found = sorted(path.name for path in overrides.glob("*.j2"))
    problems = [
        f"{overrides / name}:1: no message uses this name; known are {', '.join(TEMPLATES)}"
        " (a file to be included starts with _)"
        for name in found
        if name not in TEMPLATES and not name.startswith("_")
    ]
    for name in TEMPLATES:
        if name in found:
            problems += _check_template(overrides, name)
    return problems


def _check_template(overrides: Path, name: str) -> list[str]:
    from jinja2 import TemplateError, TemplateSyntaxError

    path = overrides / name
    markup = ".html." in name
    environment = _environment(overrides, escape=None, markup=markup)
    known = set(_context(_samples()[0], maybe_repeat=False, now=_SAMPLE_NOW)) - {"key"}
    try:
        environment.get_template(name)
        names = _free_names(environment, name)
    except TemplateSyntaxError as error:
        where = error.filename or path
        return [f"{where}:{error.lineno}: {error.message}"]
    except (TemplateError, OSError, UnicodeDecodeError) as error:
        return [f"{path}:1: {_reason(error)}"]
    unknown = [n for n in sorted(names, key=lambda n: (names[n], n)) if n not in known]
    if unknown:
        return [f"{path}:{names[n]}: {n!r} is undefined{_known(known)}" for n in unknown]
    return _try_template(environment, path)


def _try_template(environment: Environment, path: Path) -> list[str]:
    """Find what goes wrong with samples of everything that can be told."""
    problems: list[str] = []
    for sample in _samples():
        context = _context(sample, maybe_repeat=True, now=_SAMPLE_NOW)
        for alert in context["alerts"]:
            alert["annotations"] = alert.pop("sources")
        try:
            with decimal.localcontext(EXACT):
                environment.get_template(path.name).render(context | {"title": "title"})
        except Exception as error:  # noqa: BLE001 - a template can raise anything
            problem = f"{path}:{_line(error, path.name)}: {_reason(error)}"
            problems += [] if problem in problems else [problem]
    return problems


def _check_annotations(rule: Rule, locate: Callable[[Rule, str], str]) -> list[str]:
    from jinja2 import TemplateSyntaxError, meta

    environment = _environment(None, escape=None, markup=False)
    known = {*_ALERT_KEYS, *_SCOPE_NAMES[rule.scope], *rule.labels}
    problems = []
    for key, source in rule.annotations.items():
        where = locate(rule, key)
        try:
            free = meta.find_undeclared_variables(environment.parse(source))
            environment.compile(source)
        except TemplateSyntaxError as error:
            problems.append(f"{where}: line {error.lineno}: {error.message}")
            continue
        problems += [
            f"{where}: {name!r} is undefined{_known(known)}" for name in sorted(free - known)
        ]
    return problems


def _known(names: Iterable[str]) -> str:
    return f"; known are {', '.join(sorted(names))}"


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no reason given"
    return f"{type(error).__name__}: {text}"


def _line(error: Exception, name: str) -> int:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).name == name]
    return lines[-1] or 1 if lines else 1


_SAMPLE_NOW = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)


def _samples() -> list[Data]:
    """Payloads that hold every kind of alert which a template can meet."""
    firing: Data = {
        "id": "abcdefg",
        "rule": "floor",
        "labels": {"account": "main", "base_asset": "USDT", "symbol": "BTCUSDT", "exchange": "X"},
        "state": "firing",
        "reason": "firing",
        "severity": "critical",
        "previous_severity": None,
        "value": "241.07",
        "threshold": "250",
        "clear": "300",
        "direction": "below",
        "distance": "8.93",
        "active_at": "2026-01-01T00:00:00Z",
        "fired_at": "2026-01-01T00:00:30Z",
        "resolved_at": None,
        "why": None,
        "detail": "",
        "episode": 1,
        "annotations": {"summary": "text", "description": "text", "runbook": "text"},
        "values": dict.fromkeys((*WALLET_FIELDS, *SYMBOL_FIELDS), "1"),
    }
    nothing = dict.fromkeys(("value", "threshold", "clear", "distance"))
    resolved = firing | {"state": "resolved", "reason": "resolved", "why": "clear"}
    resolved |= {"resolved_at": "2026-01-01T00:04:00Z"}
    escalated = firing | {"reason": "escalated", "previous_severity": "warning"}
    builtin = firing | nothing | {"labels": {}, "annotations": {}, "detail": "text", "values": {}}
    head = {"receiver": "desk", "severity": "critical", "observed_at": "2026-01-01T00:04:30Z"}
    return [
        head | {"account": "main", "reason": "firing", "alerts": [firing]},
        head | {"account": "main", "reason": "escalated", "alerts": [escalated, resolved]},
        head | {"account": "main", "reason": "resolved", "alerts": [resolved]},
        head | {"account": None, "reason": "repeat", "alerts": [builtin | {"reason": "repeat"}]},
    ]
