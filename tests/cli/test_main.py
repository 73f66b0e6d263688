"""Arguments, environment and exit codes, whatever the command."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("command", [["run", "--once"], ["status"], ["send-test"]])
def test_an_invalid_rules_file_is_exit_2_for_every_other_command(desk, command):
    desk.write(more="    severty: info\n")
    code, out, err = desk.run(*command)
    assert (code, out) == (2, "")
    assert "severity" in err


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["nosuch"],
        ["run", "--twice"],
        ["--log-level", "loud", "run"],
        ["exchange", "--port", "99999"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_2(desk, args):
    assert desk.run(*args)[0] == 2


@pytest.mark.parametrize(
    "args",
    [
        ["silence", "add", "rul=x", "--for", "2h", "--reason", "x"],
        ["history", "export", "--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z"],
        ["explain", "nosuch"],
        ["explain", "available-balance-floor", "--symbol", "BTCUSDT"],
        ["explain", "available-balance-floor", "--at", "yesterday"],
        ["history", "export", "--from", "2026-01-32"],
    ],
    ids=" ".join,
)
def test_what_does_not_exist_is_wrong_usage(desk, args):
    desk.once()
    code, out, err = desk.run(*args)
    assert (code, out) == (2, "")
    assert err.startswith("alerting: ")


@pytest.mark.parametrize("args", [["ack", "zzzz"], ["silence", "remove", "7"]], ids=" ".join)
def test_what_is_not_there_any_more_is_exit_1(desk, args):
    desk.once()
    code, out, err = desk.run(*args)
    assert (code, out) == (1, "")
    assert err.startswith("alerting: ")


def test_options_stand_before_or_after_the_command(desk):
    state = desk.folder / "elsewhere.db"
    assert desk.run("run", "--once", "--state", str(state))[0] == 0
    assert desk.run("--state", str(state), "status")[0] == 0
    assert state.exists()
    assert not (desk.folder / "alerting.db").exists()


def test_a_state_that_cannot_be_written_is_a_sentence(desk):
    code, _, err = desk.run("run", "--once", "--state", "/nosuch/folder/alerting.db")
    assert code == 1
    assert "/nosuch/folder/alerting.db" in err
