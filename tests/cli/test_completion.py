"""`completion`: what the shell is given completes what is typed."""

from __future__ import annotations

import shutil
import subprocess

import pytest

BASH = """\
{script}
COMP_WORDS=(alerting {typed})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_shtab_alerting
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("sta", {"status"}),
        ("una", {"unack"}),
        ("run --on", {"--once"}),
        ("silence re", {"remove"}),
        ("completion f", {"fish"}),
        ("check rules", {"rules.yaml"}),
    ],
)
def test_bash_completes_what_is_typed(desk, typed, expected):
    code, script, _ = desk.run("completion", "bash")
    done = subprocess.run(
        ["bash", "-c", BASH.format(script=script, typed=typed)],
        cwd=desk.folder, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert code == 0
    assert expected <= set(done.stdout.split()), done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_others_are_told_every_command(desk, shell):
    code, script, _ = desk.run("completion", shell)
    assert code == 0
    for command in ("status", "unack", "send-test", "completion"):
        assert command in script


def test_another_shell_is_wrong_usage(desk):
    code, _, err = desk.run("completion", "csh")
    assert (code, "'bash', 'zsh', 'fish'" in err or "bash, zsh, fish" in err) == (2, True)
