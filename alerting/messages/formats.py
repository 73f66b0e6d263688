"""What each service shows: its templates, its escaping, its limits.

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

import enum
import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

# In none of these characters is there markup or a mention in any service.
_LINK = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?(?:[/?#][A-Za-z0-9/:.?=&%#~+,;_-]*)?")
_HOST = re.compile(r"https?://[^/?#\s{}]+(?=[/?#]|$)")


class Link(str):
    """A URL of the rules file, which HTML shows as a link; any other text never becomes one."""

    __slots__ = ()


def link_of(text: str, source: str) -> str:
    """The text of an annotation, as a Link where it is an http(s) URL.

    The host must stand in the rules file itself, `source`: no label chooses where a link leads.
    """
    host = _HOST.match(source)
    safe = host and _LINK.fullmatch(text) and _HOST.match(text)
    return Link(text) if host and safe and safe.group() == host.group() else text


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """What the very service takes, beside the format's own limit; in characters."""

    #: of the title; 0: it shows none, and the title goes before the body
    title: int
    #: of title and body together
    total: int

    def holds(self, title: str, body: str) -> bool:
        """Whether a message fits; a line break stands between the two."""
        return (len(title) <= self.title or not self.title) and (
            len(title) + len(body) + 2 <= self.total
        )


# Where nothing pings and nothing is markup: data for programs, and plain screens.
_PLAIN = frozenset(
    {
        *("json", "jsons", "xml", "xmls", "form", "forms", "mqtt", "mqtts", "syslog", "rsyslog"),
        *("ntfy", "ntfys", "gotify", "gotifys", "pover", "prowl", "pbul", "join", "po"),
        *("dbus", "gnome", "windows", "macosx", "kodi", "kodis", "xbmc", "xbmcs", "console"),
    }
)
_SCHEMES = {
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

#: the template of the first line
TITLE = "title.txt.j2"
#: all names that a template can have
TEMPLATES = (TITLE, "text.txt.j2", "telegram.html.j2", "email.txt.j2", "email.html.j2")
#: in characters as Slack counts them
TITLE_LIMIT = 150
#: the HTML page of an e-mail, in characters
PAGE_LIMIT = 90_000


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
    return _SCHEMES.get(scheme, Format.TEXT if scheme in _PLAIN else Format.CHAT)


# ── escaping and limits per service ─────────────────────────────────────────

_PINGS = re.compile(r"[@<](?=\S)|\](?=\()")
# Some marks mean something everywhere, some at a line's start, a colon in links and emoji.
_DISCORD_MARKUP = re.compile(r"[\\*_~`|\[\]<@]|^[ ]*[>#+-]|:(?=//|\w+:)", re.MULTILINE)
# What Telegram makes clickable by itself: mentions, links, hashtags, cashtags, commands.
_TELEGRAM_ALIVE = re.compile(r"@|://|(?<!\w)[#$/]\w|\w\.[^\W\d_]{2,}")
_WORD = re.compile(r"\S+")


def chat(text: str) -> str:
    """Put a word joiner after whatever could begin a mention."""
    return _PINGS.sub("\\g<0>\u2060", text)


def discord(text: str) -> str:
    """Put a backslash before whatever Discord would take for Markdown."""
    return _DISCORD_MARKUP.sub(lambda m: m.group()[:-1] + "\\" + m.group()[-1], text)


def telegram(text: str) -> str:
    """Make HTML of a text; whatever would come alive stands in <code>."""
    parts, end = [], 0
    # word by word: one pattern for both would take the square of a long word's length
    alive = (word for word in _WORD.finditer(text) if _TELEGRAM_ALIVE.search(word.group()))
    for match in alive:
        parts += [html.escape(text[end : match.start()]), as_code(match.group())]
        end = match.end()
    return "".join([*parts, html.escape(text[end:])])


def as_code(text: str) -> str:
    """Make HTML of a text in which nothing comes alive."""
    return f"<code>{html.escape(text)}</code>"


def as_link(url: Link) -> str:
    """Make HTML of a URL that can be clicked."""
    return f'<a href="{html.escape(url)}">{html.escape(url)}</a>'


def _utf16(text: str) -> int:
    """Count in the stricter of the two ways in which Telegram is said to count."""
    return len(text.encode("utf-16-le")) // 2


def slack_size(text: str) -> int:
    """Count the characters that Slack gets."""
    return len(html.escape(text, quote=False))


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """How one format is made."""

    template: str
    #: the body's limit, by `size`
    limit: int
    size: Callable[[str], int] = len
    escape: Callable[[str], str] | None = None
    #: whether the body is markup, where foreign text must be escaped and templates must not be
    markup: bool = False
    #: the template of an e-mail's HTML part
    html: str | None = None


#: how each format is made
SERVICES = {
    Format.TEXT: Service(template="text.txt.j2", limit=3000),
    Format.CHAT: Service(template="text.txt.j2", limit=3000, escape=chat),
    Format.DISCORD: Service(template="text.txt.j2", limit=1800, escape=discord),
    Format.SLACK: Service(template="text.txt.j2", limit=2900, size=slack_size),
    Format.TELEGRAM: Service(
        template="telegram.html.j2", limit=3500, size=_utf16, escape=telegram, markup=True
    ),
    # Gmail hides what comes after 102 kB
    Format.EMAIL: Service(template="email.txt.j2", limit=50_000, html="email.html.j2"),
}


def cut(name: str, cap: int) -> str:
    """At most so many characters; the last one says that there were more."""
    return name if len(name) <= cap else name[: cap - 1] + "…"
