"""A simulated week: the real daemon, from one fault into the next, and whether anything of it grows.

Used by tests/promises/test_week.py and, for a whole week, by bench/week.py.

The program is a process of its own (week_program.py), so that what is measured is its alone. Its
exchanges and receivers are here, on loopback, and so is the time: it goes on by one interval when
every account waits for its next answer, or has let a moment pass without asking. A real moment is
much simulated time, so whatever waits on the wire is waited for in real time, all else in simulated.

Each day has the same faults in another order, one after the other, with odd answers and fickle
receivers throughout, and ends with calm hours in which everybody is told something. Days end alike,
so what grows from one end to the next is a leak.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from alerting.sandbox.exchange import LoopbackExchange, Special, wallet_body
from alerting.store.documents import from_micros
from tests.support.crash import ROOT, Manner, Receiver
from tests.support.faults import Fault
from tests.support.servers import Inbox, free_port, smtp_server
from tests.support.week_program import Mishap, Shared

INTERVAL = timedelta(seconds=30)
# Real seconds that accounts may let pass before time goes on without them: while all of them come,
# and after one did not, since what keeps it may last.
_PATIENCE, _MOMENT = 0.3, 0.03
_MIB = 1 << 20

_RULES = """\
poll: {{interval: 2ms, timeout: 1s, blind_after: 2m}}
accounts:
{accounts}
receivers:
{receivers}
routes:
  - match: {{severity: critical}}
    receivers: [{names}]
    repeat_interval: 15m
  - match: {{topic: leverage}}
    receivers: [{few}]
    repeat_interval: {{first: 1h, factor: 2, max: 8h}}
    mute:
      - {{from: "02:00", to: "03:00", timezone: Asia/Kolkata}}
  - receivers: [desk, flaky, door]
flapping: {{changes: 6, within: 30m}}
rules:
  - name: floor
    per: wallet
    value: total_available_balance
    below: {{warning: {floor}, critical: 250}}
    clear: {{warning: 1100, critical: 300}}
    annotations:
      summary: "{{{{ value | money }}}} {{{{ base_asset }}}} left"
  - name: wallet-margin-ratio
    per: wallet
    value: margin_ratio
    above: {{info: 50%, warning: 70%, critical: 85%}}
    for: {{info: 10m, warning: 1m, critical: 0s}}
    keep_firing_for: 2m
    labels: {{topic: leverage}}
  - name: symbol-load
    per: symbol
    value: position_margin
    above: {{warning: 300, critical: 700}}
    labels: {{topic: leverage}}
  - name: concentration
    per: symbol
    value: concentration
    above: 60%
    severity: info
    when: total_blocked_balance > 500
    for: 5m
  - name: polls-failing
    per: account
    value: poll_failures
    above: 3
    severity: info
heartbeat: {{url: "{heartbeat}", every: 5m}}
history: {{keep: {keep}}}
templates: templates
"""
_TEMPLATE = (
    "{% for alert in alerts %}{{ alert.rule }} {{ alert.reason }} {{ alert.value }}\n{% endfor %}"
)


# ── what is measured ────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """How large the program is, and its state file, at one instant."""

    at: timedelta
    #: bytes of memory in use
    rss: int
    handles: int
    threads: int
    #: bytes of the state file
    size: int
    #: Python objects, after a collection; 0: not counted
    objects: int = 0
    #: how far back the recorded polls go
    reach: timedelta = timedelta(0)
    #: messages and changes, which are kept for a month
    records: int = 0


#: memory may grow by so much, or by so much of it
MOST_BYTES, MOST_SHARE = 3 * _MIB, 0.05
#: Python objects may grow by this share: what is remembered of the alerts
MOST_OBJECTS = 0.02
#: what is too old is forgotten hourly, and a little later where the state file could not be used
PRUNED_WITHIN = timedelta(hours=3)
#: ... but by a clock that is new to the state file nothing is, for a day
SURE_AFTER = timedelta(days=1)
#: what a message or a change may take in the state file, with its indices
MOST_PER_RECORD = 3072


def judge(days: Sequence[Sample], *, kept: timedelta) -> list[str]:
    """What grew from the end of the first day to the end of the last; recorded polls are `kept`."""
    first, last = days[0], days[-1]
    problems = []
    # free memory between what is used makes it some MiB more on one day and less on the next
    rss = min(day.rss for day in days[-2:]) if len(days) > 3 else last.rss
    if rss - first.rss > max(MOST_BYTES, MOST_SHARE * first.rss):
        problems.append(f"memory grew from {first.rss / _MIB:.1f} to {rss / _MIB:.1f} MiB")
    if last.objects > (1 + MOST_OBJECTS) * first.objects:
        problems.append(f"objects grew from {first.objects} to {last.objects}")
    if last.handles > first.handles:
        problems.append(f"handles grew from {first.handles} to {last.handles}")
    if last.threads > first.threads:
        problems.append(f"threads grew from {first.threads} to {last.threads}")
    if last.at > kept + SURE_AFTER + PRUNED_WITHIN and last.reach > kept + PRUNED_WITHIN:
        problems.append(f"polls of {last.reach} ago are recorded, {kept} are to be kept")
    # on the second day the first polls are pruned, and others take their room
    full = days[1] if len(days) > 2 else first
    room = MOST_PER_RECORD * max(0, last.records - full.records) + 0.05 * full.size
    if len(days) > 2 and last.size - full.size > room:
        sizes = f"from {full.size / _MIB:.2f} to {last.size / _MIB:.2f} MiB"
        problems.append(f"the state file grew {sizes}")
    return problems


@dataclass
class Week:
    """What a run came to."""

    samples: list[Sample] = field(default_factory=list)
    #: one at the end of each day
    days: list[Sample] = field(default_factory=list)
    #: what happened how often
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def table(self) -> str:
        """A line for each day."""
        lines = [
            "  day  memory MiB  objects  handles  threads  state MiB  messages and changes in it"
        ]
        lines += [
            f"{number:5}  {day.rss / _MIB:10.1f}  {day.objects:7}  {day.handles:7}  {day.threads:7}  "
            f"{day.size / _MIB:9.2f}  {day.records:26}"
            for number, day in enumerate(self.days, 1)
        ]
        return "\n".join(lines)

    def largest(self) -> str:
        """The peaks between."""
        most = {
            name: max(getattr(s, name) for s in self.samples)
            for name in ("rss", "handles", "threads")
        }
        return (
            f"{len(self.samples)} samples; at most {most['rss'] / _MIB:.1f} MiB, "
            f"{most['handles']} handles, {most['threads']} threads"
        )


# ── the time ────────────────────────────────────────────────────────────────


class Turnstile:
    """Lets each account have one answer per interval, and time go on when all have asked."""

    def __init__(self, accounts: Sequence[str]) -> None:
        self._accounts = frozenset(accounts)
        self._changed = threading.Condition()
        self._waiting: set[str] = set()
        self._turn = 0
        self._open = False

    def wait(self, account: str) -> None:
        """Called for each request: wait for the next turn."""
        with self._changed:
            turn = self._turn
            self._waiting.add(account)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._open or self._turn > turn, 10)

    def all_waiting(self, seconds: float) -> bool:
        """Whether all accounts wait for their turn, within some seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting >= self._accounts, seconds)

    def turn(self) -> None:
        """The next turn begins."""
        with self._changed:
            self._turn += 1
            self._waiting.clear()
            self._changed.notify_all()

    def open(self) -> None:
        """Let everybody through from now on."""
        with self._changed:
            self._open = True
            self._changed.notify_all()


# ── an account's wallet ─────────────────────────────────────────────────────

_SYMBOLS = ("BTCUSDT", "ETHUSDT", "DOGEUSDT", "SOLUSDT", "XRPUSDT")


def _broken(status: int, body: bytes = b"", **headers: str) -> Special:
    return Special(status=status, headers={"Connection": "close", **headers}, answer=body)


def _odd_answers(body: bytes) -> list[Special]:
    """What an exchange on a bad day says instead of a wallet."""
    wrong = body.replace(b'"total_available_balance": "', b'"total_available_balance": "1')
    return [
        _broken(503, b"maintenance"),
        _broken(502, b"<html>bad gateway</html>"),
        _broken(200, body[: len(body) // 2]),
        _broken(200, b"not JSON"),
        _broken(200, b'{"data": {"base_asset_balances": 7}}'),
        _broken(200, wrong),
        _broken(302, Location="http://127.0.0.1:1/"),
        _broken(404, b'{"message": "no such thing"}'),
        Special(answer=Fault.HANG_UP),
        Special(answer=Fault.RESET),
        Special(answer=Fault.CUT_HEADERS),
        Special(answer=Fault.CUT_BODY),
        Special(answer=Fault.NOT_HTTP),
    ]


class Wallet:
    """One account's exchange, whose wallet goes up and down, and its bad days."""

    def __init__(self, name: str, turnstile: Turnstile, shared: Shared, rng: random.Random) -> None:
        self.name, self._turnstile, self._rng = name, turnstile, rng
        self.exchange = LoopbackExchange(clock=shared.now)
        self.exchange.script = self._answer
        #: chooses an answer instead of the wallet; None: the wallet
        self.fault: Callable[[], Special | None] = lambda: None
        self.odd = 0.0
        self.symbols: tuple[str, ...] = _SYMBOLS
        self.counts: Counter[str] = Counter()
        self._available, self._loads = 2000, dict.fromkeys(_SYMBOLS, 100)

    def move(self, *, available: int | None = None) -> None:
        """Some values change, by chance; or the one that is given, and the others are fine."""
        rng, fine = self._rng, available is not None
        if fine:
            self._available = available
            self._loads = dict.fromkeys(self.symbols, 100)
        elif rng.random() < 0.03:
            self._available = rng.choice((200, 900, 2000, 2000, 3000))
        elif rng.random() < 0.03:
            self._loads = {s: rng.choice((50, 100, 100, 500, 800)) for s in self.symbols}
        rows = {s: (f"{load}.{rng.randint(0, 9999):04d}", "0") for s, load in self._loads.items()}
        self.exchange.wallet = wallet_body(
            total="5000", available=f"{self._available}.{rng.randint(0, 9999):04d}", rows=rows
        )

    def _answer(self, path: str) -> Special | None:
        if path == "/heartbeat":
            self.counts["heartbeats"] += 1
            return Special()
        if not path.endswith("wallet_balance"):
            return None
        self._turnstile.wait(self.name)
        special = self.fault()
        if special is None and self._rng.random() < self.odd:
            special = self._rng.choice(_odd_answers(self.exchange.healthy_body()))
        self.counts["polls"] += 1
        self.counts["odd answers"] += special is not None
        return special


# ── the world ───────────────────────────────────────────────────────────────


class World:
    """The program, all that it reads and tells, and the time."""

    def __init__(self, folder: Path, *, day: timedelta, seed: int, root: Path = ROOT) -> None:
        self._folder, self._root, self._day = folder, root, day
        self._rng = random.Random(seed)
        self._shared = Shared(folder / "shared")
        self._state = folder / "alerting.db"
        self._turnstile = Turnstile(("main", "side"))
        self.wallets = [
            Wallet(name, self._turnstile, self._shared, random.Random(f"{seed} {name}"))
            for name in ("main", "side", "third")
        ]
        self._fickle = Manner.ACCEPT, 1.0
        self.receivers = {
            name: Receiver(name, manner=self._manner(name, seed), hangs_for=2.0)
            for name in ("desk", "phone", "flaky", "door")
        }
        self.mails = Inbox()
        self._stack = contextlib.ExitStack()
        self._listen = f"127.0.0.1:{free_port()}"
        self.week = Week()
        self._calm = False
        self._ticks = 0
        self._mail_port = 0
        self._patience = _PATIENCE
        self._log = (folder / "log.txt").open("wb")

    def _manner(self, name: str, seed: int) -> Callable[[], Manner]:
        rng = random.Random(f"{seed} {name}")

        def manner() -> Manner:
            usual, share = self._fickle
            if name == "flaky" and not self._calm and rng.random() < 0.3:
                return rng.choice(list(Manner))
            return usual if rng.random() < share else Manner.ACCEPT

        return manner

    # ── the program ─────────────────────────────────────────────────────────

    def open(self) -> None:
        """Start everything."""
        for wallet in self.wallets:
            self._stack.enter_context(wallet.exchange)
            wallet.move(available=2000)
        for receiver in self.receivers.values():
            self._stack.callback(receiver.close)
        # aiosmtpd warns at each login
        logging.getLogger("mail.log").setLevel(logging.ERROR)
        self._mail_port = self._stack.enter_context(smtp_server(self.mails))
        (self._folder / "templates").mkdir()
        self._write_template(_TEMPLATE)
        self.write()
        environ = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.support.week_program"),
                *(str(self._folder / "shared"), "-c", str(self._folder / "rules.yaml"), "run"),
                *("--listen", self._listen, "--metrics-file", str(self._folder / "metrics.prom")),
            ],
            cwd=self._folder,
            env={**environ, "PYTHONPATH": str(self._root), "TMPDIR": str(self._folder)},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        # a file of its own would be full with the disk
        self._logger = threading.Thread(target=self._keep_log, daemon=True)
        self._logger.start()
        if not self._turnstile.all_waiting(60):
            raise RuntimeError(f"the program does not poll; see {self._folder}/log.txt")

    def _keep_log(self) -> None:
        for line in self.process.stderr:
            self._log.write(line)
            self.week.counts["tracebacks"] += line.startswith(b"Traceback")
            self.week.counts["mishaps"] += b": mishap " in line and not line.startswith(b" ")
            self.week.counts["reloads"] += (
                b"rules file taken over" in line or b"file is not taken over" in line
            )
            self.week.counts["threads started again"] += b"is started again" in line
        self._log.flush()

    def close(self) -> None:
        """End everything, the program too."""
        self._turnstile.open()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._logger.join(5)
        self.process.stderr.close()
        self._stack.close()
        self._log.close()

    def write(
        self,
        *,
        accounts: Sequence[str] = ("main", "side"),
        without: str = "",
        floor: int = 1000,
        more: str = "",
    ) -> None:
        """Write the rules file."""
        mail = f"mailto://watcher:right-password@127.0.0.1:{self._mail_port}"
        urls = {name: receiver.url for name, receiver in self.receivers.items()}
        urls["mail"] = f"{mail}?from=watcher@example.org&to=desk@example.org"
        urls.pop(without, None)
        text = _RULES.format(
            accounts="".join(
                f"  {wallet.name}: {{api_key: {wallet.exchange.api_key}, secret_key: "
                f"{wallet.exchange.secret_key}, base_url: '{wallet.exchange.base_url}', "
                f"rate_limit: 1000/1s}}\n"
                for wallet in self.wallets
                if wallet.name in accounts
            ),
            receivers="".join(f"  {name}: {{url: '{url}'}}\n" for name, url in urls.items()),
            names=", ".join(urls),
            few=", ".join(name for name in ("desk", "mail") if name in urls),
            floor=floor,
            heartbeat=f"{self.wallets[0].exchange.base_url}/heartbeat",
            keep=f"{self._day // timedelta(minutes=1)}m",
        )
        new = self._folder / "rules.new"
        new.write_text(text + more, encoding="utf-8")
        new.replace(self._folder / "rules.yaml")

    def _write_template(self, text: str) -> None:
        (self._folder / "templates" / "text.txt.j2").write_text(text, encoding="utf-8")

    # ── time ────────────────────────────────────────────────────────────────

    def tick(self, count: int) -> None:
        """Time goes on by so many intervals."""
        for _ in range(count):
            all_came = self._turnstile.all_waiting(self._patience)
            self._patience = _PATIENCE if all_came else _MOMENT
            if self._ticks and self._ticks % (timedelta(hours=1) // INTERVAL) == 0:
                self.week.samples.append(self.sample())
            self._ticks += 1
            if not self._calm:
                for wallet in self.wallets:
                    wallet.move()
            self._shared.set_passed(self._ticks * INTERVAL)
            self._turnstile.turn()
            if self.process.poll() is not None:
                raise RuntimeError(
                    f"it ended with {self.process.returncode}: {self._folder}/log.txt"
                )

    def sample(self) -> Sample:
        """Look at the program's page, then measure it when nothing is under way."""
        for path in ("healthz", "metrics"):
            with contextlib.suppress(OSError):  # 503 too
                urllib.request.urlopen(f"http://{self._listen}/{path}", timeout=1).read()
        folder = Path("/proc") / str(self.process.pid)
        seen, deadline = [(-1, -1)], time.monotonic() + 0.6
        while time.monotonic() < deadline:
            seen.append(
                (len(list((folder / "fd").iterdir())), len(list((folder / "task").iterdir())))
            )
            if len(seen) > 4 and len(set(seen[-4:])) == 1:
                break
            time.sleep(0.02)
        pages = int((folder / "statm").read_text().split()[1])
        handles, threads = seen[-1]
        return Sample(
            at=self._ticks * INTERVAL,
            rss=pages * resource.getpagesize(),
            handles=handles,
            threads=threads,
            size=self._state.stat().st_size if self._state.exists() else 0,
        )

    def _sample_of_day(self) -> Sample:
        """As `sample`, after a collection, and what the state file holds."""
        self._shared.set_objects(0)
        self.process.send_signal(signal.SIGUSR2)
        deadline = time.monotonic() + 10
        while not self._shared.objects and time.monotonic() < deadline:
            time.sleep(0.01)
        oldest, records = self._ask(
            "SELECT (SELECT min(at) FROM history), "
            "(SELECT count(*) FROM outbox) + (SELECT count(*) FROM transitions)"
        )
        now = self._shared.now()
        reach = now - (from_micros(oldest) if oldest else now)
        return replace(self.sample(), objects=self._shared.objects, reach=reach, records=records)

    def _ask(self, query: str) -> tuple:
        connection = sqlite3.connect(f"file:{self._state}?mode=ro", uri=True, timeout=5)
        with contextlib.closing(connection):
            return connection.execute(query).fetchone()

    # ── a day ───────────────────────────────────────────────────────────────

    def day(self) -> None:
        """Every fault once, then calm."""
        ticks = self._day // INTERVAL
        closing = max(ticks // 12, 40)
        faults = self._faults()
        self._rng.shuffle(faults)
        each = (ticks - closing) // len(faults)
        for wallet in self.wallets:
            wallet.odd = 0.04
        for fault in faults:
            with fault():
                self.tick(each // 2)
            self.tick(each - each // 2)
            self._settle()
        self._close_day(ticks - each * len(faults))
        self.week.days.append(self._sample_of_day())

    def _settle(self) -> None:
        """One fault at a time: what this one left, a pause or a full disk, is over before the next."""
        deadline = time.monotonic() + 10
        while not self._turnstile.all_waiting(_PATIENCE) and time.monotonic() < deadline:
            self.tick(1)

    def _close_day(self, ticks: int) -> None:
        """All is well again, and everybody is told something."""
        self._calm = True
        for wallet in self.wallets:
            wallet.odd = 0.0
            wallet.move(available=2000)
        self.tick(ticks // 4)
        self.wallets[0].move(available=200)
        self.tick(ticks // 4)
        self.wallets[0].move(available=2000)
        self.tick(ticks - ticks // 4 * 2)
        waiting = "SELECT count(*) FROM outbox WHERE status = 'pending'"
        left = self._ask(waiting)[0]
        for _ in range(50):
            if left:
                self.tick(2)
                left = self._ask(waiting)[0]
        if left:
            self.week.problems.append(f"{left} messages still wait at the end of a day")
        self._calm = False

    def run(self, days: int) -> Week:
        """So many days."""
        began = time.monotonic()
        for _ in range(days):
            self.day()
        self._turnstile.open()
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(30) != 0:
            self.week.problems.append(f"SIGTERM ended it with {self.process.returncode}")
        self._logger.join(5)
        week = self.week
        week.seconds = time.monotonic() - began
        week.counts["intervals"] = self._ticks
        for wallet in self.wallets:
            week.counts.update(wallet.counts)
        week.counts["messages"] = sum(len(r.messages) for r in self.receivers.values())
        week.counts["mails"] = len(self.mails.messages)
        if week.counts["tracebacks"] != week.counts["mishaps"]:
            week.problems.append(f"an unforeseen traceback in {self._folder}/log.txt")
        week.problems += judge(week.days, kept=self._day)
        return week

    # ── faults; each lasts as long as its block ─────────────────────────────

    def _faults(self) -> list[Callable[[], AbstractContextManager[None]]]:
        def answers(*specials: Special) -> Callable[[], AbstractContextManager[None]]:
            return lambda: self._exchange_answers(specials)

        def receivers(manner: Manner) -> Callable[[], AbstractContextManager[None]]:
            return lambda: self._receivers_do(manner)

        def edit(**change: object) -> Callable[[], AbstractContextManager[None]]:
            return lambda: self._edited(change)

        return [
            answers(_broken(503, b"maintenance")),
            answers(_broken(401, b'{"message": "Invalid Access"}')),
            answers(Special(status=429, headers={"Retry-After": "1"})),
            answers(Special(answer=Fault.HANG), Special(answer=Fault.DRIP_BODY)),
            answers(Special(answer=Fault.CUT_BODY), Special(answer=Fault.NOT_HTTP)),
            answers(_broken(200, b"not JSON"), _broken(200, b'{"data": []}')),
            receivers(Manner.FAIL),
            receivers(Manner.BUSY),
            receivers(Manner.HANG_UP),
            receivers(Manner.TAKE_AND_HANG),
            self._refused,
            self._mail_refused,
            self._disk_full,
            self._state_locked,
            self._state_deleted,
            self._state_garbage,
            edit(floor=1200),
            edit(without="phone"),
            edit(without="mail"),
            edit(accounts=("main", "side", "third")),
            edit(more="rules: [\n"),
            edit(more="nonsense: 1\n"),
            self._template_broken,
            self._clock_set,
            self._new_symbols,
            self._mishaps,
        ]

    @contextlib.contextmanager
    def _exchange_answers(self, specials: Sequence[Special]) -> Iterator[None]:
        for wallet in self.wallets:
            wallet.fault = lambda: self._rng.choice(specials)
        yield
        for wallet in self.wallets:
            wallet.fault = lambda: None

    @contextlib.contextmanager
    def _receivers_do(self, manner: Manner) -> Iterator[None]:
        self._fickle = manner, 0.8
        yield
        self._fickle = Manner.ACCEPT, 1.0

    @contextlib.contextmanager
    def _refused(self) -> Iterator[None]:
        doors = [self.receivers["desk"], self.receivers["door"]]
        for door in doors:
            door.refuse()
        yield
        for door in doors:
            door.accept()

    @contextlib.contextmanager
    def _mail_refused(self) -> Iterator[None]:
        self.mails.data = "451 later"
        yield
        self.mails.data = "250 taken"

    @contextlib.contextmanager
    def _disk_full(self) -> Iterator[None]:
        most = resource.RLIM_INFINITY
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (0, most))
        yield
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (most, most))

    @contextlib.contextmanager
    def _state_locked(self) -> Iterator[None]:
        connection = sqlite3.connect(self._state, isolation_level=None, timeout=10)
        with contextlib.closing(connection):
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _state_deleted(self) -> Iterator[None]:
        self._state.unlink()
        yield

    @contextlib.contextmanager
    def _state_garbage(self) -> Iterator[None]:
        good, garbage = self._folder / "good.db", self._folder / "garbage"
        garbage.write_bytes(b"garbage" * 1000)
        with self._state_locked():
            # not in the middle of a commit, whose journal would be played back into the garbage
            self._state.rename(good)
            garbage.rename(self._state)
        yield
        good.replace(self._state)

    @contextlib.contextmanager
    def _edited(self, change: dict) -> Iterator[None]:
        # the next fault must not meet the reload: on a broken state that waits
        self._write_and_wait(**change)
        yield
        self._write_and_wait()

    def _write_and_wait(self, **change: object) -> None:
        before, deadline = self.week.counts["reloads"], time.monotonic() + 20
        self.write(**change)
        while self.week.counts["reloads"] == before:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the rules file is not read: {self._folder}/log.txt")
            self.tick(1)

    @contextlib.contextmanager
    def _template_broken(self) -> Iterator[None]:
        self._write_template("{{ nonsense.nonsense }}")
        yield
        self._write_template(_TEMPLATE)

    @contextlib.contextmanager
    def _clock_set(self) -> Iterator[None]:
        self._shared.set_off(timedelta(hours=self._rng.choice((-2, 3))))
        yield
        self._shared.set_off(timedelta(0))

    @contextlib.contextmanager
    def _new_symbols(self) -> Iterator[None]:
        """Symbols that were never seen before and will not be again."""
        new = tuple(f"COIN{self._rng.randrange(10**6)}USDT" for _ in _SYMBOLS)
        for wallet in self.wallets:
            wallet.symbols = new
            wallet.move(available=2000)
        yield
        for wallet in self.wallets:
            wallet.symbols = _SYMBOLS
            wallet.move(available=2000)

    @contextlib.contextmanager
    def _mishaps(self) -> Iterator[None]:
        for mishap in Mishap:
            self._shared.order(mishap)
        yield


@contextlib.contextmanager
def a_world(folder: Path, *, day: timedelta, seed: int, root: Path = ROOT) -> Iterator[World]:
    """A world with its program running."""
    world = World(folder, day=day, seed=seed, root=root)
    try:
        world.open()
        yield world
    finally:
        world.close()
