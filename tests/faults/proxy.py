"""A line between the product and PostgreSQL that a test can cut, hold, slow down and tear, also in one direction.

What always holds: it listens on a TCP port of this machine and passes bytes on unchanged and in order until a fault
says otherwise; faults act on the connections that there are and, where that is said, on new ones; `close` ends it all.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

CHUNK = 65536
COMMIT = b"COMMIT\x00"
"""How the end of a transaction looks on PostgreSQL's wire."""

COMMIT_SECONDS = 0.2
"""Longer than a commit takes on this machine."""


class Way(Enum):
    """A direction."""

    UP = "to the server"
    DOWN = "to us"


@dataclass
class _Trap:
    """Cut at the `skip + 1`-th time that these bytes come by on their way up."""

    wanted: bytes
    skip: int
    arrives: bool
    sprung: threading.Event = field(default_factory=threading.Event)


class Proxy:
    """One listening port in front of one server's socket."""

    def __init__(self, upstream: Path) -> None:
        self._upstream = upstream
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._open = {Way.UP: threading.Event(), Way.DOWN: threading.Event()}
        for gate in self._open.values():
            gate.set()
        self._delay = {Way.UP: 0.0, Way.DOWN: 0.0}
        self._refusing = False
        self._trap: _Trap | None = None
        self._deaf: tuple[socket.socket, socket.socket] | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True, name="proxy").start()

    def url(self, address: str) -> str:
        """The same database as this address names, through here."""
        parts = urlsplit(address)
        return f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{self.port}{parts.path}"

    # faults

    def cut(self, *, refuse: bool = False) -> None:
        """End all connections as a server that goes away does; with `refuse` new ones, too, until `heal`."""
        self._refusing = refuse
        self._end(tear=False)

    def reset(self) -> None:
        """End all connections with a reset in our direction."""
        self._end(tear=True)

    def hang(self, *ways: Way) -> None:
        """Pass nothing on until `heal`, in both directions or in these: connections stay open and silent."""
        for way in ways or tuple(Way):
            self._open[way].clear()

    def delay(self, seconds: float, *ways: Way) -> None:
        """Pass everything on so much later, in both directions or in these."""
        for way in ways or tuple(Way):
            self._delay[way] = seconds

    def cut_at(self, wanted: bytes, *, skip: int = 0, arrives: bool) -> threading.Event:
        """Cut the connection on which these bytes come by next (after `skip` times), and no other.

        With `arrives` the server gets them and has answered, but we never hear the answer; otherwise it never gets
        them. The event says that it has happened.
        """
        self._trap = _Trap(wanted, skip, arrives)
        return self._trap.sprung

    def heal(self) -> None:
        """All faults are over; connections that were cut stay cut."""
        self._refusing, self._trap = False, None
        for way in Way:
            self._delay[way] = 0.0
            self._open[way].set()

    def close(self) -> None:
        """End everything."""
        self._refusing = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for gate in self._open.values():
            gate.set()
        self._end(tear=False)

    # the line

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                if self._refusing:
                    raise ConnectionRefusedError
                server.connect(str(self._upstream))
            except OSError:
                ours.close()
                server.close()
                continue
            pair = (ours, server)
            with self._lock:
                self._pairs.add(pair)
            for way in Way:
                threading.Thread(target=self._pass_on, args=(pair, way), daemon=True).start()

    def _pass_on(self, pair: tuple[socket.socket, socket.socket], way: Way) -> None:
        source, target = pair if way is Way.UP else (pair[1], pair[0])
        with suppress(OSError):
            while data := source.recv(CHUNK):
                if self._delay[way]:
                    time.sleep(self._delay[way])
                self._open[way].wait()
                if way is Way.UP and self._springs(data):
                    self._spring(data, pair)
                    break
                if pair is not self._deaf:
                    target.sendall(data)
        self._drop(pair)

    def _springs(self, data: bytes) -> bool:
        trap = self._trap
        if trap is None or trap.wanted not in data:
            return False
        trap.skip -= 1
        return trap.skip < 0

    def _spring(self, data: bytes, pair: tuple[socket.socket, socket.socket]) -> None:
        trap, self._trap = self._trap, None
        assert trap is not None
        self._deaf = pair  # whatever the server says from here on, we do not hear it
        if trap.arrives:
            pair[1].sendall(data)
            time.sleep(COMMIT_SECONDS)
        trap.sprung.set()

    def _end(self, *, tear: bool) -> None:
        with self._lock:
            pairs = list(self._pairs)
        for ours, server in pairs:
            if tear:
                with suppress(OSError):
                    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    ours.close()  # with this option a close is a reset
            self._drop((ours, server))

    def _drop(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            self._pairs.discard(pair)
        for end in pair:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
