"""Secrets: where they come from, and that no message shows one."""

from __future__ import annotations

import os

import pytest

from alerting.config.load import Secrets
from tests.support.rules_files import API_KEY, HOOK, SECRET_KEY, messages


@pytest.mark.parametrize(
    "text",
    [
        "heartbeat: https://x.example/hunter2secret",
        "heartbeat: {url: hunter2secret}",
        "heartbeat: {url: 'http://x.example/hunter2secret'}",
        "heartbeat: {ulr: 'https://x.example/hunter2secret'}",
        "heartbeat: {url: 1m, every: 'https://x.example/hunter2secret'}",
        "heartbeat: {url: [hunter2secret]}",
        "heartbeat: {url: 'https://x.example/hunter2secret', every: x, hunter2secret: 1}",
        "heartbeat: {'https://x.example/hunter2secret'}",
        "heartbeat: {url_file: hunter2secret}",
        "heartbeat: {url: 0123456789012}",
        "heartbeat: {ulr: 0123456789012}",
        "heartbeat: {url: &hunter2secret a, url_file: !hunter2secret b}",
    ],
)
def test_no_message_about_the_heartbeat_shows_its_url(load, text):
    shown = "\n".join(messages(load, f"{text}\n"))
    assert not any(part in shown for part in ("hunter2secret", "0123456789012"))


def test_a_heartbeat_s_url_is_masked_from_then_on(load, _own_redactor):
    load("heartbeat: {url: 'https://x.example/0b1d-77aa'}\n")
    assert _own_redactor.redact("GET /0b1d-77aa") == "GET /***"


def test_variables_are_replaced_inside_secrets(load):
    loaded = load(
        receivers='receivers: {desk: {url: "tgram://${BOT}:${TOKEN}/$5/${CHAT_2}"}}\n',
        BOT="1234", TOKEN="tok}{en", CHAT_2="${BOT}",
    )  # fmt: skip
    assert loaded.receivers["desk"].url.reveal() == "tgram://1234:tok}{en/$5/${BOT}"


@pytest.mark.parametrize("part", ["${", "${}", "${A B}", "${1A}", "${KEY", "$ {KEY}${-}"])
def test_a_malformed_variable_is_refused_at_its_place(load, part):
    column = 'receivers: {desk: {url: "json://x/'.__len__() + 1 + part.index("${")
    lines = messages(load, receivers=f'receivers: {{desk: {{url: "json://x/{part}"}}}}\n')
    assert lines == [f"FILE:3:{column}: receivers.desk.url: `${{` must be followed by NAME}}"]


def test_all_unset_variables_are_named(load):
    lines = messages(load, receivers='receivers: {desk: {url: "json://${A1}/${B1}"}}\n')
    assert lines == [
        "FILE:3:33: receivers.desk.url: the environment variable A1 is not set",
        "FILE:3:39: receivers.desk.url: the environment variable B1 is not set",
    ]


def test_files_hold_secrets_relative_to_the_rules_file(load, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "api").write_text(f"{API_KEY}\n")
    (tmp_path / "key").write_text(f"{SECRET_KEY}\r\n")
    url = tmp_path / "url"
    url.write_text("json://localhost/${NOT_REPLACED} \n")
    loaded = load(
        accounts="accounts: {main: {api_key_file: run/api, secret_key_file: key}}\n",
        receivers=f"receivers: {{desk: {{url_file: {url}}}}}\n",
    )
    assert loaded.accounts["main"].api_key.reveal() == API_KEY
    assert loaded.accounts["main"].secret_key.reveal() == SECRET_KEY
    assert loaded.receivers["desk"].url.reveal() == "json://localhost/${NOT_REPLACED} "


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty"),
        (b"\n", "the file is empty"),
        (b"\xff", "the file is not text in UTF-8"),
        (b"a" * (64 * 1024 + 1), "the file is larger than 64 KiB"),
        (None, "the file is a directory"),
        (b"hooks.example.com/hunter2", "is no Apprise URL; it must start with a service, as slack://"),
    ],
)  # fmt: skip
def test_unusable_secret_files_are_refused(load, tmp_path, content, expected):
    if content is None:
        (tmp_path / "f").mkdir()
    else:
        (tmp_path / "f").write_bytes(content)
    lines = messages(load, receivers="receivers: {desk: {url_file: f}}\n")
    assert lines == [f"FILE:3:30: receivers.desk.url_file: {expected}"]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_secret_file_that_has_no_end_is_refused_at_once(load, tmp_path, make):
    make(tmp_path / "f")
    (line,) = messages(load, receivers="receivers: {desk: {url_file: f}}\n")
    assert line.startswith("FILE:3:30: receivers.desk.url_file: the file is a ")


def test_a_secret_has_a_length_that_a_secret_can_have(load):
    url = "json://localhost/" + "a" * 64 * 1024
    (line,) = messages(load, receivers=f"receivers: {{desk: {{url: '{url}'}}}}\n")
    assert line == "FILE:3:25: receivers.desk.url: is longer than 64 KiB"


def test_a_file_name_that_cannot_be_one_is_refused(load):
    lines = messages(load, receivers='receivers: {desk: {url_file: "a\\0b"}}\n')
    assert lines == [
        "FILE:3:30: receivers.desk.url_file: the file cannot be read: this is no usable path"
    ]


def test_every_secret_is_masked_from_then_on(load, _own_redactor):
    load()
    text = f"{API_KEY} {SECRET_KEY} {HOOK} hook-token-123"
    assert _own_redactor.redact(text) == "*** *** *** ***"


@pytest.mark.parametrize("text", ["''", "5"])
def test_a_secret_must_be_a_text(load, text):
    (line,) = messages(load, receivers=f"receivers: {{desk: {{url: {text}}}}}\n")
    assert line.endswith(("is empty", "is not a text; put it in quotes"))


def test_the_settings_do_not_print_secrets(load):
    shown = repr(load())
    assert not any(secret in shown for secret in (API_KEY, SECRET_KEY, "hook-token"))


LEAKS = [
    'api_key: hunter2secret, secret_key: "hunter2 secret"',
    "api_key: [hunter2secret], secret_key: {hunter2secret: hunter2secret}",
    'api_key: "${HUNTER} hunter2secret", secret_key: "hunter2secret ${"',
    'api_key: "${HUNTER} ${HUNTER}", secret_key: "${HUNTER}"',
    "api_key_file: hunter2secret, secret_key_file: hunter2secret",
    "api_key: 0123456789012, secret_key: 0123456789012",
    "api_key: *hunter2secret, secret_key: &hunter2secret a",
    "api_key: !hunter2secret a, secret_key: hunter2secret",
    "apikey: hunter2secret, secret: 0123456789012",
    'api_key: "${KEY}", secret_key: "${SECRET}", base_url: "https://u:hunter2secret@x"',
    'api_key: "${KEY}", secret_key: "${SECRET}", base_url: "https://x/hunter2secret"',
    'api_key: "${KEY}", secret_key: "${SECRET}", base_url: "hunter2secret://["',
    "hunter2secret",
]


@pytest.mark.parametrize("keys", LEAKS)
def test_no_message_about_an_account_shows_a_secret(load, keys):
    accounts = (
        f"accounts:\n  main: {keys}\n"
        if keys == "hunter2secret"
        else f"accounts:\n  main: {{{keys}}}\n"
    )
    shown = "\n".join(messages(load, accounts=accounts, HUNTER="hunter2secret"))
    assert not any(part in shown for part in ("hunter2secret", "0123456789012", SECRET_KEY))


@pytest.mark.parametrize(
    "receivers",
    [
        "receivers: {desk: slack://hunter2secret/a}\n",
        "receivers: [slack://hunter2secret/a]\n",
        "receivers: {desk: {url: [slack://hunter2secret/a]}}\n",
        "receivers: {desk: {url: hunter2secret}}\n",
        "receivers: {'slack://hunter2secret/a': {url: json://x}}\n",
        "receivers: {desk: {url: 'hunter2secret ${HUNTER}', url_file: hunter2secret}}\n",
        "receivers: {desk: {url: hunter2secret: a}}\n",
    ],
)
def test_no_message_about_a_receiver_shows_a_secret(load, receivers):
    shown = "\n".join(messages(load, receivers=receivers))
    assert "hunter2secret" not in shown


def test_a_url_where_a_receiver_s_name_belongs_is_not_shown(load):
    lines = messages(load, routes="routes:\n  - receivers: [slack://hunter2secret/a]\n")
    assert lines == ["FILE:6:17: routes.0.receivers.0: unknown receiver 'slack://...'; known: desk"]


def test_a_secret_that_also_stands_elsewhere_is_masked(load):
    lines = messages(load, "hook-token-123: 1\n")
    assert lines[0].startswith("FILE:9:1: ***: unknown key")


def test_ignored_secrets_need_not_exist(load, _own_redactor):
    loaded = load(
        'heartbeat: {url: "${NONE}"}\n',
        accounts="accounts: {main: {api_key: '${NONE}', secret_key_file: nowhere}}\n",
        receivers="receivers: {desk: {url: 'tgram://${NONE}/1'}, mail: {url_file: nowhere}}\n",
        secrets=Secrets.IGNORED,
    )
    account = loaded.accounts["main"]
    assert (account.api_key.reveal(), account.secret_key.reveal()) == ("0" * 64, "0" * 64)
    assert [r.url.reveal() for r in loaded.receivers.values()] == ["json://127.0.0.1/"] * 2
    assert loaded.heartbeat.url.reveal() == "http://127.0.0.1/"
    # a placeholder is no secret: masking it would spoil ordinary texts
    text = f"{'0' * 64} json://127.0.0.1/ http://127.0.0.1/"
    assert _own_redactor.redact(text) == text


def test_ignored_secrets_are_not_read(load, tmp_path, _own_redactor):
    (tmp_path / "url").write_text("json://localhost/from-a-file")
    loaded = load(
        receivers="receivers: {desk: {url: '${URL}'}, mail: {url_file: url}}\n",
        secrets=Secrets.IGNORED,
    )
    assert {r.url.reveal() for r in loaded.receivers.values()} == {"json://127.0.0.1/"}
    assert _own_redactor.redact(f"{HOOK} {SECRET_KEY}") == f"{HOOK} {SECRET_KEY}"


def test_a_secret_written_into_the_file_is_checked_and_masked_all_the_same(load, _own_redactor):
    literal = f"receivers: {{desk: {{url: '{HOOK}'}}}}\n"
    loaded = load(receivers=literal, secrets=Secrets.IGNORED)
    assert loaded.receivers["desk"].url.reveal() == HOOK
    assert _own_redactor.redact(HOOK) == "***"
    wrong = "receivers: {desk: {url: nothing}}\n"
    assert len(messages(load, receivers=wrong, secrets=Secrets.IGNORED)) == 1


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("", "url: is missing; give url or url_file"),
        ("url: '${NONE', url_file: a", "url_file: excludes url; keep one of the two"),
        ("url: '${NONE'", "url: `${` must be followed by NAME}"),
    ],
)
def test_ignored_secrets_must_still_be_written_rightly(load, keys, expected):
    receivers = f"receivers: {{desk: {{{keys}}}}}\n"
    (line,) = messages(load, receivers=receivers, secrets=Secrets.IGNORED)
    assert line.endswith(f"receivers.desk.{expected}")


@pytest.mark.parametrize(
    "more",
    [
        "poll: {interval: SECRET}",
        "poll: {api_kye: SECRET}",
        "SECRET: 1",
        "templates: [SECRET]",
        "flapping: {changes: SECRET}",
        "builtin: {tolerance: SECRET}",
        "history: {keep: SECRET}",
    ],
)
def test_a_secret_in_a_wrong_place_is_not_shown(load, more):
    secret = "0123456789abcdef" * 4
    shown = "\n".join(messages(load, more.replace("SECRET", secret) + "\n"))
    assert shown
    assert secret[4:24] not in shown
