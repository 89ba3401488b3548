"""A simulator of a replay's own: started for one run, on ports of its own, and stopped after it.

What always holds: it is never the desk's simulator; it keeps nothing; it dies with its starter.
"""

from __future__ import annotations

import json
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from backoffice.desk import children, paths
from backoffice.desk.paths import DeskError
from backoffice.desk.processes import child_environment, python

FIRST_PORT = 9200
READY_SECONDS = 30.0


@contextmanager
def own_simulator(*, start: datetime) -> Iterator[str]:
    """Run a simulator whose clock stands at `start`; yields its control URL. Raises DeskError if it does not start."""
    with tempfile.TemporaryDirectory(prefix="backoffice-stage-") as folder:
        ports = Path(folder) / "ports.json"
        process = children.start(
            python(
                "-m",
                "trading.simulator",
                "--ports",
                str(FIRST_PORT),
                "--ports-file",
                ports,
                "--speed",
                "0",
                "--always-open",
                "--start",
                start.isoformat(),
            ),
            log=paths.open_log("replay-simulator"),
            environment=child_environment(),
            directory=paths.PROJECT,
        )
        try:
            end = time.monotonic() + READY_SECONDS
            while not ports.exists():
                if process.poll() is not None or time.monotonic() > end:
                    raise DeskError(
                        "The simulator for this replay did not start; nothing was run. The end of its log:\n"
                        + paths.end_of_log("replay-simulator")
                    )
                time.sleep(0.02)
            yield f"http://127.0.0.1:{json.loads(ports.read_text())['ports']['control']}"
        finally:
            children.stop(process, (signal.SIGTERM, 5.0))
