"""HTTP by `requests` under a deadline, for whoever makes a session of its own."""

from __future__ import annotations

import socket
from typing import Any, ClassVar

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from alerting.net import local
from alerting.net.deadline import Deadline


class _Bounded(HTTPConnection):
    """A connection whose socket its deadline can end at any time."""

    deadline: ClassVar[Deadline]
    _handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        port, options = self.port or self.default_port, self.socket_options or ()
        try:
            sock, self._handle = self.deadline.connect(self.host, port, options=options)
        except socket.gaierror as error:
            raise urllib3.exceptions.NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise urllib3.exceptions.ConnectTimeoutError(self, "timed out") from error
        except OSError as error:
            raise urllib3.exceptions.NewConnectionError(self, "failed") from error
        return sock

    def _tunnel(self) -> None:
        with local.tunnelling():
            super()._tunnel()

    def close(self) -> None:
        super().close()
        if self._handle is not None:
            self.deadline.release(self._handle)
            self._handle = None


def _pools(owner: Deadline) -> dict[str, type[HTTPConnectionPool]]:
    """Connection pools whose connections belong to one deadline."""

    class Plain(_Bounded):
        deadline = owner

    class Encrypted(_Bounded, HTTPSConnection):
        deadline = owner

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


class DeadlineAdapter(HTTPAdapter):
    """Connects under a deadline, directly or by a proxy; keeps one connection."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """As requests does; LocalFault where this machine's own settings are in the way."""
        return local.send(super().send, request, **kwargs)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As requests does, with pools of our own."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self._deadline)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """As requests does, with pools of our own but for SOCKS, which connects by itself."""
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _pools(self._deadline)
        return manager

    def close(self) -> None:
        """Close the connections now; urllib3 leaves that to the garbage collector."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it cannot be iterated itself
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.close()
        super().close()
