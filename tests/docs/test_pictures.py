"""The pictures in docs/messages.md are what the program sends today."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "pictures"
NAMES = ("email.svg", "slack.svg", "telegram.svg")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    script = [sys.executable, str(ROOT / "scripts" / "pictures"), "--to", str(folder)]
    subprocess.run(script, check=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
    return folder


@pytest.mark.process
def test_the_pictures_are_what_the_script_draws_now(drawn):
    """After a change of the templates run scripts/pictures, and look at them."""
    assert sorted(path.name for path in drawn.iterdir()) == sorted(NAMES)
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(NAMES)
    for name in NAMES:
        assert (drawn / name).read_text("utf-8") == (FOLDER / name).read_text("utf-8"), name


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_small_whole_and_loads_nothing(name):
    text = (FOLDER / name).read_text("utf-8")
    assert len(text) < 10_000
    shown = ["".join(each.itertext()) for each in ET.fromstring(text).iter() if "text" in each.tag]
    for words in ("241.07 USDT, 8.93 below 250 · main", "down 20.41 in 15m", "RESOLVED"):
        assert any(words in " ".join(shown[at : at + 2]) for at in range(len(shown))), words
    assert not re.search(r"href|<image|<script|url\(|@import", text)


def test_the_page_shows_each_picture():
    page = (ROOT / "docs" / "messages.md").read_text("utf-8")
    assert set(re.findall(r"!\[[^\]]+\]\(pictures/(\S+)\)", page)) == set(NAMES)
