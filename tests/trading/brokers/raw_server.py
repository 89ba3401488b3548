"""A server of raw sockets for faults on the wire: it keeps every request it read and answers with what a test scripts.

What always holds: loopback only; each connection is served by its own thread; `requests` counts complete requests, so
that a test can prove that nothing was sent twice.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Behaviour = Callable[[socket.socket, "Request"], None]


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: str


@dataclass
class RawServer:
    """Answers every request with `behaviour`, which may do to the socket whatever a broken server would."""

    behaviour: Behaviour
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def methods(self) -> list[str]:
        """The methods of all requests so far."""
        return [request.method for request in self.requests]

    def stop(self) -> None:
        """Close the listener and every connection."""
        self.closing.set()
        for each in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets.append(connection)
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        with contextlib.suppress(OSError, ValueError), connection:
            while (request := _read(stream)) is not None:
                self.requests.append(request)
                self.behaviour(connection, request)
                if getattr(connection, "_closed", False):
                    stream.close()  # the last handle: only now the other side sees the end
                    return


def _read(stream: Any) -> Request | None:
    first = stream.readline().decode("latin-1").split()
    if len(first) < 2:
        return None
    headers = {}
    while (line := stream.readline().decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Request(first[0], first[1], headers, stream.read(int(headers.get("content-length", "0"))).decode())


def answer(status: int, body: str | bytes | dict[str, Any], *headers: str) -> bytes:
    """A whole HTTP answer; a dict goes out as JSON."""
    payload = json.dumps(body) if isinstance(body, dict) else body
    raw = payload.encode() if isinstance(payload, str) else payload
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(raw)}", *headers]
    if isinstance(body, dict):
        lines.append("Content-Type: application/json")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + raw


def always(*pieces: bytes) -> Behaviour:
    """Send these bytes for every request, in one write."""

    def behave(connection: socket.socket, request: Request) -> None:
        connection.sendall(b"".join(pieces))

    return behave


@contextlib.contextmanager
def serving(behaviour: Behaviour) -> Iterator[RawServer]:
    """A running server, stopped at the end."""
    server = RawServer(behaviour)
    try:
        yield server
    finally:
        server.stop()
