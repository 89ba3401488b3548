"""How a bar is traded: its four prices, in which order, and when. Pure functions."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from .instruments import SHARES
from .nyse import day_of, session

_DAY = timedelta(days=1)


def bar_path(opened: Decimal, high: Decimal, low: Decimal, close: Decimal) -> tuple[Decimal, ...]:
    """The order in which a bar's prices are traded: open, the nearer of high and low, the other, close."""
    if abs(high - opened) <= abs(opened - low):
        return (opened, high, low, close)
    return (opened, low, high, close)


def bar_volume(volume: int, point: int) -> int:
    """A bar's own volume is put on its first price; a bar without one counts its four prices."""
    if volume <= 0:
        return 1
    return volume if point == 0 else 0


def point_at(name: str, start: datetime, interval: timedelta, point: int) -> datetime:
    """When one of a bar's four points is traded: after each quarter; a day's bar of a share in that day's session."""
    if name in SHARES and interval == _DAY:
        for day in (day_of(start), day_of(start + interval)):
            found = session(day)
            if found is not None and start <= found.opens and found.closes <= start + interval:
                return found.opens + (found.closes - found.opens) * point / 4
    return start + interval * point / 4
