"""Real Celery workers that a test can kill, freeze and look at.

What always holds here: a worker and its pool are one process group, so that a kill meets all of it, frozen processes
included; a worker with a failpoint acts on it once in its life, and leaves a file that says so.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from backoffice.desk import children, paths

# The limits of workers that are started on `hasty`.
SOFT_SECONDS, HARD_SECONDS = 2, 4
READY_SECONDS = 60.0


class Worker:
    """One `celery worker` as the desk starts it, listening on the named queues."""

    def __init__(
        self,
        directory: Path,
        environment: Mapping[str, str],
        *,
        name: str,
        queues: str = "orders",
        failpoint: str = "",
        concurrency: int = 2,
        app: str = "backoffice.celery",
    ) -> None:
        self.name = name
        self.failpoint = failpoint
        self._ready = directory / f"{name}.ready"
        self._struck = directory / f"{name}.struck"
        self.log = directory / f"{name}.log"
        self.process: subprocess.Popen[bytes] = children.start(
            [
                *(sys.executable, "-m", "celery", "--app", app, "--quiet", "worker"),
                *("--queues", queues, "--concurrency", str(concurrency), "--hostname", f"{name}@%h"),
                *("--without-mingle", "--without-gossip"),
            ],
            log=os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            environment={
                **environment,
                "BACKOFFICE_READY_FILE": str(self._ready),
                "FAILPOINTS": failpoint,
                "FAILPOINT_ONCE": str(self._struck),
                "PYTHONUNBUFFERED": "1",
                "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
            },
            directory=paths.PROJECT,
        )

    @property
    def is_ready(self) -> bool:
        """Whether it takes tasks. Raises AssertionError when it has ended instead."""
        assert self.process.poll() is None, f"worker {self.name} ended by itself: {self.last_words()}"
        return self._ready.exists()

    @property
    def struck(self) -> bool:
        """Whether its failpoint has acted."""
        return self._struck.exists()

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2000:]

    def resume(self) -> None:
        """Let frozen processes of it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9, the pool included."""
        self._signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Ask it to end; after two seconds it is killed."""
        children.stop(self.process, (signal.SIGTERM, 2.0))
        self._signal(signal.SIGKILL)

    def _signal(self, by: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, by)
