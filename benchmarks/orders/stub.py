"""The other end of the line: an OANDA that takes every order at once and writes down when its request arrived.

What always holds: it runs as a process of its own (`python -m benchmarks.orders.stub PORT_FILE`), answers without any
work, keeps connections, and gives each arrival once: `GET /arrivals` hands over what came since it was last asked, as
`[client id, wall time in seconds]`. A path that it does not know is told that there is nothing new.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

NOW = "2026-01-14T15:00:00.000000000Z"
_arrivals: list[tuple[str, float]] = []
_numbers = count(1_000)


class Connection(asyncio.Protocol):
    """One kept HTTP/1.1 connection."""

    def __init__(self) -> None:
        self._waiting = b""
        self._began: float | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connects."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request; it arrived with its first byte."""
        if self._began is None:
            self._began = time.time()
        self._waiting += data
        while b"\r\n\r\n" in self._waiting:
            head, _, rest = self._waiting.partition(b"\r\n\r\n")
            length = _length(head)
            if len(rest) < length:
                return
            body, self._waiting = rest[:length], rest[length:]
            arrived, self._began = self._began or time.time(), None
            assert self._transport is not None
            self._transport.write(_answer(head.split(b"\r\n", 1)[0].decode(), body, arrived))


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


def _answer(request_line: str, body: bytes, arrived: float) -> bytes:
    method, target, _ = request_line.split(" ", 2)
    path = urlsplit(target)
    if method == "POST":
        return _http(201, _taken(json.loads(body)["order"], path.path.split("/")[3], arrived))
    if path.path == "/arrivals":
        told = list(_arrivals)
        _arrivals.clear()
        return _http(200, {"arrivals": told})
    if path.path.endswith("/summary"):
        account = {"id": path.path.split("/")[3], "currency": "USD", "hedgingEnabled": False}
        return _http(200, {"account": account, "lastTransactionID": "1"})
    last = parse_qs(path.query).get("id", ["1"])[0]
    return _http(200, {"transactions": [], "lastTransactionID": last})


def _taken(order: dict[str, Any], account: str, arrived: float) -> dict[str, Any]:
    _arrivals.append((order["clientExtensions"]["id"], arrived))
    number = str(next(_numbers))
    created = {
        "id": number,
        "accountID": account,
        "time": NOW,
        "type": f"{order['type']}_ORDER",
        "instrument": order["instrument"],
        "units": order["units"],
        "clientExtensions": order["clientExtensions"],
        "reason": "CLIENT_ORDER",
    }
    return {"orderCreateTransaction": created, "lastTransactionID": number}


def _http(status: int, document: dict[str, Any]) -> bytes:
    body = json.dumps(document).encode()
    return (
        f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )


async def serve(port_file: Path) -> None:
    """Listen on a free port, whose number is written into the file."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    draft = port_file.with_suffix(".new")
    draft.write_text(str(server.sockets[0].getsockname()[1]))
    draft.rename(port_file)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
