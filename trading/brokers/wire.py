"""One HTTP exchange on the wire under a total deadline: sockets, name resolution, connections and their reuse.

What always holds:
- an exchange knows whether any byte of its request was handed to a socket (`sent`). Name resolution, TCP connect and
  TLS handshake come before that, so their failure proves that the broker has not got the request;
- at the deadline the socket is shut down by a timer, whatever it is doing (a dripping header, a dripping body, a
  handshake), and nothing is sent after it;
- a kept connection that idled is not used again: an answer lost on a connection that the other side had closed would
  make a write's outcome unknown. Writes reuse only one that answered a moment ago (a burst of cancels needs that:
  brokers limit new connections per second), reads are more patient.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import requests.adapters
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from trading.domain.broker import Evidence

CONNECT_SECONDS = 2.0
WRITE_REUSE_SECONDS = 2.0
READ_REUSE_SECONDS = 20.0


@dataclass(slots=True)
class Exchange:
    """One request and what came of it. Mutable while it runs; `evidence()` is its frozen record."""

    method: str
    path: str
    request_body: str
    deadline_seconds: float
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished_at: datetime | None = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: str = ""
    sent: bool = False
    expired: bool = False
    _ends: float = 0.0
    _sockets: list[socket.socket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.restart_clock()

    @property
    def is_write(self) -> bool:
        """Whether the request can change anything at the broker."""
        return self.method not in ("GET", "HEAD")

    @property
    def complete(self) -> bool:
        """Whether a whole answer arrived."""
        return self.status is not None and not self.error

    def restart_clock(self) -> None:
        """Start the deadline now: waiting for our own budget does not count against the broker."""
        self.started_at = datetime.now(UTC)
        self._ends = time.monotonic() + self.deadline_seconds

    def remaining(self) -> float:
        """Seconds left until the deadline, never negative."""
        return max(0.0, self._ends - time.monotonic())

    def watch(self, guard: socket.socket) -> None:
        """Shut this socket down at the deadline. Raises TimeoutError if that has passed already."""
        with self._lock:
            if self.expired:
                raise TimeoutError("the deadline of the exchange passed before the request was sent")
            if guard not in self._sockets:
                self._sockets.append(guard)

    def unwatch(self) -> None:
        """The answer is complete: the deadline has nothing left to cut."""
        with self._lock:
            self._sockets.clear()

    def expire(self) -> None:
        """The deadline has come: cut every socket of this exchange, so that whoever waits on one wakes up."""
        with self._lock:
            self.expired = True
            for guard in self._sockets:
                with contextlib.suppress(OSError):
                    guard.shutdown(socket.SHUT_RDWR)

    def evidence(self, secrets: tuple[str, ...]) -> Evidence:
        """The record of this exchange with every secret replaced, safe to store as text."""
        return Evidence(
            method=self.method,
            path=_redacted(self.path, secrets),
            request_body=_redacted(self.request_body, secrets),
            status=self.status,
            response_body=_redacted(self.body.decode("utf-8", errors="replace"), secrets),
            started_at=self.started_at,
            finished_at=self.finished_at or datetime.now(UTC),
            error=_redacted(self.error, secrets),
        )


current_exchange: ContextVar[Exchange] = ContextVar("current_exchange")


def _redacted(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        text = text.replace(secret, "[secret]")
    return text.replace("\x00", "\ufffd")


def _resolve(host: str, port: int, seconds: float) -> list[tuple[Any, ...]]:
    """The addresses of a host. Resolution cannot be interrupted, so it runs aside and is given up at the deadline."""
    found: list[tuple[Any, ...]] = []
    failure: list[OSError] = []

    def ask() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            failure.append(error)

    try:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    except socket.gaierror:
        pass  # a name, not an address: it has to be looked up
    thread = threading.Thread(target=ask, daemon=True, name="resolve")
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not found:
        raise socket.gaierror(socket.EAI_AGAIN, f"{host} could not be resolved in {seconds:.1f} s")
    return found


class _Guarded:
    """What a plain and a TLS connection share: connect within the deadline, tell the exchange when bytes leave."""

    guard: socket.socket | None = None
    idle_since: float = 0.0

    def _new_conn(self: Any) -> socket.socket:
        exchange = current_exchange.get()
        limit = time.monotonic() + min(CONNECT_SECONDS, exchange.remaining())
        try:
            addresses = _resolve(self._dns_host, self.port, limit - time.monotonic())
        except OSError as error:
            raise NameResolutionError(self.host, self, socket.gaierror(str(error))) from error
        failure: OSError = TimeoutError("no time left to connect")
        for family, kind, protocol, _, address in addresses:
            left = limit - time.monotonic()
            if left <= 0:
                break
            connected = socket.socket(family, kind, protocol)
            try:
                connected.settimeout(left)
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connected.connect(address)
            except OSError as error:
                connected.close()
                failure = error
                continue
            # A second handle on the same connection: TLS takes the first one over, the deadline cuts through this one.
            self.guard = socket.socket(fileno=os.dup(connected.fileno()))
            try:
                exchange.watch(self.guard)
            except TimeoutError:
                connected.close()
                raise
            return connected
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, f"{self.host}:{self.port} did not answer in {CONNECT_SECONDS:g} s")
        raise NewConnectionError(self, f"{self.host}:{self.port}: {failure}") from failure

    def send(self: Any, data: Any) -> None:
        if self.sock is None:
            self.connect()
        exchange = current_exchange.get()
        exchange.watch(self.guard)
        exchange.sent = True
        super().send(data)  # type: ignore[misc]

    @property
    def is_connected(self: Any) -> bool:
        limit = WRITE_REUSE_SECONDS if current_exchange.get().is_write else READ_REUSE_SECONDS
        return bool(super().is_connected) and time.monotonic() - self.idle_since < limit  # type: ignore[misc]

    def close(self) -> None:
        super().close()  # type: ignore[misc]
        if self.guard is not None:
            self.guard.close()
            self.guard = None


class _PlainConnection(_Guarded, HTTPConnection):
    pass


class _TlsConnection(_Guarded, HTTPSConnection):
    pass


class _IdleTimed:
    """A pool that notes since when a kept connection idles."""

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.idle_since = time.monotonic()
        super()._put_conn(conn)  # type: ignore[misc]


class _PlainPool(_IdleTimed, HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(_IdleTimed, HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class GuardedAdapter(requests.adapters.HTTPAdapter):
    """The adapter that uses these connections, and never sends anything twice."""

    def __init__(self) -> None:
        super().__init__(max_retries=0, pool_maxsize=8)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
