"""The default market: a seeded random walk per instrument with a price every five seconds.

What always holds here: the price is a function of (seed, instrument, time) alone, so a restart continues it exactly,
the past can be asked for at any length, and time may be skipped without computing what nobody looked at. Days are
Brownian bridges between anchors that wander around the instrument's usual price. Floats stop here: a price leaves
this module as a rounded Decimal.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from decimal import Decimal
from functools import lru_cache
from math import sqrt
from random import Random

from .instruments import Instrument

STEP = 5
DAY = 86_400
PER_DAY = DAY // STEP
_YEAR_DAYS = 260
_KEPT_DAYS = 60
_LONG, _KEPT_RANGES = 3600, 20_000
Range = tuple[Decimal, Decimal, Decimal, Decimal, int]


class Walk:
    """Mid prices of one instrument."""

    def __init__(self, seed: int, instrument: Instrument) -> None:
        self.seed = seed
        self.instrument = instrument
        self._days: OrderedDict[int, array[float]] = OrderedDict()
        self._ranges: OrderedDict[tuple[int, int], Range] = OrderedDict()
        self._daily = instrument.volatility / sqrt(_YEAR_DAYS)
        self._form = f".{instrument.price_decimals}f"

    def _noise(self, octave: int, index: int) -> float:
        return Random(f"{self.seed}/{self.instrument.name}/{octave}/{index}").random() * 2 - 1

    def _anchor(self, day: int) -> float:
        """The price at the start of a day: the usual price, moved by noise of several wave lengths."""
        shift = self._noise(0, day) * self._daily
        for octave, length in ((1, 6), (2, 40)):
            index, part = divmod(day, length)
            weight = part / length
            low, high = self._noise(octave, index), self._noise(octave, index + 1)
            shift += (low + (high - low) * weight) * self._daily * sqrt(length)
        return float(self.instrument.around) * (1 + shift)

    def _day(self, day: int) -> array[float]:
        known = self._days.get(day)
        if known is not None:
            return known
        draw = Random(f"{self.seed}/{self.instrument.name}/day/{day}").random
        start, end = self._anchor(day), self._anchor(day + 1)
        size = start * self._daily / sqrt(PER_DAY) * 2
        level, path = 0.0, array("d")
        for _ in range(PER_DAY):
            path.append(level)
            level += (draw() + draw() + draw() - 1.5) * size
        drift = (end - start - level) / PER_DAY
        for index in range(PER_DAY):
            path[index] += start + drift * index
        self._days[day] = path
        if len(self._days) > _KEPT_DAYS:
            self._days.popitem(last=False)
        return path

    def mid(self, second: int) -> Decimal:
        """The mid price of the tick at or before this second."""
        day, rest = divmod(second, DAY)
        return self._rounded(self._day(day)[rest // STEP])

    def range(self, first: int, last: int) -> Range | None:
        """Open, high, low, close and number of ticks with first <= tick < last (seconds); None without a tick.

        Long ranges are kept, because days of long ago are dear to walk again.
        """
        tick = -(-first // STEP) * STEP
        if tick >= last:
            return None
        found = self._ranges.get((first, last))
        if found is None:
            found = self._walked(tick, last)
            if last - first >= _LONG:
                self._ranges[first, last] = found
                if len(self._ranges) > _KEPT_RANGES:
                    self._ranges.popitem(last=False)
        return found

    def _walked(self, tick: int, last: int) -> Range:
        opened = self.mid(tick)
        high, low, closed, count = float("-inf"), float("inf"), 0.0, 0
        while tick < last:
            day, rest = divmod(tick, DAY)
            stop = min(last, (day + 1) * DAY)
            part = self._day(day)[rest // STEP : -(-(stop - day * DAY) // STEP)]
            high, low, closed = max(high, max(part)), min(low, min(part)), part[-1]
            count += len(part)
            tick += len(part) * STEP
        return opened, self._rounded(high), self._rounded(low), self._rounded(closed), count

    def _rounded(self, value: float) -> Decimal:
        return Decimal(format(value, self._form))


@lru_cache(maxsize=64)
def walk_of(seed: int, instrument: Instrument) -> Walk:
    """The walk of an instrument; markets with the same seed share it, because a day is dear to walk."""
    return Walk(seed, instrument)
