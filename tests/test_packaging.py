"""What is in the package, what importing it costs, and which file may use which library."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import alerting

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "alerting"
CORE = (
    "codec",
    "engine",
    "errors",
    "expressions",
    "lifecycle",
    "metrics",
    "model",
    "routing",
    "rules",
    "units",
    "windows",
)
#: each third-party library, and the files that may import it
ROOMS = {
    "apprise": {"notifiers"},
    "cryptography": {"exchange", "loopback"},
    "jinja2": {"rendering"},
    "markupsafe": {"rendering"},
    "pydantic": {"answers", "problems", "rulesfile", "testfile"},
    "pydantic_core": {"answers", "problems", "rulesfile"},
    "requests": {"exchange", "heartbeat", "transport"},
    "urllib3": {"exchange", "transport"},
    "yaml": {"yamlfile"},
}


def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def loaded_after(statement):
    """The top-level names in sys.modules after a statement, in a process of its own."""
    code = f"{statement}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def imports(path):
    """The top-level names that a file imports, in functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


def test_types_and_templates_are_packaged():
    wheel = pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]

    assert wheel["packages"] == ["alerting"]
    assert wheel["force-include"] == {"templates": "alerting/templates"}
    assert (PACKAGE / "py.typed").exists()
    assert list((ROOT / "templates").glob("*.j2"))


def test_the_version_is_one_and_the_changelog_knows_it():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert pyproject()["tool"]["hatch"]["version"]["path"] == "alerting/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", alerting.__version__)
    assert f"## [{alerting.__version__}]" in changelog


def test_the_licence_is_there():
    assert pyproject()["project"]["license"] == "MIT"
    assert "the alerting maintainers" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_the_command_line_starts_without_any_library():
    assert not loaded_after("import alerting.cli") & set(ROOMS)


@pytest.mark.parametrize("module", CORE)
def test_the_core_needs_no_library_and_does_no_io(module):
    loaded = loaded_after(f"import alerting.{module}")

    assert not loaded & {*ROOMS, "logging", "sqlite3", "socket", "subprocess", "asyncio"}


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_each_library_stays_in_its_room(path):
    known = set(sys.stdlib_module_names) | {"alerting"}
    used = set(imports(path)) - known

    assert used <= set(ROOMS), "a library that the project does not depend on"
    assert {name for name in used if path.stem not in ROOMS[name]} == set()


@pytest.mark.parametrize("module", CORE)
def test_the_core_reads_no_clock(module):
    text = (PACKAGE / f"{module}.py").read_text(encoding="utf-8")

    assert re.findall(r"\.now\(|utcnow|\.today\(|monotonic|perf_counter|\btime\.time", text) == []


def test_the_linter_knows_the_same_core():
    contracts = pyproject()["tool"]["importlinter"]["contracts"]
    forbidden = next(c for c in contracts if c["type"] == "forbidden")

    assert forbidden["source_modules"] == [f"alerting.{name}" for name in CORE]
