"""The command line: the only reader of arguments and environment, and the only composition root."""

from __future__ import annotations

import argparse
import functools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from alerting import __version__, logs
from alerting.errors import AlertingError, ConfigError, StateBusyError, UsageError

if TYPE_CHECKING:
    from alerting.delivery import Result
    from alerting.exchange import WalletClient
    from alerting.runner import CycleResult
    from alerting.settings import Config
    from alerting.store import Store

FINE, FAILED, WRONG_USAGE = 0, 1, 2
# A second SIGTERM, or a shutdown that hangs longer than this, ends the process at once.
_SHUTDOWN_SECONDS = 15.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 fine, 1 failed or found problems, 2 wrong usage."""
    args = _parser().parse_args(argv)
    logs.set_up(args.log_level, args.log_format)
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        return command(args)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return WRONG_USAGE
    except UsageError as error:
        print(f"alerting: {error}", file=sys.stderr)
        return WRONG_USAGE
    except AlertingError as error:
        print(f"alerting: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except KeyboardInterrupt:
        return 130


def _now() -> datetime:
    return datetime.now(UTC)


# ── arguments ───────────────────────────────────────────────────────────────


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alerting",
        description="Margin alerts for perpetual futures on CoinSwitch PRO.",
        epilog="Start with `alerting demo`: it needs no keys and no network.",
    )
    parser.add_argument("--version", action="version", version=f"alerting {__version__}")
    _add_common(parser, top=True)
    common = argparse.ArgumentParser(add_help=False)
    _add_common(common, top=False)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(
        name: str, run: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, parents=[common])
        sub.set_defaults(command=run)
        return sub

    add("demo", _demo, "the whole product in 20 seconds, without keys or network")
    check = add("check", _check, "validate the rules file, its templates and receivers")
    check.add_argument("file", nargs="?", metavar="FILE", help="the rules file (default: as -c)")
    run = add("run", _run, "poll, judge and tell: a daemon, or with --once one cycle for cron")
    run.add_argument("--once", action="store_true", help="one cycle, then exit")
    status = add("status", _status, "accounts, alerts and the outbox")
    status.add_argument("--json", action="store_true", help="as a JSON document")
    send = add("send-test", _send_test, "send a real test message to each receiver")
    send.add_argument("receivers", nargs="*", metavar="RECEIVER", help="default: all")
    add("schema", _schema, "print the JSON Schema of the rules file, for editors")
    exchange = add("exchange", _exchange, "serve a loopback exchange for trying rules without keys")
    exchange.add_argument("--port", type=int, default=8787, help="default: 8787; 0: any free one")
    exchange.add_argument(
        "--wallet",
        type=Path,
        metavar="FILE",
        help="the answer to serve (JSON), read anew each time",
    )
    return parser


def _add_common(parser: argparse.ArgumentParser, *, top: bool) -> None:
    def default(value: str | None) -> str | None:
        # a sub-command's default must not overwrite what stood before the command
        return value if top else argparse.SUPPRESS

    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        default=default(None),
        help="the rules file (env: ALERTING_CONFIG; default: rules.yaml)",
    )
    parser.add_argument(
        "--state",
        metavar="PATH",
        default=default(None),
        help="the state file (env: ALERTING_STATE; default: `state:` of the rules file, "
        "else alerting.db beside it)",
    )
    parser.add_argument("--log-level", choices=logs.LEVELS, default=default("info"))
    parser.add_argument("--log-format", choices=logs.FORMATS, default=default("text"))


# ── composition ─────────────────────────────────────────────────────────────


def _config(args: argparse.Namespace) -> Config:
    from alerting.config import load_config

    return load_config(_config_path(args), environ=os.environ)


def _config_path(args: argparse.Namespace) -> Path:
    return Path(args.config or os.environ.get("ALERTING_CONFIG") or "rules.yaml")


def _state_path(args: argparse.Namespace, config: Config) -> Path:
    given = args.state or os.environ.get("ALERTING_STATE")
    return Path(given) if given else config.state or config.path.with_name("alerting.db")


# ── commands ────────────────────────────────────────────────────────────────


def _demo(args: argparse.Namespace) -> int:
    from alerting.demo import run_demo

    if args.log_level == "info":
        logs.set_up("error", args.log_format)
    return FINE if run_demo() else FAILED


def _check(args: argparse.Namespace) -> int:
    from alerting.config import load_config
    from alerting.exchange import check_key_pair
    from alerting.notifiers import receiver_problem
    from alerting.rendering import check_templates

    path = Path(args.file) if args.file else _config_path(args)
    try:
        config = load_config(path, environ=os.environ)
    except ConfigError as error:
        print(*error.problems, sep="\n")
        return FAILED
    problems = check_templates(config.templates, config.ruleset.rules)
    for name, receiver in config.receivers.items():
        problem = receiver_problem(receiver)
        if problem:
            problems.append(f"{path}: receivers.{name}: {problem}")
    for account in config.accounts.values():
        warning = check_key_pair(account)
        if warning:
            print(f"{path}: warning: accounts.{account.name}: {warning}", file=sys.stderr)
    if problems:
        print(*problems, sep="\n")
        return FAILED
    rules = config.ruleset
    counts = [(len(rules.rules), "rule"), (len(config.receivers), "receiver")]
    counts.append((len(rules.routes), "route"))
    print(", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts))
    return FINE


def _run(args: argparse.Namespace) -> int:
    from alerting.process import StateLock
    from alerting.store import Store

    config = _config(args)
    state = _state_path(args, config)
    try:
        with StateLock(state, now=_now()):
            store = Store(state, deliver_within=config.deliver_within)
            try:
                return _once(config, store) if args.once else _daemon(config, store)
            finally:
                store.close()
    except StateBusyError as error:
        print(f"alerting: {error}", file=sys.stderr)
        return FINE if args.once else FAILED


def _clients(config: Config) -> dict[str, WalletClient]:
    from alerting.exchange import WalletClient

    return {
        name: WalletClient(account, timeout=config.poll.timeout)
        for name, account in config.accounts.items()
    }


def _once(config: Config, store: Store) -> int:
    from alerting.assembly import build_cycle
    from alerting.runner import run_once

    deliveries: list[Result] = []
    cycle = build_cycle(config, store, clock=_now, on_result=deliveries.append)
    clients = _clients(config)
    result = run_once(cycle, clients, deliveries)
    for client in clients.values():
        client.close()
    print(_summary(result))
    return FINE if result.ok else FAILED


def _summary(result: CycleResult) -> str:
    from alerting.model import PollFailure
    from alerting.notifiers import Outcome

    failed = [name for name, poll in result.polls.items() if isinstance(poll, PollFailure)]
    sent = sum(r.attempt.outcome is Outcome.ACCEPTED for r in result.deliveries)
    text = f"{len(result.polls) - len(failed)} of {len(result.polls)} accounts read"
    text += f", {sent} messages sent"
    unsent = len(result.deliveries) - sent
    return text + (f", {unsent} not accepted" if unsent else "")


def _daemon(config: Config, store: Store) -> int:
    from alerting.assembly import build_cycle
    from alerting.notifiers import receiver_problem
    from alerting.process import Systemd
    from alerting.runner import Daemon

    for name, receiver in config.receivers.items():
        problem = receiver_problem(receiver)
        if problem:
            raise UsageError(f"receiver {name}: {problem}")
    clients = _clients(config)
    daemon = Daemon(
        build_cycle(config, store, clock=_now),
        clients,
        poll=config.poll,
        systemd=Systemd(os.environ),
    )
    stop = functools.partial(_on_signal, daemon.stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    daemon.run()
    return FINE


def _on_signal(stop: Callable[[], None], number: int, _frame: FrameType | None) -> None:
    stop()
    signal.signal(number, signal.SIG_DFL)
    last_resort = threading.Timer(_SHUTDOWN_SECONDS, os._exit, args=(FINE,))
    last_resort.daemon = True
    last_resort.start()


def _status(args: argparse.Namespace) -> int:
    from alerting import status
    from alerting.store import Store

    config = _config(args)
    path = _state_path(args, config)
    store = Store(path, deliver_within=config.deliver_within) if path.exists() else None
    view = status.overview(config, store, now=_now())
    if store is not None:
        store.close()
    if args.json:
        print(json.dumps(status.as_json(view), indent=2, ensure_ascii=False))
    else:
        print(status.as_text(view, config))
    return FINE


def _send_test(args: argparse.Namespace) -> int:
    from alerting.sendtest import send_tests

    config = _config(args)
    unknown = [name for name in args.receivers if name not in config.receivers]
    if unknown:
        known = ", ".join(config.receivers)
        raise UsageError(f"no receiver {unknown[0]!r} in {config.path}; there are: {known}")
    names = args.receivers or list(config.receivers)
    accepted = send_tests(config, names, now=_now(), state=_state_path(args, config))
    return FINE if accepted else FAILED


def _schema(_args: argparse.Namespace) -> int:
    from alerting.config import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return FINE


def _exchange(args: argparse.Namespace) -> int:
    from alerting.demo import serve_exchange

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    serve_exchange(port=args.port, wallet=args.wallet, stop=stop)
    return FINE
