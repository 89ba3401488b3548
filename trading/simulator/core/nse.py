"""The National Stock Exchange of India's calendar: its trading days and hours.

What always holds here: days are India's, times are aware and in UTC; the holidays that follow the moon are known for
2024 to 2026, the fixed ones for every year.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from functools import lru_cache
from zoneinfo import ZoneInfo

from .nyse import good_friday
from .sessions import Exchange, Session, SessionHours

INDIA = ZoneInfo("Asia/Kolkata")
OPENS, CLOSES = time(9, 15), time(15, 30)
_FIXED = ((1, 26), (5, 1), (8, 15), (10, 2), (12, 25))
_MOVING: dict[int, tuple[tuple[int, int], ...]] = {
    2024: (
        (1, 22), (3, 8), (3, 25), (4, 11), (4, 17), (5, 20), (6, 17), (7, 17), (11, 1), (11, 15), (11, 20),
    ),
    2025: ((2, 26), (3, 14), (3, 31), (4, 10), (4, 14), (8, 27), (10, 21), (10, 22), (11, 5)),
    2026: ((3, 3), (3, 26), (3, 31), (4, 14), (5, 28), (6, 26), (9, 14), (10, 20), (11, 10), (11, 24)),
}  # fmt: skip


@lru_cache(maxsize=64)
def holidays(year: int) -> frozenset[date]:
    """The days of a year on which the exchange is closed besides the weekends."""
    days = {date(year, month, day) for month, day in (*_FIXED, *_MOVING.get(year, ()))}
    return frozenset(days | {good_friday(year)})


def is_trading_day(day: date) -> bool:
    """Whether the exchange opens on this day."""
    return day.weekday() < 5 and day not in holidays(day.year)


@lru_cache(maxsize=8192)
def session(day: date) -> Session | None:
    """The session of this day; None when the exchange is closed. There are no extended hours."""
    if not is_trading_day(day):
        return None
    opens, closes = (datetime.combine(day, one, INDIA).astimezone(UTC) for one in (OPENS, CLOSES))
    return Session(day, opens, closes, opens, closes)


EXCHANGE = Exchange(INDIA, session, CLOSES)


class IndianHours(SessionHours):
    """When instruments of the NSE are traded."""

    def __init__(self, always_open: bool = False) -> None:
        super().__init__(EXCHANGE, always_open)
