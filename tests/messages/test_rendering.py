"""Messages as readers get them: exact golden files, limits, hostile text, failing templates."""

from __future__ import annotations

import html
import os
import re
import threading
import zoneinfo
from dataclasses import replace
from email.headerregistry import Address
from pathlib import Path

import pytest

from alerting.display import Display, Grouping
from alerting.engine.model import Alert, Item, Notification, Reason, Severity, State
from alerting.messages import phrases
from alerting.messages.formats import TITLE_LIMIT, Format, Message
from alerting.messages.rendering import Renderer
from alerting.notify.email import Mailbox, compose
from alerting.store import documents
from tests.support import service_rules as rules
from tests.support.messages import (
    HOSTILE,
    NOW,
    builtin,
    firing,
    notification_of,
    over,
    ratio,
    repeated,
)

GOLDEN = Path(__file__).parents[1] / "data" / "messages"


def render(told, fmt=Format.TEXT, *, overrides=None, maybe_repeat=False) -> Message:
    return Renderer(overrides=overrides).render(told, fmt, maybe_repeat=maybe_repeat, now=NOW)


# ── golden messages ─────────────────────────────────────────────────────────

floor_info = firing(
    id="n5g7cdef",
    rule="negative-open-order-margin",
    severity="info",
    value="-6.778517",
    threshold="0",
    clear="0",
    annotations={},
)
CASES = {
    "firing": notification_of(firing()),
    "escalated": notification_of(firing(reason="escalated", previous_severity="warning")),
    "eased": notification_of(
        firing(
            reason="eased",
            severity="warning",
            previous_severity="critical",
            value="941.07",
            threshold="1000",
            clear="1100",
        )
    ),
    "repeat-worse": notification_of(repeated(firing(), "261.48")),
    "two-eased": notification_of(
        ratio(reason="eased", previous_severity="critical"), repeated(ratio(id="r2"), "0.4")
    ),
    "repeat": notification_of(ratio(reason="repeat")),
    "repeat-milder": notification_of(
        firing(reason="repeat", severity="warning", previous_severity="critical")
    ),
    "holding": notification_of(firing(reason="repeat", value="270")),
    "resolved": notification_of(over(firing(), value="1102.5")),
    "gone": notification_of(over(ratio(), why="gone")),
    "blind": notification_of(builtin()),
    "program": notification_of(
        builtin(
            rule="delivery-failing",
            severity="warning",
            labels={"receiver": "phone"},
            detail="3 messages wait for phone: 401 Unauthorized",
        )
    ),
    "negative": notification_of(floor_info),
    "three": notification_of(
        firing(reason="escalated", previous_severity="warning"), ratio(), over(floor_info)
    ),
    "three-resolved": notification_of(over(firing()), over(ratio(), why="gone"), over(floor_info)),
}


def golden_text(message: Message) -> str:
    parts = [message.title, message.body]
    return "\n\n".join([*parts, message.html] if message.html else parts) + "\n"


@pytest.mark.parametrize("fmt", [Format.TEXT, Format.TELEGRAM, Format.EMAIL, Format.DISCORD])
@pytest.mark.parametrize("case", CASES)
def test_message_reads_exactly(case, fmt):
    """Run with ALERTING_GOLDEN=write to rewrite the files, then read them."""
    message = render(CASES[case], fmt, maybe_repeat=case == "repeat")
    ending = "html" if fmt in {Format.TELEGRAM, Format.EMAIL} else "txt"
    path = GOLDEN / f"{case}.{fmt.value}.{ending}"
    if os.environ.get("ALERTING_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(golden_text(message), encoding="utf-8")
    assert golden_text(message) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("told", "title"),
    [
        pytest.param(
            CASES["firing"],
            "CRITICAL available-balance-floor: 241.07 USDT, 8.93 below 250 · main",
            id="firing",
        ),
        pytest.param(
            CASES["escalated"],
            "CRITICAL available-balance-floor: 241.07 USDT, 8.93 below 250 · main"
            " (escalated from warning)",
            id="escalated",
        ),
        pytest.param(
            CASES["eased"],
            "WARNING available-balance-floor: 941.07 USDT, 58.93 below 1000 · main"
            " (eased from critical)",
            id="eased",
        ),
        pytest.param(
            CASES["repeat-worse"],
            "CRITICAL available-balance-floor: 241.07 USDT, 8.93 below 250 · main"
            " (repeat, down 20.41 in 15m)",
            id="repeat-worse",
        ),
        pytest.param(
            CASES["two-eased"],
            "WARNING 2 alerts · main: symbol-margin-ratio DOGEUSDT 38.21% (> 35%, eased),"
            " symbol-margin-ratio DOGEUSDT 38.21% (> 35%)",
            id="two-eased",
        ),
        pytest.param(
            CASES["repeat"],
            "WARNING symbol-margin-ratio DOGEUSDT: 38.21%, 3.21 points above 35% · main (repeat)",
            id="percent",
        ),
        pytest.param(
            CASES["resolved"],
            "RESOLVED available-balance-floor: back to 1102.5 USDT · main",
            id="resolved",
        ),
        pytest.param(
            CASES["gone"],
            "RESOLVED symbol-margin-ratio DOGEUSDT: position closed · main",
            id="gone",
        ),
        pytest.param(
            CASES["blind"],
            "CRITICAL blind: no good snapshot for 2m: credentials: the exchange answers 401 · main",
            id="blind",
        ),
        pytest.param(
            CASES["negative"],
            "INFO negative-open-order-margin: -6.778517 USDT, 6.778517 below 0 · main",
            id="last-digit",
        ),
        pytest.param(
            CASES["three"],
            "CRITICAL 3 alerts · main: available-balance-floor 241.07 (< 250, escalated),"
            " symbol-margin-ratio DOGEUSDT 38.21% (> 35%) and 1 more",
            id="three",
        ),
    ],
)
def test_first_line_says_severity_what_how_bad_and_where(told, title):
    assert render(told).title == title
    assert render(told, Format.TELEGRAM).title == title


@pytest.mark.parametrize("fmt", [Format.TEXT, Format.SLACK, Format.EMAIL, Format.TELEGRAM])
@pytest.mark.parametrize("case", ["firing", "escalated", "eased", "repeat-worse", "blind"])
def test_what_the_first_line_says_is_not_said_again(case, fmt):
    item = CASES[case].items[0]
    bare = replace(item, alert=replace(item.alert, annotations={}))
    message = render(notification_of(bare), fmt)
    text = message.body if fmt is Format.TELEGRAM else f"{message.title}\n{message.body}"
    page = (message.html or "").partition("<body")[2]
    for words in (message.title, "8.93", "below", "escalated", "eased", "repeat", "answers 401"):
        assert max(text.count(words), page.count(words)) <= 1
    assert message.title in text


def test_what_the_first_line_has_no_room_for_stands_below():
    body = render(notification_of(firing(rule="r" * 120, annotations={}))).body
    assert body.startswith("241.07 USDT: 8.93 (3.57%) below 250, clears at 300\n")


@pytest.mark.parametrize("case", [each for each in CASES if "three" not in each])
def test_a_lock_screen_shows_severity_rule_and_value_of_any_message(case):
    told = CASES[case]
    first = render(told).title[:75]
    item = told.items[0]
    assert first.startswith(("CRITICAL ", "WARNING ", "INFO ", "RESOLVED "))
    assert item.alert.rule in first
    number = phrases.describe(item, now=NOW)["headline"].partition(": ")[2].split(",")[0]
    assert number.split()[0] in first


def test_possible_repeat_is_said_in_the_first_line_of_every_service():
    for fmt in Format:
        message = render(CASES["three"], fmt, maybe_repeat=True)
        assert message.title.endswith(" · possible repeat")
        assert len(message.title) <= TITLE_LIMIT
        assert message.maybe_repeat
    first_line = render(CASES["firing"], Format.TELEGRAM, maybe_repeat=True).body.partition("\n")[0]
    assert "possible repeat" in first_line


def test_a_value_just_past_the_line_does_not_look_as_if_it_stood_on_it():
    told = notification_of(ratio(value="0.350000001"))
    title = render(told).title
    assert "35.0000001%, 0.0000001 points above 35%" in title


# ── limits ──────────────────────────────────────────────────────────────────

LIMITS = {
    Format.TEXT: 3000,
    Format.CHAT: 3000,
    Format.DISCORD: 1800,
    Format.SLACK: 2900,
    Format.TELEGRAM: 3500,
    Format.EMAIL: 50_000,
}


def many(count: int, **changes):
    """Alerts of one message, each with a name of its own."""
    return [
        ratio(
            id=f"id{number:05}",
            labels={"account": "main", "base_asset": "USDT", "symbol": f"SYM{number:05}"},
            annotations={"summary": f"Sentence {number} ends here."},
            **changes,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("fmt", list(Format))
@pytest.mark.parametrize("count", [2, 40, 700])
def test_limits_are_met_by_leaving_out_whole_alerts_the_mildest_first(fmt, count):
    message = render(notification_of(*many(count)), fmt)
    body = message.body.replace("\\", "")
    size = len(html.escape(message.body, quote=False)) if fmt is Format.SLACK else len(message.body)
    assert size <= LIMITS[fmt]
    assert len(message.title) <= TITLE_LIMIT
    shown = [int(number) for number in re.findall(r"Sentence (\d+) ends here\.", body)]
    assert shown == list(range(len(shown)))
    assert len(shown) == body.count("Sentence"), "a sentence was cut"
    left_out = count - len(shown)
    assert (f"and {left_out} more" in body) is (left_out > 0)
    if left_out and fmt is not Format.EMAIL:  # there the page is the longer part
        room = LIMITS[fmt] - size
        assert room < 2 * len(body) / len(shown), "one more would have fitted"


def test_page_of_an_email_leaves_out_alerts_too():
    message = render(notification_of(*many(700)), Format.EMAIL)
    assert len(message.html) <= 90_000
    assert re.search(r"and \d+ more", message.html)


@pytest.mark.parametrize("fmt", list(Format))
def test_an_annotation_that_is_too_long_is_left_out_whole(fmt):
    sentence = "The desk must look at it. " * 40
    message = render(
        notification_of(firing(annotations={"summary": "Short.", "description": sentence})), fmt
    )
    assert "must look" not in message.body
    assert "left out: 1040 characters" in message.body.replace("\\", "")
    assert "Short" in message.body


@pytest.mark.parametrize("fmt", list(Format))
def test_one_alert_that_is_too_long_alone_loses_its_annotations_not_its_facts(fmt):
    notes = {f"note{number}": "<" * 690 for number in range(6)}
    message = render(notification_of(firing(annotations=notes), ratio()), fmt)
    assert len(html.escape(message.body, quote=False)) <= 50_000
    assert "241.07" in message.body.replace("\\", "")
    assert "k3x7abc" in message.body
    if fmt is not Format.EMAIL:
        assert "annotations left out" in message.body
        assert "and 1 more" in message.body


def test_long_names_do_not_push_the_account_out_of_the_title():
    message = render(notification_of(firing(rule="r" * 200)))
    assert len(message.title) <= TITLE_LIMIT
    assert message.title.endswith("· main")


# ── hostile text ────────────────────────────────────────────────────────────

UNCLEAN = {
    "newline": ("a\r\nBcc: x@evil.example", "a  Bcc: x@evil.example"),
    "nul": ("a\x00b\x1b[31mc\x7f", "ab[31mc"),
    "bidi": ("a\u202eb\u2066c\u200f", "abc"),
    "surrogate": ("a\ud800b", "ab"),
    "decomposed": ("e\u0301", "é"),
    "separators": ("a\u2028b\u2029c\x85d", "a b c d"),
    "long": ("x" * 5000, "x" * (phrases.MAX_NAME - 1) + "…"),
}


def hostile_notification(text: str):
    return notification_of(
        firing(
            rule=f"rule {text}",
            labels={"account": "main", "base_asset": "USDT", "symbol": text, "team": text},
            annotations={"summary": "{{ symbol }} is meant", "description": "{{ team }}"},
        ),
        builtin(detail=f"wrong: {text}"),
    )


def seen(message: Message, links=()) -> str:
    """What a reader sees, by the service's own rules; fails where the service would refuse it."""
    fmt, body, title = message.format, message.body, message.title
    if fmt is Format.TELEGRAM:
        assert rules.telegram_problems(body, links) == []
        return rules.telegram_shown(body)
    if fmt is Format.SLACK:
        escaped = {"title": html.escape(title, quote=False), "text": html.escape(body, quote=False)}
        assert rules.slack_problems(escaped) == []
        return rules.slack_shown(f"{escaped['title']}\n{escaped['text']}")
    if fmt is Format.DISCORD:
        problems = rules.discord_problems(f"{title}\n{body}")
        assert problems == ["markup https:"] * len(links)
        return rules.discord_shown(f"{title}\n{body}")
    if fmt is Format.CHAT:
        assert rules.chat_problems(f"{title}\n{body}") == []
        return rules.chat_shown(f"{title}\n{body}")
    if fmt is Format.EMAIL:
        return seen_mail(message, links)
    return f"{title}\n{body}"


def seen_mail(message: Message, links=()) -> str:
    sender = Address("robot", "robot", "example.org")
    mailbox = Mailbox(
        host="mail.example.org", port=25, mode="ssl", sender=sender, to=(sender,), headers={}
    )
    raw = compose(message, mailbox).as_bytes()
    assert rules.mail_problems(raw) == []
    assert rules.mail_subject(raw) == message.title
    assert rules.page_problems(message.html, links) == []
    return f"{message.title}\n{message.body}\n{rules.page_shown(message.html)}"


@pytest.mark.parametrize("fmt", list(Format))
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_shows_exactly_and_does_nothing(text, fmt):
    shown = seen(render(hostile_notification(text), fmt))
    assert f"symbol {text} · team {text}" in shown or fmt is Format.EMAIL
    assert f"{text} is meant" in shown
    assert f"wrong: {text}" in shown
    assert f"description: {text}" in shown


@pytest.mark.parametrize("fmt", list(Format))
@pytest.mark.parametrize(("text", "cleaned"), UNCLEAN.values(), ids=UNCLEAN)
def test_unclean_text_is_cleaned_once(text, cleaned, fmt):
    shown = seen(render(hostile_notification(text), fmt))
    assert f"{cleaned} is meant" in shown
    assert "\u202e" not in shown
    assert "\x00" not in shown


@pytest.mark.parametrize("fmt", list(Format))
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_plain_text_is_as_harmless(text, fmt):
    message = Renderer(overrides=None).plain(
        hostile_notification(text), fmt, maybe_repeat=False, now=NOW
    )
    body = message.body
    if fmt is Format.TELEGRAM:
        pieces, problems = rules.telegram_pieces(body)
        assert problems == []
        assert all(not tags for _, tags in pieces)
        body = rules.telegram_shown(body)
    body = rules.discord_shown(body) if fmt is Format.DISCORD else body
    assert text in body.replace("\u2060", "")
    assert len(message.title) <= TITLE_LIMIT + 30


# ── how numbers and instants are shown ──────────────────────────────────────

INDIAN = Display(zone=zoneinfo.ZoneInfo("Asia/Kolkata"), grouping=Grouping.INDIAN)


@pytest.mark.parametrize("fmt", list(Format))
def test_display_is_obeyed_by_every_word_of_a_message(fmt):
    item = firing(value="-1234567.89", threshold="100000", clear="200000", annotations={
        "summary": "{{ value | money }} at {{ fired_at | instant }}",
        "description": "{{ value }} at {{ fired_at }}",
    })  # fmt: skip
    renderer = Renderer(overrides=None, show=INDIAN)
    message = renderer.render(
        notification_of(repeated(item, "-34567.89")), fmt, maybe_repeat=False, now=NOW
    )
    assert "-12,34,567.89 USDT, 13,34,567.89 below 1,00,000" in message.title
    text = seen(message)
    assert "down 12,00,000.00 in 15m" in text
    assert text.count("-12,34,567.89 at 2026-01-01 05:30:30 IST") >= 2
    assert "firing since 2026-01-01 05:30:30 IST (12m ago)" in text
    assert "UTC" not in text
    assert "34567" not in text, "one number is not grouped"
    plain = renderer.plain(notification_of(item), fmt, maybe_repeat=False, now=NOW)
    assert "-12,34,567.89 USDT" in seen(plain) if fmt is not Format.EMAIL else plain.body


def test_an_instant_in_what_is_wrong_is_shown_as_all_others():
    told = notification_of(
        builtin(detail="no snapshot (last 2026-01-01T00:09:59Z, 9999-99-99T99:99:99Z)")
    )
    message = Renderer(overrides=None, show=INDIAN).render(
        told, Format.TEXT, maybe_repeat=False, now=NOW
    )
    assert "(last 2026-01-01 05:39:59 IST, 9999-99-99T99:99:99Z)" in message.title


def test_a_rule_written_in_percent_shows_percent_whatever_it_measures():
    item = ratio(value="15.2", threshold="15", clear="14.5", expression="a / b", percent=True)
    message = render(notification_of(repeated(item, "15.1")))
    assert message.title.startswith(
        "WARNING symbol-margin-ratio DOGEUSDT: 1520%, 20 points above 1500% · main"
    )
    text = f"{message.title} {message.body}"
    for words in ("(repeat, up 10 points in 15m)", "clears at 1450%"):
        assert words in text
    assert "% USDT" not in text, "a share has no unit"


# ── the summary, the runbook ────────────────────────────────────────────────

RUNBOOK = "https://wiki.example/run?book=floor&asset=USDT#top"
NOTES = {"summary": "Nearly empty.", "description": "Add funds.", "runbook": RUNBOOK}


@pytest.mark.parametrize("fmt", list(Format))
def test_the_summary_stands_right_under_the_first_line(fmt):
    message = render(notification_of(firing(annotations=NOTES)), fmt)
    lines = seen(message, links=(RUNBOOK,)).split("\n")
    lines = [line for line in lines if line and message.title not in line]
    assert lines[0] == "Nearly empty."
    both = seen(render(notification_of(ratio(), firing(annotations=NOTES)), fmt), links=(RUNBOOK,))
    assert re.search(r"CRITICAL available-balance-floor\nNearly empty\.", both)


@pytest.mark.parametrize("fmt", list(Format))
def test_a_resolve_carries_no_instructions(fmt):
    message = render(notification_of(over(firing(annotations=NOTES))), fmt)
    for text in (*NOTES.values(), "runbook", "alerting ack"):
        assert text not in seen(message), "what was wrong, and what to do, is over"
    assert "RESOLVED" in message.title


def test_a_runbook_that_is_a_url_is_a_link_where_there_is_html():
    told = notification_of(firing(annotations=NOTES))
    link = f'<a href="{html.escape(RUNBOOK)}">{html.escape(RUNBOOK)}</a>'
    assert f"runbook: {link}" in render(told, Format.TELEGRAM).body
    assert f"runbook: {link}" in render(told, Format.EMAIL).html
    for fmt in set(Format) - {Format.TELEGRAM}:
        assert f"runbook: {RUNBOOK}\n" in render(told, fmt).body


@pytest.mark.parametrize("fmt", list(Format))
@pytest.mark.parametrize(
    ("symbol", "runbook"),
    [
        ("https://evil.example/x", "{{ symbol }}"),
        ("evil.example/x", "https://{{ symbol }}"),
        (".evil.example/x", "https://wiki.example{{ symbol }}"),
        ("@evil.example/x", "https://wiki.example{{ symbol }}"),
        ("evil.example/x", "http{{ 's' }}://{{ symbol }}"),
        ('"><b>x', "https://wiki.example/{{ symbol }}"),
        ("a b", "https://wiki.example/{{ symbol }}"),
        ("javascript:alert(1)", "{{ symbol }}"),
        ("x", "javascript:alert(1)"),
        ("@everyone", "https://wiki.example/{{ symbol }}"),
        ("(x)", "see https://wiki.example/"),
    ],
)
def test_nothing_else_becomes_a_link(symbol, runbook, fmt):
    labels = {"account": "main", "base_asset": "USDT", "symbol": symbol}
    for key in NOTES:
        message = render(notification_of(firing(labels=labels, annotations={key: runbook})), fmt)
        seen(message)


# ── annotations and templates that fail ─────────────────────────────────────


def test_annotation_that_fails_shows_its_error_and_the_rest_stands():
    notes = {
        "summary": "{{ nosuch }}",
        "description": "{{ 1 / 0 }}",
        "runbook": "{{ oops",
        "a": "b",
    }
    body = render(notification_of(firing(annotations=notes))).body
    assert "(summary failed: UndefinedError: 'nosuch' is undefined)" in body
    assert "(description failed: ZeroDivisionError" in body or "DivisionByZero" in body
    assert "(runbook failed: TemplateSyntaxError" in body
    assert "a: b" in body
    assert "alerting ack k3x7abc" in body


def test_annotations_know_the_alert_its_labels_and_its_fields():
    source = (
        "{{ rule }} {{ base_asset }} {{ total_balance * 2 }} {{ fired_at | ago }} {{ distance }}"
    )
    body = render(notification_of(firing(annotations={"summary": source}))).body
    assert "available-balance-floor USDT 4000 12m ago 8.93" in body


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ labels.__class__ }}",
        "{{ labels.update({'a': 'b'}) }}",
        "{{ '%s' | attr('__class__') }}",
    ],
)
def test_annotations_are_sandboxed(source):
    body = render(notification_of(firing(annotations={"summary": source}))).body
    assert "(summary failed: " in body or "class" not in body


@pytest.mark.parametrize(
    ("template", "words"),
    [
        pytest.param("{{ nosuch }}", "'nosuch' is undefined", id="undefined"),
        pytest.param("{% if %}", "TemplateSyntaxError", id="syntax"),
        pytest.param("{{ 1 / 0 }}", "ivision", id="raises"),
        pytest.param("{{ 'x' * 4000 }}", "too long", id="too-long"),
        pytest.param("{{ alerts[0].nosuch.more }}", "nosuch", id="attribute"),
        pytest.param("{% if false %}never{% endif %} \n", "gives no text", id="blank"),
    ],
)
@pytest.mark.parametrize("fmt", list(Format))
def test_template_that_fails_loses_no_message(tmp_path, template, words, fmt):
    for name in ("text.txt.j2", "telegram.html.j2", "email.txt.j2"):
        (tmp_path / name).write_text(template if "4000" not in template else "{{ 'x' * 60000 }}")
    message = render(notification_of(firing(), ratio()), fmt, overrides=tmp_path)
    text = html.unescape(message.body).replace("\\", "")
    assert words in text
    assert "available-balance-floor" in text
    assert "k3x7abc" in text
    assert "CRITICAL" in message.title


def test_title_template_that_fails_loses_no_message(tmp_path):
    (tmp_path / "title.txt.j2").write_text("{{ nosuch }}")
    message = render(notification_of(firing()), overrides=tmp_path)
    assert message.title == "CRITICAL available-balance-floor: 241.07 USDT, 8.93 below 250 · main"
    assert "'nosuch' is undefined" in message.body


def test_user_template_replaces_one_and_keeps_the_others(tmp_path):
    (tmp_path / "text.txt.j2").write_text("{% for a in alerts %}{{ a.rule }}\n{% endfor %}")
    message = render(notification_of(firing(), ratio()), overrides=tmp_path)
    assert message.body == "available-balance-floor\nsymbol-margin-ratio"
    assert "<b>" in render(notification_of(firing()), Format.TELEGRAM, overrides=tmp_path).body


def test_user_template_that_does_not_say_what_is_left_out_is_helped(tmp_path):
    (tmp_path / "text.txt.j2").write_text("{% for a in alerts %}{{ a.rule * 3 }}\n{% endfor %}")
    body = render(notification_of(*many(100)), overrides=tmp_path).body
    assert re.search(r"\nand \d+ more$", body)
    assert len(body) <= 3000


def test_user_telegram_template_is_escaped_too(tmp_path):
    (tmp_path / "telegram.html.j2").write_text(
        "{% set line %}<i>{{ alerts[0].rule }}</i>{% endset %}<b>{{ line }}</b> {{ alerts[0].rule }}"
    )
    body = render(notification_of(firing(rule="<u>x")), Format.TELEGRAM, overrides=tmp_path).body
    assert body == "<b><i>&lt;u&gt;x</i></b> &lt;u&gt;x"


def test_one_renderer_serves_many_threads():
    renderer = Renderer(overrides=None)
    expected = render(CASES["three"], Format.TELEGRAM).body
    wrong = []

    def work():
        for _ in range(20):
            got = renderer.render(CASES["three"], Format.TELEGRAM, maybe_repeat=False, now=NOW)
            if got.body != expected:
                wrong.append(got.body)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_key_names_the_outbox_row_in_every_process():
    item = Item(
        alert=Alert(rule="floor", labels={"account": "main"}, episode=1),
        reason=Reason.FIRING,
        state=State.FIRING,
        severity=Severity.CRITICAL,
    )
    told = notification_of(item)
    stored = documents.load(Notification, documents.dump(told))
    assert render(stored).key == render(told, Format.EMAIL, maybe_repeat=True).key
    others = [
        replace(told, receiver="phone"),
        replace(told, observed_at=NOW),
        replace(told, items=(replace(item, reason=Reason.REPEAT),)),
        replace(told, items=(replace(item, alert=replace(item.alert, episode=2)),)),
        replace(told, items=(item, item)),
    ]
    assert len({render(each).key for each in (told, *others)}) == 6
