"""Candles: how time is cut into buckets, and candles of prices that were set from outside.

What always holds here: a bucket is [start, end) in UTC seconds; open, high, low and close are true mid prices that
were traded in it; volume counts prices, or is the posted bar's own. Up to an hour buckets are cut from the epoch,
longer ones from 17:00 New York, weeks from Friday 17:00.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal

from .hours import NEW_YORK
from .numbers import at_second, seconds_of

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
GRANULARITIES: dict[str, int] = {
    **{f"S{n}": n for n in (5, 10, 15, 30)},
    **{f"M{n}": n * _MINUTE for n in (1, 2, 4, 5, 10, 15, 30)},
    **{f"H{n}": n * _HOUR for n in (1, 2, 3, 4, 6, 8, 12)},
    "D": _DAY,
    "W": 7 * _DAY,
    "M": 31 * _DAY,
}
BASES = (300, 60, 5)
_KEPT = {300: 250_000, 60: 30_000, 5: 40_000}
_ROLL = time(17)


@dataclass(frozen=True, slots=True)
class Candle:
    """One mid candle; `start` and `end` bound its bucket."""

    start: datetime
    end: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int
    complete: bool


def _roll(day: date) -> datetime:
    return datetime.combine(day, _ROLL, NEW_YORK)


def _trading_day(second: int) -> date:
    local = at_second(second).astimezone(NEW_YORK)
    return local.date() if local.time() >= _ROLL else local.date() - timedelta(days=1)


def bucket(granularity: str, second: int) -> tuple[int, int]:
    """The bucket [start, end) of this granularity that holds `second`."""
    length = GRANULARITIES[granularity]
    if length <= _HOUR:
        start = second - second % length
        return start, start + length
    day = _trading_day(second)
    if granularity == "W":
        first = day - timedelta(days=(day.weekday() - 4) % 7)
        return seconds_of(_utc(first)), seconds_of(_utc(first + timedelta(days=7)))
    if granularity == "M":
        first = (day + timedelta(days=1)).replace(day=1)
        after = (first + timedelta(days=32)).replace(day=1)
        return seconds_of(_utc(first - timedelta(days=1))), seconds_of(_utc(after - timedelta(days=1)))
    opens, closes = seconds_of(_utc(day)), seconds_of(_utc(day + timedelta(days=1)))
    if granularity == "D":
        return opens, closes
    start = opens + (second - opens) // length * length
    return start, min(start + length, closes)


def _utc(day: date) -> datetime:
    return _roll(day).astimezone(at_second(0).tzinfo)


@dataclass(slots=True)
class Bar:
    """Prices of one bucket so far."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int = 1

    def add(self, other: Bar) -> None:
        """Append a later part of the same bucket."""
        self.high, self.low = max(self.high, other.high), min(self.low, other.low)
        self.close = other.close
        self.volume += other.volume


@dataclass(slots=True)
class Series:
    """Candles of one driven instrument at the base lengths, built price by price."""

    bars: dict[int, dict[int, Bar]] = field(default_factory=lambda: {base: {} for base in BASES})
    starts: dict[int, list[int]] = field(default_factory=lambda: {base: [] for base in BASES})

    def add(self, second: int, mid: Decimal, volume: int = 1) -> None:
        """Record one traded price."""
        for base in BASES:
            table, starts = self.bars[base], self.starts[base]
            key = second - second % base
            if key in table:
                table[key].add(Bar(mid, mid, mid, mid, volume))
                continue
            table[key] = Bar(mid, mid, mid, mid, volume)
            insort(starts, key)
            if len(starts) > _KEPT[base]:
                del table[starts.pop(0)]

    def between(self, start: int, end: int) -> Bar | None:
        """The candle of [start, end), or None where nothing was traded."""
        base = next((base for base in BASES if start % base == 0 and end % base == 0), BASES[-1])
        table, starts = self.bars[base], self.starts[base]
        result: Bar | None = None
        for index in range(bisect_left(starts, start), len(starts)):
            if starts[index] >= end:
                break
            part = table[starts[index]]
            if result is None:
                result = Bar(part.open, part.high, part.low, part.close, part.volume)
            else:
                result.add(part)
        return result

    def next_start(self, second: int) -> int | None:
        """The earliest second from here on that may have a price."""
        found = [starts[at] for starts in self.starts.values() if (at := bisect_left(starts, second)) < len(starts)]
        return min(found, default=None)

    def last_start(self, second: int) -> int | None:
        """The latest second up to here that may have a price."""
        found = [starts[at - 1] for starts in self.starts.values() if (at := bisect_right(starts, second)) > 0]
        return max(found, default=None)
