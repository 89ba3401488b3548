"""Swing trend_pullback: buy shares that pause near the top of a rise, on daily bars, and give the rise a month.

A bar in the window signals when the confidence (see `swing`) is at least 4, the 20-day average is above the 200-day
one and the close lies within `near_high_pct` of the highest price of 52 weeks. The entry is at the market, the target
`target_pct` above it. The position is left at the close of the `max_days`th daily bar after the signal's, or of a bar
that closes below the 200-day average, whichever comes first.

The initial stop, which sizes the trade, is two average true ranges (14 days) below the entry: the 2N stop of the
Turtle rules (Dennis and Eckhardt, 1983), far enough to outlast an ordinary day's noise twice over.

What always holds here: only purchases; nothing before 210 bars in a row; the number of bars that a position was held
counts closed bars, so weekends and holidays make no exit earlier.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass as validated

from trading.domain.bars import Bar
from trading.domain.broker import OrderType, Side
from trading.domain.money import HUNDRED, ONE, plain, round_to_step
from trading.domain.settings_text import STRICT, Number, Whole
from trading.strategies.base import Held, SignalIntent, Strategy
from trading.strategies.swing import SwingIndicators, SwingView

LEAST_CONFIDENCE = 4
STOP_ATRS = 2


@validated(frozen=True, config=STRICT)
class TrendPullbackParams:
    """Distances in percent of a price, `max_days` in daily bars."""

    near_high_pct: Annotated[Number, Field(ge=0, lt=100)] = Decimal(5)
    target_pct: Annotated[Number, Field(gt=0)] = Decimal(10)
    max_days: Annotated[Whole, Field(ge=1)] = 20


class TrendPullback(Strategy):
    """See the module's text."""

    name: ClassVar[str] = "trend_pullback"
    Params: ClassVar[type] = TrendPullbackParams
    exit_type: ClassVar[str] = "SWING_EXIT"

    def _configure(self, params: Any) -> None:
        self.params: TrendPullbackParams = params
        self._indicators = SwingIndicators()
        self._starts: deque[datetime] = deque(maxlen=self.params.max_days)

    def begin_day(self) -> None:
        """Every daily bar is a day of its own: there is nothing to forget."""

    @property
    def ready(self) -> bool:
        """Whether there is history enough."""
        return self._indicators.ready

    def restart_indicators(self) -> None:
        """Start all averages afresh; the days that a position was held go on counting."""
        self._indicators.reset()

    def evaluate(self, bar: Bar) -> SignalIntent | None:
        """See the module's text."""
        self._starts.append(bar.start)
        view = self._indicators.on_bar(bar)
        if view is None or not self.in_window(bar) or not self._wants(view):
            return None
        return self._intent(bar, view)

    def exit_reason(self, bar: Bar, held: Held) -> str:
        """See the module's text."""
        if sum(start >= held.since for start in self._starts) >= self.params.max_days:
            return f"held for {self.params.max_days} days"
        slow = self._indicators.slow
        if slow is not None and bar.close < slow:
            return f"closed at {plain(bar.close)}, below the 200-day average of {plain(round(slow, 2))}"
        return ""

    def _wants(self, view: SwingView) -> bool:
        if view.confidence < LEAST_CONFIDENCE or view.fast <= view.slow:
            return False
        self.counters["confident"] += 1
        return view.below_year_high_pct <= self.params.near_high_pct

    def _intent(self, bar: Bar, view: SwingView) -> SignalIntent | None:
        step = self.spec.tick_size
        entry = round_to_step(bar.close, step)
        stop = round_to_step(entry - STOP_ATRS * view.atr, step)
        if not 0 < stop < entry:
            self.counters["no_stop"] += 1
            return None
        points = {name: str(int(scored)) for name, scored in view.points.items()}
        return SignalIntent(
            strategy=self.name,
            symbol=self.symbol,
            side=Side.BUY,
            order_type=OrderType.MARKET,
            entry=entry,
            stop=stop,
            target=round_to_step(entry * (ONE + self.params.target_pct / HUNDRED), step),
            bar_start=bar.start,
            bar_end=bar.end,
            features=view.features,
            reason=f"a rise {plain(round(view.below_year_high_pct, 2))} % below its 52-week high, "
            f"confidence {view.confidence}",
            confidence=view.confidence,
            score=Decimal(view.confidence) / 5,
            feature_scores=points,
        )
