"""One websocket of a broker as an iterator of the port's items.

What always holds:
- no proxy, no redirect, no second connection by itself: who listens decides when to connect again;
- the first item comes when the broker has said that it sends what we asked for;
- silence is broken by a ping of ours: a pong counts as a heartbeat, no pong within `silence_seconds` ends the stream;
- words that are not known never break the stream, a message that cannot be read ends it.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from trading.brokers.transport import read_document
from trading.brokers.wire import CONNECT_SECONDS, Exchange
from trading.domain.broker import BrokerNeedsLogin, BrokerUnreachable

OPEN_SECONDS = 5.0
LARGEST_FRAME = 1024 * 1024
Item = TypeVar("Item")


class SocketStream(Generic[Item]):
    """An iterator of what one websocket says. `close` closes the connection, from any thread.

    `greet` says what is wanted, `read` makes a message of a frame and `parse` items of a message; `login` is what a
    person must do where the broker turns a connection's credentials away before it is open.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        secrets: tuple[str, ...],
        silence_seconds: float,
        greet: Callable[[OpenSocket], None],
        parse: Callable[[Any], Sequence[Item]],
        heartbeat: Item,
        login: str = "",
        read: Callable[[Exchange], Any] = read_document,
    ) -> None:
        self._login, self._read = login, read
        self._name, self._url, self._secrets, self._silence = name, url, secrets, silence_seconds
        self._greet, self._parse, self._heartbeat = greet, parse, heartbeat
        self._guard: socket.socket | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._items = self._run()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        return next(self._items)

    def close(self) -> None:
        """End it; a thread that waits for an item gets `StopIteration`."""
        with self._lock:
            self._closed = True
            if self._guard is not None:
                with suppress(OSError):
                    self._guard.shutdown(socket.SHUT_RDWR)
        with suppress(ValueError):  # another thread waits inside: it has just been woken, and cleans up itself
            self._items.close()

    def _run(self) -> Generator[Item, None, None]:
        from websockets.exceptions import WebSocketException

        try:
            with self._connected() as connected:
                self._greet(connected)
                yield self._heartbeat
                while True:
                    said = connected.next(self._silence)
                    if said is None:
                        yield self._heartbeat
                    else:
                        yield from self._parse(said)
        except (OSError, WebSocketException, ValueError) as error:  # BadData is a ValueError
            if self._login and getattr(getattr(error, "response", None), "status_code", None) == 403:
                raise BrokerNeedsLogin(self._login) from error
            if not self._closed:
                raise BrokerUnreachable(
                    f"{self._name} has ended: {self._said(error)}. It says nothing about positions or money."
                ) from error

    @contextmanager
    def _connected(self) -> Iterator[OpenSocket]:
        from websockets.sync.client import connect

        parts = urlsplit(self._url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "wss" else 80)
        raw = socket.create_connection((host, port), timeout=CONNECT_SECONDS)
        with self._lock:
            # A second handle: the first one is taken over, this one wakes whoever waits on it.
            self._guard = raw.dup()
            if self._closed:
                raw.close()
                raise OSError("it was closed before it was open")
        try:
            # With a socket of ours no redirect can be followed.
            with connect(
                self._url,
                sock=raw,
                proxy=None,
                compression=None,
                open_timeout=OPEN_SECONDS,
                ping_interval=None,
                close_timeout=0.5,
                max_size=LARGEST_FRAME,
            ) as connection:
                yield OpenSocket(connection, self._name, self._read)
        finally:
            raw.close()
            with self._lock:
                self._guard.close()
                self._guard = None

    def _said(self, error: Exception) -> str:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        for secret in self._secrets:
            said = said.replace(secret, "[secret]")
        return said


class OpenSocket:
    """An open websocket: JSON out, and in what `read` makes of each frame."""

    def __init__(self, connection: Any, name: str, read: Callable[[Exchange], Any] = read_document) -> None:
        self._connection, self.name, self._message = connection, name, read
        self._frame = Exchange("GET", name, "", 0.0, status=200)

    def say(self, message: dict[str, Any]) -> None:
        """Send a message."""
        self._connection.send(json.dumps(message))

    def reply(self) -> Any:
        """The next message, which must come soon."""
        return self._read(OPEN_SECONDS)

    def next(self, silence_seconds: float) -> Any | None:
        """The next message; None when there was none, but a pong. Raises TimeoutError without either."""
        with suppress(TimeoutError):
            return self._read(silence_seconds / 2)
        pong = self._connection.ping()
        if not pong.wait(silence_seconds / 2):
            raise TimeoutError(f"it was silent for {silence_seconds:g} s")
        return None

    def _read(self, seconds: float) -> Any:
        data = self._connection.recv(timeout=seconds)
        self._frame.body = data.encode() if isinstance(data, str) else data
        return self._message(self._frame)
