"""What swing strategies on daily bars look at: averages, highs, volume and volatility, and the confidence in a rise.

The confidence is from 1 to 5, one point for each of: the close above its 200-day average; the 20-day average higher
than five days ago; the close less than 5 % below the high of 20 days; the volume above 1.2 times its 20-day average;
the average true range below 3 % of the close.

What always holds here: a view is of the bars up to and including the last one taken in; there is none before 210
bars in a row, so that every average is filled.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from decimal import Decimal

from trading.domain.bars import Bar
from trading.domain.indicators import Atr, Sma
from trading.domain.money import HUNDRED, STORED_STEP, ZERO, plain

HISTORY = 210
FAST, SLOW = 20, 200
SLOPE_BARS = 5
YEAR = 252
NEAR_HIGH_PCT, BUSY, CALM_ATR_PCT = Decimal(5), Decimal("1.2"), Decimal(3)


@dataclass(frozen=True, slots=True)
class SwingView:
    """Where a share stands at a close. Distances below highs and the average true range are percent of a price."""

    close: Decimal
    fast: Decimal
    slow: Decimal
    slope: Decimal
    below_high_pct: Decimal
    below_year_high_pct: Decimal
    volume_ratio: Decimal
    atr: Decimal
    atr_pct: Decimal

    @property
    def points(self) -> dict[str, bool]:
        """What the confidence is made of."""
        return {
            "above_sma_200": self.close > self.slow,
            "sma_20_rising": self.slope > 0,
            "near_20_day_high": self.below_high_pct < NEAR_HIGH_PCT,
            "busy": self.volume_ratio > BUSY,
            "calm": self.atr_pct < CALM_ATR_PCT,
        }

    @property
    def confidence(self) -> int:
        """From 1 to 5: no point at all is as little as one."""
        return max(1, sum(self.points.values()))

    @property
    def features(self) -> dict[str, str]:
        """The numbers as text, for people and for later study."""
        return {
            "sma_20": plain(self.fast),
            "sma_200": plain(self.slow),
            "sma_20_slope": plain(self.slope),
            "below_20_day_high_pct": plain(self.below_high_pct),
            "below_year_high_pct": plain(self.below_year_high_pct),
            "volume_ratio": plain(self.volume_ratio),
            "atr_14": plain(self.atr),
            "atr_pct": plain(self.atr_pct),
            "confidence": str(self.confidence),
        }


class SwingIndicators:
    """The indicators behind a `SwingView`, a closed daily bar at a time."""

    def __init__(self) -> None:
        self._fast, self._slow, self._volume = Sma(FAST), Sma(SLOW), Sma(FAST)
        self._atr = Atr()
        self._highs: deque[Decimal] = deque(maxlen=YEAR)
        self._fast_values: deque[Decimal] = deque(maxlen=SLOPE_BARS + 1)
        self._bars = 0

    @property
    def ready(self) -> bool:
        """Whether there is history enough."""
        return self._bars >= HISTORY

    @property
    def slow(self) -> Decimal | None:
        """The 200-day average; None while it is not filled."""
        return self._slow.value

    def reset(self) -> None:
        """Forget everything: the next bar does not follow the last one."""
        for average in (self._fast, self._slow, self._volume):
            average.reset()
        self._atr.reset()
        self._highs.clear()
        self._fast_values.clear()
        self._bars = 0

    def on_bar(self, bar: Bar) -> SwingView | None:
        """Take in the next closed bar; where things stand then, None before there is history enough."""
        self._bars += 1
        self._fast.add(bar.close)
        self._slow.add(bar.close)
        self._volume.add(bar.volume)
        self._atr.on_bar(bar)
        self._highs.append(bar.high)
        fast, slow, volume, atr = self._fast.value, self._slow.value, self._volume.value, self._atr.value
        if fast is not None:
            self._fast_values.append(fast)
        if not self.ready or fast is None or slow is None or volume is None or atr is None:
            return None
        high = max(list(self._highs)[-FAST:])
        return SwingView(
            close=bar.close,
            fast=fast,
            slow=slow,
            slope=fast - self._fast_values[0],
            below_high_pct=_percent_below(bar.close, high),
            below_year_high_pct=_percent_below(bar.close, max(self._highs)),
            volume_ratio=(bar.volume / volume).quantize(STORED_STEP) if volume else ZERO,
            atr=atr,
            atr_pct=(atr / bar.close * HUNDRED).quantize(STORED_STEP),
        )


def _percent_below(close: Decimal, high: Decimal) -> Decimal:
    return ((high - close) / high * HUNDRED).quantize(STORED_STEP)
