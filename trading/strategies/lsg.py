"""LSG, liquidity sweep and grab: fade a run on the stops that rest beyond the night's equal highs or lows.

(a) Swings are confirmed by two bars on each side. (b) Of 00:00–06:59 the largest group of swing highs within
`tol_pips` of its lowest member, of at least `min_cluster_count`, makes a level: its median; lows mirror it. (c) A bar
in the window that exceeds the level by `sweep_pips` sweeps it. (d) With `bos_required` a later bar must close beyond
the last confirmed swing on the other side by `bos_buffer_pips`: the structure is broken. (e) A later bar that closes
back inside the level, with a body in the trade's direction if `confirm_body_required`, confirms. Both must come
within `reentry_window_m` minutes of the sweep. (f) The entry is a STOP order at the confirming bar's extreme, resting
from the next bar on; with `second_move_only` the first bar that breaks the extreme is let go, and the order rests from
the bar after it. The stop lies `buffer_pips` beyond the furthest price since the sweep, the target as far from the
entry as the stop.

What always holds here: at most one step a bar; a swing counts from the bar that confirms it, two bars late, never
before; the levels are those that were known when the night ended; a break in the bars forgets levels and progress,
because what is missing may have been a swing or a sweep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import time, timedelta
from decimal import Decimal
from statistics import median
from typing import Annotated, Any, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass as validated

from trading.domain.bars import Bar
from trading.domain.broker import OrderType, Side
from trading.domain.indicators import Swing, Swings
from trading.domain.money import ceil_to_step, floor_to_step, plain
from trading.domain.settings_text import STRICT, Flag, Number, Whole
from trading.domain.windows import in_any_window
from trading.strategies.base import SignalIntent, Strategy

NIGHT_ENDS = time(7)
FEWEST_NIGHT_BARS = 10


@validated(frozen=True, config=STRICT)
class LsgParams:
    """Distances in pips, `reentry_window_m` in minutes."""

    tol_pips: Number = Decimal(2)
    sweep_pips: Number = Decimal(3)
    reentry_window_m: Annotated[Whole, Field(ge=1)] = 30
    buffer_pips: Number = Decimal(2)
    min_cluster_count: Annotated[Whole, Field(ge=1)] = 2
    bos_required: Flag = True
    bos_buffer_pips: Number = Decimal(1)
    confirm_body_required: Flag = True
    second_move_only: Flag = True

    def __post_init__(self) -> None:
        """Refuse distances below zero."""
        for name in ("tol_pips", "sweep_pips", "buffer_pips", "bos_buffer_pips"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be below zero")


@dataclass(slots=True)
class _Setup:
    """How far a sweep has come. `side` is the trade's: a sweep of highs is sold, a sweep of lows bought."""

    side: Side
    level: Decimal
    swept: Bar
    extreme: Decimal
    broken: bool
    confirmation: Bar | None = None


class LiquiditySweepGrab(Strategy):
    """See the module's text."""

    name: ClassVar[str] = "lsg"
    Params: ClassVar[type] = LsgParams
    TUNED: ClassVar[Mapping[tuple[str, str], Mapping[str, Any]]] = {
        ("EURUSD", "5m"): {"bos_buffer_pips": Decimal("0.5")}
    }

    def _configure(self, params: Any) -> None:
        self.params: LsgParams = params
        self._swings = Swings()
        self._last_high: Decimal | None = None
        self._last_low: Decimal | None = None
        self._bars_seen = 0
        self.begin_day()

    def begin_day(self) -> None:
        """A new day has no levels yet."""
        self._night_bars = 0
        self._night: list[Swing] = []
        self._levels: Mapping[Side, Decimal] | None = None
        self._setup: _Setup | None = None
        self._entered = False

    @property
    def ready(self) -> bool:
        """Whether as many bars as a night needs were seen since the last break."""
        return self._bars_seen >= FEWEST_NIGHT_BARS

    def restart_indicators(self) -> None:
        """Forget swings, levels and progress."""
        self._swings.reset()
        self._last_high = self._last_low = None
        self._bars_seen = self._night_bars = 0
        self._night.clear()
        self._levels = {} if self._levels is not None else None
        self._setup = None

    def evaluate(self, bar: Bar) -> SignalIntent | None:
        """See the module's text."""
        self._bars_seen += 1
        at_night = self.local_time(bar) < NIGHT_ENDS
        if not at_night and self._levels is None:
            self._levels = self._find_levels()
        for swing in self._swings.on_bar(bar):
            if swing.is_high:
                self._last_high = swing.price
            else:
                self._last_low = swing.price
            if at_night and self.local_day(swing.bar) == self.local_day(bar):
                self._night.append(swing)
        self._night_bars += at_night
        if self._entered or not self.in_window(bar):
            self._setup = None
            return None
        return self._advance(bar)

    def _find_levels(self) -> Mapping[Side, Decimal]:
        """The level whose sweep is sold (SELL, of highs) and the one whose sweep is bought; only those there are."""
        if self._night_bars < FEWEST_NIGHT_BARS:
            return {}
        tolerance = self.params.tol_pips * self.spec.pip_size
        levels = {}
        for side in (Side.SELL, Side.BUY):
            prices = [swing.price for swing in self._night if swing.is_high is (side is Side.SELL)]
            group = largest_group(prices, tolerance, upward=side is Side.SELL)
            if len(group) >= self.params.min_cluster_count:
                self.counters["clusters"] += 1
                levels[side] = median(group)
        return levels

    def _advance(self, bar: Bar) -> SignalIntent | None:
        """The one step that this bar makes."""
        setup = self._setup
        if setup is None:
            self._setup = self._sweep(bar)
            return None
        setup.extreme = max(setup.extreme, bar.high) if setup.side is Side.SELL else min(setup.extreme, bar.low)
        if setup.confirmation is not None:
            return self._intent(setup, setup.confirmation, bar) if _breaks(setup, setup.confirmation, bar) else None
        if bar.start - setup.swept.start > timedelta(minutes=self.params.reentry_window_m):
            self.counters["timeouts"] += 1
            self._setup = None
        elif not setup.broken:
            setup.broken = self._breaks_structure(setup.side, bar)
            self.counters["bos"] += setup.broken
        elif self._confirms(setup, bar):
            self.counters["confirmations"] += 1
            setup.confirmation = bar
            return None if self.params.second_move_only else self._intent(setup, bar, bar)
        return None

    def _sweep(self, bar: Bar) -> _Setup | None:
        """The sweep that this bar is. One that sweeps both levels tells no direction and is none."""
        far = self.params.sweep_pips * self.spec.pip_size
        found = []
        for side, level in (self._levels or {}).items():
            extreme = bar.high if side is Side.SELL else bar.low
            if (level - extreme) * side.sign >= far:
                found.append(_Setup(side, level, bar, extreme, broken=not self.params.bos_required))
        if len(found) != 1:
            return None
        self.counters["sweeps"] += 1
        return found[0]

    def _breaks_structure(self, side: Side, bar: Bar) -> bool:
        swing = self._last_low if side is Side.SELL else self._last_high
        buffer = self.params.bos_buffer_pips * self.spec.pip_size
        return swing is not None and (bar.close - swing) * side.sign > buffer

    def _confirms(self, setup: _Setup, bar: Bar) -> bool:
        inside = (bar.close - setup.level) * setup.side.sign > 0
        body = (bar.close - bar.open) * setup.side.sign > 0
        return inside and (body or not self.params.confirm_body_required)

    def _intent(self, setup: _Setup, confirmation: Bar, bar: Bar) -> SignalIntent | None:
        """The STOP order, decided at this bar's close; None when no later bar of the window could fill it."""
        if not in_any_window(self.windows, bar.end):
            self.counters["too_late"] += 1
            return None
        self._entered = True
        self.counters["entries"] += 1
        side, step = setup.side, self.spec.tick_size
        buffer = self.params.buffer_pips * self.spec.pip_size
        # Off the step both prices go outward: the extreme is really broken, the stop is not nearer than the buffer.
        if side is Side.SELL:
            entry, stop = floor_to_step(confirmation.low, step), ceil_to_step(setup.extreme + buffer, step)
        else:
            entry, stop = ceil_to_step(confirmation.high, step), floor_to_step(setup.extreme - buffer, step)
        features = {
            "level": plain(setup.level),
            "sweep_extreme": plain(setup.extreme),
            "sweep_pips": plain(self.spec.pips(abs(setup.extreme - setup.level))),
            "swept_at": setup.swept.start.isoformat(),
            "confirmed_at": confirmation.start.isoformat(),
        }
        swept = f"the night's {'highs' if side is Side.SELL else 'lows'} at {plain(setup.level)}"
        return SignalIntent(
            strategy=self.name,
            symbol=self.symbol,
            side=side,
            order_type=OrderType.STOP,
            entry=entry,
            stop=stop,
            target=entry + (entry - stop),
            bar_start=bar.start,
            bar_end=bar.end,
            features=features,
            reason=f"swept {swept} and came back",
        )


def largest_group(prices: Sequence[Decimal], tolerance: Decimal, *, upward: bool) -> tuple[Decimal, ...]:
    """The most prices that lie within `tolerance` above the lowest of them (below the highest when not `upward`).

    Of groups of one size the outermost, behind which the more distant stops rest.
    """
    sign = 1 if upward else -1
    best: tuple[Decimal, ...] = ()
    for first in sorted(prices, reverse=not upward):
        group = tuple(price for price in prices if 0 <= (price - first) * sign <= tolerance)
        if len(group) >= len(best):
            best = group
    return best


def _breaks(setup: _Setup, confirmation: Bar, bar: Bar) -> bool:
    return bar.low < confirmation.low if setup.side is Side.SELL else bar.high > confirmation.high
