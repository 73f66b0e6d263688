"""`init`: a rules file that works, from questions or from flags, and never a file lost."""

from __future__ import annotations

import getpass
import os
import pty
import stat
import subprocess
import sys

import pytest

from alerting.cli import asking
from alerting.cli.main import main
from alerting.config.load import Depth, load_config
from alerting.sandbox.exchange import DEMO_API_KEY, DEMO_SECRET_KEY, LoopbackExchange
from alerting.sandbox.inbox import Inbox
from tests.support.paths import ROOT
from tests.support.receivers import SLACK_SECRET, TELEGRAM_SECRET

KEYS = {"COINSWITCH_API_KEY": DEMO_API_KEY, "COINSWITCH_SECRET_KEY": DEMO_SECRET_KEY}
HOOK = f"https://hooks.slack.com/services/T1A2B3C4D/B5E6F7G8H/{SLACK_SECRET}"
CHAT = f"123456789:{TELEGRAM_SECRET}/-1001234567890"
MAIL = "mailtos://robot:hunter22@example.org?to=you@example.org"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (*KEYS, "ALERTING_CONFIG", "ALERTING_STATE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def typed(monkeypatch):
    """Somebody at a terminal who gives these answers in turn."""

    def start(*answers):
        left = list(answers)

        def answer(question):
            if not left:
                raise EOFError
            given = left.pop(0)
            if isinstance(given, BaseException):
                raise given
            return given

        monkeypatch.setattr(asking, "at_a_terminal", lambda: True)
        monkeypatch.setattr("builtins.input", answer)
        monkeypatch.setattr(getpass, "getpass", answer)
        return left

    return start


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def loaded(path, **environ):
    return load_config(path, environ=environ or KEYS, depth=Depth.EVERYTHING)


def test_flags_alone_make_a_file_that_passes_check(folder, capsys):
    assert main(["init", "--slack", HOOK, "--telegram", CHAT, "--email", MAIL]) == 0

    config = loaded(folder / "rules.yaml")
    assert (list(config.accounts), list(config.receivers)) == (
        ["main"],
        ["slack", "telegram", "email"],
    )
    assert config.warnings == ()
    said = capsys.readouterr().out
    assert "export COINSWITCH_API_KEY=... COINSWITCH_SECRET_KEY=...\n" in said
    assert "check --online" in said
    assert not {SLACK_SECRET, TELEGRAM_SECRET, "hunter22"} & set(said.split())


def test_its_rules_are_those_of_the_example(folder):
    assert main(["init", "--slack", HOOK, "--account", "other"]) == 0

    example = load_config(
        ROOT / "rules.example.yaml",
        environ={
            **KEYS,
            "SLACK_URL": "json://h",
            "TELEGRAM_URL": "json://h",
            "EMAIL_URL": "json://h",
        },
    )
    made = loaded(folder / "rules.yaml")
    assert [rule.name for rule in made.ruleset.rules] == [
        rule.name for rule in example.ruleset.rules
    ]
    # also those that the example limits to its own account
    assert all(rule.accounts.matches("other") for rule in made.ruleset.rules)


def test_rules_and_secrets_are_their_owners_alone(folder):
    old = os.umask(0)
    try:
        assert main(["init", "--slack", HOOK]) == 0
    finally:
        os.umask(old)
    assert mode(folder / "rules.yaml") == 0o600
    assert mode(folder / "secrets") == 0o700
    assert mode(folder / "secrets" / "slack_url") == 0o600
    assert SLACK_SECRET not in (folder / "rules.yaml").read_text()


def test_a_variable_stays_a_variable_and_is_named(folder, capsys):
    assert main(["init", "--receiver", "desk=${DESK_URL}", "--api-key-env", "KEY"]) == 0

    text = (folder / "rules.yaml").read_text()
    assert "url: ${DESK_URL}" in text
    assert "api_key: ${KEY}" in text
    assert not (folder / "secrets").exists()
    assert "export KEY=... COINSWITCH_SECRET_KEY=... DESK_URL=...\n" in capsys.readouterr().out


def test_a_url_may_come_from_a_file(folder):
    (folder / "hook").write_text(HOOK + "\n")
    assert main(["init", "--slack", "@hook"]) == 0
    assert SLACK_SECRET in loaded(folder / "rules.yaml").receivers["slack"].url.reveal()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        pytest.param([], "--slack the webhook's URL, --telegram TOKEN/CHAT_ID", id="nobody"),
        pytest.param(["--telegram", "12:x"], "--telegram: the chat id is missing", id="telegram"),
        pytest.param(["--receiver", "json://h"], "--receiver must be NAME=URL", id="no-name"),
        pytest.param(["--receiver", "a b=json://h"], "letters, digits", id="bad-name"),
        pytest.param(["--slack", "@nowhere"], "--slack: the file nowhere cannot", id="no-file"),
        pytest.param(["--slack", HOOK, "--account", "a b"], "accounts", id="account"),
        pytest.param(
            ["--slack", HOOK, "--base-url", "http://example.org"], "base_url", id="base-url"
        ),
        pytest.param(["--slack", HOOK, "--api-key-env", "a-b"], "--api-key-env", id="variable"),
        pytest.param(
            ["--slack", HOOK, "--receiver", "slack=json://h"], "two receivers", id="twice"
        ),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(folder, capsys, flags, said):
    assert main(["init", *flags]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert SLACK_SECRET not in error
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("there", ["rules.yaml", "secrets/slack_url"])
def test_no_file_is_lost_without_force(folder, capsys, there):
    (folder / "secrets").mkdir()
    (folder / there).write_text("mine")
    before = sorted(folder.rglob("*"))

    assert main(["init", "--slack", HOOK]) == 2
    assert f"{there} is there already; --force" in capsys.readouterr().err
    assert (folder / there).read_text() == "mine"
    assert sorted(folder.rglob("*")) == before

    assert main(["init", "--slack", HOOK, "--force"]) == 0
    assert loaded(folder / "rules.yaml").receivers


def test_typed_keys_are_kept_in_files_so_that_cron_can_run_it(folder, typed, capsys):
    left = typed("main", DEMO_API_KEY, DEMO_SECRET_KEY, HOOK, "", "", "n")

    assert main(["init"]) == 0
    assert left == []
    config = load_config(folder / "rules.yaml", environ={}, depth=Depth.EVERYTHING)
    assert config.accounts["main"].secret_key.reveal() == DEMO_SECRET_KEY
    assert mode(folder / "secrets" / "secret_key") == 0o600
    out, err = capsys.readouterr()
    assert DEMO_SECRET_KEY not in out + err
    assert "export" not in out


def test_a_wrong_answer_is_asked_again(folder, typed, capsys):
    typed("main", "", "not hex", "", "", "12:x", CHAT, "", "n")
    assert main(["init"]) == 0
    assert list(loaded(folder / "rules.yaml").receivers) == ["telegram"]
    err = capsys.readouterr().err
    assert "must be 64 hexadecimal characters" in err
    assert "the chat id is missing" in err


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [(EOFError(), 1, "no more input"), (KeyboardInterrupt(), 130, "stopped")],
)
def test_an_end_in_the_middle_writes_nothing(folder, typed, capsys, end, code, said):
    typed("main", DEMO_API_KEY, end)
    assert main(["init"]) == code
    assert f"{said}; nothing was written" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_it_offers_a_test_message(folder, typed, capsys):
    with Inbox() as inbox:
        typed("main", DEMO_API_KEY, DEMO_SECRET_KEY, "y")
        assert main(["init", "--receiver", f"desk={inbox.url('desk')}"]) == 0
        assert [message.box for message in inbox.received] == ["desk"]
    assert "accepted" in capsys.readouterr().out


def test_a_test_message_that_fails_is_exit_1(capsys, monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    assert main(["init", "--receiver", "desk=json://127.0.0.1:1/", "--test"]) == 1
    assert "connection refused" in capsys.readouterr().out


def test_what_it_wrote_runs_at_once(folder, monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with LoopbackExchange() as exchange, Inbox() as inbox:
        flags = ["--base-url", exchange.base_url, "--receiver", f"desk={inbox.url('desk')}"]
        assert main(["init", *flags]) == 0
        assert main(["run", "--once"]) == 0


@pytest.mark.process
def test_on_a_real_terminal_no_secret_is_shown(folder):
    main_end, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "alerting", "init", "--receiver", "desk=json://127.0.0.1:1/"],
        stdin=end,
        stdout=end,
        stderr=end,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    os.close(end)
    seen = b""
    answers = [(b"[main]", "main"), (b"api_key", DEMO_API_KEY), (b"secret_key", DEMO_SECRET_KEY)]
    for question, answer in [*answers, (b"[Y/n]", "n")]:
        while question + b" (unseen" not in seen and (question not in seen or b"_key" in question):
            seen += os.read(main_end, 1024)
        os.write(main_end, answer.encode() + b"\n")
    while True:
        try:
            more = os.read(main_end, 1024)
        except OSError:
            break
        if not more:
            break
        seen += more
    assert process.wait(20) == 0, seen
    os.close(main_end)
    assert DEMO_SECRET_KEY.encode() not in seen
    assert (folder / "secrets" / "secret_key").read_text().strip() == DEMO_SECRET_KEY
