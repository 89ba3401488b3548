"""When the currency market is open: Sunday 17:05 to Friday 16:59 New York, unless it is always open.

What always holds here: times are aware and in UTC; New York's changes of clock are followed.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
_OPENS = time(17, 5)
_CLOSES = time(16, 59)


@lru_cache(maxsize=4096)
def _week(sunday: date) -> tuple[datetime, datetime]:
    opens = datetime.combine(sunday, _OPENS, NEW_YORK).astimezone(UTC)
    closes = datetime.combine(sunday + timedelta(days=5), _CLOSES, NEW_YORK).astimezone(UTC)
    return opens, closes


def session(at: datetime) -> tuple[datetime, datetime]:
    """The trading week that is running at `at`, or else the last one that ended before it: (opens, closes)."""
    local = at.astimezone(NEW_YORK).date()
    sunday = local - timedelta(days=(local.weekday() + 1) % 7)
    opens, closes = _week(sunday)
    return (opens, closes) if opens <= at else _week(sunday - timedelta(days=7))


class Hours:
    """The calendar of the market. `always_open` switches every closing time off."""

    def __init__(self, always_open: bool = False) -> None:
        self.always_open = always_open

    def is_open(self, at: datetime) -> bool:
        """Whether orders can be filled at this moment."""
        if self.always_open:
            return True
        opens, closes = session(at)
        return opens <= at < closes

    def is_extended(self, at: datetime) -> bool:
        """Whether orders can be filled that ask for more than the usual hours: currencies have none."""
        return self.is_open(at)

    def last_open(self, at: datetime) -> datetime:
        """`at` itself when the market is open, else the last moment before which it was open."""
        if self.is_open(at):
            return at
        return session(at)[1] - timedelta(microseconds=1)

    def next_open(self, at: datetime) -> datetime:
        """`at` itself when the market is open, else the next moment at which it opens."""
        if self.is_open(at):
            return at
        return session(session(at)[0] + timedelta(days=8))[0]

    def overlap(self, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
        """The open stretches inside [start, end), in order."""
        if self.always_open:
            return [(start, end)] if start < end else []
        found: list[tuple[datetime, datetime]] = []
        opens, closes = session(start)
        while opens < end:
            low, high = max(opens, start), min(closes, end)
            if low < high:
                found.append((low, high))
            opens, closes = session(opens + timedelta(days=8))
        return found
