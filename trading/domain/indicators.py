"""Indicators that grow by one closed bar at a time.

What always holds here: constant time and memory per bar; a value depends on bars that are closed, never on later
ones; values are rounded to the 12 decimals that the database keeps, so a stored value equals the computed one; an
indicator says `ready` only once it has seen as many bars as its period.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from decimal import Decimal

from trading.domain.bars import Bar
from trading.domain.money import STORED_STEP, ZERO


class Ema:
    """Exponential moving average with weight 2 / (period + 1), begun at the first value."""

    def __init__(self, period: int) -> None:
        if period < 1:
            raise ValueError(f"the period of an average is at least 1, not {period}")
        self.period = period
        self._weight = Decimal(2) / Decimal(period + 1)
        self._count = 0
        self._value: Decimal | None = None

    @property
    def ready(self) -> bool:
        """Whether as many values as the period were seen."""
        return self._count >= self.period

    @property
    def value(self) -> Decimal | None:
        """The average, or None while it is not ready."""
        return self._value if self.ready else None

    def add(self, value: Decimal) -> None:
        """Take in the next value."""
        self._count += 1
        if self._value is None:
            self._value = value
        else:
            self._value = (self._value + self._weight * (value - self._value)).quantize(STORED_STEP)

    def reset(self) -> None:
        """Forget everything, as after a hole in the data."""
        self._count = 0
        self._value = None


class Sma:
    """Simple moving average of the last `period` values."""

    def __init__(self, period: int) -> None:
        if period < 1:
            raise ValueError(f"the period of an average is at least 1, not {period}")
        self._values: deque[Decimal] = deque(maxlen=period)
        self._period = period
        self._sum = ZERO

    @property
    def ready(self) -> bool:
        """Whether as many values as the period were seen."""
        return len(self._values) == self._period

    @property
    def value(self) -> Decimal | None:
        """The average, or None while it is not ready."""
        return (self._sum / self._period).quantize(STORED_STEP) if self.ready else None

    def add(self, value: Decimal) -> None:
        """Take in the next value."""
        if self.ready:
            self._sum -= self._values[0]
        self._values.append(value)
        self._sum += value

    def reset(self) -> None:
        """Forget everything, as after a hole in the data."""
        self._values.clear()
        self._sum = ZERO


def true_range(bar: Bar, previous_close: Decimal | None) -> Decimal:
    """How far the price moved, from the previous close (None: the first bar) through the bar's extremes."""
    if previous_close is None:
        return bar.high - bar.low
    return max(bar.high, previous_close) - min(bar.low, previous_close)


class Atr:
    """Average true range: the EMA of the true range, in price; 14 bars by default."""

    def __init__(self, period: int = 14) -> None:
        self._average = Ema(period)
        self._previous_close: Decimal | None = None

    @property
    def ready(self) -> bool:
        """Whether as many bars as the period were seen."""
        return self._average.ready

    @property
    def value(self) -> Decimal | None:
        """The average true range in price, or None while it is not ready."""
        return self._average.value

    def on_bar(self, bar: Bar) -> None:
        """Take in the next closed bar."""
        self._average.add(true_range(bar, self._previous_close))
        self._previous_close = bar.close

    def reset(self) -> None:
        """Forget everything, as after a hole in the data."""
        self._average.reset()
        self._previous_close = None


@dataclass(frozen=True, slots=True)
class Swing:
    """A high (or low) that `sides` bars before and after do not reach. `confirmed_by` closed when it was known."""

    is_high: bool
    price: Decimal
    bar: Bar
    confirmed_by: Bar


class Swings:
    """Confirmed swings: an extreme with `sides` lower highs (higher lows) on each side, known `sides` bars later."""

    def __init__(self, sides: int = 2) -> None:
        self._sides = sides
        self._recent: deque[Bar] = deque(maxlen=2 * sides + 1)

    def on_bar(self, bar: Bar) -> tuple[Swing, ...]:
        """Take in the next closed bar; the swings that it confirms (a bar can be both high and low)."""
        self._recent.append(bar)
        if len(self._recent) <= 2 * self._sides:
            return ()
        bars = list(self._recent)
        middle = bars[self._sides]
        others = bars[: self._sides] + bars[self._sides + 1 :]
        found = []
        if all(other.high < middle.high for other in others):
            found.append(Swing(True, middle.high, middle, bar))
        if all(other.low > middle.low for other in others):
            found.append(Swing(False, middle.low, middle, bar))
        return tuple(found)

    def reset(self) -> None:
        """Forget everything, as after a hole in the data."""
        self._recent.clear()
