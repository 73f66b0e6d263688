"""`status`, `ack`, `silence` where people are: without secrets, with a broken file, from any folder."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from alerting.cli import context
from alerting.cli.main import main
from tests.support.desk import falling
from tests.support.paths import ROOT


@pytest.fixture
def outside(desk, tmp_path_factory, monkeypatch, capsys):
    """Commands in a shell of another folder in which no secret is set, while a floor fires."""
    desk.exchange.wallet = falling("900")
    assert desk.once()[0] == 0
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name in ("ALERTING_CONFIG", "ALERTING_STATE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(context, "_OF_THE_MACHINE", desk.folder / "none.yaml")

    def call(*argv):
        code = main([str(arg) for arg in argv])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return call


def id_of(status):
    return next(word for word in status.split() if len(word) == 7 and word.isalnum())


EVERY = [
    pytest.param(["status"], id="status"),
    pytest.param(["status", "--json"], id="status-json"),
    pytest.param(["explain", "available-balance-floor"], id="explain"),
    pytest.param(["silence", "list"], id="silence-list"),
    pytest.param(
        ["silence", "add", "rule=available-*", "--for", "1h", "--reason", "r"], id="silence-add"
    ),
    pytest.param(["history", "export"], id="history"),
]


@pytest.mark.parametrize("command", EVERY)
def test_no_secret_needs_to_be_set(outside, desk, command):
    code, out, err = outside("-c", desk.path, *command)
    assert (code, err) == (0, "")
    assert out


@pytest.mark.parametrize("command", EVERY)
def test_with_a_broken_file_the_rules_last_taken_over_are_gone_by(outside, desk, command):
    desk.path.write_text("rules: [", encoding="utf-8")
    code, out, err = outside("-c", desk.path, *command)
    assert code == 0
    assert out
    assert "rules.yaml:1:9" in err
    assert "going by the rules that were taken over at 20" in err


def test_an_alert_is_acknowledged_and_again_not_so_with_a_broken_file(outside, desk):
    desk.path.write_text(desk.path.read_text(encoding="utf-8") + "zzz: 1\n", encoding="utf-8")
    _, out, _ = outside("-c", desk.path, "explain", "available-balance-floor")
    known = out.partition("(id ")[2][:7]
    assert outside("-c", desk.path, "ack", known)[0] == 0
    assert "acked" in outside("-c", desk.path, "explain", "available-balance-floor")[1]
    assert outside("-c", desk.path, "unack", known)[0] == 0


def test_the_state_alone_is_enough(outside, desk, monkeypatch):
    monkeypatch.setenv("ALERTING_STATE", str(desk.folder / "alerting.db"))
    desk.path.unlink()
    code, out, err = outside("status")
    assert code == 0
    assert "available-balance-floor" in out
    assert "rules.yaml:1:1: there is no such file" in err


def test_a_state_that_the_broken_file_names_is_found(outside, desk):
    (desk.folder / "alerting.db").rename(desk.folder / "other.db")
    desk.path.write_text("state: other.db\nrules: 5\n", encoding="utf-8")
    assert "available-balance-floor" in outside("-c", desk.path, "status")[1]


def test_a_mistyped_file_is_an_error_and_not_the_rules_of_another(outside, desk):
    code, _, err = outside("-c", desk.folder / "rulez.yaml", "status")
    assert (code, "there is no such file" in err) == (2, True)


def test_where_nothing_was_taken_over_the_file_must_be_right(outside, desk):
    (desk.folder / "alerting.db").unlink()
    desk.path.write_text("rules: [", encoding="utf-8")
    assert outside("-c", desk.path, "status")[0] == 2


def test_what_is_remembered_holds_no_secret(desk):
    desk.path.write_text(
        desk.path.read_text(encoding="utf-8").replace("${DESK_URL}", "json://h/s3cr3t-t0ken-1234"),
        encoding="utf-8",
    )
    desk.once()
    kept = (desk.folder / "alerting.db").read_bytes()
    assert b"available-balance-floor" in kept
    for secret in (desk.exchange.secret_key, desk.exchange.api_key, "s3cr3t-t0ken-1234"):
        assert secret.encode() not in kept


@pytest.mark.parametrize("place", ["here", "home", "xdg", "machine"])
def test_the_first_place_that_has_a_rules_file(outside, desk, monkeypatch, tmp_path, place):
    from pathlib import Path

    text = desk.path.read_text(encoding="utf-8") + f"state: {desk.folder / 'alerting.db'}\n"
    home = Path.home() / ".config"
    where = {
        "here": Path("rules.yaml"),
        "home": home / "alerting" / "rules.yaml",
        "xdg": tmp_path / "xdg" / "alerting" / "rules.yaml",
        "machine": tmp_path / "etc.yaml",
    }
    monkeypatch.setattr(context, "_OF_THE_MACHINE", where["machine"])
    if place == "xdg":
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    order = list(where)
    for each in order[order.index(place) :]:
        where[each].parent.mkdir(parents=True, exist_ok=True)
        where[each].write_text(text if each == place else "broken", encoding="utf-8")
    code, out, err = outside("status")
    assert (code, err) == (0, "")
    assert "available-balance-floor" in out


def test_a_relative_xdg_folder_is_ignored(outside, desk, monkeypatch):
    from pathlib import Path

    monkeypatch.setenv("XDG_CONFIG_HOME", "conf")
    Path("conf/alerting").mkdir(parents=True)
    Path("conf/alerting/rules.yaml").write_text("broken", encoding="utf-8")
    assert "rules.yaml:1:1: there is no such file" in outside("status")[2]


@pytest.mark.process
@pytest.mark.parametrize("broken", [False, True])
def test_the_healthcheck_needs_no_secrets_and_no_sound_file(outside, desk, tmp_path, broken):
    if broken:
        desk.path.write_text("rules: [", encoding="utf-8")
    (tmp_path / "alerting").write_text(
        f"#!{sys.executable}\nimport sys\nfrom alerting.cli.main import main\nsys.exit(main())\n",
        encoding="utf-8",
    )
    (tmp_path / "alerting").chmod(0o755)
    environ = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "ALERTING_CONFIG": str(desk.path),
    }

    def healthy(**more):
        script = [sys.executable, str(ROOT / "scripts" / "healthcheck")]
        done = subprocess.run(
            script, env=environ | more, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout

    assert healthy() == (0, "")
    code, said = healthy(HEALTHY_WITHIN="0")
    assert (code, said.startswith("main: last read ")) == (1, True)
