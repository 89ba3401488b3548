"""The simulator's clock: its own time, `speed` times as fast as the wall's, back only when someone puts it back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal


class Clock:
    """Reads the simulated time. `wall` gives seconds that only grow (time.monotonic)."""

    def __init__(self, now: datetime, speed: Decimal, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._at = now
        self._since = wall()
        self.speed = speed

    def now(self) -> datetime:
        """The simulated time."""
        if self.speed == 0:
            return self._at
        passed = (self._wall() - self._since) * float(self.speed)
        return self._at + timedelta(microseconds=max(0, int(passed * 1_000_000)))

    def set(self, now: datetime, speed: Decimal | None = None) -> None:
        """Go on from this time, which is not before the present one, at this speed."""
        self._at = max(now, self.now())
        self._since = self._wall()
        if speed is not None:
            self.speed = speed

    def put_back(self, now: datetime) -> None:
        """Go on from this earlier time."""
        self._at = now
        self._since = self._wall()
