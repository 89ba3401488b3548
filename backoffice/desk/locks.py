"""File locks by which commands and the desk share one embedded PostgreSQL. Held by a process, gone with it.

What always holds here:
- `users`: shared by everybody who uses the server; whoever started it takes it alone before stopping it;
- `start`: held alone while somebody looks whether a server runs, starts it and migrates;
- `server`: held alone by whoever started the server and will stop it: a server without it was abandoned;
- `desk`: held alone by the desk for its whole life.
"""

from __future__ import annotations

import fcntl
import os

from backoffice.desk import paths


class FileLock:
    """One lock file below `var/run`; taking it again changes its strength."""

    def __init__(self, name: str) -> None:
        self._path = paths.state_directory() / f"{name}.lock"
        self._descriptor: int | None = None

    def take(self, *, alone: bool, wait: bool = True) -> bool:
        """Take the lock, shared or alone; False when it is held by others and we do not wait."""
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        try:
            fcntl.flock(self._descriptor, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Let go of it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_held(name: str) -> bool:
    """Whether another process holds this lock alone."""
    lock = FileLock(name)
    free = lock.take(alone=False, wait=False)
    lock.release()
    return not free
