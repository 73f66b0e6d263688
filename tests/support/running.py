"""A daemon as a thread of the test's process, which a test can reload, signal and end."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import MappingProxyType

from alerting.cli import context
from alerting.config.load import load_config
from alerting.config.reload import Reloader
from alerting.service.daemon import LoopSettings
from alerting.service.supervisor import Supervisor
from tests.support.desk import Desk, wait_until

#: a phone that nobody answers
NOBODY = {"PHONE_URL": "json://127.0.0.1:1/nobody"}


class FakeSignals:
    """Keeps what a signal would call."""

    def on_reload(self, ask):
        self.hang_up = ask

    def on_end(self, stop):
        self.terminate = stop


class Running(Desk):
    """A desk whose daemon is a thread of this process, and looks around often."""

    thread = None
    #: what the environment says otherwise
    more: Mapping[str, str] = MappingProxyType({})
    #: the daemon's own
    environment: Mapping[str, str] = MappingProxyType({})

    def load(self):
        return load_config(self.path, environ=self.environ(**self.more))

    def begin(self, *, edit=lambda: None, clock=context.now, wait=True):
        """Start; `edit` happens after the file was read."""
        self.signals = FakeSignals()
        # looked up at each call: a test may replace it
        reloader = Reloader(self.path, lambda: self.load())  # noqa: PLW0108
        config = self.load()
        edit()
        supervisor = Supervisor(
            config,
            self.folder / "alerting.db",
            clock=clock,
            signals=self.signals,
            loop=LoopSettings(look_every=0.02, program_every=0.1),
        )
        self.error = None

        def run():
            try:
                supervisor.run(reloader=reloader, environ=self.environment, listen=None)
            except BaseException as error:
                self.error = error

        self.thread = threading.Thread(target=run)
        self.thread.start()
        wait_until(lambda: not wait or self.exchange.requests or self.error)

    def end(self):
        self.signals.terminate()
        self.ended()

    def ended(self):
        """It ends by itself, and well."""
        self.thread.join(20)
        assert (self.thread.is_alive(), self.error) == (False, None)

    def told(self, *words, box="desk"):
        wait_until(lambda: any(all(word in t for word in words) for t in self.titles(box)))

    def take_over(self, change=lambda: None, **settings):
        """Write the file, changed, and wait until the daemon works by it."""
        before = self.reloads()
        self.write(**settings)
        change()
        self.signals.hang_up()
        wait_until(lambda: self.reloads() > before)

    def reloads(self):
        return self.caplog.text.count("rules file taken over")
