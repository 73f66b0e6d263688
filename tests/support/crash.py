"""The crash harness: the real program, killed at random instants, and a separate account of what was due.

Used by tests/promises/test_crash.py and, for long runs, by bench/crash.py.

What was due is not asked of the program. Each account's wallet moves in steps; each step has values
that no other step has, and is held until the program has certainly judged it: the daemon, when it
has come back for another poll (it does not before it has committed); a cycle from cron, when it was
started during the step and ended by itself saying that it read every account. So the levels of
every alert follow from the script, and from them, by the contract's section 4, who is due what.
What arrived is what the receivers wrote down when they had read a whole request.

Retries and read timeouts are shortened in the child, so that a minute holds many of them; nothing
else in it is touched. The children are forks of a process that has loaded the program (nursery.py).
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alerting.sandbox.exchange import LoopbackExchange, Special, wallet_body
from tests.support.nursery import Child, Nursery

ROOT = Path(__file__).resolve().parents[2]

_PREPARE = """
import functools
from datetime import timedelta
from alerting.notify.dispatcher import Retries
from alerting.notify.receivers import Timing
from alerting.service import build
retries = Retries(first=timedelta(milliseconds=40), longest=timedelta(milliseconds=400))
timing = Timing(read=timedelta(milliseconds=300))
build.ReceiverWorker = functools.partial(build.ReceiverWorker, retries=retries)
build.build_notifier = functools.partial(build.build_notifier, timing=timing)
"""

_RULES = """\
poll: {{interval: 30ms, timeout: 10s, blind_after: 1h}}
accounts:
{accounts}
receivers:
{receivers}
routes:
  - match: {{severity: critical}}
    receivers: [desk, phone, flaky, door]
    repeat_interval: 7d
  - receivers: [desk, flaky, door]
    repeat_interval: 7d
rules:
  - name: floor
    per: wallet
    value: total_available_balance
    below: {{warning: 1000, critical: 250}}
  - name: load
    per: symbol
    value: position_margin
    above: {{warning: 300, critical: 700}}
builtin:
  # a backlog that grows for minutes is no failure here, and what it would say is not in the ledger
  delivery-failing: {{for: 7d}}
templates: templates
"""

# The title stays the program's own: it bears the mark.
_TEMPLATE = """\
{% for alert in alerts %}
{{ alert.labels.account }} {{ alert.labels.get("symbol", alert.rule) }} {{ alert.reason }} \
{{ alert.severity }} {{ alert.value }}
{% endfor %}
"""

_MARK = "possible repeat"
_ENOUGH_PROBLEMS = 5
_SYMBOLS = ("BTCUSDT", "ETHUSDT")
_NAMES = {1: "warning", 2: "critical"}
#: level -> who is told of it
ROUTES = {1: ("desk", "flaky", "door"), 2: ("desk", "phone", "flaky", "door")}
_FLOOR = {0: 2000, 1: 900, 2: 200}
_LOAD = {0: 100, 1: 500, 2: 800}


# ── what was due, and what became of it ─────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Note:
    """One alert in one message."""

    account: str
    alert: str
    reason: str
    severity: str
    value: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """One alert in one message that a receiver has read."""

    note: Note
    marked: bool


class Ledger:
    """Who is due what, from the levels alone (contract, section 4; nothing repeats, nothing dies)."""

    def __init__(self) -> None:
        #: (receiver, account, alert) -> notes in order
        self.due: dict[tuple[str, str, str], list[Note]] = {}
        self._told: dict[tuple[str, str, str], int] = {}

    def step(self, account: str, alert: str, level: int, value: str) -> None:
        """Book one alert's level at one step."""
        for receiver in ROUTES[2]:
            key = (receiver, account, alert)
            told = self._told.get(key, 0)
            # better news goes to all who were told worse, worse news where its route leads
            if level == told or (level > told and receiver not in ROUTES[level]):
                continue
            reason = "resolved" if not level else "eased" if level < told else "escalated"
            reason = reason if told else "firing"
            note = Note(account, alert, reason, _NAMES[level or told], value)
            self.due.setdefault(key, []).append(note)
            self._told[key] = level


@dataclass
class Figures:
    """What a run came to."""

    kills: int = 0
    starts: int = 0
    overlaps: int = 0
    steps: int = 0
    due: int = 0
    arrived: int = 0
    lost: int = 0
    #: the same again without a mark
    unmarked: int = 0
    #: the same again, marked
    marked: int = 0
    #: marked although it was the first: the program could not know
    needless: int = 0
    #: after a later one of the same alert
    disordered: int = 0
    #: never due
    unexpected: int = 0
    seconds: float = 0.0
    #: what is wrong, in words
    problems: list[str] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        """Sum up two runs."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def __str__(self) -> str:
        numbers = {n: v for n, v in vars(self).items() if n not in {"seconds", "problems"}}
        text = ", ".join(f"{name} {value}" for name, value in numbers.items())
        return f"{text}, {self.seconds:.1f} s"


def compare(due: Sequence[Note], arrivals: Sequence[Arrival], figures: Figures) -> None:
    """Compare one receiver's messages about one alert with what it was due."""
    places = {note: place for place, note in enumerate(due)}
    seen: set[Note] = set()
    furthest = -1
    for arrival in arrivals:
        place = places.get(arrival.note)
        if place is None:
            figures.unexpected += 1
            figures.problems.append(f"never due: {arrival}")
            continue
        if place < furthest:
            figures.disordered += 1
            figures.problems.append(f"out of order: {arrival}")
        furthest = max(furthest, place)
        if arrival.note not in seen:
            seen.add(arrival.note)
            figures.needless += arrival.marked
        elif arrival.marked:
            figures.marked += 1
        else:
            figures.unmarked += 1
            figures.problems.append(f"again, without a mark: {arrival}")
    lost = [note for note in due if note not in seen]
    figures.due += len(due)
    figures.arrived += len(seen)
    figures.lost += len(lost)
    figures.problems += [f"lost: {note}" for note in lost]


# ── receivers ───────────────────────────────────────────────────────────────


class Manner(enum.Enum):
    """What a receiver does with one request."""

    ACCEPT = "accept"
    SLOW = "accept slowly"
    BUSY = "not taken: 429"
    FAIL = "not taken: 503"
    TAKE_AND_FAIL = "taken, but 503"
    HANG_UP = "not taken: hung up"
    TAKE_AND_HANG_UP = "taken, but hung up"
    TAKE_AND_HANG = "taken, and never answered"


_NOT_TAKEN = {Manner.BUSY, Manner.FAIL, Manner.HANG_UP}
_STATUS = {
    Manner.ACCEPT: b"200 OK",
    Manner.SLOW: b"200 OK",
    Manner.BUSY: b"429 Busy\r\nRetry-After: 0.1",
    Manner.FAIL: b"503 Down",
    Manner.TAKE_AND_FAIL: b"503 Down",
}


class Receiver:
    """A webhook on loopback that writes down every request that it has read to the end."""

    def __init__(
        self,
        name: str,
        *,
        manner: Callable[[], Manner] = lambda: Manner.ACCEPT,
        on_event: Callable[[str], None] = lambda _: None,
        hangs_for: float = 1.0,
    ) -> None:
        self.name = name
        self._hangs_for = hangs_for
        self.arrivals: list[Arrival] = []
        self.taken_at: list[float] = []
        #: the text of each message, as it came
        self.messages: list[str] = []
        self._manner = manner
        self._on_event = on_event
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._handlers: list[threading.Thread] = []
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"json://127.0.0.1:{self.port}/{name}"
        self._open = threading.Event()
        self._accepting = self._start_accepting()

    def _start_accepting(self) -> threading.Thread:
        self._open.set()
        thread = threading.Thread(target=self._accept, daemon=True)
        thread.start()
        return thread

    def refuse(self) -> None:
        """Refuse connections from now on; the port stays ours."""
        self._open.clear()
        self._accepting.join()
        self._socket.close()
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        while True:
            # a child that is just being started may hold a copy of the old socket for a moment
            with contextlib.suppress(OSError):
                self._socket.bind(("127.0.0.1", self.port))
                return
            time.sleep(0.002)

    def accept(self) -> None:
        """Take connections again."""
        if not self._open.is_set():
            self._socket.listen(64)
            self._accepting = self._start_accepting()

    def close(self) -> None:
        """End everything."""
        self._stop.set()
        self._open.clear()
        self._accepting.join()
        self._socket.close()
        for thread in self._handlers:
            thread.join(5)

    def _accept(self) -> None:
        self._socket.settimeout(0.02)
        while self._open.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._socket.accept()
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._handlers = [t for t in self._handlers if t.is_alive()] + [thread]
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(10)
            body = _read_request(connection)
            if body is None:
                return  # the sender died over it: it never arrived
            manner = self._manner()
            if manner not in _NOT_TAKEN:
                self._take(body)
            self._on_event("request")
            if manner is Manner.TAKE_AND_HANG:
                self._stop.wait(self._hangs_for)
            if manner is Manner.SLOW:
                self._stop.wait(0.1)
            if manner in _STATUS:
                head = b"HTTP/1.1 " + _STATUS[manner]
                connection.sendall(head + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                self._on_event("answered")

    def _take(self, body: bytes) -> None:
        message = json.loads(body)
        marked = _MARK in message["title"]
        with self._lock:
            self.taken_at.append(time.monotonic())
            self.messages.append(f"{message['title']}\n{message['message']}")
            for line in message["message"].splitlines():
                parts = line.replace(",", "").split()
                note = Note(*parts) if len(parts) == 5 else Note("?", line, "?", "?", "?")
                self.arrivals.append(Arrival(note, marked))


def _read_request(connection: socket.socket) -> bytes | None:
    """The body of a whole request, or None."""
    with connection.makefile("rb") as stream:
        length = None
        for line in iter(stream.readline, b"\r\n"):
            if not line:
                return None
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = stream.read(length or 0)
        return body if length is not None and len(body) == length else None


# ── accounts ────────────────────────────────────────────────────────────────


class Account:
    """One account's wallet: moves a step when the step before was certainly judged."""

    def __init__(self, name: str, world: World, rng: random.Random) -> None:
        self.name, self._world, self._rng = name, world, rng
        self.exchange = LoopbackExchange()
        self.exchange.script = self._answer
        self._lock = threading.Lock()
        self.steps = 0
        self.step_at = 0.0
        self._polls: Counter[int] = Counter()
        self._enough = 3
        self.final = False
        #: the final step was judged
        self.finished = False
        self._move()

    def judged(self) -> None:
        """The present step was judged: go on to the next."""
        with self._lock:
            self._advance()

    def _advance(self) -> None:
        self.finished = self.final
        if not self.finished:
            self.final = self._world.calm
            self._move()

    def _move(self) -> None:
        self.steps += 1
        fraction = f"{self.steps:06d}1"
        ledger, levels = self._world.ledger, {}
        for alert in ("floor", *_SYMBOLS):
            levels[alert] = 0 if self.final else self._rng.choice((0, 0, 1, 2))
        rows = {s: (f"{_LOAD[levels[s]]}.{fraction}", "0") for s in _SYMBOLS}
        available = f"{_FLOOR[levels['floor']]}.{fraction}"
        ledger.step(self.name, "floor", levels["floor"], available)
        for symbol in _SYMBOLS:
            ledger.step(self.name, symbol, levels[symbol], rows[symbol][0])
        body = wallet_body(total="5000", available=available, rows=rows)
        self._body = json.dumps(body).encode()
        self._polls.clear()
        self._enough = self._rng.randint(3, 5)
        self.step_at = time.monotonic()

    def _answer(self, path: str) -> Special | None:
        if not path.endswith("wallet_balance"):
            return None
        with self._lock:
            life = self._world.life
            # A poll after three answered ones of the same life: at most one of those can be a
            # straggler of the life before, and the program polls again only after it committed.
            if self._world.mode == "daemon" and self._polls[life] >= self._enough:
                self._advance()
            if not self._world.calm and self._rng.random() < 0.04:
                return Special(status=503, answer=b"maintenance")
            self._polls[life] += 1
            if self._polls[life] == 1:
                self._world.event("poll")
            return Special(headers={"Content-Type": "application/json"}, answer=self._body)


# ── the world ───────────────────────────────────────────────────────────────


@dataclass
class _Trap:
    """Kills when an event has happened so many times."""

    event: str
    count: int
    delay: float


class World:
    """One state file, its exchanges and receivers, and the program that is killed over and over."""

    def __init__(self, mode: str, folder: Path, *, seed: int, root: Path = ROOT) -> None:
        self.mode, self._folder = mode, folder
        self._rng = random.Random(f"{seed} {mode}")
        self.ledger = Ledger()
        self.calm = False
        #: which life of the program this is
        self.life = 0
        self.figures = Figures()
        self._lock = threading.Lock()
        self._trap: _Trap | None = None
        self._running: list[Child] = []
        self._killed = False
        self._log = (folder / "log.txt").open("ab")
        environ = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
        environ["PYTHONPATH"] = str(root)
        self._nursery = Nursery(_PREPARE, folder=folder, environ=environ, log=self._log)
        self._stop = threading.Event()
        rngs = iter(random.Random(f"{seed} {mode} {n}") for n in range(10))
        self.accounts = [Account(name, self, next(rngs)) for name in ("main", "side")]
        flaky = self._flaky(next(rngs))
        self.receivers = {
            "desk": Receiver("desk", on_event=self.event),
            "phone": Receiver("phone", on_event=self.event),
            "flaky": Receiver("flaky", on_event=self.event, manner=flaky),
            "door": Receiver("door", on_event=self.event),
        }
        self._door_rng = next(rngs)
        self._doorman = threading.Thread(target=self._mind_the_door, daemon=True)

    def _flaky(self, rng: random.Random) -> Callable[[], Manner]:
        def manner() -> Manner:
            if self.calm or rng.random() < 0.4:
                return Manner.ACCEPT
            return rng.choice(list(Manner))

        return manner

    def _mind_the_door(self) -> None:
        door, rng = self.receivers["door"], self._door_rng
        while not self.calm:
            door.refuse()
            self._stop.wait(rng.uniform(0.2, 1.5))
            door.accept()
            self._stop.wait(rng.uniform(0.2, 2.0))

    # ── killing ─────────────────────────────────────────────────────────────

    def event(self, name: str) -> None:
        """Something happened outside of the program that kills may wait for."""
        with self._lock:
            trap = self._trap
            if trap is None or trap.event != name:
                return
            trap.count -= 1
            if trap.count:
                return
            self._trap = None
            life = self.life
        if not trap.delay:
            self._kill(life)
            return
        timer = threading.Timer(trap.delay, self._kill, args=(life,))
        timer.daemon = True
        timer.start()

    def _kill(self, life: int) -> None:
        with self._lock:
            if life != self.life:
                return  # that one has ended already
            for process in self._running:
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                    self._killed = True

    def _set_trap(self) -> float:
        """Choose how this life ends; the seconds after which it ends in any case."""
        kind = self._rng.choice(("any", "poll", "request", "answered"))
        if kind == "any":
            return self._rng.uniform(0.0, 1.0 if self.mode == "daemon" else 0.6)
        # a poll is judged and committed within some milliseconds, an accepted message is booked
        longest = {"poll": 0.04, "request": 0.0, "answered": 0.008}[kind]
        delay = self._rng.uniform(0.0, longest) if self._rng.random() < 0.8 else 0.0
        most = {"poll": 2, "request": 4, "answered": 4}[kind] * (3 if self.mode == "daemon" else 1)
        with self._lock:
            self._trap = _Trap(kind, self._rng.randint(1, most), delay)
        return 2.0

    # ── the program ─────────────────────────────────────────────────────────

    def write(self) -> None:
        """Write the rules file and the template."""
        accounts = "".join(
            f"  {account.name}: {{api_key: {account.exchange.api_key}, secret_key: "
            f"{account.exchange.secret_key}, base_url: '{account.exchange.base_url}', "
            f"rate_limit: 100000/60s}}\n"
            for account in self.accounts
        )
        receivers = "".join(f"  {r.name}: {{url: '{r.url}'}}\n" for r in self.receivers.values())
        text = _RULES.format(accounts=accounts, receivers=receivers)
        (self._folder / "rules.yaml").write_text(text, encoding="utf-8")
        (self._folder / "templates").mkdir()
        (self._folder / "templates" / "text.txt.j2").write_text(_TEMPLATE, encoding="utf-8")

    def start(self, *command: str) -> Child:
        """Start the program."""
        process = self._nursery.start("-c", str(self._folder / "rules.yaml"), *command)
        with self._lock:
            self._running.append(process)
        self.figures.starts += 1
        return process

    def _reap(self) -> list[str]:
        """Wait for all that runs; what they said on stdout."""
        said = [process.said() for process in self._running]
        with self._lock:
            self.life += 1
            self._trap = None
            self._running = []
            self.figures.kills += self._killed
            self._killed = False
        return said

    def daemon_life(self) -> None:
        """One start of the daemon, ended by a kill."""
        process = self.start("run")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self._set_trap())
        self._kill(self.life)
        self._reap()
        if process.returncode != -signal.SIGKILL:
            self.figures.problems.append(f"the daemon ended by itself: {process.returncode}")

    def cron_life(self, *, kill: bool) -> None:
        """One start from cron, maybe with a second one over it, maybe killed."""
        began = time.monotonic()
        first = self.start("run", "--once")
        ends = began + (self._set_trap() if kill else 60.0)
        if not self.calm and self._rng.random() < 0.3:
            self.figures.overlaps += 1
            time.sleep(self._rng.uniform(0.0, 0.3))
            self.start("run", "--once")
        processes = list(self._running)
        with contextlib.suppress(subprocess.TimeoutExpired):
            for process in processes:
                process.wait(max(0.0, ends - time.monotonic()))
        self._kill(self.life)
        said = self._reap()
        for process in processes:
            if process.returncode not in {0, 1, -signal.SIGKILL}:
                self.figures.problems.append(f"a cycle ended with {process.returncode}")
        whole = f"{len(self.accounts)} of {len(self.accounts)} accounts read"
        if first.returncode in {0, 1} and said[0].startswith(whole):
            for account in self.accounts:
                account.judged()

    # ── a run ───────────────────────────────────────────────────────────────

    def run(self, kills: int) -> Figures:
        """Kill so many times, let everything settle, and count."""
        began = time.monotonic()
        self._doorman.start()
        while self.figures.kills < kills and len(self.figures.problems) < _ENOUGH_PROBLEMS:
            if self.mode == "daemon":
                self.daemon_life()
            else:
                self.cron_life(kill=self._rng.random() < 0.85)
        self.calm = True
        self._stop.set()
        self._doorman.join()
        self._settle()
        figures = self.figures
        figures.add(self.count())
        figures.steps = sum(account.steps for account in self.accounts)
        figures.seconds = time.monotonic() - began
        self._log.flush()
        if b"Traceback" in (self._folder / "log.txt").read_bytes():
            figures.problems.append(f"a traceback in {self._folder}/log.txt")
        return figures

    def _settle(self) -> None:
        """Healthy receivers, no kills: until everything due has arrived, or nothing more comes."""
        deadline = time.monotonic() + 30
        if self.mode == "cron":
            while not self._settled() and time.monotonic() < deadline:
                self.cron_life(kill=False)
            self.cron_life(kill=False)
            return
        daemon = self.start("run")
        while not self._settled() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)
        daemon.send_signal(signal.SIGTERM)
        self._reap()
        if daemon.returncode != 0:
            self.figures.problems.append(f"SIGTERM ended the daemon with {daemon.returncode}")

    def _settled(self) -> bool:
        return all(a.finished for a in self.accounts) and self.count().lost == 0

    def count(self) -> Figures:
        """Compare what arrived so far with what was due."""
        figures = Figures()
        for name, receiver in self.receivers.items():
            arrivals = list(receiver.arrivals)
            keys = {(name, a.note.account, a.note.alert) for a in arrivals}
            keys |= {key for key in self.ledger.due if key[0] == name}
            for key in sorted(keys):
                mine = [a for a in arrivals if (a.note.account, a.note.alert) == key[1:]]
                compare(self.ledger.due.get(key, ()), mine, figures)
        figures.problems = [f"{self.mode}: {problem}" for problem in figures.problems]
        return figures

    def close(self) -> None:
        """End what still runs."""
        self._stop.set()
        self._kill(self.life)
        self._reap()
        self._nursery.close()
        for receiver in self.receivers.values():
            receiver.close()
        self._log.close()


@contextlib.contextmanager
def a_world(mode: str, folder: Path, *, seed: int, root: Path = ROOT) -> Iterator[World]:
    """A world with its exchanges running."""
    world = World(mode, folder, seed=seed, root=root)
    with contextlib.ExitStack() as stack:
        stack.callback(world.close)
        for account in world.accounts:
            stack.enter_context(account.exchange)
        world.write()
        yield world


def crash(mode: str, folder: Path, *, kills: int, seed: int, root: Path = ROOT) -> Figures:
    """One whole run in one mode."""
    with a_world(mode, folder, seed=seed, root=root) as world:
        return world.run(kills)


def crash_all(
    plan: Mapping[str, int], folder: Path, *, seed: int, root: Path = ROOT
) -> dict[str, Figures]:
    """Run several modes side by side; `plan`: mode -> kills."""
    results: dict[str, Figures] = {}

    def work(mode: str, kills: int) -> None:
        (folder / mode).mkdir()
        results[mode] = crash(mode, folder / mode, kills=kills, seed=seed, root=root)

    threads = [threading.Thread(target=work, args=item) for item in plan.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
