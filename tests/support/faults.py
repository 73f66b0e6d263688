"""What an exchange can do instead of answering."""

from __future__ import annotations

import enum
import socket
import struct
import time

SECONDS_PER_DRIPPED_BYTE = 0.02


class Fault(enum.Enum):
    """A `Special.answer`; bodies are the present wallet's."""

    #: takes the request and says nothing until the client gives up
    HANG = "hang"
    #: closes without a byte
    HANG_UP = "hang up"
    #: resets the connection
    RESET = "reset"
    #: breaks off in the headers
    CUT_HEADERS = "cut headers"
    #: promises the whole body and sends half of it
    CUT_BODY = "cut body"
    #: one byte now and then, from the first of the headers on
    DRIP_HEADERS = "drip headers"
    #: headers at once, then the body one byte now and then
    DRIP_BODY = "drip body"
    #: as DRIP_BODY, but without a length: the body ends where the connection does
    DRIP_ENDLESS = "drip endless"
    #: bytes that are no HTTP
    NOT_HTTP = "not HTTP"

    def __call__(self, handler, special):
        body = handler.server.exchange.healthy_body()
        head = handler.head(special, None if self is Fault.DRIP_ENDLESS else len(body))
        match self:
            case Fault.HANG:
                handler.rfile.read(1)
            case Fault.RESET:
                reset(handler.connection)
            case Fault.CUT_HEADERS:
                handler.write(head[:25])
            case Fault.CUT_BODY:
                handler.write(head + body[: len(body) // 2])
            case Fault.DRIP_HEADERS:
                drip(handler, head + body)
            case Fault.DRIP_BODY | Fault.DRIP_ENDLESS:
                handler.write(head)
                drip(handler, body)
            case Fault.NOT_HTTP:
                handler.write(bytes(range(256)))


def drip(handler, data):
    for byte in data:
        handler.write(bytes([byte]))  # fails as soon as either side has hung up
        time.sleep(SECONDS_PER_DRIPPED_BYTE)


def reset(connection):
    # linger for 0 seconds: close sends RST instead of FIN
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
