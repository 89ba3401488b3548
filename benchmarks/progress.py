"""How far a long run is, one line on stderr, drawn anew; and what it came to, one JSON line at the end."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

WIDTH = 40


class Bar:
    """A bar of `total` steps. Threads may share it."""

    def __init__(self, total: int) -> None:
        self._done, self._wrong, self._total, self._begin = 0, 0, total, time.monotonic()
        self._lock = threading.Lock()

    def show(self, what: str, more: int = 0, wrong: int = 0) -> None:
        """So many more steps are done, so many of them wrong; say what is going on."""
        with self._lock:
            self._done, self._wrong = self._done + more, self._wrong + wrong
            filled = WIDTH * min(self._done, self._total) // self._total
            spent = time.monotonic() - self._begin
            left = spent * max(self._total - self._done, 0) / self._done if self._done else 0
            line = f"[{'#' * filled}{'.' * (WIDTH - filled)}] {self._done:,}/{self._total:,}"
            line += f", {self._wrong} wrong" if self._wrong else ""
            print(f"\r{line} {spent:5.0f} s, {left:5.0f} s left  {what[:60]:60}", end="", file=sys.stderr, flush=True)


def finish(result: Mapping[str, Any]) -> int:
    """Print figures, targets and whether they were met, as the last line; the exit code, 0 only when they were."""
    print(file=sys.stderr)
    print(json.dumps(result), flush=True)
    return 0 if result["met"] else 1
