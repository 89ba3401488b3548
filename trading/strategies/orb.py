"""ORB, opening range breakout: trade the first decided step out of the range that the session opened with.

The range is the bar that starts at the profile's `session_start`. A range smaller than `filter_min_or_pips` skips the
day. A breakout is a bar in the window that goes beyond an edge by at least `thr_break_pips`. With `retest` a later bar
must first come back to within `retest_tol_pips` of that edge. Then the first close beyond the edge, in the direction
of the trend (EMA 20 against EMA 50, unless `use_trend_filter` is off), is the entry: at the market, stop at the
opposite edge and `buffer_pips` beyond it, target as far from the entry as the stop.

What always holds here: the range comes from the session file's time, never from fixed hours; only closed bars count;
bars missing after the range began hide what the price did, so that day gives no signal.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from pydantic.dataclasses import dataclass as validated

from trading.domain.bars import Bar
from trading.domain.broker import OrderType, Side
from trading.domain.indicators import Ema
from trading.domain.money import plain, round_to_step
from trading.domain.settings_text import STRICT, Flag, Number
from trading.strategies.base import SignalIntent, Strategy

FAST, SLOW = 20, 50


@validated(frozen=True, config=STRICT)
class OrbParams:
    """All distances in pips."""

    thr_break_pips: Number = Decimal(3)
    retest: Flag = True
    retest_tol_pips: Number = Decimal(2)
    buffer_pips: Number = Decimal(1)
    filter_min_or_pips: Number = Decimal(4)
    use_trend_filter: Flag = True

    def __post_init__(self) -> None:
        """Refuse distances below zero."""
        for name in ("thr_break_pips", "retest_tol_pips", "buffer_pips", "filter_min_or_pips"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be below zero")


@dataclass(slots=True)
class _Breakout:
    """One direction's progress through the day."""

    side: Side
    broken: bool = False
    retested: bool = False


class OpeningRangeBreakout(Strategy):
    """See the module's text."""

    name: ClassVar[str] = "orb"
    Params: ClassVar[type] = OrbParams

    def _configure(self, params: Any) -> None:
        self.params: OrbParams = params
        self._fast, self._slow = Ema(FAST), Ema(SLOW)
        self.begin_day()

    def begin_day(self) -> None:
        """A new day has no range yet."""
        self._range: Bar | None = None
        self._skipped = False
        self._directions = (_Breakout(Side.BUY), _Breakout(Side.SELL))

    @property
    def ready(self) -> bool:
        """Whether the trend can be told (always, when the trend filter is off)."""
        return not self.params.use_trend_filter or (self._fast.ready and self._slow.ready)

    def restart_indicators(self) -> None:
        """Start both averages afresh; a day whose range has begun is over for this strategy."""
        self._fast.reset()
        self._slow.reset()
        if self._range is not None:
            self._skipped = True

    def evaluate(self, bar: Bar) -> SignalIntent | None:
        """See the module's text."""
        self._fast.add(bar.close)
        self._slow.add(bar.close)
        if self._range is None:
            if self.local_time(bar) == self.session_start:
                self._take_range(bar)
            return None
        if self._skipped or not self.in_window(bar):
            return None
        for direction in self._directions:
            if self._enters(direction, bar):
                self._skipped = True
                return self._intent(direction.side, bar, self._range)
        return None

    def _take_range(self, bar: Bar) -> None:
        self._range = bar
        self.counters["ranges"] += 1
        if self.spec.pips(bar.high - bar.low) < self.params.filter_min_or_pips:
            self.counters["small_ranges"] += 1
            self._skipped = True

    def _enters(self, direction: _Breakout, bar: Bar) -> bool:
        """Move one direction on by this bar; whether it enters at the bar's close."""
        assert self._range is not None
        sign = direction.side.sign
        # Distances are measured outward from the edge: above the high for BUY, below the low for SELL.
        edge = self._range.high if direction.side is Side.BUY else self._range.low
        reached, came_back = (bar.high, bar.low) if direction.side is Side.BUY else (bar.low, bar.high)
        if direction.broken:
            if not direction.retested and self.spec.pips((came_back - edge) * sign) <= self.params.retest_tol_pips:
                direction.retested = True
                self.counters["retests"] += 1
        elif self.spec.pips((reached - edge) * sign) >= self.params.thr_break_pips:
            direction.broken = True
            self.counters["breaks"] += 1
        if not direction.broken or (self.params.retest and not direction.retested):
            return False
        if (bar.close - edge) * sign <= 0:
            return False
        return self._trend_agrees(sign)

    def _trend_agrees(self, sign: int) -> bool:
        if not self.params.use_trend_filter:
            return True
        fast, slow = self._fast.value, self._slow.value
        if fast is None or slow is None:
            self.counters["not_ready"] += 1
            return False
        if (fast - slow) * sign <= 0:
            self.counters["against_trend"] += 1
            return False
        return True

    def _intent(self, side: Side, bar: Bar, opening: Bar) -> SignalIntent:
        step = self.spec.tick_size
        buffer = self.params.buffer_pips * self.spec.pip_size
        edge, opposite = (opening.high, opening.low) if side is Side.BUY else (opening.low, opening.high)
        entry = round_to_step(bar.close, step)
        stop = round_to_step(opposite - side.sign * buffer, step)
        features = {
            "range_high": plain(opening.high),
            "range_low": plain(opening.low),
            "range_pips": plain(self.spec.pips(opening.high - opening.low)),
            "close_beyond_edge_pips": plain(self.spec.pips((bar.close - edge) * side.sign)),
        }
        for name, average in (("ema_20", self._fast.value), ("ema_50", self._slow.value)):
            if average is not None:
                features[name] = plain(average)
        return SignalIntent(
            strategy=self.name,
            symbol=self.symbol,
            side=side,
            order_type=OrderType.MARKET,
            entry=entry,
            stop=stop,
            target=entry + (entry - stop),
            bar_start=bar.start,
            bar_end=bar.end,
            features=features,
            reason=f"closed beyond the opening range's {'high' if side is Side.BUY else 'low'} of {plain(edge)}",
        )
