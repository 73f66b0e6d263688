"""`init`: a first rules file, from a few questions or from flags alone."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from alerting.cli import asking, context
from alerting.cli.arguments import Commands
from alerting.cli.context import FAILED, FINE
from alerting.config.starter import Source, Starter, starter_text
from alerting.errors import ConfigError, UsageError
from alerting.redaction import REDACTOR, Secret
from alerting.terminal import program

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_API_KEY, _SECRET_KEY = "COINSWITCH_API_KEY", "COINSWITCH_SECRET_KEY"
_FOLDER = "secrets"
_STOPPED = 130


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """A kind of receiver that has a flag of its own."""

    name: str
    flag: str
    looks: str
    where: str
    to_url: Callable[[str], str]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """What is to be written."""

    path: Path
    starter: Starter
    #: the rules file
    text: str
    #: file, relative to the rules file -> the secret that goes into it
    secrets: dict[str, str] = field(default_factory=dict)


# ── the kinds of receivers ──────────────────────────────────────────────────


def _slack_url(text: str) -> str:
    # as Slack shows it; Apprise's own form says what it is to whoever reads the file
    found = re.fullmatch(r"https://hooks\.slack\.com/services/([^/\s]+/[^/\s]+/[^/\s]+)/?", text)
    return f"slack://{found[1]}" if found else text


def _telegram_url(text: str) -> str:
    return text if "://" in text else f"tgram://{text}"


_KINDS = (
    _Kind(
        name="slack",
        flag="--slack",
        looks="the webhook's URL",
        where="Slack: api.slack.com/apps, your app, Incoming Webhooks, Add New Webhook",
        to_url=_slack_url,
    ),
    _Kind(
        name="telegram",
        flag="--telegram",
        looks="TOKEN/CHAT_ID",
        where="Telegram: @BotFather, /newbot gives the token; write to the bot, then "
        "https://api.telegram.org/botTOKEN/getUpdates shows the chat's id",
        to_url=_telegram_url,
    ),
    _Kind(
        name="email",
        flag="--email",
        looks="mailtos://USER:PASSWORD@HOST?to=ADDRESS",
        where="E-mail: your provider's SMTP host, and an app password if it has those",
        to_url=str,
    ),
)
_WHERE_KEYS = "CoinSwitch PRO: the account's menu, API Trading, Create API Key (it shows both once)"


# ── the command ─────────────────────────────────────────────────────────────


def add(commands: Commands) -> None:
    """Add the command."""
    init = commands.add("init", _init, "write a first rules file, asking what it needs")
    init.add_argument(
        "--output", type=Path, metavar="FILE", help="what to write (default: rules.yaml, or -c)"
    )
    init.add_argument("--force", action="store_true", help="replace files that are there")
    init.add_argument(
        "-y", "--yes", action="store_true", help="ask nothing; what is not given is the default"
    )
    init.add_argument(
        "--test",
        action=argparse.BooleanOptionalAction,
        help="send a test message to each receiver at the end (default: ask)",
    )
    _add_account(init)
    receivers = init.add_argument_group(
        "receivers",
        "At least one; the first is told of everything, all are told what is critical. A VALUE of "
        "${NAME} stays a variable; @FILE takes it from a file, so that it is in no list of "
        "processes. Any other is kept in a file of mode 0600 beside the rules.",
    )
    receivers.add_argument(
        "--receiver", action="append", default=[], metavar="NAME=VALUE", help="any Apprise URL"
    )
    for kind in _KINDS:
        receivers.add_argument(kind.flag, metavar="VALUE", help=kind.looks)


def _add_account(init: argparse.ArgumentParser) -> None:
    account = init.add_argument_group("the account")
    account.add_argument("--account", metavar="NAME", help="what messages call it; default: main")
    for flag, variable in (("--api-key", _API_KEY), ("--secret-key", _SECRET_KEY)):
        each = account.add_mutually_exclusive_group()
        each.add_argument(
            f"{flag}-env", metavar="NAME", help=f"the variable that holds it (default: {variable})"
        )
        each.add_argument(
            f"{flag}-file", metavar="FILE", help="the file that holds it (it is not copied)"
        )
    account.add_argument("--base-url", metavar="URL", help="of another exchange, as a sandbox's")


def _init(args: argparse.Namespace) -> int:
    try:
        plan = _planned(args)
        _write(plan, force=args.force)
    except KeyboardInterrupt:
        print("\nalerting: stopped; nothing was written", file=sys.stderr)
        return _STOPPED
    except EOFError:
        print("\nalerting: no more input; nothing was written", file=sys.stderr)
        return FAILED
    _tell(plan)
    return _test(args, plan)


def _planned(args: argparse.Namespace) -> _Plan:
    path = args.output or Path(args.config or os.environ.get("ALERTING_CONFIG") or "rules.yaml")
    _refuse_existing([path], force=args.force)
    interactive = not args.yes and asking.at_a_terminal()
    secrets: dict[str, str] = {}
    given = list(_given_receivers(args))
    if not given and not interactive:
        flags = ", ".join(f"{kind.flag} {kind.looks}" for kind in _KINDS)
        raise UsageError(f"nobody to tell: give one or more of {flags}, --receiver NAME=URL")
    account = args.account or (asking.ask("Name of the account", "main") if interactive else "main")
    keys = (
        _key(args, "api_key", _API_KEY, secrets, interactive=interactive),
        _key(args, "secret_key", _SECRET_KEY, secrets, interactive=interactive),
    )
    receivers = [(name, _receiver(name, url, secrets)) for name, url in given or _asked_receivers()]
    starter = Starter(account=account, keys=keys, base_url=args.base_url, receivers=receivers)
    plan = _Plan(path=path, starter=starter, text=starter_text(starter), secrets=secrets)
    _check(plan)
    return plan


# ── what is asked or given ──────────────────────────────────────────────────


def _key(
    args: argparse.Namespace,
    key: str,
    variable: str,
    secrets: dict[str, str],
    *,
    interactive: bool,
) -> Source:
    named, file = getattr(args, f"{key}_env"), getattr(args, f"{key}_file")
    if file is not None:
        return Source(key=key, file=str(Path(file).absolute()))
    if named is not None or not interactive:
        _check_variable(f"--{key.replace('_', '-')}-env", named or variable)
        return Source(key=key, variable=named or variable)
    if key == "api_key":
        print(f"{_WHERE_KEYS}.")
    judge = _secret_key_problem if key == "secret_key" else _api_key_problem
    typed = asking.ask_secret(f"{key} (unseen; empty: from the variable {variable})", judge=judge)
    if not typed:
        return Source(key=key, variable=variable)
    REDACTOR.learn_key(typed)
    return _kept(key, key, typed, secrets)


def _api_key_problem(text: str) -> str | None:
    return None if re.fullmatch(r"[!-~]*", text) else "no API key has such a character"


def _secret_key_problem(text: str) -> str | None:
    from alerting.exchanges.coinswitch.keys import secret_key_problem

    return secret_key_problem(Secret(text)) if text else None


def _given_receivers(args: argparse.Namespace) -> Iterable[tuple[str, str]]:
    for kind in _KINDS:
        value = getattr(args, kind.name)
        if value is not None:
            yield kind.name, _url(kind.flag, value, kind.to_url)
    for text in args.receiver:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError("--receiver must be NAME=URL, such as desk=slack://…")
        yield name, _url(f"--receiver {name}", value, _slack_url)


def _url(flag: str, value: str, to_url: Callable[[str], str]) -> str:
    """The URL that a flag means, which could work; or the variable that holds it."""
    from alerting.files import UnreadableError, read_text

    if value.startswith("@"):
        try:
            value = read_text(Path(value[1:]), most=64 * 1024).strip()
        except UnreadableError as error:
            raise UsageError(f"{flag}: the file {value[1:]} {error}") from None
    if _VARIABLE.fullmatch(value):
        return value
    url = to_url(value)
    problem = _url_problem(url)
    if problem:
        raise UsageError(f"{flag}: {problem}")
    return url


def _url_problem(url: str) -> str | None:
    from alerting.notify.receivers import receiver_problem
    from alerting.notify.settings import ReceiverSettings

    return receiver_problem(ReceiverSettings(name="new", url=Secret(url)))


def _asked_receivers() -> list[tuple[str, str]]:
    """Who is to be told; at least one."""
    found: list[tuple[str, str]] = []
    while not found:
        print("Who is to be told? Leave empty what you do not have.")
        for kind in _KINDS:
            print(f"{kind.where}.")
            to_url = kind.to_url

            def judge(text: str, to_url: Callable[[str], str] = to_url) -> str | None:
                return _url_problem(to_url(text)) if text else None

            typed = asking.ask_secret(f"{kind.name}: {kind.looks} (unseen)", judge=judge)
            if typed:
                found.append((kind.name, kind.to_url(typed)))
    return found


def _receiver(name: str, url: str, secrets: dict[str, str]) -> Source:
    variable = _VARIABLE.fullmatch(url)
    if variable:
        return Source(key="url", variable=variable[1])
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise UsageError(f"--receiver {name!r}: a name has letters, digits and _ . - only")
    return _kept("url", f"{name}_url", url, secrets)


def _kept(key: str, name: str, secret: str, secrets: dict[str, str]) -> Source:
    file = f"{_FOLDER}/{name}"
    secrets[file] = secret
    return Source(key=key, file=file)


def _check_variable(flag: str, name: str) -> None:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise UsageError(f"{flag} {name!r} is no name of a variable, such as {_API_KEY}")


# ── writing ─────────────────────────────────────────────────────────────────


def _check(plan: _Plan) -> None:
    """Before anything is written: what `check` would refuse, whatever the secrets are."""
    from alerting.config.load import Depth, Secrets, load_document
    from alerting.config.yaml_reader import read_yaml

    doubled = [name for name, _ in plan.starter.receivers]
    twice = next((name for name in doubled if doubled.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two receivers are named {twice}; give one another name with --receiver")
    try:
        document = read_yaml(plan.text, file="the new rules file")
        load_document(
            document,
            path=plan.path,
            environ={},
            secrets=Secrets.IGNORED,
            depth=Depth.STRUCTURE,
        )
    except ConfigError as error:
        # where it stands helps nobody: there is no file yet
        wrong = "; ".join(f"{each.path}: {each.message}" for each in error.problems)
        raise UsageError(f"nothing was written: {wrong}") from None


def _refuse_existing(paths: Iterable[Path], *, force: bool) -> None:
    for path in paths:
        if not force and os.path.lexists(path):
            raise UsageError(f"{path} is there already; --force replaces it, --output is another")


def _write(plan: _Plan, *, force: bool) -> None:
    files = {plan.path.parent / name: secret + "\n" for name, secret in plan.secrets.items()}
    _refuse_existing([*files, plan.path], force=force)
    try:
        if files:
            (plan.path.parent / _FOLDER).mkdir(mode=0o700, exist_ok=True)
        # the rules last: until they are there, nothing counts
        for path, text in {**files, plan.path: plan.text}.items():
            _put(path, text, force=force)
    except FileExistsError as error:
        raise UsageError(f"{error.filename2 or error.filename} is there already") from None
    except OSError as error:
        raise UsageError(f"{plan.path} cannot be written: {error.strerror}") from None


def _put(path: Path, text: str, *, force: bool) -> None:
    """All of it or nothing, readable by its owner only from the start."""
    import tempfile

    # mkstemp's mode is 0600
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if force:
            Path(name).replace(path)
        else:
            # unlike a rename, a link never replaces what somebody made meanwhile
            os.link(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


# ── afterwards ──────────────────────────────────────────────────────────────


def _variables(plan: _Plan) -> list[str]:
    sources = [*plan.starter.keys, *(source for _, source in plan.starter.receivers)]
    return list(dict.fromkeys(each.variable for each in sources if each.variable))


def _tell(plan: _Plan) -> None:
    print(f"wrote {plan.path} (mode 0600)")
    for name in plan.secrets:
        print(f"wrote {plan.path.parent / name} (mode 0600)")
    variables = _variables(plan)
    if variables:
        print("\nIt needs these variables:\n")
        print(f"  export {' '.join(f'{name}=...' for name in variables)}")
    if {_API_KEY, _SECRET_KEY} & set(variables):
        print(f"\n{_WHERE_KEYS}.")
    call = f"{program()}{_where(plan.path)}"
    print(f"""
Next:
  {call} check --online    asks the exchange and each receiver's service
  {call} run               or `run --once`, each minute, from cron""")


def _where(path: Path) -> str:
    return "" if path == Path("rules.yaml") else f" -c {path}"


def _test(args: argparse.Namespace, plan: _Plan) -> int:
    missing = [name for name in _variables(plan) if not os.environ.get(name)]
    if args.test is False or (args.test is None and (missing or not _offered(args))):
        return FINE
    from alerting.cli.send_test import send_tests

    config = context.load(plan.path)
    state = context.state_path(args, config)
    sent = send_tests(config, list(config.receivers), now=context.now(), state=state)
    return FINE if sent else FAILED


def _offered(args: argparse.Namespace) -> bool:
    if args.yes or not asking.at_a_terminal():
        return False
    try:
        return asking.agree("\nSend a test message to each receiver now?")
    except (EOFError, KeyboardInterrupt):
        # the file is written: there is nothing to take back
        print()
        return False
