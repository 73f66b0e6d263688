from __future__ import annotations

import socket
import threading
import time
from datetime import timedelta

import pytest

from alerting.net.deadline import Deadline, deadline

LIMIT = timedelta(seconds=0.2)
# a deadline is kept within this; loaded machines schedule late
SLACK = 1.0


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield silent


def open_descriptor(sock):
    return sock.fileno() >= 0


def test_late_timer_does_not_end_the_next_round():
    own = Deadline()
    with own.within(timedelta(seconds=5)):
        late = own._round
    with own.within(timedelta(seconds=5)):
        own._expire(late)
        assert not own.stopped


def test_a_wait_ends_with_the_time_whatever_the_socket_allows(listener):
    started = time.monotonic()
    with deadline(LIMIT) as own:
        sock, _ = own.connect(*listener.getsockname(), patience=30)
        with sock:
            assert sock.gettimeout() == 30
            assert sock.recv(1) == b""
        assert own.expired
        assert own.explain(OSError()) == "no complete answer within 0.2 s"
    assert time.monotonic() - started < SLACK


def test_cancel_ends_a_wait_from_another_thread_and_all_that_follows(listener):
    own = Deadline()
    with own.within(timedelta(seconds=30)):
        sock, _ = own.connect(*listener.getsockname())
        timer = threading.Timer(0.05, own.cancel)
        timer.start()
        with sock:
            assert sock.recv(1) == b""
        timer.join()
        assert (own.cancelled, own.expired) == (True, False)
        with pytest.raises(TimeoutError):
            own.connect(*listener.getsockname())
    assert own.opened == 1
    own.close()


def test_a_released_handle_lives_until_the_block_ends(listener):
    own = Deadline()
    with own.within(timedelta(seconds=5)):
        sock, handle = own.connect(*listener.getsockname())
        sock.close()
        own.release(handle)
        assert open_descriptor(handle)
    assert not open_descriptor(handle)


def test_the_end_of_the_block_lets_go_without_ending_a_connection(listener):
    with deadline(timedelta(seconds=5)) as own:
        sock, handle = own.connect(*listener.getsockname())
    assert not open_descriptor(handle)
    peer, _ = listener.accept()
    with sock, peer:
        peer.sendall(b"x")
        assert sock.recv(1) == b"x"


def test_a_name_that_never_resolves_ends_in_time(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: release.wait(5))
    started = time.monotonic()
    try:
        with deadline(LIMIT) as own, pytest.raises(TimeoutError, match="not resolved in time"):
            own.connect("exchange.invalid", 443)
    finally:
        release.set()
    assert time.monotonic() - started < SLACK


def test_a_name_that_is_none_is_an_os_error():
    with deadline(timedelta(seconds=5)) as own, pytest.raises(OSError, match="no name of a host"):
        own.connect("a" * 70 + ".example", 443)


def test_without_a_thread_to_be_had_the_sockets_own_patience_bounds_it(listener, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with deadline(timedelta(seconds=5)) as bounded:
        host, port = listener.getsockname()[:2]
        sock, handle = bounded.connect(
            "localhost" if host == "127.0.0.1" else host, port, patience=0.05
        )
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.close()
        bounded.release(handle)
