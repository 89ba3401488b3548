"""The same bad answers through real sockets: HTTP framing, lost connections and lengths that lie included.

What always holds: loopback only; the playback's script decides what is answered, as in the fast path.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.trading.brokers.fuzz.serving import Script
from tests.trading.brokers.raw_server import Request, serving


class SocketPlayback:
    """Answers a real server's requests from a script."""

    def __init__(self) -> None:
        self.script = Script()
        self.url = ""

    def answer(self, connection: socket.socket, request: Request) -> None:
        """Write one answer as it would come over the wire, and cut the connection where it is cut or lies."""
        served = self.script.next(request.method, request.path)
        if served.fault:
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()
            return
        length = len(served.wire) if served.length is None else served.length
        lines = [f"HTTP/1.1 {served.status} Whatever", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in served.headers]
        connection.sendall("\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + served.wire)
        if length > len(served.wire):
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()


@contextmanager
def listening() -> Iterator[SocketPlayback]:
    """A running server over a playback of its own."""
    playback = SocketPlayback()
    with serving(playback.answer) as server:
        playback.url = server.url
        yield playback
