"""A library that is too old is named, by every command that needs it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import requests
import urllib3

from alerting.errors import LibraryError
from alerting.net import libraries


@pytest.mark.parametrize(
    ("module", "version", "needed"),
    [(urllib3, "1.26.20", "2"), (requests, "2.31.0", "2.32")],
    ids=["urllib3", "requests"],
)
def test_an_older_library_is_named_with_what_to_type(monkeypatch, module, version, needed):
    monkeypatch.setattr(module, "__version__", version)
    with pytest.raises(LibraryError) as caught:
        libraries.check()
    name = module.__name__
    assert str(caught.value) == (
        f"{name} {version} is installed, and {needed} or newer is needed: "
        f"pip install '{name}>={needed}'"
    )


@pytest.mark.parametrize("version", ["2.0.0", "2", "2.8.0rc1", "3.0", "10.1"])
def test_what_is_new_enough_is_taken(monkeypatch, version):
    monkeypatch.setattr(urllib3, "__version__", version)
    libraries.check()


RULES = f"""
accounts:
  main: {{api_key: {"a" * 64}, secret_key: {"b" * 64}}}
receivers:
  desk: {{url: "json://127.0.0.1:1/"}}
routes:
  - receivers: [desk]
rules:
  - {{name: floor, per: wallet, value: total_balance, below: 1}}
"""


@pytest.mark.process
@pytest.mark.parametrize("command", ["check", "run", "run --once", "send-test", "demo"])
def test_a_command_ends_with_that_line_and_no_traceback(tmp_path, command):
    (tmp_path / "rules.yaml").write_text(RULES)
    code = (
        "import sys, urllib3; urllib3.__version__ = '1.26.20'; "
        "from alerting.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command.split()],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "alerting: urllib3 1.26.20 is installed, and 2 or newer is needed: "
        "pip install 'urllib3>=2'\n"
    )
