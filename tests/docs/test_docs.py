"""What the documents say is true: their YAML loads, their links lead somewhere, their commands exist."""

from __future__ import annotations

import configparser
import itertools
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from alerting.cli import main as cli
from alerting.config.load import Depth, load_config

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# the first test vector of RFC 8032: nobody's key
ENVIRON = {
    "COINSWITCH_API_KEY": "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    "COINSWITCH_SECRET_KEY": "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "SLACK_URL": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/",
    "TELEGRAM_URL": "tgram://123456789:abcdefg_hijklmnop-qrstuvwxyz1234567/12315544/",
    "EMAIL_URL": "mailtos://user:pass@example.org?to=you@example.org",
}
SECRET_FILES = {
    "api_key": ENVIRON["COINSWITCH_API_KEY"],
    "secret_key": ENVIRON["COINSWITCH_SECRET_KEY"],
    "slack_url": ENVIRON["SLACK_URL"],
}
ROUTES_AND_RULES = {
    "routes": [{"receivers": ["desk"]}],
    "rules": [{"name": "floor", "per": "wallet", "value": "total_balance", "below": 1}],
}


def blocks(language):
    """Each fenced block of a language in README and docs, named by its page and line."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(
            rf"^( *)```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE
        ):
            indent, body = match.groups()
            line = text[: match.start()].count("\n") + 1
            body = re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)
            yield pytest.param(body, id=f"{page.relative_to(ROOT)}:{line}")


def documents(body):
    return list(yaml.safe_load_all(body))


def rules_files(body):
    """The rules files in a YAML block: itself, or what a ConfigMap holds."""
    for document in documents(body):
        if "accounts" in document:
            yield document
        if document.get("kind") == "ConfigMap":
            yield yaml.safe_load(document["data"]["rules.yaml"])


def load(text, folder):
    secrets = folder / "secrets"
    secrets.mkdir()
    for name, value in SECRET_FILES.items():
        (secrets / name).write_text(value)
    path = folder / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, environ=ENVIRON, depth=Depth.RECEIVERS)


# ── YAML ────────────────────────────────────────────────────────────────────


def test_the_example_is_a_valid_rules_file(tmp_path):
    config = load((ROOT / "rules.example.yaml").read_text(encoding="utf-8"), tmp_path)

    assert list(config.receivers) == ["desk", "phone", "mail"]
    assert config.warnings == ()


@pytest.mark.parametrize("body", list(blocks("yaml")))
def test_each_yaml_block_parses_and_each_rules_file_in_it_loads(body, tmp_path):
    assert all(isinstance(document, dict) for document in documents(body))

    for number, rules in enumerate(rules_files(body)):
        # a block that shows only accounts and receivers is completed with the least there can be
        whole = yaml.safe_dump(ROUTES_AND_RULES | rules)
        folder = tmp_path / str(number)
        folder.mkdir()
        config = load(whole, folder)
        assert config.accounts
        # what the least there can be does not use is no fault of the block
        assert config.warnings == () or not ROUTES_AND_RULES.keys() <= rules.keys()


def test_the_readmes_rules_load_as_they_stand(tmp_path):
    body = next(p.values[0] for p in blocks("yaml") if p.id.startswith("README.md"))

    config = load(body, tmp_path)

    assert [rule.name for rule in config.ruleset.rules] == ["available-balance-floor"]


def test_the_documents_show_rules_files():
    shown = [
        param.id.split(":")[0] for param in blocks("yaml") if any(rules_files(param.values[0]))
    ]

    assert {"README.md", "docs/commands.md", "docs/deploy.md"} <= set(shown)


# ── links ───────────────────────────────────────────────────────────────────


def links():
    for page in PAGES:
        text = re.sub(
            r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
        )
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if not re.match(r"[a-z]+:", target):
                yield pytest.param(page, target, id=f"{page.relative_to(ROOT)}->{target}")


def anchors(page):
    """The anchors of a page's headings, made as code forges make them."""
    text = re.sub(
        r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize(("page", "target"), list(links()))
def test_each_link_leads_somewhere(page, target):
    path, _, anchor = target.partition("#")
    goal = (page.parent / path).resolve() if path else page

    assert goal.is_relative_to(ROOT), "it leaves the repository"
    assert goal.exists()
    if anchor:
        assert anchor in set(anchors(goal))


# ── README ──────────────────────────────────────────────────────────────────


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150


def test_the_readmes_two_commands_are_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for script in ("scripts/demo", "scripts/test"):
        assert script in text
        assert (ROOT / script).stat().st_mode & 0o111, f"{script} cannot be executed"


def calls():
    """The arguments of each call of `alerting` in code of the documents: shell, cron, unit, inline."""
    found = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        code = re.findall(r"`([^`\n]+)`", text)
        for body in re.findall(
            r"^ *```(?:sh|crontab|ini)\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE
        ):
            code += body.replace("ExecStart=", "").splitlines()
        for line in code:
            if argv := arguments(line):
                found[" ".join(argv)] = pytest.param(argv, id=f"{page.name}: {' '.join(argv)}")
    return list(found.values())


def arguments(line):
    """What follows the program's name, where that is no user, unit or image: `-u alerting`."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # an apostrophe in prose or a comment: no command
        return []
    names = [
        index
        for index, (before, word) in enumerate(zip(["", *words], words, strict=False))
        if Path(word).name == "alerting" and (before == "--rm" or not before.startswith("-"))
    ]
    rest = words[names[-1] + 1 :] if names else []
    return list(itertools.takewhile(lambda word: word not in {">", "|", ";", "&&"}, rest))


def program_commands():
    return next(a.choices for a in cli._parser()._actions if isinstance(a.choices, dict))


def test_commands_are_looked_for_in_the_right_places():
    shown = [param.values[0] for param in calls()]

    assert ["run"] in shown  # the unit
    assert ["demo"] in shown  # docker run
    assert [
        "-c",
        "/etc/alerting/rules.yaml",
        "run",
        "--once",
        "--log-level",
        "warning",
    ] in shown  # cron


@pytest.mark.parametrize("argv", calls())
def test_each_documented_call_is_one_that_the_program_takes(argv):
    assert cli._parser().parse_args(argv).command


def test_each_command_is_documented():
    pages = [page for page in PAGES if page.name != "CHANGELOG.md"]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)

    assert [name for name in program_commands() if f"alerting {name}" not in text] == []


# ── architecture ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "folder", sorted(p.parent.name for p in (ROOT / "alerting").glob("*/__init__.py"))
)
def test_each_folder_stands_in_the_drawing(folder):
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    drawing = re.search(r"```\n(.*?)```", text, re.DOTALL)[1]

    assert re.search(rf"\b{folder}\b", drawing)


# ── deployment ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "deploy").iterdir()))
def test_each_deploy_file_is_shown_as_it_is(name):
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    shown = re.search(rf"\(\.\./deploy/{re.escape(name)}\):\n\n```\w+\n(.*?)```", page, re.DOTALL)

    assert shown, "the page does not show it"
    assert shown[1] == (ROOT / "deploy" / name).read_text(encoding="utf-8")


def unit():
    body = next(blocks("ini")).values[0]
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read_string(body)
    return parser


def test_the_unit_keeps_the_program_alive_and_in_its_place():
    service = unit()["Service"]

    assert service["Type"] == "notify"
    assert service["Restart"] == "always"
    assert service["WatchdogSec"]
    assert service["StateDirectory"] == "alerting"
    assert service["ExecStart"].endswith("/alerting run")


def kubernetes(kind):
    found = (doc for param in blocks("yaml") for doc in documents(param.values[0]))
    return next(doc for doc in found if doc.get("kind") == kind)


def test_kubernetes_never_runs_two_pods_on_one_state():
    deployment, job = kubernetes("Deployment"), kubernetes("CronJob")

    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert job["spec"]["concurrencyPolicy"] == "Forbid"


def test_file_names_are_the_same_everywhere():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for name in ("/etc/alerting/rules.yaml", "/var/lib/alerting/alerting.db"):
        assert name in dockerfile
        assert name in (ROOT / "docs/deploy.md").read_text(encoding="utf-8")


# ── dependencies ────────────────────────────────────────────────────────────


def test_nothing_is_installed_but_what_is_needed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in project["dependencies"]}

    assert names == {
        "apprise",
        "cryptography",
        "jinja2",
        "pydantic",
        "pyyaml",
        "requests",
        "shtab",
        "tzdata",
        "urllib3",
    }


def test_each_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    wanted = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
    ]

    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    names = {pin.split("==")[0].lower() for pin in pins}
    assert {re.match(r"[\w-]+", requirement)[0].lower() for requirement in wanted} <= names


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_the_lock_is_the_pins_with_hashes(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    locked = re.findall(r"^([\w.-]+)(?:\[\w,]+\])?==([\w.]+) \\$", text, re.MULTILINE)
    pins = dict(
        line.lower().split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    )

    assert locked
    assert {n.lower().replace("-", "_"): v for n, v in locked}.items() <= {
        n.replace("-", "_"): v for n, v in pins.items()
    }.items()
    assert text.count("--hash=sha256:") > 2 * len(locked)
    assert "://" not in text


def test_the_lock_has_all_that_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, wanted in (
        ("requirements.lock", project["dependencies"]),
        ("requirements-dev.lock", project["optional-dependencies"]["dev"]),
    ):
        text = (ROOT / name).read_text(encoding="utf-8").lower()
        for requirement in wanted:
            asked = re.match(r"[\w-]+", requirement)[0].lower()
            assert re.search(rf"^{asked}(\[|==)", text, re.MULTILINE)
