"""No secret anywhere: every logger at DEBUG, every failure provoked, servers that echo what they get.

The program runs as a process of its own; what it prints, stores and sends is searched for every
secret in every form that the libraries underneath give it.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from urllib.parse import quote, quote_plus

import pytest

from alerting.sandbox.exchange import LoopbackExchange, wallet_body
from alerting.sandbox.inbox import Inbox
from tests.support.crash import ROOT
from tests.support.servers import Certificates, HttpServer, Reply, Server, free_port, hang_up

pytestmark = pytest.mark.process

LOUD = """
import functools, json, logging, os, socket, sys
from datetime import timedelta

real, ports = socket.getaddrinfo, json.loads(os.environ["PORTS"])

def look_up(host, port, *args, **kwargs):
    name = host.decode() if isinstance(host, bytes) else host
    if name in ports:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", ports[name]))]
    if name in ("127.0.0.1", "localhost"):
        return real(host, port, *args, **kwargs)
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

socket.getaddrinfo = look_up
from alerting import logs
from alerting.notify import email as mail
from alerting.notify import receivers as notifiers

notifiers.Timing = functools.partial(notifiers.Timing, read=timedelta(milliseconds=500))
set_up = logs.set_up

def loud(level, form):
    set_up("debug", form)
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(logging.DEBUG)

logs.set_up = loud
from alerting.cli.main import main
sys.exit(main())
"""

PASSWORD = "pA@ss/w0rd+%41x"
BASIC = "s3cr3t@Basic/pw#9"
HEADER = "zahC9oo8-headerTOKEN"
QUERY = "Ohs9thei+queryTOKEN"
PATH = "kaeGhoh3Aiph7ieL"
BEAT = "7d1c4e0a-9f7b-4b9e-BEAT-5c1d2e3f4a5b"
SLACK = ("T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7FQ")
SLACK_BOT = "xoxb-1234567890-aBcDeFSECRETtoken"
TELEGRAM = "987654321:AAGdqTcvCHhvQHVsecretTOKENpartXYZ"
DISCORD = "JHMHI8qBe7bk2ZwO5U711o3dV-secret_js"
URLS = {
    "slack": f"slack://{'/'.join(SLACK)}/",
    "bot": f"slack://{SLACK_BOT}/#alerts",
    "telegram": f"tgram://{TELEGRAM}/-1001234567890",
    "discord": f"discord://4174216298/{DISCORD}",
    "hook": f"jsons://watcher:{quote(BASIC, safe='')}@hook.example/{PATH}"
    f"?token={quote(QUERY, safe='')}&+X-Thing={HEADER}",
    "form": f"forms://hook.example/in/{PATH}?:key={quote(QUERY, safe='')}",
    "mail": f"mailto://watcher:{quote(PASSWORD, safe='')}@127.0.0.1:{{smtp}}"
    "?from=watcher@example.org&to=desk@example.org",
}
HOSTS = ("hooks.slack.com", "slack.com", "api.telegram.org", "discord.com", "hook.example")

RULES = """\
poll: {{interval: 50ms, timeout: 1s}}
accounts:
  main: {{api_key: "${{API_KEY}}", secret_key: "${{SECRET_KEY}}", base_url: '{base_url}', rate_limit: 5000/60s}}
receivers:
{receivers}
routes:
  - receivers: [{names}]
heartbeat: {{url: "${{HEARTBEAT}}", every: 1s}}
rules:
  - name: floor
    per: wallet
    value: total_available_balance
    below: {{critical: 1000}}
"""


def forms(secret):
    """A secret as URLs, HTTP and SMTP write it, and as programs print it."""
    raw = secret.encode()
    texts = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]}
    texts |= {quote(text, safe="") for text in set(texts)} | {json.dumps(secret)[1:-1]}
    for prefix in (b"", b"watcher:", b"\0watcher\0"):
        texts.add(base64.b64encode(prefix + raw).decode().rstrip("="))
    # half of one is too much too
    return texts | {text[:12] for text in texts if len(text) >= 16}


class Safe:
    """Everything that must not be seen."""

    def __init__(self, exchange):
        tokens = [PASSWORD, BASIC, HEADER, QUERY, PATH, BEAT, SLACK_BOT, DISCORD, *SLACK]
        tokens += [TELEGRAM, TELEGRAM.partition(":")[2], "/".join(SLACK)]
        tokens += [exchange.api_key, exchange.secret_key]
        self.secrets = {token: forms(token) for token in tokens}

    def leaks(self, text):
        """Which secrets a text holds, each with the form and where."""
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        folded = text.lower()
        return [
            (secret, text[max(0, folded.find(form.lower()) - 80) :][:200])
            for secret, shapes in self.secrets.items()
            for form in shapes
            if form.lower() in folded
        ]


class EchoSmtp(Server):
    """Refuses every login, and says with what it was tried."""

    def handle(self, connection):
        with connection.makefile("rwb", buffering=0) as stream:
            stream.write(b"220 echo\r\n")
            while line := stream.readline():
                verb, _, rest = line.decode().strip().partition(" ")
                if verb.upper() == "EHLO":
                    stream.write(b"250-echo\r\n250 AUTH PLAIN\r\n")
                elif verb.upper() == "AUTH":
                    token = rest.split()[-1]
                    plain = base64.b64decode(token + "==").replace(b"\0", b" ")
                    stream.write(b"535 5.7.8 rejected: " + token.encode() + b" " + plain + b"\r\n")
                else:
                    stream.write(b"250 fine\r\n")


def echo(status, server, *, as_json, **headers):
    """Answers with all that the request said, as a careless service would."""

    def behave(connection, stop):
        request = server.requests[-1]
        said = (
            f"{request.line} {json.dumps(request.headers)} {request.body.decode(errors='replace')}"
        )
        path = request.line.split()[1]
        if as_json:
            body = {
                "ok": False,
                "error_code": status,
                "description": f"{path} {said}",
                "error": said,
            }
        else:
            body = f"no: {request.line}"
        given = {name: value.format(path=path) for name, value in headers.items()}
        Reply(status, body, given)(connection, stop)

    return behave


def echo_header(name):
    """Answers 403 with one header's value, short enough to be quoted."""

    def maker(server):
        def behave(connection, stop):
            value = server.requests[-1].headers.get(name) or server.requests[-1].line
            Reply(403, {"ok": False, "description": value, "error": value})(connection, stop)

        return behave

    return maker


def garbage(connection, stop):
    connection.sendall(b"\x00\xff nothing like HTTP " + PATH.encode() + b"\r\n\r\n")


FAILURES = {
    "401-json-echo": lambda server: echo(401, server, as_json=True),
    "403-text-echo": lambda server: echo(403, server, as_json=False),
    "403-authorization": echo_header("authorization"),
    "403-token-header": echo_header("x-thing"),
    "404-line": echo_header("nothing"),
    "429-json-echo": lambda server: echo(429, server, as_json=True, **{"Retry-After": "7"}),
    "500-text-echo": lambda server: echo(500, server, as_json=False),
    "redirect": lambda server: echo(302, server, as_json=False, Location="https://x.example{path}"),
    "200-echo": lambda server: echo(200, server, as_json=True),
    "hang-up": lambda server: hang_up,
    "garbage": lambda server: garbage,
}


class House:
    """The program with every kind of receiver, all of them sick, and one inbox that listens."""

    def __init__(self, folder, stack, certificates):
        self.folder, self.stack, self.certificates = folder, stack, certificates
        self.exchange = stack.enter_context(LoopbackExchange())
        self.inbox = stack.enter_context(Inbox())
        self.safe = Safe(self.exchange)
        self.ports = {}
        self.smtp = EchoSmtp()
        stack.callback(self.smtp.close)
        certificates.authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        urls = {name: url.replace("{smtp}", str(self.smtp.port)) for name, url in URLS.items()}
        urls["refused"] = f"json://127.0.0.1:{free_port()}/{PATH}"
        urls["desk"] = self.inbox.url("desk")
        self.write(urls)

    def write(self, urls, base_url=None):
        self.urls = urls
        text = RULES.format(
            base_url=base_url or self.exchange.base_url,
            receivers="".join(f'  {name}: {{url: "${{URL_{name}}}"}}\n' for name in urls),
            names=", ".join(urls),
        )
        (self.folder / "rules.yaml").write_text(text, encoding="utf-8")

    def serve(self, behaviour, *, trusted=True, hosts=HOSTS):
        context = self.certificates.context(*hosts, trusted=trusted)
        server = HttpServer(context=context)
        server.script[:] = [behaviour(server)]
        self.stack.callback(server.close)
        self.ports |= dict.fromkeys(hosts, server.port)
        return server

    def run(self, *args, **environ):
        """Run a command; fails if anything of a secret is in what it says or leaves behind."""
        process = subprocess.run(
            [sys.executable, "-c", LOUD, "-c", str(self.folder / "rules.yaml"), *args],
            cwd=self.folder,
            env={
                **{k: v for k, v in os.environ.items() if "proxy" not in k.lower()},
                **{f"URL_{name}": url for name, url in self.urls.items()},
                "PYTHONPATH": str(ROOT),
                "PORTS": json.dumps(self.ports),
                "REQUESTS_CA_BUNDLE": str(self.folder / "ca.pem"),
                "SSL_CERT_FILE": str(self.folder / "ca.pem"),
                "HEARTBEAT": f"https://hook.example/ping/{BEAT}?auth={quote(QUERY, safe='')}",
                "API_KEY": self.exchange.api_key,
                "SECRET_KEY": self.exchange.secret_key,
                **environ,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in process.stdout + process.stderr, process.stderr
        assert self.safe.leaks(process.stdout) == []
        assert self.safe.leaks(process.stderr) == []
        for path in self.folder.glob("alerting.db*"):
            assert self.safe.leaks(path.read_bytes()) == []
        for message in self.inbox.received:
            assert self.safe.leaks(message.title + message.message) == []
        return process


@pytest.fixture(scope="module")
def certificates():
    return Certificates()


@pytest.fixture
def house(tmp_path, certificates):
    with ExitStack() as stack:
        yield House(tmp_path, stack, certificates)


def test_the_scan_finds_what_is_there(house):
    """Each form of each secret, in the midst of other things."""
    for secret in house.safe.secrets:
        for text in (
            secret,
            quote(secret, safe=""),
            base64.b64encode(b"watcher:" + secret.encode()).decode(),
        ):
            assert house.safe.leaks(f"2026 debug https://x/{text}: gone")
    assert house.safe.leaks("accepted (200), nothing to see") == []


@pytest.mark.parametrize("failure", FAILURES)
def test_services_that_fail_and_echo(house, failure):
    server = house.serve(FAILURES[failure])
    process = house.run("send-test")
    assert process.returncode == 1
    assert len(server.requests) >= 6, process.stdout
    verdicts = dict(line.split(maxsplit=1) for line in process.stdout.splitlines())
    assert verdicts["desk"].startswith("accepted")
    assert sum(verdict.startswith("accepted") for verdict in verdicts.values()) <= 4, verdicts


@pytest.mark.parametrize("failure", ["401-json-echo", "redirect", "garbage", "not-found"])
def test_a_heartbeat_that_fails_and_echoes(house, failure):
    house.write({"desk": house.inbox.url("desk")})
    server = house.serve(FAILURES[failure]) if failure in FAILURES else None
    process = house.run("run", "--once")
    assert "heartbeat" in process.stderr
    if server is not None:
        assert BEAT in server.requests[0].line


def test_a_certificate_that_is_not_trusted(house):
    house.serve(lambda _: Reply(200, "ok"), trusted=False)
    process = house.run("send-test")
    assert process.stdout.count("certificate") >= 5, process.stdout


def test_names_that_are_not_found(house):
    process = house.run("send-test")
    assert process.stdout.count("not found") >= 5, process.stdout


def test_a_cycle_in_which_every_receiver_refuses_for_good(house):
    """Dead messages raise delivery-failing, which says why: in the state, the status, the inbox."""
    house.serve(FAILURES["401-json-echo"])
    house.exchange.wallet = wallet_body(total="2000", available="900", rows={})
    assert house.run("run", "--once").returncode == 1
    assert house.run("run", "--once").returncode in {0, 1}
    titles = [message.title for message in house.inbox.received]
    assert any("delivery-failing" in title for title in titles), titles
    for command in (["status"], ["status", "--json"], ["check"]):
        house.run(*command)
    assert json.loads(house.run("status", "--json").stdout)["outbox"]["dead"] > 3


# ── the exchange ────────────────────────────────────────────────────────────

EXCHANGE = "exchange.example"


@pytest.mark.parametrize("failure", [*FAILURES, "untrusted", "not-found"])
def test_an_exchange_that_fails_and_echoes(house, failure):
    house.write({"desk": house.inbox.url("desk")}, base_url=f"https://{EXCHANGE}")
    if failure in FAILURES:
        house.serve(FAILURES[failure], hosts=(EXCHANGE,))
    elif failure == "untrusted":
        house.serve(lambda _: Reply(200), hosts=(EXCHANGE,), trusted=False)
    process = house.run("run", "--once")
    assert process.returncode == 1
    assert "account main: " in process.stderr


def test_status_of_an_account_whose_exchange_echoes(house):
    house.write({"desk": house.inbox.url("desk")}, base_url=f"https://{EXCHANGE}")
    house.serve(FAILURES["401-json-echo"], hosts=(EXCHANGE,))
    house.run("run", "--once")
    for command in (["status"], ["status", "--json"]):
        assert "credentials" in house.run(*command).stdout


def test_wrong_keys(house):
    house.write({"desk": house.inbox.url("desk")})
    wrong = "c0ffee" * 10 + "abcd"
    house.safe.secrets[wrong] = forms(wrong)
    for environ in ({"SECRET_KEY": wrong}, {"API_KEY": wrong}):
        process = house.run("run", "--once", **environ)
        assert "credentials" in process.stderr
        house.run("check", **environ)


# ── the rules file ──────────────────────────────────────────────────────────

KEYS = {
    "url-without-scheme": ("URL_desk", "SECRETwithoutascheme77"),
    "secret-key-no-hex": ("SECRET_KEY", "zz-not-hex-SECRET-0123456789"),
    "secret-key-short": ("SECRET_KEY", "abcdef0123456789abcdef"),
    "api-key-blank": ("API_KEY", "spaced out APIKEY 0123456789"),
    "api-key-newline": ("API_KEY", "newline-APIKEY\n0123456789"),
}
MALFORMED = {
    "slack_short": "slack://T1JJ3T3L2/SHORTSECRET123/",
    "telegram_no_chat": f"tgram://{TELEGRAM}/",
    "telegram_bad_token": "tgram://badSECRETtoken12345/-100123",
    "discord_no_token": "discord://OnlyOneSECRETpart999/",
    "mail_no_host": "mailtos://watcher:SECRETmailpw77@",
    "mail_clear": "mailto://watcher:SECRETmailpw88@mail.example.org?to=a@example.org",
    "no_service": "nosuch://watcher:SECRETnosuch77@host/SECRETpath66",
    "bad_ipv6": "jsons://watcher:SECRETipv6pw77@[::1/SECRETpath77",
    "verify_no": "jsons://watcher:SECRETverify77@host/SECRETpath88?verify=no",
    "two_urls": "jsons://host/SECRETpath99, jsons://host/SECRETother77",
}
# Apprise takes these; they fail when they are used.
ODD = {
    "bad_port": "jsons://watcher:SECRETbadport77@host:99999999/SECRETpath55",
    "control": "jsons://host/SECRETctrl77\x07\x1b[31m/SECRETpath44",
}


@pytest.mark.parametrize("case", KEYS)
def test_malformed_secrets_are_not_quoted(house, case):
    variable, value = KEYS[case]
    house.write({"desk": house.inbox.url("desk")})
    house.safe.secrets |= {piece: forms(piece) for piece in value.split("\n")}
    for command in (["check"], ["run", "--once"]):
        assert house.run(*command, **{variable: value}).returncode in {1, 2}


def test_malformed_urls_are_not_quoted(house):
    urls = MALFORMED | ODD
    house.write({**urls, "desk": house.inbox.url("desk")})
    for url in urls.values():
        pieces = re.findall(r"\w*SECRET\w*", url) or [TELEGRAM]
        house.safe.secrets |= {piece: forms(piece) for piece in pieces}
    process = house.run("check")
    assert process.returncode == 1
    assert [name for name in MALFORMED if f"receivers.{name}" not in process.stdout] == []
    house.exchange.wallet = wallet_body(total="2000", available="900", rows={})
    assert house.run("run", "--once").returncode == 1
    assert house.run("send-test").returncode == 1
    assert [message.box for message in house.inbox.received].count("desk") >= 2
