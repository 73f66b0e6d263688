"""Clients of the small web server."""

from __future__ import annotations

import http.client
import socket


def port_of(server):
    return int(server.address.rpartition(":")[2])


def ask(server, path="/page", method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=5)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.getheaders())
    finally:
        connection.close()


def raw(server, data, *, timeout=5):
    """What comes back on a connection that sends these bytes and then waits."""
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=timeout) as connection:
        connection.sendall(data)
        received = bytearray()
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
        return bytes(received)
