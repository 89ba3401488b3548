"""The New York Stock Exchange's calendar: its trading days, half days, hours, and when a trade settles.

What always holds here: days are New York's, times are aware and in UTC; the rules and the single closures are exact
for 2010 to 2030.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from .hours import NEW_YORK
from .sessions import Exchange, Session, SessionHours

OPENS, CLOSES, CLOSES_EARLY = time(9, 30), time(16), time(13)
EXTENDED_OPENS, EXTENDED_CLOSES, EXTENDED_CLOSES_EARLY = time(4), time(20), time(17)
_MONDAY, _THURSDAY = 0, 3
_DAY = timedelta(days=1)
# Closed although no rule says so: two days of a hurricane, three days of mourning.
_SINGLE = {date(2012, 10, 29), date(2012, 10, 30), date(2018, 12, 5), date(2025, 1, 9)}
_SETTLES_IN = ((date(2024, 5, 28), 1), (date(2017, 9, 5), 2), (date.min, 3))


def _nth(year: int, month: int, weekday: int, nth: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))


def _easter(year: int) -> date:
    """Easter Sunday (the anonymous Gregorian computation)."""
    a, b, c = year % 19, year // 100, year % 100
    h = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    i = (32 + 2 * (b % 4) + 2 * (c // 4) - h - c % 4) % 7
    month, day = divmod(h + i - 7 * ((a + 11 * h + 22 * i) // 451) + 114, 31)
    return date(year, month, day + 1)


def _observed(day: date) -> date:
    """A holiday on a Saturday is kept on Friday, one on a Sunday on Monday."""
    return day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))


def good_friday(year: int) -> date:
    """The Friday before Easter."""
    return _easter(year) - 2 * _DAY


@lru_cache(maxsize=256)
def holidays(year: int) -> frozenset[date]:
    """The weekdays of a year on which the exchange is closed."""
    memorial = _nth(year, 6, _MONDAY, 1) - 7 * _DAY
    found = {
        _nth(year, 1, _MONDAY, 3),
        _nth(year, 2, _MONDAY, 3),
        good_friday(year),
        memorial,
        _observed(date(year, 7, 4)),
        _nth(year, 9, _MONDAY, 1),
        _nth(year, 11, _THURSDAY, 4),
        _observed(date(year, 12, 25)),
    }
    new_year = date(year, 1, 1)
    if new_year.weekday() != 5:  # a New Year's Day on a Saturday is not kept on the last day of the year
        found.add(_observed(new_year))
    if year >= 2022:
        found.add(_observed(date(year, 6, 19)))
    return frozenset(found | {day for day in _SINGLE if day.year == year})


def is_trading_day(day: date) -> bool:
    """Whether the exchange opens on this day."""
    return day.weekday() < 5 and day not in holidays(day.year)


def closes_early(day: date) -> bool:
    """Whether a trading day ends at one o'clock."""
    if day == _nth(day.year, 11, _THURSDAY, 4) + _DAY:
        return True
    return (day.month, day.day) in ((7, 3), (12, 24))


@lru_cache(maxsize=8192)
def session(day: date) -> Session | None:
    """The session of this day; None when the exchange is closed."""
    if not is_trading_day(day):
        return None
    early = closes_early(day)
    times = (
        OPENS,
        CLOSES_EARLY if early else CLOSES,
        EXTENDED_OPENS,
        EXTENDED_CLOSES_EARLY if early else EXTENDED_CLOSES,
    )
    return Session(day, *(datetime.combine(day, one, NEW_YORK).astimezone(UTC) for one in times))


EXCHANGE = Exchange(NEW_YORK, session, CLOSES)
following, preceding = EXCHANGE.following, EXCHANGE.preceding
day_of, midnight = EXCHANGE.day_of, EXCHANGE.midnight


def trades_settled_on(day: date) -> date:
    """The trading day on which trades of this trading day settle."""
    steps = next(count for since, count in _SETTLES_IN if day >= since)
    for _ in range(steps):
        day = following(day + _DAY).day
    return day


class ShareHours(SessionHours):
    """When shares are traded: the regular session of each trading day, and the hours before and after it."""

    def __init__(self, always_open: bool = False) -> None:
        super().__init__(EXCHANGE, always_open)
