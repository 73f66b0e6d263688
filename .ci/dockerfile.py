"""Carry out the Dockerfile without a Docker engine, and try the result.

Each stage is an overlay over this machine's own root in a private mount namespace, so that RUN and
COPY work on the real paths and leave nothing behind. The machine's Python stands in for the base
image's. Needs root; where mounts are not allowed, only the text is checked, and that is said.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIRED = {"USER", "HEALTHCHECK", "VOLUME", "ENTRYPOINT"}
RULES = """\
accounts:
  try: {{api_key: {api_key}, secret_key: {secret_key}, base_url: "{base_url}"}}
receivers:
  nobody: {{url: "json://127.0.0.1:9/"}}
routes:
  - receivers: [nobody]
rules:
  - {{name: never, per: wallet, value: total_balance, below: -1}}
"""


class WrongError(Exception):
    """What is wrong with the Dockerfile, in a sentence."""


@dataclass
class Stage:
    """One FROM and what was done on it."""

    name: str
    root: Path
    env: dict[str, str]
    workdir: str = "/"
    user: str = "0:0"
    words: dict[str, list[str]] = field(default_factory=dict)

    def run(self, command: list[str], *, may_fail: bool = False) -> subprocess.CompletedProcess:
        """Run a command in this stage as its user, in its folder."""
        script = f"cd {shlex.quote(self.workdir)} && exec " + shlex.join(command)
        done = subprocess.run(
            ["/usr/sbin/chroot", f"--userspec={self.user}", self.root, "/bin/sh", "-ec", script],
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        if done.returncode and not may_fail:
            raise WrongError(f"{shlex.join(command)} failed:\n{done.stdout}{done.stderr}")
        return done


def instructions() -> list[tuple[str, str]]:
    """Read the Dockerfile as (INSTRUCTION, rest), continuation lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    pairs = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(word.upper(), " ".join(rest.split())) for word, rest in pairs]


def in_context(path: str) -> bool:
    """Tell whether .dockerignore lets a path through: the last pattern that matches decides."""
    allowed = True
    parents = [path, *map(str, Path(path).parents)]
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.lstrip("!").removeprefix("**/")
        if line.startswith("#") or not pattern:
            continue
        names = [Path(p).name for p in parents] if "**/" in line else parents[:-1]
        if any(fnmatch.fnmatch(name, pattern) for name in names):
            allowed = line.startswith("!")
    return allowed


def check_text(steps: list[tuple[str, str]]) -> None:
    """Refuse a Dockerfile that would not build, or whose image would not be what docs promise."""
    last_from = max(i for i, (word, _) in enumerate(steps) if word == "FROM")
    final = dict(steps[last_from:])
    missing = REQUIRED - set(final)
    if missing:
        raise WrongError(f"the final stage lacks {', '.join(sorted(missing))}")
    if final["USER"].split(":")[0] in {"root", "0"}:
        raise WrongError("the final stage runs as root")
    if "/var/lib/alerting" not in final["VOLUME"]:
        raise WrongError("the state folder is no VOLUME")
    for word, rest in steps:
        if word in {"COPY", "ADD"} and "--from=" not in rest:
            for source in [p for p in rest.split() if not p.startswith("--")][:-1]:
                if not (ROOT / source).exists():
                    raise WrongError(f"COPY {source}: there is no such file")
                if not in_context(source):
                    raise WrongError(f"COPY {source}: .dockerignore leaves it out")


def new_stage(name: str, work: Path) -> Stage:
    """An overlay over this machine's root, with its Python as `python`."""
    folders = [work / name / part for part in ("upper", "work", "root")]
    for folder in folders:
        folder.mkdir(parents=True)
    upper, scratch, root = folders
    options = f"lowerdir=/,upperdir={upper},workdir={scratch}"
    mount("-t", "overlay", "overlay", "-o", options, root)
    for shared in ("proc", "dev"):
        mount("--rbind", f"/{shared}", root / shared)
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", root / "tmp")
    python = Path(os.path.realpath(sys.executable))
    for parent in python.parents[:-1]:
        inside = root / parent.relative_to("/")
        inside.chmod(inside.stat().st_mode | 0o011)  # in the overlay only
    link = root / python.with_name("python").relative_to("/")
    if not link.is_symlink():
        link.symlink_to(python.name)
    keep = {k: v for k, v in os.environ.items() if k.startswith("PIP_") or k.endswith("_proxy")}
    path = f"{python.parent}:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    return Stage(name=name, root=root, env={**keep, "PATH": path})


def mount(*arguments: str | Path) -> None:
    """Mount inside the private namespace."""
    subprocess.run(["mount", *arguments], check=True)


def build(steps: list[tuple[str, str]], work: Path) -> Stage:
    """Carry out the instructions; the last stage is the image."""
    stages: dict[str, Stage] = {}
    for word, rest in steps:
        print(f"  {word} {rest[:110]}", flush=True)
        if word == "FROM":
            name = rest.split()[2] if " AS " in rest.upper() else str(len(stages))
            stages[name] = new_stage(name, work)
            continue
        stage = list(stages.values())[-1]
        if word == "COPY":
            copy(rest.split(), stage, stages)
        elif word == "RUN":
            stage.run(["/bin/sh", "-c", rest])
        else:
            set_up(stage, word, rest)
    return list(stages.values())[-1]


def set_up(stage: Stage, word: str, rest: str) -> None:
    """Note an instruction that changes how the later ones, or the image, run."""
    if word == "ENV":
        for name, value in (pair.split("=", 1) for pair in shlex.split(rest)):
            stage.env[name] = value.replace("$PATH", stage.env["PATH"])
    elif word == "WORKDIR":
        stage.workdir = rest
        (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif word == "USER":
        stage.user = rest
    elif word in {"ENTRYPOINT", "CMD", "VOLUME", "HEALTHCHECK"}:
        stage.words[word] = json.loads(rest[rest.index("[") :]) if "[" in rest else [rest]
    else:
        raise WrongError(f"{word}: this checker does not know it")


def copy(words: list[str], stage: Stage, stages: dict[str, Stage]) -> None:
    """COPY, from the context (as .dockerignore leaves it) or from another stage."""
    flags = dict(word[2:].split("=") for word in words if word.startswith("--"))
    *sources, target = (word for word in words if not word.startswith("--"))
    base = stages[flags["from"]].root if "from" in flags else ROOT
    for source in sources:
        path = base / source.lstrip("/")
        into = target.endswith("/") or target == "."
        goal = stage.root / Path(stage.workdir, target).relative_to("/")
        goal = goal / path.name if into else goal
        goal.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            ignore = None if "from" in flags else shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, goal, symlinks=True, dirs_exist_ok=True, ignore=ignore)
        else:
            shutil.copy(path, goal)


def try_image(image: Stage) -> None:
    """Run the image with a read-only root, as docs/deploy.md does: version, a cycle, health."""
    volume = image.root / image.words["VOLUME"][0].lstrip("/")
    rules = image.root / "etc/alerting/rules.yaml"
    entry, health = image.words["ENTRYPOINT"], image.words["HEALTHCHECK"]
    exchange = subprocess.Popen(
        ["/usr/sbin/chroot", image.root, *entry, "exchange", "--port", "0"],
        env=image.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert exchange.stdout is not None
        said = {}
        while not {"base_url", "api_key", "secret_key"} <= set(said):
            name, _, value = exchange.stdout.readline().strip().partition(": ")
            said[name] = value
        rules.write_text(RULES.format(**said), encoding="utf-8")
        was = volume.stat()  # a new Docker volume takes over the folder's owner and mode
        options = f"uid={was.st_uid},gid={was.st_gid},mode={was.st_mode & 0o777:o}"
        mount("-t", "tmpfs", "-o", options, "tmpfs", volume)
        mount("-o", "remount,ro", image.root)
        print("  ", image.run([*entry, "--version"]).stdout.strip())
        image.run([*entry, "check"])
        if image.run(health, may_fail=True).returncode == 0:
            raise WrongError("the health check passes before anything was read")
        print("  ", image.run([*entry, *image.words["CMD"], "--once"]).stdout.strip())
        image.run(health)
        if image.run(["id", "-u"]).stdout.strip() == "0":
            raise WrongError("the image runs as root")
        if (volume / "alerting.db").stat().st_mode & 0o077:
            raise WrongError("others can read the state file")
    finally:
        exchange.terminate()
        exchange.communicate()


def main() -> int:
    """Check, build and try; exit code 0 if all is well."""
    steps = instructions()
    try:
        check_text(steps)
        if "--inside" not in sys.argv:
            inside = ["unshare", "--mount", "--propagation", "private"]
            if os.geteuid() or subprocess.run([*inside, "true"], check=False).returncode:
                print("The text is fine. Its steps were NOT run: this takes root and mounts.")
                return 0
            command = [*inside, sys.executable, __file__, "--inside"]
            return subprocess.run(command, check=False).returncode
        with tempfile.TemporaryDirectory() as folder:
            mount("-t", "tmpfs", "tmpfs", folder)
            try:
                try_image(build(steps, Path(folder)))
            finally:
                subprocess.run(["umount", "--recursive", "--lazy", folder], check=False)
    except WrongError as error:
        print(f"Dockerfile: {error}")
        return 1
    print("The Dockerfile builds, and its image runs and is healthy.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
