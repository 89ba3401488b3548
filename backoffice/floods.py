"""How much of what a stranger can cause is written down: some of it a minute, then one line that says so.

What always holds: an address gets at most `PER_ADDRESS` events and one summary a minute, all addresses together at
most `ALTOGETHER` and one summary, in each process of the web; what was left out is told with the next event of that
address. Kept in memory: a restart forgets it, which costs some rows, never a sign-in.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

WINDOW_SECONDS = 60.0
PER_ADDRESS = 10
ALTOGETHER = 100
MOST_ADDRESSES = 5_000


class Write(Enum):
    """What to write down of an occurrence."""

    IT = "it"
    SUMMARY = "summary"
    NOTHING = "nothing"


@dataclass(slots=True)
class _Window:
    began: float
    seen: int = 0
    unwritten: int = 0


class Flood:
    """Counts occurrences by address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[str, _Window] = {}
        self._all = _Window(clock())

    def note(self, address: str) -> tuple[Write, int]:
        """One more from there: what to write of it, and how many of that address went unwritten before it."""
        with self._lock:
            moment = self._clock()
            window, unwritten = self._window(address, moment)
            if moment - self._all.began >= WINDOW_SECONDS:
                self._all = _Window(moment)
            window.seen += 1
            if window.seen <= PER_ADDRESS and self._all.seen < ALTOGETHER:
                self._all.seen += 1
                return Write.IT, unwritten
            window.unwritten += 1
            if self._all.seen < ALTOGETHER:
                return (Write.SUMMARY if window.seen == PER_ADDRESS + 1 else Write.NOTHING), 0
            self._all.unwritten += 1
            return (Write.SUMMARY if self._all.unwritten == 1 else Write.NOTHING), 0

    def _window(self, address: str, moment: float) -> tuple[_Window, int]:
        """The address's present window, and what its last one left out."""
        window = self._windows.get(address)
        if window is not None and moment - window.began < WINDOW_SECONDS:
            return window, 0
        if window is None and len(self._windows) >= MOST_ADDRESSES:
            self._forget(moment)
        self._windows[address] = fresh = _Window(moment)
        return fresh, window.unwritten if window is not None else 0

    def _forget(self, moment: float) -> None:
        """Drop what is over; if that is nothing, everything: memory is bounded whoever asks."""
        standing = {name: one for name, one in self._windows.items() if moment - one.began < WINDOW_SECONDS}
        self._windows = standing if len(standing) < MOST_ADDRESSES else {}
