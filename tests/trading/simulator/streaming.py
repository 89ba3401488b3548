"""A listener for the simulator's streams of lines: reads in a thread, and lets a test wait for what it expects."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from typing import Any

from .support import ACCOUNT, BEARER, Process

Message = dict[str, Any]


class Listener:
    """One open stream below the default OANDA account; `lines` are what has arrived, with their moments.

    `error` is how the connection ended (None: as it should), once `over` is true; `rest` an unfinished line.
    """

    def __init__(self, process: Process, path: str, **headers: str) -> None:
        self._connection = HTTPConnection("127.0.0.1", process.taken["oanda"], timeout=20)
        given = {"Authorization": BEARER, **headers}
        self._connection.request("GET", f"/v3/accounts/{ACCOUNT}{path}", headers=given)
        self.response = self._connection.getresponse()
        assert self.response.status == 200, self.response.read()
        self.lines: list[tuple[float, Message]] = []
        self.rest = b""
        self.error: Exception | None = None
        self.over = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        error: Exception | None = None
        try:
            while data := self.response.read1(65536):
                with self._news:
                    *lines, self.rest = (self.rest + data).split(b"\n")
                    self.lines += [(time.monotonic(), json.loads(line)) for line in lines]
                    self._news.notify_all()
        except (OSError, HTTPException) as found:
            error = found
        with self._news:
            self.error, self.over = error, True
            self._news.notify_all()

    def messages(self, kind: str = "") -> list[Message]:
        """What has arrived, but no heartbeats; or only one type."""
        with self._news:
            found = [message for _, message in self.lines]
        return [one for one in found if (one["type"] == kind if kind else one["type"] != "HEARTBEAT")]

    def wait(self, reached: Callable[[], Any], seconds: float = 5.0) -> Any:
        """Wait until `reached` is true."""
        end = time.monotonic() + seconds
        with self._news:
            while not (found := reached()):
                left = end - time.monotonic()
                assert left > 0, f"nothing of the kind arrived: {self.lines}, {self.error!r}"
                self._news.wait(min(left, 0.1))
        return found

    def next(self, kind: str, count: int = 1) -> list[Message]:
        """Wait for this many messages of a type."""

        def enough() -> list[Message]:
            found = [message for _, message in self.lines if message["type"] == kind]
            return found if len(found) >= count else []

        found: list[Message] = self.wait(enough)
        return found

    def wait_for_end(self, seconds: float = 5.0) -> Exception | None:
        """Wait until the connection is over; how it ended."""
        self.wait(lambda: self.over, seconds)
        return self.error

    def close(self) -> None:
        """Hang up."""
        if not self.over and self._connection.sock is not None:
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._connection.close()
