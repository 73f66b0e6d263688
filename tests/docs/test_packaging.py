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

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "alerting"
CORE = sorted(
    str(path.relative_to(PACKAGE).with_suffix("")).replace("/", ".")
    for path in (
        *PACKAGE.glob("engine/*.py"),
        PACKAGE / "errors.py",
        PACKAGE / "units.py",
        PACKAGE / "display.py",
    )
)
#: each third-party library, and the folders whose files may import it
ROOMS = {
    "apprise": {"notify"},
    "cryptography": {"exchanges", "sandbox"},
    "jinja2": {"messages"},
    "markupsafe": {"messages"},
    "pydantic": {"config", "exchanges", "ruletest", "store"},
    "pydantic_core": {"config", "exchanges"},
    "requests": {"exchanges", "monitoring", "net"},
    "shtab": {"cli"},
    "urllib3": {"exchanges", "net"},
    "yaml": {"config"},
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


def test_types_templates_the_example_and_deploy_files_are_packaged():
    wheel = pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]

    assert wheel["packages"] == ["alerting"]
    assert wheel["force-include"] == {
        "templates": "alerting/templates",
        "rules.example.yaml": "alerting/rules.example.yaml",
        "deploy": "alerting/deploy",
    }
    assert (PACKAGE / "py.typed").exists()
    assert list((ROOT / "templates").glob("*.j2"))


def test_the_version_is_one_and_the_changelog_knows_it():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert pyproject()["tool"]["hatch"]["version"]["path"] == "alerting/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", alerting.__version__)
    assert f"## [{alerting.__version__}]" in changelog


def test_the_package_has_a_name_of_its_own_and_nothing_says_another():
    project = pyproject()["project"]

    assert project["name"] == "margin-alerting"
    assert project["scripts"] == {"alerting": "alerting.cli.main:main"}
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "Dockerfile"]
    wrong = re.compile(r"(pip|pipx|uv)\b[^\n]* install[^\n]* alerting\b")
    assert [page.name for page in pages if wrong.search(page.read_text(encoding="utf-8"))] == []
    assert "margin-alerting" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_licence_is_there():
    assert pyproject()["project"]["license"] == "MIT"
    assert "the alerting maintainers" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_the_command_line_starts_without_any_library():
    assert not loaded_after("import alerting.cli.main") & set(ROOMS)


@pytest.mark.parametrize("module", CORE)
def test_the_core_needs_no_library_and_does_no_io(module):
    loaded = loaded_after(f"import alerting.{module}")

    assert not loaded & {*ROOMS, "logging", "sqlite3", "socket", "subprocess", "asyncio"}


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_each_library_stays_in_its_room(path):
    known = set(sys.stdlib_module_names) | {"alerting"}
    used = set(imports(path)) - known

    assert used <= set(ROOMS), "a library that the project does not depend on"
    assert {name for name in used if path.relative_to(PACKAGE).parts[0] not in ROOMS[name]} == set()


@pytest.mark.parametrize("module", CORE)
def test_the_core_reads_no_clock(module):
    text = (PACKAGE / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")

    assert re.findall(r"\.now\(|utcnow|\.today\(|monotonic|perf_counter|\btime\.time", text) == []


def test_the_linter_knows_the_same_core():
    contracts = pyproject()["tool"]["importlinter"]["contracts"]
    forbidden = next(c for c in contracts if c["type"] == "forbidden")

    assert forbidden["source_modules"] == [
        "alerting.engine",
        "alerting.units",
        "alerting.errors",
        "alerting.display",
    ]
