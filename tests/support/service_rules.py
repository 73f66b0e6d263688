"""Each service's published rules, as judges: would it take this, and what would a reader see?

Telegram: the rules of TDLib's HTML parser and of its automatic entities. Slack: the documented
escapes and limits. Discord: the Markdown that its client renders. E-mail: RFC 5322 as Python's
strict parser reads it.
"""

from __future__ import annotations

import email
import email.policy
import html
import re
from html.parser import HTMLParser

TELEGRAM_TAGS = {"b", "i", "code", "pre"}
TELEGRAM_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|#[0-9]+|#x[0-9a-fA-F]+);")
# What Telegram turns alive in text outside of code and pre.
TELEGRAM_ALIVE = re.compile(
    r"(?<![\w/])@[A-Za-z]\w{2,31}|https?://|tg://|(?<![\w/])/[A-Za-z]\w*|(?<!\w)#\w+|(?<!\w)\$[A-Z]{3,8}\b"
    r"|\b[\w-]+\.(?:com|org|net|io|me|co|evil|example)\b|[\w.]+@[\w-]+\.\w+"
)


def telegram_pieces(
    text: str, links: tuple[str, ...] = ()
) -> tuple[list[tuple[str, tuple[str, ...]]], list[str]]:
    """The text as shown, each piece with its open tags; and what the parser would refuse.

    Only `links` may be led to.
    """
    pieces, problems, open_tags = [], [], []
    for token in re.findall(r"<[^>]*>?|[^<]+", text):
        if not token.startswith("<"):
            bare = TELEGRAM_ENTITY.sub("", token)
            if "&" in bare:
                # TDLib keeps an unknown entity as text, but ours must not depend on that
                problems.append(f"bare & in {token[:40]!r}")
            pieces.append((html.unescape(token), tuple(open_tags)))
            continue
        link = re.fullmatch(r'<a href="([^"<>]*)">', token)
        match = re.fullmatch(r"<(/?)([a-z]+)>", token)
        if link or token == "</a>":
            if link and html.unescape(link[1]) not in links:
                problems.append(f"link {token!r}")
            if link:
                open_tags.append("a")
            elif not open_tags or open_tags.pop() != "a":
                problems.append(f"unbalanced {token!r}")
        elif not match or match[2] not in TELEGRAM_TAGS:
            problems.append(f"tag {token!r}")
        elif not match[1]:
            open_tags.append(match[2])
        elif not open_tags or open_tags.pop() != match[2]:
            problems.append(f"unbalanced {token!r}")
    if open_tags:
        problems.append(f"not closed: {open_tags}")
    return pieces, problems


def telegram_shown(text: str) -> str:
    """What a reader sees."""
    return "".join(piece for piece, _ in telegram_pieces(text)[0])


def telegram_problems(text: str, links: tuple[str, ...] = ()) -> list[str]:
    """Why Telegram would refuse it, or what in it would come alive, `links` aside."""
    pieces, problems = telegram_pieces(text, links)
    shown = telegram_shown(text)
    if not shown.strip():
        problems.append("empty")
    if len(text.encode("utf-16-le")) // 2 > 3500:
        problems.append(f"{len(text)} characters")
    for piece, tags in pieces:
        found = TELEGRAM_ALIVE.search(piece)
        if found and not {"code", "pre", "a"} & set(tags):
            problems.append(f"alive: {found.group()!r}")
    return problems


def slack_shown(escaped: str) -> str:
    """What Slack shows of an escaped text."""
    return escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def slack_problems(attachment: dict[str, str]) -> list[str]:
    """Why Slack would refuse or cut an attachment, or what in it would come alive."""
    title, text = attachment["title"], attachment["text"]
    problems = []
    for part in (title, text):
        problems += [f"live {m}" for m in re.findall(r"<[^>\n]*>", part)]
        problems += [f"raw {c}" for c in "<>" if c in part]
        if re.search(r"&(?!lt;|gt;|amp;)", part):
            problems.append("bare &")
    if not title or len(title) > 150 or "\n" in title:
        problems.append(f"title of {len(title)}")
    if not text or len(text) > 2900:
        problems.append(f"text of {len(text)}")
    if attachment.keys() & {"mrkdwn_in", "fields", "actions", "blocks"}:
        problems.append("markup switched on")
    return problems


def discord_shown(content: str) -> str:
    """What Discord shows: a backslash takes the meaning from a punctuation mark, and goes."""
    return re.sub(r"\\([^0-9A-Za-z\s])", r"\1", content)


def discord_problems(content: str) -> list[str]:
    """Markup that is not escaped, and the limit."""
    bare = re.sub(r"\\[^0-9A-Za-z\s]", "", content)
    markup = r"[*_~`|<@\[\]]|https?:|^ *[>#+-]|:\w+:(?!\d\d )"
    problems = [f"markup {m}" for m in re.findall(markup, bare, re.MULTILINE)]
    return problems + ([f"{len(content)} characters"] if len(content) > 2000 else [])


def chat_shown(text: str) -> str:
    """What a reader sees: a word joiner has no width."""
    return text.replace("\u2060", "")


def chat_problems(text: str) -> list[str]:
    """Mentions in the ways of Mattermost, Rocket.Chat, Zulip, Google Chat, Webex, Teams."""
    alive = re.findall(r"@(?:\w|\*\*|\")+|<(?:users/|@|at>|!)[^>]*>?|\]\(", text)
    problems = [f"alive {found}" for found in alive]
    return problems + ([f"{len(text)} characters"] if len(text) > 3000 else [])


class _Page(HTMLParser):
    """Reads a page as a mail client would: the text, and all that is not plain layout."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "base"})
    KNOWN = frozenset("html head meta title body div p strong code table tr td".split())

    def __init__(self, links: tuple[str, ...] = ()) -> None:
        super().__init__(convert_charrefs=True)
        self.links = links
        self.problems: list[str] = []
        self.text: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag, attrs):
        link = tag == "a" and [name for name, _ in attrs] == ["href"]
        if link and attrs[0][1] not in self.links:
            self.problems.append(f"link {attrs}")
        if tag not in self.KNOWN and not link:
            self.problems.append(f"tag {tag}")
        for name, value in [] if link else attrs:
            if name.startswith("on") or name in {"href", "src", "action", "background"}:
                self.problems.append(f"attribute {name}")
            if re.search(r"url\(|expression|@import", value or ""):
                self.problems.append(f"remote content {value}")
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.problems.append(f"unbalanced {tag}")

    def handle_data(self, data):
        if "title" not in self._open:
            self.text.append(data)


def page_shown(page: str) -> str:
    """The text of an HTML page."""
    reader = _Page()
    reader.feed(page)
    return "".join(reader.text)


def page_problems(page: str, links: tuple[str, ...] = ()) -> list[str]:
    """Tags that are not ours, scripts, other links, remote content, unbalanced markup."""
    reader = _Page(links)
    reader.feed(page)
    reader.close()
    return reader.problems + ([f"never closed {reader._open}"] if reader._open else [])


def mail_problems(raw: bytes) -> list[str]:
    """Double or missing headers, raw non-ASCII, defects, a part that is missing."""
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    problems = [f"defect {defect!r}" for defect in mail.defects]
    for name in ("Message-ID", "Subject", "Date", "From", "To", "MIME-Version"):
        if len(mail.get_all(name, [])) != 1:
            problems.append(f"{len(mail.get_all(name, []))} x {name}")
    head = raw.partition(b"\r\n\r\n")[0]
    if not head.isascii():
        problems.append("non-ASCII headers")
    if max(len(line) for line in raw.split(b"\r\n")) > 998:
        problems.append("long line")
    if b"\n" in raw.replace(b"\r\n", b"") or b"\r" in raw.replace(b"\r\n", b""):
        problems.append("bare newline")
    for kind in ("plain", "html"):
        if mail.get_body((kind,)) is None:
            problems.append(f"no {kind} part")
    return problems


def mail_subject(raw: bytes) -> str:
    """The subject as a client decodes it."""
    subject = email.message_from_bytes(raw)["Subject"]
    return str(email.header.make_header(email.header.decode_header(subject)))
