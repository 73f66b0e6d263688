"""The command line: the only reader of arguments and environment, and the only composition root."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from alerting import __version__, logs
from alerting.errors import (
    AlertingError,
    ConfigError,
    NotFoundError,
    StateBusyError,
    StoreError,
    UsageError,
)
from alerting.units import format_duration

if TYPE_CHECKING:
    from alerting.config.settings import Config
    from alerting.exchanges.coinswitch.client import WalletClient
    from alerting.monitoring.monitor import Monitoring
    from alerting.notify.dispatcher import Result
    from alerting.notify.last_resort import Emergency
    from alerting.service.cycle import CycleResult
    from alerting.store.state import Store

log = logging.getLogger("alerting")

FINE, FAILED, WRONG_USAGE = 0, 1, 2
# A second SIGTERM, or a shutdown that hangs longer than this, ends the process at once.
_SHUTDOWN_SECONDS = 15.0
# A message past the outbox gets so long before the process ends.
_EMERGENCY_SECONDS = 10.0


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
    # milliseconds are more than anybody reads, and fewer digits in every message
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


#: Adds a sub-command to the parser.
Adder = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]


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
    run.add_argument(
        "--listen", metavar="HOST:PORT", help="serve /healthz and /metrics (not with --once)"
    )
    run.add_argument(
        "--metrics-file",
        type=Path,
        metavar="PATH",
        help="write the metrics for node_exporter's textfile collector",
    )
    status = add("status", _status, "accounts, alerts and the outbox")
    status.add_argument("--json", action="store_true", help="as a JSON document")
    send = add("send-test", _send_test, "send a real test message to each receiver")
    send.add_argument("receivers", nargs="*", metavar="RECEIVER", help="default: all")
    explain = add("explain", _explain, "why a rule is or is not firing, and who was told")
    explain.add_argument("rule", metavar="RULE")
    explain.add_argument("--symbol", metavar="S", help="only this symbol's row")
    explain.add_argument("--at", metavar="T", help="an instant such as 2026-01-01T00:00:00Z")
    _add_silence(add)
    ack = add("ack", _ack, "stop the reminders of an alert until it escalates or resolves")
    ack.add_argument("id", metavar="ID", help="the short id in the message, or how it begins")
    ack.add_argument("--author", help="default: user@host")
    _add_history(add)
    _add_replay(add)
    test = add("test", _test, "run tests of rules: a wallet moves, who is told what")
    test.add_argument("files", nargs="+", type=Path, metavar="FILE", help="test files")
    test.add_argument("--junit", type=Path, metavar="PATH", help="write a JUnit report, for CI")
    test.add_argument("--verbose", action="store_true", help="show each test step by step")
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


def _add_silence(add: Adder) -> None:
    silence = add("silence", _silence_list, "keep alerts quiet for a while")
    actions = silence.add_subparsers(metavar="add|list|remove", required=True)
    new = actions.add_parser("add", help="silence what matches all of LABEL=GLOB")
    new.add_argument("matchers", nargs="+", metavar="LABEL=GLOB")
    new.add_argument("--for", required=True, dest="duration", metavar="DURATION")
    new.add_argument("--reason", required=True)
    new.add_argument("--author", help="default: user@host")
    new.set_defaults(command=_silence_add)
    actions.add_parser("list", help="silences that have not ended").set_defaults(
        command=_silence_list
    )
    remove = actions.add_parser("remove", help="end a silence now")
    remove.add_argument("id", type=int, metavar="ID")
    remove.set_defaults(command=_silence_remove)


def _add_history(add: Adder) -> None:
    history = add("history", _history_export, "the recorded polls")
    actions = history.add_subparsers(metavar="export", required=True)
    export = actions.add_parser("export", help="as JSON Lines, for `replay`")
    export.add_argument("--from", dest="since", metavar="T", help="from this instant on")
    export.add_argument("--to", dest="until", metavar="T", help="up to this instant, exclusive")
    export.set_defaults(command=_history_export)


def _add_replay(add: Adder) -> None:
    sub = add("replay", _replay, "recorded polls through the rules: what would have been sent")
    sub.add_argument("file", metavar="FILE", help="JSON Lines, plain or gzip; - reads stdin")
    sub.add_argument("--json", action="store_true", help="as JSON Lines, without a summary")
    sub.add_argument("--against", metavar="OLD.yaml", help="say what differs from these rules")
    sub.add_argument("--from", dest="since", metavar="T", help="from this instant on")
    sub.add_argument("--to", dest="until", metavar="T", help="up to this instant, exclusive")
    sub.add_argument("--timezone", metavar="ZONE", default="UTC", help="for messages at night")


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
    return _load(_config_path(args))


def _load(path: Path, *, everything: bool = False) -> Config:
    from alerting.config.load import Depth, load_config

    depth = Depth.EVERYTHING if everything else Depth.STRUCTURE
    return load_config(path, environ=os.environ, depth=depth)


def _config_path(args: argparse.Namespace) -> Path:
    return Path(args.config or os.environ.get("ALERTING_CONFIG") or "rules.yaml")


def _state_path(args: argparse.Namespace, config: Config) -> Path:
    given = args.state or os.environ.get("ALERTING_STATE")
    return Path(given) if given else config.state or config.path.with_name("alerting.db")


# ── commands ────────────────────────────────────────────────────────────────


def _demo(args: argparse.Namespace) -> int:
    from alerting.sandbox.demo import run_demo

    if args.log_level == "info":
        logs.set_up("error", args.log_format)
    return FINE if run_demo() else FAILED


def _check(args: argparse.Namespace) -> int:
    path = Path(args.file) if args.file else _config_path(args)
    try:
        config = _load(path, everything=True)
    except ConfigError as error:
        print(*error.problems, sep="\n")
        return FAILED
    for each in config.warnings:
        print(f"{each.file}: warning: {each.path}: {each.message}", file=sys.stderr)
    counts = [(len(config.ruleset.rules), "rule"), (len(config.receivers), "receiver")]
    counts.append((len(config.ruleset.routes), "route"))
    print(", ".join(_count(number, noun) for number, noun in counts))
    return FINE


def _run(args: argparse.Namespace) -> int:
    from alerting.monitoring.monitor import Monitoring
    from alerting.notify.last_resort import Emergency
    from alerting.service.process import StateLock
    from alerting.store.state import Store

    if args.once and args.listen:
        raise UsageError("--listen is for the daemon; with --once, use --metrics-file")
    config = _load(_config_path(args), everything=not args.once)
    state = _state_path(args, config)
    told = Emergency(config.receivers, state, after=config.ruleset.blind_after, clock=_now)
    try:
        with StateLock(state, now=_now()):
            store = Store(state, deliver_within=config.deliver_within)
            monitoring = Monitoring(config, store, clock=_now, metrics_file=args.metrics_file)
            try:
                if args.once:
                    return _once(config, store, told, monitoring)
                monitoring.start(listen=args.listen)
                return _daemon(config, store, told, monitoring)
            finally:
                monitoring.stop()
                store.close()
    except StateBusyError as error:
        print(f"alerting: {error}", file=sys.stderr)
        return FINE if args.once else FAILED
    except StoreError as error:
        told.give_up(error)
        raise
    finally:
        told.wait(seconds=_EMERGENCY_SECONDS)


def _clients(
    config: Config, *, keep: Mapping[str, WalletClient] | None = None, before: Config | None = None
) -> dict[str, WalletClient]:
    """A client per account; after a reload those whose settings are as before go on."""
    from alerting.exchanges.coinswitch.client import WalletClient

    def same(name: str) -> bool:
        return before is not None and (before.accounts.get(name), before.poll.timeout) == (
            config.accounts[name],
            config.poll.timeout,
        )

    kept = {name: client for name, client in (keep or {}).items() if name in config.accounts}
    return {
        name: kept[name]
        if name in kept and same(name)
        else WalletClient(account, timeout=config.poll.timeout)
        for name, account in config.accounts.items()
    }


def _once(config: Config, store: Store, emergency: Emergency, monitoring: Monitoring) -> int:
    from alerting.service.build import build_cycle
    from alerting.service.cycle import run_once

    began = _now()
    deliveries: list[Result] = []
    cycle = build_cycle(config, store, clock=_now, on_result=deliveries.append)
    clients = _clients(config)
    result = run_once(cycle, clients, deliveries)
    emergency.report("cycle", None)
    for client in clients.values():
        client.close()
    print(_summary(result), flush=True)
    written = monitoring.after_cycle(began=began)
    return FINE if result.ok and written else FAILED


def _summary(result: CycleResult) -> str:
    from alerting.engine.model import PollFailure
    from alerting.notify.receivers import SendOutcome

    failed = [name for name, poll in result.polls.items() if isinstance(poll, PollFailure)]
    sent = sum(r.attempt.outcome is SendOutcome.ACCEPTED for r in result.deliveries)
    text = f"{len(result.polls) - len(failed)} of {_count(len(result.polls), 'account')} read"
    text += f", {_count(sent, 'message')} sent"
    unsent = len(result.deliveries) - sent
    return text + (f", {unsent} not accepted" if unsent else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _daemon(config: Config, store: Store, emergency: Emergency, monitoring: Monitoring) -> int:
    from alerting.config.reload import Reloader, differences
    from alerting.service.build import build_cycle
    from alerting.service.cycle import Daemon
    from alerting.service.process import Systemd

    clients = _clients(config)
    recovered = store.recover()
    if recovered:
        log.warning("%d messages were being sent when the last run ended", recovered)
    reloader = Reloader(config.path, lambda: _load(config.path, everything=True))
    signal.signal(signal.SIGHUP, lambda *_: reloader.ask())

    def report(what: str, error: StoreError | None) -> None:
        emergency.report(what, error)
        monitoring.report(what, error)

    while True:
        daemon = Daemon(
            build_cycle(config, store, clock=_now),
            clients,
            poll=config.poll,
            systemd=Systemd(os.environ),
            on_state=report,
            reload=reloader.check,
        )
        monitoring.watch(config, stalled=daemon.stalled)
        stop = functools.partial(_on_signal, daemon.stop)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        log.info(
            "watching %s every %s; state file %s",
            ", ".join(config.accounts),
            format_duration(config.poll.interval),
            store.path,
        )
        changed = daemon.run()
        if changed is None:
            return FINE
        log.info(
            "rules file taken over: %s", "; ".join(differences(config, changed)) or "as before"
        )
        clients = _clients(changed, keep=clients, before=config)
        emergency.take_over(
            changed.receivers, after=changed.ruleset.blind_after, watched=changed.accounts
        )
        config = changed


def _on_signal(stop: Callable[[], None], number: int, _frame: FrameType | None) -> None:
    stop()
    signal.signal(number, signal.SIG_DFL)
    last_resort = threading.Timer(_SHUTDOWN_SECONDS, os._exit, args=(FINE,))
    last_resort.daemon = True
    last_resort.start()


def _status(args: argparse.Namespace) -> int:
    from alerting.monitoring import overview as status
    from alerting.store.state import Store

    config = _config(args)
    path = _state_path(args, config)
    store = Store(path, deliver_within=config.deliver_within) if path.exists() else None
    view = status.overview(config, store, now=_now())
    if store is not None and not args.json and sys.stdout.isatty():
        view = replace(view, sparklines=tuple(_sparklines(store, config, view.now)))
    if store is not None:
        store.close()
    if args.json:
        print(json.dumps(status.as_json(view), indent=2, ensure_ascii=False))
    else:
        print(status.as_text(view, config))
    return FINE


def _sparklines(store: Store, config: Config, now: datetime) -> Iterator[tuple[str, str, str]]:
    from alerting.cli.sparkline import sparklines

    for name in config.accounts:
        for what, bars, span in sparklines(store, name, now=now):
            yield f"  {name} {what}", bars, span


def _send_test(args: argparse.Namespace) -> int:
    from alerting.cli.send_test import send_tests

    config = _config(args)
    unknown = [name for name in args.receivers if name not in config.receivers]
    if unknown:
        known = ", ".join(config.receivers)
        raise UsageError(f"no receiver {unknown[0]!r} in {config.path}; there are: {known}")
    names = args.receivers or list(config.receivers)
    accepted = send_tests(config, names, now=_now(), state=_state_path(args, config))
    return FINE if accepted else FAILED


def _open_store(args: argparse.Namespace, config: Config) -> Store:
    from alerting.store.state import Store

    path = _state_path(args, config)
    if not path.exists():
        raise UsageError(f"there is no state file {path} yet; `alerting run` makes it")
    return Store(path, deliver_within=config.deliver_within)


def _instant(option: str, text: str | None) -> datetime | None:
    from alerting.units import parse_instant

    if text is None:
        return None
    try:
        return parse_instant(text)
    except ValueError as error:
        raise UsageError(
            f"{option} {text!r} is not an instant such as 2026-01-01T00:00:00Z"
        ) from error


def _explain(args: argparse.Namespace) -> int:
    from alerting.monitoring.explain import Question, explain

    config = _config(args)
    at = _instant("--at", args.at)
    question = Question(rule=args.rule, symbol=args.symbol, at=at or _now(), present=at is None)
    with contextlib.closing(_open_store(args, config)) as store:
        print(*explain(config.ruleset, store, question), sep="\n")
    return FINE


def _silence_add(args: argparse.Namespace) -> int:
    from alerting.cli import silence as hush

    config, now = _config(args), _now()
    silence = hush.new_silence(
        hush.parse_matchers(args.matchers, config.ruleset),
        duration=args.duration,
        reason=args.reason,
        by=args.author or hush.author(),
        now=now,
    )
    with contextlib.closing(_open_store(args, config)) as store:
        number = store.add_silence(silence)
    print(hush.describe(replace(silence, id=number), now=now))
    return FINE


def _silence_list(args: argparse.Namespace) -> int:
    from alerting.cli import silence as hush

    now = _now()
    with contextlib.closing(_open_store(args, _config(args))) as store:
        silences = store.silences(now=now)
    print(*(hush.describe(silence, now=now) for silence in silences), sep="\n")
    return FINE


def _silence_remove(args: argparse.Namespace) -> int:
    with contextlib.closing(_open_store(args, _config(args))) as store:
        if not store.remove_silence(args.id):
            raise NotFoundError(
                f"there is no silence {args.id}; `alerting silence list` shows them"
            )
    print(f"silence {args.id} is over")
    return FINE


def _ack(args: argparse.Namespace) -> int:
    from alerting.cli import silence as hush

    config, now = _config(args), _now()
    with contextlib.closing(_open_store(args, config)) as store:
        alert = hush.find_alert(store, config.accounts, args.id)
        ack = hush.acknowledge(store, alert, by=args.author or hush.author(), now=now)
    labels = "/".join(alert.labels.values())
    print(
        f"acknowledged {alert.id}: {alert.rule} {labels}, {ack.severity.value}; "
        "no reminders until it escalates or resolves"
    )
    return FINE


def _history_export(args: argparse.Namespace) -> int:
    from alerting.replay.recording import write_record

    since, until = _instant("--from", args.since), _instant("--to", args.until)
    if since is not None and until is not None and until <= since:
        raise UsageError(f"--to {args.until} is not after --from {args.since}")
    with contextlib.closing(_open_store(args, _config(args))) as store:
        for poll in store.history(since=since, until=until):
            print(
                write_record(
                    at=poll.at, account=poll.account, body=poll.seen.body, error=poll.seen.error
                )
            )
    return FINE


def _replay(args: argparse.Namespace) -> int:
    from alerting.config.load import Secrets, load_config
    from alerting.replay.replay import Options, replay, zone_of

    load = functools.partial(load_config, environ=os.environ, secrets=Secrets.IGNORED)
    old = load(Path(args.against)).ruleset if args.against else None
    options = Options(
        file=args.file,
        json=args.json,
        since=_instant("--from", args.since),
        until=_instant("--to", args.until),
        zone=zone_of(args.timezone),
    )
    replay(load(_config_path(args)).ruleset, options, against=old)
    return FINE


def _schema(_args: argparse.Namespace) -> int:
    from alerting.config.load import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return FINE


def _exchange(args: argparse.Namespace) -> int:
    from alerting.sandbox.demo import serve_exchange

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    serve_exchange(port=args.port, wallet=args.wallet, stop=stop)
    return FINE


def _test(args: argparse.Namespace) -> int:
    from alerting.ruletest.runner import run_files

    passed = run_files(args.files, say=print, junit=args.junit, verbose=args.verbose)
    return FINE if passed else FAILED
